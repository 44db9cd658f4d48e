"""Lines and landmarks of a text: what is looked for once a text is what a look at each beginning of it would find."""

from __future__ import annotations

import random

from gateway.text.zones import Layout
from tests.test_observing import scheme


def test_the_landmarks_of_a_beginning_are_as_if_nothing_stood_behind_it() -> None:
    rng, rules = random.Random(7), scheme()
    literals = [literal for literal, _ in rules.landmarks]
    found = 0
    for _ in range(300):
        text = "".join(rng.choice(literals) + rng.choice(("", " ", "\n", "words of a letter ")) for _ in range(6))
        for limit in (*(rng.randrange(len(text)) for _ in range(20)), len(text)):
            layout = Layout(text, rules)
            layout.quoted_from()  # has looked through the whole text
            expected = rules.landmark_finder.find(text[:limit])
            assert list(layout._landmarks_to(limit)) == expected, (text, limit)
            found += len(expected)
    assert found > 5000

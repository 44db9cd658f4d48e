"""A small fuzzing run of every parser of our own: it parses or refuses; the same inputs each time. ``make fuzz`` is the search."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, check


@pytest.mark.parametrize("name", TARGETS)
def test_any_octets_are_parsed_or_refused(name: str) -> None:
    words = st.sampled_from(TARGETS[name].words) if TARGETS[name].words else st.binary(max_size=8)

    @settings(max_examples=12, deadline=None, database=None)
    @given(st.lists(st.one_of(words, st.binary(max_size=12)), max_size=40))
    def run(pieces: list[bytes]) -> None:
        check(name, b"".join(pieces))

    run()


@pytest.mark.parametrize("name", [name for name in TARGETS if TARGETS[name].seeds])
def test_damaged_files_are_parsed_or_refused(name: str) -> None:
    rng = random.Random(4)
    seeds = list(TARGETS[name].seed())
    assert seeds
    for seed in rng.sample(seeds, min(len(seeds), 4)):
        data = bytearray(seed)
        for _ in range(rng.randrange(1, 12)):
            at = rng.randrange(len(data))
            change = rng.randrange(3)
            if change == 0:
                data[at] = rng.randrange(256)
            elif change == 1:
                del data[at : at + rng.randrange(40)]
            else:
                data[at:at] = rng.randbytes(rng.randrange(6)) + (rng.choice(TARGETS[name].words) if TARGETS[name].words else b"")
            if not data:
                break
        check(name, bytes(data))

"""The fast search for one literal agrees with the plain one."""

from __future__ import annotations

import random
import re

import pytest

from gateway.extraction import needle
from gateway.extraction.needle import Needle


@pytest.mark.parametrize("literal", [b"startxref", b"/Encrypt", b"Rar!\x1a\x07"])
@pytest.mark.parametrize("window", [16, 23, 64, 1 << 20])
def test_all_places(literal: bytes, window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needle, "_WINDOW", window)
    rng = random.Random(window)
    for _ in range(200):
        data = b"".join(rng.choice((literal, literal[:3], b"a", b"\0", literal[-2:])) for _ in range(rng.randrange(60)))
        assert list(Needle(literal).places(data)) == [match.start() for match in re.finditer(re.escape(literal), data)]
        assert Needle(literal).within(data) == (literal in data)


@pytest.mark.parametrize("literal", [b"aa", b"aba"])
def test_one_that_overlaps_itself_is_refused(literal: bytes) -> None:
    with pytest.raises(ValueError, match="overlaps"):
        Needle(literal)


def test_across_the_border_of_two_windows() -> None:
    edge = needle._WINDOW
    for at in range(edge - 9, edge + 2):
        assert list(Needle(b"startxref").places(bytes(at) + b"startxref" + bytes(40))) == [at]

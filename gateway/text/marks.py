"""Marked words in their places: from the findings of a leaf to stretches of the texts that it was read as.

What it is: ``place``, a pure function.
Who calls it: ``inspector.drawing``, for the page on which a person sees what was found, and for the boxes on pages of a PDF.
Must never: mark words that the finding does not name: a place whose words are others is no place, and the finding stands beside.
Source: ``text.markings`` (offsets count characters as if the texts of all segments were joined by one character).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence

import msgspec

from gateway.text.markings import Segment
from gateway.verdict import Confidence, Finding, Zone

PAGE_ZONES = frozenset((Zone.PAGE_HEADER, Zone.PAGE_FOOTER, Zone.WATERMARK))
"""What stands there stands on other pages too, of which only some are reported."""
_REPEATED = 30  # different words that are looked for on the other pages
_SURE = {Confidence.CERTAIN: 0, Confidence.PROBABLE: 1, Confidence.POSSIBLE: 2}


class Stretch(msgspec.Struct, frozen=True, order=True):
    """Marked words: from *start* to before *end*, in characters of their segment."""

    start: int
    end: int
    finding: Finding


def place(
    segments: Sequence[Segment], findings: Iterable[Finding], most: int = 500
) -> tuple[tuple[tuple[Stretch, ...], ...], tuple[Finding, ...]]:
    """For each of *segments*, which are all texts of one leaf in order, its stretches in order, *most* of them, none over another; and
    the findings that stand in none of them.
    """
    starts: list[int] = []
    end = 0
    for segment in segments:
        starts.append(end)
        end += len(segment.text) + 1
    placed: dict[int, list[Stretch]] = {}
    beside: list[Finding] = []
    repeated: dict[str, Finding] = {}
    for finding in findings:
        index = bisect_right(starts, finding.offset) - 1
        if index < 0 or not _fits(segments[index], finding.offset - starts[index], finding):
            beside.append(finding)
            continue
        start = finding.offset - starts[index]
        placed.setdefault(index, []).append(Stretch(start, start + finding.length, finding))
        if finding.zone in PAGE_ZONES and len(repeated) < _REPEATED:
            repeated.setdefault(" ".join(finding.text.split()).casefold(), finding)
    for words, finding in repeated.items():
        sought = like(words)
        for index, segment in enumerate(segments):
            if sought is not None and segment.zone in PAGE_ZONES:
                placed.setdefault(index, []).extend(Stretch(match.start(), match.end(), finding) for match in sought.finditer(segment.text))
    return tuple(_apart(placed[index], most) if index in placed else () for index in range(len(segments))), tuple(beside)


def like(words: str) -> re.Pattern[str] | None:
    """What finds *words* wherever they stand, whatever the white space between them and the size of their letters; None for none."""
    pieces = [re.escape(piece) for piece in words.split()]
    return re.compile(r"(?<!\w)" + r"\s+".join(pieces) + r"(?!\w)", re.I) if pieces else None


def _fits(segment: Segment, start: int, finding: Finding) -> bool:
    """Whether the words of *finding* stand at *start* of *segment*."""
    text, end = segment.text, start + finding.length
    if finding.length <= 0 or end > len(text) or (finding.zone is Zone.FILE_NAME) != (segment.zone is Zone.FILE_NAME):
        return False
    if finding.text and text.startswith(finding.text, start):
        return True
    # Of text in a legacy font the finding holds what it shows, and its place is the whole line.
    return (start == 0 or text[start - 1] == "\n") and (end == len(text) or text[end] == "\n") and "\n" not in text[start:end]


def _apart(stretches: list[Stretch], most: int) -> tuple[Stretch, ...]:
    """Those of *stretches* that matter most, none over another, in order."""
    ranked = sorted(stretches, key=lambda one: (-one.finding.level, _SURE[one.finding.confidence], one.start, one.end))
    taken: list[tuple[int, int, Stretch]] = []
    for one in ranked:
        if len(taken) >= most:
            break
        at = bisect_right(taken, one.start, key=lambda other: other[0])
        if (at and taken[at - 1][1] > one.start) or (at < len(taken) and taken[at][0] < one.end):
            continue
        taken.insert(at, (one.start, one.end, one))
    return tuple(one for _, _, one in taken)

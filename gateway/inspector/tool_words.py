"""What tesseract prints, as ``Words``: lines in reading order, what stands at the top and at the bottom, and how sure it is.

What it is: ``words`` (its table of words) and ``turn`` (its report on which side is up).
Who calls it: ``inspector.tools``.
Must never: do I/O; raise for what a program printed, which a hostile picture may have shaped.
Source: tesseract(1), config files "tsv" and "osd".
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway.extraction.base import Words

SURE = 60.0
"""Confidence of a line from which it counts as read. Measured: clean, faint, noisy, skewed and 150 dpi pages of English and Hindi have
means of 95 to 97, pages upside down or on their side 27 to 52, photographs and scrawls no word at all."""
EDGE = 0.1
"""The part of a page that is its head, and its foot."""
_ROTATE = re.compile(rb"^Rotate: (0|90|180|270)$", re.M)
_SURENESS = re.compile(rb"^Orientation confidence: (\d+(?:\.\d+)?)$", re.M)
_SURE_TURN = 2.0
_MOST_WORDS = 100_000


@dataclass(slots=True)
class _Line:
    words: list[str]
    weight: float = 0.0
    sureness: float = 0.0
    top: int = 1 << 30
    bottom: int = 0

    @property
    def confidence(self) -> float:
        return self.sureness / self.weight if self.weight else 0.0

    @property
    def text(self) -> str:
        return " ".join(self.words)


def words(table: bytes, height: int, edge: float = EDGE) -> Words:
    """The words of a *table* that tesseract printed for a picture of *height* pixels; *edge*: the part of it that is its top, and its
    bottom."""
    lines: dict[bytes, _Line] = {}
    for row in table.splitlines()[1 : _MOST_WORDS + 1]:
        cells = row.split(b"\t", 11)
        if len(cells) != 12 or cells[0] != b"5":
            continue
        word = cells[11].decode("utf-8", "replace").strip()
        try:
            top, tall, sure = int(cells[7]), int(cells[9]), float(cells[10])
        except ValueError:
            continue
        if not word or sure < 0:
            continue
        line = lines.setdefault(b"\t".join(cells[1:5]), _Line([]))
        line.words.append(word)
        line.weight += len(word)
        line.sureness += len(word) * min(sure, 100.0)
        line.top, line.bottom = min(line.top, top), max(line.bottom, top + tall)
    read = [line for line in lines.values() if line.confidence >= SURE]
    every = sum(line.weight for line in lines.values())
    return Words(
        text="\n".join(line.text for line in read),
        head="\n".join(line.text for line in read if line.top + line.bottom <= 2 * edge * height),
        foot="\n".join(line.text for line in read if line.top + line.bottom >= 2 * (1 - edge) * height),
        confidence=sum(line.sureness for line in lines.values()) / every if every else 0.0,
        count=sum(len(line.words) for line in lines.values()),
        doubtful="\n".join(line.text for line in lines.values() if line.confidence < SURE),
    )


def turn(report: bytes) -> Words:
    """Which way to turn the picture, with a confidence above zero; without one where tesseract is not sure enough of it."""
    rotate, sureness = _ROTATE.search(report), _SURENESS.search(report)
    sure = float(sureness[1]) if sureness else 0.0
    return Words(turn=int(rotate[1]), confidence=sure) if rotate and sure >= _SURE_TURN else Words()

"""The binary parts of an XLSB workbook: cells, shared strings, comments, headers and footers, names, and whatever else holds letters.

What it is: ``read``, which walks the records of one part (BIFF12). The places that people see are taken by their structure; of every other
record the letters are swept together, so that a kind of record that is not known here is read, too.
Who calls it: the OOXML reader, for parts of a package that calls itself a binary workbook.
Must never: call a part read whose records do not fill it; leave out a record; hold cells that are not there.
Sources: [MS-XLSB] 2.1.4 (records), 2.4 (BrtSSTItem, BrtCellSt, BrtFmlaString, BrtBundleSh, BrtName, BrtBeginHeaderFooter, BrtCommentText,
BrtBeginSupBook), 2.5.169 (XLWideString).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from gateway.documents import ooxml_text
from gateway.extraction import strings
from gateway.extraction.base import Budget, OverLimit, Unreadable
from gateway.text import legacy_fonts
from gateway.text.markings import Segment
from gateway.verdict import Zone

_RECORDS = 8_000_000
_LONGEST = 65_536  # octets of a record of another kind; a cell of 32,767 letters may be longer
_REST = 16_000_000
_SWEPT = 2_000_000  # characters, from which the sweep hands out no more
_NULL = 0xFFFFFFFF
_NUMBERS = {0: 25, 1: 8, 2: 12, 3: 9, 4: 9, 7: 12, 12: 4, 13: 8, 14: 5, 15: 5, 18: 8, 25: 25, 60: 18, 148: 16}
"""Records that hold nothing but numbers, and their octets: rows, cells with short numbers, references, columns, the extent of a sheet."""
_REALS = {5: 8, 16: 4, 9: 8}
"""Cells with a long number, and where it stands."""
_STRINGS = {6: 8, 8: 8, 17: 4, 19: 1, 632: 0, 637: 1}
"""Records that begin with one string, and where it stands: cells, formulas' values, shared strings, authors, comments."""
_FONT, _NAME, _SHEET, _EDGES, _BOOK = 43, 39, 156, 479, 360
_DDE = 1
_EDGE_ZONES = (Zone.PAGE_HEADER, Zone.PAGE_FOOTER) * 3


@dataclass(slots=True)
class Part:
    """What one part gave."""

    lines: list[str] = field(default_factory=list)
    others: list[Segment] = field(default_factory=list)
    font: str = ""
    """A legacy font that the part names."""
    asks_a_program: bool = False
    """It names a program to exchange data with."""

    def segments(self, font: str) -> list[Segment]:
        """All text; *font*: a legacy font of the workbook, in which its cells may be written."""
        text = "\n".join(self.lines)
        if not text.strip():
            return self.others
        return [Segment(text, Zone.BODY), *self.others, *([Segment(text, Zone.BODY, font=font)] if font else [])]


def read(data: bytes, budget: Budget) -> Part | None:
    """The words of the part *data*; None when it is no such part. Raises Unreadable for a string beyond its record, OverLimit."""
    part, rest, at, size, count = Part(), bytearray(), 0, len(data), 0
    while at < size:
        kind, start, end = _record(data, at)
        if end > size or (not count and kind < 35):
            return None
        at = end
        count += 1
        if count % 10_000 == 0:
            budget.check_time()
            if count > _RECORDS:
                raise OverLimit("it holds more cells than the limit")
        if _NUMBERS.get(kind) == end - start or (kind in _NUMBERS and kind == 0 and end - start >= 17 and _is_row(data, start, end)):
            continue
        left = _known(kind, data, start, end, part)
        if left < end:
            if end - left > _LONGEST:
                raise Unreadable("a workbook with a record of an unknown kind")
            rest += data[left:end] + b"\x00\x00\x00\x00"
            if len(rest) > _REST:
                raise OverLimit("it holds more records of unknown kinds than the limit")
    swept = strings.sweep(bytes(rest))
    if len(swept) >= _SWEPT:
        raise OverLimit("it holds more text in records of unknown kinds than the limit")
    part.lines += swept.split("\n")
    return part if count else None


def _record(data: bytes, at: int) -> tuple[int, int, int]:
    """Kind of the record at *at*, and where its content begins and ends; an end beyond the part where it is cut off."""
    head = data[at : at + 6]
    kind, step = head[0], 1
    if kind & 0x80 and len(head) > 1:
        kind, step = kind & 0x7F | (head[1] & 0x7F) << 7, 2
    length = shift = 0
    for octet in head[step : step + 4]:
        step += 1
        length |= (octet & 0x7F) << shift
        shift += 7
        if not octet & 0x80:
            return kind, at + step, at + step + length
    return kind, at + step, len(data) + 1


def _is_row(data: bytes, start: int, end: int) -> bool:
    """Whether a row holds nothing but the spans that it counts."""
    return end - start == 17 + 8 * int.from_bytes(data[start + 13 : start + 17], "little")


def _known(kind: int, data: bytes, start: int, end: int, part: Part) -> int:
    """Takes what the structure says of a record; returns where the octets begin that it says nothing about."""
    if (offset := _REALS.get(kind)) is not None and start + offset + 8 <= end:
        number = struct.unpack_from("<d", data, start + offset)[0]
        if text := ooxml_text.identifier(repr(number)):
            part.lines.append(text)
        return start + offset + 8
    if (offset := _STRINGS.get(kind)) is not None:
        text, left = _string(data, start + offset, end)
        part.lines.append(text)
        return left
    if kind == _SHEET and start + 8 <= end:
        _, left = _string(data, start + 8, end)
        name, left = _string(data, left, end)
        part.others.append(Segment(name, Zone.PROPERTY))
        return left
    if kind == _NAME and start + 9 <= end:
        name, left = _string(data, start + 9, end)
        part.others.append(Segment(name, Zone.PROPERTY))
        return left
    if kind == _EDGES and start + 2 <= end:
        left = start + 2
        for zone in _EDGE_ZONES:
            text, left = _string(data, left, end)
            if text:
                part.others += ooxml_text.edge(text, zone)
        return left
    if kind == _FONT and start + 21 <= end:
        name, left = _string(data, start + 21, end)
        part.font = name if legacy_fonts.is_legacy(name) else part.font
        return left
    if kind == _BOOK and data[start : start + 2] == _DDE.to_bytes(2, "little"):
        part.asks_a_program = True
    return start


def _string(data: bytes, at: int, end: int) -> tuple[str, int]:
    """The string at *at* and where it ends; empty for none. Raises Unreadable when it goes beyond *end*."""
    if at + 4 > end:
        raise Unreadable("a workbook with a broken string")
    count = int.from_bytes(data[at : at + 4], "little")
    at += 4
    if count == _NULL:
        return "", at
    if at + 2 * count > end:
        raise Unreadable("a workbook with a broken string")
    return data[at : at + 2 * count].decode("utf-16-le", "replace"), at + 2 * count

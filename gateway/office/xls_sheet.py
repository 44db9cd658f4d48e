"""One sheet of a workbook before XLSX: its cells in order, headers and footers, comments, links, charts.

What it is: ``Sheet``.
Who calls it: ``office.xls``.
Must never: leave out a kind of cell; hold a table of empty cells (a sheet has 65,536 rows of 256).
Sources: MS-XLS 2.4.149 (LabelSst), 2.4.148 (Label), 2.4.127 (Formula), 2.4.268 (String), 2.4.136 (Header), 2.4.137 (HeaderFooter), 2.4.179
(Note), 2.4.329 (TxO).
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from gateway.extraction.base import Budget, Child, Unreadable
from gateway.extraction.strings import packed, sweep
from gateway.office import officeart, xls_formula
from gateway.office.ole_parts import Parts
from gateway.office.xls_text import Continued, Record, old_string, string
from gateway.text.markings import Segment
from gateway.verdict import Zone

if TYPE_CHECKING:
    from gateway.office.xls import Workbook

_LABEL_SST, _LABEL, _RICH, _STRING, _FORMULA, _NUMBER, _RK, _MULTI_RK = 0xFD, 0x204, 0xD6, 0x207, 0x06, 0x203, 0x27E, 0xBD
_HEADER, _FOOTER, _HEADER_FOOTER, _NOTE, _TEXT, _DRAWING, _LINK, _SERIES = 0x14, 0x15, 0x89C, 0x1C, 0x1B6, 0xEC, 0x1B8, 0x100D
_OBJECT = 0x5D
_SILENT = frozenset((
    0x200, 0x208, 0x201, 0xBE, 0xD7, 0x20B, 0x7D, 0x55, 0x225, 0x23E, 0x1D, 0x81, 0x80, 0x26,
    0x27, 0x28, 0x29, 0x2A, 0x2B, 0x82, 0x83, 0x84,
    0x0C, 0x0D, 0x0F, 0x10, 0x11, 0x5F, 0x41, 0x1A, 0x1B, 0x4D, 0xA0, 0xA1, 0x99, 0xE5, 0x862, 0x88B, 0x89, 0x1BA,
))  # fmt: skip
"""Records without words: sizes, rows, empty cells, windows, the settings of a printer."""
_CHART, _CHART_FORMULA = range(0x1001, 0x1070), 0x1051
_LONGEST_SILENT = 64
_BITMAP = 9
_COLOUR = re.compile(r"[0-9A-Fa-f]{6}|\d{2}[+-]\d{3}")


class Sheet:
    """What one sheet has given so far. *at*: where it begins in the stream."""

    def __init__(self, book: Workbook, kind: str, at: int) -> None:
        self._book = book
        self._kind = kind
        self.name, self.hidden = book.sheets.get(at, ("", 0))
        self._cells: list[str] = []
        self._others: list[str] = []
        self._art: list[bytes] = []

    def record(self, record: Record, parts: Parts, budget: Budget) -> None:
        """Takes one record of the sheet."""
        kind, body = record.kind, record.body
        match kind:
            case 0xFD | 0x204 | 0xD6 | 0x203 | 0x27E | 0xBD | 0x06 | 0x207:
                self._cell(record)
            case 0x14 | 0x15:
                zone = Zone.PAGE_HEADER if kind == _HEADER else Zone.PAGE_FOOTER
                text = self._long(record, 0) if self._book.version == 8 else old_string(b"".join(record.blocks), self._book.codec, 1)
                self._edge(text, zone, parts)
            case 0x89C:
                self._edges(body, parts)
            case 0x1C:
                self._note(body)
            case 0x1B6:
                self._text(record)
            case 0xEC:
                self._art.extend(record.blocks)
            case 0x1B8:
                words = sweep(body)
                self._others.append(words)
                parts.links.extend(line for line in words.split("\n") if "://" in line)
            case 0x100D:
                self._others.append(string(body[2:], 1) if self._book.version == 8 else old_string(body[2:], self._book.codec, 1))
            case 0xE9 | 0x7F:
                picture(b"".join(record.blocks), parts, budget)
            case _:
                self._other(record, parts)

    def _other(self, record: Record, parts: Parts) -> None:
        """A record without words where it is as long as it should be; of any other its words are taken."""
        data = b"".join(record.blocks)
        silent = record.kind in _SILENT or (record.kind in _CHART and record.kind != _CHART_FORMULA)
        if silent and len(data) <= _LONGEST_SILENT:
            return
        if words := sweep(data):
            self._others.append(words)
        if inside := packed(data):
            parts.children.append(Child("record", inside))

    def _long(self, record: Record, at: int) -> str:
        """The string at *at* of a record, which may go on in those that continue it."""
        if len(record.blocks) > 1:  # some programs do not repeat the flags
            self._others.append(string(b"".join(record.blocks)[at:]))
        try:
            return Continued((record.body[at:], *record.blocks[1:])).string()
        except Unreadable:
            return string(record.body[at:])

    def _string(self, body: bytes) -> str:
        return string(body) if self._book.version == 8 else old_string(body, self._book.codec)

    def _cell(self, record: Record) -> None:
        kind, body = record.kind, record.body
        if kind == _STRING:
            self._cells.append(Continued(record.blocks).string() if self._book.version == 8 else self._string(body))
            return
        if len(body) < 6:
            return
        if kind == _LABEL_SST and len(body) >= 10:
            number = struct.unpack_from("<I", body, 6)[0]
            if number < len(self._book.strings):
                self._book.used.add(number)
                self._cells.append(self._book.strings[number])
        elif kind in (_LABEL, _RICH):
            new = self._book.version == 8
            self._cells.append(self._long(record, 6) if new else old_string(b"".join(record.blocks)[6:], self._book.codec))
        elif kind == _NUMBER and len(body) >= 14:
            self._cells.append(_shown(struct.unpack_from("<d", body, 6)[0]))
        elif kind == _RK and len(body) >= 10:
            self._cells.append(_rk(struct.unpack_from("<I", body, 6)[0]))
        elif kind == _MULTI_RK:
            self._cells.extend(_rk(struct.unpack_from("<I", body, at)[0]) for at in range(6, len(body) - 6, 6))
        elif kind == _FORMULA and len(body) >= 20:
            if body[12:14] != b"\xff\xff":
                self._cells.append(_shown(struct.unpack_from("<d", body, 6)[0]))
            # Strings within the formula: a token, the length, the flags, the characters.
            tokens = b"".join((body[20:], *record.blocks[1:]))
            size = struct.unpack_from("<H", tokens.ljust(2, b"\x00"))[0]
            self._cells.append(xls_formula.words(tokens[2 : 2 + size], self._book.codec, old=self._book.version != 8))
            if words := sweep(tokens):
                self._others.append(words)

    def _edge(self, text: str, zone: Zone, parts: Parts) -> None:
        """A header or footer: three parts, each begun by an ampersand and a letter."""
        for mark in ("&L", "&C", "&R"):
            text = text.replace(mark, "\n")
        if text.strip():
            parts.segments.append(Segment(_without_codes(text), zone))

    def _edges(self, body: bytes, parts: Parts) -> None:
        """Headers and footers of even and of first pages."""
        if len(body) < 38:
            return
        at = 38
        for count, zone in zip(struct.unpack_from("<HHHH", body, 30), (Zone.PAGE_HEADER, Zone.PAGE_FOOTER) * 2, strict=True):
            if count and at + 3 <= len(body):
                wide = body[at + 2] & 1
                self._edge(string(body[at:]), zone, parts)
                at += 3 + count * (2 if wide else 1)

    def _note(self, body: bytes) -> None:
        """Whose comment it is; in Excel 5 and 95 its text."""
        if self._book.version == 8:
            self._others.append(string(body[8:]))
        elif len(body) > 6:
            self._others.append(body[6:].decode(self._book.codec, "replace"))

    def _text(self, record: Record) -> None:
        """The text of a comment, a text box or a button stands in the records that continue this one."""
        if self._book.version != 8 or len(record.blocks) < 2:
            self._others.append(sweep(b"".join(record.blocks)))
            return
        count = struct.unpack_from("<H", record.body, 10)[0] if len(record.body) >= 12 else 0
        if not count:
            self._others.append(sweep(b"".join(record.blocks[1:])))
        out = []
        for block in record.blocks[1:]:
            if count <= 0 or not block:
                break
            wide = block[0] & 1
            text = block[1 : 1 + count * (2 if wide else 1)].decode("utf-16-le" if wide else "latin-1", "replace")
            count -= len(text)
            out.append(text)
        self._others.append("".join(out))

    def tell(self, parts: Parts, budget: Budget) -> None:
        """Adds what the sheet gave: its cells line by line, then comments, boxes, links and charts."""
        if self._cells:
            parts.segments.append(Segment("\n".join(self._cells), Zone.BODY))
        others = "\n".join(filter(None, self._others))
        if others:
            parts.segments.append(Segment(others, Zone.BODY))
        if self._art:
            drawing = officeart.Drawing()
            officeart.walk(b"".join(self._art), budget, drawing)
            drawing.broken = False  # the shapes of one sheet are cut by the records of their texts
            parts.take_drawing(drawing)


def picture(data: bytes, parts: Parts, budget: Budget) -> None:
    """A picture behind a sheet, or one in a workbook of Excel 5: its form, its length and itself."""
    form, _, size = struct.unpack_from("<HHI", data.ljust(8, b"\x00"))
    body = data[8 : 8 + size]
    if form == _BITMAP and len(body) >= 12:
        head = struct.unpack_from("<I", body)[0]
        bits = struct.unpack_from("<H", body, 10 if head == 12 else 14)[0]
        colours = (3 if head == 12 else 4) << bits if bits <= 8 else 0
        body = b"BM" + struct.pack("<IHHI", len(body) + 14, 0, 0, 14 + head + colours) + body
    if body:
        budget.spend_entries()
        budget.spend_bytes(len(body))
        parts.children.append(Child("picture", body))


def _without_codes(text: str) -> str:
    """Without font names, sizes and colours; ``&&`` is an ampersand."""
    out, at = [], 0
    while (found := text.find("&", at)) >= 0 and found + 1 < len(text):
        out.append(text[at:found])
        mark = text[found + 1]
        at = found + 2
        if mark == "&":
            out.append("&")
        elif mark == '"' and (end := text.find('"', at)) >= 0:
            at = end + 1
        elif mark == "K" and (colour := _COLOUR.match(text, at)):
            at = colour.end()
        elif mark.isdigit():
            while at < len(text) and text[at].isdigit():
                at += 1
    out.append(text[at:])
    return "".join(out)


def _shown(value: float) -> str:
    """A number as a cell would show it without a format: sixteen digits, no exponent for whole numbers."""
    return str(int(value)) if value == value and abs(value) < 1e16 and value == int(value) else f"{value:.15g}"


def _rk(packed: int) -> str:
    """A packed number: 30 bits of an integer or of a floating point number, perhaps to be divided by a hundred."""
    if packed & 2:
        value: float = (packed >> 2) - (1 << 30 if packed & 0x80000000 else 0)
    else:
        value = struct.unpack("<d", struct.pack("<Q", (packed & 0xFFFFFFFC) << 32))[0]
    return _shown(value / 100 if packed & 1 else value)

"""The reader of Excel workbooks before XLSX (Excel 5 to 2003): every cell, sheet, header, comment and drawing.

What it is: ``read`` over the streams of a workbook: shared strings, sheets in order, what stands in no cell.
Who calls it: ``office.ole``.
Must never: leave out a sheet because it is hidden; call a workbook read whose records are broken.
Sources: MS-XLS 2.1.4, 2.4.265 (SST), 2.4.28 (BoundSheet8); docs/inspection.md, Legacy; hostile-inputs catalogue D03, D11.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from gateway.documents import formulas
from gateway.extraction.base import Budget, Child, Unreadable
from gateway.extraction.strings import packed, sweep
from gateway.office import officeart, xls_sheet
from gateway.office.ole_parts import Parts
from gateway.office.property_set import codec_of
from gateway.office.xls_sheet import Sheet
from gateway.office.xls_text import Continued, Record, old_string, records, string
from gateway.text.markings import Segment
from gateway.verdict import Zone

_BOF, _EOF, _CODEPAGE, _SHEET, _SST, _GROUP, _FILE_PASS = 0x0809, 0x0A, 0x42, 0x85, 0xFC, 0xEB, 0x2F
_FORMAT, _OLD_FORMAT, _THEME, _GOES_ON, _PICTURE = 0x41E, 0x1E, 0x896, 0x812, 0x7F
_NAME, _SUPBOOK, _WRITER, _PIVOT = 0x18, 0x1AE, 0x5C, 0xCD
_SILENT = frozenset((
    0x31, 0x231, 0x293, 0x92, 0xE0, 0xFF, 0x13D, 0x3D, 0xC1, 0xE1, 0xE2, 0x161, 0x19, 0x12, 0x13, 0x1AF, 0x1BC, 0x40,
    0x8D, 0x22, 0x0E, 0x1B7, 0xDA, 0x160, 0x8C, 0x867, 0x87C, 0x87D, 0x892, 0x88E, 0x88F, 0x1C0, 0x863, 0x0A, 0x17, 0x9C, 0x1B5,
    0x89A, 0x8A3, 0x8A4, 0x89B,
))  # fmt: skip
"""Records of the workbook without words of a person: fonts, styles, formats, the palette, sizes of windows."""
_BROKEN = "a workbook that is cut off or broken"
_VERSIONS = {0x0600: 8, 0x0500: 5}
_DIALECTS = {0x0010: "sheet", 0x0020: "chart", 0x0040: "macro", 0x0006: "module", 0x0005: "workbook", 0x0100: "workspace"}


@dataclass(slots=True)
class Workbook:
    """What the sheets need of the workbook."""

    version: int = 8
    codec: str = "cp1252"
    strings: list[str] = field(default_factory=list)
    used: set[int] = field(default_factory=set)
    sheets: dict[int, tuple[str, int]] = field(default_factory=dict)
    """Offset in the stream to name and whether it is hidden (1) or very hidden (2)."""
    art: list[bytes] = field(default_factory=list)
    """The drawing that all sheets share, in parts."""
    theme: list[bytes] = field(default_factory=list)
    """Colours and fonts as newer versions keep them, a package in parts."""


def read(parts: Parts, budget: Budget) -> None:
    """All workbook streams of the file; a file for two versions of Excel holds two."""
    for name in ("Workbook", "Book"):
        if name in parts.compound:
            _stream(parts.take(name), parts, budget)


def _stream(data: bytes, parts: Parts, budget: Budget) -> None:
    book = Workbook()
    sheet: Sheet | None = None
    nested = 0
    starts: set[int] = set()
    for record in records(data, budget):
        if not nested and record.kind != _BOF:
            parts.problems[_BROKEN] = None  # nothing may stand between two sheets
        if record.kind == _BOF:
            starts.add(record.at)
            nested += 1
            if len(record.body) < 4:
                raise Unreadable(_BROKEN)
            version, dialect = struct.unpack_from("<HH", record.body)
            if version not in _VERSIONS:
                raise Unreadable("a workbook of Excel 4 or older: there is no reader for it")
            if nested > 1:
                continue  # a chart within a sheet
            book.version = _VERSIONS[version]
            kind = _DIALECTS.get(dialect, "")
            if not kind:
                raise Unreadable("a workbook with a part of an unknown kind")
            sheet = None if kind in ("workbook", "workspace") else Sheet(book, kind, record.at)
            if kind in ("macro", "module"):
                parts.active["macro"] = None
        elif record.kind == _EOF:
            nested = max(0, nested - 1)
            if not nested and sheet is not None:
                sheet.tell(parts, budget)
                sheet = None
        elif sheet is not None:
            sheet.record(record, parts, budget)
        else:
            _globals(record, book, parts, budget)
    if nested or not book.sheets.keys() <= starts:
        parts.problems[_BROKEN] = None
    if sheet is not None:
        sheet.tell(parts, budget)
    if theme := b"".join(book.theme):
        budget.spend_entries()
        parts.children.append(Child("theme", theme))
    if book.art:
        drawing = officeart.Drawing()
        officeart.walk(b"".join(book.art), budget, drawing)
        parts.take_drawing(drawing)
    spare = [text for number, text in enumerate(book.strings) if number not in book.used]
    if spare:
        parts.segments.append(Segment("\n".join(spare), Zone.BODY))


def _globals(record: Record, book: Workbook, parts: Parts, budget: Budget) -> None:
    """A record of the workbook itself."""
    body = record.body
    if record.kind == _CODEPAGE and len(body) >= 2:
        book.codec = codec_of({0x8000: 10000, 0x8001: 1252}.get(struct.unpack_from("<H", body)[0], struct.unpack_from("<H", body)[0]))
    elif record.kind == _SHEET and len(body) >= 7:
        name = string(body[6:], 1) if book.version == 8 else old_string(body[6:], book.codec, 1)
        book.sheets[struct.unpack_from("<I", body)[0]] = (name, body[4] & 3)
        parts.segments.append(Segment(name, Zone.PROPERTY))
        if body[5] in (1, 6):
            parts.active["macro"] = None
    elif record.kind == _SST:
        _shared(record, book, budget)
    elif record.kind == _GROUP:
        book.art.extend(record.blocks)  # one drawing goes on over several records
    elif record.kind == _FILE_PASS:
        raise Unreadable("a workbook that is encrypted in a part of it")
    elif record.kind == _SUPBOOK:
        _other_book(body, parts)
    elif record.kind in (_FORMAT, _OLD_FORMAT):
        _format(record, book, parts)
    elif record.kind == _THEME:
        book.theme.append(body[16:])
    elif record.kind == _GOES_ON and book.theme:
        book.theme.append(body[12:])
    elif record.kind == _PICTURE:
        xls_sheet.picture(b"".join(record.blocks), parts, budget)
    elif record.kind not in _SILENT:
        data = b"".join(record.blocks)
        if words := sweep(data):
            parts.segments.append(Segment(words, Zone.PROPERTY))
        if inside := packed(data):
            parts.children.append(Child("record", inside))


def _format(record: Record, book: Workbook, parts: Parts) -> None:
    """How numbers are shown: with words, or as words."""
    if book.version == 8:
        code = string(record.body[2:])
    else:
        code = old_string(record.body[2:] if record.kind == _FORMAT else record.body, book.codec, 1)
    if words := "\n".join(formulas.shown_for_numbers(code)):
        parts.segments.append(Segment(words, Zone.PROPERTY))


def _shared(record: Record, book: Workbook, budget: Budget) -> None:
    """The table of shared strings: as many as it says, and no octet left over."""
    reader = Continued(record.blocks)
    reader.take(4)
    count = reader.number(4)
    if count > sum(len(block) for block in record.blocks) // 3:
        raise Unreadable("a workbook whose strings are broken")
    for number in range(count):
        book.strings.append(reader.string())
        if number % 5_000 == 0:
            budget.check_time()
    budget.spend_bytes(sum(len(text) for text in book.strings))
    if not reader.done():
        raise Unreadable("a workbook whose strings are broken")


def _other_book(body: bytes, parts: Parts) -> None:
    """Another file that formulas ask, or a program that they talk to."""
    if len(body) <= 4:
        return  # this workbook, or an add-in
    name = string(body[2:])
    parts.segments.append(Segment(name, Zone.PROPERTY))
    if "\x03" in name:
        parts.active["dde"] = None
    else:
        parts.active["external"] = None
        if "://" in name:
            parts.links.append(name[name.find("http") :] if "http" in name else name)

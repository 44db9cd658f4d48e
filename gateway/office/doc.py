"""The reader of Word documents before DOCX (Word 97 to 2003): every piece of text, in the zone where it stands.

What it is: ``read`` over the streams of a document.
Who calls it: ``office.ole``.
Must never: stop at the main text (headers, notes, comments and text boxes come behind it); call a document read whose text is not all
there.
Sources: MS-DOC 2.4.1 (retrieving text), 2.5 (FIB), 2.8.26 (PlcfHdd), 2.9.38 (Clx); docs/inspection.md, Legacy.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from gateway.extraction.base import Budget, Child, Unreadable
from gateway.extraction.strings import sweep
from gateway.office import doc_fonts, doc_text, officeart
from gateway.office.compound import Compound
from gateway.office.doc_fonts import Piece
from gateway.office.ole_parts import Parts
from gateway.text.markings import Segment
from gateway.verdict import Zone

FIB_ENCRYPTED, FIB_TABLE, FIB_OBFUSCATED = 0x0100, 0x0200, 0x8000
_STYLES, _HEADERS, _RUNS, _FONTS, _CLX, _DRAWINGS, _COMMANDS = 1, 11, 12, 15, 33, 50, 24
_COUNTS = ("text", "footnotes", "headers", "macros", "comments", "endnotes", "boxes", "header boxes")
_MOST_PIECES = 200_000
_PICTURE_HEAD = b"\x44\x00"
_SHAPES = (b"\x64\x00", b"\x66\x00")
"""What stands behind the head of a picture is a shape, or a shape with the name of a file."""
_HIGH = {0x80 + index: character for index, character in enumerate("€\x81‚ƒ„…†‡ˆ‰Š‹Œ\x8dŽ\x8f\x90‘’“”•–—˜™š›œ\x9džŸ")}


@dataclass(frozen=True, slots=True)
class Fib:
    """The file information block: what the rest of the reading needs of it."""

    flags: int
    key: int
    counts: tuple[int, ...]
    """Characters of the subdocuments, in the order of their text."""
    places: tuple[tuple[int, int], ...]
    """Offset and length in the table stream of everything the block names."""
    end: int

    @property
    def table(self) -> str:
        return "1Table" if self.flags & FIB_TABLE else "0Table"

    def place(self, number: int) -> tuple[int, int]:
        return self.places[number] if number < len(self.places) else (0, 0)


def fib(data: bytes) -> Fib:
    """Raises Unreadable for documents before Word 97 and for broken ones."""
    if len(data) < 0x22:
        raise Unreadable("a Word document that is cut off")
    magic, version = struct.unpack_from("<HH", data)
    if magic in (0xA5DC, 0xA5DB, 0x37FE) or (magic == 0xA5EC and version < 0xC0):
        raise Unreadable("a document of Word 95 or older: there is no reader for it")
    if magic != 0xA5EC:
        raise Unreadable("a Word document with a broken header")
    try:
        flags, key = struct.unpack_from("<H2xI", data, 10)
        shorts = struct.unpack_from("<H", data, 32)[0]
        at = 34 + 2 * shorts
        longs = struct.unpack_from("<H", data, at)[0]
        values = struct.unpack_from(f"<{longs}i", data, at + 2)
        at += 2 + 4 * longs
        pairs = struct.unpack_from("<H", data, at)[0]
        flat = struct.unpack_from(f"<{pairs * 2}I", data, at + 2)
    except struct.error:
        raise Unreadable("a Word document with a broken header") from None
    if longs < 11 or pairs < 74:
        raise Unreadable("a Word document with a broken header")
    counts = tuple(values[3:11])
    if min(counts) < 0:
        raise Unreadable("a Word document with a broken header")
    return Fib(flags, key, counts, tuple(zip(flat[::2], flat[1::2], strict=True)), at + 2 + 8 * pairs)


def read(compound: Compound, parts: Parts, budget: Budget) -> None:
    """Text, pictures and field codes of the document into *parts*."""
    main = parts.take("WordDocument")
    block = fib(main)
    table = parts.take(block.table)
    other = "0Table" if block.table == "1Table" else "1Table"
    if other in compound:
        parts.segments.append(Segment(sweep(parts.take(other)), Zone.BODY))
    if not table:
        raise Unreadable("a Word document without its table of pieces")
    text, pieces = _text(main, table, block, budget)
    _subdocuments(text, table, block, lambda story, zone: doc_text.tell(story, zone, parts))
    _legacy_fonts(text, pieces, main, table, block, parts, budget)
    at, length = block.place(_DRAWINGS)
    if length:
        drawing = officeart.Drawing()
        _drawings(table[at : at + length], budget, drawing, main)
        parts.take_drawing(drawing)
    pictures = parts.take("Data")
    if pictures:
        _pictures(pictures, parts, budget)
    parts.segments.append(Segment(_names(table, block), Zone.PROPERTY))
    parts.segments.append(Segment(_between(main, block.end, sorted((piece.start, piece.end) for piece in pieces)), Zone.BODY))


def _text(main: bytes, table: bytes, block: Fib, budget: Budget) -> tuple[_Units, list[Piece]]:
    """The whole text, all subdocuments one behind the other, and the pieces of the main stream that it stands in."""
    at, length = block.place(_CLX)
    clx = table[at : at + length]
    if not length or len(clx) < length:
        raise Unreadable("a Word document without its table of pieces")
    at = 0
    changes: list[bytes] = []
    while at < len(clx) and clx[at] == 1:
        changes.append(clx[at + 3 : at + 3 + int.from_bytes(clx[at + 1 : at + 3], "little")])
        at += 3 + struct.unpack_from("<H", clx.ljust(at + 4, b"\x00"), at + 1)[0]
    if at + 5 > len(clx) or clx[at] != 2:
        raise Unreadable("a Word document without its table of pieces")
    size = struct.unpack_from("<I", clx, at + 1)[0]
    pieces = clx[at + 5 : at + 5 + size]
    count = (size - 4) // 12
    if len(pieces) < size or count < 1 or count > _MOST_PIECES:
        raise Unreadable("a Word document whose table of pieces is broken")
    ends = struct.unpack_from(f"<{count + 1}I", pieces)
    out: list[bytes] = []
    found: list[Piece] = []
    if ends[0] != 0 or any(second < first for first, second in pairwise(ends)):
        raise Unreadable("a Word document whose table of pieces is broken")
    for number in range(count):
        place, change = struct.unpack_from("<IH", pieces, 4 * (count + 1) + 8 * number + 2)
        characters = ends[number + 1] - ends[number]
        narrow = bool(place & 0x40000000)
        place &= 0x3FFFFFFF
        start, octets = (place // 2, characters) if narrow else (place, characters * 2)
        raw = main[start : start + octets]
        if len(raw) < octets:
            raise Unreadable("a Word document whose table of pieces is broken")
        budget.spend_bytes(len(raw))
        out.append(raw.decode("latin-1").translate(_HIGH).encode("utf-16-le") if narrow else raw)
        changed = changes[change >> 1] if change & 1 and change >> 1 < len(changes) else b""
        found.append(Piece(start, start + octets, narrow, changed))
    text = _Units(b"".join(out))
    if len(text.octets) < 2 * sum(block.counts):
        raise Unreadable("a Word document with less text than it states")
    return text, found


@dataclass(frozen=True, slots=True)
class _Units:
    """Text whose positions count UTF-16 units, as all positions in Word do."""

    octets: bytes

    def story(self, start: int, end: int | None = None) -> str:
        return self.octets[2 * start : None if end is None else 2 * end].decode("utf-16-le", "replace")


def _legacy_fonts(text: _Units, pieces: list[Piece], main: bytes, table: bytes, block: Fib, parts: Parts, budget: Budget) -> None:
    """What is written in fonts that show Hindi for Latin letters, once more, by the letters that it shows."""

    def named(number: int) -> bytes:
        at, length = block.place(number)
        return table[at : at + length]

    fonts = doc_fonts.legacy(named(_FONTS))
    if not fonts:
        return
    shown = doc_fonts.shown(text.octets, pieces, main, named(_RUNS), named(_STYLES), fonts, budget)
    if shown is None:
        return
    octets, font = shown

    def tell(story: str, zone: Zone) -> None:
        if words := doc_text.plain(story).strip():
            parts.segments.append(Segment(words, zone, font=font))

    _subdocuments(_Units(octets), table, block, tell)


def _subdocuments(text: _Units, table: bytes, block: Fib, tell: Callable[[str, Zone], None]) -> None:
    at = 0
    for name, count in zip(_COUNTS, block.counts, strict=True):
        start, at = at, at + count
        if not count:
            continue
        story = text.story(start, at)
        if name == "headers":
            _headers(_Units(text.octets[2 * start : 2 * at]), table, block, tell)
        else:
            tell(story, Zone.BODY)
            if name == "header boxes":
                tell(story, Zone.PAGE_HEADER)
    tell(text.story(at), Zone.BODY)


def _headers(text: _Units, table: bytes, block: Fib, tell: Callable[[str, Zone], None]) -> None:
    """Six stories of separators, then six for each section: headers and footers of even, odd and first pages."""
    at, length = block.place(_HEADERS)
    count = length // 4
    ends = struct.unpack_from(f"<{count}I", table, at) if count and at + length <= len(table) else ()
    if len(ends) < 2 or ends[0] != 0 or any(second < first for first, second in pairwise(ends)):
        for zone in (Zone.PAGE_HEADER, Zone.PAGE_FOOTER):
            tell(text.story(0), zone)
        return
    for number, (start, end) in enumerate(pairwise(ends)):
        zone = Zone.BODY if number < 6 else Zone.PAGE_HEADER if (number - 6) % 6 in (0, 1, 4) else Zone.PAGE_FOOTER
        tell(text.story(start, end), zone)
    tell(text.story(ends[-1]), Zone.PAGE_FOOTER)


def _drawings(data: bytes, budget: Budget, drawing: officeart.Drawing, main: bytes) -> None:
    """The drawing group, then each drawing with an octet before it that says which text it belongs to."""
    if len(data) < 8:
        return
    length = struct.unpack_from("<I", data, 4)[0] + 8
    officeart.walk(data[:length], budget, drawing, main)
    at = length
    while at + 9 <= len(data):
        size = struct.unpack_from("<I", data, at + 5)[0] + 8
        officeart.walk(data[at + 1 : at + 1 + size], budget, drawing, main)
        at += 1 + size


def _pictures(data: bytes, parts: Parts, budget: Budget) -> None:
    """Pictures in the line of text, and what else the Data stream holds: fields of forms, targets of links."""
    at, rest = 0, []
    while at + 6 <= len(data):
        size, head = struct.unpack_from("<IH", data, at)
        if head == 0x44 and 0x44 <= size <= len(data) - at:
            start = at + 0x44
            if data[at + 6 : at + 8] not in _SHAPES:
                if any(data[at + 6 : at + 8]):
                    parts.children.append(Child("picture", data[start : at + size]))
                else:
                    rest.append(data[start : at + size])  # a field of a form, or the target of a link
                at += size
                continue
            if data[at + 6 : at + 8] == b"\x66\x00" and start < at + size:  # the name of a linked picture
                parts.segments.append(Segment(data[start + 1 : start + 1 + data[start]].decode("latin-1"), Zone.PROPERTY))
                start += 1 + data[start]
            drawing = officeart.Drawing()
            officeart.walk(data[start : at + size], budget, drawing)
            _after_shape(data[start : at + size], budget, drawing)
            parts.take_drawing(drawing)
            at += size
            continue
        found = data.find(_PICTURE_HEAD, at + 5)
        end = len(data) if found < 0 else found - 4
        rest.append(data[at:end])
        at = end
        budget.check_time()
    rest.append(data[at:])
    doc_text.note_targets(sweep(b"\x00\x00".join(rest)), parts)


def _after_shape(data: bytes, budget: Budget, drawing: officeart.Drawing) -> None:
    """An inline picture is a shape and, behind it, store entries or bare pictures."""
    if drawing.children or len(data) < 8:
        return
    at = struct.unpack_from("<I", data, 4)[0] + 8
    if at < len(data) and not officeart.pictures_in(data[at:], budget, drawing):
        drawing.broken = True


def _names(table: bytes, block: Fib) -> str:
    """What else the table stream says: bookmarks, authors, variables, numbering; not the names of styles and fonts."""
    silent = sorted(block.place(number) for number in (_STYLES, _FONTS, _CLX, _DRAWINGS, _COMMANDS))
    out, at = [], 0
    for start, length in silent:
        if length and start >= at:
            out.append(table[at:start])
            at = start + length
    out.append(table[at:])
    return "\n".join(filter(None, (sweep(part, narrow=False) for part in out)))


_PROSE = re.compile(r"[A-Za-z\u0900-\u0dff]{3}")


def _between(main: bytes, start: int, covered: list[tuple[int, int]]) -> str:
    """Text in the main stream that no piece names any more: what was deleted before a fast save."""
    out, at = [], start
    for first, last in covered:
        if first > at:
            out.append(main[at:first])
        at = max(at, last)
    out.append(main[at:])
    return "\n".join(line for part in out for line in sweep(part).split("\n") if _PROSE.search(line))

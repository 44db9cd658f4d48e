"""Which letters the glyphs of an embedded font are, as the font itself says.

What it is: ``letters`` (code to characters by the cmap, the names of glyphs or the charset that the font program has) and ``disagree``
(the table of letters of the document says other ones).
Who calls it: ``documents.pdf_content``.
Must never: take a program for honest that says nothing: subsets mostly have neither, and then only the outlines tell; read on beyond its
limits; fail for a damaged program.
Sources: ISO/IEC 14496-22 (cmap, post); Adobe Technical Note 5176 (CFF); ISO 32000-2 sections 9.6.5.4 and 9.7.4 (codes to glyphs).
"""

from __future__ import annotations

import itertools
import struct
import unicodedata
from collections.abc import Iterator, Mapping

import pikepdf

from gateway.documents import pdf_filters
from gateway.extraction.base import OverLimit

_CAP = 16_000_000  # octets of one program
_MOST = 70_000  # glyphs and characters of one
_TABLES = 60
_DISAGREE = 3
"""Letters that are said to be others, from which a word may be another one."""
_UNICODE = ((3, 10), (3, 1), (0, 6), (0, 4), (0, 3), (0, 2), (0, 1), (0, 0))
_OWN = ((3, 0), (1, 0))

Glyphs = dict[int, set[int]]


def program(font: pikepdf.Object) -> tuple[pikepdf.Object, pikepdf.Object] | None:
    """The font that holds the outlines of *font* (itself or its descendant), and the stream of its program."""
    inner = font.get("/DescendantFonts")
    holder = inner[0] if isinstance(inner, pikepdf.Array) and len(inner) else font
    descriptor = holder.get("/FontDescriptor") if isinstance(holder, pikepdf.Dictionary) else None
    for key in ("/FontFile2", "/FontFile3"):
        stream = descriptor.get(key) if isinstance(descriptor, pikepdf.Dictionary) else None
        if isinstance(stream, pikepdf.Stream):
            return holder, stream
    return None


def octets(stream: pikepdf.Object) -> bytes:
    """What the stream unpacks to; nothing where that is damaged or too much."""
    try:
        return pdf_filters.unpacked(stream.read_raw_bytes()[:_CAP], pdf_filters.named(stream), _CAP) or b""
    except OverLimit:
        return b""


def letters(font: pikepdf.Object, holder: pikepdf.Object, data: bytes) -> Glyphs:
    """Code to characters, as the program *data* of *font* says; empty where it says nothing, or the codes cannot be followed."""
    try:
        tables = _tables(data)
        names = _by_name(tables.get(b"post", b"")) if tables else {}
        cff = tables.get(b"CFF ", b"") if tables else data
        if not tables or cff:
            names = _cff(cff)
        known = _inverse(_cmap(tables.get(b"cmap", b""), _UNICODE)) or names
        if not known:
            return {}
        if "/DescendantFonts" in font:
            return (
                known
                if str(font.get("/Encoding", "")) in ("/Identity-H", "/Identity-V") and not _places(holder)
                else _moved(font, holder, known)
            )
        if "/Encoding" in font or not tables:
            return {}
        own = _cmap(tables.get(b"cmap", b""), _OWN)
        return {code & 0xFF: known[glyph] for code, glyph in own.items() if glyph in known}
    except (struct.error, LookupError, ValueError, TypeError):
        return {}


def disagree(said: Mapping[int, int], shown: Mapping[int, set[int]]) -> bool:
    """Whether several letters of the table *said* are others in the font."""
    wrong = 0
    for code, character in said.items():
        known = {_plain(one) for one in shown.get(code, ()) if one < 0x110000 and chr(one).isalpha()}
        wrong += bool(known) and chr(character).isalpha() and _plain(character) not in known
    return wrong >= _DISAGREE


def _plain(character: int) -> str:
    return unicodedata.normalize("NFKC", chr(character)).casefold()


def _places(holder: pikepdf.Object) -> bytes:
    table = holder.get("/CIDToGIDMap")
    return octets(table) if isinstance(table, pikepdf.Stream) else b""


def _moved(font: pikepdf.Object, holder: pikepdf.Object, known: Glyphs) -> Glyphs:
    if str(font.get("/Encoding", "")) not in ("/Identity-H", "/Identity-V"):
        return {}
    table = _places(holder)[: 2 * _MOST]
    glyphs = struct.unpack(f">{len(table) // 2}H", table[: len(table) // 2 * 2])
    return {code: known[glyph] for code, glyph in enumerate(glyphs) if glyph in known}


def _tables(data: bytes) -> dict[bytes, bytes]:
    if data[:4] not in (b"\x00\x01\x00\x00", b"true", b"OTTO"):
        return {}
    found: dict[bytes, bytes] = {}
    for index in range(min(struct.unpack_from(">H", data, 4)[0], _TABLES)):
        name, _, at, length = struct.unpack_from(">4sIII", data, 12 + 16 * index)
        if name in (b"cmap", b"post", b"CFF "):
            found[name] = data[at : at + length]
    return found or {b"": b""}


def _inverse(table: Mapping[int, int]) -> Glyphs:
    found: Glyphs = {}
    for character, glyph in table.items():
        found.setdefault(glyph, set()).add(character)
    return found


def _cmap(data: bytes, wanted: tuple[tuple[int, int], ...]) -> dict[int, int]:
    """Character to glyph, by the first of the *wanted* subtables that there is."""
    if len(data) < 4:
        return {}
    places: dict[tuple[int, int], int] = {}
    for index in range(min(struct.unpack_from(">H", data, 2)[0], _TABLES)):
        platform, encoding, at = struct.unpack_from(">HHI", data, 4 + 8 * index)
        places.setdefault((platform, encoding), at)
    for key in wanted:
        if key in places:
            return dict(pair for pair, _ in zip(_pairs(data, places[key]), range(_MOST), strict=False) if pair[1])
    return {}


def _pairs(data: bytes, at: int) -> Iterator[tuple[int, int]]:
    kind = struct.unpack_from(">H", data, at)[0]
    if kind == 0:
        yield from enumerate(data[at + 6 : at + 262])
    elif kind == 6:
        first, count = struct.unpack_from(">HH", data, at + 6)
        yield from ((first + index, glyph) for index, glyph in enumerate(struct.unpack_from(f">{count}H", data, at + 10)))
    elif kind == 12:
        for index in range(min(struct.unpack_from(">I", data, at + 12)[0], _MOST)):
            start, end, glyph = struct.unpack_from(">III", data, at + 16 + 12 * index)
            yield from ((start + offset, glyph + offset) for offset in range(min(end - start + 1, _MOST)))
    elif kind == 4:
        count = struct.unpack_from(">H", data, at + 6)[0] // 2
        ends = struct.unpack_from(f">{count}H", data, at + 14)
        starts, moves, ranges = (struct.unpack_from(f">{count}H", data, at + 16 + 2 * count * part) for part in (1, 2, 3))
        for index, (start, end, move, offset) in enumerate(zip(starts, ends, moves, ranges, strict=True)):
            for character in range(start, min(end, 0xFFFE) + 1):
                if not offset:
                    yield character, (character + move) & 0xFFFF
                    continue
                place = at + 16 + 6 * count + 2 * index + offset + 2 * (character - start)
                glyph = int.from_bytes(data[place : place + 2], "big")
                yield character, (glyph + move) & 0xFFFF if glyph else 0


def _by_name(post: bytes) -> Glyphs:
    """Glyph to character by the names of version 2 of the table, where these are letters."""
    if post[:4] != b"\x00\x02\x00\x00":
        return {}
    count = struct.unpack_from(">H", post, 32)[0]
    numbers = struct.unpack_from(f">{count}H", post, 34)
    names: list[bytes] = []
    at = 34 + 2 * count
    while at < len(post) and len(names) < _MOST:
        names.append(post[at + 1 : at + 1 + post[at]])
        at += 1 + post[at]
    found: Glyphs = {}
    for glyph, number in enumerate(numbers):
        if number >= 258:
            character = _named(names[number - 258]) if number - 258 < len(names) else 0
        else:
            character = number + 29 if 36 <= number <= 61 or 68 <= number <= 93 else 0
        if character:
            found[glyph] = {character}
    return found


def _named(name: bytes) -> int:
    if len(name) == 1 and name.isalpha():
        return name[0]
    try:
        return int(name[3:], 16) if name.startswith(b"uni") and len(name) == 7 else 0
    except ValueError:
        return 0


def _index(data: bytes, at: int) -> tuple[list[bytes], int]:
    """The items of an INDEX and where it ends."""
    count = struct.unpack_from(">H", data, at)[0]
    if not count:
        return [], at + 2
    size = data[at + 2]
    places = [int.from_bytes(data[at + 3 + size * index : at + 3 + size * (index + 1)], "big") for index in range(count + 1)]
    base = at + 2 + size * (count + 1)
    if places[-1] < 1 or base + places[-1] > len(data):
        raise ValueError("an index beyond its file")
    return [data[base + low : base + high] for low, high in itertools.pairwise(places)], base + places[-1]


def _cff(data: bytes) -> Glyphs:
    """Glyph to character by the charset of a font that names its glyphs; one with numbers for them (CID) says nothing."""
    if len(data) < 4 or data[0] != 1:
        return {}
    _, at = _index(data, data[2])
    tops, at = _index(data, at)
    strings, _ = _index(data, at)
    top = _operands(tops[0])
    if 1230 in top or top.get(15, 0) <= 2:
        return {}
    glyphs = struct.unpack_from(">H", data, top[17])[0]
    at, found = top[15], Glyphs()
    kind, at, glyph = data[at], at + 1, 1
    while glyph < glyphs:
        first, left = struct.unpack_from(">H", data, at)[0], 0
        at += 2
        if kind:
            left = int.from_bytes(data[at : at + kind], "big")
            at += kind
        for number in range(first, first + min(left, glyphs - glyph) + 1):
            if number >= 391:
                character = _named(strings[number - 391]) if number - 391 < len(strings) else 0
            else:
                character = number + 31 if 34 <= number <= 59 or 66 <= number <= 91 else 0
            if character:
                found[glyph] = {character}
            glyph += 1
    return found


def _operands(top: bytes) -> dict[int, int]:
    """Operator to its last operand; two octets of an operator as 1200 and the second."""
    found: dict[int, int] = {}
    at, last = 0, 0
    while at < len(top):
        octet = top[at]
        at += 1
        if octet <= 21:
            if octet == 12:
                octet = 1200 + top[at]
                at += 1
            found[octet] = last
        elif octet == 28:
            last, at = int.from_bytes(top[at : at + 2], "big", signed=True), at + 2
        elif octet == 29:
            last, at = int.from_bytes(top[at : at + 4], "big", signed=True), at + 4
        elif octet == 30:
            while at < len(top) and top[at] & 15 != 15 and top[at] >> 4 != 15:
                at += 1
            at += 1
        elif octet <= 246:
            last = octet - 139
        elif octet <= 254:
            last = (octet - 247) * 256 + top[at] + 108 if octet <= 250 else -(octet - 251) * 256 - top[at] - 108
            at += 1
    return found

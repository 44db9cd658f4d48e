"""Whether a font of a PDF gives out its glyphs as the letters that they are.

What it is: ``within`` (where fonts stand), ``said`` (what the table of letters of one says), ``lies`` (its encoding says otherwise),
``blank`` (letters are given out as blanks) and ``is_composite`` (without a table its codes mean nothing).
Who calls it: ``documents.pdf_content``.
Must never: follow a reference but the table; take a font for honest that was not compared: embedded fonts with codes of their own are
compared by ``pdf_glyphs``, if at all.
Sources: ISO 32000-2 sections 9.6.5 (encodings) and 9.10.3 (ToUnicode CMaps).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import pikepdf

from gateway.documents import pdf_filters
from gateway.documents.pdf_strings import entries, spelled
from gateway.extraction.base import OverLimit

_CAP = 1_000_000
_MOST = 70_000
_CHAR = re.compile(rb"<\s*([0-9A-Fa-f]{2,8})\s*>\s*<([0-9A-Fa-f\s]{2,64})>")
_RANGE = re.compile(rb"<\s*([0-9A-Fa-f]{2,8})\s*>\s*<\s*([0-9A-Fa-f]{2,8})\s*>\s*<\s*([0-9A-Fa-f]{4})\s*>")
_BLANKS = frozenset((0x20, 0xA0, *range(0x2000, 0x200E), 0x2060, 0x3000, 0xFEFF))
_MANY_BLANKS = 4
_SIMPLE = frozenset(("/Type1", "/TrueType", "/MMType1"))


def within(item: pikepdf.Object, depth: int = 4) -> Iterator[pikepdf.Object]:
    """The fonts that *item* is or holds in itself: most stand alone, but they need not."""
    if "/ToUnicode" in item:
        yield item
    for value in item.values() if depth else ():
        if isinstance(value, pikepdf.Dictionary) and not value.is_indirect:
            yield from within(value, depth - 1)


def said(font: pikepdf.Object) -> Mapping[int, int]:
    """Code to character, for the codes that stand for one character; empty where the table cannot be read."""
    table = font.get("/ToUnicode")
    if not isinstance(table, pikepdf.Stream):
        return {}
    try:
        data = pdf_filters.unpacked(table.read_raw_bytes()[:_CAP], pdf_filters.named(table), _CAP) or b""
    except OverLimit:
        return {}
    out: dict[int, int] = {}
    for block in data.split(b"endbf"):
        _, _, body = block.rpartition(b"beginbf")
        if body.startswith(b"range"):
            for low, high, first in _RANGE.findall(body):
                start, stop, character = int(low, 16), int(high, 16), int(first, 16)
                for offset in range(min(stop - start + 1, _MOST - len(out))):
                    out[start + offset] = character + offset
        else:
            for code, characters in _CHAR.findall(body):
                digits = b"".join(characters.split())
                if len(digits) == 4 and len(out) < _MOST:
                    out[int(code, 16)] = int(digits, 16)
    return out


def is_composite(font: pikepdf.Object) -> bool:
    """Whether the codes of *font* are as a rule numbers of glyphs, which mean nothing without a table."""
    return spelled(font.get("/Subtype", "")) == "/Type0"


def blank(table: Mapping[int, int]) -> bool:
    """Whether several glyphs are given out as blanks: a font has one or two."""
    return sum(character in _BLANKS for character in table.values()) >= _MANY_BLANKS


def lies(font: pikepdf.Object, table: Mapping[int, int]) -> bool:
    """Whether a font with an encoding of letters gives out other letters than that says."""
    if spelled(font.get("/Subtype", "")) not in _SIMPLE or not table:
        return False
    encoding = font.get("/Encoding")
    descriptor = font.get("/FontDescriptor")
    embedded = isinstance(descriptor, pikepdf.Dictionary) and any(key.startswith("/FontFile") for key in descriptor.keys())  # noqa: SIM118
    if encoding is None and embedded:
        return False  # codes of its own
    if isinstance(encoding, pikepdf.Dictionary) and "/BaseEncoding" not in encoding and embedded:
        letters: dict[int, int] = {}
    else:
        letters = {code: code for code in (*range(0x41, 0x5B), *range(0x61, 0x7B))}
    if isinstance(encoding, pikepdf.Dictionary):
        code = 0
        for item in entries(encoding.get("/Differences"), _MOST):
            if isinstance(item, pikepdf.Name):
                name = spelled(item)[1:]
                letters.pop(code, None)
                if len(name) == 1 and name.isascii() and name.isalpha():
                    letters[code] = ord(name)
                code += 1
            elif isinstance(item, int):
                code = item
    return any(code in table and chr(table[code]).isalpha() and table[code] != letter for code, letter in letters.items())

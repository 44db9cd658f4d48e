"""Text of a Word document in fonts that show Hindi for Latin letters, as its runs of character formatting name them.

What it is: ``shown``, the text with everything blanked that is in other fonts, and the name of such a font.
Who calls it: ``office.doc``.
Must never: take text away from the running text: what stands here stands there too, as the letters that are stored; fail where the
formatting is broken: then all text counts as shown so, which costs nothing, since Latin words read as Hindi give no word.
Sources: MS-DOC 2.8.6 (PlcBteChpx), 2.9.33 (ChpxFkp), 2.6.1 (sprmCRgFtc0, sprmCRgFtc2), 2.9.286 (SttbfFfn), 2.9.271 (STSH);
``text.legacy_fonts``.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gateway.extraction.base import Budget
from gateway.text import legacy_fonts

_PAGE = 512
_NAME_AT = 40  # octets of an entry of the font table before the name
_MOST_RUNS = 200_000
_LATIN = (0x4A4F, 0x4A51)
"""The font of ASCII letters and that of the other letters of a run that is neither Asian nor right to left."""
_SIZES = (1, 1, 2, 4, 2, 2, -1, 3)  # octets of an operand, by the three high bits of the code; -1: the first octet says
_TABLE_CODE = 0xD608  # whose length has two octets; it stands in no run of characters


class Piece(NamedTuple):
    """One piece of the text: octets of the main stream."""

    start: int
    end: int
    narrow: bool
    """One octet a character, else two."""
    changes: bytes
    """Changes of formatting that a fast save put upon all of it."""


class _Run(NamedTuple):
    start: int
    end: int
    font: int
    """Number of its font; -1 where it names none."""


def legacy(table: bytes) -> dict[int, str]:
    """Number and name of the fonts in the font *table* of a document that show Hindi for Latin letters."""
    found: dict[int, str] = {}
    count = int.from_bytes(table[:2], "little")
    at = 4
    for number in range(count):
        if at >= len(table):
            break
        entry = table[at : at + 1 + table[at]]
        at += 1 + entry[0]
        name = entry[_NAME_AT:].decode("utf-16-le", "replace").partition("\0")[0]
        if legacy_fonts.is_legacy(name):
            found[number] = name
    return found


def shown(
    text: bytes, pieces: Sequence[Piece], main: bytes, places: bytes, styles: bytes, fonts: dict[int, str], budget: Budget
) -> tuple[bytes, str] | None:
    """*text* (UTF-16) with the end of a line for each character that is in none of *fonts*, and the name of one; None for no text.

    *pieces* are where it stands in the stream *main*, in its order; *places* is the table of the pages of *main* that hold the runs;
    *styles* is the sheet of styles: where one names such a font, all text counts whose run names no other.
    """
    default = next((name for number, name in fonts.items() if _in_styles(styles, number)), "")
    runs = _runs(main, places, budget)
    budget.spend_bytes(len(text))
    out = bytearray(b"\n\0" * (len(text) // 2))
    used = ""
    starts = [run.start for run in runs] if runs is not None else []
    at = 0
    for piece in pieces:
        budget.check_time()
        wide = 1 if piece.narrow else 2
        length = (piece.end - piece.start) // wide
        own = _font_of(piece.changes)
        if runs is None:
            out[2 * at : 2 * (at + length)] = text[2 * at : 2 * (at + length)]
            used = used or next(iter(fonts.values()))
        for first, last, font in _within(piece, own, runs or (), starts):
            name = fonts.get(font, "") if font >= 0 else default
            if name:
                low, high = at + (first - piece.start) // wide, at + -(-(last - piece.start) // wide)
                out[2 * low : 2 * high] = text[2 * low : 2 * high]
                used = name
        at += length
    return (bytes(out), used) if used else None


def _within(piece: Piece, own: int, runs: Sequence[_Run], starts: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """The stretches of *piece* and their font; what no run covers has none of its own."""
    if own >= 0:
        yield piece.start, piece.end, own
        return
    at = piece.start
    number = max(0, bisect_right(starts, at) - 1)
    while at < piece.end and number < len(runs):
        run = runs[number]
        number += 1
        first, last = max(at, run.start), min(piece.end, run.end)
        if first >= last:
            if run.start >= piece.end:
                break
            continue
        if first > at:
            yield at, first, -1
        yield first, last, run.font
        at = last
    if at < piece.end:
        yield at, piece.end, -1


def _runs(main: bytes, places: bytes, budget: Budget) -> list[_Run] | None:
    """All runs of characters, in order; None where their tables are broken."""
    count = (len(places) - 4) // 8
    if count < 1:
        return None
    runs: list[_Run] = []
    for number in struct.unpack_from(f"<{count}I", places, 4 * (count + 1)):
        at = (number & 0x3FFFFF) * _PAGE
        page = main[at : at + _PAGE]
        if len(page) < _PAGE:
            return None
        budget.check_time()
        many = page[-1]
        if not 1 <= many <= 0x65:
            return None
        ends = struct.unpack_from(f"<{many + 1}I", page)
        for index in range(many):
            offset = 2 * page[4 * (many + 1) + index]
            changes = page[offset + 1 : offset + 1 + page[offset]] if offset else b""
            if ends[index + 1] < ends[index] or (runs and ends[index] < runs[-1].end):
                return None
            runs.append(_Run(ends[index], ends[index + 1], _font_of(changes)))
        if len(runs) > _MOST_RUNS:
            return None
    return runs


def _font_of(changes: bytes) -> int:
    """The font that a list of changes sets; -1 for none."""
    font, at = -1, 0
    while at + 3 <= len(changes):
        code = int.from_bytes(changes[at : at + 2], "little")
        at += 2
        size = _SIZES[code >> 13]
        if code == _TABLE_CODE:
            return font
        if size < 0:
            size = 1 + changes[at]
        if code in _LATIN and (code == _LATIN[0] or font < 0):
            font = int.from_bytes(changes[at : at + 2], "little")
        at += size
    return font


def _in_styles(styles: bytes, font: int) -> bool:
    """Whether the sheet of styles sets *font* anywhere: as that of all text, or in the changes of a style."""
    if len(styles) >= 20 and font in struct.unpack_from("<HHH", styles, 14)[::2]:
        return True  # the length of the head stands before it
    return any(struct.pack("<HH", code, font) in styles for code in _LATIN)

"""The words that a formula in a BIFF workbook joins: a program that reckons it anew shows them, whatever value is stored.

What it is: ``words``, the texts and characters among the tokens of one formula, in their order.
Who calls it: ``office.xls_sheet``.
Must never: reckon; go on behind a token that it does not know.
Source: MS-XLS 2.2.2 and 2.5.198 (Ptg); "OpenOffice.org's Documentation of the Microsoft Excel File Format", 3 (sizes in BIFF5).
"""

from __future__ import annotations

import struct

_TEXT, _ATTRIBUTE, _INTEGER, _NUMBER = 0x17, 0x19, 0x1E, 0x1F
_CALL, _CHAR = 0x21, 111
_CHOICE = 0x04
_SIZES = {
    1: 4, 2: 4, **dict.fromkeys(range(0x03, 0x17), 0), 0x1C: 1, 0x1D: 1, _INTEGER: 2, _NUMBER: 8, 0x20: 7, _CALL: 2, 0x22: 3, 0x23: 4,
    0x24: 4, 0x25: 8, 0x26: 6, 0x27: 6, 0x28: 6, 0x29: 2, 0x2A: 4, 0x2B: 8, 0x2C: 4, 0x2D: 8, 0x2E: 2, 0x2F: 2, 0x39: 6, 0x3A: 6,
    0x3B: 10, 0x3C: 6, 0x3D: 10,
}  # fmt: skip
"""Octets behind each token; those of the classes for values and arrays are like those for references."""
_OLD_SIZES = {
    **_SIZES, 0x23: 14, 0x24: 3, 0x25: 6, 0x2A: 3, 0x2B: 6, 0x2C: 3, 0x2D: 6, 0x39: 24, 0x3A: 17, 0x3B: 20, 0x3C: 17, 0x3D: 20,
}  # fmt: skip


def words(tokens: bytes, codec: str, *, old: bool) -> str:
    """What stands in *tokens* in quotes or as the number of a character; *old*: as Excel 5 and 95 write them, in *codec*."""
    found: list[str] = []
    sizes = _OLD_SIZES if old else _SIZES
    at, number = 0, -1.0
    while at < len(tokens):
        token = tokens[at]
        if token > 0x3F:
            token = token & 0x1F | 0x20
        at += 1
        if token == _TEXT and at + 2 <= len(tokens):
            count, wide = tokens[at], not old and bool(tokens[at + 1] & 1)
            at += 1 if old else 2
            raw = tokens[at : at + count * (2 if wide else 1)]
            found.append(raw.decode("utf-16-le" if wide else codec if old else "latin-1", "replace"))
            at += len(raw)
        elif token == _ATTRIBUTE and at + 3 <= len(tokens):
            at += 3 + (2 * (struct.unpack_from("<H", tokens, at + 1)[0] + 1) if tokens[at] == _CHOICE else 0)
        elif (size := sizes.get(token)) is None or at + size > len(tokens):
            break
        else:
            if token == _CALL and struct.unpack_from("<H", tokens, at)[0] == _CHAR and 0 < number < 256:
                found.append(bytes((int(number),)).decode("cp1252", "replace"))
            number = -1.0
            if token in (_INTEGER, _NUMBER):
                number = struct.unpack_from("<H" if token == _INTEGER else "<d", tokens, at)[0]
            at += size
    return "".join(found)

"""Fonts embedded in Office documents: whether they are fonts, and the words in them.

What it is: ``read``; the first 32 octets of such a font are hidden by the key that the list of fonts names.
Who calls it: the OOXML reader.
Must never: take a file for a font by its name; draw a glyph.
Sources: ECMA-376 part 4 section 3.1 (font embedding); OpenType 1.9 (table directory, name table).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable

from gateway.extraction.base import Unreadable
from gateway.text.markings import Segment
from gateway.verdict import Zone

KEY = re.compile(rb"fontKey\s*=\s*[\"']\{([0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})\}")
_KINDS = (b"\x00\x01\x00\x00", b"OTTO", b"true", b"ttcf")
_TABLES = 64
_TAG = re.compile(rb"[A-Za-z0-9/ ]{4}")
_HIDDEN = 32


def read(data: bytes, keys: Iterable[bytes]) -> tuple[Segment, ...]:
    """The names in the font *data*, hidden by one of *keys* (32 hexadecimal digits with hyphens). Raises Unreadable for no font."""
    for key in keys:
        mask = bytes.fromhex(key.decode("ascii").replace("-", ""))[::-1]
        plain = bytes(octet ^ mask[at % 16] for at, octet in enumerate(data[:_HIDDEN])) + data[_HIDDEN:]
        if plain.startswith(_KINDS):
            return _names(plain)
    if data.startswith(_KINDS):
        return _names(data)
    raise Unreadable("a document with an embedded font that is none")


def _names(font: bytes) -> tuple[Segment, ...]:
    """The name table of a font whose tables fill it."""
    if font.startswith(b"ttcf") or len(font) < 12:
        raise Unreadable("a document with an embedded font of an unknown kind")
    count = struct.unpack_from(">H", font, 4)[0]
    if not 0 < count <= _TABLES or 12 + 16 * count > len(font):
        raise Unreadable("a document with a broken font")
    end, names = 12 + 16 * count, b""
    covered = end
    for at in range(12, end, 16):
        tag, _, offset, length = struct.unpack_from(">4sLLL", font, at)
        if not _TAG.fullmatch(tag) or offset < end or offset + length > len(font):
            raise Unreadable("a document with a broken font")
        covered += (length + 3) & ~3
        if tag == b"name":
            names = font[offset : offset + length]
    if covered + 3 < len(font):
        raise Unreadable("a document with a font that holds other data")
    words = [text for encoding in ("utf-16-be", "latin-1") if (text := _readable(names[6:].decode(encoding, "replace")))]
    return tuple(Segment(text, Zone.PROPERTY) for text in words)


def _readable(text: str) -> str:
    return "\n".join(run for run in re.split(r"[^\x20-\x7e\u0900-\u0dff]+", text) if len(run) > 3)

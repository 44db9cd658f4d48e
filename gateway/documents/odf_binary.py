"""The two binary formats of LibreOffice that nearly every document of it may hold: layout cache and StarView metafile.

What it is: readers that go through their records to the last octet and hand out every text in them.
Who calls it: the ODF reader.
Must never: call a file read whose records do not fill it exactly.
Sources: LibreOffice, sw/source/core/layout/laycache.cxx and vcl/source/gdi/svmconverter, SvmReader (record structure).
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from gateway.extraction.base import OverLimit, Unreadable
from gateway.text.markings import Segment
from gateway.verdict import Zone

_ACTIONS = 200_000
_TEXTS = frozenset((112, 113, 114, 115))
"""META_TEXT, TEXTARRAY, STRETCHTEXT, TEXTRECT."""
_PICTURES = frozenset(range(116, 124)) | {143, 145, 146, 147, 148, 149, 150, 151, 152, 512}
"""Bitmaps, masks, encapsulated PostScript and what may hold them; comments (512) may carry a whole other metafile."""
_COMMENT = 512
_SHORTEST = 3


@dataclass(frozen=True, slots=True)
class Drawing:
    """The texts of a metafile, and whether it shows pictures."""

    segments: tuple[Segment, ...]
    has_pictures: bool


def layout_cache(data: bytes) -> tuple[Segment, ...]:
    """Page breaks by number of paragraph: no text at all. What looks like text in it is handed out nevertheless.

    Raises Unreadable when its records do not fill it.
    """
    if len(data) < 4 or struct.unpack_from("<H", data)[0] not in (1, 2):
        raise Unreadable("a document with a part of an unknown type")
    at = 4
    while at < len(data):
        size = int.from_bytes(data[at + 1 : at + 4], "little")
        if at + 4 > len(data) or size < 4 or at + size > len(data):
            raise Unreadable("a document with a part of an unknown type")
        at += size
    return _strings(data)


def metafile(data: bytes) -> Drawing:
    """The StarView metafile *data*. Raises Unreadable when its actions do not fill it, OverLimit for too many of them."""
    if len(data) < 12:
        raise Unreadable("a drawing that is cut off")
    _, length = struct.unpack_from("<HI", data, 6)
    at = 12 + length
    texts: list[bytes] = []
    pictures, count = False, 0
    while at < len(data):
        count += 1
        if count > _ACTIONS:
            raise OverLimit("a drawing with more actions than the limit")
        if at + 8 > len(data):
            raise Unreadable("a drawing that is cut off")
        kind, _, size = struct.unpack_from("<HHI", data, at)
        end = at + 8 + size
        if end > len(data):
            raise Unreadable("a drawing that is cut off")
        if kind in _TEXTS:
            texts.append(data[at + 8 : end])
        elif kind in _PICTURES:
            body = data[at + 8 : end]
            pictures = pictures or kind != _COMMENT or len(body) > 1024
            texts.append(body[:65_536])
        at = end
    segments = tuple(segment for text in texts for segment in _strings(text))
    return Drawing(segments, pictures)


def _strings(data: bytes) -> tuple[Segment, ...]:
    """What reads as text in *data*, in octets and in UTF-16."""
    found = []
    for text in (data.decode("latin-1"), data.decode("utf-16-le", "replace"), data[1:].decode("utf-16-le", "replace")):
        words = [run for run in re.split(r"[^\x20-\x7e\u0900-\u0dff]+", text) if len(run) >= _SHORTEST]
        if words:
            found.append(Segment("\n".join(words), Zone.BODY))
    return tuple(found)

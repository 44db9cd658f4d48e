"""Drawings in older Office documents: their pictures, their words and their links.

What it is: ``walk`` over OfficeArt records, ``pictures_in`` for the streams that hold pictures only.
Who calls it: the readers of DOC, XLS and PPT.
Must never: leave out a picture because its form is not known (it becomes a member that nobody can read).
Source: MS-ODRAW 2.2.23-2.2.31 (BLIPs), 2.3 (properties).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

from gateway.extraction.base import Budget, Child
from gateway.text.markings import Segment
from gateway.verdict import Zone

_BLIPS = {
    0xF01A: ("picture.emf", "image/emf"), 0xF01B: ("picture.wmf", "image/wmf"), 0xF01C: ("picture.pict", "image/x-pict"),
    0xF01D: ("picture.jpg", "image/jpeg"), 0xF01E: ("picture.png", "image/png"), 0xF01F: ("picture.bmp", "image/bmp"),
    0xF029: ("picture.tif", "image/tiff"), 0xF02A: ("picture.jpg", "image/jpeg"),
}  # fmt: skip
_METAFILES = (0xF01A, 0xF01B, 0xF01C)
_STORE_ENTRY, _OPTIONS = 0xF007, (0xF00B, 0xF121, 0xF122)
_TEXTS = {0x00C0: Zone.WATERMARK, 0x0380: Zone.PROPERTY, 0x0381: Zone.PROPERTY, 0x0382: Zone.PROPERTY, 0x038D: Zone.PROPERTY}
"""Words of WordArt, name, description, link and tooltip of a shape."""
_LINKS = 0x0382
_MOST_RECORDS = 200_000


@dataclass(slots=True)
class Drawing:
    """What drawings gave. *broken*: a record that is longer than what holds it."""

    segments: list[Segment] = field(default_factory=list)
    children: list[Child] = field(default_factory=list)
    broken: bool = False


def walk(data: bytes, budget: Budget, drawing: Drawing, delayed: bytes = b"") -> None:
    """Everything in the records of *data*; pictures may stand in *delayed*, where a store entry says."""
    stack = [(0, len(data))]
    count = 0
    while stack:
        at, end = stack.pop()
        while at + 8 <= end:
            head, kind, length = struct.unpack_from("<HHI", data, at)
            start, stop = at + 8, at + 8 + length
            count += 1
            if count % 1000 == 0:
                budget.check_time()
            if stop > end or kind < 0xF000 or count > _MOST_RECORDS:
                drawing.broken = drawing.broken or kind >= 0xF000
                break
            if kind in _BLIPS:
                _blip(kind, head >> 4, data[start:stop], budget, drawing)
            elif kind == _STORE_ENTRY:
                _entry(data[start:stop], budget, drawing, delayed)
            elif kind in _OPTIONS:
                _options(data[start:stop], head >> 4, drawing)
            elif head & 0x0F == 0x0F:
                stack.append((stop, end))
                at, end = start, stop
                continue
            at = stop


def pictures_in(data: bytes, budget: Budget, drawing: Drawing, *, of_entry: bool = False) -> bool:
    """The pictures of a stream that is nothing but pictures. Returns whether all of it was that. *of_entry*: they stand in a store entry,
    which holds no other one.
    """
    at = 0
    while at + 8 <= len(data):
        head, kind, length = struct.unpack_from("<HHI", data, at)
        budget.check_time()
        if kind == _STORE_ENTRY and of_entry:
            drawing.broken = True
            return False
        if (kind not in _BLIPS and kind != _STORE_ENTRY) or length > len(data) - at - 8:
            return not data[at:].strip(b"\x00")
        if kind == _STORE_ENTRY:
            _entry(data[at + 8 : at + 8 + length], budget, drawing, b"")
        else:
            _blip(kind, head >> 4, data[at + 8 : at + 8 + length], budget, drawing)
        at += 8 + length
    return True


def _entry(data: bytes, budget: Budget, drawing: Drawing, delayed: bytes) -> None:
    """A store entry: the picture behind it, or in another stream at an offset."""
    if len(data) < 36:
        drawing.broken = True
        return
    size, references, offset = struct.unpack_from("<III", data, 20)
    inside = data[36 + data[33] :]
    if len(inside) >= 8:
        pictures_in(inside, budget, drawing, of_entry=True)
    elif delayed and offset != 0xFFFFFFFF and size:
        if offset + size > len(delayed):
            drawing.broken = drawing.broken or references > 0
        else:
            pictures_in(delayed[offset : offset + size], budget, drawing, of_entry=True)


def _blip(kind: int, instance: int, data: bytes, budget: Budget, drawing: Drawing) -> None:
    name, media_type = _BLIPS[kind]
    at = 32 if instance & 1 else 16
    if kind in _METAFILES:
        if len(data) < at + 34:
            drawing.broken = True
            return
        packed, data = data[at + 32] == 0, data[at + 34 :]
        if packed:
            engine = zlib.decompressobj()
            try:
                plain = engine.decompress(data, budget.room(len(data)))
            except zlib.error:
                plain = b""
            if not plain or engine.unconsumed_tail:
                drawing.broken = True
                budget.spend_bytes(len(plain))  # unpacked in vain
                return
            data = plain
        if kind == 0xF01C:
            data = bytes(512) + data  # the file form of a PICT begins with 512 octets of nothing
    else:
        data = data[at + 1 :]
        if kind == 0xF01F and len(data) > 40:
            size, bits, used = struct.unpack_from("<I", data)[0], *struct.unpack_from("<14xH16xI", data)
            colours = 4 * (used or (1 << bits if bits <= 8 else 0))
            data = b"BM" + struct.pack("<IHHI", len(data) + 14, 0, 0, 14 + size + min(colours, 1024)) + data
    if data:
        budget.spend_bytes(len(data))
        budget.spend_entries()
        drawing.children.append(Child(name, data, media_type))


def _options(data: bytes, count: int, drawing: Drawing) -> None:
    """The properties of a shape; long values stand behind the table, in its order."""
    if count * 6 > len(data):
        drawing.broken = True
        return
    at = count * 6
    for number in range(count):
        key, value = struct.unpack_from("<HI", data, number * 6)
        if not key & 0x8000:
            continue
        zone = _TEXTS.get(key & 0x3FFF)
        raw, at = data[at : at + value], at + value
        if zone is not None and raw:
            text = raw[: len(raw) & ~1].decode("utf-16-le", "replace").replace("\x00", " ").strip()
            if text:
                drawing.segments.append(Segment(text.replace("\r", "\n").replace("\x0b", "\n"), zone))

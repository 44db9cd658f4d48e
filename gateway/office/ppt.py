"""The reader of PowerPoint presentations before PPTX (97 to 2003): slides, masters, notes, comments, all of their revisions.

What it is: ``read`` over the streams of a presentation.
Who calls it: ``office.ole``.
Must never: follow the table of what is current only (what was deleted is still in the file); call a presentation read whose records are
broken.
Sources: MS-PPT 2.1.2, 2.9.41-2.9.43 (text atoms), 2.4.15 (headers and footers), 2.10.34-2.10.36 (embedded objects).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from gateway.extraction.base import Budget, Child, OverLimit, Unreadable
from gateway.extraction.strings import sweep
from gateway.office import officeart
from gateway.office.ole_parts import Parts
from gateway.text.markings import Segment
from gateway.verdict import Zone

_CHARS, _BYTES, _CSTRING, _OBJECT, _VBA = 0x0FA0, 0x0FA8, 0x0FBA, 0x1011, 0x03FF
_EDGES, _LINK, _TAG_DATA = 0x0FD9, 0x0FD7, 0x138B
_ENCRYPTED = 0x2F14
_PLAIN = str.maketrans({"\r": "\n", "\x0b": "\n", "\x00": " ", "\x0c": "\n"})
_MOST_RECORDS, _MOST_NESTING = 1_000_000, 40
_SOUND = 0x07E7
_PACKAGE = b"PK\x03\x04"


@dataclass(frozen=True, slots=True)
class _Frame:
    """A container that is open: where it ends, and its type."""

    end: int
    kind: int


def read(parts: Parts, budget: Budget) -> None:
    """Text, pictures and objects of the presentation into *parts*."""
    parts.loose(parts.take("Current User"), "user")
    data = parts.take("PowerPoint Document")
    _records(data, parts, budget)
    pictures = parts.take("Pictures")
    if pictures:
        drawing = officeart.Drawing()
        if not officeart.pictures_in(pictures, budget, drawing):
            drawing.broken = True
        parts.take_drawing(drawing)


def _records(data: bytes, parts: Parts, budget: Budget) -> None:
    at, count = 0, 0
    frames = [_Frame(len(data), 0)]
    drawing = officeart.Drawing()
    while frames:
        frame = frames[-1]
        if at + 8 > frame.end:
            if data[at : frame.end].strip(b"\x00"):
                parts.problems["a presentation whose records are broken"] = None
            at = frame.end
            frames.pop()
            continue
        head, kind, length = struct.unpack_from("<HHI", data, at)
        start, end = at + 8, at + 8 + length
        count += 1
        if count % 2_000 == 0:
            budget.check_time()
        if count > _MOST_RECORDS or len(frames) > _MOST_NESTING:
            raise OverLimit("it holds more records than the limit")
        if end > frame.end:
            if len(frames) == 1 and not data[at:].strip(b"\x00"):
                break
            raise Unreadable("a presentation whose records are broken")
        if kind == _ENCRYPTED:
            parts.problems["a presentation with encrypted parts"] = None
        if head & 0x0F == 0x0F and kind != 0xF007 and data[start : start + 4] != _PACKAGE:
            if kind == _VBA:
                parts.active["macro"] = None
            frames.append(_Frame(end, kind))
            at = start
            continue
        _atom(kind, head >> 4, data[start:end], frames, parts, budget, drawing)
        at = end
    parts.take_drawing(drawing)


def _atom(kind: int, instance: int, body: bytes, frames: list[_Frame], parts: Parts, budget: Budget, drawing: officeart.Drawing) -> None:
    if kind in (_CHARS, _CSTRING):
        text = body[: len(body) & ~1].decode("utf-16-le", "replace").translate(_PLAIN)
        _say(kind, instance, text, frames, parts)
    elif kind == _BYTES:
        _say(kind, instance, body.decode("latin-1").translate(_PLAIN), frames, parts)
    elif kind == _OBJECT:
        _object(instance, body, parts, budget)
    elif kind == 0xF007:
        officeart.pictures_in(struct.pack("<HHI", 2, kind, len(body)) + body, budget, drawing)
    elif kind in (0xF00B, 0xF121, 0xF122) or 0xF01A <= kind <= 0xF02A:
        officeart.walk(struct.pack("<HHI", instance << 4 | 3, kind, len(body)) + body, budget, drawing)
    elif body.startswith(_PACKAGE):  # a theme or styles of a newer version, as a package
        budget.spend_entries()
        parts.children.append(Child("package.zip", body))
    elif kind in (_TAG_DATA, _SOUND):
        words = sweep(body)
        if words:
            parts.segments.append(Segment(words, Zone.PROPERTY))


def _say(kind: int, instance: int, text: str, frames: list[_Frame], parts: Parts) -> None:
    """Header and footer texts, links, names and running text."""
    if not text.strip():
        return
    around = {frame.kind for frame in frames}
    if kind == _CSTRING and _EDGES in around:
        zone = Zone.PAGE_HEADER if instance == 1 else Zone.PAGE_FOOTER
    elif kind == _CSTRING and _LINK in around:
        zone = Zone.PROPERTY
        if "://" in text or text.lower().startswith("mailto:"):
            parts.links.append(text)
    else:
        zone = Zone.BODY
    parts.segments.append(Segment(text, zone))


def _object(instance: int, body: bytes, parts: Parts, budget: Budget) -> None:
    """An embedded object, a control or the macros: a compound file, packed or not."""
    budget.spend_entries()
    if instance == 0:
        parts.children.append(Child("object", body))
        return
    engine = zlib.decompressobj()
    try:
        plain = engine.decompress(body[4:], budget.room(len(body)))
    except zlib.error:
        raise Unreadable("a presentation with a broken embedded object") from None
    if engine.unconsumed_tail or not engine.eof:
        raise Unreadable("a presentation with a broken embedded object")
    budget.spend_bytes(len(plain))
    parts.children.append(Child("object", plain))

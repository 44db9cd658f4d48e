"""Objects embedded in documents: packages, presentations of objects, and the small streams that belong to them.

What it is: ``take``, which looks at one storage and takes what it understands.
Who calls it: ``office.ole``.
Must never: use a name inside of an object as a path; call an object read whose data nobody read.
Sources: MS-OLEDS 2.3.4 (OLEPresentationStream), 2.3.6 (OLENativeStream); hostile-inputs catalogue D05.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from gateway.extraction.base import Child, Unreadable
from gateway.office.ole_parts import Parts
from gateway.text.markings import Segment
from gateway.verdict import Zone

_WHOLE = frozenset(("contents", "package", "package_stream", "embeddedodf", "ole10native data"))
"""Streams that are a file of their own."""
_WORDS = frozenset((
    "\x01compobj", "\x03objinfo", "\x03print", "\x03ocxname", "\x03ocxdata", "\x03vbframe", "\x01ole", "\x03linkinfo", "\x03dcmeta",
    "equation native", "f", "o", "\x01oletext", "\x03ftccs", "\x01compobjtextscript", "\x03accessobjsitedata", "persistentobjectinfo",
))  # fmt: skip
"""Small streams without a grammar here: what can be read in them is read."""
_NO_LETTERS = bytes(octet for octet in range(256) if not 0x20 <= octet < 0x7F)
_PICTURES = {3: "preview.wmf", 14: "preview.emf", 8: "preview.bmp"}


@dataclass(frozen=True, slots=True)
class Package:
    """A file within an object."""

    name: str
    data: bytes


def take(parts: Parts, path: tuple[str, ...]) -> bool:
    """Takes the stream *path* when it is of an object. Returns False when it is of another kind."""
    name = path[-1].lower()
    if name == "\x01ole10native":
        parts.active["program"] = None
        _native(parts.take(*path), parts)
    elif name == "equation native":
        parts.active["program"] = None
        data = parts.take(*path)
        parts.loose(data, "equation")
        # Each letter is a record of its own: between them stand only octets that are no letters.
        letters = data.translate(None, _NO_LETTERS).decode("ascii")
        if letters.strip():
            parts.segments.append(Segment(letters, Zone.BODY))
    elif name in _WHOLE:
        if data := parts.take(*path):
            parts.children.append(Child(path[-1], data))
    elif name == "\x01ole":
        data = parts.take(*path)
        if len(data) >= 8 and data[4] & 1:
            parts.active["external"] = None
        parts.loose(data, "stream")
    elif name.startswith("\x02olepres"):
        _preview(parts.take(*path), parts)
    elif name in ("\x03eprint", "\x03epsprint", "\x03meta", "\x03pict"):
        if data := parts.take(*path):
            parts.children.append(Child("preview", data))
    elif name in _WORDS:
        parts.loose(parts.take(*path), "stream")
    else:
        return False
    return True


def package(data: bytes) -> Package | None:
    """The file in the native data of a Package object; None when it is not of this form."""
    if len(data) < 12 or data[4:6] != b"\x02\x00":
        return None
    label, at = _text(data, 6)
    _, at = _text(data, at)
    if at + 8 > len(data):
        return None
    length = struct.unpack_from("<I", data, at + 4)[0]
    at += 8 + length
    if at + 4 > len(data):
        return None
    size = struct.unpack_from("<I", data, at)[0]
    if size > len(data) - at - 4:
        raise Unreadable("a document with a broken embedded object")
    return Package(label, data[at + 4 : at + 4 + size])


def _text(data: bytes, at: int) -> tuple[str, int]:
    end = data.find(b"\x00", at, at + 2_000)
    return (data[at:end].decode("latin-1"), end + 1) if end >= 0 else ("", len(data))


def _native(data: bytes, parts: Parts) -> None:
    """A package's file and the paths it came from; native data of another program as it is."""
    found = package(data)
    if found is None:
        if data:
            parts.children.append(Child("object", data[4:]))
        return
    at = data.find(found.data) if found.data else len(data)
    parts.loose(data[:at] + data[at + len(found.data) :], "behind-package")
    parts.children.append(Child(found.name or "package", found.data))


def _preview(data: bytes, parts: Parts) -> None:
    """How the object looked when it was last shown: a picture in its own form."""
    if len(data) < 4 or not data.strip(b"\x00"):
        return
    marker, at = struct.unpack_from("<I", data)[0], 4
    kind = 0
    if marker in (0xFFFFFFFF, 0xFFFFFFFE):
        kind, at = struct.unpack_from("<I", data.ljust(8, b"\x00"), at)[0], at + 4
    elif marker:
        at += min(marker, len(data))
    target = struct.unpack_from("<I", data.ljust(at + 4, b"\x00"), at)[0]
    at += max(4, target)
    if at + 28 > len(data):
        parts.loose(data, "stream")
        return
    size = struct.unpack_from("<I", data, at + 24)[0]
    picture = data[at + 28 : at + 28 + size]
    parts.loose(data[at + 28 + size :], "behind-preview")
    if not picture:
        return
    if kind == 8 and len(picture) > 40:
        header, bits = struct.unpack_from("<I", picture)[0], struct.unpack_from("<H", picture, 14)[0]
        offset = 14 + header + (4 << bits if bits <= 8 else 0)
        picture = b"BM" + struct.pack("<IHHI", len(picture) + 14, 0, 0, offset) + picture
    parts.children.append(Child(_PICTURES.get(kind, "preview"), picture))

"""Objects that are packed into RTF: the OLE 1.0 wrapping, packages of files, and stores of custom XML.

What it is: ``embedded``, the children in one block of object data; ``stores``, the pieces of Word's data store.
Who calls it: ``documents.rtf``.
Must never: use the name of a packed file as a path; let anything of the block go unread: what is not understood is a child as it is.
Sources: MS-OLEDS 2.2 (OLE 1.0 formats); Word's Packager format (OLE10Native); MS-CFB.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass

import olefile

from gateway.extraction.base import Budget, Child, Unreadable
from gateway.extraction.compound_header import is_sound

_CFB = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_LINKED, _EMBEDDED, _STATIC, _PRESENTATION = 1, 2, 3, 5
_LONGEST_NAME = 520


@dataclass(frozen=True, slots=True)
class Object:
    """One object as the OLE 1.0 header describes it."""

    name: str
    """Its class, as the header says: ``Package``, ``Equation.3``."""
    linked: bool
    topic: str
    """The file or address that a linked object is taken from."""
    children: tuple[Child, ...]


class _Cursor:
    """Reads forward; raises Unreadable where the data ends too soon."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def number(self, width: int = 4) -> int:
        end = self.at + width
        if end > len(self.data):
            raise Unreadable("an embedded object that is cut off")
        value = int.from_bytes(self.data[self.at : end], "little")
        self.at = end
        return value

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.data):
            raise Unreadable("an embedded object that is cut off")
        piece = self.data[self.at : self.at + count]
        self.at += count
        return piece

    def string(self) -> str:
        """A text with its length before it."""
        return self.take(self.number()).rstrip(b"\x00").decode("latin-1")

    def zero_ended(self) -> str:
        end = self.data.find(b"\x00", self.at, self.at + _LONGEST_NAME)
        if end < 0:
            raise Unreadable("an embedded object that is cut off")
        text = self.data[self.at : end].decode("latin-1")
        self.at = end + 1
        return text


def embedded(data: bytes, budget: Budget) -> Object:
    """What the object data *data* holds. Data without an OLE 1.0 header is one child as it stands."""
    budget.spend_entries()
    budget.spend_bytes(len(data))
    try:
        return _ole1(data, budget)
    except (Unreadable, struct.error):
        return Object("", linked=False, topic="", children=(Child("object", data),))


def _ole1(data: bytes, budget: Budget) -> Object:
    cursor = _Cursor(data)
    cursor.number()
    sort = cursor.number()
    if sort not in (_LINKED, _EMBEDDED):
        raise Unreadable("an embedded object of an unknown form")
    name = cursor.string()
    topic = cursor.string()
    item = cursor.string()
    if sort == _LINKED:
        return Object(name, linked=True, topic=topic or item, children=_rest(cursor, b""))
    native = cursor.take(cursor.number())
    if name.lower().startswith("package") and not native.startswith(_CFB):
        children = package(native, budget)
    else:
        children = (Child(_child_name(name), native),) if native else ()
    return Object(name, linked=False, topic=topic, children=children + _rest(cursor, native))


def _rest(cursor: _Cursor, native: bytes) -> tuple[Child, ...]:
    """What stands behind the native data: the picture that stands for the object, or something that should not be there."""
    rest = cursor.data[cursor.at :]
    if not rest.strip(b"\x00"):
        return ()
    try:
        picture = _presentation(_Cursor(rest))
    except Unreadable:
        picture = None
    if picture is not None:
        return picture
    return (Child("behind-object", rest),)


def _presentation(cursor: _Cursor) -> tuple[Child, ...] | None:
    """The presentation of an object: nothing, or a Windows metafile or bitmap of the size that is said."""
    cursor.number()
    sort = cursor.number()
    if sort == 0:
        return () if not cursor.data[cursor.at :].strip(b"\x00") else None
    if sort != _PRESENTATION:
        return None
    kind = cursor.string()
    cursor.number()
    cursor.number()
    body = cursor.take(cursor.number())
    if cursor.data[cursor.at :].strip(b"\x00"):
        return None
    if kind == "METAFILEPICT":
        return (Child("object.wmf", body[8:]),) if len(body) > 8 else ()
    if kind in ("DIB", "BITMAP"):
        return (Child("object.bmp", bitmap(body)),) if body else ()
    return (Child("presentation", body),) if body else ()


def package(data: bytes, budget: Budget) -> tuple[Child, ...]:
    """The file in the Packager data *data* (behind its length field). Raises Unreadable when it is not of that form."""
    cursor = _Cursor(data)
    if cursor.number(2) != 2:
        raise Unreadable("a package of an unknown form")
    label = cursor.zero_ended()
    cursor.zero_ended()
    cursor.number(2)
    how = cursor.number(2)
    command = cursor.string()
    if how != 3:
        # A package that is nothing but a command: what it would start is all that there is.
        return (Child(_child_name(label), (command + "\n").encode("utf-8"), "text/plain"),)
    body = cursor.take(cursor.number())
    children = [Child(_child_name(label) or "package", body)]
    rest = data[cursor.at :]
    names = rest.decode("utf-16-le", "replace") if rest else ""
    if rest and not all(character.isprintable() or character == "\x00" for character in _without_lengths(rest, names)):
        children.append(Child("behind-package", rest))
    return tuple(children)


def _without_lengths(rest: bytes, names: str) -> str:
    """The three wide texts that may stand behind a package, without the lengths before them; the whole where it is not so."""
    try:
        cursor = _Cursor(rest)
        texts = [cursor.take(2 * cursor.number()).decode("utf-16-le", "replace") for _ in range(3)]
    except Unreadable:
        return names
    return "".join(texts) + cursor.data[cursor.at :].strip(b"\x00").decode("latin-1")


def stores(data: bytes, budget: Budget) -> tuple[Child, ...]:
    """The pieces of custom XML in Word's data store *data*, and whatever else is there."""
    found = embedded(data, budget)
    children: list[Child] = []
    for child in found.children:
        streams = _streams(child.data, budget) if child.data.startswith(_CFB) else None
        if streams is None:
            children.append(child)
            continue
        for name, stream in streams:
            body = stream.strip(b"\x00")
            if body.startswith((b"<", b"\xef\xbb\xbf<", b"\xff\xfe<")):
                children.append(Child(name, body, "application/xml"))
            elif body:
                children.append(Child(name, stream))
    return tuple(children)


def _streams(data: bytes, budget: Budget) -> list[tuple[str, bytes]] | None:
    """The streams of a compound file; None where it is broken."""
    if not is_sound(data):
        return None
    try:
        with olefile.OleFileIO(io.BytesIO(data)) as file:
            found = []
            for path in file.listdir(streams=True, storages=False):
                budget.spend_entries()
                found.append(("/".join(path), file.openstream(path).read()))
            return found
    except (OSError, ValueError, IndexError, TypeError, AttributeError, struct.error):
        return None


def bitmap(data: bytes) -> bytes:
    """A device independent bitmap with the file header that it needs to be a file."""
    if len(data) < 40 or data[:2] == b"BM":
        return data
    header = int.from_bytes(data[:4], "little")
    bits = int.from_bytes(data[14:16], "little")
    used = int.from_bytes(data[32:36], "little") if header >= 40 else 0
    colours = used or (1 << bits if bits <= 8 else 0)
    start = 14 + header + 4 * min(colours, 256)
    return b"BM" + struct.pack("<IHHI", len(data) + 14, 0, 0, start) + data


def _child_name(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2][:255] or "object"

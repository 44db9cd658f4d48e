"""Properties of Outlook items, as MSG files and winmail.dat both carry them: what each one is to a reader.

What it is: ``Item`` (the properties of a message, recipient or attachment) and ``tell``, from an item to segments and members.
Who calls it: ``office.msg``, ``office.tnef``.
Must never: prefer one body to the others (text, HTML and RTF may differ, and all of them can be shown); call an attachment read that has
no data.
Sources: MS-OXPROPS; MS-OXCMSG 2.2.2 (attachments); MS-OXBBODY; hostile-inputs catalogue D13, M27.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.documents import text_plain
from gateway.extraction.base import Budget, Child, Unreadable
from gateway.extraction.strings import packed, sweep
from gateway.message import charsets
from gateway.office import rtf_compressed
from gateway.office.property_set import codec_of
from gateway.text import iscii
from gateway.text.markings import Segment
from gateway.verdict import LeafState, Zone

SUBJECT, BODY, HTML, RTF, HEADERS = 0x0037, 0x1000, 0x1013, 0x1009, 0x007D
DATA, METHOD, LONG_NAME, SHORT_NAME, MIME, DISPLAY, PATH_NAME, LONG_PATH = 0x3701, 0x3705, 0x3707, 0x3704, 0x370E, 0x3001, 0x3708, 0x370D
CODEPAGE, INTERNET_CODEPAGE = 0x3FFD, 0x3FDE
_NORMALISED, _PREFIX, _TOPIC = 0x0E1D, 0x003D, 0x0070
_RENDERING = 0x3709
_BINARY_WORDS = 4_000_000
_BY_VALUE, _EMBEDDED, _OLE = 1, 5, 6


@dataclass(slots=True)
class Item:
    """Properties by number. *named*: text values of the named ones."""

    texts: dict[int, list[str]] = field(default_factory=dict)
    raw: dict[int, bytes] = field(default_factory=dict)
    numbers: dict[int, int] = field(default_factory=dict)
    named: dict[str, str] = field(default_factory=dict)
    objects: list[tuple[int, bytes]] = field(default_factory=list)
    """Number and content of what is an object."""

    def add(self, other: Item) -> None:
        """Takes the properties of *other* too; of what stands in both, both are kept."""
        for number, values in other.texts.items():
            self.texts.setdefault(number, []).extend(values)
        for number, value in other.raw.items():
            self.raw[number] = self.raw[number] + b"\n" + value if number in self.raw else value
        self.numbers.update(other.numbers)
        self.named.update(other.named)
        self.objects += other.objects

    def text(self, number: int) -> str:
        """The first value of a text property; empty where there is none."""
        values = self.texts.get(number)
        return values[0] if values else ""

    @property
    def codec(self) -> str:
        """The codec of 8-bit texts of the item; empty where it does not say."""
        page = self.numbers.get(CODEPAGE) or self.numbers.get(INTERNET_CODEPAGE) or 0
        return codec_of(page) if page else ""


def decode(data: bytes, codec: str) -> str:
    """An 8-bit text: UTF-8 where it is that beyond doubt, else as the item says."""
    data = data.rstrip(b"\x00")
    if script := iscii.script_of(codec):
        return iscii.decode(data, script)
    if not data.isascii() and codec in ("", "utf-8", "cp1252"):
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            if iscii.plainly(data):  # its code pages are none of Python's
                return iscii.decode(data)
    return data.decode(codec or "cp1252", "replace")


@dataclass(slots=True)
class Told:
    """What an item gave."""

    segments: list[Segment] = field(default_factory=list)
    children: list[Child] = field(default_factory=list)
    problems: dict[str, None] = field(default_factory=dict)
    active: dict[str, None] = field(default_factory=dict)
    links: list[str] = field(default_factory=list)
    properties: dict[str, str] = field(default_factory=dict)


def tell(item: Item, told: Told, budget: Budget, *, is_attachment: bool) -> None:
    """Subject, bodies, transport headers and every other text of a message or recipient."""
    for number, values in item.texts.items():
        zone = {SUBJECT: Zone.SUBJECT, _NORMALISED: Zone.SUBJECT, _TOPIC: Zone.SUBJECT, BODY: Zone.BODY}.get(number, Zone.PROPERTY)
        if number == HTML:
            continue
        text = "\n".join(value for value in values if value.strip())
        if text:
            told.segments.append(Segment(text.replace("\x00", " "), zone))
    if prefix := item.text(_PREFIX):
        told.segments.append(Segment(prefix + item.text(_NORMALISED), Zone.SUBJECT))
    if item.named:
        told.properties.update(item.named)
        told.segments.append(Segment("\n".join(item.named.values()), Zone.PROPERTY))
    page = item.numbers.get(INTERNET_CODEPAGE, 0)
    html = item.raw.get(HTML) or "\n".join(item.texts.get(HTML, ())).encode("utf-8")
    if html.strip(b"\x00 \r\n\t"):
        exact = f"cp{page:03d}"
        charset = (exact if charsets.is_known(exact) else codec_of(page)) if HTML in item.raw and page else "utf-8"
        told.children.append(Child("body.html", html, "text/html", charset, is_attachment))
    compressed = item.raw.get(RTF, b"")
    if compressed:
        try:
            rtf = rtf_compressed.unpack(compressed, budget)
        except Unreadable as error:
            told.problems[str(error)] = None
        else:
            if rtf.strip(b"\x00 \r\n\t"):
                told.children.append(Child("body.rtf", rtf, "text/rtf", is_attachment=is_attachment))
    _binaries(item, (HTML, RTF), told, budget)


def _binaries(item: Item, known: tuple[int, ...], told: Told, budget: Budget) -> None:
    """What is neither text nor number: its words, a file in it, objects. *known*: numbers that were read by what they are."""
    words = []
    for number, value in item.raw.items():
        if number in known:
            continue
        words.append(sweep(value[:_BINARY_WORDS]))
        if inside := packed(value):
            budget.spend_entries()
            told.children.append(Child(f"property-{number & 0xFFFF:04x}", inside))
    if found := "\n".join(filter(None, words)):
        told.segments.append(Segment(found, Zone.PROPERTY))
    for number, value in item.objects:
        if value and number not in known:
            budget.spend_entries()
            told.children.append(Child(f"object-{number:04x}", value[16:] if len(value) > 16 else value))


def attachment(item: Item, told: Told, budget: Budget, embedded: Callable[[], tuple[Child, ...]]) -> None:
    """One attachment as a member. *embedded*: the messages or objects in it, where there are any."""
    budget.spend_entries()
    name = item.text(LONG_NAME) or item.text(SHORT_NAME) or item.text(DISPLAY) or "attachment"
    method = item.numbers.get(METHOD, _BY_VALUE)
    data = item.raw.get(DATA, b"")
    inner = embedded()
    words = [value for values in item.texts.values() for value in values if value.strip()]
    if words:
        told.segments.append(Segment("\n".join(words), Zone.PROPERTY))
    told.children += inner
    if data:
        told.children.append(Child(name, data, item.text(MIME).lower()))
    elif not inner:
        if method not in (_BY_VALUE, _EMBEDDED, _OLE):
            told.active["external"] = None
            told.links += [text for text in (item.text(LONG_PATH), item.text(PATH_NAME)) if "://" in text]
            reason = "an attachment that stands elsewhere and not in the file"
        else:
            reason = "an attachment without content"
        told.children.append(Child(name, declared=item.text(MIME).lower(), state=LeafState.SUSPECT, reason=reason))
    _binaries(item, (DATA, _RENDERING), told, budget)
    rendering(item.raw.get(_RENDERING, b""), told)


def rendering(picture: bytes, told: Told) -> None:
    """How an attachment is shown: an icon with its name, or a picture."""
    if len(picture) <= 22:
        return
    if _is_icon(picture):
        told.segments.append(Segment(sweep(picture), Zone.PROPERTY))
    else:
        told.children.append(Child("icon.wmf", picture))


_BITMAPS = frozenset((0x0F43, 0x0940, 0x0B41, 0x0D33))
_ICON = 48


def _is_icon(data: bytes) -> bool:
    """Whether a metafile is the icon of an attachment: bitmaps of an icon's size, and text, which is read as such."""
    at = 22 if data[:4] == b"\xd7\xcd\xc6\x9a" else 0
    if len(data) > 16_384 or data[at : at + 4] != b"\x01\x00\x09\x00":
        return False
    at += 18
    while at + 6 <= len(data):
        words, function = struct.unpack_from("<IH", data, at)
        if words < 3 or at + 2 * words > len(data):
            return False
        if function == 0:
            return not data[at + 2 * words :].strip(b"\x00")
        if function in _BITMAPS:
            found = data.find(b"\x28\x00\x00\x00", at + 6, at + 2 * words)
            width, height = struct.unpack_from("<ii", data.ljust(found + 12, b"\x7f"), found + 4)
            if found < 0 or abs(width) > _ICON or abs(height) > 2 * _ICON:  # a mask and a picture may stand one above the other
                return False
        elif function & 0xFF in (0x22, 0x24, 0x25, 0x38) and words > 200:  # outlines of letters are long
            return False
        at += 2 * words
    return False


def as_text(data: bytes, codec: str) -> str:
    """The body of an old item, by the code page it states or by what it looks like."""
    if codec:
        return decode(data, codec)
    return text_plain.decode(data.rstrip(b"\x00"), "").texts[0]

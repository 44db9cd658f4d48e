"""Properties of Outlook items, as MSG files and winmail.dat both carry them: what each one is to a reader.

What it is: ``Item`` (the properties of a message, recipient or attachment) and ``tell``, from an item to segments and members.
Who calls it: ``office.msg``, ``office.tnef``.
Must never: prefer one body to the others (text, HTML and RTF may differ, and all of them can be shown); call an attachment read that has
no data.
Sources: MS-OXPROPS; MS-OXCMSG 2.2.2 (attachments); MS-OXBBODY; hostile-inputs catalogue D13, M27.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.documents import text_plain
from gateway.extraction.base import Budget, Child, Unreadable
from gateway.extraction.strings import sweep
from gateway.office import rtf_compressed
from gateway.office.property_set import codec_of
from gateway.text.markings import Segment
from gateway.verdict import LeafState, Zone

SUBJECT, BODY, HTML, RTF, HEADERS = 0x0037, 0x1000, 0x1013, 0x1009, 0x007D
DATA, METHOD, LONG_NAME, SHORT_NAME, MIME, DISPLAY, PATH_NAME, LONG_PATH = 0x3701, 0x3705, 0x3707, 0x3704, 0x370E, 0x3001, 0x3708, 0x370D
CODEPAGE, INTERNET_CODEPAGE = 0x3FFD, 0x3FDE
_NORMALISED, _PREFIX, _TOPIC = 0x0E1D, 0x003D, 0x0070
_SILENT = frozenset((0x001A, 0x0064, 0x0075, 0x0077, 0x0C1E, 0x3002, 0x0E03, 0x1035, 0x3709, 0x300B, 0x3702, 0x3FEE, 0x370A, 0x370F))
"""Message class, address types, search keys, and such: no words of a person."""
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
    objects: dict[int, bytes] = field(default_factory=dict)

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
    if not data.isascii() and codec in ("", "utf-8", "cp1252"):
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            pass
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
        if number in _SILENT or number == HTML:
            continue
        text = "\n".join(value for value in values if value.strip())
        if text:
            told.segments.append(Segment(text.replace("\x00", " "), zone))
    if item.named:
        told.properties.update(item.named)
        told.segments.append(Segment("\n".join(item.named.values()), Zone.PROPERTY))
    page = item.numbers.get(INTERNET_CODEPAGE, 0)
    html = item.raw.get(HTML) or "\n".join(item.texts.get(HTML, ())).encode("utf-8")
    if html.strip(b"\x00 \r\n\t"):
        charset = codec_of(page).replace("cp125", "windows-125") if HTML in item.raw and page else "utf-8"
        told.children.append(Child("body.html", html, "text/html", charset, is_attachment))
    packed = item.raw.get(RTF, b"")
    if packed:
        try:
            rtf = rtf_compressed.unpack(packed, budget)
        except Unreadable as error:
            told.problems[str(error)] = None
        else:
            if rtf.strip(b"\x00 \r\n\t"):
                told.children.append(Child("body.rtf", rtf, "text/rtf", is_attachment=is_attachment))
    words = [sweep(value[:_BINARY_WORDS]) for number, value in item.raw.items() if number not in (HTML, RTF, DATA, _RENDERING)]
    if found := "\n".join(filter(None, words)):
        told.segments.append(Segment(found, Zone.PROPERTY))


def attachment(item: Item, told: Told, budget: Budget, embedded: Callable[[], Child | None]) -> None:
    """One attachment as a member. *embedded*: the message or object in it, where it is one."""
    budget.spend_entries()
    name = item.text(LONG_NAME) or item.text(SHORT_NAME) or item.text(DISPLAY) or "attachment"
    method = item.numbers.get(METHOD, _BY_VALUE)
    data = item.raw.get(DATA, b"")
    inner = embedded()
    words = [value for number, values in item.texts.items() if number not in _SILENT for value in values if value.strip()]
    if words:
        told.segments.append(Segment("\n".join(words), Zone.PROPERTY))
    if inner is not None:
        told.children.append(inner)
    if data:
        told.children.append(Child(name, data, item.text(MIME).lower()))
    elif inner is None:
        if method not in (_BY_VALUE, _EMBEDDED, _OLE):
            told.active["external"] = None
            told.links += [text for text in (item.text(LONG_PATH), item.text(PATH_NAME)) if "://" in text]
            reason = "an attachment that stands elsewhere and not in the file"
        else:
            reason = "an attachment without content"
        told.children.append(Child(name, declared=item.text(MIME).lower(), state=LeafState.SUSPECT, reason=reason))
    pictures = item.raw.get(_RENDERING, b"")
    if pictures and sweep(pictures):
        told.segments.append(Segment(sweep(pictures), Zone.PROPERTY))


def as_text(data: bytes, codec: str) -> str:
    """The body of an old item, by the code page it states or by what it looks like."""
    if codec:
        return decode(data, codec)
    return text_plain.decode(data.rstrip(b"\x00"), "").texts[0]

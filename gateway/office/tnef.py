"""The reader of winmail.dat (TNEF): the message that Outlook packs for itself, and its attachments.

What it is: the extractor; attributes one by one, MAPI properties within them, messages within messages as members.
Who calls it: ``content.walk`` through the table.
Must never: call a file inspected that is cut off, whose attachments are empty or which has something behind its end.
Sources: MS-OXTNEF 2.1.3; MS-OXPROPS; docs/inspection.md (TNEF); hostile-inputs catalogue M27.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from gateway.extraction.base import Budget, Child, Found, Piece, Unreadable, join_reasons
from gateway.extraction.strings import packed, sweep
from gateway.office import mapi
from gateway.office.mapi import Item, Told
from gateway.office.property_set import codec_of
from gateway.office.tnef_properties import rows
from gateway.text.markings import Segment
from gateway.verdict import LeafState, Zone

_SIGNATURE = b"\x78\x9f\x3e\x22"
_MESSAGE, _ATTACHMENT = 1, 2
_PROPERTIES, _RECIPIENTS, _CODEPAGE, _SUBJECT, _BODY, _FROM, _CLASS = 0x9003, 0x9004, 0x9007, 0x8004, 0x800C, 0x8000, 0x8008
_RENDERING, _DATA, _TITLE, _PICTURE, _ITEM, _NAME = 0x9002, 0x800F, 0x8010, 0x8011, 0x9005, 0x9001
_SILENT = {
    0x9006: 4, 0x8005: 14, 0x8006: 14, 0x8007: 1, 0x800A: 64, 0x800B: 64, 0x800D: 2, 0x8012: 14, 0x8013: 14, 0x8020: 14, 0x9002: 14,
}  # fmt: skip
"""Version, dates, status, priority and identity of the message, how an attachment is shown: octets they have at most."""
_MOST = 20_000


@dataclass(slots=True)
class _Attachment:
    """What the attributes of one attachment have given so far."""

    item: Item = field(default_factory=Item)
    data: bytes | None = None
    titles: list[str] = field(default_factory=list)
    pictures: list[bytes] = field(default_factory=list)
    empty: bool = True


@dataclass(slots=True)
class _Reading:
    budget: Budget
    told: Told
    is_attachment: bool
    codec: str = ""
    attachments: list[_Attachment] = field(default_factory=list)

    def current(self) -> _Attachment:
        """The attachment that attributes belong to now."""
        if not self.attachments:
            self.attachments.append(_Attachment())
        return self.attachments[-1]


def extract(piece: Piece, budget: Budget) -> Found:
    """Texts, bodies and attachments. What is broken makes the file suspect; what was read until then is kept."""
    reading = _Reading(budget, Told(), piece.is_attachment)
    try:
        _attributes(piece.data, reading)
    except Unreadable as error:
        reading.told.problems[str(error)] = None
    except (struct.error, IndexError):
        reading.told.problems["a winmail.dat file that is broken"] = None
    for attachment in reading.attachments:
        if not attachment.empty:
            _tell(attachment, reading)
    told = reading.told
    return Found(
        tuple(told.segments),
        tuple(told.children),
        LeafState.SUSPECT if told.problems else LeafState.INSPECTED,
        join_reasons(*told.problems),
        properties=told.properties,
        container=True,
        media_type="application/ms-tnef",
        links=tuple(told.links),
        active=tuple(told.active),
    )


def _attributes(data: bytes, reading: _Reading) -> None:
    if data[:4] != _SIGNATURE or len(data) < 6:
        raise Unreadable("a winmail.dat file that is broken")
    at, count = 6, 0
    while at < len(data):
        if at + 11 > len(data) or data[at] not in (_MESSAGE, _ATTACHMENT):
            if data[at:].strip(b"\x00\r\n\x1a "):
                raise Unreadable("a winmail.dat file with something behind its end")
            return
        level, number, _, length = struct.unpack_from("<BHHI", data, at)
        end = at + 9 + length
        if end + 2 > len(data):
            raise Unreadable("a winmail.dat file that is cut off")
        value = data[at + 9 : end]
        if sum(value) & 0xFFFF != struct.unpack_from("<H", data, end)[0]:
            reading.told.problems["a winmail.dat file with a wrong checksum"] = None
        at = end + 2
        count += 1
        if count > _MOST:
            raise Unreadable("over a limit: it holds more attributes than the limit")
        reading.budget.check_time()
        if level == _MESSAGE:
            _of_message(number, value, reading)
        else:
            _of_attachment(number, value, reading)


def _of_message(number: int, value: bytes, reading: _Reading) -> None:
    told = reading.told
    if number == _CODEPAGE and len(value) >= 4:
        reading.codec = codec_of(struct.unpack_from("<I", value)[0])
    elif number == _SUBJECT:
        told.segments.append(Segment(mapi.decode(value, reading.codec), Zone.SUBJECT))
    elif number == _BODY:
        told.segments.append(Segment(mapi.as_text(value, reading.codec), Zone.BODY))
    elif number == _PROPERTIES:
        for item in rows(value, 1, reading.codec, reading.budget):
            mapi.tell(item, told, reading.budget, is_attachment=reading.is_attachment)
    elif number == _RECIPIENTS:
        count = struct.unpack_from("<I", value)[0]
        for item in rows(value[4:], count, reading.codec, reading.budget):
            mapi.tell(item, told, reading.budget, is_attachment=True)
    else:
        _loose(number, value, reading)


def _loose(number: int, value: bytes, reading: _Reading) -> None:
    """An attribute that is a date or a number, or whose form is not known: what words it holds, and what is no words."""
    if len(value) <= _SILENT.get(number, 3):
        return
    if words := sweep(value):
        reading.told.segments.append(Segment(words, Zone.PROPERTY))
    if inside := packed(value):
        reading.told.children.append(Child(f"attribute-{number:04x}", inside))


def _of_attachment(number: int, value: bytes, reading: _Reading) -> None:
    """Each begins with how it is shown; some programs write its data before that, and then it is its own all the same."""
    if number == _RENDERING:
        if not reading.attachments or not reading.attachments[-1].empty:
            reading.attachments.append(_Attachment())
        reading.attachments[-1].empty = False
        _loose(number, value, reading)
        return
    attachment = reading.current()
    if number == _DATA:
        if attachment.data is not None:
            attachment = _Attachment()
            reading.attachments.append(attachment)
        attachment.data = value
    elif number == _TITLE:
        attachment.titles.append(mapi.decode(value, reading.codec))
    elif number == _PICTURE:
        attachment.pictures.append(value)
    elif number == _NAME:
        attachment.item.texts.setdefault(mapi.SHORT_NAME, []).append(mapi.decode(value, reading.codec))
    elif number == _ITEM:
        for item in rows(value, 1, reading.codec, reading.budget):
            attachment.item.add(item)
    else:
        _loose(number, value, reading)
    attachment.empty = False


def _tell(attachment: _Attachment, reading: _Reading) -> None:
    item = attachment.item
    inner = [value for number, value in item.objects if number == mapi.DATA]
    item.objects = [(number, value) for number, value in item.objects if number != mapi.DATA]
    if attachment.data:
        item.raw[mapi.DATA] = attachment.data
    if attachment.titles:
        item.texts.setdefault(mapi.LONG_NAME, []).extend(attachment.titles)

    def embedded() -> tuple[Child, ...]:
        name = item.text(mapi.LONG_NAME) or item.text(mapi.DISPLAY) or "message"
        # An interface identifier stands before it; a message is a TNEF file again, an object a compound file.
        whole = (data[16:] if data[16:20] in (_SIGNATURE, b"\xd0\xcf\x11\xe0") else data for data in inner)
        return tuple(Child(name, data) for data in whole if data)

    mapi.attachment(item, reading.told, reading.budget, embedded)
    for picture in attachment.pictures:
        mapi.rendering(picture, reading.told)

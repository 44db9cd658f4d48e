"""The reader of Outlook items saved as files: .msg and .oft.

What it is: ``read`` over the streams of an item: properties, recipients, attachments, items within items.
Who calls it: ``office.ole``.
Must never: take 8-bit texts for UTF-8 without a look at the code page that the item states.
Sources: MS-OXMSG 2.1-2.4; docs/inspection.md (MSG); hostile-inputs catalogue D13.
"""

from __future__ import annotations

import re
import struct

from gateway.extraction.base import Budget, Child, OverLimit, Piece, Unreadable
from gateway.extraction.strings import packed
from gateway.office import mapi
from gateway.office.compound import Compound
from gateway.office.mapi import Item, Told
from gateway.office.ole_parts import Parts

_STREAM = re.compile(r"__substg1\.0_([0-9a-f]{4})([0-9a-f]{4})(?:-([0-9a-f]{8}))?", re.I)
_PROPERTIES, _NAMES = "__properties_version1.0", "__nameid_version1.0"
_FIXED = {0x0002: "<h", 0x0003: "<i", 0x000B: "<H", 0x0014: "<q"}
_BINARY, _WIDE, _NARROW, _OBJECT, _GUID_TYPE = 0x0102, 0x001F, 0x001E, 0x000D, 0x0048
_MOST_NAMES = 20_000
_ROOT_HEADER = 32


def read(parts: Parts, budget: Budget, piece: Piece) -> None:
    """The item, its recipients and its attachments into *parts*."""
    compound = parts.compound
    parts.container = True
    names = _names(compound)
    for path in compound.storage(_NAMES).names():
        if len(path) == 1 and _STREAM.fullmatch(path[0]) and (odd := packed(parts.take(_NAMES, path[0]))):
            parts.children.append(Child("names", odd))
    told = Told()
    item = _item(compound, names, budget, _ROOT_HEADER, "")
    mapi.tell(item, told, budget, is_attachment=piece.is_attachment)
    for storage in compound.storages():
        low = storage.lower()
        if low.startswith("__recip_version1.0"):
            recipient = _item(compound.storage(storage), names, budget, 8, item.codec)
            mapi.tell(recipient, told, budget, is_attachment=True)
            _take(parts, storage, "")
        elif low.startswith("__attach_version1.0"):
            inside = _attachment(compound.storage(storage), names, budget, item.codec, told)
            _take(parts, storage, inside)
    for path in compound.names():
        if len(path) == 1 and (_STREAM.fullmatch(path[0]) or path[0].lower() == _PROPERTIES):
            parts.take(path[0])
    parts.segments += told.segments
    parts.children += told.children
    parts.problems.update(told.problems)
    parts.active.update(told.active)
    parts.links += told.links
    parts.properties.update(told.properties)


def _item(storage: Compound, names: dict[int, str], budget: Budget, header: int, codec: str) -> Item:
    """All properties of one storage. *header*: octets before its table of properties of a fixed size."""
    item = Item()
    table = storage.get(_PROPERTIES)
    if len(table) < header or (len(table) - header) % 16:
        raise Unreadable("an Outlook item whose properties are broken")
    declared: dict[tuple[int, int], int] = {}
    for at in range(header, len(table), 16):
        kind, number = struct.unpack_from("<HH", table, at)
        if kind in _FIXED:
            item.numbers[number] = struct.unpack_from(_FIXED[kind], table, at + 8)[0]
        elif kind in (_WIDE, _NARROW, _BINARY):
            declared[number, kind] = struct.unpack_from("<I", table, at + 8)[0]
    codec = item.codec or codec
    present = set()
    for path in storage.names():
        match = _STREAM.fullmatch(path[0])
        if len(path) != 1 or match is None:
            continue
        budget.check_time()
        number, kind = int(match[1], 16), int(match[2], 16)
        present.add((number, kind))
        many, base = bool(kind & 0x1000), kind & 0x0FFF
        if many and not match[3] and base in (_WIDE, _NARROW, _BINARY):
            item.raw[number | 0x10000] = storage.get(path[0])  # the lengths of its values
            continue
        data = storage.get(path[0])
        if base == _WIDE and len(data) % 2 == 0:
            _put(item, names, number, data.decode("utf-16-le", "replace").rstrip("\x00"))
        elif base == _NARROW:
            _put(item, names, number, mapi.decode(data, codec))
        elif many and match[3]:
            item.raw[number] = item.raw.get(number, b"") + b"\n" + data
        else:
            item.raw[number] = data
    for key, size in declared.items():
        if size > 2 and key not in present and key[1] != _BINARY:
            raise Unreadable("an Outlook item that lacks a part it names")
    return item


def _put(item: Item, names: dict[int, str], number: int, text: str) -> None:
    if number >= 0x8000 and number in names:
        item.named[names[number]] = text
    item.texts.setdefault(number, []).append(text)


def _names(compound: Compound) -> dict[int, str]:
    """Names of the named properties by number, for those named by text."""
    storage = compound.storage(_NAMES)
    entries, texts = storage.get("__substg1.0_00030102"), storage.get("__substg1.0_00040102")
    names: dict[int, str] = {}
    for index in range(min(len(entries) // 8, _MOST_NAMES)):
        offset, kind, number = struct.unpack_from("<IHH", entries, index * 8)
        if not kind & 1 or offset + 4 > len(texts):
            continue
        length = struct.unpack_from("<I", texts, offset)[0]
        name = texts[offset + 4 : offset + 4 + min(length, 1_000)].decode("utf-16-le", "replace")
        names[0x8000 + number] = name
    return names


def _take(parts: Parts, storage: str, inside: str) -> None:
    """The properties of a recipient or attachment count as read, and the storage *inside* of it; what else is there does not."""
    for path in parts.compound.storage(storage).names():
        if (len(path) == 1 and (_STREAM.fullmatch(path[0]) or path[0].lower() == _PROPERTIES)) or (inside and path[0] == inside):
            parts.take(storage, *path)


def _attachment(storage: Compound, names: dict[int, str], budget: Budget, codec: str, told: Told) -> str:
    """Adds the attachment to *told*; returns the name of the storage of the message or object in it."""
    item = _item(storage, names, budget, 8, codec)
    inside = next((name for name in storage.storages() if _STREAM.fullmatch(name)), "")

    def embedded() -> tuple[Child, ...]:
        if not inside:
            return ()
        view = storage.storage(inside)
        name = item.text(mapi.LONG_NAME) or item.text(mapi.DISPLAY) or "object"
        if _PROPERTIES not in view:
            data = view.cut()
            budget.spend_bytes(len(data))
            return (Child(name, data),)
        table = view.get(_PROPERTIES)
        # Within another item the header lacks its last eight octets, and the names stand at the root.
        root = storage
        root_names = {(_NAMES, *path): root.from_root(_NAMES, *path) for path in root.names_from_root(_NAMES)}
        data = view.cut(beside=root_names, instead={(_PROPERTIES,): table[:24] + bytes(8) + table[24:]})
        budget.spend_bytes(len(data))
        return (Child(f"{name}.msg", data, "application/vnd.ms-outlook"),)

    try:
        mapi.attachment(item, told, budget, embedded)
    except OverLimit:
        raise
    except Unreadable as error:
        told.problems[str(error)] = None
    return inside

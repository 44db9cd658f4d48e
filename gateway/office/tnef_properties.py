"""MAPI properties as winmail.dat packs them.

What it is: ``rows``, the items in one attribute.
Who calls it: ``office.tnef``.
Must never: read beyond the attribute.
Source: MS-OXTNEF 2.1.3.4 (MsgPropertyList).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from gateway.extraction.base import Budget, Unreadable
from gateway.office import mapi
from gateway.office.mapi import Item
from gateway.office.property_set import codec_of

_FIXED = {
    2: ("<h", 4),
    3: ("<i", 4),
    4: ("<f", 4),
    5: ("<d", 8),
    6: ("<q", 8),
    7: ("<d", 8),
    10: ("<i", 4),
    11: ("<H", 4),
    20: ("<q", 8),
    64: ("<q", 8),
}
_VARIABLE = frozenset((0x0D, 0x1E, 0x1F, 0x102))
_BROKEN = "a winmail.dat file whose properties are broken"
_MOST_ROWS, _MOST_PROPERTIES = 5_000, 20_000


def rows(data: bytes, count: int, codec: str, budget: Budget) -> Iterator[Item]:
    """*count* items, one behind the other. Raises Unreadable when they are broken."""
    if count > _MOST_ROWS:
        raise Unreadable(_BROKEN)
    at = 0
    for _ in range(count):
        budget.check_time()
        item = Item()
        narrow: list[tuple[int, str, bytes]] = []
        binary: dict[int, list[bytes]] = {}
        try:
            at = _item(data, at, item, narrow, binary)
        except struct.error:
            raise Unreadable(_BROKEN) from None
        item.raw.update((number, b"\n".join(values)) for number, values in binary.items())
        page = item.numbers.get(mapi.CODEPAGE) or item.numbers.get(mapi.INTERNET_CODEPAGE) or 0
        for number, name, raw in narrow:
            _put(item, number, name, mapi.decode(raw, codec or (codec_of(page) if page else "")))
        yield item
    if data[at:].strip(b"\x00"):
        raise Unreadable("a winmail.dat file with something behind its properties")


def _item(data: bytes, at: int, item: Item, narrow: list[tuple[int, str, bytes]], binary: dict[int, list[bytes]]) -> int:
    count, at = struct.unpack_from("<I", data, at)[0], at + 4
    if count > _MOST_PROPERTIES:
        raise Unreadable(_BROKEN)
    for _ in range(count):
        kind, number = struct.unpack_from("<HH", data, at)
        at += 4
        name = ""
        if number >= 0x8000:
            how = struct.unpack_from("<I", data, at + 16)[0]
            at += 20
            if how == 0:
                at += 4
            else:
                length = struct.unpack_from("<I", data, at)[0]
                name = _slice(data, at + 4, length).decode("utf-16-le", "replace").rstrip("\x00")
                at += 4 + length + -length % 4
        many, base = bool(kind & 0x1000), kind & 0x0FFF
        values = 1
        if many or base in _VARIABLE:
            values, at = struct.unpack_from("<I", data, at)[0], at + 4
        if values > _MOST_PROPERTIES:
            raise Unreadable(_BROKEN)
        for _ in range(values):
            at = _value(data, at, base, (number, name), item, narrow, binary)
    return at


def _slice(data: bytes, at: int, length: int) -> bytes:
    if length > len(data) - at:
        raise Unreadable(_BROKEN)
    return data[at : at + length]


def _value(
    data: bytes,
    at: int,
    base: int,
    named: tuple[int, str],
    item: Item,
    narrow: list[tuple[int, str, bytes]],
    binary: dict[int, list[bytes]],
) -> int:
    number, name = named
    if base in _VARIABLE:
        length = struct.unpack_from("<I", data, at)[0]
        raw = _slice(data, at + 4, length)
        at += 4 + length + -length % 4
        if base == 0x1F:
            _put(item, number, name, raw[: len(raw) & ~1].decode("utf-16-le", "replace").rstrip("\x00"))
        elif base == 0x1E:
            narrow.append((number, name, raw))
        elif base == 0x0D:
            item.objects.append((number, raw))
        else:
            binary.setdefault(number, []).append(raw)
        return at
    if base == 0x48:
        return at + 16
    if base in (0, 1):
        return at + 4
    if base not in _FIXED:
        raise Unreadable(_BROKEN)
    form, size = _FIXED[base]
    value = struct.unpack_from(form, data, at)[0]
    if base in (2, 3, 11):
        item.numbers[number] = int(value)
    return at + size


def _put(item: Item, number: int, name: str, text: str) -> None:
    if name:
        item.named[name] = text
    item.texts.setdefault(number, []).append(text)

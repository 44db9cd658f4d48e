"""The headers of RAR 5 archives.

What it is: ``parse`` (all blocks, every header checked) and ``plain`` (a small archive of some members without encryption, which
libarchive can unpack).
Who calls it: ``archives.rar``.
Must never: skip a block that it does not know without saying so; follow a redirection.
Sources: "RAR 5.0 archive format" (rarlab.com/technote.htm); hostile-inputs catalogue E08, Z06, Z10, Z11.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from gateway.archives import rar_crypto
from gateway.archives.rar_blocks import DAMAGED, HEADER_CAP, Closed, Contents, Member
from gateway.archives.rar_crypto import Key
from gateway.extraction.base import Budget, Unreadable

SIGNATURE = b"Rar!\x1a\x07\x01\x00"
_END = b"\x1d\x77\x56\x51\x03\x05\x04\x00"
_MAIN, _FILE, _SERVICE, _CRYPT, _LAST = 1, 2, 3, 4, 5
_EXTRA, _DATA, _SPLIT = 0x1, 0x2, 0x18
_VOLUME, _SOLID = 0x1, 0x4
_FOLDER, _TIME, _CRC, _UNKNOWN_SIZE = 0x1, 0x2, 0x4, 0x8
_ENCRYPTION, _HASH, _REDIRECTION = 1, 2, 5


class _Reader:
    __slots__ = ("at", "data")

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at

    def number(self) -> int:
        value = 0
        for index in range(10):
            octet = self.take(1)[0]
            value |= (octet & 0x7F) << 7 * index
            if not octet & 0x80:
                return value
        raise Unreadable(DAMAGED)

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.data):
            raise Unreadable(DAMAGED)
        self.at += count
        return self.data[self.at - count : self.at]

    @property
    def rest(self) -> int:
        return len(self.data) - self.at


def parse(data: bytes, key: Key | None, budget: Budget) -> Contents:
    """The archive that begins with *data*. *key*: of its headers, where they are encrypted. Raises Unreadable or OverLimit."""
    contents = Contents(5)
    at, closed, first = len(SIGNATURE), False, True
    while True:
        budget.check_time()
        if closed:
            if at + 32 > len(data) or key is None:
                raise Unreadable("it is cut off")
            header, at = _encrypted_header(data, at, key)
        else:
            if at + 7 > len(data):
                raise Unreadable("it is cut off")
            header, at = _header(data, at)
        reader = _Reader(header, 4)
        reader.number()
        kind, flags = reader.number(), reader.number()
        extra_size = reader.number() if flags & _EXTRA else 0
        size = reader.number() if flags & _DATA else 0
        if at + size > len(data):
            raise Unreadable("it is cut off, or a member states a size that is not its own")
        if extra_size > reader.rest:
            raise Unreadable(DAMAGED)
        extra = header[len(header) - extra_size :] if extra_size else b""
        body = _Reader(header[: len(header) - extra_size], reader.at)
        match kind:
            case 4 if first:
                contents.closed, contents.closed_from, closed = _crypt_header(body), at, True
                if key is None:
                    return contents
            case 1:
                archive = body.number()
                contents.volume, contents.solid = bool(archive & _VOLUME), bool(archive & _SOLID)
                if archive & 0x2:
                    body.number()
            case 2 | 3:
                budget.spend_entries()
                contents.members.append(_member(kind, flags, body, extra, (at, at + size), header, contents))
            case 5:
                if body.number() & _VOLUME:
                    contents.volume = True
                if size or body.rest or data[at:]:
                    contents.problems.setdefault("data follows its end")
                contents.closed = None
                return contents
            case _:
                contents.problems.setdefault("it holds a block of a kind that is not read")
        if kind != _FILE and kind != _SERVICE and (size or body.rest):
            contents.problems.setdefault("a header holds data that its flags do not announce")
        at, first = at + size, False


def _header(data: bytes, at: int) -> tuple[bytes, int]:
    reader = _Reader(data[at : at + 16], 4)
    size = reader.number()
    end = at + reader.at + size
    if size > HEADER_CAP or end > len(data) or size < 2:
        raise Unreadable(DAMAGED)
    header = data[at:end]
    if zlib.crc32(header[4:]) != int.from_bytes(header[:4], "little"):
        raise Unreadable(DAMAGED)
    return header, end


def _encrypted_header(data: bytes, at: int, key: Key) -> tuple[bytes, int]:
    vector = data[at : at + 16]
    first = rar_crypto.decrypt(data[at + 16 : at + 32], key, vector)
    reader = _Reader(first, 4)
    size = reader.number()
    length = reader.at + size
    whole = -(-length // 16) * 16
    if size > HEADER_CAP or at + 16 + whole > len(data) or size < 2:
        raise Unreadable(DAMAGED)
    header = rar_crypto.decrypt(data[at + 16 : at + 16 + whole], key, vector)[:length]
    if zlib.crc32(header[4:]) != int.from_bytes(header[:4], "little"):
        raise Unreadable(DAMAGED)
    return header, at + 16 + whole


def _crypt_header(body: _Reader) -> Closed:
    version, flags, power, salt = body.number(), body.number(), body.take(1)[0], body.take(16)
    check = body.take(12)[:8] if flags & 1 else b""
    return Closed(5, salt, b"", power, check, fault="its cipher is of an unknown version" if version else "")


def _member(kind: int, flags: int, body: _Reader, extra: bytes, place: tuple[int, int], header: bytes, contents: Contents) -> Member:
    own = body.number()
    size = body.number()
    body.number()  # attributes of the system
    if own & _TIME:
        body.take(4)
    crc = int.from_bytes(body.take(4), "little") if own & _CRC else None
    packing, _system = body.number(), body.number()
    name = body.take(body.number()).decode("utf-8", "replace")
    if body.rest:
        # A record that the header's flag does not announce: some readers see it, others do not.
        contents.problems.setdefault("a header holds data that its flags do not announce")
    if own & _UNKNOWN_SIZE:
        contents.problems.setdefault("the size of a member is not stated")
    if flags & _SPLIT:
        contents.volume = True
    records = _records(extra)
    if len(records) != len({number for number, _ in records}):
        contents.problems.setdefault("a header holds two records of one kind")
    closed, link, blake = None, "", b""
    for number, record in records:
        if number == _ENCRYPTION:
            closed = _encryption(record)
        elif number == _HASH:
            if record[:1] != b"\0" or len(record) != 33:
                contents.problems.setdefault("a member has a checksum of an unknown kind")
            blake = record[1:]
        elif number == _REDIRECTION:
            reader = _Reader(record)
            reader.number()
            reader.number()
            link = reader.take(reader.number()).decode("utf-8", "replace") or "?"
    return Member(
        name,
        size,
        *place,
        header,
        crc,
        stored=not packing >> 7 & 7,
        is_folder=bool(own & _FOLDER),
        link=link,
        is_link=bool(link),
        solid=bool(packing & 0x40),
        service=name if kind == _SERVICE else "",
        closed=closed,
        blake=blake,
    )


def _records(extra: bytes) -> list[tuple[int, bytes]]:
    reader, records = _Reader(extra), []
    while reader.rest:
        size = reader.number()
        record = _Reader(reader.take(size))
        number = record.number()
        records.append((number, record.take(record.rest)))
    return records


def _encryption(record: bytes) -> Closed:
    reader = _Reader(record)
    version, flags, power = reader.number(), reader.number(), reader.take(1)[0]
    salt, vector = reader.take(16), reader.take(16)
    check = reader.take(12)[:8] if flags & 1 else b""
    fault = "its cipher is of an unknown version" if version or reader.rest else ""
    return Closed(5, salt, vector, power, check, bool(flags & 2), fault)


def plain(members: Iterable[tuple[Member, bytes]], solid: bool) -> bytes:
    """An archive of *members* with their packed octets, which are not encrypted any more; service blocks become files."""
    out = bytearray(SIGNATURE + _block(_number(_MAIN) + _number(0) + _number(_SOLID if solid else 0)))
    for member, packed in members:
        if member.closed is None and not member.service:
            out += member.header + packed
        else:
            packed = packed[: member.size] if member.stored else _trimmed(packed)
            out += _rewritten(member, len(packed)) + packed
    return bytes(out + _END)


def _trimmed(packed: bytes) -> bytes:
    """*packed* without what encryption filled it up with: the last of its blocks says that it is the last."""
    at = 0
    while at + 3 <= len(packed):
        flags = packed[at]
        width = (flags >> 3 & 3) + 1
        at += 2 + width + int.from_bytes(packed[at + 2 : at + 2 + width], "little")
        if flags & 0x40 or width > 3:
            return packed[:at]
    return packed


def _rewritten(member: Member, size: int) -> bytes:
    """A file header without encryption, hash and checksum, which the caller verifies."""
    reader = _Reader(member.header, 4)
    reader.number()
    reader.number()
    flags = reader.number()
    if flags & _EXTRA:
        reader.number()
    if flags & _DATA:
        reader.number()
    own, unpacked, attributes = reader.number(), reader.number(), reader.number()
    if own & _TIME:
        reader.take(4)
    if own & _CRC:
        reader.take(4)
    packing, system = reader.number(), reader.number()
    name = reader.take(reader.number())
    fields = (own & _FOLDER, unpacked, attributes, packing, system, len(name))
    return _block(_number(_FILE) + _number(_DATA) + _number(size) + b"".join(_number(field) for field in fields) + name)


def _block(body: bytes) -> bytes:
    rest = _number(len(body)) + body
    return zlib.crc32(rest).to_bytes(4, "little") + rest


def _number(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def quick_open_differs(data: bytes, member: Member) -> bool:
    """Whether the copies of headers in the service block "QO" are not what stands in the archive *data*."""
    reader = _Reader(data[member.start : member.end])
    begin = member.start - len(member.header)
    try:
        while reader.rest:
            crc = int.from_bytes(reader.take(4), "little")
            start = reader.at
            size = reader.number()
            entry = _Reader(reader.take(size))
            entry.number()
            at = begin - entry.number()
            copy = entry.take(entry.number())
            if zlib.crc32(reader.data[start : reader.at]) != crc or at < 0 or data[at : at + len(copy)] != copy:
                return True
    except Unreadable:
        return True
    return False

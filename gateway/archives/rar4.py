"""The headers of RAR archives up to version 4.

What it is: ``parse`` (all blocks, every header checked) and ``plain`` (a small archive of some members without encryption, which
libarchive can unpack).
Who calls it: ``archives.rar``.
Must never: skip a block that it does not know without saying so; follow a link.
Sources: technote.txt of RAR 4; rarfile (names, key derivation); hostile-inputs catalogue Z06, Z10, Z11.
"""

from __future__ import annotations

import importlib
import struct
import zlib
from collections.abc import Iterable
from typing import Any

from gateway.archives import rar_crypto
from gateway.archives.member_names import decoded
from gateway.archives.rar_blocks import DAMAGED, Closed, Contents, Member
from gateway.extraction.base import Budget, Unreadable

_rarfile: Any = importlib.import_module("rarfile")  # it has no types
SIGNATURE = b"Rar!\x1a\x07\x00"
_END = b"\xc4\x3d\x7b\x00\x40\x07\x00"
_BASE = struct.Struct("<HBHH")
_FIELDS = struct.Struct("<LLBLLBBHL")
_MAIN, _FILE, _SERVICE, _LAST = 0x73, 0x74, 0x7A, 0x7B
_OLD_COMMENT, _OLD_RECOVERY = 0x75, 0x78
_VOLUME, _COMMENT, _SOLID, _RECOVERY, _PASSWORD = 0x1, 0x2, 0x8, 0x40, 0x80
_SPLIT, _CLOSED, _INNER_COMMENT, _MEMBER_SOLID, _LARGE, _UNICODE, _SALT, _TIMES = 0x3, 0x4, 0x8, 0x10, 0x100, 0x200, 0x400, 0x1000
_FOLDER, _LONG = 0xE0, 0x8000
_STORED, _UNIX, _LINK, _KIND = 0x30, 3, 0xA000, 0xF000
_FIRST_AES = 29


def parse(data: bytes, password: str | None, keys: rar_crypto.Keys, budget: Budget) -> Contents:
    """The archive that begins with *data*. *password*: of its headers, where they are encrypted. Raises Unreadable or OverLimit."""
    contents = Contents(4)
    at, closed = len(SIGNATURE), False
    while True:
        budget.check_time()
        if at == len(data) and not closed and contents.members:
            contents.problems.setdefault("its end is not marked")
            return contents
        header, at = _closed_header(data, at, password, keys, budget) if closed else _header(data, at)
        _, kind, flags, size = _BASE.unpack_from(header)
        more = int.from_bytes(header[7:11], "little") if flags & _LONG or kind in (_FILE, _SERVICE) else 0
        match kind:
            case 0x73:
                contents.volume, contents.solid = bool(flags & _VOLUME), bool(flags & _SOLID)
                if flags & _COMMENT or size != 13:
                    contents.problems.setdefault("it holds a comment of an old kind, which is not read")
                if flags & _PASSWORD:
                    contents.closed, contents.closed_from, closed = Closed(4, data[at : at + 8]), at, True
                    if password is None:
                        return contents
            case 0x74 | 0x7A:
                budget.spend_entries()
                member = _member(kind, flags, header, at, contents)
                more = member.end - member.start
                if member.end > len(data):
                    raise Unreadable("it is cut off, or a member states a size that is not its own")
                contents.members.append(member)
            case 0x7B:
                if flags & 0x1:
                    contents.volume = True
                if data[at + more :]:
                    contents.problems.setdefault("data follows its end")
                contents.closed = None
                return contents
            case 0x78:
                pass  # recovery data: it repeats what stands in the archive
            case _:
                contents.problems.setdefault("it holds a block of a kind that is not read")
        at += more
        if at > len(data):
            raise Unreadable("it is cut off")


def _header(data: bytes, at: int) -> tuple[bytes, int]:
    if at + _BASE.size > len(data):
        raise Unreadable("it is cut off")
    size = _BASE.unpack_from(data, at)[3]
    if size < _BASE.size or at + size > len(data):
        raise Unreadable(DAMAGED)
    return _checked(data[at : at + size]), at + size


def _closed_header(data: bytes, at: int, password: str | None, keys: rar_crypto.Keys, budget: Budget) -> tuple[bytes, int]:
    if at + 24 > len(data) or password is None:
        raise Unreadable("it is cut off")
    key = keys.of(password, Closed(4, data[at : at + 8]), budget)
    at += 8
    size = _BASE.unpack_from(rar_crypto.decrypt(data[at : at + 16], key, b""))[3]
    whole = -(-size // 16) * 16
    if size < _BASE.size or at + whole > len(data):
        raise Unreadable(DAMAGED)
    return _checked(rar_crypto.decrypt(data[at : at + whole], key, b"")[:size]), at + whole


def _checked(header: bytes) -> bytes:
    if zlib.crc32(header[2:]) & 0xFFFF != int.from_bytes(header[:2], "little"):
        raise Unreadable(DAMAGED)
    return header


def _member(kind: int, flags: int, header: bytes, at: int, contents: Contents) -> Member:
    if len(header) < _BASE.size + _FIELDS.size:
        raise Unreadable(DAMAGED)
    packed, size, system, crc, _, version, method, name_size, attributes = _FIELDS.unpack_from(header, _BASE.size)
    place = _BASE.size + _FIELDS.size
    if flags & _LARGE:
        if place + 8 > len(header):
            raise Unreadable(DAMAGED)
        high_packed, high_size = struct.unpack_from("<LL", header, place)
        packed, size, place = packed | high_packed << 32, size | high_size << 32, place + 8
    raw = header[place : place + name_size]
    place += name_size
    salt = header[place : place + 8] if flags & _SALT else b""
    if place + len(salt) > len(header) or len(raw) != name_size:
        raise Unreadable(DAMAGED)
    if flags & _INNER_COMMENT:
        contents.problems.setdefault("it holds a comment of an old kind, which is not read")
    if flags & _SPLIT:
        contents.volume = True
    closed = None
    if flags & _CLOSED:
        closed = Closed(4, salt, fault="" if version >= _FIRST_AES else "it is encrypted by a cipher of old RAR versions")
    service = raw.decode("latin-1") if kind == _SERVICE else ""
    is_link = system == _UNIX and attributes & _KIND == _LINK
    return Member(
        _name(raw, flags),
        size,
        at,
        at + packed,
        header,
        crc,
        stored=method == _STORED,
        is_folder=flags & _FOLDER == _FOLDER and kind == _FILE,
        is_link=is_link,
        solid=bool(flags & _MEMBER_SOLID),
        service=service,
        closed=closed,
    )


def _name(raw: bytes, flags: int) -> str:
    if not flags & _UNICODE:
        return decoded(raw)
    plain_name, found, encoded = raw.partition(b"\0")
    if not found:
        return raw.decode("utf-8", "replace")
    return str(_rarfile.UnicodeFilename(plain_name, encoded).decode())


def plain(members: Iterable[tuple[Member, bytes]], solid: bool) -> bytes:
    """An archive of *members* with their packed octets, which are not encrypted any more; service blocks become files."""
    out = bytearray(SIGNATURE + _block(_MAIN, _SOLID if solid else 0, bytes(6)))
    for member, packed in members:
        packed = packed[: member.size] if member.closed is not None and member.stored else packed
        _, kind, flags, _ = _BASE.unpack_from(member.header)
        if member.closed is None and kind == _FILE:
            out += member.header + packed
            continue
        fields = list(_FIELDS.unpack_from(member.header, _BASE.size))
        place = _BASE.size + _FIELDS.size + (8 if flags & _LARGE else 0)
        raw = member.header[place : place + fields[7]]
        fields[0], fields[1] = len(packed), member.size & 0xFFFFFFFF
        flags &= ~(_CLOSED | _SALT | _TIMES | _LARGE | _SPLIT)
        if kind != _FILE:
            flags &= ~_MEMBER_SOLID  # a comment is packed by itself, whatever this says
        out += _block(_FILE, flags | _LONG, _FIELDS.pack(*fields) + raw) + packed
    return bytes(out + _END)


def _block(kind: int, flags: int, body: bytes) -> bytes:
    rest = struct.pack("<BHH", kind, flags, _BASE.size + len(body)) + body
    return (zlib.crc32(rest) & 0xFFFF).to_bytes(2, "little") + rest

"""The reader of Microsoft cabinet files.

What it is: the extractor of cab; stored and MSZIP folders are unpacked here, LZX by libarchive.
Who calls it: ``content.walk`` through the table.
Must never: write to a path; call a cabinet read whose members do not cover all that was packed, or that holds octets of nothing.
Sources: "Microsoft Cabinet Format" ([MS-CAB]); [MS-MCI] (MSZIP); hostile-inputs catalogue Z06, Z10, Z11.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from gateway.archives import decoders, libarchive, member_names
from gateway.extraction.base import Budget, Child, Found, OverLimit, Piece, Unreadable
from gateway.verdict import LeafState

_HEADER = struct.Struct("<4sLLLLLBBHHHHH")
_FOLDER = struct.Struct("<LHH")
_FILE = struct.Struct("<LLHHHH")
_DATA = struct.Struct("<LHH")
_STORED, _MSZIP, _LZX = 0, 1, 3
_PREVIOUS, _NEXT, _RESERVED, _UTF8 = 1, 2, 4, 0x80
_NAME_CAP = 4096
_HISTORY = 1 << 15
_DAMAGED = "it is damaged: its structure is broken"
_VOLUME = "it is one volume of several"


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    size: int
    offset: int
    folder: int


@dataclass(slots=True)
class _Folder:
    method: int
    blocks: list[tuple[int, int, int]] = field(default_factory=list)
    """Where the octets of each block start and end, and to how many they unpack."""

    @property
    def size(self) -> int:
        return sum(size for _, _, size in self.blocks)


def extract(piece: Piece, budget: Budget) -> Found:
    """Every file as a child."""
    data = piece.data
    problems: dict[str, None] = {}
    folders, members = _structure(data, problems, budget)
    children: list[Child] = []
    over = ""
    lzx: dict[str, bytes] | None = None
    for number, folder in enumerate(folders):
        own = [member for member in members if member.folder == number]
        _cover(own, folder, problems)
        try:
            if folder.method & 0x0F == _LZX:
                lzx = _by_libarchive(data, members, budget) if lzx is None else lzx
                children += [_checked(member, lzx.get(member.name, b"")) for member in own]
            else:
                content = budget.collect(_unpacked(data, folder), sum(end - start for start, end, _ in folder.blocks), folder.size)
                children += [_checked(member, content[member.offset : member.offset + member.size]) for member in own]
        except OverLimit as error:
            over = over or f"over a limit: {error}"
            children += [Child(member.name, size=member.size, state=LeafState.SUSPECT, reason=str(error)) for member in own]
        except Unreadable as error:
            children += [Child(member.name, size=member.size, state=LeafState.SUSPECT, reason=str(error)) for member in own]
    reason = over or ("ambiguous: " + "; ".join(problems) if problems else "")
    return Found((), tuple(children), LeafState.SUSPECT if reason else LeafState.INSPECTED, reason, container=True)


def _checked(member: _Member, content: bytes) -> Child:
    if len(content) != member.size:
        return Child(member.name, size=member.size, state=LeafState.SUSPECT, reason="a member is damaged: its size is wrong")
    return Child(member.name, content)


def _structure(data: bytes, problems: dict[str, None], budget: Budget) -> tuple[list[_Folder], list[_Member]]:
    """Folders and members; every octet of the file must belong to something. Raises Unreadable or OverLimit."""
    if len(data) < _HEADER.size:
        raise Unreadable("it is cut off")
    _, first, size, second, files_at, third, minor, major, folder_count, file_count, flags, _, _ = _HEADER.unpack_from(data)
    if size > len(data):
        raise Unreadable("it is cut off")
    if size < len(data):
        problems.setdefault("data follows its end")
    if (major, minor) != (1, 3) or first or second or third or flags & ~7:
        problems.setdefault("its header holds what is not read")
    if flags & (_PREVIOUS | _NEXT):
        raise Unreadable(_VOLUME)
    budget.spend_entries(folder_count + file_count)
    whole = data[:size] if size < len(data) else data
    at, folder_extra, data_extra = _HEADER.size, 0, 0
    if flags & _RESERVED:
        header_extra, folder_extra, data_extra = struct.unpack_from("<HBB", data, at) if at + 4 <= size else (0, 0, 0)
        at += 4 + header_extra
        if header_extra or folder_extra or data_extra:
            problems.setdefault("it holds reserved data that is not read")
    folders: list[_Folder] = []
    ranges: list[tuple[int, int]] = []
    for _ in range(folder_count):
        if at + _FOLDER.size > size:
            raise Unreadable(_DAMAGED)
        start, count, method = _FOLDER.unpack_from(data, at)
        at += _FOLDER.size + folder_extra
        folders.append(_blocks(whole, start, count, method, data_extra, ranges, budget))
    if at != files_at:
        problems.setdefault("there is hidden data between its headers")
    at, members = files_at, []
    for _ in range(file_count):
        member, at = _file(data, at, size, problems)
        if member.folder >= len(folders):
            raise Unreadable(_VOLUME if member.folder >= 0xFFFD else _DAMAGED)
        members.append(member)
    for start, end in sorted(ranges):
        if start < at:
            raise OverLimit("its members overlap")
        if start > at:
            problems.setdefault("there is hidden data between its members")
        at = end
    if at != size:
        problems.setdefault("there is hidden data after its last member")
    return folders, members


def _blocks(data: bytes, start: int, count: int, method: int, extra: int, ranges: list[tuple[int, int]], budget: Budget) -> _Folder:
    folder, at = _Folder(method), start
    for _ in range(count):
        if at + _DATA.size > len(data):
            raise Unreadable(_DAMAGED)
        check, packed, size = _DATA.unpack_from(data, at)
        begin = at + _DATA.size + extra
        if begin + packed > len(data) or size > _HISTORY:
            raise Unreadable(_DAMAGED)
        if check and check != _sum(data[begin : begin + packed], _sum(data[at + 4 : begin], 0)):
            raise Unreadable("it is damaged: size or checksum is wrong")
        folder.blocks.append((begin, begin + packed, size))
        at = begin + packed
        budget.check_time()
    ranges.append((start, at))
    return folder


def _sum(data: bytes, seed: int) -> int:
    """The checksum of [MS-CAB]: 32-bit words, and the last octets the other way round, all by exclusive or."""
    whole = len(data) & ~3
    for word in struct.unpack(f"<{whole // 4}L", data[:whole]):
        seed ^= word
    return seed ^ int.from_bytes(data[whole:], "big")


def _file(data: bytes, at: int, size: int, problems: dict[str, None]) -> tuple[_Member, int]:
    if at + _FILE.size > size:
        raise Unreadable(_DAMAGED)
    length, offset, folder, _, _, _attributes = _FILE.unpack_from(data, at)
    end = data.find(b"\0", at + _FILE.size, min(size, at + _FILE.size + _NAME_CAP))
    if end < 0:
        raise Unreadable(_DAMAGED)
    name = member_names.decoded(data[at + _FILE.size : end])
    if wrong := member_names.problem(name):
        problems.setdefault(wrong)
    return _Member(name, length, offset, folder), end + 1


def _cover(members: list[_Member], folder: _Folder, problems: dict[str, None]) -> None:
    """The members of a folder lie one after the other over all that it unpacks to."""
    at = 0
    for member in sorted(members, key=lambda member: (member.offset, member.size)):
        if member.offset != at:
            problems.setdefault("its members do not fit to what is packed")
        at = member.offset + member.size
    if at != folder.size:
        problems.setdefault("its members do not fit to what is packed")


def _unpacked(data: bytes, folder: _Folder) -> Iterator[bytes]:
    """Block by block; each of MSZIP may refer to the one before it."""
    history = b""
    for start, end, size in folder.blocks:
        packed = data[start:end]
        if folder.method == _STORED:
            out = packed
        elif folder.method == _MSZIP:
            if packed[:2] != b"CK":
                raise Unreadable(decoders.BROKEN)
            try:
                engine = zlib.decompressobj(-15, zdict=history)
                out = engine.decompress(packed[2:], _HISTORY + 1)
            except zlib.error:
                raise Unreadable(decoders.BROKEN) from None
            if not engine.eof or engine.unused_data:
                raise Unreadable(decoders.BROKEN)
            history = (history + out)[-_HISTORY:]
        else:
            raise Unreadable("it is packed by a method that is not read")
        if len(out) != size:
            raise Unreadable(decoders.BROKEN)
        yield out


def _by_libarchive(data: bytes, members: list[_Member], budget: Budget) -> dict[str, bytes]:
    """All files by name. Raises Unreadable where two have one name: the library gives no other way to tell them apart."""
    found: dict[str, bytes] = {}
    names = {member.name for member in members}
    for one in libarchive.members(data, ("cab",), budget, counted=True):
        if not one.complete or one.name in found:
            raise Unreadable(libarchive.BROKEN)
        found[one.name.replace("/", "\\") if one.name not in names else one.name] = one.data
    return found

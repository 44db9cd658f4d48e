"""The structure of a zip file, read twice: by its central directory and by its local headers.

What it is: ``read`` (all entries and every disagreement that could make two readers see different things) and ``unpack`` (one
member, counted while it grows).
Who calls it: the readers of zip and OOXML.
Must never: trust a count, a size or a flag; write to a path; unpack an entry whose octets belong to another one too.
Sources: PKWARE APPNOTE 6.3.10; CVE-2024-0450 (overlapped entries); hostile-inputs catalogue Z01-Z09, E01, E02, E04.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from gateway.archives import zip_methods
from gateway.extraction.base import Budget, OverLimit, Unreadable

_EOCD = struct.Struct("<4s4H2LH")
_EOCD64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_NAME_CAP = 4096
ENCRYPTED, DESCRIPTOR, STRONG_PKWARE, UTF8 = 0x1, 0x8, 0x40, 0x800


@dataclass(frozen=True, slots=True)
class Entry:
    """One member as the central directory has it; *start* and *end* are the offsets of its packed octets."""

    name: str
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    header: int
    start: int
    end: int
    extra: bytes
    mode: int
    """Unix mode, 0 where none was recorded."""
    comment: bytes = b""
    time: int = 0
    """Time of day as MS-DOS has it: ZipCrypto repeats its high octet."""
    other_name: str = ""
    """The name of the header itself, where the Unicode path record gives another one."""

    @property
    def is_folder(self) -> bool:
        """A folder: no octets, and a name that says so."""
        return self.name.endswith("/") and self.packed == 0

    @property
    def encrypted_flag(self) -> bool:
        """What the flag claims, which proves nothing."""
        return bool(self.flags & ENCRYPTED)


@dataclass(frozen=True, slots=True)
class Directory:
    """All members in the order of the central directory, and why readers may disagree about them (plain clauses)."""

    entries: tuple[Entry, ...]
    problems: tuple[str, ...]
    comment: bytes = b""
    """What the archive as a whole says of itself; programs show it when they open the file."""


def read(data: bytes, budget: Budget) -> Directory:
    """The directory of the zip file *data*. Raises Unreadable when there is none, OverLimit by number of entries or overlap."""
    problems: list[str] = []
    offset, length, count, end, comment = _find_directory(data, problems)
    shift = 0
    if data[offset : offset + 4] != b"PK\x01\x02" and length and data[end - length : end - length + 4] == b"PK\x01\x02":
        # Something was put before the whole archive, and programs find it all the same.
        shift = end - length - offset
        offset += shift
    if count > budget.limits.archive_entries:
        raise OverLimit("it holds more entries than the limit")
    entries: list[Entry] = []
    position = offset
    while position < offset + length:
        if len(entries) >= budget.limits.archive_entries:
            raise OverLimit("it holds more entries than the limit")
        entry, position = _central_entry(data, position, offset, shift, problems)
        entries.append(entry)
    if position != offset + length or len(entries) != count:
        problems.append("its directory does not have the size it states")
    budget.spend_entries(len(entries))
    _check_layout(data, entries, offset, problems)
    if offset + length > end:
        problems.append("its directory runs into its own end record")
    names = [entry.name for entry in entries]
    if len(set(names)) != len(names):
        problems.append("it holds two members of one name")
    return Directory(tuple(entries), tuple(dict.fromkeys(problems)), comment)


def _find_directory(data: bytes, problems: list[str]) -> tuple[int, int, int, int, bytes]:
    """Offset, length and entry count of the central directory, where its end record starts, and the archive's comment."""
    position = data.rfind(b"PK\x05\x06")
    ending: list[int] = []
    lowest = max(0, len(data) - 65_557)
    while position >= lowest:
        if position + _EOCD.size <= len(data):
            ending.append(position)
        position = data.rfind(b"PK\x05\x06", 0, position + 3) if position else -1
    exact = [at for at in ending if at + _EOCD.size + _EOCD.unpack_from(data, at)[7] == len(data)]
    if not exact:
        if not ending:
            raise Unreadable("it has no directory: cut off or not a zip file")
        raise Unreadable("data follows its end record")
    at = exact[-1]
    _, disk, start_disk, here, count, length, offset, _comment = _EOCD.unpack_from(data, at)
    if len(exact) > 1 or any(other > at for other in ending):
        problems.append("it has more than one end record")
    if disk or start_disk or here != count:
        raise Unreadable("it is one volume of several")
    end = at
    if at >= _LOCATOR64.size and data[at - _LOCATOR64.size : at - _LOCATOR64.size + 4] == b"PK\x06\x07":
        _, _, record, _ = _LOCATOR64.unpack_from(data, at - _LOCATOR64.size)
        if record + _EOCD64.size > at:
            raise Unreadable("its 64-bit end record is not where it should be")
        signature, _, _, _, _, _, _, count64, length64, offset64 = _EOCD64.unpack_from(data, record)
        if signature != b"PK\x06\x06":
            raise Unreadable("its 64-bit end record is broken")
        for narrow, wide, full in ((count, count64, 0xFFFF), (length, length64, 0xFFFFFFFF), (offset, offset64, 0xFFFFFFFF)):
            if narrow not in (full, wide):
                problems.append("its two end records disagree")
        count, length, offset, end = count64, length64, offset64, record
    if offset + length > len(data):
        raise Unreadable("its directory lies outside of the file")
    if offset + length != end:
        problems.append("there is data before its first member or after its directory")
    return offset, length, count, end, data[at + _EOCD.size :]


def _central_entry(data: bytes, position: int, directory: int, shift: int, problems: list[str]) -> tuple[Entry, int]:
    if position + _CENTRAL.size > len(data):
        raise Unreadable("its directory is cut off")
    fields = _CENTRAL.unpack_from(data, position)
    signature, made, _, flags, method, clock, _, crc, packed, size, name_len, extra_len, comment_len, disk, _, attributes, header = fields
    if signature != b"PK\x01\x02":
        raise Unreadable("its directory is broken")
    start = position + _CENTRAL.size
    raw_name = data[start : start + name_len]
    extra = data[start + name_len : start + name_len + extra_len]
    following = start + name_len + extra_len + comment_len
    comment = data[following - comment_len : following]
    if name_len > _NAME_CAP:
        raise Unreadable("a member's name is longer than the limit")
    size, packed, header = _wide(extra, size, packed, header)
    if disk not in (0, 0xFFFF):
        raise Unreadable("it is one volume of several")
    header += shift
    begin, local_extra = _local(data, header, directory, (flags, method, crc, packed, size, raw_name), problems)
    name = _name(raw_name, flags, problems)
    name, other_name = _unicode_name(raw_name, name, extra, problems)
    for one in filter(None, (name, other_name)):
        _check_name(one, problems)
    if not name:
        problems.append("a member's name is empty or holds a NUL")
    mode = attributes >> 16 if made >> 8 == 3 else 0
    if mode & 0o170000 not in (0, 0o100000, 0o040000):
        problems.append("it holds a link or a device")
    # The AES record may stand in either header; WinZip writes it in both.
    records = [record for record in (extra_field(extra, 0x9901), extra_field(local_extra, 0x9901)) if record is not None]
    if len(set(records)) > 1:
        problems.append("a member has two different AES records")
    whole_extra = extra if extra_field(extra, 0x9901) is not None else extra + local_extra
    if begin + packed > directory:
        raise Unreadable("a member runs into the directory")
    return Entry(
        name, flags, method, crc, packed, size, header, begin, begin + packed, whole_extra, mode, comment, clock, other_name
    ), following


def _local(
    data: bytes, header: int, directory: int, central: tuple[int, int, int, int, int, bytes], problems: list[str]
) -> tuple[int, bytes]:
    """Where the octets of the member start, after comparing its local header with the directory's words."""
    if header + _LOCAL.size > directory or data[header : header + 4] != b"PK\x03\x04":
        raise Unreadable("a member is not where the directory says")
    _, _, flags, method, _, _, crc, packed, size, name_len, extra_len = _LOCAL.unpack_from(data, header)
    name_at = header + _LOCAL.size
    name = data[name_at : name_at + name_len]
    extra = data[name_at + name_len : name_at + name_len + extra_len]
    size, packed, _ = _wide(extra, size, packed, 0)
    c_flags, c_method, c_crc, c_packed, c_size, c_name = central
    if (flags ^ c_flags) & ENCRYPTED:
        problems.append("a member is encrypted by one of its two headers only")
    if name != c_name or method != c_method or (flags ^ c_flags) & UTF8:
        problems.append("a member has two different headers")
    later = flags & DESCRIPTOR
    for mine, theirs in ((crc, c_crc), (packed, c_packed), (size, c_size)):
        if mine != theirs and not (later and mine == 0):
            problems.append("a member has two different headers")
    return name_at + name_len + extra_len, extra


def _wide(extra: bytes, size: int, packed: int, header: int) -> tuple[int, int, int]:
    """Sizes and offset with the 64-bit values of extra field 0x0001 in place of all-ones."""
    field = extra_field(extra, 0x0001)
    values = [size, packed, header]
    at = 0
    for index, value in enumerate(values):
        if value == 0xFFFFFFFF and field is not None and at + 8 <= len(field):
            values[index] = int.from_bytes(field[at : at + 8], "little")
            at += 8
    return values[0], values[1], values[2]


def extra_field(extra: bytes, wanted: int) -> bytes | None:
    """The extra field with the identifier *wanted*, or None."""
    at = 0
    while at + 4 <= len(extra):
        identifier, length = struct.unpack_from("<HH", extra, at)
        if identifier == wanted and at + 4 + length <= len(extra):
            return extra[at + 4 : at + 4 + length]
        at += 4 + length
    return None


def _name(raw: bytes, flags: int, problems: list[str]) -> str:
    try:
        if flags & UTF8 or raw.isascii():
            return raw.decode("utf-8")
    except UnicodeDecodeError:
        problems.append("a member's name is not what its flag says")
    try:
        # Without the flag the name should be code page 437; real archivers in India write UTF-8 or cp1252 there too.
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp437")


def _unicode_name(raw: bytes, name: str, extra: bytes, problems: list[str]) -> tuple[str, str]:
    """The name that the Unicode path record (0x7075) gives, and the header's own where that is another one."""
    record = extra_field(extra, 0x7075)
    if record is None or len(record) < 6:
        return name, ""
    try:
        better = record[5:].decode("utf-8")
    except UnicodeDecodeError:
        problems.append("a member's name is not what its flag says")
        return name, ""
    if better == name:
        return name, ""
    # Archivers write it for names that code page 437 cannot hold; then it ends as the other does, and vouches for it.
    if int.from_bytes(record[1:5], "little") != zlib.crc32(raw) or better.rpartition(".")[2].lower() != name.rpartition(".")[2].lower():
        problems.append("a member has two different names")
    return better, name


def _check_name(name: str, problems: list[str]) -> None:
    if "\x00" in name:
        problems.append("a member's name is empty or holds a NUL")
    parts = name.replace("\\", "/").split("/")
    if ".." in parts or name.startswith(("/", "\\")) or (len(name) > 1 and name[1] == ":"):
        problems.append("a member's name leads out of the folder it is unpacked to")


def _check_layout(data: bytes, entries: list[Entry], directory: int, problems: list[str]) -> None:
    """Members lie one after the other without gap or overlap, from the first octet up to the directory."""
    position = 0
    before: Entry | None = None
    for entry in sorted(entries, key=lambda entry: entry.header):
        if entry.header < position:
            raise OverLimit("its members overlap")
        gap = data[position : entry.header]
        if gap and not (before is not None and _is_descriptor(gap, before)):
            problems.append("there is data before its first member" if before is None else "there is hidden data between its members")
        position, before = entry.end, entry
    if before is not None and (gap := data[position:directory]) and not _is_descriptor(gap, before):
        problems.append("there is hidden data after its last member")
    if not entries and directory:
        problems.append("there is data but no member")


def _is_descriptor(gap: bytes, entry: Entry) -> bool:
    """The data descriptor of *entry*: CRC and two sizes of 4 or 8 octets, with or without its signature."""
    words = gap[4:] if len(gap) in (16, 24) and gap.startswith(b"PK\x07\x08") else gap
    if len(words) not in (12, 20) or not entry.flags & DESCRIPTOR:
        return False
    wide = (len(words) - 4) // 2
    crc, packed, size = (words[:4], words[4 : 4 + wide], words[4 + wide :])
    return tuple(int.from_bytes(word, "little") for word in (crc, packed, size)) == (entry.crc, entry.packed, entry.size)


def unpack(data: bytes, entry: Entry, budget: Budget, *, method: int = -1) -> bytes:
    """The octets of *entry*, checked against its size and CRC. Raises Unreadable or OverLimit.

    The output is counted while it grows; what the headers say about its size is never believed.
    """
    return zip_methods.unpack(data[entry.start : entry.end], entry.method if method < 0 else method, entry.size, entry.crc, budget)

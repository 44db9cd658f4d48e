"""Macros in VBA: the source text of every module of a project.

What it is: ``project`` over the storage of a project, ``modules`` over the file ``vbaProject.bin``, ``decompress`` (MS-OVBA).
Who calls it: the readers of older Office documents, and of compound files inside OOXML packages.
Must never: run or compile anything; say that a project was read whose modules have compiled code only.
Sources: MS-OVBA 2.3.4 (dir stream), 2.4.1 (compression); hostile-inputs catalogue D03.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from gateway.extraction.base import Budget, Unreadable
from gateway.extraction.strings import sweep
from gateway.office.compound import Compound
from gateway.office.property_set import codec_of

_NAME, _STREAM, _OFFSET, _PAGE, _VERSION = 0x19, 0x1A, 0x31, 0x03, 0x09
_MOST_SOURCE = 20_000_000


@dataclass(frozen=True, slots=True)
class Project:
    """The macros of a document. *problem*: what could not be read, as a plain clause."""

    sources: tuple[str, ...] = ()
    problem: str = ""


def modules(data: bytes, budget: Budget) -> tuple[str, ...]:
    """Source text of the modules in a ``vbaProject.bin``. Raises Unreadable when one of them has none."""
    found = project(Compound.parse(data, budget), budget)
    if found.problem:
        raise Unreadable(found.problem)
    return found.sources


def project(storage: Compound, budget: Budget) -> Project:
    """The project whose storage has a storage ``VBA``."""
    vba = storage.storage("VBA")
    sources: list[str] = []
    problems: list[str] = []
    try:
        listing = decompress(vba.get("dir"), budget)
        codec, listed = _directory(listing)
    except (Unreadable, struct.error):
        return Project(_anywhere(vba, budget), "macros whose list of modules is broken")
    for name, offset in listed:
        budget.spend_entries()
        budget.check_time()
        stream = vba.get(name)
        try:
            source = decompress(stream[offset:], budget).decode(codec, "replace")
        except Unreadable:
            problems.append("a macro whose source cannot be read")
            sources.append(sweep(stream))
            continue
        code = [line for line in source.splitlines() if line.strip() and not line.startswith("Attribute ")]
        if not code and offset and _has_code(stream[:offset]):
            problems.append("a macro whose source was taken out, so that only compiled code is left")
            sources.append(sweep(stream[:offset]))
        sources.append(source)
    known = {name.lower() for name, _ in listed} | {"dir", "_vba_project"}
    extra = [path for path in vba.names() if path[-1].lower() not in known and not path[-1].lower().startswith("__srp_")]
    for path in extra:
        stream = vba.get(*path)
        if found := _source_in(stream, budget):
            sources.append(found)
        elif stream:
            problems.append("macros with a stream that no module names")
            sources.append(sweep(stream))
    return Project(tuple(sources), "; ".join(dict.fromkeys(problems)))


_LINES = b"\xfe\xca\x01\x00"
_BLANK = bytes(4) + b"\xff\xff\xff\xff"
_NO_CODE = 8
"""Octets of compiled code that stand behind lines without any."""


def _has_code(cache: bytes) -> bool:
    """Whether the compiled part of a module has lines that do something: their number and table stand behind a mark of their own."""
    at = cache.rfind(_LINES)
    if at < 0 or at + 6 > len(cache):
        return True
    count = cache[at + 4] | cache[at + 5] << 8
    end = at + 6 + 12 * count
    if not count:
        return False
    blank = all(cache[line + 4 : line + 12] == _BLANK for line in range(at + 6, end, 12))
    return not blank or int.from_bytes(cache[end + 6 : end + 10].ljust(4, b"\xff"), "little") > _NO_CODE


def _directory(data: bytes) -> tuple[str, list[tuple[str, int]]]:
    """The codec of the project, and stream and offset of the source of each module."""
    at, codec, stream = 0, "cp1252", ""
    found: list[tuple[str, int]] = []
    while at + 6 <= len(data):
        kind, length = struct.unpack_from("<HI", data, at)
        at += 6
        if kind == _VERSION:
            length = 6  # the field says 4
        if length > len(data) - at:
            raise Unreadable("it is broken")
        value = data[at : at + length]
        at += length
        if kind == _PAGE and length == 2:
            codec = codec_of(struct.unpack("<H", value)[0])
        elif kind == _STREAM:
            stream = value.decode(codec, "replace")
            if at + 6 <= len(data) and data[at : at + 2] == b"\x32\x00":
                wide = struct.unpack_from("<I", data, at + 2)[0]
                stream = data[at + 6 : at + 6 + wide].decode("utf-16-le", "replace")
        elif kind == _OFFSET and length == 4:
            found.append((stream, struct.unpack("<I", value)[0]))
    return codec, found


def _source_in(stream: bytes, budget: Budget) -> str:
    """The source at the end of a module stream, found by how each one begins."""
    at = stream.find(b"\x00Attribut")
    if at < 3:
        return ""
    try:
        return decompress(stream[at - 3 :], budget).decode("cp1252", "replace")
    except Unreadable:
        return ""


def _anywhere(vba: Compound, budget: Budget) -> tuple[str, ...]:
    found = []
    for path in vba.names():
        stream = vba.get(*path)
        found.append(_source_in(stream, budget) or sweep(stream))
    return tuple(text for text in found if text)


def decompress(data: bytes, budget: Budget) -> bytes:
    """Octets of a compressed container. Raises Unreadable when it is none or is broken, OverLimit beyond the budget."""
    if data[:1] != b"\x01":
        raise Unreadable("macros that are not packed as they should be")
    out = bytearray()
    at = 1
    while at + 2 <= len(data):
        head = struct.unpack_from("<H", data, at)[0]
        if head >> 12 & 7 != 3:
            if not out or data[at:].strip(b"\x00"):
                raise Unreadable("macros that are not packed as they should be")
            break
        end = min(at + (head & 0x0FFF) + 3, len(data))
        if head & 0x8000:
            _chunk(data, at + 2, end, out)
        else:
            out += data[at + 2 : end]
        at = end
        if len(out) > _MOST_SOURCE:
            raise Unreadable("over a limit: macros that are too long")
        budget.check_time()
    budget.spend_bytes(len(out))
    return bytes(out)


def _chunk(data: bytes, at: int, end: int, out: bytearray) -> None:
    start = len(out)
    while at < end:
        flags = data[at]
        at += 1
        for bit in range(8):
            if at >= end:
                return
            if not flags >> bit & 1:
                out.append(data[at])
                at += 1
                continue
            if at + 2 > end:
                raise Unreadable("macros that are not packed as they should be")
            token = data[at] | data[at + 1] << 8
            at += 2
            bits = max((len(out) - start - 1).bit_length(), 4)
            length, back = (token & (0xFFFF >> bits)) + 3, (token >> (16 - bits)) + 1
            if back > len(out) - start or len(out) - start + length > 4096 + 2:
                raise Unreadable("macros that are not packed as they should be")
            for _ in range(length):
                out.append(out[-back])

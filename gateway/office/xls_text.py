"""Strings in BIFF records (XLS): with flags, formatting runs and continued records, and the older 8-bit kind.

What it is: ``Records`` (type, body and what continues it), ``string``, ``Continued`` (reads across the borders of records).
Who calls it: ``office.xls``, ``office.xls_sheet``.
Must never: take a length for granted; read one character twice or none at a border of records.
Source: MS-XLS 2.5.293 (XLUnicodeRichExtendedString), 2.5.294 (XLUnicodeString), 2.4.58 (Continue).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.extraction.base import Budget, Unreadable

CONTINUE = (0x003C, 0x0812, 0x087F)
_MOST_RECORDS = 3_000_000


@dataclass(frozen=True, slots=True)
class Record:
    """One record. *blocks*: its body and the bodies of the Continue records behind it."""

    kind: int
    blocks: tuple[bytes, ...]
    at: int

    @property
    def body(self) -> bytes:
        return self.blocks[0]


def records(data: bytes, budget: Budget) -> Iterator[Record]:
    """The records of a workbook stream. Raises Unreadable when one is longer than the stream."""
    at, end, count = 0, len(data), 0
    while at + 4 <= end:
        kind, length = struct.unpack_from("<HH", data, at)
        start = at
        if not kind and not length and not data[at:].strip(b"\x00"):
            return  # filled up
        if length > end - at - 4:
            raise Unreadable("a workbook that is cut off or broken")
        blocks = [data[at + 4 : at + 4 + length]]
        at += 4 + length
        while at + 4 <= end and data[at] == 0x3C and data[at + 1] == 0:
            length = data[at + 2] | data[at + 3] << 8
            if length > end - at - 4:
                raise Unreadable("a workbook that is cut off or broken")
            blocks.append(data[at + 4 : at + 4 + length])
            at += 4 + length
        count += 1
        if count % 10_000 == 0:
            budget.check_time()
            if count > _MOST_RECORDS:
                raise Unreadable("over a limit: it holds more records than the limit")
        yield Record(kind, tuple(blocks), start)
    if data[at:].strip(b"\x00"):
        raise Unreadable("a workbook that is cut off or broken")


class Continued:
    """The octets of a record and of those that continue it, with the rule that text which crosses a border begins anew with its flags."""

    def __init__(self, blocks: tuple[bytes, ...]) -> None:
        self._blocks = blocks
        self._block = 0
        self._at = 0

    def done(self) -> bool:
        """Whether all octets were read."""
        self._next()
        return self._block >= len(self._blocks)

    def _next(self) -> None:
        while self._block < len(self._blocks) and self._at >= len(self._blocks[self._block]):
            self._block += 1
            self._at = 0

    def take(self, count: int) -> bytes:
        """*count* octets. Raises Unreadable when there are not so many."""
        out = b""
        while count:
            self._next()
            if self._block >= len(self._blocks):
                raise Unreadable("a workbook whose strings are broken")
            part = self._blocks[self._block][self._at : self._at + count]
            self._at += len(part)
            count -= len(part)
            out = out + part if out else part
        return out

    def number(self, width: int) -> int:
        """An unsigned number of *width* octets."""
        return int.from_bytes(self.take(width), "little")

    def characters(self, count: int, wide: bool) -> str:
        """*count* UTF-16 units, or so many octets of the first 256 characters."""
        out: list[bytes] = []
        while count:
            if self._block < len(self._blocks) and self._at >= len(self._blocks[self._block]):
                self._next()
                if self._block >= len(self._blocks):
                    raise Unreadable("a workbook whose strings are broken")
                wide = bool(self.number(1) & 1)
            if self._block >= len(self._blocks):
                raise Unreadable("a workbook whose strings are broken")
            block = self._blocks[self._block]
            units = min(count, (len(block) - self._at) // (2 if wide else 1))
            if not units:
                raise Unreadable("a workbook whose strings are broken")
            raw = block[self._at : self._at + units * (2 if wide else 1)]
            self._at += len(raw)
            out.append(raw if wide else raw.decode("latin-1").encode("utf-16-le"))
            count -= units
        return b"".join(out).decode("utf-16-le", "replace")

    def string(self, width: int = 2) -> str:
        """A string with its flags, and behind it the formatting runs and phonetic text, which are kept too. *width*: of its length."""
        count = self.number(width)
        flags = self.number(1)
        runs = self.number(2) if flags & 8 else 0
        phonetic = self.number(4) if flags & 4 else 0
        text = self.characters(count, bool(flags & 1)) if count else ""
        self.take(4 * runs)
        if phonetic:
            reading = _phonetic(self.take(phonetic))
            text += f"\n{reading}" if reading else ""
        return text


def _phonetic(data: bytes) -> str:
    """How to pronounce a string: text of its own, which the program can show."""
    if len(data) < 14:
        return ""
    count = struct.unpack_from("<H", data, 10)[0]
    return data[14 : 14 + 2 * count].decode("utf-16-le", "replace") if 14 + 2 * count <= len(data) else ""


def string(data: bytes, width: int = 2) -> str:
    """The string at the start of *data*, one record; what there is of it when it is too short."""
    if len(data) <= width:
        return ""
    count = int.from_bytes(data[:width], "little")
    wide = data[width] & 1
    skip = (2 if data[width] & 8 else 0) + (4 if data[width] & 4 else 0)
    raw = data[width + 1 + skip : width + 1 + skip + count * (2 if wide else 1)]
    return raw.decode("utf-16-le" if wide else "latin-1", "replace")


def old_string(data: bytes, codec: str, width: int = 2) -> str:
    """The 8-bit string of Excel 5 and 95."""
    count = int.from_bytes(data[:width], "little")
    return data[width : width + count].decode(codec, "replace")

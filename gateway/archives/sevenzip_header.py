"""The header of a 7z archive: packed streams, folders with their coders, files.

What it is: ``Start`` (the fixed beginning), ``parse`` (the header as values) and ``chain`` (the coders of a folder in their order).
Who calls it: ``archives.sevenzip``.
Must never: unpack; trust a count (each is bounded before it is looped over); pass over a property that it does not know.
Sources: "7zFormat.txt" of the 7-Zip sources; hostile-inputs catalogue E07, Z04.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

from gateway.extraction.base import Budget, OverLimit, Unreadable

SIGNATURE = b"7z\xbc\xaf\x27\x1c"
START = 32
AES = b"\x06\xf1\x07\x01"
_DAMAGED = "it is damaged: its header is broken"
_CODERS, _STREAMS = 32, 4
(
    _END, _HEADER, _ARCHIVE_PROPERTIES, _ADDITIONAL, _MAIN, _FILES, _PACK, _UNPACK, _SUBSTREAMS, _SIZE, _CRC, _FOLDER, _CODER_SIZES,
    _NUMBERS, _EMPTY_STREAM, _EMPTY_FILE, _ANTI, _NAMES, _CREATED, _ACCESSED, _MODIFIED, _ATTRIBUTES, _COMMENT, _ENCODED, _START_POSITION,
    _DUMMY,
) = range(26)  # fmt: skip
_UNIX_EXTENSION, _FOLDER_ATTRIBUTE, _REPARSE = 0x8000, 0x10, 0x400


@dataclass(frozen=True, slots=True)
class Coder:
    """One method with its properties; 7z numbers the streams of all coders of a folder in order."""

    method: bytes
    properties: bytes = b""
    inputs: int = 1
    outputs: int = 1


@dataclass(slots=True)
class Folder:
    """What was packed together: coders, their connections, and what they unpack to."""

    coders: tuple[Coder, ...]
    pairs: tuple[tuple[int, int], ...]
    packed: tuple[int, ...]
    """Input streams that come from the archive itself."""
    sizes: tuple[int, ...] = ()
    crc: int | None = None
    first_stream: int = 0
    parts: tuple[tuple[int, int | None], ...] = ()
    """Size and checksum of each file in it."""

    @property
    def size(self) -> int:
        """Octets it unpacks to."""
        bound = {output for _, output in self.pairs}
        free = [output for output in range(len(self.sizes)) if output not in bound]
        if len(free) != 1:
            raise Unreadable(_DAMAGED)
        return self.sizes[free[0]]

    @property
    def encrypted(self) -> bool:
        """Whether one of its coders is AES."""
        return any(coder.method == AES for coder in self.coders)


@dataclass(frozen=True, slots=True)
class File:
    """One entry; without a stream it is a folder or an empty file."""

    name: str
    has_stream: bool
    is_folder: bool
    is_link: bool
    anti: bool


@dataclass(slots=True)
class Streams:
    """Where packed data lies and how it was packed."""

    position: int = 0
    packed: list[tuple[int, int]] = field(default_factory=list)
    """Offset and size of each packed stream."""
    checksums: list[int | None] = field(default_factory=list)
    folders: list[Folder] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Start:
    """The first 32 octets: where the header lies."""

    offset: int
    size: int
    crc: int

    @classmethod
    def read(cls, data: bytes) -> Start:
        """Raises Unreadable."""
        if len(data) < START or not data.startswith(SIGNATURE):
            raise Unreadable("it is cut off")
        if zlib.crc32(data[12:START]) != int.from_bytes(data[8:12], "little"):
            raise Unreadable(_DAMAGED)
        place = cls(*(int.from_bytes(data[at : at + width], "little") for at, width in ((12, 8), (20, 8), (28, 4))))
        if START + place.offset + place.size > len(data):
            raise Unreadable("it is cut off or one volume of several")
        return place


class _Reader:
    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def octet(self) -> int:
        return self.take(1)[0]

    def take(self, count: int) -> bytes:
        if count < 0 or self._at + count > len(self._data):
            raise Unreadable(_DAMAGED)
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self) -> int:
        """A number of one to nine octets; the leading ones of the first tell how many follow."""
        first, mask, value = self.octet(), 0x80, 0
        for index in range(8):
            if not first & mask:
                return value | (first & (mask - 1)) << 8 * index
            value |= self.octet() << 8 * index
            mask >>= 1
        return value

    def bits(self, count: int) -> list[bool]:
        packed = self.take((count + 7) // 8)
        return [bool(packed[index // 8] & 0x80 >> index % 8) for index in range(count)]

    def defined(self, count: int) -> list[bool]:
        return [True] * count if self.octet() else self.bits(count)

    def checksums(self, count: int) -> list[int | None]:
        return [int.from_bytes(self.take(4), "little") if known else None for known in self.defined(count)]

    @property
    def rest(self) -> int:
        return len(self._data) - self._at


def parse(data: bytes, budget: Budget) -> tuple[Streams, tuple[File, ...]] | Streams:
    """The files of a plain header, or, for one that is packed itself, where and how. Raises Unreadable or OverLimit."""
    reader = _Reader(data)
    match reader.octet():
        case 1:
            result = _header(reader, budget)
        case 23:
            return _finished(reader, _streams(reader, budget))
        case _:
            raise Unreadable(_DAMAGED)
    if reader.rest:
        raise Unreadable(_DAMAGED)
    return result


def _finished(reader: _Reader, streams: Streams) -> Streams:
    if reader.rest or len(streams.folders) != 1:
        raise Unreadable(_DAMAGED)
    return streams


def _header(reader: _Reader, budget: Budget) -> tuple[Streams, tuple[File, ...]]:
    streams = Streams()
    files: tuple[File, ...] = ()
    kind = reader.octet()
    if kind == _ARCHIVE_PROPERTIES:
        raise Unreadable("it has properties that are not read")
    if kind == _ADDITIONAL:
        raise Unreadable("it has streams of a kind that is not read")
    if kind == _MAIN:
        streams = _streams(reader, budget)
        kind = reader.octet()
    if kind == _FILES:
        files = _files(reader, budget)
        kind = reader.octet()
    if kind != _END:
        raise Unreadable(_DAMAGED)
    return streams, files


def _streams(reader: _Reader, budget: Budget) -> Streams:
    streams = Streams()
    kind = reader.octet()
    if kind == _PACK:
        _pack_info(reader, streams, budget)
        kind = reader.octet()
    if kind == _UNPACK:
        _unpack_info(reader, streams, budget)
        kind = reader.octet()
    for folder in streams.folders:
        folder.parts = ((folder.size, folder.crc),)
    if kind == _SUBSTREAMS:
        _substreams(reader, streams, budget)
        kind = reader.octet()
    if kind != _END:
        raise Unreadable(_DAMAGED)
    if sum(len(folder.packed) for folder in streams.folders) != len(streams.packed):
        raise Unreadable(_DAMAGED)
    return streams


def _pack_info(reader: _Reader, streams: Streams, budget: Budget) -> None:
    streams.position = position = START + reader.number()
    count = _count(reader, budget)
    kind = reader.octet()
    if kind == _SIZE:
        for _ in range(count):
            size = reader.number()
            streams.packed.append((position, size))
            position += size
        kind = reader.octet()
    if kind == _CRC:
        streams.checksums = reader.checksums(count)
        kind = reader.octet()
    if kind != _END or len(streams.packed) != count:
        raise Unreadable(_DAMAGED)


def _unpack_info(reader: _Reader, streams: Streams, budget: Budget) -> None:
    if reader.octet() != _FOLDER:
        raise Unreadable(_DAMAGED)
    count = _count(reader, budget)
    if reader.octet():
        raise Unreadable("its header lies in another stream, which is not read")
    first = 0
    for _ in range(count):
        budget.check_time()
        folder = _folder(reader)
        folder.first_stream = first
        first += len(folder.packed)
        streams.folders.append(folder)
    if reader.octet() != _CODER_SIZES:
        raise Unreadable(_DAMAGED)
    for folder in streams.folders:
        folder.sizes = tuple(reader.number() for coder in folder.coders for _ in range(coder.outputs))
    kind = reader.octet()
    if kind == _CRC:
        for folder, crc in zip(streams.folders, reader.checksums(count), strict=True):
            folder.crc = crc
        kind = reader.octet()
    if kind != _END:
        raise Unreadable(_DAMAGED)


def _folder(reader: _Reader) -> Folder:
    coders = []
    count = reader.number()
    if not 0 < count <= _CODERS:
        raise Unreadable(_DAMAGED)
    for _ in range(count):
        flags = reader.octet()
        if flags & 0xC0:
            raise Unreadable(_DAMAGED)
        method = reader.take(flags & 0x0F)
        inputs, outputs = (reader.number(), reader.number()) if flags & 0x10 else (1, 1)
        if not 0 < inputs <= _STREAMS or outputs != 1:
            raise Unreadable(_DAMAGED)
        properties = reader.take(reader.number()) if flags & 0x20 else b""
        coders.append(Coder(method, properties, inputs, outputs))
    inputs, outputs = sum(coder.inputs for coder in coders), sum(coder.outputs for coder in coders)
    pairs = tuple((reader.number(), reader.number()) for _ in range(outputs - 1))
    bound = {entry for entry, _ in pairs}
    free = inputs - len(pairs)
    packed = tuple(reader.number() for _ in range(free)) if free > 1 else tuple(n for n in range(inputs) if n not in bound)
    ends = {*packed, *bound}
    if len(packed) != free or len(ends) != inputs or max(ends) >= inputs or len({output for _, output in pairs}) != len(pairs):
        raise Unreadable(_DAMAGED)
    if any(output >= outputs for _, output in pairs):
        raise Unreadable(_DAMAGED)
    return Folder(tuple(coders), pairs, packed)


def _substreams(reader: _Reader, streams: Streams, budget: Budget) -> None:
    counts = [1] * len(streams.folders)
    kind = reader.octet()
    if kind == _NUMBERS:
        counts = [_count(reader, budget) for _ in streams.folders]
        if sum(counts) > budget.limits.archive_entries:
            raise OverLimit("it holds more entries than the limit")
        kind = reader.octet()
    sizes: list[list[int]] = []
    for folder, count in zip(streams.folders, counts, strict=True):
        own = [reader.number() for _ in range(count - 1)] if kind == _SIZE else []
        if count > 1 and kind != _SIZE:
            raise Unreadable(_DAMAGED)
        left = folder.size - sum(own)
        if left < 0:
            raise Unreadable(_DAMAGED)
        sizes.append([*own, left] if count else [])
    if kind == _SIZE:
        kind = reader.octet()
    unknown = [(count, count != 1 or folder.crc is None) for folder, count in zip(streams.folders, counts, strict=True)]
    found: list[int | None] = [None] * sum(count for count, wanted in unknown if wanted)
    if kind == _CRC:
        found = reader.checksums(len(found))
        kind = reader.octet()
    if kind != _END:
        raise Unreadable(_DAMAGED)
    at = 0
    for folder, own, (count, wanted) in zip(streams.folders, sizes, unknown, strict=True):
        checks = found[at : at + count] if wanted else [folder.crc]
        at += count if wanted else 0
        folder.parts = tuple(zip(own, checks, strict=True))


def _files(reader: _Reader, budget: Budget) -> tuple[File, ...]:
    count = _count(reader, budget)
    budget.spend_entries(count)
    names: list[str] = []
    empty, no_folder, anti, attributes = [False] * count, [], [], [0] * count
    while (kind := reader.number()) != _END:
        body = _Reader(reader.take(reader.number()))
        match kind:
            case 14:
                empty = body.bits(count)
            case 15:
                no_folder = body.bits(sum(empty))
            case 16:
                anti = body.bits(sum(empty))
            case 17:
                names = _names(body, count)
            case 21:
                attributes = _attributes(body, count)
            case 18 | 19 | 20 | 24 | 25:  # times, start positions, padding
                body.take(body.rest)
            case _:
                raise Unreadable("it has properties that are not read")
        if body.rest:
            raise Unreadable(_DAMAGED)
        budget.check_time()
    if len(names) != count:
        raise Unreadable(_DAMAGED)
    files, at = [], 0
    for name, without, bits in zip(names, empty, attributes, strict=True):
        is_empty_file = bool(no_folder[at]) if without and no_folder else False
        is_anti = bool(anti[at]) if without and anti else False
        at += without
        mode = bits >> 16 if bits & _UNIX_EXTENSION else 0
        link = bool(bits & _REPARSE) or mode & 0o170000 not in (0, 0o100000, 0o040000)
        files.append(File(name, not without, without and not is_empty_file, link, is_anti))
    return tuple(files)


def _names(body: _Reader, count: int) -> list[str]:
    if body.octet():
        raise Unreadable("its header lies in another stream, which is not read")
    raw = body.take(body.rest)
    if len(raw) % 2:
        raise Unreadable(_DAMAGED)
    text = raw.decode("utf-16-le", "surrogatepass").encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    names = text.split("\0")
    if len(names) != count + 1 or names[-1]:
        raise Unreadable(_DAMAGED)
    return names[:-1]


def _attributes(body: _Reader, count: int) -> list[int]:
    known = body.defined(count)
    if body.octet():
        raise Unreadable("its header lies in another stream, which is not read")
    return [int.from_bytes(body.take(4), "little") if one else 0 for one in known]


def _count(reader: _Reader, budget: Budget) -> int:
    count = reader.number()
    if count > budget.limits.archive_entries:
        raise OverLimit("it holds more entries than the limit")
    return count


def chain(folder: Folder) -> tuple[tuple[Coder, int], ...]:
    """Coders in the order in which they are undone, each with the size of what it gives. Raises Unreadable for branching ones."""
    if any(coder.inputs != 1 for coder in folder.coders) or len(folder.packed) != 1:
        raise Unreadable("it is packed by a method that is not read")
    order, at = [], folder.packed[0]
    following = {output: entry for entry, output in folder.pairs}
    for _ in folder.coders:
        order.append((folder.coders[at], folder.sizes[at]))
        if at not in following:
            break
        at = following[at]
    if len(order) != len(folder.coders):
        raise Unreadable(_DAMAGED)
    return tuple(order)

"""Compound files (OLE2): their streams, bounded, and a part of one cut out as a file of its own.

What it is: ``Compound``, a view of a compound file or of one storage in it; ``build``, which writes a compound file.
Who calls it: the readers of older Office documents, Outlook messages, VBA projects and embedded objects.
Must never: believe a size that the file does not have; leave out a stream because nothing points to it.
Sources: MS-CFB; hostile-inputs catalogue D05; docs/inspection.md, Legacy.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import olefile

from gateway.extraction.base import Budget, Unreadable
from gateway.extraction.compound_header import is_sound

Path = tuple[str, ...]
_END, _FREE, _FAT, _NONE = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD, 0xFFFFFFFF
_CUTOFF, _SECTOR, _MINI = 4096, 512, 64
_MOST_NESTING = 30


@dataclass(slots=True)
class _Open:
    """The file as the library has it, shared by the views of its storages."""

    ole: olefile.OleFileIO
    budget: Budget
    data: bytes
    entries: dict[Path, olefile.olefile.OleDirectoryEntry]
    """Every stream by its path, as written: looked up in the library, each costs a pass over all names beside it."""
    left: bytes = b""
    """What stands in small sectors that belong to no stream."""
    read: dict[Path, bytes] = field(default_factory=dict)

    def stream(self, path: Path) -> bytes:
        """The content of a stream. Raises OSError when it is shorter than it says."""
        entry = self.entries[path]
        return bytes(self.ole._open(entry.isectStart, entry.size).read())


class Compound:
    """The storages and streams below one storage. Names are compared without case, as Windows does."""

    def __init__(self, opened: _Open, names: Mapping[Path, Path], at: Path = ()) -> None:
        self._open = opened
        self._names = names
        """Lower-case path below this storage to path in the file."""
        self.at = at
        self._below: dict[str, dict[Path, Path]] | None = None

    @classmethod
    def parse(cls, data: bytes, budget: Budget) -> Compound:
        """The whole file. Raises Unreadable (or what the library raises) when its tables are broken, OverLimit when it has too many
        entries."""
        budget.check_time()
        if not is_sound(data):
            raise Unreadable("a compound file that is cut off, or with a broken header")
        ole = olefile.OleFileIO(io.BytesIO(data), raise_defects=olefile.DEFECT_INCORRECT)
        if _hidden(ole):
            raise Unreadable("ambiguous: a compound file with streams that its directory does not lead to")
        left = _small(ole)
        if _tangled(ole) or left is None:
            raise Unreadable("ambiguous: a compound file whose sectors belong to no stream or to two")
        entries = dict(_streams(ole))
        budget.spend_entries(len(entries) // 10 + 1)  # a message has many properties, and each is a stream
        return cls(_Open(ole, budget, data, entries, left), {tuple(name.lower() for name in path): path for path in entries})

    def unallocated(self) -> bytes:
        """What stands in the file but in no sector that is in use: behind its end, and what was deleted. Empty where all is zero."""
        opened = self._open
        size = opened.ole.sector_size
        out = [opened.left]
        for number, following in enumerate(opened.ole.fat):
            if following == _FREE and (sector := opened.data[(number + 1) * size : (number + 2) * size]).strip(b"\x00\xff"):
                out.append(sector)
        out.append(opened.data[(len(opened.ole.fat) + 1) * size :])
        return b"".join(out)

    def __contains__(self, name: str) -> bool:
        return (name.lower(),) in self._names

    def names(self) -> Iterator[Path]:
        """Paths of all streams, as written, below this storage."""
        depth = len(self.at)
        return (path[depth:] for path in self._names.values())

    def storages(self) -> tuple[str, ...]:
        """Names of the storages directly below this one, in order."""
        return tuple(dict.fromkeys(path[0] for path in self.names() if len(path) > 1))

    def storage(self, name: str) -> Compound:
        """The view of the storage *name*; empty when there is none."""
        depth = len(self.at)
        if self._below is None:
            self._below = {}
            for path, full in self._names.items():
                if len(path) > 1:
                    self._below.setdefault(path[0], {})[path[1:]] = full
        found = self._below.get(name.lower(), {})
        written = next((full[depth] for full in found.values()), name)
        return Compound(self._open, found, (*self.at, written))

    def get(self, *path: str) -> bytes:
        """A stream; empty octets when there is none. Raises OSError when it is shorter than it says."""
        full = self._names.get(tuple(name.lower() for name in path))
        if full is None:
            return b""
        known = self._open.read.get(full)
        if known is None:
            known = self._open.stream(full)
            self._open.budget.spend_bytes(len(known))
            self._open.read[full] = known
        return known

    def names_from_root(self, name: str) -> Iterator[Path]:
        """Paths of the streams below the storage *name* of the whole file, without it."""
        low = name.lower()
        for path in self._open.entries:
            if len(path) > 1 and path[0].lower() == low:
                yield path[1:]

    def from_root(self, *path: str) -> bytes:
        """A stream by its path in the whole file; empty octets when there is none."""
        low = [name.lower() for name in path]
        full = next((one for one in self._open.entries if [name.lower() for name in one] == low), None)
        return self._open.stream(full) if full else b""

    def class_id(self) -> str:
        """The class of the storage, in the usual form; empty where none is set."""
        ole = self._open.ole
        text = ole.getclsid(list(self.at)) if self.at else ole.root.clsid
        return str(text or "").upper()

    def cut(self, beside: Mapping[Path, bytes] | None = None, instead: Mapping[Path, bytes] | None = None) -> bytes:
        """This storage as a compound file of its own, with more streams or with other content of some streams."""
        streams = {path: self.get(*path) for path in self.names()}
        lower = {tuple(name.lower() for name in path): path for path in streams}
        for path, data in (instead or {}).items():
            streams[lower.get(tuple(name.lower() for name in path), path)] = data
        for path, data in (beside or {}).items():
            streams.setdefault(path, data)
        return build(streams, self.class_id())


def _streams(ole: olefile.OleFileIO) -> Iterator[tuple[Path, olefile.olefile.OleDirectoryEntry]]:
    """All streams by path. Raises Unreadable when they are nested too deep."""
    waiting: list[tuple[Path, olefile.olefile.OleDirectoryEntry]] = [((), ole.root)]
    while waiting:
        at, storage = waiting.pop()
        if len(at) > _MOST_NESTING:
            raise Unreadable("over a limit: it is nested too deep")
        for entry in storage.kids:
            if entry.entry_type == olefile.STGTY_STORAGE:
                waiting.append(((*at, entry.name), entry))
            elif entry.entry_type == olefile.STGTY_STREAM:
                yield (*at, entry.name), entry


def _table_sectors(ole: olefile.OleFileIO) -> Iterator[int]:
    """Where the table of sectors itself stands, and the table of its places."""
    whole, size = ole.fp.getbuffer(), ole.sector_size
    yield from (place for place in struct.unpack_from("<109I", whole, 76) if place < _FAT)
    sector = ole.first_difat_sector
    for _ in range(ole.num_difat_sectors):
        if (sector + 2) * size > len(whole):
            return
        yield sector
        *places, sector = struct.unpack_from(f"<{size // 4}I", whole, (sector + 1) * size)
        yield from (place for place in places if place < _FAT)


def _tangled(ole: olefile.OleFileIO) -> bool:
    """Whether a sector that is in use is in no chain, or in two: then what one program reads another does not."""
    fat = list(ole.fat)
    starts = [ole.first_dir_sector, ole.first_mini_fat_sector]
    starts += [
        entry.isectStart
        for entry in ole.direntries
        if entry is not None and entry.size and (entry.entry_type == 5 or (entry.entry_type == 2 and entry.size >= ole.minisectorcutoff))
    ]
    seen = bytearray(len(fat))
    for sector in _table_sectors(ole):
        if sector < len(fat):
            seen[sector] = 1  # some programs end a chain where the table should say that it stands there itself
    for start in starts:
        sector = start
        while sector < len(fat):
            if seen[sector]:
                return True
            seen[sector] = 1
            sector = fat[sector]
    return any((following < 0xFFFFFFFC or following == _END) and not seen[sector] for sector, following in enumerate(fat))


def _small(ole: olefile.OleFileIO) -> bytes | None:
    """What stands in the stream of small sectors but in no stream; None where a chain of small sectors is tangled or leads out of it."""
    small = [entry for entry in ole.direntries if entry is not None and entry.entry_type == 2 and 0 < entry.size < ole.minisectorcutoff]
    if not small:
        return b""
    ole.loadminifat()
    chain, size = list(ole.minifat), ole.mini_sector_size
    seen = bytearray(len(chain))
    for entry in small:
        sector, left = entry.isectStart, -(-entry.size // size)
        while left > 0 or sector < len(chain):
            if sector >= len(chain) or seen[sector]:
                return None
            seen[sector] = 1 if left > 0 else 2  # some programs leave a chain longer than its stream
            sector = chain[sector]
            left -= 1
        if sector != _END:
            return None
    stream = bytes(ole._open(ole.root.isectStart, ole.root.size, force_FAT=True).read())
    parts = (stream[number * size : (number + 1) * size] for number, state in enumerate(seen) if state != 1)
    return b"".join(part for part in parts if part.strip(b"\x00\xff"))


def _hidden(ole: olefile.OleFileIO) -> bool:
    """Whether the directory holds streams with content that no storage leads to."""
    directory = ole.directory_fp.getvalue() if hasattr(ole.directory_fp, "getvalue") else b""
    wide = ole.sector_size == 4096
    for number, entry in enumerate(ole.direntries):
        if entry is not None:
            continue
        raw = directory[number * 128 : number * 128 + 128]
        if len(raw) == 128 and raw[66] == 2 and 2 < raw[64] <= 64:
            size = int.from_bytes(raw[120:128] if wide else raw[120:124], "little")
            if size and int.from_bytes(raw[116:120], "little") < _END:
                return True
    return False


# --- writing -----------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Node:
    name: str
    kind: int  # 1 storage, 2 stream, 5 root
    data: bytes = b""
    below: dict[str, _Node] = field(default_factory=dict)
    left: int = _NONE
    right: int = _NONE
    child: int = _NONE
    start: int = _END
    size: int = 0
    clsid: bytes = bytes(16)


def build(streams: Mapping[Path, bytes], class_id: str = "") -> bytes:
    """A compound file (version 3) with *streams* by path; *class_id* is the root's."""
    root = _Node("Root Entry", 5, clsid=_guid(class_id))
    for path, data in streams.items():
        node = root
        for name in path[:-1]:
            node = node.below.setdefault(name, _Node(name, 1))
        node.below[path[-1]] = _Node(path[-1], 2, data)
    order: list[_Node] = [root]
    _place(root, order)
    sectors: list[bytes] = []
    fat: list[int] = []

    def store(data: bytes) -> int:
        if not data:
            return _END
        first, count = len(sectors), -(-len(data) // _SECTOR)
        sectors.extend(data[at : at + _SECTOR].ljust(_SECTOR, b"\x00") for at in range(0, len(data), _SECTOR))
        fat.extend(range(first + 1, first + count))
        fat.append(_END)
        return first

    mini, mini_fat = bytearray(), []
    for node in order[1:]:
        node.size = len(node.data)
        if node.kind != 2 or not node.data:
            continue
        if node.size >= _CUTOFF:
            node.start = store(node.data)
            continue
        node.start, count = len(mini) // _MINI, -(-node.size // _MINI)
        mini += node.data.ljust(count * _MINI, b"\x00")
        mini_fat += [*range(node.start + 1, node.start + count), _END]
    root.size, root.start = len(mini), store(bytes(mini))
    mini_start = store(struct.pack(f"<{len(mini_fat)}I", *mini_fat).ljust(-(-len(mini_fat) // 128) * _SECTOR, b"\xff"))
    directory = b"".join(_entry(node) for node in order)
    directory += _entry(_Node("", 0)) * (-len(order) % 4)
    directory_start = store(directory)
    count = 1
    while count * 128 < len(fat) + count:
        count += 1
    if count > 109:
        return _large(sectors, fat, directory_start, mini_start, len(mini_fat))
    fat_at = range(len(sectors), len(sectors) + count)
    fat += [_FAT] * count
    fat += [_FREE] * (count * 128 - len(fat))
    sectors.append(struct.pack(f"<{len(fat)}I", *fat))
    return _header(count, directory_start, mini_start, len(mini_fat), [*fat_at], _END, 0) + b"".join(sectors)


def _large(sectors: list[bytes], fat: list[int], directory: int, mini_start: int, mini_count: int) -> bytes:
    """The same for files beyond 7 MB, whose allocation table needs a table of its own."""
    count = more = 0
    while count * 128 < len(fat) + count + more:
        count += 1
        more = max(0, -(-(count - 109) // 127))
    places = [*range(len(sectors), len(sectors) + count)]
    first = len(sectors) + count
    fat += [_FAT] * count + [0xFFFFFFFC] * more
    fat += [_FREE] * (count * 128 - len(fat))
    sectors.append(struct.pack(f"<{len(fat)}I", *fat))
    for number in range(more):
        part = places[109 + number * 127 : 109 + (number + 1) * 127]
        part += [_FREE] * (127 - len(part))
        sectors.append(struct.pack("<128I", *part, first + number + 1 if number + 1 < more else _END))
    return _header(count, directory, mini_start, mini_count, places[:109], first, more) + b"".join(sectors)


def _header(fats: int, directory: int, mini_start: int, mini_count: int, places: list[int], difat: int, difats: int) -> bytes:
    head = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16)
    head += struct.pack("<HHHHH6xIIIII", 0x3E, 3, 0xFFFE, 9, 6, 0, fats, directory, 0, _CUTOFF)
    head += struct.pack("<IIII", *_mini(mini_start, mini_count), difat, difats)
    return head + struct.pack("<109I", *places, *[_FREE] * (109 - len(places)))


def _mini(start: int, count: int) -> tuple[int, int]:
    return (start, -(-count // 128)) if count else (_END, 0)


def _place(node: _Node, order: list[_Node]) -> None:
    """Numbers what is below *node*, level by level, and makes a balanced tree of each storage."""
    waiting = [node]
    while waiting:
        storage = waiting.pop()
        members = sorted(storage.below.values(), key=lambda one: (len(one.name), one.name.upper()))
        first = len(order)
        order.extend(members)
        storage.child = _balance(members, first, 0, len(members))
        waiting.extend(member for member in members if member.kind == 1)


def _balance(members: list[_Node], first: int, low: int, high: int) -> int:
    if low >= high:
        return _NONE
    middle = (low + high) // 2
    members[middle].left = _balance(members, first, low, middle)
    members[middle].right = _balance(members, first, middle + 1, high)
    return first + middle


def _entry(node: _Node) -> bytes:
    name = node.name.encode("utf-16-le", "replace")[:62]
    length = len(name) + 2 if node.kind else 0
    head = name.ljust(64, b"\x00") + struct.pack("<HBBIII", length, node.kind, 1, node.left, node.right, node.child)
    return head + node.clsid + bytes(20) + struct.pack("<IQ", node.start if node.kind else 0, node.size)


def _guid(text: str) -> bytes:
    parts = text.strip("{}").split("-")
    if len(parts) != 5:
        return bytes(16)
    raw = bytes.fromhex("".join(parts))
    return raw[3::-1] + raw[5:3:-1] + raw[7:5:-1] + raw[8:]

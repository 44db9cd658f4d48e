"""The reader of disk images by ISO 9660, with Joliet and Rock Ridge names.

What it is: the extractor of iso images. All trees of directories are read, and every sector must belong to something.
Who calls it: ``content.walk`` through the table.
Must never: follow one tree and leave another; believe one of two numbers that say the same; follow a link.
Sources: ECMA-119 (ISO 9660); the Joliet specification; IEEE P1281 (SUSP) and P1282 (Rock Ridge); hostile-inputs catalogue Z06, Z10.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from gateway.archives import member_names
from gateway.extraction.base import Budget, Child, Found, OverLimit, Piece, Unreadable
from gateway.text.markings import Segment
from gateway.verdict import LeafState, Zone

_SECTOR = 2048
_FIRST, _DESCRIPTORS = 16, 64
_DEPTH = 32
_FOLDER, _ASSOCIATED, _RECORD_FORMAT, _PROTECTED, _MORE = 0x2, 0x4, 0x8, 0x10, 0x80
_DAMAGED = "it is damaged: its structure is broken"
_TWO = "it states one number in two ways that differ"
_IDENTIFIERS = ((40, 72), (190, 318), (318, 446), (446, 574), (574, 702), (702, 739), (739, 776), (776, 813))
_JOLIET = (b"%/@", b"%/C", b"%/E")


@dataclass(slots=True)
class _Reading:
    data: bytes
    used: set[int] = field(default_factory=set)
    files: dict[tuple[int, int], list[str]] = field(default_factory=dict)
    unread: dict[tuple[int, int], str] = field(default_factory=dict)
    said: dict[str, None] = field(default_factory=dict)
    problems: dict[str, None] = field(default_factory=dict)

    def take(self, sector: int, size: int) -> bytes:
        """*size* octets from *sector* on, which belong to something from now on. Raises Unreadable."""
        start = sector * _SECTOR
        if start + size > len(self.data):
            raise Unreadable("it is cut off")
        last = sector + -(-size // _SECTOR)
        self.used.update(range(sector, last))
        if self.data[start + size : last * _SECTOR].strip(b"\0"):
            self.problems.setdefault("there is hidden data behind a file")
        return self.data[start : start + size]


def extract(piece: Piece, budget: Budget) -> Found:
    """Every file of every tree as a child, once."""
    reading = _Reading(piece.data)
    for root, joliet in _descriptors(reading):
        _tree(reading, root, joliet, budget)
    children: list[Child] = []
    over = ""
    for (sector, size), names in reading.files.items():
        name = names[-1]
        for other in names[:-1]:
            reading.said.setdefault(other)
        try:
            if why := reading.unread.get((sector, size)):
                raise Unreadable(why)
            budget.spend_bytes(size)
            children.append(Child(name, reading.take(sector, size) if size else b""))
        except OverLimit as error:
            over = over or f"over a limit: {error}"
            children.append(Child(name, size=size, state=LeafState.SUSPECT, reason=str(error)))
        except Unreadable as error:
            children.append(Child(name, size=size, state=LeafState.SUSPECT, reason=str(error)))
    _hidden(reading, budget)
    reason = over or ("ambiguous: " + "; ".join(reading.problems) if reading.problems else "")
    segments = tuple(Segment(text, Zone.PROPERTY) for text in reading.said if text)
    return Found(segments, tuple(children), LeafState.SUSPECT if reason else LeafState.INSPECTED, reason, container=True)


def _both(record: bytes, at: int, width: int) -> int:
    """A number that stands twice, in both orders of octets. Raises Unreadable when they differ."""
    little, big = int.from_bytes(record[at : at + width], "little"), int.from_bytes(record[at + width : at + 2 * width], "big")
    if little != big:
        raise Unreadable(_TWO)
    return little


def _descriptors(reading: _Reading) -> list[tuple[bytes, bool]]:
    """The root record of each tree, and whether its names are Joliet's."""
    roots: list[tuple[bytes, bool]] = []
    for sector in range(_FIRST, _FIRST + _DESCRIPTORS):
        block = reading.take(sector, _SECTOR)
        kind, name = block[0], block[1:6]
        if name in (b"BEA01", b"NSR02", b"NSR03", b"TEA01"):
            continue
        if name != b"CD001":
            raise Unreadable(_DAMAGED)
        if kind == 255:
            break
        if kind == 0:
            reading.problems.setdefault("a computer can start from it")
        elif kind in (1, 2):
            joliet = block[88:91] in _JOLIET
            if _both(block, 128, 2) != _SECTOR:
                raise Unreadable("its sectors have an unusual size")
            if _both(block, 80, 4) * _SECTOR > len(reading.data) + _SECTOR * 16:
                raise Unreadable("it is cut off")
            for start, end in _IDENTIFIERS:
                text = block[start:end].decode("utf-16-be" if joliet else "latin-1", "replace").strip(" \0_")
                reading.said.setdefault(text)
            size = _both(block, 132, 4)
            orders: tuple[tuple[int, Literal["little", "big"]], ...] = ((140, "little"), (144, "little"), (148, "big"), (152, "big"))
            for at, order in orders:
                place = int.from_bytes(block[at : at + 4], order)
                if place:
                    reading.take(place, size)
            roots.append((block[156:190], joliet))
        else:
            reading.problems.setdefault("it holds a descriptor that is not read")
    if not roots:
        raise Unreadable(_DAMAGED)
    if any(name in reading.data[_FIRST * _SECTOR : (_FIRST + _DESCRIPTORS) * _SECTOR] for name in (b"\0NSR02\1", b"\0NSR03\1")):
        reading.problems.setdefault("it has a second file system (UDF), which is not read")
    return roots


def _tree(reading: _Reading, root: bytes, joliet: bool, budget: Budget) -> None:
    """Walks one tree, breadth first."""
    seen: set[int] = set()
    waiting = [(root, "", 0)]
    while waiting:
        record, path, depth = waiting.pop(0)
        sector, size = _both(record, 2, 4), _both(record, 10, 4)
        if sector in seen:
            continue
        seen.add(sector)
        if depth > _DEPTH or len(path) > 4096:
            raise OverLimit("its folders are nested deeper than the limit")
        content = reading.take(sector, size)
        for entry in _records(content, budget):
            if entry[33:34] in (b"\0", b"\1") and entry[32] == 1:
                _both(entry, 2, 4)
                _both(entry, 10, 4)
                _system(reading, entry, budget)
                continue
            name = _entry(reading, entry, path, joliet, budget)
            if entry[25] & _FOLDER:
                waiting.append((entry, name + "/", depth + 1))


def _records(content: bytes, budget: Budget) -> list[bytes]:
    found, at = [], 0
    while at < len(content):
        length = content[at]
        if not length:  # the rest of a sector
            following = (at // _SECTOR + 1) * _SECTOR
            if content[at:following].strip(b"\0"):
                raise Unreadable(_DAMAGED)
            at = following
            continue
        entry = content[at : at + length]
        if length < 34 or len(entry) != length or 33 + entry[32] > length:
            raise Unreadable(_DAMAGED)
        budget.spend_entries()
        found.append(entry)
        at += length
    return found


def _entry(reading: _Reading, entry: bytes, path: str, joliet: bool, budget: Budget) -> str:
    """Notes a file or folder; returns its path."""
    sector, size = _both(entry, 2, 4), _both(entry, 10, 4)
    raw = entry[33 : 33 + entry[32]]
    name = raw.decode("utf-16-be", "replace") if joliet else member_names.decoded(raw)
    name = name.partition(";")[0].rstrip(".") or name
    better, link, why = _system(reading, entry, budget)
    reading.said.setdefault(name)
    name = path + (better or name)
    if wrong := member_names.problem(name):
        reading.problems.setdefault(wrong)
    if link:
        reading.problems.setdefault(member_names.LINK)
    if entry[1] or entry[26] or entry[27] or entry[25] & (_MORE | _ASSOCIATED | _RECORD_FORMAT | _PROTECTED):
        why = why or "a member is of a form that is not read"
        reading.problems.setdefault("it holds a member of a form that is not read")
    if _both(entry, 28, 2) != 1:
        reading.problems.setdefault("it is one volume of several")
    if not entry[25] & _FOLDER:
        reading.files.setdefault((sector, size), []).append(name)
        if why:
            reading.unread[sector, size] = why
    return name


def _system(reading: _Reading, entry: bytes, budget: Budget) -> tuple[str, bool, str]:
    """Rock Ridge: the real name, whether it is a link or a device, and why it cannot be read."""
    start = 33 + entry[32]
    area, name, link, why = entry[start + (start & 1) :], b"", False, ""
    for _ in range(64):
        budget.check_time()
        following = b""
        at = 0
        while at + 4 <= len(area) and area[at + 2] >= 4:
            record = area[at : at + area[at + 2]]
            match record[:2]:
                case b"NM":
                    name += record[5:]
                case b"SL" | b"PN":
                    link = True
                    reading.said.setdefault(member_names.decoded(record[5:]).replace("\0", " "))
                case b"ZF":
                    why = "a member is packed by a method that is not read"
                case b"CL" | b"RE" | b"PL":
                    reading.problems.setdefault("it holds folders that were moved")
                case b"CE" if len(record) >= 28:
                    sector, offset, size = (_both(record, place, 4) for place in (4, 12, 20))
                    if offset + size > _SECTOR:
                        raise Unreadable(_DAMAGED)
                    following = reading.data[sector * _SECTOR + offset : sector * _SECTOR + offset + size]
                    reading.used.add(sector)
            at += area[at + 2]
        if not following:
            break
        area = following
    return member_names.decoded(name), link, why


def _hidden(reading: _Reading, budget: Budget) -> None:
    """Sectors that belong to nothing hold nothing, but for the line that the makers of images leave."""
    count = -(-len(reading.data) // _SECTOR)
    for sector in range(count):
        if sector in reading.used:
            continue
        if not sector % 1024:
            budget.check_time()
        block = reading.data[sector * _SECTOR : (sector + 1) * _SECTOR].rstrip(b"\0")
        if not block:
            continue
        if block.startswith(b"MKI ") and block.isascii() and sector < _FIRST + _DESCRIPTORS:
            reading.said.setdefault(block.decode("ascii").replace("\0", " "))
            continue
        reading.problems.setdefault("there is data before it begins" if sector < _FIRST else "there is hidden data in it")

"""Files of the Macintosh in one piece: AppleSingle (all of a file) and AppleDouble (what stands beside its data).

What it is: the extractor; the data fork is a member, the real name and the comment are text, of a resource fork the text is read.
Who calls it: ``content.walk`` through the table.
Must never: call a resource fork read that holds more than resources of text; believe an offset.
Sources: RFC 1740; "AppleSingle/AppleDouble Formats for Foreign Files", versions 1 and 2; "Inside Macintosh: More Macintosh Toolbox",
chapter 1 (resource forks); hostile-inputs catalogue M30.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from gateway.extraction.base import Budget, Child, Found, Piece, Unreadable, join_reasons
from gateway.extraction.strings import sweep
from gateway.text.markings import Segment
from gateway.verdict import LeafState, Zone

_VERSIONS = (0x00010000, 0x00020000)
_DATA, _RESOURCES, _NAME, _COMMENT, _FINDER, _SHORT_NAME = 1, 2, 3, 4, 9, 13
_NUMBERS = {7: 64, 8: 16, 10: 16, 11: 16, 12: 16, 14: 16, 15: 16}
"""Entries that hold dates, rights and numbers only, and their greatest length in octets."""
_FINDER_SIZE = 32
_MOST_ENTRIES = 100
_MOST_TYPES = 500
_TEXT_TYPES = frozenset((b"vers", b"STR ", b"STR#", b"TEXT", b"styl", b"usro", b"MPSR"))
"""Resources that are text and numbers: all of it is found by looking for strings."""


@dataclass(frozen=True, slots=True)
class _Entry:
    number: int
    start: int
    data: bytes


def extract(piece: Piece, budget: Budget) -> Found:
    """The data fork as a member, names, comment and the text of everything else. Raises Unreadable for broken ones."""
    data = piece.data
    entries, rest = _entries(data)
    segments: list[Segment] = []
    children: list[Child] = []
    reasons: list[str] = []
    name = next((_text(entry.data) for entry in entries if entry.number == _NAME), "")
    for entry in entries:
        budget.check_time()
        if entry.number == _DATA:
            budget.spend_entries()
            budget.spend_bytes(len(entry.data))
            children.append(Child(name or piece.name or "data-fork", entry.data, is_attachment=piece.is_attachment))
        elif entry.number in (_NAME, _COMMENT, _SHORT_NAME):
            zone = Zone.PROPERTY if entry.number == _COMMENT else Zone.FILE_NAME
            segments += [Segment(text, zone) for text in _readings(entry.data)]
        elif entry.data:
            budget.spend_bytes(len(entry.data))
            segments += [Segment(text, Zone.PROPERTY) for text in (sweep(entry.data), *_letters(entry.data))]
            reasons.append(_odd(entry))
    if rest.strip(b"\x00"):
        segments.append(Segment(sweep(rest), Zone.PROPERTY))
        reasons.append("a Macintosh file with data that belongs to no entry")
    reason = join_reasons(*reasons)
    return Found(
        tuple(segment for segment in segments if segment.text.strip()),
        tuple(children),
        LeafState.SUSPECT if reason else LeafState.INSPECTED,
        reason,
        container=bool(children),
        media_type="application/applefile",
    )


def _entries(data: bytes) -> tuple[list[_Entry], bytes]:
    """All entries, and what stands in none of them."""
    if len(data) < 26 or struct.unpack_from(">I", data, 4)[0] not in _VERSIONS:
        raise Unreadable("a Macintosh file with a broken header")
    count = struct.unpack_from(">H", data, 24)[0]
    head = 26 + 12 * count
    if count > _MOST_ENTRIES or head > len(data):
        raise Unreadable("a Macintosh file with a broken header")
    entries = []
    for number in range(count):
        identity, start, length = struct.unpack_from(">III", data, 26 + 12 * number)
        if length and (start < head or start + length > len(data)):
            raise Unreadable("a Macintosh file whose entries lie outside of it")
        entries.append(_Entry(identity, start, data[start : start + length] if length else b""))
    rest, at = [], head
    for entry in sorted(entries, key=lambda one: one.start):
        if not entry.data:
            continue
        if entry.start < at:
            raise Unreadable("a Macintosh file whose entries overlap")
        rest.append(data[at : entry.start])
        at = entry.start + len(entry.data)
    rest.append(data[at:])
    # The filler behind the version held the name of the system.
    return entries, b"\x00".join(rest)


def _odd(entry: _Entry) -> str:
    """Why an entry is not read by its strings; empty where it is."""
    if entry.number == _RESOURCES:
        return _resources(entry.data)
    if entry.number == _FINDER:
        return (
            "" if not entry.data[_FINDER_SIZE:].strip(b"\x00") else "a Macintosh file with further attributes: there is no reader for them"
        )
    if len(entry.data) <= _NUMBERS.get(entry.number, 0):
        return ""
    return "a Macintosh file with an entry of an unknown kind"


def _resources(data: bytes) -> str:
    """Why a resource fork is not read in full; empty where it is empty, or holds resources of text only."""
    broken = "a Macintosh file with a broken resource fork"
    if len(data) < 16:
        return broken
    start, index, length, size = struct.unpack_from(">IIII", data)
    if start + length > len(data) or index + size > len(data) or size < 28 or start < 16 or index < start + length:
        return broken
    types = index + struct.unpack_from(">H", data, index + 24)[0]
    if not index <= types <= len(data) - 2:
        return broken
    count = (struct.unpack_from(">H", data, types)[0] + 1) & 0xFFFF
    if count > _MOST_TYPES or types + 2 + 8 * count > len(data):
        return broken
    kinds = {data[types + 2 + 8 * number : types + 6 + 8 * number] for number in range(count)}
    if not count and length:
        return "a Macintosh file whose resource fork holds data that is no resource"
    return "" if kinds <= _TEXT_TYPES else "a Macintosh file with resources that have no reader"


def _letters(octets: bytes) -> tuple[str, ...]:
    """*octets* as text, control characters as line ends: letters of other scripts are no strings to ``sweep``."""
    if octets.isascii():
        return ()
    return tuple("".join(one if one.isprintable() else "\n" for one in text) for text in _readings(octets))


def _readings(octets: bytes) -> tuple[str, ...]:
    """A name or comment: version 2 writes UTF-8, version 1 the code of the Macintosh."""
    readings = (octets.decode("utf-8", "replace"), octets.decode("mac-roman"))
    return tuple(dict.fromkeys(readings)) if not octets.isascii() else readings[:1]


def _text(octets: bytes) -> str:
    return _readings(octets)[0].replace("\x00", "")[:255]

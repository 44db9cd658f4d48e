"""The tar reader: ustar, pax, GNU and the format of Unix version 7.

What it is: the extractor of tar archives, over the octets in memory.
Who calls it: ``content.walk`` through the table.
Must never: write to a path; follow a link; believe a size beyond the data; call an archive read that holds octets of no member.
Sources: POSIX.1-2017 pax, ustar interchange format; the manual of GNU tar ("Basic Tar Format"); CVE-2025-4517;
hostile-inputs catalogue Z06, Z07, Z08.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.archives import member_names
from gateway.extraction.base import Budget, Child, Found, OverLimit, Piece, Unreadable
from gateway.text.markings import Segment
from gateway.verdict import LeafState, Zone

_BLOCK = 512
_ZERO = bytes(_BLOCK)
_FILE, _FOLDER, _LINKS = frozenset((b"0", b"\0", b"7")), b"5", frozenset((b"1", b"2", b"3", b"4", b"6"))
_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL = b"L", b"K", frozenset((b"x", b"X")), b"g"
_NAME_CAP = 65_536
_PAX_RECORD = re.compile(rb"([1-9][0-9]{0,9}) ([^=\n]{1,255})=")
_DAMAGED = "it is damaged: a header is broken"


@dataclass(slots=True)
class _Reading:
    """What has been read so far."""

    children: list[Child] = field(default_factory=list)
    said: dict[str, None] = field(default_factory=dict)
    problems: dict[str, None] = field(default_factory=dict)
    common: dict[str, bytes] = field(default_factory=dict)
    """Of a global pax header."""
    own: dict[str, bytes] = field(default_factory=dict)
    """For the next member."""


def extract(piece: Piece, budget: Budget) -> Found:
    """Every regular file as a child; links and devices are named."""
    reading = _Reading()
    over = ""
    try:
        at = _members(piece.data, reading, budget)
        _end(piece.data, at, reading)
    except OverLimit as error:
        over = f"over a limit: {error}"
    except Unreadable as error:
        over = str(error)
    segments = tuple(Segment(text, Zone.FILE_NAME) for text in reading.said if text)
    reason = over or ("ambiguous: " + "; ".join(reading.problems) if reading.problems else "")
    state = LeafState.SUSPECT if reason else LeafState.INSPECTED
    return Found(segments, tuple(reading.children), state, reason, container=True)


def _members(data: bytes, reading: _Reading, budget: Budget) -> int:
    """Reads up to the first empty block; returns where that is."""
    at = 0
    while at < len(data):
        block = data[at : at + _BLOCK]
        if block == _ZERO:
            return at
        if len(block) < _BLOCK:
            raise Unreadable("it is cut off")
        budget.spend_entries()
        budget.check_time()
        _check_sum(block)
        kind = block[156:157]
        stated = _number(block[124:136])
        size = _size(stated, kind, reading)
        start, end = at + _BLOCK, at + _BLOCK + size
        if end > len(data):
            raise Unreadable("it is cut off, or a member states a size that is not its own")
        following = start + -(-size // _BLOCK) * _BLOCK
        if data[end:following].strip(b"\0"):
            reading.problems.setdefault("there is hidden data behind a member")
        _one(block, kind, data, (start, end), reading, budget)
        at = following
    reading.problems.setdefault("its end is not marked")
    return at


def _end(data: bytes, at: int, reading: _Reading) -> None:
    if data[at:].strip(b"\0"):
        reading.problems.setdefault("data follows its end")
    if reading.own:
        reading.problems.setdefault("a header describes no member")


def _one(block: bytes, kind: bytes, data: bytes, place: tuple[int, int], reading: _Reading, budget: Budget) -> None:
    """One header and what belongs to it."""
    start, end = place
    if kind in (_LONG_NAME, _LONG_LINK):
        if end - start > _NAME_CAP:
            raise OverLimit("a member's name is longer than the limit")
        reading.own["path" if kind == _LONG_NAME else "linkpath"] = data[start:end].rstrip(b"\0")
        return
    if kind in _PAX or kind == _PAX_GLOBAL:
        budget.spend_bytes(end - start)
        records = _pax(data[start:end], budget)
        (reading.common if kind == _PAX_GLOBAL else reading.own).update(records)
        for key, value in records.items():
            if key == "comment" or "." in key:
                reading.said.setdefault(member_names.decoded(value[:_NAME_CAP]).replace("\0", " "))
        return
    fields = {**reading.common, **reading.own}
    reading.own = {}
    name = member_names.decoded(fields.get("path") or _name(block))
    if wrong := member_names.problem(name):
        reading.problems.setdefault(wrong)
    if kind in _LINKS:
        reading.problems.setdefault(member_names.LINK)
        reading.said.setdefault(name)
        reading.said.setdefault(member_names.decoded(fields.get("linkpath") or block[157:257].split(b"\0")[0]))
    elif kind == _FOLDER or (kind == b"\0" and name.endswith("/") and start == end):
        reading.said.setdefault(name)
        if start != end:
            reading.problems.setdefault("a folder holds data")
    elif kind not in _FILE or any(key.startswith("GNU.sparse") for key in fields):
        reason = "a member of a kind that is not read (sparse, a part of a volume, or unknown)"
        reading.children.append(Child(name, size=end - start, state=LeafState.SUSPECT, reason=reason))
        reading.problems.setdefault("it holds members of a kind that is not read")
    else:
        budget.spend_bytes(end - start)
        reading.children.append(Child(name, data[start:end]))


def _check_sum(block: bytes) -> None:
    stated = _number(block[148:156])
    unsigned = sum(block[:148]) + 8 * 32 + sum(block[156:])
    if stated != unsigned and stated != unsigned - 256 * sum(octet > 127 for octet in block[:148] + block[156:]):
        raise Unreadable(_DAMAGED)


def _number(field: bytes) -> int:
    """An octal number, or a base-256 one that is not negative."""
    if field[:1] >= b"\x80":
        if field[0] != 0x80:
            raise Unreadable("a header states a negative or impossible size")
        return int.from_bytes(field[1:], "big")
    digits = field.split(b"\0")[0].strip(b" ")
    if not re.fullmatch(rb"[0-7]{0,12}", digits):
        raise Unreadable(_DAMAGED)
    return int(digits or b"0", 8)


def _size(stated: int, kind: bytes, reading: _Reading) -> int:
    """The size that counts: a pax header may give another one, as it must for more than eight gigabytes."""
    if kind in _LINKS or kind == _FOLDER:
        return 0 if kind != b"1" else stated
    if kind in _PAX or kind in (_PAX_GLOBAL, _LONG_NAME, _LONG_LINK):
        return stated
    record = {**reading.common, **reading.own}.get("size")
    if record is None:
        return stated
    if not re.fullmatch(rb"[0-9]{1,18}", record):
        raise Unreadable(_DAMAGED)
    if int(record) != stated:
        reading.problems.setdefault("a member has two sizes")
    return int(record)


def _name(block: bytes) -> bytes:
    name = block[:100].split(b"\0")[0]
    prefix = block[345:500].split(b"\0")[0] if block[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _pax(data: bytes, budget: Budget) -> Mapping[str, bytes]:
    """Records "length key=value" one behind the other."""
    records: dict[str, bytes] = {}
    at = 0
    while at < len(data):
        match = _PAX_RECORD.match(data, at)
        if match is None:
            raise Unreadable(_DAMAGED)
        end = at + int(match[1])
        if not match.end() < end <= len(data) or data[end - 1 : end] != b"\n":
            raise Unreadable(_DAMAGED)
        records[member_names.decoded(match[2])] = data[match.end() : end - 1]
        budget.check_time()
        at = end
    return records

"""The RAR reader: headers, coverage, every member, and what encryption really is.

What it is: the extractor of RAR archives of both generations, also behind a program or a picture.
Who calls it: ``content.walk`` through the table.
Must never: take an empty list for an empty archive; call a member read whose size and checksum were not verified; call encryption
strong that was not proved.
Sources: "RAR 5.0 archive format" (rarlab.com); technote.txt of RAR 4; hostile-inputs catalogue E05, E08, Z06, Z10-Z12;
J&K Circular 26-JK(GAD) of 2024 (AES-256).
"""

from __future__ import annotations

from gateway.archives import member_names, rar4, rar5
from gateway.archives.gathered import Gathered, doubted, state_of
from gateway.archives.rar_archive import Archive, ArchiveLock, MemberLock
from gateway.archives.rar_blocks import VOLUME, Contents, Member
from gateway.archives.rar_protection import of_headers, of_member
from gateway.extraction.base import Budget, Child, Found, OverLimit, Piece, Unreadable
from gateway.extraction.needle import Needle
from gateway.protection import Protection
from gateway.text.markings import Segment
from gateway.verdict import LeafState, Zone

_SIGNATURE = Needle(b"Rar!\x1a\x07")
_PLACES = 8
_FILLING = 64
"""Octets that packing an empty file may leave."""
_HARMLESS = frozenset(("RR", "ACL", "UOW", "QO", "EA2", "BEEA"))
"""Service blocks that hold no text that anybody reads."""


def extract(piece: Piece, budget: Budget) -> Found:
    """Every member as a child; for encrypted headers, the archive with its lock."""
    data, begin = _archive(piece.data)
    archive = Archive(data)
    reading = Gathered()
    if begin:
        reading.problems.setdefault("there is data before its beginning")
    contents = archive.parse(None, budget)
    if contents.closed is not None:
        return _closed(archive, contents, reading, budget)
    archive.contents = contents
    _members(archive, reading, budget, None)
    return reading.found()


def _archive(data: bytes) -> tuple[bytes, int]:
    """The archive, and where it begins: programs look for it behind other data, too."""
    for number, place in enumerate(_SIGNATURE.places(data)):
        if number == _PLACES:
            break
        if data.startswith((rar4.SIGNATURE, rar5.SIGNATURE), place):
            return (data[place:] if place else data), place
    raise Unreadable("it is damaged, or of a version that is not read")


def _closed(archive: Archive, contents: Contents, reading: Gathered, budget: Budget) -> Found:
    """An archive whose headers are encrypted."""
    protection, opened = of_headers(archive, contents, budget)
    if opened is not None:
        reading.problems.setdefault(protection.reason)
        archive.contents = opened
        _members(archive, reading, budget, "")
        return reading.found(protection)
    reason = "a RAR archive whose list of files is encrypted"
    if protection.reason:
        reason = f"{reason}; {protection.reason}"
    if reading.problems:
        reason = reading.ambiguity
        protection = doubted(protection, reason)

    def read(inside: Archive, password: str, spent: Budget) -> tuple[Child, ...]:
        inner = Gathered()
        _members(inside, inner, spent, password)
        return tuple(inner.children)

    state = state_of(protection)
    return Found((), (), state, reason, protection, container=True, lock=ArchiveLock(archive, contents, read))


def _members(archive: Archive, reading: Gathered, budget: Budget, password: str | None) -> None:
    contents = archive.contents
    assert contents is not None
    reading.problems.update(contents.problems)
    if contents.volume:
        for member in contents.members:
            if not member.is_folder and not member.service:
                reading.children.append(Child(member.name, size=member.size, state=LeafState.SUSPECT, reason=VOLUME))
        reading.over = VOLUME
        return
    for number, member in enumerate(contents.members):
        budget.check_time()
        try:
            _member(archive, number, member, reading, budget, password)
        except OverLimit as error:
            reading.over = reading.over or f"over a limit: {error}"
            _unread(member, str(error), reading)
        except Unreadable as error:
            _unread(member, str(error), reading)


def _member(archive: Archive, number: int, member: Member, reading: Gathered, budget: Budget, password: str | None) -> None:
    if member.service and (member.closed is None or member.service in _HARMLESS):
        _service(archive, number, member, reading, budget)
        return
    if wrong := member_names.problem(member.name):
        reading.problems.setdefault(wrong)
    if member.is_link:
        reading.problems.setdefault(member_names.LINK)
        for text in (member.name, member.link):
            if text:
                reading.named(text)
        if member.start == member.end:
            return
    if member.is_folder:
        reading.named(member.name)
        if member.start != member.end:
            reading.problems.setdefault("a folder holds data")
        return
    if not member.size and member.end - member.start > _FILLING:
        reading.problems.setdefault("an empty member holds data")
    if member.closed is None or not member.size:
        reading.children.append(Child(member.name, archive.content(number, None, budget)))
        if member.size:
            reading.protections.append(Protection())
        return
    if password is not None and (content := archive.opened(number, password, budget)) is not None:
        reading.children.append(Child(member.name, content.rstrip(b"\0") if member.service else content))
        return
    protection, content = of_member(archive, number, budget)
    if content is not None:
        child = Child(member.name, content, state=LeafState.SUSPECT, reason=protection.reason, protection=protection)
    else:
        state, lock = state_of(protection), MemberLock(archive, number)
        child = Child(member.name, size=member.size, state=state, reason=protection.reason, protection=protection, lock=lock)
    reading.children.append(child)
    if member.size:
        reading.protections.append(protection)


def _service(archive: Archive, number: int, member: Member, reading: Gathered, budget: Budget) -> None:
    """A comment is text; copies of headers must be true; other streams are not read. What is encrypted is a member like others."""
    if member.service == "CMT":
        content = archive.content(number, None, budget)
        reading.segments.append(Segment(member_names.decoded(content.rstrip(b"\0")), Zone.BODY))
    elif member.service == "QO" and archive.generation == 5:
        if rar5.quick_open_differs(archive.data, member):
            reading.problems.setdefault("it has two lists of its members that differ")
    elif member.service not in _HARMLESS:
        reading.problems.setdefault("it holds data beside its members that is not read")


def _unread(member: Member, reason: str, reading: Gathered) -> None:
    if member.service:
        reading.problems.setdefault("it holds a comment that could not be read")
        return
    reading.children.append(Child(member.name, size=member.size, state=LeafState.SUSPECT, reason=reason))
    reading.protections.append(Protection())

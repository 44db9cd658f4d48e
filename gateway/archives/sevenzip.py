"""The 7z reader: header, coverage, every folder and every member.

What it is: the extractor of 7z archives, also behind a program that unpacks them.
Who calls it: ``content.walk`` through the table.
Must never: take the archive's word for encryption; pass over octets that belong to no stream; use a name as a path.
Sources: "7zFormat.txt" of the 7-Zip sources; docs/inspection.md (encryption belongs to folders, not to the archive);
hostile-inputs catalogue E07, Z06, Z09, Z12.
"""

from __future__ import annotations

import zlib

from gateway.archives import member_names
from gateway.archives.gathered import Gathered, doubted, state_of
from gateway.archives.sevenzip_header import SIGNATURE, START, File, Folder, Start, Streams, parse
from gateway.archives.sevenzip_protection import Archive, ArchiveLock, MemberLock, of_folder, of_header
from gateway.extraction.base import Budget, Child, Found, OverLimit, Piece, Unreadable
from gateway.extraction.needle import Needle
from gateway.protection import Protection, ProtectionState
from gateway.verdict import LeafState

_SIGNATURE = Needle(SIGNATURE)
_PLACES = 8
_HEADERS = 4
_CRC = "a member is damaged: size or checksum is wrong"


def extract(piece: Piece, budget: Budget) -> Found:
    """Every member as a child; for a closed list of members, the archive with its lock."""
    data, begin = _archive(piece.data)
    reading = Gathered()
    if begin:
        reading.problems.setdefault("there is data before its beginning")
    start = Start.read(data)
    header = data[START + start.offset : START + start.offset + start.size]
    if START + start.offset + start.size != len(data):
        reading.problems.setdefault("data follows its end")
    if zlib.crc32(header) != start.crc:
        raise Unreadable("it is damaged: its header is broken")
    archive = Archive(data)
    if start.size:
        closed = _open_header(archive, header, budget)
        _cover(archive, START + start.offset, reading)
        if closed is not None:
            return _closed(archive, closed, reading, budget)
        _members(archive, reading, budget, None)
    elif start.offset:
        reading.problems.setdefault("there is data but no member")
    return reading.found()


def _archive(data: bytes) -> tuple[bytes, int]:
    """The archive, and where it begins: a program that unpacks it may stand before it."""
    if data.startswith(SIGNATURE):
        return data, 0
    for number, place in enumerate(_SIGNATURE.places(data)):
        if number == _PLACES:
            break
        try:
            Start.read(data[place:])
        except Unreadable:
            continue
        return data[place:], place
    raise Unreadable("it is cut off or damaged")


def _open_header(archive: Archive, header: bytes, budget: Budget) -> Streams | None:
    """Reads the header, which may be packed several times. Returns how it is packed where a password closes it."""
    for _ in range(_HEADERS):
        parsed = parse(header, budget)
        if not isinstance(parsed, Streams):
            archive.streams, archive.files = parsed
            archive.ranges += archive.streams.packed
            return None
        archive.ranges += parsed.packed
        if parsed.folders[0].encrypted:
            return parsed
        header = archive.unpack(parsed, parsed.folders[0], None, budget)
    raise Unreadable("its header is packed too often")


def _cover(archive: Archive, end: int, reading: Gathered) -> None:
    """All octets between the fixed beginning and the header belong to exactly one stream. With a closed list they may not be known."""
    at = START
    for position, size in sorted(archive.ranges):
        if position < at and size:
            raise OverLimit("its members overlap")
        if position + size > end:
            raise Unreadable("a member is not where its header says")
        if archive.streams is not None and position > at:
            reading.problems.setdefault("there is hidden data between its members")
        at = max(at, position + size)
    if at != end:
        reading.problems.setdefault("there is hidden data after its last member")


def _closed(archive: Archive, header: Streams, reading: Gathered, budget: Budget) -> Found:
    protection, clear = of_header(archive, header, budget)
    if clear is not None:
        # It opens without a secret: what stands in it is read, and it is suspect for its pretence.
        reading.problems.setdefault(protection.reason)
        parsed = parse(clear, budget)
        if isinstance(parsed, Streams):
            raise Unreadable("its header is packed too often")
        archive.streams, archive.files = parsed
        _members(archive, reading, budget, None)
        return reading.found(protection)
    reason = "a 7z archive whose list of files is encrypted"
    if protection.state is not ProtectionState.STRONG:
        reason = f"{reason}; {protection.reason}"
    state = state_of(protection)
    if reading.problems:
        state, reason = LeafState.SUSPECT, reading.ambiguity
        protection = doubted(protection, reason)

    def read(opened: Archive, password: str, spent: Budget) -> tuple[Child, ...]:
        inner = Gathered()
        _members(opened, inner, spent, password)
        return tuple(inner.children)

    return Found((), (), state, reason, protection, container=True, lock=ArchiveLock(archive, header, read))


def _members(archive: Archive, reading: Gathered, budget: Budget, password: str | None) -> None:
    """Every file with its place in its folder. *password*: what opened the header, and may open the folders."""
    assert archive.streams is not None
    with_stream = iter([file for file in archive.files if file.has_stream])
    if sum(len(folder.parts) for folder in archive.streams.folders) != sum(file.has_stream for file in archive.files):
        raise Unreadable("it is damaged: its header is broken")
    for file in archive.files:
        if wrong := member_names.problem(file.name):
            reading.problems.setdefault(wrong)
        if file.is_link:
            reading.problems.setdefault(member_names.LINK)
        if file.anti:
            reading.problems.setdefault("it holds marks that delete files")
        if file.is_folder:
            reading.named(file.name)
        elif not file.has_stream:
            reading.children.append(Child(file.name))
    for number, folder in enumerate(archive.streams.folders):
        files = [next(with_stream) for _ in folder.parts]
        budget.check_time()
        try:
            if folder.encrypted:
                _closed_folder(archive, number, files, reading, budget, password)
            else:
                _parts(archive.unpack(archive.streams, folder, None, budget), folder, files, reading)
        except OverLimit as error:
            reading.over = reading.over or f"over a limit: {error}"
            _unread(files, folder, str(error), reading)
        except Unreadable as error:
            _unread(files, folder, str(error), reading)


def _closed_folder(archive: Archive, number: int, files: list[File], reading: Gathered, budget: Budget, password: str | None) -> None:
    assert archive.streams is not None
    folder = archive.streams.folders[number]
    if password is not None and (content := archive.open(number, password, budget)) is not None:
        _parts(content, folder, files, reading)
        return
    protection, clear = of_folder(archive, archive.streams, folder, budget)
    if clear is not None:
        _parts(clear, folder, files, reading, protection)
        return
    at, state = 0, state_of(protection)
    for file, (size, _) in zip(files, folder.parts, strict=True):
        lock = MemberLock(archive, number, at, size)
        reading.children.append(Child(file.name, size=size, state=state, reason=protection.reason, protection=protection, lock=lock))
        reading.protections.append(protection)
        at += size


def _parts(content: bytes, folder: Folder, files: list[File], reading: Gathered, protection: Protection | None = None) -> None:
    """The files of an unpacked folder. *protection*: what they pretended."""
    at = 0
    for file, (size, crc) in zip(files, folder.parts, strict=True):
        piece = content[at : at + size]
        at += size
        if crc is not None and zlib.crc32(piece) != crc:
            reading.children.append(Child(file.name, size=size, state=LeafState.SUSPECT, reason=_CRC))
        elif protection is not None:
            child = Child(file.name, piece, state=LeafState.SUSPECT, reason=protection.reason, protection=protection)
            reading.children.append(child)
        else:
            reading.children.append(Child(file.name, piece))
        if size:
            reading.protections.append(protection or Protection())


def _unread(files: list[File], folder: Folder, reason: str, reading: Gathered) -> None:
    for file, (size, _) in zip(files, folder.parts, strict=True):
        reading.children.append(Child(file.name, size=size, state=LeafState.SUSPECT, reason=reason))
        reading.protections.append(Protection())

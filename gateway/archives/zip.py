"""The zip reader: lists, compares, unpacks, and hands every member on.

What it is: the extractor of zip files.
Who calls it: ``content.walk`` through the table.
Must never: write to a path; stop at the first member that fails; call an archive protected that has one plain member.
Sources: PKWARE APPNOTE 6.3.10; hostile-inputs catalogue groups Z and E.
"""

from __future__ import annotations

from gateway.archives import zip_directory, zip_protection
from gateway.archives.gathered import Gathered, state_of
from gateway.archives.zip_directory import Directory, Entry
from gateway.archives.zip_lock import MemberLock
from gateway.extraction.base import Budget, Child, Found, OverLimit, Piece, Unreadable
from gateway.text.markings import Segment
from gateway.verdict import LeafState, Zone


def extract(piece: Piece, budget: Budget) -> Found:
    """Every member as a child. The state speaks of the archive itself; each member has its own."""
    directory = zip_directory.read(piece.data, budget)
    reading = Gathered(segments=_comments(directory), problems=dict.fromkeys(directory.problems))
    for entry in directory.entries:
        if entry.is_folder:
            continue
        try:
            child = _member(piece.data, entry, budget)
        except OverLimit as error:
            reading.over = str(error)
            child = Child(entry.name, size=entry.size, state=LeafState.SUSPECT, reason=reading.over)
        except Unreadable as error:
            child = Child(entry.name, size=entry.size, state=LeafState.SUSPECT, reason=str(error))
        reading.children.append(child)
        if entry.size:
            reading.protections.append(child.protection)
    return reading.found()


def _comments(directory: Directory) -> list[Segment]:
    """What the archive and its members say of themselves; it stands in the clear in encrypted archives too."""
    said = (directory.comment, *(entry.comment for entry in directory.entries))
    names = [Segment(entry.other_name, Zone.FILE_NAME) for entry in directory.entries if entry.other_name]
    return names + [Segment(_decoded(comment), Zone.BODY) for comment in dict.fromkeys(said) if comment]


def _decoded(comment: bytes) -> str:
    try:
        return comment.decode("utf-8")
    except UnicodeDecodeError:
        return comment.decode("cp437")


def _member(data: bytes, entry: Entry, budget: Budget) -> Child:
    if not zip_protection.claimed(entry):
        return Child(entry.name, zip_directory.unpack(data, entry, budget))
    protection, plain = zip_protection.assess(data, entry, budget)
    if plain is not None:
        if not plain:
            return Child(entry.name)  # nothing is in it, so nothing is hidden
        # Readable, and read; but other readers will ask for a password, so it is not clean either.
        return Child(entry.name, plain, state=LeafState.SUSPECT, reason=protection.reason, protection=protection)
    lock = MemberLock(data, entry)
    return Child(entry.name, size=entry.size, state=state_of(protection), reason=protection.reason, protection=protection, lock=lock)

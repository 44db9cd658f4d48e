"""How what several readers say about one piece, or the members of one container, becomes one statement.

What it is: ``failed`` (a reader's error as a statement), ``join`` (two statements about the same octets), ``of_container`` (a
container by its members) and ``clean`` (a name as it may stand in a path of leaves).
Who calls it: ``content.walk``.
Must never: make anything cleaner than the worst of what is joined; put text of the message into a reason.
Sources: docs/design.md section 4 (leaf states); hostile-inputs catalogue 4.1, E23.
"""

from __future__ import annotations

from msgspec import structs

from gateway.extraction.base import Found, OverLimit, Unreadable, join_reasons, worst
from gateway.protection import Protection, ProtectionState
from gateway.verdict import Leaf, LeafState

HARMLESS_PAIRS = frozenset(
    ("text", "html", "xml", "mail", "script", "pgp", "age", "cms", "salted", "covered", "calendar", "drawing", "key-file")
)
"""Kinds that a piece may be of at once, and nobody is fooled."""
LONGEST_NAME = 255
_RANK = {ProtectionState.NONE: 0, ProtectionState.STRONG: 1, ProtectionState.WEAK: 2, ProtectionState.UNVERIFIABLE: 3}


def clean(name: str) -> str:
    """*name* as it may stand in a path of leaves: no control or invisible characters, not endless."""
    shown = "".join(character if character.isprintable() else "\ufffd" for character in name[:LONGEST_NAME])
    return shown or "unnamed"


def failed(error: Exception) -> Found:
    """The statement of a reader that ended with *error*."""
    match error:
        case OverLimit():
            reason = f"over a limit: {error}"
        case Unreadable():
            reason = str(error)
        case MemoryError():
            reason = "over a limit: it needs too much memory"
        case RecursionError():
            reason = "over a limit: it is nested too deep"
        case OSError():
            reason = "it is broken"  # the library for compound files says so in this way
        case _:
            reason = f"could not be read: {type(error).__name__}"
    return Found(state=LeafState.SUSPECT, reason=reason)


def join(first: Found, second: Found) -> Found:
    """Both statements about the same octets: the worst state, all segments, all members."""
    protection = max(first.protection, second.protection, key=lambda one: _RANK[one.state])
    return Found(
        first.segments + second.segments,
        first.children + second.children,
        worst(first.state, second.state),
        join_reasons(first.reason, second.reason),
        protection,
        {**first.properties, **second.properties},
        first.container or second.container,
        first.media_type or second.media_type,
        first.links + second.links,
        first.is_signature and second.is_signature,
        first.lock or second.lock,
        first.scans + second.scans,
        tuple(dict.fromkeys(first.active + second.active)),
        first.keys + second.keys,
        first.key_lock or second.key_lock,
    )


def of_container(found: Found, members: list[Leaf]) -> Protection:
    """A container without text of its own is as well protected as its worst member."""
    if found.protection.state is ProtectionState.NONE and found.container and not found.segments and members:
        full = [member for member in members if member.size]
        if full and all(member.protection.state is ProtectionState.STRONG for member in full):
            return structs.replace(full[0].protection, reason="everything in it is encrypted")
    return found.protection


def pages(found: Found) -> int:
    """How many pages the document has; 0 where its format knows none."""
    counts = [one.pages for one in found.segments] + [scan.pages for child in found.children for scan in child.scans]
    return max(counts, default=0)

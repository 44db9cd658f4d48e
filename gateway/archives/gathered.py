"""What a reader of archives gathers while it goes through the members, and what it makes of it at the end.

What it is: ``Gathered``, the account of one archive, its verdict (``found``), and ``state_of``, a leaf's state by its protection.
Who calls it: the readers of zip, RAR and 7z.
Must never: call an archive inspected, or its protection strong, that had a problem or broke a limit.
Sources: docs/design.md section 4 (leaf states); hostile-inputs catalogue Z10-Z12, E05-E08.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.extraction.base import Child, Found
from gateway.protection import UNPROTECTED, Protection, ProtectionState
from gateway.text.markings import Segment
from gateway.verdict import LeafState, Zone


def state_of(protection: Protection) -> LeafState:
    """The state of a leaf that is closed, or claims it: only what is proved strong is opaque."""
    return LeafState.OPAQUE if protection.state is ProtectionState.STRONG else LeafState.SUSPECT


@dataclass(slots=True)
class Gathered:
    """The account of one archive; texts that count once are kept in their order as keys."""

    children: list[Child] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    problems: dict[str, None] = field(default_factory=dict)
    protections: list[Protection] = field(default_factory=list)
    """Of each member that has content."""
    over: str = ""
    """The limit that was broken."""

    def named(self, name: str) -> None:
        """Keeps a name that belongs to no child: of a folder, a link, its target."""
        self.segments.append(Segment(name, Zone.FILE_NAME))

    @property
    def ambiguity(self) -> str:
        """What the problems amount to, or nothing."""
        return "ambiguous: " + "; ".join(self.problems) if self.problems else ""

    def found(self, protection: Protection | None = None) -> Found:
        """The archive itself. *protection*: of its list of members; None for what the members amount to."""
        protection = protection or of_archive(self.protections)
        reason = self.over or self.ambiguity
        if reason:
            state, protection = LeafState.SUSPECT, doubted(protection, reason)
        else:
            reason = protection.reason
            state = LeafState.INSPECTED if protection.state is ProtectionState.NONE else state_of(protection)
        return Found(tuple(self.segments), tuple(self.children), state, reason, protection, container=True)


def doubted(protection: Protection, reason: str) -> Protection:
    """*protection* of something that has problems: nothing strong is left of it."""
    if protection.state is not ProtectionState.STRONG:
        return protection
    return Protection(ProtectionState.UNVERIFIABLE, protection.scheme, reason=reason)


def of_archive(members: list[Protection]) -> Protection:
    """The protection of an archive whose members with content have the protections *members*.

    It is strong only when every one is; one plain member makes it unprotected, one weak member weak.
    """
    if not members:
        return UNPROTECTED
    states = {member.state for member in members}
    if ProtectionState.NONE in states:
        encrypted = sum(member.state is not ProtectionState.NONE for member in members)
        return Protection(reason=f"{encrypted} of {len(members)} members are encrypted") if encrypted else UNPROTECTED
    for state in (ProtectionState.UNVERIFIABLE, ProtectionState.WEAK):
        if state in states:
            return next(member for member in members if member.state is state)
    return members[0]

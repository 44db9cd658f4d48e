"""Who may do what: roles, what each permits, and the departments that they are given for.

What it is: ``Role``, ``Act``, ``PERMITS`` (the one table of rights) and ``Grant``, with the pure questions ``may`` and ``scope``.
Who calls it: the keeper, which enforces it on every request; the pages, which show only what may be done.
Must never: permit an act that is not in the table; know a person by name.
Sources: hostile-inputs catalogue W05, W13, W16; docs/design.md section 4 (two people, each with a reason).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

EVERYWHERE = "*"
"""A grant for all departments, and for mail that belongs to none."""


class Role(enum.StrEnum):
    """What a person is, in one department or everywhere. A person may have several."""

    VIEWER = "viewer"
    REVIEWER = "reviewer"
    APPROVER = "second-approver"
    AUDITOR = "auditor"
    ADMINISTRATOR = "administrator"


class Act(enum.StrEnum):
    """What may be done. Each request of a person needs exactly one of them, or none beyond being signed in."""

    LIST = "list"
    """See held mail as a list, and an item's envelope, rule, state and history."""
    CONTENT = "content"
    """See subject, text, pages and marked words; download. Logged apart from listing."""
    DECIDE = "decide"
    """Release (the first yes of two), refuse, ask, reclassify, forward, decide anew under the rules of today."""
    APPROVE = "approve"
    """Give the second yes."""
    EXCEPT = "except"
    """See and write the exception register."""
    AUDIT = "audit"
    """Read the decision log and the register."""
    FIGURES = "figures"
    """See the dashboard."""
    USERS = "users"
    """See, add and change people and their roles."""


PERMITS: dict[Role, frozenset[Act]] = {
    Role.VIEWER: frozenset({Act.LIST, Act.FIGURES}),
    Role.REVIEWER: frozenset({Act.LIST, Act.CONTENT, Act.DECIDE, Act.EXCEPT, Act.FIGURES}),
    Role.APPROVER: frozenset({Act.LIST, Act.CONTENT, Act.APPROVE, Act.FIGURES}),
    Role.AUDITOR: frozenset({Act.LIST, Act.CONTENT, Act.AUDIT, Act.FIGURES}),
    Role.ADMINISTRATOR: frozenset({Act.USERS, Act.FIGURES}),
}


@dataclass(frozen=True, slots=True)
class Grant:
    """One role in one department (the domain that its mail belongs to), or ``*``."""

    role: Role
    department: str = EVERYWHERE

    @classmethod
    def parse(cls, text: str) -> Grant:
        """``reviewer``, ``reviewer@*`` or ``reviewer@home.gov.in``. Raises ValueError with a plain sentence."""
        name, _, department = text.strip().partition("@")
        try:
            role = Role(name.strip().lower())
        except ValueError:
            raise ValueError(f"{name[:40]!r} is no role; the roles are {', '.join(Role)}") from None
        department = department.strip().lower() or EVERYWHERE
        if len(department) > 253 or not department.isprintable() or any(c.isspace() for c in department):
            raise ValueError("a department is a domain, such as home.gov.in, or * for all")
        return cls(role, department)

    def __str__(self) -> str:
        return f"{self.role}@{self.department}"


def may(grants: Iterable[Grant], act: Act, department: str | None = None) -> bool:
    """Whether *grants* permit *act* in *department*; None asks whether they do in any."""
    return any(
        act in PERMITS[one.role] and (department is None or one.department == EVERYWHERE or one.department == department.lower())
        for one in grants
    )


def scope(grants: Iterable[Grant], act: Act) -> frozenset[str] | None:
    """The departments in which *grants* permit *act*; None: in all of them."""
    found = frozenset(one.department for one in grants if act in PERMITS[one.role])
    return None if EVERYWHERE in found else found

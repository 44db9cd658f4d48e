"""What roles and acts are called on the pages.

What it is: ``ROLES`` and ``ACTS`` (a name and a sentence each), ``in_words`` (a person's roles in one line each) and ``LANGUAGES``.
Who calls it: ``account_pages``, ``people_pages``.
Must never: decide anything: ``roles`` says what is permitted.
Source: roles.PERMITS.
"""

from __future__ import annotations

from collections.abc import Iterable

from gateway.roles import EVERYWHERE, Act, Grant, Role

ROLES: dict[Role, tuple[str, str]] = {
    Role.VIEWER: ("Viewer", "sees the list and the figures, never subject or content"),
    Role.REVIEWER: ("Reviewer", "reads, decides, gives the first of two approvals, keeps the exceptions"),
    Role.APPROVER: ("Second approver", "reads, and gives the second approval to what another person released"),
    Role.AUDITOR: ("Auditor", "reads everything and the decision log, changes nothing"),
    Role.ADMINISTRATOR: ("Administrator", "manages people and their roles, sees no mail"),
}
ACTS: dict[Act, str] = {
    Act.LIST: "list held mail: envelope, rule, state and history",
    Act.CONTENT: "read subject and content, download",
    Act.DECIDE: "release, refuse, ask, change the level, forward",
    Act.APPROVE: "give the second approval",
    Act.EXCEPT: "see and change the exceptions",
    Act.AUDIT: "read the decision log",
    Act.FIGURES: "read the figures",
    Act.USERS: "manage people",
}
LANGUAGES: dict[str, str] = {"en": "English", "hi": "हिन्दी", "gu": "ગુજરાતી", "mr": "मराठी"}
"""Those that the gateway has texts in, by their own names."""


def departments_of(grants: Iterable[str]) -> dict[str, frozenset[Role]]:
    """The roles by department, ``*`` first; what is no role here is left out."""
    found: dict[str, set[Role]] = {}
    for text in grants:
        try:
            grant = Grant.parse(text)
        except ValueError:
            continue
        found.setdefault(grant.department, set()).add(grant.role)
    return {name: frozenset(found[name]) for name in sorted(found, key=lambda name: (name != EVERYWHERE, name))}


def in_words(grants: Iterable[str]) -> tuple[str, ...]:
    """One line a department: ``Reviewer, Auditor in home.gov.in``."""
    return tuple(
        f"{', '.join(ROLES[role][0] for role in Role if role in roles)} in {'all departments' if name == EVERYWHERE else name}"
        for name, roles in departments_of(grants).items()
    )

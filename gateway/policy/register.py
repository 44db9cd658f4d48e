"""The exception register as a decision reads it.

What it is: ``covers``: which active entry, if any, covers a sender and a recipient at a time; ``profile``: which profile is on.
Who calls it: ``decide``.
Must never: decide anything. An entry is a fact inside a rule's condition, never an override.
Sources: docs/design.md section 4, "Merge"; docs/commands.md, ``gateway exceptions``; rules/README.md, R31.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from gateway.address import Path
from gateway.requests import ExceptionRow, Exceptions

DISASTER = "disaster"
"""R31 in rules/README.md: for the time of a disaster other ways may be used; rules on classified mail are as ever."""
PROFILES = (DISASTER,)
"""The names of all profiles that people turn on."""
MTA_PATH = "mta-tls"
"""The note of ``gateway doctor`` that the MTA before the milter door sends under TLS with AES-256 only. It stands among the profiles, so
that it is in the version of the register and ends by itself; no person turns it on."""


def covers(exceptions: Exceptions, sender: Path, recipient: Path, now: float) -> str:
    """The id of the first entry that covers *sender* to *recipient* at *now* (seconds since the epoch); empty when none does."""
    if not exceptions.rows:
        return ""
    index = _index(_Register(exceptions))
    found = ""
    for pattern in _patterns(recipient):
        for row in index.get(pattern, ()):
            if row.state == "active" and row.created <= now < row.expires and matches(row.sender, sender) and (not found or row.id < found):
                found = row.id
    return found


def profile(exceptions: Exceptions, name: str, at: float) -> str:
    """The id of the profile *name* that is on at *at* (seconds since the epoch), of several the one that ends last; empty when none
    is. A profile is over at its end, whether the keeper has said so yet or not."""
    on = [row for row in exceptions.profiles if row.name == name and row.state == "active" and row.created <= at < row.expires]
    return max(on, key=lambda row: (row.expires, row.id)).id if on else ""


def matches(pattern: str, path: Path) -> bool:
    """Whether *pattern* (``a@b``, ``@b`` or ``b``, ``.b``, ``*``) covers *path*. The null sender is covered by ``*`` alone."""
    return pattern.lower().lstrip("@") in _patterns(path)


def _patterns(path: Path) -> Iterator[str]:
    """Every pattern that covers *path*, in the form that the index uses."""
    yield "*"
    if path.domain:
        yield f"{path.local}@{path.domain}".lower()
        yield path.domain
        labels = path.domain.split(".")
        for start in range(1, len(labels)):
            yield "." + ".".join(labels[start:])


class _Register:
    """The register, compared by its version first: hashing every row for each message would cost more than the look-up."""

    __slots__ = ("rows", "version")

    def __init__(self, exceptions: Exceptions) -> None:
        self.version = exceptions.version
        self.rows = exceptions.rows

    def __hash__(self) -> int:
        return hash(self.version)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Register) and self.version == other.version and (self.rows is other.rows or self.rows == other.rows)


@lru_cache(maxsize=4)
def _index(register: _Register) -> dict[str, list[ExceptionRow]]:
    index: dict[str, list[ExceptionRow]] = {}
    for row in register.rows:
        index.setdefault(row.recipient.lower().lstrip("@"), []).append(row)
    return index

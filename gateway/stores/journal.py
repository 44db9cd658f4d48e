"""The rows of journal copies: which message is to be filed in which archive, and what became of it.

What it is: frozen rows, the values that change them, and ``JournalReading``, what every store can read of them.
Who calls it: ``base``, which every store implements; the keeper's modules for the archive.
Must never: hold a word of a message: *edits* hold the envelope, the level and hashes, the message is its body.
Sources: Gujarat Circular of 2018, clause 2; docs/design.md section 6.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Protocol

import msgspec

from gateway.verdict import Edit


class CopyState(enum.StrEnum):
    """waiting, filing and kept need the message's body; a copy that is filed or kept goes when its time of retention has passed."""

    WAITING = "waiting"
    """To be filed; no attempt can have left it in the mailbox."""
    FILING = "filing"
    """Handed to the archive; whether it is there is not known, so it is looked for before it is handed over again."""
    FILED = "filed"
    """The archive has said that it has it."""
    KEPT = "kept"
    """Stays in the store: its body is the copy."""


class JournalRow(msgspec.Struct, frozen=True):
    """One journal copy: one message in one archive, once."""

    id: str
    message_id: str
    reference: str
    body_id: str
    name: str
    """Of the archive, as in ``[[archive]]``."""
    state: CopyState
    created: float
    department: str
    level: int | None
    sha256: str
    """Of the message as it was accepted."""
    size: int
    edits: tuple[Edit, ...]
    """What stands above the message in the copy."""
    retain_until: float
    attempts: int = 0
    next_attempt: float = 0.0
    last_reply: str = ""
    filed: float = 0.0
    """When it was filed; 0: not yet."""
    filed_sha256: str = ""
    """Of the octets that were filed."""
    filed_size: int = 0
    uidvalidity: int = 0
    uid: int = 0
    """Where the archive put it, if it said so; else 0."""


class JournalUpdate(msgspec.Struct, frozen=True):
    """A change of one copy; None leaves each as it is. A copy that is gone, or is filed or kept already, stays as it is."""

    id: str
    state: CopyState
    attempts: int | None = None
    next_attempt: float | None = None
    last_reply: str | None = None
    filed: float | None = None
    filed_sha256: str | None = None
    filed_size: int | None = None
    uidvalidity: int | None = None
    uid: int | None = None


class Waiting(msgspec.Struct, frozen=True):
    """Copies of one archive that are not filed yet, and when the oldest was made (seconds since the epoch)."""

    name: str
    count: int
    oldest: float


class JournalReading(Protocol):
    """What a store reads of journal copies. All methods may raise StoreError; none blocks the event loop."""

    async def due(self, name: str, now: float, limit: int) -> list[JournalRow]:
        """Copies for the archive *name* that wait, or whose filing was not confirmed, and whose time has come; the earliest first."""

    async def next_due(self, name: str) -> float | None:
        """The earliest ``next_attempt`` among them; None where nothing waits."""

    async def page(self, name: str, after: str, limit: int) -> list[JournalRow]:
        """The next copies by id after *after*, of the archive *name* or, where it is empty, of all."""

    async def newest(self, name: str, reference: str, before: str, limit: int) -> list[JournalRow]:
        """Copies, newest first: of one archive and of one reference where these are not empty; ids below *before* where it is not."""

    async def among(self, name: str, references: Sequence[str]) -> dict[str, JournalRow]:
        """The copies in *name* of those of *references* that have one."""

    async def count(self, name: str) -> int:
        """How many copies there are, of the archive *name* or of all."""

    async def waiting(self) -> list[Waiting]:
        """What is not filed yet, by archive."""

"""The rows behind the review pages: what people said of held mail, how they sign in, what they saved, and what is counted.

What it is: frozen rows, ``ReviewBatch`` (their part of a ``Batch``), ``Sought`` (a search of held mail) and ``Reviewing``, what every
store can read of them.
Who calls it: ``base``, which every store implements; the keeper's modules for people and review.
Must never: hold a word of a message or of a remark in the clear, a password, or a secret of codes: they come here hashed or sealed.
Sources: docs/design.md section 6; hostile-inputs catalogue group W.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from gateway.review import Filter

if TYPE_CHECKING:
    from gateway.stores.base import HoldRow


INDIA = 19800
"""Seconds that India's clock is ahead of UTC."""


class RemarkKind(enum.StrEnum):
    """What somebody said of a message."""

    QUESTION = "question"
    """A reviewer asks the originator."""
    ANSWER = "answer"
    REQUEST = "request"
    """The originator asks for release, and says why."""
    OBJECTION = "objection"
    """The originator says that the rule is wrong."""
    FORWARD = "forward"
    LEVEL = "level"
    """A person found another level right."""
    NOTE = "note"


class RemarkRow(msgspec.Struct, frozen=True):
    """One thing that was said. *text* is sealed by the vault under *id*."""

    id: str
    hold_id: str
    """Empty where the message was refused and is not held."""
    reference: str
    created: float
    author: str
    kind: RemarkKind
    text: bytes
    department: str
    to: str = ""
    """Of a forwarded item: the person."""


class CredentialRow(msgspec.Struct, frozen=True):
    """How one person proves who he is."""

    name: str
    password: str = ""
    """argon2id, in its own text form; empty: none."""
    totp: bytes = b""
    """The secret in force, sealed by the vault under *name*; empty: none."""
    totp_next: bytes = b""
    """One that waits for its first code."""
    counter: int = 0
    """The last time step whose code was taken: none is taken twice."""
    subject: str = ""
    """Issuer and subject of OpenID Connect; empty: none yet."""
    changed: float = 0.0


class ViewRow(msgspec.Struct, frozen=True):
    """A saved view of one person."""

    id: str
    user: str
    name: str
    filter: dict[str, Any]
    created: float


class TokenRow(msgspec.Struct, frozen=True):
    """A token of the API: *hash* is sha256 of it."""

    id: str
    user: str
    name: str
    scopes: tuple[str, ...]
    hash: bytes
    created: float
    expires: float
    used: float = 0.0


class TermRow(msgspec.Struct, frozen=True):
    """One thing by which a held record is found: a keyed hash, so that the store names no word, and no address but the record's own."""

    term: bytes
    hold_id: str


class TallyRow(msgspec.Struct, frozen=True):
    """How many recipient decisions an hour had of one kind. *level* is -1 for none.

    *hour* counts the hours of India's clock since 00:00 there on 1 January 1970, so that 24 of them are one of its days.
    """

    hour: int
    department: str
    rule: str
    disposition: str
    level: int
    count: int


class ToldRow(msgspec.Struct, frozen=True):
    """Mail to reviewers that went out and goes out once: *key* names the day and the person, or the held record."""

    key: str
    created: float


class Brief(msgspec.Struct, frozen=True):
    """What a list of held mail shows of a message: the sealed *subject* and the decision as ``MessageRow.verdict`` has it."""

    subject: bytes
    verdict: dict[str, Any]


class Word(msgspec.Struct, frozen=True):
    """One word that has to be there: its hashes among what the envelope gave, and among the words of subjects."""

    plain: tuple[bytes, ...]
    subject: tuple[bytes, ...] = ()


class ReviewBatch(msgspec.Struct, frozen=True):
    """Inserted, or replaced where the id (of credentials the name) is there."""

    remarks: Sequence[RemarkRow] = ()
    credentials: Sequence[CredentialRow] = ()
    views: Sequence[ViewRow] = ()
    tokens: Sequence[TokenRow] = ()
    terms: Sequence[TermRow] = ()
    tallies: Sequence[TallyRow] = ()
    """Added to what is there."""
    tallied_to: int = 0
    """The position in the decision log up to which ``tallies`` counts; 0: unchanged."""
    told: Sequence[ToldRow] = ()
    drop_views: Sequence[str] = ()
    drop_tokens: Sequence[str] = ()


class Sought(msgspec.Struct, frozen=True):
    """A search of held mail: all of it has to fit. Times are seconds since the epoch."""

    filter: Filter = Filter()
    """``words`` is not read here, and ``assigned`` is a name."""
    words: tuple[Word, ...] = ()
    within: frozenset[str] | None = None
    """Only these departments; None: all."""
    opened: frozenset[str] | None = frozenset()
    """The departments whose subjects may be searched; None: all."""
    limit: int = 50
    before: str = ""
    """Only ids below this one."""
    changed_since: float = 0.0
    """Not 0: only what changed after it, and without states in the filter also what is no longer open."""
    soon: float = 0.0
    """Deadlines before this are counted as due soon."""


class Counted(msgspec.Struct, frozen=True):
    """How many held records a search has, and by what. Times are seconds since the epoch, 0 where there is none."""

    total: int
    states: dict[str, int]
    levels: dict[str, int]
    """By the number of the level as text; ``-1`` for none."""
    rules: dict[str, int]
    departments: dict[str, int]
    oldest: float
    next_deadline: float
    due_soon: int = 0
    more: bool = False
    """There are more than were counted: words of the search stand in a great part of all records."""


class Reviewing(Protocol):
    """What a store reads for the pages. All methods may raise StoreError; none blocks the event loop."""

    async def found(self, sought: Sought) -> list[HoldRow]:
        """Newest first."""

    async def counted(self, sought: Sought) -> Counted:
        """Over all that fits, without regard to ``limit`` and ``before``."""

    async def briefs(self, message_ids: Sequence[str]) -> dict[str, Brief]:
        """Of each of these messages that is there."""

    async def due(self, before: float, limit: int, within: frozenset[str] | None = None, untold: str = "") -> list[HoldRow]:
        """Open held records whose deadline is before *before*, the first deadline first; with *untold* only those of which no
        ``ToldRow`` has that text and their id as its key."""

    async def told(self, keys: Sequence[str]) -> set[str]:
        """Those of *keys* that have a ``ToldRow``."""

    async def unindexed(self, after: str, limit: int) -> tuple[list[HoldRow], str]:
        """Of the next *limit* held records by id after *after* those without terms, and the id to go on after; empty: no more."""

    async def queued(self, within: frozenset[str] | None) -> dict[str, int]:
        """Open deliveries of these departments by state."""

    async def approvals_of(self, hold_ids: Sequence[str]) -> dict[str, int]:
        """How many approvals each of them has."""

    async def remarks(self, reference: str) -> list[RemarkRow]:
        """Of one message, oldest first."""

    async def credentials(self, name: str) -> CredentialRow | None: ...
    async def credentials_by_subject(self, subject: str) -> CredentialRow | None: ...
    async def views(self, user: str) -> list[ViewRow]: ...
    async def tokens(self, user: str) -> list[TokenRow]: ...
    async def token(self, hash: bytes) -> TokenRow | None: ...
    async def tallies(self, since: int, until: int, within: frozenset[str] | None) -> list[TallyRow]:
        """Hours from *since* to before *until*."""

    async def tallied_to(self) -> int:
        """The position in the decision log up to which tallies count."""

    async def untallied(self, after: int, limit: int) -> tuple[list[TallyRow], int]:
        """The recipient decisions among the next *limit* rows of the decision log after the position *after*, counted, and the
        position of the last of those rows; 0 where there are none."""

    async def of_sender(self, sender: str, limit: int) -> list[str]:
        """References of the newest messages of *sender* that were held or refused, newest first."""

"""The rows behind the review pages: what people said of held mail, how they sign in, what they saved, and what is counted.

What it is: frozen rows, ``ReviewBatch`` (their part of a ``Batch``), ``Sought`` (a search of held mail) and ``Reviewing``, what every
store can read of them.
Who calls it: ``base``, which every store implements; the keeper's modules for people and review.
Must never: hold a word of a message or of a remark in the clear, a password, or a secret of codes: they come here hashed or sealed.
Sources: design.md section 6; hostile-inputs catalogue group W.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from gateway.review import Filter

if TYPE_CHECKING:
    from gateway.stores.base import HoldRow


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
    """How many recipient decisions an hour had of one kind. *hour* counts hours since the epoch; *level* is -1 for none."""

    hour: int
    department: str
    rule: str
    disposition: str
    level: int
    count: int


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
    drop_views: Sequence[str] = ()
    drop_tokens: Sequence[str] = ()


class Sought(msgspec.Struct, frozen=True):
    """A search of held mail. *terms*: for each word that has to be there its alternatives; *within*: departments, None for all."""

    filter: Filter = Filter()
    terms: tuple[tuple[bytes, ...], ...] = ()
    within: frozenset[str] | None = None
    limit: int = 50
    before: str = ""
    changed_since: float = 0.0


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


class Reviewing(Protocol):
    """What a store reads for the pages. All methods may raise StoreError; none blocks the event loop."""

    async def found(self, sought: Sought) -> list[HoldRow]:
        """Newest first."""

    async def counted(self, sought: Sought) -> Counted:
        """Over all that fits, without regard to ``limit`` and ``before``."""

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

    async def of_sender(self, sender: str, limit: int) -> list[str]:
        """References of the newest messages of *sender* that were held or refused, newest first."""

"""The rows of the store, and what every store must be able to do.

What it is: frozen rows, ``Batch`` (what becomes durable together) and the ``Store`` protocol.
Who calls it: the keeper's modules; ``sqlite.store`` and ``postgres.store`` implement it, ``tests/test_store_contract.py`` holds them to it.
Must never: hold a clear body, a clear subject of sealed mail, or a key. Bodies and subjects come here sealed by the vault.
Source: docs/design.md section 6.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import msgspec

from gateway.counting import Histogram
from gateway.requests import ExceptionRow, ProfileRow
from gateway.stores.chained import AuditEvent as AuditEvent
from gateway.stores.chained import AuditRow as AuditRow
from gateway.stores.chained import Chain as Chain
from gateway.stores.chained import HeadRow as HeadRow
from gateway.stores.figures import Figures
from gateway.stores.journal import JournalReading, JournalRow, JournalUpdate
from gateway.stores.remembered import CorrespondentRow as CorrespondentRow
from gateway.stores.remembered import ThreadRow as ThreadRow
from gateway.stores.reviewed import ReviewBatch, Reviewing
from gateway.stores.sharing import Sharing
from gateway.verdict import Edit

FORMAT = 1
"""Format version of every row type written by this code."""


class StoreError(Exception):
    """The store cannot do its work now (disk full, I/O error, locked, corrupt). Always answered 4xx."""


class StoreFull(StoreError):
    """There is no room; answered 452."""


class Conflict(Exception):
    """A row was not in the state that the batch expected; nothing of that batch was written."""


class DeliveryState(enum.StrEnum):
    """scheduled, leased, deferred and on-hold are open; the others are final."""

    SCHEDULED = "scheduled"
    LEASED = "leased"
    DEFERRED = "deferred"
    ON_HOLD = "on-hold"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    EXPIRED = "expired"


class HoldState(enum.StrEnum):
    """held, requested and approved are open; the others are final."""

    HELD = "held"
    REQUESTED = "requested"
    APPROVED = "approved"
    RELEASED = "released"
    REFUSED = "refused"
    EXPIRED = "expired"


ENDED = frozenset({DeliveryState.DELIVERED, DeliveryState.BOUNCED, DeliveryState.EXPIRED})
"""The final states of a delivery."""
ENDED_HOLD = frozenset({HoldState.RELEASED, HoldState.REFUSED, HoldState.EXPIRED})
"""The final states of a held record."""


class BodyRow(msgspec.Struct, frozen=True):
    """Content sealed with its own data key; *wrapped_key* is that key under vault key *key_id*. AAD is *id*."""

    id: str
    key_id: str
    wrapped_key: bytes
    nonce: bytes
    ciphertext: bytes
    size: int
    sha256: str
    """Of the clear content."""
    sealed: bool = False
    """True: the ciphertext is CMS to the security officer's certificate, and no vault key opens it."""
    created: float = 0.0


class MessageRow(msgspec.Struct, frozen=True):
    """One accepted message (or one report of ours). *verdict* and *facts* are JSON without text of the message; a value
    that is written may be ``msgspec.Raw``: JSON already."""

    id: str
    reference: str
    created: float
    department: str
    door: str
    sender: str
    ret: str
    envid: str
    eight_bit: bool
    smtputf8: bool
    size: int
    sha256: str
    body_id: str
    level: int | None
    verified_originator: bool
    peer: dict[str, Any] = msgspec.field(default_factory=dict)
    verdict: dict[str, Any] = msgspec.field(default_factory=dict)
    facts: dict[str, Any] = msgspec.field(default_factory=dict)
    subject: bytes = b""
    """Sealed by the vault; empty for sealed mail."""
    details: bytes = b""
    """Sealed by the vault: the verdict in full as a reviewer sees it (names, paths, edits); empty for reports of ours."""
    is_report: bool = False
    """A report or notice of ours: null sender, never reported on."""


class DeliveryRow(msgspec.Struct, frozen=True):
    """One recipient of one message on its way. Joined with what the relay needs of its message."""

    id: str
    message_id: str
    reference: str
    body_id: str
    created: float
    department: str
    sender: str
    recipient: str
    state: DeliveryState
    notify: tuple[str, ...] | None
    """None: the parameter was not given."""
    orcpt: str
    ret: str
    envid: str
    eight_bit: bool
    smtputf8: bool
    size: int
    sha256: str
    edits: tuple[Edit, ...]
    require_aes256: bool
    direction: str
    verified_originator: bool
    is_report: bool = False
    level: int | None = None
    attempts: int = 0
    next_attempt: float = 0.0
    last_reply: str = ""
    route: str = ""
    lease: str = ""
    """Incarnation of the keeper that holds it; leases of other incarnations are void."""
    warned: bool = False
    """The delay notice was sent."""
    sent_sha256: str = ""
    """Of the octets that left, set at delivery."""


class DeliveryUpdate(msgspec.Struct, frozen=True):
    """A change of one delivery, only if its state is one of *expect* (Conflict otherwise)."""

    id: str
    expect: tuple[DeliveryState, ...]
    state: DeliveryState
    attempts: int | None = None
    next_attempt: float | None = None
    last_reply: str | None = None
    route: str | None = None
    lease: str | None = None
    warned: bool | None = None
    sent_sha256: str | None = None
    holder: str = ""
    """Not empty: where it is leased, it must be to this incarnation. A store that has one keeper need not look."""


class HoldRow(msgspec.Struct, frozen=True):
    """One held message: all of its held recipients together."""

    id: str
    message_id: str
    reference: str
    body_id: str
    created: float
    deadline: float
    department: str
    state: HoldState
    sender: str
    recipients: tuple[str, ...]
    level: int | None
    rule: str
    sealed: bool
    size: int
    sha256: str
    reason: str = ""
    """Explanation key of the winning rule, or why it lies here (``postmaster`` for undeliverable strangers' mail)."""
    released: tuple[str, ...] = ()
    verified_originator: bool = False
    updated: float = 0.0
    assigned: str = ""
    """The person whom it was forwarded to."""
    requested: float = 0.0
    """When its originator asked for release; 0: not yet."""


class HoldUpdate(msgspec.Struct, frozen=True):
    """A change of one hold, only if its state is one of *expect* and nobody changed it since *seen* (Conflict otherwise)."""

    id: str
    expect: tuple[HoldState, ...]
    state: HoldState
    updated: float
    released: tuple[str, ...] | None = None
    level: int | None = None
    assigned: str | None = None
    requested: float | None = None
    """None leaves each as it is."""
    seen: float | None = None
    """Its ``updated`` when it was read; None: whatever it is. A state can stay the same through a change that matters: of several
    recipients some were released, or the level is another."""


class ApprovalRow(msgspec.Struct, frozen=True):
    """One person's yes: binds content, recipients and the rules that are waived."""

    id: str
    hold_id: str
    created: float
    user: str
    reason: str
    sha256: str
    recipients: tuple[str, ...]
    waived: tuple[str, ...]
    department: str = ""


class UserRow(msgspec.Struct, frozen=True):
    """A person who works with the gateway. *grants*: roles as ``roles.Grant`` writes them."""

    name: str
    system_user: str
    email: str
    department: str
    created: float
    grants: tuple[str, ...] = ()
    disabled: bool = False
    language: str = ""


class Batch(msgspec.Struct, frozen=True):
    """What becomes durable together, or not at all."""

    bodies: Sequence[BodyRow] = ()
    messages: Sequence[MessageRow] = ()
    deliveries: Sequence[DeliveryRow] = ()
    holds: Sequence[HoldRow] = ()
    delivery_updates: Sequence[DeliveryUpdate] = ()
    hold_updates: Sequence[HoldUpdate] = ()
    approvals: Sequence[ApprovalRow] = ()
    exceptions: Sequence[ExceptionRow] = ()
    """Inserted, or replaced where the id is there."""
    profiles: Sequence[ProfileRow] = ()
    """Inserted, or replaced where the id is there."""
    correspondents: Sequence[CorrespondentRow] = ()
    """Inserted, or replaced where the pair is there."""
    threads: Sequence[ThreadRow] = ()
    """Inserted; where the mark is there, the higher level and the later day stay."""
    users: Sequence[UserRow] = ()
    """Inserted, or replaced where the name is there."""
    journal: Sequence[JournalRow] = ()
    """Inserted; where the message has a copy in that archive, that one stays."""
    journal_updates: Sequence[JournalUpdate] = ()
    review: ReviewBatch | None = None
    drop_bodies: Sequence[str] = ()
    """Ids of bodies whose data key is destroyed."""
    audit: Sequence[AuditEvent] = ()
    heads: Sequence[HeadRow] = ()
    expect_exceptions_version: str = ""
    """Not empty: the register must still have this version, else Conflict."""


def register_version(rows: Iterable[ExceptionRow], profiles: Iterable[ProfileRow] = ()) -> str:
    """The content-addressed version of the register: sha256 over its active exceptions, and the profiles that are on, in the order
    of their ids. Without a profile it is that of the exceptions alone."""
    active: list[Any] = sorted((row for row in rows if row.state == "active"), key=lambda row: row.id)
    on = sorted((row for row in profiles if row.state == "active"), key=lambda row: row.id)
    return "sha256:" + hashlib.sha256(msgspec.json.encode([active, on] if on else active)).hexdigest()


class Store(Sharing, Protocol):
    """The gateway's memory. All methods may raise StoreError; none blocks the event loop."""

    @property
    def degraded(self) -> str:
        """Why nothing can be written now; empty when all is well."""

    @property
    def counters(self) -> dict[str, int]:
        """``groups`` and ``batches`` since the start, ``open_deliveries`` now."""

    @property
    def exceptions_version(self) -> str:
        """The version of the register as the last transaction saw it."""

    def observe(self, seconds: Histogram, batches: Histogram) -> None:
        """Has the seconds of each COMMIT and the batches of each transaction observed there."""

    @property
    def reviewing(self) -> Reviewing:
        """What it reads for the review pages."""

    @property
    def journal(self) -> JournalReading:
        """What it reads of journal copies."""

    async def open(self, chain: Chain) -> None:
        """Opens, checks and migrates; takes the lock (StoreError when another keeper has it)."""

    async def close(self) -> None:
        """Ends after all writes that were accepted."""

    async def write(self, batch: Batch) -> None:
        """Returns when *batch* is on stable storage. Batches that wait together share one fsync; a Conflict ends its own only.

        Bodies whose deliveries, holds and journal copies became final with *batch* are destroyed in the same transaction.
        """

    async def body(self, body_id: str) -> BodyRow | None: ...
    async def message(self, id_or_reference: str) -> MessageRow | None: ...
    async def due_deliveries(self, now: float, limit: int) -> list[DeliveryRow]:
        """Scheduled and deferred deliveries whose time has come, oldest first."""

    async def open_delivery_count(self) -> int: ...
    async def next_due(self) -> float | None:
        """The earliest ``next_attempt`` of all scheduled and deferred deliveries."""

    async def deliveries(self, *, all: bool = False, limit: int = 1000, after: str = "", reference: str = "") -> list[DeliveryRow]: ...
    async def delivery(self, delivery_id: str) -> DeliveryRow | None: ...
    async def holds(self, *, all: bool = False, limit: int = 1000, after: str = "") -> list[HoldRow]: ...
    async def hold(self, id_or_reference: str) -> HoldRow | None: ...
    async def expired_holds(self, now: float, limit: int) -> list[HoldRow]: ...
    async def approvals(self, hold_id: str) -> list[ApprovalRow]: ...
    async def exceptions(self, *, all: bool = False) -> list[ExceptionRow]: ...
    async def profiles(self, *, all: bool = False) -> list[ProfileRow]: ...
    async def known_pairs(self, pairs: Sequence[bytes]) -> set[bytes]:
        """Those of *pairs* that the table of correspondents holds."""

    async def remembered(self, marks: Sequence[bytes]) -> dict[bytes, int]:
        """Those of *marks* that the table of threads holds, with their levels."""

    async def users(self) -> list[UserRow]: ...
    async def figures(self) -> Figures: ...
    async def audit_head(self, chain: str) -> AuditRow | None: ...
    async def audit_chains(self) -> list[str]: ...
    async def audit_rows(
        self, *, chain: str = "", after: int = 0, limit: int = 1000, reference: str = "", within: frozenset[str] | None = None
    ) -> list[AuditRow]: ...
    async def signed_heads(self, chain: str = "") -> list[HeadRow]: ...
    async def closings(self, chain: str = "") -> list[HeadRow]:
        """For each chain whose oldest rows were removed the signed statement of the last of them."""

    async def audit_ages(self, chain: str, after: int, limit: int) -> list[tuple[int, float, str]]:
        """Number, time and hash of the next rows of *chain*, in its order."""

    async def drop_audit(self, closing: HeadRow, limit: int) -> int:
        """Puts *closing* in the place of the chain's earlier one and removes the rows and heads up to it, at most *limit* rows: in
        one transaction. Raises Conflict when more than *limit* rows would have to go. Returns how many rows went."""

    async def drop_messages(self, before: float, after: str, limit: int) -> tuple[int, str]:
        """Of the next *limit* messages by id after *after*, all older than *before*, removes those whose deliveries and holds ended
        before it. Returns how many, and the id to go on after; empty when there are no more."""

    async def drop_correspondents(self, before: int, limit: int) -> int:
        """Removes at most *limit* correspondents last seen before the day *before*. Returns how many."""

    async def drop_threads(self, before: int, limit: int) -> int:
        """The same of threads and passages."""

    async def drop_ended(self, before: float, limit: int) -> int:
        """Removes at most *limit* exceptions, and as many profiles, that ended before *before*. Returns how many."""

    async def drop_reviewed(self, before: float, limit: int) -> int:
        """Removes at most *limit* counts of hours, and as many notes of mail to reviewers, of before *before*. Returns how many."""

    async def drop_journal(self, now: float, limit: int) -> int:
        """Removes at most *limit* journal copies whose retention has ended, with the bodies of those that were kept here. Returns how
        many."""

    async def compact(self) -> int:
        """Gives freed room back to the system, a bounded step at a time. Returns how many octets."""

    async def search_audit(
        self, *, text: str = "", sender: str = "", recipient: str = "", rule: str = "", since: float = 0, until: float = 0,
        limit: int = 1000, after: int = 0, before: int = 0, within: frozenset[str] | None = None,
    ) -> list[AuditRow]:  # fmt: skip
        """Rows after position *after*, or with *before* those before it, the newest first, that match all that is given;
        *within*: of these departments only, None for all."""

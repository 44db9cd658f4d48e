"""What the four kinds of process may ask each other: every request and every answer, typed.

What it is: msgspec Structs, validated when a frame is decoded. ``DoorRequest``, ``WebRequest`` and ``AdminRequest`` are what
each kind of peer may ask the keeper; ``Inspect`` is what a door asks the inspector.
Who calls it: both ends of ``ipc``.
Must never: carry a key; let a peer name a path of the store. No pickle.
Source: design.md section 2.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.envelope import Transaction
from gateway.reply import Reply
from gateway.verdict import Inspection, Verdict


class Message(msgspec.Struct, frozen=True, tag=True, array_like=False):
    """The root of requests and answers; the tag is the class name."""


# --- door -> keeper ---------------------------------------------------------------------------------------------------


class Commit(Message, frozen=True):
    """Make this decision durable. The frame's body is the content, byte for byte as it was inspected."""

    transaction: Transaction
    verdict: Verdict


class Deferred(Message, frozen=True):
    """Record that a message was answered 4xx after DATA: nothing else is stored."""

    transaction: Transaction
    reply: Reply
    cause: str


class Refused(Message, frozen=True):
    """Record a refusal before DATA (relay denied, sender not official, recipient refused in reply mode)."""

    door: str
    client_ip: str
    helo: str
    user: str
    sender: str
    recipient: str
    reply: Reply
    rule: str
    reference: str


class GetExceptions(Message, frozen=True):
    """The register of exceptions as it is now."""


class VerifyRecipient(Message, frozen=True):
    """Ask the next hop whether it takes mail for *address* (a domain that a local route names)."""

    address: str


class Authenticate(Message, frozen=True):
    """Check a login. Nothing of it is ever written down; *password* is not shown by ``repr``."""

    login: str
    password: str
    client_ip: str
    door: str

    def __repr__(self) -> str:
        return f"Authenticate(login={self.login!r}, client_ip={self.client_ip!r})"


class FirstTimes(Message, frozen=True):
    """Which of *recipients* has *sender* never written to before?"""

    sender: str
    recipients: tuple[str, ...]


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """One value of a metric: its name and its labels in the order of ``metrics.FAMILIES``."""

    name: str
    labels: tuple[str, ...]
    value: float


class Timing(msgspec.Struct, frozen=True, array_like=True):
    """What was added to a histogram: how many in each bucket alone, and the sum of the observations."""

    name: str
    labels: tuple[str, ...]
    counts: tuple[int, ...]
    sum: float


class Counters(Message, frozen=True):
    """What a process has counted and timed since the last report that was taken; the keeper adds it up for ``GetMetrics``.

    A report whose answer did not come is sent again under its *number* and with the same counters and timings.
    """

    kind: str
    """doors or web."""
    worker: int
    process: str = ""
    """Different in each process that ever reported."""
    number: int = 0
    counters: tuple[Sample, ...] = ()
    gauges: tuple[Sample, ...] = ()
    """As they are now: each report replaces those of the one before."""
    timings: tuple[Timing, ...] = ()


class DoorHello(Message, frozen=True):
    """First frame of a door: which config and rules it runs."""

    rules_version: str


# --- keeper -> door ---------------------------------------------------------------------------------------------------


class Committed(Message, frozen=True):
    """It is durable (or, for a session refusal, recorded): answer *reply*."""

    reply: Reply
    reference: str


class Stale(Message, frozen=True):
    """The exception register has changed since the decision: fetch it and decide again."""

    version: str


class ExceptionRow(msgspec.Struct, frozen=True):
    """One entry of the register. Patterns: ``a@b``, ``@b`` or ``b`` (a domain), ``.b`` (its sub-domains), ``*``."""

    id: str
    sender: str
    recipient: str
    reason: str
    requester: str
    approver: str
    created: float
    expires: float
    state: str = "active"


class ProfileRow(msgspec.Struct, frozen=True):
    """One time in which a profile is on: ``disaster`` relaxes what the rules say it does, never a rule on classified mail."""

    id: str
    name: str
    reason: str
    requester: str
    approver: str
    created: float
    expires: float
    state: str = "active"


class Exceptions(Message, frozen=True):
    """The active entries of the register, the profiles that are on, and the content-addressed version of both."""

    version: str
    rows: tuple[ExceptionRow, ...]
    profiles: tuple[ProfileRow, ...] = ()


class Authenticated(Message, frozen=True):
    """*reply* 235: the login is who it says; any other code is what the client is to be told."""

    reply: Reply
    login: str = ""
    """In the form in which it is logged and compared."""
    senders: tuple[str, ...] = ()
    """Patterns of the envelope senders that it may use: ``a@b``, ``@b``."""


class FirstTime(Message, frozen=True):
    """The recipients that were never written to before."""

    recipients: tuple[str, ...]


class Verified(Message, frozen=True):
    """*reply* 2xx: the next hop takes the recipient; 4xx or 5xx: what to answer the client."""

    reply: Reply


class Done(Message, frozen=True):
    """It was done; nothing to say."""


class Failed(Message, frozen=True):
    """It was not done. *message* is one plain sentence; *code* 1: the answer is no; 2: the call is wrong; 3: our fault."""

    message: str
    code: int = 1


# --- door -> inspector ------------------------------------------------------------------------------------------------


class Inspect(Message, frozen=True):
    """Inspect the frame's body. The answer must quote *nonce* and *sha256*, anything else is void."""

    nonce: str
    sha256: str
    want_text: bool = False
    keys: tuple[tuple[str, str], ...] = ()
    """DKIM key records that the door fetched; not empty: check the signatures too."""


class Inspected(Message, frozen=True):
    """What was found."""

    nonce: str
    inspection: Inspection


# --- web and command line -> keeper -----------------------------------------------------------------------------------
# Records travel as JSON-ready dicts: their fields are those of contract.md, "Details of the commands".


class Rows(Message, frozen=True):
    """The records that were asked for."""

    rows: tuple[dict[str, Any], ...]


class ListHeld(Message, frozen=True):
    """Held records, newest last; *after* is an id to page from."""

    all: bool = False
    limit: int = 1000
    after: str = ""


class ShowHeld(Message, frozen=True):
    """One held record by id or reference, with its verdict and history."""

    id: str


class ReleaseHeld(Message, frozen=True):
    """Release to all or some recipients as reviewer *user* (empty: the one mapped to the peer's system user)."""

    id: str
    reason: str
    recipients: tuple[str, ...] = ()
    user: str = ""


class RefuseHeld(Message, frozen=True):
    """Refuse a held item: the originator gets a report with *reason*."""

    id: str
    reason: str
    user: str = ""


class ExportHeld(Message, frozen=True):
    """The content of a held item as the frame's body; the access is audited."""

    id: str
    reason: str
    user: str = ""


class ListQueue(Message, frozen=True):
    """Deliveries of the relay."""

    all: bool = False
    limit: int = 1000
    after: str = ""


class ShowDelivery(Message, frozen=True):
    """One delivery by id, or those of a reference."""

    id: str


class ActOnQueue(Message, frozen=True):
    """*action*: retry, bounce, hold or unhold, for the deliveries of *ids* (empty with *all*)."""

    action: str
    ids: tuple[str, ...] = ()
    all: bool = False
    user: str = ""


class SearchAudit(Message, frozen=True):
    """Rows of the decision log. Times in seconds since the epoch; 0 is open."""

    text: str = ""
    sender: str = ""
    recipient: str = ""
    rule: str = ""
    since: float = 0
    until: float = 0
    limit: int = 1000
    after: int = 0


class ShowAudit(Message, frozen=True):
    """All rows of one reference or one id."""

    id: str


class ListExceptions(Message, frozen=True):
    """The register; *all* includes what has expired."""

    all: bool = False
    limit: int = 0
    """At most so many; 0 is all of them, in their order."""
    after: str = ""
    """Page on from this id."""


class AddException(Message, frozen=True):
    """A new entry; the approver is not the requester."""

    sender: str
    recipient: str
    reason: str
    requester: str
    approver: str
    expires: float


class ExpireException(Message, frozen=True):
    """End an entry now."""

    id: str
    reason: str = ""
    user: str = ""


class ListProfiles(Message, frozen=True):
    """The profiles that are on; *all* includes those that have ended."""

    all: bool = False


class StartProfile(Message, frozen=True):
    """Turn a profile on until *expires*; the approver is not the requester."""

    name: str
    reason: str
    requester: str
    approver: str
    expires: float


class EndProfile(Message, frozen=True):
    """End a profile now."""

    id: str
    reason: str = ""
    user: str = ""


class RotateVault(Message, frozen=True):
    """Take the newest vault key for all that is sealed from now on; older keys stay readable."""

    user: str = ""


class KeyEvent(Message, frozen=True):
    """Record what the command line did with a key (its id, never the key): ``key-escrow-printed`` and so on."""

    action: str
    key: str
    reason: str = ""
    user: str = ""


class MakeBackup(Message, frozen=True):
    """Write a consistent copy of the store to the new file *path*, while mail goes on. The row says what is in it."""

    path: str
    user: str = ""


class Purge(Message, frozen=True):
    """Remove now what is past its retention; the row says how much."""

    user: str = ""


class GetMetrics(Message, frozen=True):
    """All counters of this node in the Prometheus text format, in one row's ``text``."""


class ListUsers(Message, frozen=True):
    """The reviewers."""


class AddUser(Message, frozen=True):
    """A reviewer and the system user mapped to it."""

    name: str
    system_user: str = ""
    email: str = ""
    department: str = ""


class Health(Message, frozen=True):
    """How the keeper is: one row of counters and states."""


class OneTimeLogin(Message, frozen=True):
    """Command line: make a one-time login; the answer's row holds ``token``. Web: redeem *token* for a user name."""

    token: str = ""
    user: str = ""


# --- command line -> supervisor ---------------------------------------------------------------------------------------


class Reload(Message, frozen=True):
    """Load config and rules again; the answer's rows say what changed, ``Failed`` says file, line and reason."""


class Status(Message, frozen=True):
    """The processes: one row each with kind, pid, state, since, restarts."""


DoorRequest = Commit | Deferred | Refused | GetExceptions | VerifyRecipient | Authenticate | FirstTimes | Counters | DoorHello | Health
WebRequest = ListHeld | ShowHeld | OneTimeLogin | Counters | GetMetrics | Health
AdminRequest = (
    ListHeld | ShowHeld | ReleaseHeld | RefuseHeld | ExportHeld | ListQueue | ShowDelivery | ActOnQueue | SearchAudit
    | ShowAudit | ListExceptions | AddException | ExpireException | ListUsers | AddUser | Health | OneTimeLogin
    | ListProfiles | StartProfile | EndProfile | RotateVault | KeyEvent | MakeBackup | Purge | GetMetrics | Authenticate
)  # fmt: skip
SupervisorRequest = Reload | Status
KeeperAnswer = Committed | Stale | Exceptions | Verified | Authenticated | FirstTime | Done | Failed | Rows
InspectorAnswer = Inspected | Failed

"""What the four kinds of process may ask each other: every request and every answer, typed.

What it is: msgspec Structs, validated when a frame is decoded. ``DoorRequest``, ``WebRequest`` and ``AdminRequest`` are what
each kind of peer may ask the keeper; ``Inspect`` is what a door asks the inspector. What people ask through web and command line
stands in ``inquiries`` and is taken from here like the rest.
Who calls it: both ends of ``ipc``.
Must never: carry a key; let a peer name a path of the store. No pickle.
Source: docs/design.md section 2.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.counted import Counters, Sample, Timing
from gateway.envelope import Transaction
from gateway.inquiries import (
    ActOnQueue,
    AddException,
    AddUser,
    EndProfile,
    ExpireException,
    ExportHeld,
    GetMetrics,
    KeyEvent,
    ListArchived,
    ListExceptions,
    ListHeld,
    ListProfiles,
    ListQueue,
    ListUsers,
    MakeBackup,
    NoteMta,
    OneTimeLogin,
    Purge,
    RefuseHeld,
    ReleaseHeld,
    RotateVault,
    SearchAudit,
    ShowAudit,
    ShowDelivery,
    ShowHeld,
    StartProfile,
    VerifyArchive,
    VerifyHeld,
)
from gateway.reply import Reply
from gateway.review import As, AskOfficer, ChangeUser, DecideAgain, ForwardHeld, InviteUser, ReclassifyHeld, Unsigned
from gateway.verdict import Inspection, Remembered, Verdict

__all__ = [
    "ActOnQueue",
    "AddException",
    "AddUser",
    "AskOfficer",
    "ChangeUser",
    "Counters",
    "DecideAgain",
    "EndProfile",
    "ExpireException",
    "ExportHeld",
    "ForwardHeld",
    "GetMetrics",
    "InviteUser",
    "KeyEvent",
    "ListArchived",
    "ListExceptions",
    "ListHeld",
    "ListProfiles",
    "ListQueue",
    "ListUsers",
    "MakeBackup",
    "NoteMta",
    "OneTimeLogin",
    "Purge",
    "ReclassifyHeld",
    "RefuseHeld",
    "ReleaseHeld",
    "RotateVault",
    "Sample",
    "SearchAudit",
    "ShowAudit",
    "ShowDelivery",
    "ShowHeld",
    "StartProfile",
    "Timing",
    "VerifyArchive",
    "VerifyHeld",
]
"""Those of ``inquiries``; they are requests like the rest."""


class Message(msgspec.Struct, frozen=True, tag=True, array_like=False):
    """The root of requests and answers; the tag is the class name."""


# --- door -> keeper ---------------------------------------------------------------------------------------------------


class Commit(Message, frozen=True):
    """Make this decision durable. The frame's body is the content, byte for byte as it was inspected."""

    transaction: Transaction
    verdict: Verdict
    until: float = 0.0
    """When it is too late to begin, in seconds of the machine's monotonic clock: the client is about to be told 4xx. 0: never."""
    facts: bytes = b""
    """The snapshots of facts as the JSON that is stored, where ``handover`` took them out of *verdict*; empty: they are in it."""


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


class MayLogIn(Message, frozen=True):
    """May *login* sign in to the IMAP server from *client_ip*, as far as our lists and counts say? The server checks the password."""

    login: str
    client_ip: str


class LoggedIn(Message, frozen=True):
    """What the IMAP server said to a login: counted and recorded like a sign-in of ours."""

    login: str
    """As ``Permitted`` gave it."""
    client_ip: str
    accepted: bool
    refused: bool = False
    """The login or its password is wrong. Neither: the server could not say, or was never asked."""


class FirstTimes(Message, frozen=True):
    """Which of *recipients* has *sender* never written to before?"""

    sender: str
    recipients: tuple[str, ...]


class ThreadLevels(Message, frozen=True):
    """What is remembered of the messages that somebody answers or forwards, and of the passages that he quotes?"""

    references: tuple[str, ...]
    """Message-IDs without brackets."""
    passages: tuple[bytes, ...]
    """Fingerprints; see ``text.passages``."""


class DoorHello(Message, frozen=True):
    """First frame of a door: which config and rules it runs."""

    rules_version: str


# --- keeper -> door ---------------------------------------------------------------------------------------------------


class Committed(Message, frozen=True):
    """It is durable (or, for a session refusal, recorded): answer *reply*."""

    reply: Reply
    reference: str
    passed: tuple[str, ...] = ()
    """Milter and IMAP: the recipients whose mail goes on where it was; no delivery of ours. All others are to be taken off there."""
    hold_there: bool = False
    """Milter: the MTA is to put the message into its own hold queue (relay.milter_hold), with those of ``passed``, which are then the
    recipients who wait together with those who would have got it; what is held there is nothing of ours."""


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


class Permitted(Message, frozen=True):
    """*reply* 2xx: the login may be shown to the server; any other code: why not, in words for its owner."""

    reply: Reply
    login: str = ""
    """In the form in which it is logged and compared."""
    mailbox: str = ""
    """Address of its mailbox: what it stores there is mail to itself."""


class FirstTime(Message, frozen=True):
    """The recipients that were never written to before."""

    recipients: tuple[str, ...]


class ThreadLevel(Message, frozen=True):
    """What is remembered."""

    remembered: Remembered


class Verified(Message, frozen=True):
    """*reply* 2xx: the next hop takes the recipient; 4xx or 5xx: what to answer the client."""

    reply: Reply


class Done(Message, frozen=True):
    """It was done; nothing to say."""


class Room(Message, frozen=True):
    """A report was taken; and what there is room for, which new mail is told before its text."""

    full: str = ""
    """What is full, in a word: queue or disk."""
    octets: int = -1
    """Octets that may be written before the disk is down to its reserve; -1: nobody knows."""


SIGNED_OUT, ABSENT, FORBIDDEN = 5, 6, 7
"""Codes of ``Failed`` for people: no valid session; none that this person may see; not with this role."""


class Failed(Message, frozen=True):
    """It was not done. *message* is one plain sentence; *code* 1: the answer is no; 2: the call is wrong; 3: our fault; 4: there is no
    room; and those for people."""

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


# --- web and command line -> keeper: what people ask stands in inquiries.py -------------------------------------------
# Records travel as JSON-ready dicts: their fields are those of docs/design.md section 10 ("Records").


class Rows(Message, frozen=True):
    """The records that were asked for."""

    rows: tuple[dict[str, Any], ...]


class Health(Message, frozen=True):
    """How the keeper is: one row of counters and states."""


# --- command line -> supervisor ---------------------------------------------------------------------------------------


class Reload(Message, frozen=True):
    """Load config and rules again; the answer's rows say what changed, ``Failed`` says file, line and reason."""


class Status(Message, frozen=True):
    """The processes: one row each with kind, pid, state, since, restarts."""


DoorRequest = (
    Commit | Deferred | Refused | GetExceptions | VerifyRecipient | Authenticate | MayLogIn | LoggedIn | FirstTimes | ThreadLevels
    | Counters | DoorHello | Health
)  # fmt: skip
WebRequest = As | Unsigned | Counters | GetMetrics | Health
AdminRequest = (
    ListHeld | ShowHeld | ReleaseHeld | RefuseHeld | ExportHeld | ListQueue | ShowDelivery | ActOnQueue | SearchAudit
    | ShowAudit | ListExceptions | AddException | ExpireException | ListUsers | AddUser | Health | OneTimeLogin
    | ListProfiles | StartProfile | EndProfile | RotateVault | KeyEvent | MakeBackup | Purge | GetMetrics | Authenticate
    | ChangeUser | InviteUser | VerifyHeld | AskOfficer | ReclassifyHeld | ForwardHeld | DecideAgain | NoteMta | ListArchived
    | VerifyArchive
)  # fmt: skip
SupervisorRequest = Reload | Status
KeeperAnswer = Committed | Stale | Exceptions | Verified | Authenticated | Permitted | FirstTime | ThreadLevel | Done | Room | Failed | Rows
InspectorAnswer = Inspected | Failed

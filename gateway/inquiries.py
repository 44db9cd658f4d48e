"""What reviewers and administrators ask the keeper through web and command line: every such request, typed.

What it is: msgspec Structs; ``requests`` puts them into the unions that each socket admits, and everybody takes them from there.
Who calls it: ``requests``.
Must never: carry a key; let a peer name a path of the store. No pickle.
Source: docs/design.md section 2; docs/design.md section 10 ("Records").
"""

from __future__ import annotations

import msgspec


class Inquiry(msgspec.Struct, frozen=True, tag=True):
    """The root of what people ask; the tag is the class name."""


class ListHeld(Inquiry, frozen=True):
    """Held records, newest last; *after* is an id to page from."""

    all: bool = False
    limit: int = 1000
    after: str = ""


class ShowHeld(Inquiry, frozen=True):
    """One held record by id or reference, with its verdict and history.

    One row: the fields of ``ListHeld`` and ``title source assigned requested two_people sha256 updated verified_originator
    classification leaves evidence ambiguity from to message_id rules_version exceptions_version unreadable``; ``decisions``: for each
    recipient ``address tier direction disposition status rule title source explain hits require_aes256 trace edits`` and
    ``explanation`` (by language ``what why next``); ``trace`` has rows ``rule title hit mode then``; ``titles`` (of rules by id);
    ``authentication`` (``client helo user listed tls cipher bits results door verified_originator``); ``thread`` (``message_id
    thread_level passage_level thread_conflict conflict``); ``approvals`` (``user created reason recipients waived``); ``remarks``
    (``created kind author to text``); ``history`` (``time action user reason recipient rule``); ``may`` (``release approve refuse ask
    level forward again exception content``, each a bool) and ``why_not`` (a sentence for each that is false); ``first_yes`` (who gave the
    first of two); ``level_proposed level_proposed_by`` (a lower level that waits for the second person).
    """

    id: str


class ReleaseHeld(Inquiry, frozen=True):
    """Release to all or some recipients as reviewer *user* (empty: the one mapped to the peer's system user)."""

    id: str
    reason: str
    recipients: tuple[str, ...] = ()
    user: str = ""


class RefuseHeld(Inquiry, frozen=True):
    """Refuse a held item: the originator gets a report with *reason*."""

    id: str
    reason: str
    user: str = ""


class ExportHeld(Inquiry, frozen=True):
    """The content of a held item as the frame's body; the access is audited."""

    id: str
    reason: str
    user: str = ""


class VerifyHeld(Inquiry, frozen=True):
    """Proves what is kept of open records: rows ``id reference problem`` (empty: none) of the next ones by id after *after*; no row:
    there are no more."""

    after: str = ""


class ListQueue(Inquiry, frozen=True):
    """Deliveries of the relay."""

    all: bool = False
    limit: int = 1000
    after: str = ""


class ShowDelivery(Inquiry, frozen=True):
    """One delivery by id, or those of a reference."""

    id: str


class ActOnQueue(Inquiry, frozen=True):
    """*action*: retry, bounce, hold or unhold, for the deliveries of *ids* (empty with *all*)."""

    action: str
    ids: tuple[str, ...] = ()
    all: bool = False
    user: str = ""


class SearchAudit(Inquiry, frozen=True):
    """Rows of the decision log. Times in seconds since the epoch; 0 is open."""

    text: str = ""
    sender: str = ""
    recipient: str = ""
    rule: str = ""
    since: float = 0
    until: float = 0
    limit: int = 1000
    after: int = 0
    newest: bool = False
    """The newest row first, with *before* to page on; otherwise the oldest first, with *after*."""
    before: int = 0
    taken_as: str = ""
    """``csv`` or ``jsonl`` where the rows are taken out of the gateway as a file: the log says who took how many."""


class ShowAudit(Inquiry, frozen=True):
    """All rows of one reference or one id."""

    id: str


class ListExceptions(Inquiry, frozen=True):
    """The register; *all* includes what has expired."""

    all: bool = False
    limit: int = 0
    """At most so many; 0 is all of them, in their order."""
    after: str = ""
    """Page on from this id."""


class AddException(Inquiry, frozen=True):
    """A new entry; the approver is not the requester."""

    sender: str
    recipient: str
    reason: str
    requester: str
    approver: str
    expires: float


class ExpireException(Inquiry, frozen=True):
    """End an entry now."""

    id: str
    reason: str = ""
    user: str = ""


class ListProfiles(Inquiry, frozen=True):
    """The profiles that are on; *all* includes those that have ended."""

    all: bool = False


class StartProfile(Inquiry, frozen=True):
    """Turn a profile on until *expires*; the approver is not the requester."""

    name: str
    reason: str
    requester: str
    approver: str
    expires: float


class EndProfile(Inquiry, frozen=True):
    """End a profile now."""

    id: str
    reason: str = ""
    user: str = ""


class RotateVault(Inquiry, frozen=True):
    """Take the newest vault key for all that is sealed from now on; older keys stay readable."""

    user: str = ""


class KeyEvent(Inquiry, frozen=True):
    """Record what the command line did with a key (its id, never the key): ``key-escrow-printed`` and so on."""

    action: str
    key: str
    reason: str = ""
    user: str = ""


class MakeBackup(Inquiry, frozen=True):
    """Write a consistent copy of the store to the new file *path*, while mail goes on. The row says what is in it."""

    path: str
    user: str = ""


class Purge(Inquiry, frozen=True):
    """Remove now what is past its retention; the row says how much."""

    user: str = ""


class NoteMta(Inquiry, frozen=True):
    """What ``gateway doctor`` read in the settings of the MTA before the milter door: whether it sends under TLS with AES-256 only."""

    protected: bool
    settings: str
    """sha256 over the settings that were read."""
    said: str
    """One plain sentence: why, or why not."""
    user: str = ""


class VerifyArchive(Inquiry, frozen=True):
    """Compare the next *limit* journal copies after *after* with what is there. A row a copy that is missing or different, and at the
    end one with ``next`` (empty: there are no more), ``copies`` and ``good``."""

    name: str = ""
    """Of which archive; empty: of all."""
    after: str = ""
    limit: int = 500


class ListArchived(Inquiry, frozen=True):
    """The journal copies, newest first."""

    name: str = ""
    reference: str = ""
    limit: int = 100
    after: str = ""


class GetMetrics(Inquiry, frozen=True):
    """All counters of this node in the Prometheus text format, in one row's ``text``."""


class ListUsers(Inquiry, frozen=True):
    """The reviewers."""


class AddUser(Inquiry, frozen=True):
    """A reviewer and the system user mapped to it."""

    name: str
    system_user: str = ""
    email: str = ""
    department: str = ""
    grants: tuple[str, ...] = ()
    """As ``roles.Grant`` writes them; none: reviewer and second-approver of the department, or of all where it has none."""


class OneTimeLogin(Inquiry, frozen=True):
    """Make a one-time login of *user* (empty: the one mapped to the peer's system user); the answer's row holds ``token``."""

    user: str = ""

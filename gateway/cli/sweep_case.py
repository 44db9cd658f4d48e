"""What would have been decided about one message of a mailbox, whose envelope nobody kept.

What it is: ``Fetched`` (a message as it lies in a mailbox), ``envelope`` (From, To, Cc and Bcc as sender and recipients) and ``Sweep``,
which gives the record of a message with the code of ``gateway explain``.
Who calls it: ``sweep``, in its worker processes.
Must never: guess at an address that is not plainly one: it is said that there is more than was read; take a stranger's message for
official mail because it lies in an officer's mailbox.
Sources: RFC 5322 section 3.6.3; RFC 5092 (how a message in a mailbox is named); docs/design.md section 10 ("explain --json").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.address import NULL_PATH, AddressError, Path, parse
from gateway.cli.explain_case import Case

if TYPE_CHECKING:
    from gateway.config import Config

STRANGER = "192.0.2.1"
"""An address of nobody's (RFC 5737), for mail that others sent."""
TOO_LARGE = "is larger than max_message_size: the gateway would have refused it unread"


@dataclass(frozen=True, slots=True)
class Fetched:
    """One message of a mailbox. *octets* None: it was not fetched, for it is too large. *gone*: it is not there any more."""

    mailbox: str
    uidvalidity: int
    uid: int
    own: bool
    """The mailbox holds what its owner wrote: whatever From says, the login is the originator."""
    date: str = ""
    size: int = 0
    octets: bytes | None = None
    gone: bool = False

    @property
    def name(self) -> str:
        """How people find it again."""
        return f"{self.mailbox};UIDVALIDITY={self.uidvalidity}/;UID={self.uid}"


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a message's header says of its way. *unread*: it names somebody besides whose address is not plainly one."""

    sender: Path
    recipients: tuple[Path, ...]
    unread: bool


def envelope(octets: bytes, config: Config) -> Envelope:
    """The envelope that the header section of *octets* speaks of."""
    from gateway.message import headers, mailboxes, prescan

    content = prescan.canonical(octets)
    scan = prescan.prescan(content, config.limits)
    if scan.over_limit:
        return Envelope(NULL_PATH, (), True)
    fields = headers.read(content[: scan.header_end]).by_name
    address, _ = mailboxes.sender(fields.get("from", []))
    to = [value for name in ("to", "cc", "bcc") for value in fields.get(name, [])]
    named = mailboxes.recipients(to)
    found = [_path(one) for one in named]
    unread = len(named) >= mailboxes.MOST_RECIPIENTS or "" in mailboxes.everyone([value for value in to if value]) or None in found
    return Envelope((_path(address) if address else None) or NULL_PATH, tuple(one for one in found if one is not None), unread)


def _path(text: str) -> Path | None:
    try:
        return parse(text.encode("utf-8", "surrogateescape"), smtputf8=True)
    except AddressError:
        return None


@dataclass(frozen=True, slots=True)
class Sweep:
    """Everything but the messages. *owner*: the login whose mailbox it is; *home*: its address, or nothing."""

    config: Config
    case: Case
    """Under which policy; its envelope is nobody's."""
    owner: str
    home: Path
    senders: tuple[str, ...] | None = None

    def in_worker(self, item: Fetched) -> dict[str, Any]:
        """``record`` in a process of its own, which ends when the message takes more CPU time than an inspection may."""
        import signal

        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, self.config.limits.inspect_cpu)
        try:
            return self.record(item)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)

    def record(self, item: Fetched, killed: str = "") -> dict[str, Any]:
        """The record of one message. *killed*: reading it ended a process in this way, so that it counts as suspect."""
        place = {"mailbox": item.mailbox, "uidvalidity": item.uidvalidity, "uid": item.uid, "date": item.date}
        if item.gone:
            return {**place, "file": item.name, "gone": True, "error": "has gone from the mailbox meanwhile"}
        if item.octets is None or len(item.octets) > self.config.max_message_size:
            return {**place, "file": item.name, "size": item.size, "too_large": True, "error": TOO_LARGE}
        about = envelope(item.octets, self.config)
        domains = self.config.originators.domains
        own = item.own or (about.sender.domain in domains and not about.sender.is_null)
        sender = about.sender if not about.sender.is_null or not own else self.home
        if own:
            case = self.case.of(sender, about.recipients, user=self.owner, senders=self.senders)
        else:
            case = self.case.of(sender, about.recipients, client_ip=STRANGER)
        found = case.judged(item.name, item.octets, killed)
        about_it = {"sender": sender.text, "official": own, "unread_recipients": about.unread}
        return {**place, **about_it, **found}

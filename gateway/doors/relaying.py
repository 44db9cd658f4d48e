"""Who may send to whom, as far as a session may know before DATA.

What it is: ``Relaying``: the order of checks at RCPT, and the memory of recipients that the next hop was asked about.
Who calls it: ``doors.smtp`` and ``doors.milter``, once a recipient.
Must never: accept a recipient for a client that may not relay; take "could not ask" for yes.
Sources: docs/design.md section 4 ("Who may relay", "Answering"); RFC 5321 section 4.5.1 (postmaster) and RFC 2142 (abuse);
hostile-inputs catalogue A16, A23, A31, P9; rules/README.md, R14 and R28.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

from gateway import address
from gateway.address import AddressError, Path
from gateway.config import Config
from gateway.envelope import Door, Peer
from gateway.reply import Reply

RELAY_DENIED = Reply(550, "5.7.1", "Relaying is not permitted.")
OWN_HOST = Reply(550, "5.7.1", "This host takes no mail for itself.")
AUTH_NEEDED = Reply(530, "5.7.0", "Official mail is sent through the submission port (587 or 465), after signing in.")
FORGED = Reply(550, "5.7.1", "Mail from this domain is accepted from its own servers only.")

_KNOWN = 10_000  # recipients that are remembered
_GOOD = 3600.0  # seconds for which the next hop's yes holds
_BAD = 300.0  # and its no; "not now" is not remembered


@dataclass(frozen=True, slots=True)
class Refused:
    """A refusal at RCPT and the name of what refused it, for the log."""

    reply: Reply
    rule: str
    reference: str = ""
    """The reference that stands in the reply, if there is one."""


class EnvelopePolicy(Protocol):
    """What the rules say of an envelope alone."""

    def __call__(self, sender: Path, recipient: Path, peer: Peer, /, *, door: Door | None = None) -> Refused | None:
        """A final refusal, or nothing; *door* None: one of those that speak SMTP. Raises ReplyError (4xx) when it cannot say."""


def official_only(sender: Path) -> Reply:
    """The refusal of a sender that is not official, to a client in a listed network."""
    return Reply(550, "5.7.1", f"Official mail must be sent from an official address of this department, not {sender.text}.")


class Relaying:
    """The checks under one config. ``ask`` says whether a recipient's next hop must be asked; ``remember`` keeps its answer."""

    def __init__(self, config: Config, envelope_policy: EnvelopePolicy) -> None:
        self._policy = envelope_policy
        self._config = config
        self._domains = frozenset(config.originators.domains)
        self._require_auth = config.originators.require_auth
        self._hostname = config.hostname.lower()
        self._verify = config.relay.verify_recipients
        self._named = [domain for route in config.route if route.local for domain in route.domains if domain[:1] not in "*."]
        self._postmaster_domain = self._find_postmaster_domain(config)
        self._local: dict[str, bool] = {}
        self._known: OrderedDict[str, tuple[float, Reply]] = OrderedDict()

    def _find_postmaster_domain(self, config: Config) -> str:
        if "@" in config.contacts.postmaster:
            return _a_label(config.contacts.postmaster.rpartition("@")[2])
        return (self._named or sorted(self._domains) or [self._hostname])[0]

    def is_ours(self, sender: Path) -> bool:
        """Whether *sender* is an official address of ours."""
        return sender.domain in self._domains

    def is_local(self, domain: str) -> bool:
        """Whether the first route that matches *domain* is a local one."""
        known = self._local.get(domain)
        if known is None:
            known = self._config.is_local(domain)
            if len(self._local) >= _KNOWN:
                self._local.clear()
            self._local[domain] = known
        return known

    def target(self, path: Path) -> Path:
        """Where mail for *path* goes: ``<postmaster>``, and postmaster or abuse at our host's name, are those of our own domain;
        all others are themselves."""
        at_host = path.domain == self._hostname and path.is_desk and path.domain not in self._named
        return Path(path.local, self._postmaster_domain) if at_host or not path.domain else path

    def check(self, sender: Path, recipient: Path, peer: Peer) -> Refused | None:
        """Why *recipient* (a ``target``) is refused, or nothing."""
        official = peer.listed or bool(peer.user)
        if not official and sender.domain in self._domains:
            return Refused(FORGED, "own-domain-from-outside")
        if self.always_reachable(recipient):
            return None
        if recipient.domain == self._hostname and recipient.domain not in self._named:
            return Refused(OWN_HOST, "own-host")
        if peer.listed and not peer.user and self._require_auth:
            return Refused(AUTH_NEEDED, "sign-in-required")
        if not official and not self.is_local(recipient.domain):
            return Refused(RELAY_DENIED, "relay-denied")
        if peer.listed and not sender.is_null and sender.domain not in self._domains:
            return Refused(official_only(sender), "sender-not-official")
        return self._policy(sender, recipient, peer)

    def check_behind(self, sender: Path, recipient: Path, peer: Peer, *, local: bool) -> Refused | None:
        """The same where an MTA stands before us, which has decided who may relay and which recipients there are.

        *local*: the mail began on the MTA's own machine (sendmail(1), cron, the MTA's own reports), with no client and no sign-in:
        a sender that is not ours is then taken for our own people only, a null sender for all, and the rules wait for the content.
        """
        official = peer.listed or bool(peer.user)
        if not official and sender.domain in self._domains:
            return Refused(FORGED, "own-domain-from-outside")
        if self.always_reachable(recipient) or (local and sender.is_null):
            return None
        if peer.listed and not peer.user and self._require_auth:
            return Refused(AUTH_NEEDED, "sign-in-required")
        inside = recipient.domain in self._domains or self.is_local(recipient.domain)
        if (official or local) and not sender.is_null and sender.domain not in self._domains and not (local and inside):
            return Refused(official_only(sender), "sender-not-official")
        return None if local else self._policy(sender, recipient, peer, door=Door.MILTER)

    def always_reachable(self, recipient: Path) -> bool:
        """Whether *recipient* is the postmaster or the abuse desk of a domain of ours."""
        return recipient.is_desk and (
            self.is_local(recipient.domain) or recipient.domain in self._domains or recipient.domain == self._postmaster_domain
        )

    def must_verify(self, recipient: Path, *, verified: bool) -> bool:
        """Whether the next hop has to know *recipient* before we take it: always for strangers' mail."""
        return self._verify and not verified and self.is_local(recipient.domain) and not self.always_reachable(recipient)

    def recall(self, recipient: Path, now: float) -> Reply | None:
        """What the next hop said to *recipient* not long ago. *now* in seconds of a monotonic clock."""
        found = self._known.get(recipient.text)
        if found is None:
            return None
        until, reply = found
        if until <= now:
            del self._known[recipient.text]
            return None
        return reply

    def remember(self, recipient: Path, reply: Reply, now: float) -> None:
        """Keeps a yes or a no; a 4xx is asked again."""
        if reply.temporary:
            return
        self._known[recipient.text] = (now + (_GOOD if reply.code < 300 else _BAD), reply)
        self._known.move_to_end(recipient.text)
        if len(self._known) > _KNOWN:
            self._known.popitem(last=False)


def _a_label(domain: str) -> str:
    try:
        return address.domain_of(domain)
    except AddressError:
        return domain.lower()

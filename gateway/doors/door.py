"""What the SMTP sessions of one process share: settings, counts, memory, the sweep, the drain.

What it is: ``Settings`` (everything that a reload replaces, as one value), ``Listener`` (one listening address) and ``Door``.
Who calls it: ``doors.service`` makes one Door a process; ``doors.smtp`` sessions report to it.
Must never: know the protocol.
Sources: docs/design.md section 2; hostile-inputs catalogue 4.4.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from gateway import address, logs
from gateway.config import Config, Listen
from gateway.counting import Counts
from gateway.doors.imap_settings import ImapSettings
from gateway.doors.limits import Budget, Callers, Networks
from gateway.doors.pressure import Pressure
from gateway.doors.relaying import EnvelopePolicy, Refused, Relaying
from gateway.envelope import Door as DoorName
from gateway.envelope import Peer, Transaction
from gateway.pipeline import Outcome
from gateway.reply import SHUTTING_DOWN, Reply
from gateway.requests import Authenticated, LoggedIn, Permitted
from gateway.requests import Refused as RefusedRecord
from gateway.wire.smtp_events import Offer

STRESS = 0.9
"""Of the sessions: from here on idle ones end sooner, and nobody gets more than a share."""
_AT_ONCE = 10  # sessions that a retiring process ends in one look at them
_NAMES = {
    "smtp": DoorName.SMTP, "submission": DoorName.SUBMISSION, "smtps": DoorName.SUBMISSION, "milter": DoorName.MILTER,
    "imap": DoorName.IMAP,
}  # fmt: skip
SHED = "shed: "
"""Before the reason, in the counters."""
_TOO_MANY = Reply(421, "4.7.0", "Too many sessions at present. Please try again later.")
_log = logs.get("gateway.doors")


class Handler(Protocol):
    """The pipeline, as a door sees it."""

    async def handle(self, tx: Transaction, content: bytes) -> Reply:
        """The reply to a message, after its commit. Raises ReplyError."""

    async def outcome(self, tx: Transaction, content: bytes) -> Outcome:
        """The same with all that the doors before an MTA or a mailbox need. Raises ReplyError."""


class Keeper(Protocol):
    """The keeper, as a session sees it."""

    async def verify_recipient(self, address: str) -> Reply:
        """What the next hop says to *address*; 4xx when it could not be asked."""

    async def authenticate(self, login: str, password: str, client_ip: str, door: str) -> Authenticated:
        """Whether *password* is that of *login*; never raises: 454 when nobody could be asked."""

    async def may_log_in(self, login: str, client_ip: str) -> Permitted:
        """Whether *login* may be shown to the IMAP server; never raises: 4xx when nobody could be asked."""

    def logged_in(self, said: LoggedIn) -> None:
        """Tells what the IMAP server said, in the background."""

    def refused(self, refusal: RefusedRecord) -> None:
        """Records a refusal, in the background."""


class Watched(Protocol):
    """A session, as the door sees it."""

    def check(self, now: float, *, stressed: bool) -> None:
        """Ends itself if it is over a time."""

    def retire(self, now: float, since: float) -> bool:
        """Another process takes the new sessions, *since* then: one whose times never end it ends in a quiet moment, and says so."""

    def drain(self) -> None:
        """Ends itself if it has nothing to finish."""

    def end(self) -> None:
        """Ends itself."""


@dataclass(frozen=True, slots=True)
class Listener:
    """One listening address: which door it is, who may come, whose PROXY header is believed."""

    door: DoorName = DoorName.SMTP
    implicit_tls: bool = False
    networks: Networks | None = None
    """The only addresses that may connect; None: any."""
    proxies: Networks | None = None
    """The load balancers; None: clients connect by themselves."""

    @classmethod
    def make(cls, listen: Listen) -> Listener:
        """The listener that the config describes."""
        networks = Networks(listen.networks) if listen.networks else None
        implicit = listen.door == "smtps" or (listen.door == "imap" and not listen.starttls)
        return cls(_NAMES[listen.door], implicit, networks, Networks(listen.proxies) if listen.proxy_protocol else None)


PLAIN = Listener()
"""Where nothing is asked of who connects."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The config in the forms that sessions need; a session keeps the one it began with."""

    config: Config
    offer: Offer
    ehlo: bytes
    ehlo_tls: bytes
    networks: Networks
    relaying: Relaying
    tls: ssl.SSLContext | None
    submission: Offer
    """What the submission doors offer; their EHLO depends on the session."""
    vpn: Networks | None
    """Where people may sign in from; None: anywhere."""
    listeners: Mapping[str, Listener]
    """By the address of the config."""
    imap: ImapSettings | None = None
    """None: there is no IMAP door."""

    @classmethod
    def make(cls, config: Config, envelope_policy: EnvelopePolicy, tls: ssl.SSLContext | None) -> Settings:
        """The settings of *config*. Raises ConfigError."""
        limits = config.limits
        try:
            hostname = address.domain_of(config.hostname)
        except address.AddressError:
            hostname = config.hostname.encode("ascii", "replace").decode("ascii")
        offer = Offer(
            hostname, config.max_message_size, limits.recipients, limits.command_line, limits.text_line, limits.errors_soft,
            limits.errors_hard, limits.junk_commands, starttls=tls is not None,
        )  # fmt: skip
        networks, relaying = Networks(config.originators.networks), Relaying(config, envelope_policy)
        vpn = Networks(config.submission.vpn) if config.submission.vpn else None
        listeners = {one.address: Listener.make(one) for one in config.listen if one.door in _NAMES}
        submission = replace(offer, auth=True)
        ehlo, ehlo_tls = offer.ehlo(tls=False), offer.ehlo(tls=True)
        imap = ImapSettings.make(config)
        return cls(config, offer, ehlo, ehlo_tls, networks, relaying, tls, submission, vpn, listeners, imap)


class Door:
    """One process' door. Replace ``settings`` whole at a reload."""

    def __init__(
        self, settings: Settings, handler: Handler, keeper: Keeper, *, error_delay: float = 1.0, rate_grace: float = 10.0,
        counts: Counts | None = None,
    ) -> None:  # fmt: skip
        """*error_delay*: seconds before the answer to an error past the soft limit; *rate_grace*: seconds before the rate of a
        message is judged. Must be made inside the event loop."""
        self.loop = asyncio.get_running_loop()
        self.settings = settings
        self.handler = handler
        self.keeper = keeper
        self.error_delay = error_delay
        self.rate_grace = rate_grace
        self.budget = Budget(settings.config.limits.max_inflight, settings.config.max_message_size)
        self.sessions: set[Watched] = set()
        self.opened = 0
        """Sessions that were let in so far."""
        self.arriving = 0
        """Connections that are no session yet: in front of them is a PROXY header, or a handshake."""
        self.draining = False
        self.counters: dict[str, int] = {}
        self.receiving = (counts or Counts()).timing("gateway_stage_seconds", "receive")
        self.pressure = Pressure(lambda: self.settings.config, self.budget)
        """What speaks against new mail; ``doors.service`` gives one that knows keeper and inspector."""
        self._callers = Callers()
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweep: asyncio.TimerHandle | None = None

    def enter(self, session: Watched, ip: str, listed: bool) -> Reply | None:
        """Lets a session in, or says what to answer instead."""
        limits = self.settings.config.limits
        if self.draining:
            return SHUTTING_DOWN
        if len(self.sessions) >= limits.connections:
            self.count("over the session cap")
            return _TOO_MANY
        reason = self._callers.enter(ip, listed, limits, self.loop.time(), len(self.sessions))
        if reason:
            self.count(reason)
            return _TOO_MANY
        self.sessions.add(session)
        self.opened += 1
        if self._sweep is None:
            self._sweep = self.loop.call_later(self._interval(), self._check_all)
        return None

    def too_early(self, owner: str, size: int, *, stored: bool = True) -> Reply | None:
        """The answer to a new message of *owner* that would come in vain now, if it would; *size*: its octets, 0 where nobody said.
        *stored*: it needs a place in queue and store."""
        said = self.pressure.refusal(owner, size, stored=stored)
        if said is None:
            return None
        self.count(SHED + said[1])
        return said[0]

    def leave(self, session: Watched, ip: str, listed: bool) -> None:
        """Forgets a session; does nothing for one that was not let in."""
        if session in self.sessions:
            self.sessions.discard(session)
            self._callers.leave(ip, listed)

    @property
    def busy(self) -> bool:
        """Whether anybody is here, or on the way in."""
        return bool(self.sessions) or self.arriving > 0

    def count(self, what: str) -> None:
        """Adds one to a counter."""
        self.counters[what] = self.counters.get(what, 0) + 1

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs *work* in a task of its own that nothing cancels but the end of the process."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def record(self, peer: Peer, sender: str, recipient: str, refused: Refused, door: DoorName = DoorName.SMTP) -> None:
        """Has a refusal recorded; never raises."""
        self.count("refusals")
        record = RefusedRecord(
            door.value, peer.ip, peer.helo, peer.user, sender, recipient, refused.reply, refused.rule, refused.reference
        )  # fmt: skip
        try:
            self.keeper.refused(record)
        except Exception:
            _log.exception("smtp.refusal_not_recorded")

    def _interval(self) -> float:
        """Often enough for the shortest timer."""
        limits = self.settings.config.limits
        shortest = min(limits.command_deadline, limits.idle, limits.idle_stressed, limits.session, limits.data_idle, self.rate_grace)
        return min(1.0, max(0.02, shortest / 4))

    def _check_all(self) -> None:
        now = self.loop.time()
        stressed = len(self.sessions) >= self.settings.config.limits.connections * STRESS
        for session in tuple(self.sessions):
            try:
                session.check(now, stressed=stressed)
            except Exception:
                _log.exception("smtp.fault")
        self._sweep = self.loop.call_later(self._interval(), self._check_all) if self.sessions else None

    def retire(self, since: float) -> None:
        """Ends, a few at a time, what could last for ever: all of them come back to another process."""
        now, ended = self.loop.time(), 0
        for session in tuple(self.sessions):
            try:
                ended += session.retire(now, since)
            except Exception:
                _log.exception("doors.fault")
            if ended >= _AT_ONCE:
                return

    async def drain(self, seconds: float) -> None:
        """Ends all sessions: idle ones now, the others after their transaction, all of them after *seconds*.

        Messages that are with the pipeline even then are given up; their clients keep them and come again.
        """
        self.draining = True
        deadline = self.loop.time() + seconds
        for session in tuple(self.sessions):
            session.drain()
        while self.sessions and self.loop.time() < deadline:
            await asyncio.sleep(0.02)
            for session in tuple(self.sessions):
                session.drain()
        for session in tuple(self.sessions):
            session.end()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=min(seconds, 1.0))
        for task in tuple(self._tasks):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None

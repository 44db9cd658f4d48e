"""Asks a next hop whether a login and its password are right: AUTH there with the same credentials, and nothing else.

What it is: ``SignIn``, a conversation that says AUTH once, and ``HopAuth``, which opens it over verified TLS and reads the answer.
Who calls it: ``logins`` where ``submission.check = "next-hop"``; ``gateway check`` for what the hop offers.
Must never: say AUTH in clear or to a certificate that was not accepted, on loopback neither; keep, log or repeat a password, or a
word of the hop's answer; use a connection for a second login.
Sources: RFC 4954 sections 4 and 6, RFC 4616, RFC 8314 section 3.3, RFC 3207; hostile-inputs catalogue S37, O08.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable

from gateway import logs
from gateway.config import Config, Route
from gateway.relay.hop_open import Opener
from gateway.relay.hop_protocol import Conversation, Fault, HopError, temporary
from gateway.relay.hop_tls import Contexts, Trust
from gateway.relay.lanes import Breaker
from gateway.relay.routes import NextHop, Resolver, Routes, domain_of, parse_next_hop
from gateway.signin.login_names import address_of
from gateway.wire.smtp_client import HopReply, UnsafeCommand, auth_login, auth_plain

AT_ONCE = 8
"""Conversations at once with one hop."""
WAITING = 64
"""Sign-ins that may wait for one; the next are put off."""
PATIENCE = 30.0
"""Seconds for a whole answer, from connecting on: the client waits for it."""
_COMMAND, _CONNECT = 20.0, 10.0  # seconds; servers answer a wrong password late on purpose
_log = logs.get("logins")


class Answer(enum.StrEnum):
    """What came of asking."""

    YES = "yes"
    NO = "no"
    LATER = "later"
    """The hop could not be asked, or could not say; it may have seen the password all the same if ``shown``."""


class SignIn(Conversation):
    """A conversation in which AUTH is said once."""

    shown = False
    """Whether the password was sent."""

    async def authenticate(self, login: str, password: bytes) -> HopReply | None:
        """The hop's reply to the credentials; None where it offers neither PLAIN nor LOGIN. Raises HopError, UnsafeCommand."""
        offered = self.capabilities.auth
        if "PLAIN" in offered:
            lines = auth_plain(login, password)
        elif "LOGIN" in offered:
            lines = auth_login(login, password)
        else:
            return None
        for line in lines[:-1]:
            reply = await self._ask(line)
            if reply.code != 334:
                return reply
        self.shown = True
        reply = await self._ask(lines[-1])
        if reply.code == 334:  # it asks for more than there is
            return await self._ask(b"*\r\n")
        return reply


class HopAuth:
    """The next hops that are asked. *now* never steps."""

    def __init__(self, config: Config, routes: Routes, resolver: Resolver, contexts: Contexts, now: Callable[[], float]) -> None:
        """Raises RouteError where ``submission.next_hop`` is none."""
        self._config = config
        self._routes = routes
        self._resolver = resolver
        self._contexts = contexts
        self._now = now
        patient = config.limits
        self._limits = patient.model_copy(
            update={
                "relay_connect": min(patient.relay_connect, _CONNECT), "relay_command": min(patient.relay_command, _COMMAND),
                "tls_handshake": min(patient.tls_handshake, _CONNECT),
            }
        )  # fmt: skip
        self._one = named_hop(config)
        self._breakers: dict[NextHop, Breaker] = {}
        self._room = asyncio.Semaphore(AT_ONCE)
        self._here = 0

    def hop_for(self, login: str) -> NextHop | None:
        """The hop that knows the canonical *login*: ``submission.next_hop``, else where mail for its domain goes."""
        if self._one is not None:
            return self._one
        return self._routes.find(domain_of(address_of(login))) if address_of(login) else None

    async def ask(self, hop: NextHop, login: str, password: bytes, allowed: Callable[[], bool]) -> tuple[Answer, bool]:
        """What *hop* says to the credentials, and whether it was shown them. Never raises; a hop that is away is LATER.

        *allowed* is asked when it is this one's turn; LATER where it says no.
        """
        if self._here >= AT_ONCE + WAITING:
            return Answer.LATER, False
        self._here += 1
        try:
            async with self._room:
                breaker = self._breakers.setdefault(hop, Breaker(self._now))
                if not allowed() or breaker.open:
                    return Answer.LATER, False
                return await self._converse(hop, breaker, login, password)
        finally:
            self._here -= 1

    async def _converse(self, hop: NextHop, breaker: Breaker, login: str, password: bytes) -> tuple[Answer, bool]:
        connection: SignIn | None = None
        try:
            async with asyncio.timeout(PATIENCE):
                connection = await self.open(hop)
                reply = await connection.authenticate(login, password)
        except (HopError, TimeoutError) as failure:
            error = failure if isinstance(failure, HopError) else HopError(Fault.DOWN, temporary("4.4.2", "no answer in time"))
            if connection is None:
                breaker.failed(error)
                # The text of a failed opening is ours, but for a refused greeting or EHLO, which came before any password.
                _log.warning("the next hop could not be asked about a login", hop=hop.name, reply=str(error.reply))
            else:
                connection.abort()
                _log.warning("the next hop broke off while it was asked about a login", hop=hop.name)
            return Answer.LATER, connection is not None and connection.shown
        except UnsafeCommand:
            assert connection is not None
            connection.quit()
            return Answer.NO, False
        connection.quit()
        breaker.worked()
        if reply is None:
            _log.error("the next hop offers neither AUTH PLAIN nor LOGIN over TLS", hop=hop.name)
            return Answer.LATER, False
        return self._judged(hop, reply), connection.shown

    def _judged(self, hop: NextHop, reply: HopReply) -> Answer:
        """What *reply* means. Its words are not logged: a hostile hop could repeat the password in them."""
        if reply.code == 235:
            return Answer.YES
        enhanced = reply.as_reply().enhanced
        # 535 is the rule. Some servers say 525, 550 or 554 for an account that is disabled or unknown. What is wrong with the
        # mechanism or the syntax (50x, 530, 534, 538) says nothing about the password.
        if reply.code in (525, 535, 550, 554) or (reply.code // 100 == 5 and enhanced in ("5.7.8", "5.7.13")):
            return Answer.NO
        _log.warning("the next hop could not say whether a password is right", hop=hop.name, code=reply.code, enhanced=enhanced)
        return Answer.LATER

    async def open(self, hop: NextHop) -> SignIn:
        """A conversation over verified TLS, EHLO answered. Raises HopError."""
        opener = Opener(hop, self._limits, self._config.hostname, self._resolver, self._contexts, SignIn)
        if self._config.submission.implicit_tls and hop == self._one:
            return await opener.implicit()
        return await opener.secured(Trust.VERIFIED, Fault.DOWN)


def named_hop(config: Config) -> NextHop | None:
    """``submission.next_hop`` with its TLS rules; None where the config names none. Raises RouteError."""
    wanted = config.submission
    if not wanted.next_hop:
        return None
    return parse_next_hop(Route(domains=("*",), next_hop=wanted.next_hop, tls="required", tls_ca=wanted.tls_ca, tls_name=wanted.tls_name))

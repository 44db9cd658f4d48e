"""Who may sign in: the one place where a login and its password are decided about, for all door workers.

What it is: ``SignIns``, which answers ``Authenticate``: limits first, then the file or the next hop, then where the login may be
used from, then the senders it owns; every decision is recorded. For the IMAP door it answers ``MayLogIn`` with the same limits and
lists, and is told by ``LoggedIn`` what the server behind that door said.
Who calls it: ``service``, for a door's requests and for ``gateway logins test``.
Must never: say yes because something failed; keep or log a password; let the answer or its time tell whether a login exists; show
the next hop a password twice that it has refused.

One sentence answers a wrong login, a wrong password and a right password from an address where the login may not be used: 535 5.7.8
(RFC 4954 section 6, and the code that every mail program takes for a failed sign-in). A reply of its own for the third case would
tell whoever has stolen a password that it is right. The sentence names the address, so that its owner knows what to ask for.

Sources: RFC 4954 sections 4 and 6; RFC 6409 section 6.1; rules/README.md, R5, R6; hostile-inputs catalogue S37, S38, S39.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import traceback
from collections.abc import Callable
from typing import NamedTuple

import argon2

from gateway import logs
from gateway.address import matches
from gateway.config import Config
from gateway.relay.hop_tls import Contexts
from gateway.relay.routes import Resolver, RouteError, Routes
from gateway.relay.schedule import Clock
from gateway.reply import Reply
from gateway.requests import Authenticate, Authenticated, LoggedIn, MayLogIn, Permitted
from gateway.signin import login_file, login_names, passwords
from gateway.signin.hop_auth import HopAuth
from gateway.signin.login_asking import Asking
from gateway.signin.login_file import Login, LoginFileError, LoginTable
from gateway.signin.login_limits import Failures
from gateway.signin.login_names import LoginNameError
from gateway.signin.login_record import ACCEPTED, DEFERRED, REFUSED, Attempt, LoginRecord
from gateway.stores.base import StoreError

_log = logs.get("logins")

WELCOME = Reply(235, "2.7.0", "Signed in")
WRONG = "The login or the password is wrong"
PERMITTED = Reply(250, "2.0.0", "The server may be asked")
NOT_VPN = Reply(530, "5.7.0", "Connect through the government VPN and sign in before sending.")
OUR_FAULT = Reply(454, "4.7.0", "Sign-in is not possible at present. Please try again later.")
IMAP_VPN = Reply(530, "5.7.0", "Connect through the government VPN before you sign in.")
BUSY = Reply(454, "4.7.0", "Too many sign-ins at once. Please try again in a moment.")
LOGIN_BLOCKED = Reply(
    454, "4.7.0", "Too many wrong passwords for this login from your address. Correct it in your mail program and try again in an hour."
)
ADDRESS_BLOCKED = Reply(454, "4.7.0", "Too many failed sign-ins from your address. Try again in an hour, or ask your IT cell.")
HOP_AWAY = Reply(454, "4.7.0", "The mail server that knows the passwords cannot be asked at present. Please try again later.")
HOP_SPARED = Reply(454, "4.7.0", "Wrong passwords were tried for this login too often; the mail server is not asked again for 15 minutes.")


class Decided(NamedTuple):
    """What is answered, and why (for the record)."""

    reply: Reply
    cause: str
    guess: bool = False
    """Counts as a wrong password."""


class SignIns:
    """Decides about logins. *words_hash* keys the names that are none of ours; *clock* is the module ``time`` but in tests."""

    def __init__(
        self, config: Config, record: LoginRecord, words_hash: Callable[[str], str], hops: tuple[Routes, Resolver, Contexts], clock: Clock,
        checker: passwords.Checker | None = None,
    ) -> None:  # fmt: skip
        """Raises LoginFileError, RouteError."""
        self._config = config
        self._record = record
        self._words_hash = words_hash
        self._hops = hops
        self._clock = clock
        self._checker = checker or passwords.Checker()
        self._failures = Failures(config.limits, clock.monotonic, lambda ip: login_file.contains(self._named, ip))
        self._key = os.urandom(32)
        self._asking: Asking | None = None
        self.counters = {ACCEPTED: 0, REFUSED: 0, DEFERRED: 0}
        self._take(config, _load(config))

    def _take(self, config: Config, table: LoginTable) -> None:
        """Raises RouteError, and then nothing has changed."""
        asking = None
        if config.submission.check == "next-hop":
            if self._asking is not None and config == self._config:
                asking = self._asking  # what it has counted stays
                asking.forget()
            else:
                asking = Asking(config, HopAuth(config, *self._hops, self._clock.monotonic), self._clock.monotonic)
        self._asking = asking
        self._config, self._wanted = config, config.submission
        self._table, self._costs = table, _costs(table)
        self._vpn = login_file.networks_of(self._wanted.vpn)
        self._named = login_file.networks_of((*config.originators.networks, *config.submission.vpn))

    @property
    def lost_records(self) -> int:
        """Failed sign-ins whose record was lost since the store was away for long."""
        return self._record.dropped

    def start(self) -> None:
        """Begins to write the record."""
        self._record.start()

    async def stop(self) -> None:
        """Ends what is under way and writes what is left of the record."""
        if self._asking is not None:
            await self._asking.stop()
        self._checker.close()
        await self._record.stop()

    async def reload(self, config: Config) -> bool:
        """Takes *config* and its file anew, whole or not at all, and forgets what next hops have answered; says whether it did."""
        try:
            self._take(config, await asyncio.to_thread(_load, config))
        except (LoginFileError, RouteError) as error:
            _log.error("logins.reload_failed", **{"error.message": str(error)})
            return False
        _log.info("logins.reloaded", **{"gateway.logins": len(self._table.logins), "gateway.mailboxes": len(self._table.mailboxes)})
        return True

    # --- one sign-in --------------------------------------------------------------------------------------------------

    async def authenticate(self, request: Authenticate) -> Authenticated:
        """What the client is to be told, and whom it may send as. Never raises but for cancellation."""
        try:
            name = login_names.prepare(request.login)
        except LoginNameError:
            name = ""
        login = self._table.logins.get(name)
        fingerprint = self._fingerprint(name or request.login, request.password)
        try:
            decided = await self._decide(request, name, login, fingerprint)
        except Exception as error:
            # The text of the exception may hold what was being checked: its kind and place must do.
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{place.filename.rpartition('/')[2]}:{place.lineno}"
            _log.error("a sign-in failed through our own fault", **{"error.type": type(error).__name__, "error.place": where})
            decided = Decided(OUR_FAULT, "fault")
        if decided.guess:
            self._failures.failed(name, request.client_ip, fingerprint)
        action = ACCEPTED if decided.reply.code == 235 else DEFERRED if decided.reply.temporary else REFUSED
        attempt = self._attempt(request.login, name, login, request.client_ip, request.door, action, decided.cause)
        if action != ACCEPTED:
            self.counters[action] += 1
            self._record.failed(attempt)
            return Authenticated(decided.reply)
        try:
            await self._record.accepted(attempt)
        except StoreError as error:
            _log.error("a sign-in could not be recorded", **{"error.message": str(error)})
            self.counters[DEFERRED] += 1
            return Authenticated(OUR_FAULT)
        self._failures.succeeded(name, request.client_ip)
        self.counters[ACCEPTED] += 1
        return Authenticated(decided.reply, name, self.senders(name, request.client_ip))

    def senders(self, name: str, ip: str) -> tuple[str, ...]:
        """The patterns of the envelope senders that the canonical login *name* may use from *ip*."""
        return self._table.senders(name, ip, self._config.application)

    async def _decide(self, request: Authenticate, name: str, login: Login | None, fingerprint: bytes) -> Decided:
        ip = request.client_ip
        if self._vpn and not login_file.contains(self._vpn, ip):
            return Decided(NOT_VPN, "not-vpn")
        if blocked := self._blocked(name, ip):
            return blocked
        secret = login_names.secret(request.password)
        if self._asking is None:
            if self._wanted.logins is None:
                return Decided(OUR_FAULT, "no-logins-file")
            return await self._by_file(name, login, secret, ip)
        return await self._by_hop(request, name, login, secret, fingerprint)

    async def _by_file(self, name: str, login: Login | None, secret: bytes | None, ip: str) -> Decided:
        """Every sign-in costs one verification, whoever it is for."""
        known = login.password if login is not None else passwords.dummy(self._cost_for(name))
        try:
            right = await self._checker.check(known, secret or b"", lambda: not self._blocked(name, ip))
        except passwords.Busy:
            return Decided(BUSY, "busy")
        except argon2.exceptions.Argon2Error as error:
            _log.error("a password hash could not be used", **{"error.type": type(error).__name__})
            return Decided(OUR_FAULT, "fault")
        if right is None:
            return self._blocked(name, ip) or Decided(BUSY, "busy")
        if login is None or secret is None or not right:
            return self._wrong(ip, "wrong-password" if login is not None else "unknown-login")
        if not login.may_come_from(ip):
            return self._wrong(ip, "network")
        return Decided(WELCOME, "password")

    async def _by_hop(self, request: Authenticate, name: str, login: Login | None, secret: bytes | None, fingerprint: bytes) -> Decided:
        """Only what can end in a yes is shown to the hop: ours by name, from where it may be used, with a possible password."""
        assert self._asking is not None
        ip = request.client_ip
        if secret is None or not name:
            return self._wrong(ip, "wrong-password")
        if login is None and not self._is_ours(name):
            return self._wrong(ip, "unknown-login")
        if login is not None and not login.may_come_from(ip):
            return self._wrong(ip, "network")
        found = await self._asking.ask(name, request.login, secret, fingerprint, ip, lambda: not self._blocked(name, ip))
        match found:
            case "yes" | "remembered-yes":
                return Decided(WELCOME, found)
            case "no" | "remembered-no":
                return self._wrong(ip, found)
            case "spared":
                # Counted as a wrong one: else a password that was right before could be found out by asking often enough.
                return Decided(HOP_SPARED, found, guess=True)
            case "no-route":
                return self._wrong(ip, "unknown-login")
        return self._blocked(name, ip) or Decided(HOP_AWAY, found)

    def _blocked(self, name: str, ip: str) -> Decided | None:
        why = self._failures.blocked(name, ip)
        if not why:
            return None
        return Decided(ADDRESS_BLOCKED if why == "address" else LOGIN_BLOCKED, f"too-many-{why}")

    def _wrong(self, ip: str, cause: str) -> Decided:
        text = f"{WRONG}."
        if self._table.restricted:
            text = f"{WRONG}, or the login may not be used from your address {ip}. Ask your IT cell."
        return Decided(Reply(535, "5.7.8", text), cause, guess=True)

    # --- the IMAP door: its server checks the password -----------------------------------------------------------------

    async def may_log_in(self, request: MayLogIn) -> Permitted:
        """Whether the server may be asked about the login. Never raises but for cancellation."""
        ip = request.client_ip
        try:
            name = login_names.prepare(request.login)
        except LoginNameError:
            name = ""
        mailbox = self._mailbox_of(name)
        names = self._spellings(name)
        entries = [self._table.logins[one] for one in names if one in self._table.logins]
        login = entries[0] if entries else None
        decided: Decided | None = None
        if self._vpn and not login_file.contains(self._vpn, ip):
            decided = Decided(IMAP_VPN, "not-vpn")
        elif blocked := next(filter(None, (self._blocked(one, ip) for one in names)), None):
            decided = blocked
        elif not name or not all(one.may_come_from(ip) for one in entries):
            decided = self._wrong(ip, "network" if name else "unknown-login")
        elif not mailbox:
            decided = self._wrong(ip, "no-mailbox")
        elif any(self._failures.crowded(one, ip) for one in names):
            decided = Decided(BUSY, "busy")
        if decided is None:
            for one in names:
                self._failures.asked(one, ip)
            return Permitted(PERMITTED, name, mailbox)
        if decided.guess:
            fingerprint = self._fingerprint(mailbox or name or request.login, "")
            for one in names:
                self._failures.failed(one, ip, fingerprint)
        self._not_accepted(request.login, name, login, ip, decided)
        return Permitted(decided.reply)

    async def logged_in(self, said: LoggedIn) -> None:
        """Counts and records what the IMAP server said to a login that it was shown."""
        name, ip = said.login, said.client_ip
        names = self._spellings(name)
        login = next((self._table.logins[one] for one in names if one in self._table.logins), None)
        for one in names:
            self._failures.answered(one, ip)
            if said.accepted:
                self._failures.succeeded(one, ip)
        if said.accepted:
            self.counters[ACCEPTED] += 1
            try:
                await self._record.accepted(self._attempt(name, name, login, ip, "imap", ACCEPTED, "password"))
            except StoreError as error:
                _log.error("a sign-in could not be recorded", **{"error.message": str(error)})
        elif said.refused:
            # We never see the password, so all wrong ones of a login are one guess of its address: a phone with an old password in it
            # must not shut out its neighbours. What the login itself may fail is counted each time.
            fingerprint = self._fingerprint(self._mailbox_of(name) or name, "")
            for one in names:
                self._failures.failed(one, ip, fingerprint)
            self._not_accepted(name, name, login, ip, Decided(Reply(535, "5.7.8", f"{WRONG}."), "wrong-password"))
        else:
            self._not_accepted(name, name, login, ip, Decided(HOP_AWAY, "imap-server-away"))

    def _not_accepted(self, typed: str, name: str, login: Login | None, ip: str, decided: Decided) -> None:
        action = DEFERRED if decided.reply.temporary else REFUSED
        self.counters[action] += 1
        self._record.failed(self._attempt(typed, name, login, ip, "imap", action, decided.cause))

    def _mailbox_of(self, name: str) -> str:
        """The address of the mailbox of the canonical login *name*; empty where none can be made of it."""
        if not name or "@" in name:
            return login_names.address_of(name)
        domain = self._imap_domain
        return login_names.address_of(f"{name}@{domain}") if domain else ""

    @property
    def _imap_domain(self) -> str:
        """Where the mailbox of a login without a domain is."""
        return self._config.imap.domain or next(iter(self._config.originators.domains), "")

    def _spellings(self, name: str) -> tuple[str, ...]:
        """The canonical login *name*, then the same mailbox as the IMAP server may know it, with and without its domain: what is listed
        or counted for one of them holds for all of them."""
        mailbox = self._mailbox_of(name)
        local, _, domain = mailbox.rpartition("@")
        ours = login_names.address_of(f"x@{self._imap_domain}").removeprefix("x@")
        return tuple(dict.fromkeys((name, *((local,) if domain and domain == ours else ()), mailbox or name)))

    # --- names --------------------------------------------------------------------------------------------------------

    def _is_ours(self, name: str) -> bool:
        """Whether *name* is an address of a domain of ours: the next hop may know many others, and is not ours to try them on."""
        domain = login_names.address_of(name).rpartition("@")[2]
        return any(matches(domain, own) for own in self._config.originators.domains)

    def _attempt(self, typed: str, name: str, login: Login | None, ip: str, door: str, action: str, cause: str) -> Attempt:
        known = name if login is not None or self._is_ours(name) or action == ACCEPTED else ""
        hidden = "" if known else self._words_hash(name or typed)
        return Attempt(action, known, hidden, ip, door, cause, login.department if login is not None else "")

    def _fingerprint(self, login: str, password: str) -> bytes:
        """What stands for the credentials in memory: nothing without the key, which ends with this process."""
        name = login.encode("utf-8", "surrogatepass")
        octets = len(name).to_bytes(8, "big") + name + password.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(octets, key=self._key, digest_size=32).digest()

    def _cost_for(self, name: str) -> passwords.Cost:
        """The parameters for a login that is not there: always the same for one name, and as common as those of the file."""
        digest = hashlib.blake2b(name.encode("utf-8"), key=self._key, digest_size=8).digest()
        return self._costs[int.from_bytes(digest, "big") % len(self._costs)]


def _load(config: Config) -> LoginTable:
    return login_file.load(config.submission.logins, config) if config.submission.logins is not None else login_file.NO_LOGINS


def _costs(table: LoginTable) -> list[passwords.Cost]:
    """The parameters of each login's hash, in a list of its own; those of ``passwords.make`` where there is none."""
    found = [passwords.cost_of(login.password) for login in table.logins.values() if login.password]
    return found or [passwords.Cost(65_536, 3, 4, 16, 32)]

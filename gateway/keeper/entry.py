"""Signing in: with a password and a code, with a one-time login, with OpenID Connect, or with the login of a mailbox.

What it is: ``Entry``, which answers those requests that somebody may make who is not signed in, and begins sessions.
Who calls it: ``service``.
Must never: say which of name, password and code was wrong, or take another time for one than for the other (W10); take a code twice;
begin a session before the sign-in is durable in the decision log; write a name down in clear that is nobody's (people type passwords
into the wrong field).
Sources: hostile-inputs catalogue W04, W10, W13, W17; RFC 6238 section 5.2; OpenID Connect Core 1.0.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Any, Protocol

from msgspec.structs import replace

from gateway import logs
from gateway.config import Config
from gateway.keeper.account import Secrets
from gateway.keeper.directory import Directory
from gateway.keeper.exceptions import Wrong
from gateway.keeper.one_time import Logins
from gateway.keeper.sessions import Sessions
from gateway.requests import Authenticate, Authenticated, Rows
from gateway.review import BeginOidc, EndOidc, Redeem, SignIn, SignInWays
from gateway.signin import login_file
from gateway.signin.backoff import Guesses
from gateway.signin.identity import Identity, OidcError, Provider
from gateway.signin.login_record import ACCEPTED, REFUSED, Attempt, LoginRecord
from gateway.stores.base import UserRow
from gateway.stores.reviewed import CredentialRow

_WRONG = "the name, the password or the code is wrong"
_ENDED = "this login was used already, or it is too old; ask for another one"
_NAME_MAX = 320
"""Characters of a name that is looked at; a longer one is nobody's."""
_log = logs.get("access")


class MailboxLogins(Protocol):
    """What is needed of the logins of the submission doors."""

    async def authenticate(self, request: Authenticate) -> Authenticated: ...


class Entry:
    """Begins sessions. *words_hash* keys the names that are nobody's; *provider* is None without OpenID Connect."""

    def __init__(
        self, config: Config, directory: Directory, sessions: Sessions, secrets: Secrets, logins: Logins, mailboxes: MailboxLogins,
        record: LoginRecord, words_hash: Callable[[str], str], provider: Provider | None,
    ) -> None:  # fmt: skip
        self._config = config
        self._directory = directory
        self._sessions = sessions
        self._secrets = secrets
        self._logins = logins
        self._mailboxes = mailboxes
        self._record = record
        self._words_hash = words_hash
        self._provider = provider
        named = login_file.networks_of(config.originators.networks)
        self._guesses = Guesses(config.limits, lambda: sessions.now, lambda ip: login_file.contains(named, ip))
        self._key = os.urandom(32)
        self._table: dict[type, Callable[[Any], Any]] = {
            SignIn: self._sign_in, Redeem: self._redeem, BeginOidc: self._begin_oidc, EndOidc: self._end_oidc, SignInWays: self._ways,
        }  # fmt: skip

    @property
    def answers(self) -> frozenset[type]:
        """The requests that it answers."""
        return frozenset(self._table)

    async def answer(self, request: Any) -> Rows:
        """The answer. Raises Wrong, StoreError."""
        answer: Rows = await self._table[type(request)](request)
        return answer

    async def _ways(self, _: SignInWays) -> Rows:
        submission = self._config.submission
        officer = submission.check == "next-hop" or submission.logins is not None
        oidc = self._config.oidc.name if self._provider is not None else ""
        return Rows(({"password": True, "oidc": oidc, "officer": officer, "totp": self._config.web.require_totp},))

    # --- password and code --------------------------------------------------------------------------------------------

    async def _sign_in(self, request: SignIn) -> Rows:
        if request.officer:
            return await self._mailbox(request)
        name, ip = request.name.strip()[:_NAME_MAX].casefold(), request.client_ip
        if blocked := self._guesses.blocked(name, ip):
            raise Wrong(blocked, 1)
        row = await self._directory.find(name)
        known = await self._secrets.of(row.name if row is not None else name)
        right = await self._secrets.is_right(known, request.password, lambda: not self._guesses.blocked(name, ip))
        if right is None:
            raise Wrong(self._guesses.blocked(name, ip) or _WRONG, 1)
        cause = await self._second(row, known.name, request.code, right=right)
        if cause != "password":
            self._guesses.failed(name, ip, self._fingerprint(name, request.password, request.code))
            hidden = "" if row is not None else self._words_hash(name)
            department = row.department if row is not None else ""
            self._record.failed(Attempt(REFUSED, row.name if row is not None else "", hidden, ip, "web", cause, department))
            raise Wrong(_WRONG, 1)
        assert row is not None
        self._guesses.succeeded(name, ip)
        return await self._begin(row, ip, cause)

    async def _second(self, row: UserRow | None, name: str, code: str, *, right: bool) -> str:
        """Why there is no sign-in, or ``password`` where there is one. The same is read and reckoned in every case, and only then is it
        looked at what was right; a code counts only with the right password, so that nobody uses up the codes of another."""
        async with self._secrets.one:
            known = await self._secrets.of(name)
            step = self._secrets.step(known, code)
            if row is None:
                return "unknown-login"
            if not right:
                return "wrong-password"
            if row.disabled:
                return "disabled"
            if known.totp:
                if not step:
                    return "wrong-code"
                await self._secrets.write(replace(known, counter=step))
            elif self._config.web.require_totp:
                return "no-second-factor"
            return "password"

    def _fingerprint(self, *parts: str) -> bytes:
        """What stands in memory for what was tried: nothing without the key, which ends with this process."""
        octets = b"\0".join(part[:1024].encode("utf-8", "surrogatepass") for part in parts)
        return hashlib.blake2b(octets, key=self._key, digest_size=32).digest()

    async def _begin(self, row: UserRow, ip: str, cause: str, *, one_time: bool = False, oidc: bool = False) -> Rows:
        await self._record.accepted(Attempt(ACCEPTED, row.name, "", ip, "web", cause, row.department))
        return Rows(({"session": self._sessions.begin(row.name, one_time=one_time, oidc=oidc), "user": row.name},))

    # --- the login of a mailbox, one-time logins ----------------------------------------------------------------------

    async def _mailbox(self, request: SignIn) -> Rows:
        said = await self._mailboxes.authenticate(Authenticate(request.name, request.password, request.client_ip, "web"))
        if said.reply.code == 530:
            raise Wrong("connect through the government VPN and sign in then", 1)
        if said.reply.code != 235:
            raise Wrong(
                "sign-in is not possible now; please try again later" if said.reply.temporary else "the login or the password is wrong", 1
            )
        session = self._sessions.begin(said.login, officer=True, senders=said.senders)
        return Rows(({"session": session, "user": said.login},))

    async def _redeem(self, request: Redeem) -> Rows:
        name = self._logins.redeem(request.token) if request.token else ""
        row = await self._directory.find(name) if name else None
        if row is None or row.disabled:
            raise Wrong(_ENDED, 1)
        return await self._begin(row, request.client_ip, "one-time-login", one_time=True)

    # --- OpenID Connect -----------------------------------------------------------------------------------------------

    async def _begin_oidc(self, _: BeginOidc) -> Rows:
        if self._provider is None:
            raise Wrong("this gateway has no OpenID Connect", 1)
        try:
            url, state = await self._provider.begin()
        except OidcError as error:
            raise Wrong(str(error), 3) from error
        return Rows(({"url": url, "state": state},))

    async def _end_oidc(self, request: EndOidc) -> Rows:
        if self._provider is None:
            raise Wrong("this gateway has no OpenID Connect", 1)
        try:
            identity = await self._provider.end(request.code, request.state)
        except OidcError as error:
            self._record.failed(Attempt(REFUSED, "", "", request.client_ip, "web", f"oidc-{error.cause}"))
            raise Wrong(str(error), 1) from error
        row = await self._known(identity)
        if row is None or row.disabled:
            cause = "disabled" if row is not None else "unknown-login"
            hidden = self._words_hash(identity.subject)
            self._record.failed(Attempt(REFUSED, row.name if row is not None else "", hidden, request.client_ip, "web", f"oidc-{cause}"))
            raise Wrong("nobody here has this account; ask the gateway's administrator to add your address", 1)
        return await self._begin(row, request.client_ip, "oidc", oidc=True)

    async def _known(self, identity: Identity) -> UserRow | None:
        """The person whom the provider names: by the subject that is kept, else, the first time, by the claim of the config."""
        async with self._secrets.one:
            kept = await self._secrets.by_subject(identity.subject)
            if kept is not None:
                return await self._directory.find(kept.name)
            if self._config.oidc.claim == "email":
                row = await self._directory.by_email(identity.email) if identity.email_verified else None
            else:
                row = await self._directory.find(identity.username) if identity.username else None
            if row is None:
                return None
            known: CredentialRow = await self._secrets.of(row.name)
            if known.subject and known.subject.startswith(f"{self._config.oidc.issuer} "):
                # The address belongs to somebody else at the provider now: a person is not handed on with it.
                _log.warning("an account of the provider was refused: its address belongs to another account", **{"user.name": row.name})
                return None
            if not row.disabled:
                await self._secrets.write(replace(known, subject=identity.subject))
            return row

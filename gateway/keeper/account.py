"""One's own account: who one is, password, codes of the device, language, ending sessions.

What it is: ``Account``, the requests about oneself, and ``Secrets``, how a person proves who he is, opened and sealed again.
Who calls it: ``reception`` through ``table``; ``entry`` and ``people`` take ``Secrets`` from here.
Must never: log or answer a password, a code, or a secret that is in force; change anything for a token of the API; put codes in force
that no device has shown.
Sources: hostile-inputs catalogue W04, W10, W13; RFC 6238; NIST SP 800-63B section 5.1.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import argon2
from msgspec.structs import replace

from gateway.audit import events
from gateway.config import Config
from gateway.keeper.access import Forbidden, Who
from gateway.keeper.directory import Directory, People
from gateway.keeper.exceptions import Wrong
from gateway.keeper.reception import Table
from gateway.keeper.sessions import FRESH, Sessions
from gateway.keeper.tokens import by_hand
from gateway.requests import Done, Rows
from gateway.review import BeginTotp, ConfirmTotp, SetLanguage, SetPassword, SignOut, WhoAmI
from gateway.roles import Act
from gateway.signin import password_rules, passwords, totp
from gateway.signin.login_limits import Window
from gateway.stores.base import Batch
from gateway.stores.reviewed import CredentialRow, ReviewBatch
from gateway.vault.vault import Vault, VaultError

LANGUAGES = frozenset({"en", "hi", "gu", "mr", "bn", "ta", "te", "kn", "ml", "pa", "or", "as", "ur"})
_TRIES = 10
"""Wrong old passwords, or wrong first codes, of one person in a quarter of an hour."""


class Secrets:
    """How people prove who they are. One change of a person's row at a time."""

    def __init__(self, store: People, vault: Vault, checker: passwords.Checker, clock: Callable[[], float]) -> None:
        self._store = store
        self._vault = vault
        self._checker = checker
        self._clock = clock
        self.one = asyncio.Lock()
        """Held by whoever reads a row to write it anew."""
        # A password that nobody has, and that costs what those of all others cost.
        self._nobody = passwords.dummy(passwords.cost_of(passwords.make(b"")))
        self._no_secret = totp.new_secret()

    async def of(self, name: str) -> CredentialRow:
        """The row of *name*; an empty one where there is none. Raises StoreError."""
        return await self._store.reviewing.credentials(name) or CredentialRow(name)

    async def write(self, row: CredentialRow, *audit: Any) -> None:
        """Raises StoreError."""
        row = replace(row, changed=self._clock())
        await self._store.write(Batch(review=ReviewBatch(credentials=(row,)), audit=list(audit)))

    async def is_right(self, row: CredentialRow | None, password: str, allowed: Callable[[], bool] = lambda: True) -> bool | None:
        """Whether *password* is that of *row*; takes the same time whether there is one or not. None where *allowed* says no when it
        is this one's turn. Raises Wrong when too many wait."""
        octets = password_rules.prepare(password)
        known = row.password if row is not None and row.password else self._nobody
        try:
            right = await self._checker.check(known, octets or b"", allowed)
        except passwords.Busy:
            raise Wrong("too many people sign in at this moment; please try again", 4) from None
        except argon2.exceptions.Argon2Error:
            return False
        return None if right is None else right and octets is not None and known is not self._nobody

    async def hash(self, password: str) -> str:
        """The hash to keep, made beside the loop."""
        octets = password_rules.prepare(password)
        assert octets is not None
        return await asyncio.to_thread(passwords.make, octets)

    async def by_subject(self, subject: str) -> CredentialRow | None:
        """Of the person whom an OpenID provider names so. Raises StoreError."""
        return await self._store.reviewing.credentials_by_subject(subject)

    def step(self, row: CredentialRow, code: str) -> int:
        """The step of *code* with the secret in force, 0 where it is wrong, was taken before, or there is no secret, which takes the
        same time. Raises Wrong."""
        secret = self.open(row.name, row.totp) if row.totp else self._no_secret
        step = totp.taken(secret, code, self._clock(), row.counter)
        return step if row.totp else 0

    def open(self, name: str, sealed: bytes) -> str:
        """The secret. Raises Wrong."""
        try:
            return self._vault.open_field(name, sealed).decode("ascii")
        except (VaultError, UnicodeDecodeError) as error:
            raise Wrong("the codes cannot be checked: the vault key of their secret is not here", 3) from error

    def seal(self, name: str, secret: str) -> bytes:
        """The secret as it is kept."""
        return self._vault.seal_field(name, secret)


class Account:
    """Answers about oneself."""

    def __init__(
        self, config: Config, directory: Directory, sessions: Sessions, secrets: Secrets, clock: Callable[[], float]
    ) -> None:  # fmt: skip
        self._hostname = config.hostname
        self._require_totp = config.web.require_totp
        self._directory = directory
        self._sessions = sessions
        self._secrets = secrets
        self._clock = clock
        self._wrong = Window(_TRIES, 900.0, lambda: sessions.now)

    def table(self) -> Table:
        """What it answers."""
        return {
            WhoAmI: (None, self._who_am_i), SetPassword: (None, self._set_password), BeginTotp: (None, self._begin_totp),
            ConfirmTotp: (None, self._confirm_totp), SetLanguage: (None, self._set_language), SignOut: (None, self._sign_out),
        }  # fmt: skip

    async def _who_am_i(self, _: WhoAmI, who: Who) -> Rows:
        if who.officer:
            return Rows((_row(who, "officer", password=True, totp=False, fresh=False),))
        row = await self._secrets.of(who.name)
        session = self._sessions.find(who.session, passive=True) if who.via == "web" else None
        provided = session is None or session.oidc
        fresh = not provided and (not row.password or (self._require_totp and not row.totp))
        return Rows((_row(who, "person", password=bool(row.password), totp=bool(row.totp), fresh=fresh),))

    async def _set_password(self, request: SetPassword, who: Who) -> Done:
        by_hand(who)
        lacking = password_rules.lacking(request.new, who.name, who.email)
        if lacking:
            raise Wrong(lacking)
        self._tried(who)
        async with self._secrets.one:
            row = await self._secrets.of(who.name)
            recent = self._recent(who)
            free = (who.fresh and recent) or (not row.password and (who.fresh or recent))
            if not free and not await self._secrets.is_right(row, request.old):
                self._wrong.note(who.name)
                raise Wrong("the old password is wrong", 1)
            changed = replace(row, password=await self._secrets.hash(request.new))
            await self._secrets.write(changed, self._event("password-changed", who))
        self._sessions.settled(who.session)
        self._sessions.end_all(who.name, keep=who.session)
        return Done()

    async def _begin_totp(self, _: BeginTotp, who: Who) -> Rows:
        by_hand(who)
        async with self._secrets.one:
            row = await self._secrets.of(who.name)
            if row.totp and not who.fresh and not self._recent(who):
                raise Forbidden("sign in again first: the codes are changed within a quarter of an hour after a sign-in")
            secret = totp.new_secret()
            await self._secrets.write(replace(row, totp_next=self._secrets.seal(who.name, secret)))
        return Rows(({"secret": secret, "uri": totp.uri(secret, who.name, self._hostname)},))

    async def _confirm_totp(self, request: ConfirmTotp, who: Who) -> Done:
        by_hand(who)
        self._tried(who)
        async with self._secrets.one:
            row = await self._secrets.of(who.name)
            if not row.totp_next:
                raise Wrong("there is no new secret to confirm; begin anew", 1)
            # A new secret has codes of its own: the last step that the old one showed does not count against it.
            step = self._secrets.step(replace(row, totp=row.totp_next, counter=0), request.code)
            if not step:
                self._wrong.note(who.name)
                raise Wrong("this code does not fit; look whether the time of your device is right, and take the code that it shows now", 1)
            await self._secrets.write(replace(row, totp=row.totp_next, totp_next=b"", counter=step), self._event("codes-changed", who))
        self._sessions.end_all(who.name, keep=who.session)
        return Done()

    async def _set_language(self, request: SetLanguage, who: Who) -> Done:
        if request.language not in LANGUAGES:
            raise Wrong("this language is not known")
        row = await self._directory.find(who.name)
        if row is not None and not who.officer:
            by_hand(who)
            await self._directory.write(Batch(users=[replace(row, language=request.language)]))
        return Done()

    async def _sign_out(self, request: SignOut, who: Who) -> Done:
        by_hand(who)
        if request.everywhere:
            self._sessions.end_all(who.name, officer=who.officer)
        self._sessions.end(who.session)
        return Done()

    def _recent(self, who: Who) -> bool:
        session = self._sessions.find(who.session, passive=True)
        return session is not None and self._sessions.now - session.began < FRESH

    def _tried(self, who: Who) -> None:
        if self._wrong.full(who.name):
            raise Wrong("too many wrong tries; please wait a quarter of an hour", 1)

    def _event(self, action: str, who: Who) -> Any:
        return events.act(action, self._clock(), who.name, "", ip=who.client_ip, department=who.department)


def _row(who: Who, kind: str, *, password: bool, totp: bool, fresh: bool) -> dict[str, Any]:
    acts: dict[str, Any] = {}
    for act in Act:
        if who.may(act):
            within = who.scope(act)
            acts[act.value] = None if within is None else sorted(within)
    return {
        "name": who.name, "email": who.email, "department": who.department, "language": who.language,
        "grants": [str(grant) for grant in who.grants], "acts": acts, "kind": kind, "password": password, "totp": totp, "fresh": fresh,
    }  # fmt: skip

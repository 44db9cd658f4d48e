"""Everything that people need to come in, put together: sessions, tokens, accounts, sign-in, and the reception behind them.

What it is: ``Entrance``.
Who calls it: ``service``.
Must never: answer a request before it is known who asks, but for those that begin a session or carry a signed link of their own.
Source: docs/design.md section 2 (the keeper enforces, the web process only carries).
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path as FilePath
from typing import Any

from gateway.config import Config
from gateway.ipc import Credentials
from gateway.keeper.access import Absent, Access
from gateway.keeper.account import Account, Secrets
from gateway.keeper.accounts import Accounts
from gateway.keeper.directory import Directory
from gateway.keeper.entry import Entry, MailboxLogins
from gateway.keeper.one_time import Logins
from gateway.keeper.people import PeopleDesk
from gateway.keeper.reception import Reception, Table
from gateway.keeper.sessions import Sessions
from gateway.keeper.tokens import TokenBook
from gateway.relay.schedule import Clock
from gateway.requests import Rows
from gateway.review import As
from gateway.signin.identity import Provider
from gateway.signin.login_record import LoginRecord
from gateway.signin.passwords import Checker
from gateway.stores.base import Store
from gateway.vault import vault

Open = Mapping[type, Callable[[Any], Awaitable[Any]]]
"""Requests without a person that another service answers: type to handler."""


class Entrance:
    """The way in. ``open`` once, when all services are there."""

    def __init__(
        self, config: Config, store: Store, the_vault: vault.Vault, mailboxes: MailboxLogins, record: LoginRecord, checker: Checker,
        clocks: Clock,
    ) -> None:  # fmt: skip
        """*clocks*: the module ``time`` but in tests. Raises VaultError where the secret for the OpenID provider cannot be read."""
        web, clock = config.web, clocks.time
        self.logins = Logins(clocks.monotonic)
        directory = Directory(store)
        sessions = Sessions(web.session_idle, web.session_lifetime, web.sessions_per_person, clocks.monotonic)
        secrets = Secrets(store, the_vault, checker, clock)
        tokens = TokenBook(store, clock)
        self._people = PeopleDesk(store, directory, sessions, self.logins, clock)
        self._own: tuple[Table, ...] = (
            Account(config, directory, sessions, secrets, clock).table(), tokens.table(), self._people.table(),
        )  # fmt: skip
        self._entry = Entry(
            config, directory, sessions, secrets, self.logins, mailboxes, record, the_vault.words_hash, _provider(config)
        )  # fmt: skip
        self._access = Access(store, directory, sessions, tokens, require_totp=web.require_totp)
        self._accounts: Accounts | None = None

    def open(self, accounts: Accounts, tables: Iterable[Table], unsigned: Open | None = None) -> None:
        """Takes the *tables* of the services that people use, and what answers requests *unsigned* beside the sign-in."""
        self._accounts = accounts
        self._unsigned: dict[type, Callable[[Any], Awaitable[Any]]] = {
            **dict.fromkeys(self._entry.answers, self._entry.answer), **(unsigned or {}),
        }  # fmt: skip
        self._reception = Reception(self._access, (*self._own, *tables))

    async def answer(self, request: Any) -> tuple[Any, bytes]:
        """The answer to a request of the web process and its body. Raises Wrong, StoreError."""
        if isinstance(request, As):
            return await self._reception.answer(request)
        handler = self._unsigned.get(type(request))
        if handler is None:
            raise Absent
        answer = await handler(request)
        return answer if isinstance(answer, tuple) else (answer, b"")

    async def for_admin(self, request: Any, peer: Credentials) -> Rows:
        """The answer to a request about people from the command line. Raises Wrong, StoreError."""
        assert self._accounts is not None
        return await self._people.answer(request, await self._accounts.who(peer))


def _provider(config: Config) -> Provider | None:
    """The OpenID provider; None where the config names none. Raises VaultError for a secret that cannot be read."""
    options = config.oidc
    if not options.issuer:
        return None
    from gateway.signin.oidc import OidcProvider  # what it needs takes long to import, and most gateways do not need it

    path = options.client_secret_file
    if path is None and options.credential:
        folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
        if not folder:
            raise vault.VaultError(f"oidc.credential is {options.credential}, but no CREDENTIALS_DIRECTORY is set; start it with systemd")
        path = FilePath(folder) / options.credential
    secret = vault.read_secret(path).decode("utf-8", "replace").strip() if path is not None else ""
    return OidcProvider(options, config.web.public_url.rstrip("/") + "/login/oidc/callback", secret)

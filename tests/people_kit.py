"""The keeper's way in around one store, with clocks that tests move: people sign in, ask and are changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyotp
import pytest
from argon2 import low_level

from gateway.audit.audit import AuditChain
from gateway.config import Config
from gateway.ipc import Credentials
from gateway.keeper.accounts import Accounts
from gateway.keeper.entrance import Entrance
from gateway.keeper.exceptions import Wrong
from gateway.reply import Reply
from gateway.requests import AddUser, Authenticate, Authenticated, Rows
from gateway.review import As, BeginTotp, ConfirmTotp, Redeem, SetPassword, SignIn, WhoAmI
from gateway.signin import passwords
from gateway.signin.login_record import LoginRecord
from gateway.stores.sqlite.store import SqliteStore
from tests.keeper_kit import make_vault

PASSWORD = "heron-lotus-banyan-42"
IP = "10.1.2.3"


def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes that take a millisecond."""
    monkeypatch.setattr(
        passwords, "make", lambda octets: low_level.hash_secret(octets, b"s" * 16, 3, 12_288, 1, 32, low_level.Type.ID).decode()
    )


class Clocks:
    """Both clocks; a test moves them."""

    def __init__(self) -> None:
        self.wall, self.mono = 1_790_000_000.0, 500.0

    def time(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.mono

    def advance(self, seconds: float) -> None:
        self.wall += seconds
        self.mono += seconds


class Mailboxes:
    """The submission logins: one mailbox."""

    def __init__(self) -> None:
        self.asked: list[Authenticate] = []

    async def authenticate(self, request: Authenticate) -> Authenticated:
        self.asked.append(request)
        if (request.login, request.password) == ("so@dept.gov.in", "mailbox-password"):
            return Authenticated(Reply(235, "2.7.0", "Signed in"), request.login, ("so@dept.gov.in", "budget@dept.gov.in"))
        return Authenticated(Reply(535, "5.7.8", "wrong"))


class Counted:
    """Counts verifications, and verifies."""

    def __init__(self) -> None:
        self.calls = 0

    def verify(self, text: str, octets: bytes) -> bool:
        self.calls += 1
        return passwords.verify(text, octets)


class Way:
    """The way in. ``await Way(folder).open()``."""

    def __init__(self, folder: Path, tables: tuple[Any, ...] = (), **options: Any) -> None:
        self.config = Config(state_dir=folder, hostname="gw1.dept.gov.in", **options)
        self.clocks = Clocks()
        self.store = SqliteStore(folder / "gateway.db")
        self.counted = Counted()
        self.checker = passwords.Checker(self.counted.verify)
        self.mailboxes = Mailboxes()
        self._tables = tables

    async def open(self) -> Way:
        await self.store.open(AuditChain("c1"))
        vault = make_vault()
        self.record = LoginRecord(self.store, self.config.hostname, self.clocks)
        self.entrance = Entrance(self.config, self.store, vault, self.mailboxes, self.record, self.checker, self.clocks)
        self.entrance.open(Accounts(self.store), self._tables)
        return self

    async def close(self) -> None:
        self.checker.close()
        await self.store.close()

    async def __aenter__(self) -> Way:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # --- asking -------------------------------------------------------------------------------------------------------

    async def web(self, request: Any) -> Any:
        """What the web process is answered; Wrong is raised."""
        answer, _ = await self.entrance.answer(request)
        return answer

    async def ask(self, credential: str, request: Any, **more: Any) -> Any:
        return await self.web(As(credential, request, IP, **more))

    async def row(self, credential: str, request: Any) -> dict[str, Any]:
        (row,) = (await self.ask(credential, request)).rows
        found: dict[str, Any] = row
        return found

    async def root(self, request: Any) -> tuple[dict[str, Any], ...]:
        return (await self.entrance.for_admin(request, Credentials(1, 0, 0))).rows

    async def refused(self, request: Any, credential: str = "") -> Wrong:
        """What a request is refused with."""
        try:
            await (self.ask(credential, request) if credential else self.web(request))
        except Wrong as error:
            return error
        raise AssertionError(f"{type(request).__name__} was not refused")

    # --- people -------------------------------------------------------------------------------------------------------

    async def add(self, name: str, *grants: str, **fields: Any) -> None:
        await self.root(AddUser(name, grants=grants, **fields))

    async def one_time(self, name: str) -> str:
        """A session begun by a one-time login."""
        return await self.session(Redeem(self.entrance.logins.make(name), IP))

    async def session(self, request: Any) -> str:
        answer = await self.web(request)
        assert isinstance(answer, Rows)
        return str(answer.rows[0]["session"])

    async def person(self, name: str, *grants: str, **fields: Any) -> tuple[str, str]:
        """A person with password and codes: the session in which they were set up, and the secret of the codes."""
        await self.add(name, *grants, **fields)
        session = await self.one_time(name)
        await self.ask(session, SetPassword(PASSWORD))
        secret = str((await self.row(session, BeginTotp()))["secret"])
        await self.ask(session, ConfirmTotp(self.code(secret)))
        self.clocks.advance(60)  # the code is used up
        return session, secret

    def code(self, secret: str) -> str:
        return pyotp.TOTP(secret).at(int(self.clocks.wall))

    async def sign_in(self, name: str, secret: str = "", password: str = PASSWORD, ip: str = IP) -> str:
        return await self.session(SignIn(name, password, self.code(secret) if secret else "", ip))

    async def who(self, session: str) -> dict[str, Any]:
        return await self.row(session, WhoAmI())

    async def said(self, action: str) -> list[dict[str, Any]]:
        """The rows of the decision log of one action."""
        await self.record._flush()
        rows = [json.loads(row.line) for row in await self.store.audit_rows()]
        return [row for row in rows if row["event"]["action"] == action]

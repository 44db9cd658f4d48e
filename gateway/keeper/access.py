"""Who is asking: the person behind a request, with his roles, and the three ways of saying no.

What it is: ``Who``; ``Access``, which finds him by a session or a token; ``NotSignedIn``, ``Forbidden`` and ``Absent``.
Who calls it: every service of the keeper that people use; ``reception`` and ``accounts`` make a Who.
Must never: take a name for a person that no credential proves; let "there is none" and "it is not yours" look different (W05); keep
what a person may do from one request to the next (W13).
Sources: docs/design.md section 2; hostile-inputs catalogue W04, W05, W13, W16, W17.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.keeper.directory import Directory, People
from gateway.keeper.exceptions import Wrong
from gateway.keeper.sessions import Sessions, hash_of
from gateway.requests import ABSENT, FORBIDDEN, SIGNED_OUT
from gateway.roles import Act, Grant, may, scope
from gateway.stores.base import UserRow
from gateway.stores.reviewed import TokenRow

TOKEN_PREFIX = "gwt_"  # noqa: S105 - what every token of the API begins with
_LONGEST = 200


class NotSignedIn(Wrong):
    """The credential proves nobody (any more)."""

    def __init__(self) -> None:
        super().__init__("your session has ended; please sign in again", SIGNED_OUT)


class Forbidden(Wrong):
    """The person's roles do not permit it."""

    def __init__(self, text: str = "your role does not permit this") -> None:
        super().__init__(text, FORBIDDEN)


class Absent(Wrong):
    """There is none, or none that this person may see: the answer is the same."""

    def __init__(self, text: str = "there is no such record") -> None:
        super().__init__(text, ABSENT)


@dataclass(frozen=True, slots=True)
class Who:
    """The person behind one request; read anew for each, so that a changed role holds at once."""

    name: str
    email: str = ""
    system_user: str = ""
    """Of this machine, that is mapped to the person."""
    department: str = ""
    grants: tuple[Grant, ...] = ()
    language: str = ""
    via: str = "web"
    """web, api or cli: for the log."""
    by: str = ""
    """The system user who acts as this person from the command line."""
    client_ip: str = ""
    session: bytes = b""
    """The hash of the session or token: names it, and opens nothing."""
    officer: bool = False
    """Signed in with the login of a mailbox: may see his own stopped mail and nothing else."""
    fresh: bool = False
    """Signed in by a one-time login just now: may set a password without the old one."""
    scopes: frozenset[Act] | None = None
    """Of a token of the API; None: no limit beside the roles."""
    senders: tuple[str, ...] = ()
    """Of an officer: the patterns of the addresses that his login may send as (``a@b``, ``@b``)."""
    trusted: bool = False
    """Root or the gateway's own user of this machine, acting as nobody in particular."""
    unfinished: bool = False
    """Has still to set up his second factor: may do no more than that."""

    @classmethod
    def of(cls, row: UserRow, **more: Any) -> Who:
        """The person of *row*; *more*: what the request says beside."""
        return cls(row.name, row.email, row.system_user, row.department, grants_of(row), row.language, **more)

    def may(self, act: Act, department: str | None = None) -> bool:
        """Whether this person may do *act* in *department* (None: in any)."""
        return (self.scopes is None or act in self.scopes) and may(self.grants, act, department)

    def scope(self, act: Act) -> frozenset[str] | None:
        """The departments in which this person may do *act*; None: in all."""
        return frozenset() if self.scopes is not None and act not in self.scopes else scope(self.grants, act)

    def need(self, act: Act, department: str | None = None) -> None:
        """Raises Forbidden where ``may`` says no."""
        if not self.may(act, department):
            raise Forbidden


def grants_of(row: UserRow) -> tuple[Grant, ...]:
    """The roles of a person; one that this version does not know gives nothing, and nothing to a person who is disabled."""
    found: list[Grant] = []
    for text in () if row.disabled else row.grants:
        with contextlib.suppress(ValueError):
            found.append(Grant.parse(text))
    return tuple(found)


class Tokens(Protocol):
    """The tokens of the API."""

    async def used(self, key: bytes) -> TokenRow | None:
        """The one with the hash *key* that is in force, which is used now; None where there is none. Raises StoreError."""


class Access:
    """Finds the person behind a credential: the token of a session, or a token of the API."""

    def __init__(self, store: People, directory: Directory, sessions: Sessions, tokens: Tokens, *, require_totp: bool = True) -> None:
        self._store = store
        self._directory = directory
        self._sessions = sessions
        self._tokens = tokens
        self._require_totp = require_totp

    async def who(self, credential: str, client_ip: str, *, passive: bool = False) -> Who:
        """The person. *passive*: asked by an open page, not by a person's hand. Raises NotSignedIn, StoreError."""
        if not 20 <= len(credential) <= _LONGEST:
            raise NotSignedIn
        key = hash_of(credential)
        if credential.startswith(TOKEN_PREFIX):
            return await self._by_token(key, client_ip)
        session = self._sessions.find(key, passive=passive)
        if session is None:
            raise NotSignedIn
        if session.officer:
            address = session.name if "@" in session.name else ""
            return Who(session.name, address, client_ip=client_ip, session=key, officer=True, senders=session.senders)
        row = await self._directory.find(session.name)
        if row is None or row.disabled:
            self._sessions.end_all(session.name)
            raise NotSignedIn
        unfinished = False
        if self._require_totp and not session.oidc:
            known = await self._store.reviewing.credentials(row.name)
            unfinished = known is None or not known.totp
        return Who.of(row, client_ip=client_ip, session=key, fresh=session.one_time, unfinished=unfinished)

    async def _by_token(self, key: bytes, client_ip: str) -> Who:
        token = await self._tokens.used(key)
        row = await self._directory.find(token.user) if token is not None else None
        if token is None or row is None or row.disabled:
            raise NotSignedIn
        scopes = frozenset(act for act in Act if act.value in token.scopes)
        return Who.of(row, via="api", client_ip=client_ip, session=key, scopes=scopes)

"""The people who work with the gateway, as administrators see and change them.

What it is: ``PeopleDesk``: listing, adding, changing and inviting people, within the departments of whoever does it.
Who calls it: ``reception`` through ``table``, ``service`` for the command line.
Must never: let somebody change his own roles, or give more than he may manage; leave a gateway without an administrator; let two names
be one person (two people release what is classified); keep a session or a login alive of somebody who was invited anew or disabled.
Sources: hostile-inputs catalogue W05, W13; docs/design.md section 4 (two people).
"""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from gateway.audit import events
from gateway.keeper.access import Absent, Forbidden, Who, grants_of
from gateway.keeper.directory import Directory, People
from gateway.keeper.exceptions import Wrong
from gateway.keeper.one_time import Logins
from gateway.keeper.reception import Table
from gateway.keeper.sessions import Sessions
from gateway.requests import AddUser, ListUsers, Rows
from gateway.review import ChangeUser, InviteUser
from gateway.roles import EVERYWHERE, Act, Grant, Role, may
from gateway.stores.base import Batch, UserRow
from gateway.stores.reviewed import CredentialRow, ReviewBatch

_NAME, _VALUE, _GRANTS = 64, 320, 50


class PeopleDesk:
    """Answers administrators."""

    def __init__(self, store: People, directory: Directory, sessions: Sessions, logins: Logins, clock: Callable[[], float]) -> None:
        self._store = store
        self._directory = directory
        self._sessions = sessions
        self._logins = logins
        self._clock = clock
        self._one = asyncio.Lock()

    def table(self) -> Table:
        """What it answers."""
        return {
            ListUsers: (Act.USERS, self._list), AddUser: (Act.USERS, self._add), ChangeUser: (Act.USERS, self._change),
            InviteUser: (Act.USERS, self._invite),
        }  # fmt: skip

    async def answer(self, request: Any, who: Who) -> Rows:
        """For the command line. Raises Wrong, StoreError."""
        _, handler = self.table()[type(request)]
        who.need(Act.USERS)
        answer: Rows = await handler(request, who)
        return answer

    async def _list(self, _: ListUsers, who: Who) -> Rows:
        rows = [row for row in await self._directory.all() if _manages(who, row)]
        return Rows(tuple([await self._record(row) for row in rows]))

    async def _record(self, row: UserRow) -> dict[str, Any]:
        known = await self._store.reviewing.credentials(row.name)
        ways = {"password": bool(known and known.password), "totp": bool(known and known.totp), "oidc": bool(known and known.subject)}
        return {
            "name": row.name, "system_user": row.system_user, "email": row.email, "department": row.department, "created": row.created,
            "grants": list(row.grants), "disabled": row.disabled, "language": row.language, **ways,
        }  # fmt: skip

    async def _add(self, request: AddUser, who: Who) -> Rows:
        name = unicodedata.normalize("NFC", request.name.strip())
        if not name or len(name) > _NAME or not name.isprintable() or any(c.isspace() or c in "/\\?#%<>\"'" for c in name):
            raise Wrong(f"users: a name has 1 to {_NAME} printable characters, no blank and none of / \\ ? # % < > quotes")
        if request.system_user and who.via != "cli":
            raise Forbidden("users of the gateway's machine are mapped to people on that machine: gateway users add")
        department = _value(request.department).lower()
        grants = _grants(request.grants) if request.grants else _usual(department)
        row = UserRow(
            name, _value(request.system_user), _value(request.email), department, self._clock(), tuple(str(one) for one in grants)
        )
        if not _manages(who, row):
            raise Forbidden("this department, or one of these roles, is not yours to give")
        async with self._one:
            self._alone(row, await self._directory.all())
            event = events.act(
                "user-added", row.created, who.name, "", department=row.department, reviewer=name, system_user=row.system_user,
                email=row.email, grants=list(row.grants), by=who.by,
            )  # fmt: skip
            await self._directory.write(Batch(users=[row], audit=[event]))
        return Rows((await self._record(row),))

    def _alone(self, row: UserRow, others: Sequence[UserRow]) -> None:
        """Raises Wrong where *row* would be a second name of somebody."""
        name = unicodedata.normalize("NFKC", row.name).casefold()
        for other in others:
            if unicodedata.normalize("NFKC", other.name).casefold() == name:
                raise Wrong(f"there is a reviewer {other.name!r} already", 1)
            if row.system_user and other.system_user == row.system_user:
                raise Wrong(
                    f"the system user {row.system_user} is mapped to {other.name} already: two names for one person are one person", 1
                )
            if row.email and other.email.casefold() == row.email.casefold():
                raise Wrong(f"{other.name} has this address already: two names for one person are one person", 1)

    async def _change(self, request: ChangeUser, who: Who) -> Rows:
        async with self._one:
            people = await self._directory.all()
            row = self._found(request.name, people, who)
            changed = row
            if request.email is not None:
                changed = replace(changed, email=_value(request.email))
            if request.department is not None:
                changed = replace(changed, department=_value(request.department).lower())
            if request.grants is not None:
                changed = replace(changed, grants=tuple(str(one) for one in _grants(request.grants)))
            if request.disabled is not None:
                changed = replace(changed, disabled=request.disabled)
            if changed == row:
                return Rows((await self._record(row),))
            self._permitted(row, changed, who)
            others = [other for other in people if other.name != row.name]
            if changed.email != row.email:
                self._alone(replace(changed, system_user=""), others)
            if _administers(row) and not _administers(changed) and not any(_administers(other) for other in others):
                raise Wrong(f"{row.name} is the last administrator; make another one first", 1)
            event = events.act(
                "user-changed", self._clock(), who.name, "", department=changed.department, reviewer=row.name, by=who.by,
                changed=_differences(row, changed),
            )  # fmt: skip
            await self._directory.write(Batch(users=[changed], audit=[event]))
            if changed.disabled:
                self._sessions.end_all(row.name)
                self._logins.forget(row.name)
        return Rows((await self._record(changed),))

    def _found(self, name: str, people: Sequence[UserRow], who: Who) -> UserRow:
        row = next((row for row in people if row.name == name), None)
        if row is None or not who.may(Act.USERS, row.department):
            raise Absent("there is no such person")
        return row

    def _permitted(self, row: UserRow, changed: UserRow, who: Who) -> None:
        """Raises Forbidden where *who* may not make *changed* of *row*."""
        if who.name == row.name and not who.trusted and changed.grants != row.grants:
            raise Forbidden("nobody changes his own roles; ask another administrator")
        if not _manages(who, row) or not _manages(who, changed):
            raise Forbidden("this person has, or would have, roles in a department that is not yours")

    async def _invite(self, request: InviteUser, who: Who) -> Rows:
        async with self._one:
            row = self._found(request.name, await self._directory.all(), who)
            if who.name == row.name and not who.trusted:
                raise Forbidden("your own password and codes are changed on the page of your account")
            if not _manages(who, row):
                raise Forbidden("this person has roles in a department that is not yours")
            if row.disabled:
                raise Wrong(f"{row.name} is disabled; enable this person first", 1)
            now = self._clock()
            known = await self._store.reviewing.credentials(row.name) or CredentialRow(row.name)
            # The counter stays: a code that was taken stays taken. All else is set up anew by whoever holds the login.
            blank = CredentialRow(row.name, counter=known.counter, changed=now)
            tokens = tuple(token.id for token in await self._store.reviewing.tokens(row.name))
            event = events.act(
                "user-invited", now, who.name, "", department=row.department, reviewer=row.name, by=who.by, tokens_ended=len(tokens)
            )
            await self._directory.write(Batch(review=ReviewBatch(credentials=(blank,), drop_tokens=tokens), audit=[event]))
            self._sessions.end_all(row.name)
            return Rows(({"name": row.name, "token": self._logins.make(row.name)},))


def _value(text: str) -> str:
    value = text.strip()
    if len(value) > _VALUE or not value.isprintable():
        raise Wrong("users: a value is too long or holds characters that cannot be printed")
    return value


def _grants(texts: Sequence[str]) -> tuple[Grant, ...]:
    if len(texts) > _GRANTS:
        raise Wrong(f"users: a person has at most {_GRANTS} roles")
    try:
        return tuple(dict.fromkeys(Grant.parse(text) for text in texts))
    except ValueError as error:
        raise Wrong(f"users: {error}") from error


def _usual(department: str) -> tuple[Grant, ...]:
    """Reviewer and second approver: of the department, or of all where the person has none."""
    where = department or EVERYWHERE
    try:
        return tuple(Grant.parse(f"{role}@{where}") for role in (Role.REVIEWER, Role.APPROVER))
    except ValueError as error:
        raise Wrong(f"users: {error}") from error


def _manages(who: Who, row: UserRow) -> bool:
    """Whether *who* may manage the person and every role that the person has."""
    within = who.scope(Act.USERS)
    if within is None:
        return True
    # A role that this version does not know belongs to all departments: nobody of one department may touch it.
    departments = {text.partition("@")[2] or EVERYWHERE for text in row.grants}
    return row.department in within and departments <= within


def _administers(row: UserRow) -> bool:
    """Whether the person administers all people."""
    return may(grants_of(row), Act.USERS, EVERYWHERE)


def _differences(row: UserRow, changed: UserRow) -> dict[str, Any]:
    """What is new, by field."""
    new = {name: getattr(changed, name) for name in ("email", "department", "grants", "disabled")}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in new.items() if value != getattr(row, name)}

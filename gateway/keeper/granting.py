"""The exception register, as people may read and write it on the pages: who asks is the requester, another person approves.

What it is: ``Granting``: the handlers of ``ListExceptions``, ``AddException`` and ``ExpireException``.
Who calls it: ``reception``.
Must never: take a requester's word for who he is; let a person of one department open the way of another.
Sources: docs/design.md section 5; rules/README.md, R13, R31; hostile-inputs catalogue W05.
"""

from __future__ import annotations

from msgspec.structs import replace

from gateway import inquiries
from gateway.config import Config
from gateway.keeper import records
from gateway.keeper.access import Absent, Forbidden, Who, grants_of
from gateway.keeper.exceptions import Register, Wrong
from gateway.keeper.reception import Table
from gateway.requests import Done, ExceptionRow, Rows
from gateway.roles import Act, may
from gateway.stores.base import Store, UserRow


class Granting:
    """See the module."""

    def __init__(self, config: Config, store: Store, register: Register) -> None:
        self._config = config
        self._store = store
        self._register = register

    def table(self) -> Table:
        """What people may ask."""
        return {
            inquiries.ListExceptions: (Act.EXCEPT, self._list), inquiries.AddException: (Act.EXCEPT, self._add),
            inquiries.ExpireException: (Act.EXCEPT, self._end),
        }  # fmt: skip

    async def _list(self, request: inquiries.ListExceptions, who: Who) -> Rows:
        found = await self._store.exceptions(all=True) if request.all else self._register.current.rows
        mine = [row for row in found if row.id > request.after and who.may(Act.EXCEPT, self._department(row.sender, row.recipient))]
        return Rows(tuple(records.exception(row) for row in mine[: request.limit or None]))

    async def _add(self, request: inquiries.AddException, who: Who) -> Rows:
        department = self._department(request.sender, request.recipient)
        if not who.may(Act.EXCEPT, department):
            raise Forbidden("you may ask for exceptions of your own department only; name its domain as the sender or the recipient")
        people = {one.name: one for one in await self._store.users()}
        approver = people.get(request.approver.strip())
        if approver is None or not may(grants_of(approver), Act.APPROVE, department):
            raise Wrong("the approver has to be a person with the role of second approver for this department", 1)
        if approver.name == who.name or _same(approver, who):
            raise Wrong("the approver of an exception cannot be its requester", 1)
        made = await self._register.add(replace(request, requester=who.name, approver=approver.name), who.name)
        return Rows((records.exception(made),))

    async def _end(self, request: inquiries.ExpireException, who: Who) -> Done:
        found: ExceptionRow | None = next((row for row in self._register.current.rows if row.id == request.id), None)
        if found is None or not who.may(Act.EXCEPT, self._department(found.sender, found.recipient)):
            raise Absent("there is no such active exception")
        await self._register.end(request, who.name)
        return Done()

    def _department(self, sender: str, recipient: str) -> str:
        """Whose entry it is: the official sender's, else the recipient's; one of many domains belongs to none, and needs a role for
        all departments."""
        domains = [pattern.strip().rpartition("@")[2].lower() for pattern in (sender, recipient)]
        ours = self._config.originators.domains
        return next(
            (one for one in domains if one in ours), "" if any(one in ("*", "") or one[0] == "." for one in domains) else domains[1]
        )


def _same(row: UserRow, who: Who) -> bool:
    return bool(row.email) and row.email.casefold() == who.email.casefold()

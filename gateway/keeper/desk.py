"""What reviewers, administrators and the web page may ask the keeper.

What it is: one method a request; every answer is a typed one, every mistake of a person a plain sentence.
Who calls it: ``service``, which has checked who is on the other end of the socket.
Must never: act for a person that the peer is not; answer with a fault's own words.
Source: docs/commands.md; docs/design.md section 10 ("Records").
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from gateway import requests
from gateway.ipc import Credentials
from gateway.keeper import records
from gateway.keeper.access import Absent
from gateway.keeper.accounts import Accounts
from gateway.keeper.exceptions import Register, Wrong
from gateway.keeper.logbook import Logbook, limited
from gateway.keeper.one_time import Logins
from gateway.keeper.quarantine import Quarantine
from gateway.requests import Done, Rows
from gateway.roles import Act
from gateway.stores.base import Store


class Acted(Protocol):
    """What became of an action on the queue."""

    @property
    def done(self) -> int: ...
    @property
    def problems(self) -> tuple[str, ...]: ...


class Queue(Protocol):
    """What is needed of the relay's queue actions."""

    async def act(self, action: str, ids: Sequence[str] = (), *, all: bool = False, user: str = "") -> Acted: ...


class Desk:
    """Answers people. *queue* is the relay's, *purge* is housekeeping's."""

    def __init__(
        self, store: Store, register: Register, quarantine: Quarantine, accounts: Accounts, logins: Logins, logbook: Logbook,
        queue: Queue, health: Callable[[], Awaitable[Any]], purge: Callable[[str], Awaitable[dict[str, Any]]],
    ) -> None:  # fmt: skip
        self._store = store
        self._register = register
        self._quarantine = quarantine
        self._accounts = accounts
        self._logins = logins
        self._queue = queue
        self._health = health
        self._purge = purge
        self._held = quarantine.table()
        self._logbook = logbook
        self._table: dict[type, Callable[[Any, Credentials], Awaitable[Any]]] = {
            requests.ListHeld: self._list_held, requests.ShowHeld: self._show_held, requests.ReleaseHeld: self._act_on_held,
            requests.RefuseHeld: self._act_on_held, requests.ExportHeld: self._act_on_held, requests.AskOfficer: self._act_on_held,
            requests.ReclassifyHeld: self._act_on_held, requests.ForwardHeld: self._act_on_held,
            requests.DecideAgain: self._act_on_held, requests.VerifyHeld: self._verify_held,
            requests.ListQueue: self._list_queue, requests.ShowDelivery: self._show_delivery,
            requests.ActOnQueue: self._act_on_queue, requests.SearchAudit: self._search_audit, requests.ShowAudit: self._show_audit,
            requests.ListExceptions: self._list_exceptions, requests.AddException: self._add_exception,
            requests.ExpireException: self._end_exception,
            requests.OneTimeLogin: self._login, requests.ListProfiles: self._list_profiles, requests.StartProfile: self._start_profile,
            requests.EndProfile: self._end_profile, requests.Purge: self._purge_now,
            requests.NoteMta: self._note_mta,
        }  # fmt: skip

    async def answer(self, request: Any, peer: Credentials) -> tuple[Any, bytes]:
        """The answer and its body. Raises Wrong, StoreError."""
        if isinstance(request, requests.Health):
            return await self._health(), b""
        answer = await self._table[type(request)](request, peer)
        return answer if isinstance(answer, tuple) else (answer, b"")

    # --- held mail ----------------------------------------------------------------------------------------------------

    async def _list_held(self, request: requests.ListHeld, peer: Credentials) -> Rows:
        who, mail = await self._accounts.who(peer), self._quarantine.mail
        who.need(Act.LIST)
        shown = []
        for row in await self._store.holds(all=request.all, limit=limited(request.limit), after=request.after):
            if who.may(Act.LIST, row.department):
                message = await self._store.message(row.message_id) if who.may(Act.CONTENT, row.department) and not row.sealed else None
                shown.append(records.held(row, mail.subject(message) if message is not None else ""))
        return Rows(tuple(shown))

    async def _show_held(self, request: requests.ShowHeld, peer: Credentials) -> Rows:
        try:
            return Rows((await self._quarantine.show(request.id, await self._accounts.who(peer)),))
        except Absent:
            return Rows(())

    async def _verify_held(self, request: requests.VerifyHeld, peer: Credentials) -> Rows:
        return Rows(tuple(await self._quarantine.verify(request.after, await self._accounts.who(peer))))

    async def _act_on_held(self, request: Any, peer: Credentials) -> Any:
        """What is recorded as the act of a person of the store."""
        who = await self._accounts.person(peer, request.user)
        act, handler = self._held[type(request)]
        if act is not None:
            who.need(act)
        return await handler(request, who)

    # --- queue and log ------------------------------------------------------------------------------------------------

    async def _list_queue(self, request: requests.ListQueue, peer: Credentials) -> Rows:
        return await self._logbook.queue(request, await self._accounts.who(peer))

    async def _show_delivery(self, request: requests.ShowDelivery, _: Credentials) -> Rows:
        one = await self._store.delivery(request.id)
        found = [one] if one is not None else await self._store.deliveries(reference=request.id)
        return Rows(tuple(records.delivery(row) for row in found))

    async def _act_on_queue(self, request: requests.ActOnQueue, peer: Credentials) -> Rows:
        user = await self._accounts.actor(peer, request.user)
        try:
            acted = await self._queue.act(request.action, request.ids, all=request.all, user=user)
        except ValueError as error:
            raise Wrong(f"queue: {error}") from error
        if acted.problems and not acted.done:
            raise Wrong("; ".join(acted.problems[:5]), 1)
        return Rows(({"action": request.action, "done": acted.done, "problems": list(acted.problems)},))

    async def _search_audit(self, request: requests.SearchAudit, peer: Credentials) -> Rows:
        return await self._logbook.search(request, await self._accounts.who(peer))

    async def _show_audit(self, request: requests.ShowAudit, peer: Credentials) -> Rows:
        return await self._logbook.show(request, await self._accounts.who(peer))

    # --- register and reviewers ---------------------------------------------------------------------------------------

    async def _list_exceptions(self, request: requests.ListExceptions, _: Credentials) -> Rows:
        found = await self._store.exceptions(all=True) if request.all else self._register.current.rows
        page = [row for row in found if row.id > request.after]
        return Rows(tuple(records.exception(row) for row in page[: request.limit or None]))

    async def _add_exception(self, request: requests.AddException, peer: Credentials) -> Rows:
        return Rows((records.exception(await self._register.add(request, await self._accounts.actor(peer, ""))),))

    async def _end_exception(self, request: requests.ExpireException, peer: Credentials) -> Done:
        await self._register.end(request, await self._accounts.actor(peer, request.user))
        return Done()

    async def _list_profiles(self, request: requests.ListProfiles, _: Credentials) -> Rows:
        found = await self._store.profiles(all=True) if request.all else self._register.current.profiles
        return Rows(tuple(records.profile(row) for row in found))

    async def _start_profile(self, request: requests.StartProfile, peer: Credentials) -> Rows:
        return Rows((records.profile(await self._register.start(request, await self._accounts.actor(peer, ""))),))

    async def _end_profile(self, request: requests.EndProfile, peer: Credentials) -> Rows:
        ended = await self._register.finish(request, await self._accounts.actor(peer, request.user))
        return Rows(tuple(records.profile(row) for row in ended))

    async def _note_mta(self, request: requests.NoteMta, peer: Credentials) -> Rows:
        noted = await self._register.note(request, await self._accounts.actor(peer, request.user))
        return Rows(tuple(records.profile(row) for row in noted))

    async def _purge_now(self, request: requests.Purge, peer: Credentials) -> Rows:
        return Rows((await self._purge(await self._accounts.actor(peer, request.user)),))

    async def _login(self, request: requests.OneTimeLogin, peer: Credentials) -> Rows:
        user = (await self._accounts.person(peer, request.user)).name
        return Rows(({"token": self._logins.make(user), "user": user},))

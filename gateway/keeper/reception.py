"""Where the requests of people who use the pages and the API come in: who it is, whether he may, and who answers.

What it is: ``Reception``, over the tables that each service gives: a request's type, the act that it needs, and its handler.
Who calls it: ``service``, for the web process.
Must never: call a handler before the person is known and the act permitted; answer a request that no service has put in its table.
Sources: docs/design.md section 2 (everything goes through the keeper as the signed-in person); hostile-inputs catalogue W05, W13, W16.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Protocol

from gateway.keeper.access import Absent, Forbidden, Who
from gateway.review import As
from gateway.roles import Act

Handler = Callable[[Any, Who], Awaitable[Any]]
"""Answers with Rows or Done, or with one of them and the frame's body. Raises Wrong, StoreError."""
Table = Mapping[type, tuple[Act | None, Handler]]
"""The act that a request needs anywhere at all; what it needs in one record's department the handler asks when it knows that record.
None: being signed in is enough."""
OPEN_TO_OFFICERS: frozenset[str] = frozenset({"WhoAmI", "SignOut", "SetLanguage", "MyMail"})
"""What somebody with no more than the login of a mailbox may ask."""
OPEN_TO_UNFINISHED: frozenset[str] = frozenset({"WhoAmI", "SignOut", "SetLanguage", "SetPassword", "BeginTotp", "ConfirmTotp"})
"""What somebody may ask who has still to set up his second factor."""


class Doorkeeper(Protocol):
    """Finds the person behind a credential."""

    async def who(self, credential: str, client_ip: str, *, passive: bool = False) -> Who:
        """Raises NotSignedIn, StoreError. *passive*: asked by an open page, not by a person's hand."""


class Reception:
    """Dispatches the requests of people."""

    def __init__(self, doorkeeper: Doorkeeper, tables: Iterable[Table]) -> None:
        self._doorkeeper = doorkeeper
        self._table: dict[type, tuple[Act | None, Handler]] = {}
        for table in tables:
            twice = self._table.keys() & table.keys()
            if twice:
                raise ValueError(f"two services answer {', '.join(sorted(one.__name__ for one in twice))}")
            self._table |= table

    @property
    def acts(self) -> dict[type, Act | None]:
        """What each request needs."""
        return {request: act for request, (act, _) in self._table.items()}

    async def answer(self, request: As) -> tuple[Any, bytes]:
        """The answer and its body. Raises Wrong, StoreError."""
        who = await self._doorkeeper.who(request.credential, request.client_ip, passive=request.passive)
        asked = type(request.request)
        if asked not in self._table:
            raise Absent
        act, handler = self._table[asked]
        if who.officer and asked.__name__ not in OPEN_TO_OFFICERS:
            raise Forbidden
        if who.unfinished and asked.__name__ not in OPEN_TO_UNFINISHED:
            raise Forbidden("set up your password and the codes of your device first, on the page of your account")
        if act is not None:
            who.need(act)
        answer = await handler(request.request, who)
        return answer if isinstance(answer, tuple) else (answer, b"")

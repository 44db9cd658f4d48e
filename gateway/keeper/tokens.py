"""Tokens of the API: made by a person for his own programs, with no more rights than he has himself.

What it is: ``TokenBook``: listing, making and ending one's own tokens, and finding the one that a request brings.
Who calls it: ``reception`` through ``table``; ``access``.
Must never: keep a token (its hash is kept); bring one back that was ended; let a token make another.
Sources: hostile-inputs catalogue O15 (no token revival), W13, W17; RFC 6750.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Any

from msgspec import structs

from gateway import logs
from gateway.audit import events
from gateway.envelope import new_id
from gateway.keeper.access import TOKEN_PREFIX, Absent, Forbidden, Who
from gateway.keeper.directory import People
from gateway.keeper.exceptions import Wrong
from gateway.keeper.reception import Table
from gateway.keeper.sessions import hash_of
from gateway.requests import Done, Rows
from gateway.review import AddToken, DropToken, ListTokens
from gateway.roles import Act
from gateway.stores.base import Batch, StoreError
from gateway.stores.reviewed import ReviewBatch, TokenRow

MOST = 20
"""Tokens of one person."""
LONGEST = 366 * 86400.0
"""Seconds after which a token has to be made anew."""
_NOTED = 3600.0
"""Seconds after which the use of a token is written down again."""
_log = logs.get("access")


class TokenBook:
    """The tokens."""

    def __init__(self, store: People, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        # One change at a time: noting the use of a token writes its row, and must not write one that was just ended.
        self._one = asyncio.Lock()

    def table(self) -> Table:
        """What it answers."""
        return {ListTokens: (None, self._list), AddToken: (None, self._add), DropToken: (None, self._drop)}

    async def used(self, key: bytes) -> TokenRow | None:
        """See ``access.Tokens``."""
        found = self._in_force(await self._store.reviewing.token(key))
        if found is None or self._clock() - found.used < _NOTED:
            return found
        async with self._one:
            found = self._in_force(await self._store.reviewing.token(key))
            if found is not None:
                try:
                    row = structs.replace(found, used=self._clock())
                    await self._store.write(Batch(review=ReviewBatch(tokens=(row,))))
                except StoreError as error:
                    _log.warning("the use of a token could not be noted", **{"error.message": str(error)})
        return found

    def _in_force(self, row: TokenRow | None) -> TokenRow | None:
        return row if row is not None and row.expires > self._clock() else None

    async def _list(self, _: ListTokens, who: Who) -> Rows:
        return Rows(tuple(record(row) for row in await self._store.reviewing.tokens(who.name)))

    async def _add(self, request: AddToken, who: Who) -> Rows:
        by_hand(who)
        name, now = " ".join(request.name.split()), self._clock()
        if not name or len(name) > 60 or not name.isprintable():
            raise Wrong("a token's name has 1 to 60 printable characters")
        scopes = tuple(sorted(set(request.scopes)))
        unknown = [scope for scope in scopes if scope not in {act.value for act in Act}]
        if unknown or not scopes:
            raise Wrong(f"a token's scopes are among {', '.join(Act)}")
        beyond = [scope for scope in scopes if not who.may(Act(scope))]
        if beyond:
            raise Forbidden(f"your role does not permit {beyond[0]}, so a token of yours cannot either")
        if not now < request.expires <= now + LONGEST:
            raise Wrong("a token ends within a year from now; give the time of its end")
        token = TOKEN_PREFIX + secrets.token_urlsafe(32)
        async with self._one:
            mine = await self._store.reviewing.tokens(who.name)
            if len(mine) >= MOST:
                raise Wrong(f"you have {MOST} tokens; end one first", 1)
            row = TokenRow(new_id(), who.name, name, scopes, hash_of(token), now, request.expires)
            event = events.act("token-added", now, who.name, "", token=row.id, scopes=list(scopes), expires=row.expires, ip=who.client_ip)
            await self._store.write(Batch(review=ReviewBatch(tokens=(row,)), audit=[event]))
        return Rows((record(row) | {"token": token},))

    async def _drop(self, request: DropToken, who: Who) -> Done:
        by_hand(who)
        async with self._one:
            if not any(row.id == request.id for row in await self._store.reviewing.tokens(who.name)):
                raise Absent("there is no such token")
            event = events.act("token-ended", self._clock(), who.name, "", token=request.id, ip=who.client_ip)
            await self._store.write(Batch(review=ReviewBatch(drop_tokens=(request.id,)), audit=[event]))
        return Done()


def by_hand(who: Who) -> None:
    """Raises Forbidden for a token of the API: one's own account is changed in a session only."""
    if who.via == "api":
        raise Forbidden("a token cannot change the account of its owner; sign in on the page")


def record(row: TokenRow) -> dict[str, Any]:
    """One token, without its hash."""
    return {
        "id": row.id, "name": row.name, "scopes": list(row.scopes), "created": row.created, "expires": row.expires, "used": row.used,
    }  # fmt: skip

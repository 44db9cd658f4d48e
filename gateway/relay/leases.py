"""Which deliveries of the store are this keeper's to try.

What it is: signs of life, taking leases, finding those that nobody works on, bringing near what a step of the clock put far away; and
``open_rows``, every delivery that has not ended.
Who calls it: the relay; ``queue_actions``.
Must never: take what another keeper has leased while it lives; let the relay begin with a delivery whose lease another keeper may have
taken; leave a committed delivery without anybody who tries it.
Sources: docs/design.md section 6 ("Leases name the keeper's incarnation"); hostile-inputs catalogue O12, O13, O15.

Why no two keepers deliver the same. Others take a keeper's leases when it gave no sign of life for ``DEAD`` seconds. It counts from the
moment before its last sign was sent, and begins no delivery once ``FIRM`` of them have passed. When it can give a sign again it learns
whether it was taken for dead, and then drops what is no longer leased to it. What is left is a transaction that began before and took
longer than the difference: there the next hop may have the message without anybody knowing, as with SMTP always.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection

from gateway import logs
from gateway.relay.schedule import Clock
from gateway.stores.base import Batch, Conflict, DeliveryRow, DeliveryState, DeliveryUpdate, Store, StoreError
from gateway.stores.sharing import BEAT_EVERY, FIRM

_OPEN = (DeliveryState.SCHEDULED, DeliveryState.DEFERRED)
_PAGE = 1000
_TOGETHER = 500
"""Deliveries that are brought near in one commit: a start over a hundred thousand of them must not take minutes."""
_MARGIN = 60.0  # seconds beyond the longest wait that are no sign of a step

Lose = Callable[[Collection[str]], int]
"""Drops all that is not among these ids; returns how many deliveries."""
_log = logs.get("relay")


class Leases:
    """The leases of *incarnation*. *longest* is the longest wait between two attempts, in seconds."""

    def __init__(self, store: Store, clock: Clock, incarnation: str, longest: float) -> None:
        self._store = store
        self._clock = clock
        self._incarnation = incarnation
        self._longest = longest
        self._seen: set[str] = set()
        self._until = float("-inf")
        self._signing = asyncio.Lock()
        self._in_doubt = False

    async def firm(self, lose: Lose) -> None:
        """Waits until this keeper may count on its leases: no time at all while its signs of life are in time."""
        while self._clock.monotonic() >= self._until:
            try:
                await self._sign(lose)
            except StoreError:
                await asyncio.sleep(1.0)

    async def live(self, lose: Lose, wake: Callable[[], None]) -> None:
        """Gives signs of life, and frees what keepers had leased that give none. Ends by being cancelled."""
        while True:
            await asyncio.sleep(BEAT_EVERY)
            try:
                await self._sign(lose)
                if released := await self._store.release_dead(self._incarnation):
                    _log.warning("deliveries of a keeper that is gone are scheduled again", deliveries=released)
                    wake()
            except StoreError as error:
                _log.error("no sign of life can be given", cause=str(error))

    async def _sign(self, lose: Lose) -> None:
        async with self._signing:
            before = self._clock.monotonic()
            if not await self._store.beat(self._incarnation):
                self._in_doubt = True  # until it is done, whatever fails on the way
                await self._store.release_leases(self._incarnation)
            if self._in_doubt:
                dropped = lose(await self.mine())
                self._in_doubt = False
                _log.error("other keepers took this one for dead; what they may have taken is dropped here", deliveries=dropped)
            self._until = before + FIRM

    async def begin(self) -> int:
        """At the start: returns how many deliveries of earlier keepers were freed. Raises StoreError."""
        before = self._clock.monotonic()
        released = await self._store.release_leases(self._incarnation)
        self._until = before + FIRM
        return released

    async def due(self, limit: int) -> list[DeliveryRow]:
        """At most *limit* deliveries whose time has come, leased now. Raises StoreError."""
        return await self._store.lease_due(self._clock.time(), limit, self._incarnation)

    async def mine(self) -> set[str]:
        """What is leased to this keeper. Raises StoreError."""
        return {row.id async for row in open_rows(self._store) if row.state is DeliveryState.LEASED and row.lease == self._incarnation}

    async def forgotten(self, mine: Collection[str]) -> list[DeliveryRow]:
        """Deliveries leased as ours that were not in *mine* (ids the relay works on) at two calls running.

        They were committed and never offered: the task between the two died. Raises StoreError.
        """
        found = {
            row.id: row
            async for row in open_rows(self._store)
            if row.state is DeliveryState.LEASED and row.lease == self._incarnation and row.id not in mine
        }
        again = [found[identifier] for identifier in self._seen & found.keys()]
        if again:
            _log.error("deliveries were committed and never offered to the relay; they go now", deliveries=len(again))
        self._seen = set(found)
        return again

    async def bring_near(self) -> None:
        """After a step of the clock (or a start, which may follow one): nothing waits longer than the longest wait. Raises StoreError."""
        horizon = self._clock.time() + self._longest + _MARGIN
        far: list[DeliveryRow] = []
        async for row in open_rows(self._store):
            if row.state in _OPEN and row.next_attempt > horizon:
                far.append(row)
            if len(far) >= _TOGETHER:
                await self._near(far)
                far = []
        if far:
            await self._near(far)

    async def _near(self, rows: list[DeliveryRow]) -> None:
        """Lets *rows* be due now, in one commit; where somebody changed one of them meanwhile each by itself."""
        now = self._clock.time()
        updates = [DeliveryUpdate(row.id, (row.state,), row.state, next_attempt=now) for row in rows]
        try:
            await self._store.write(Batch(delivery_updates=updates))
        except Conflict:
            for row in rows if len(rows) > 1 else ():
                await self._near([row])


async def open_rows(store: Store) -> AsyncIterator[DeliveryRow]:
    """Every delivery that has not ended, page by page. Raises StoreError."""
    after = ""
    while rows := await store.deliveries(limit=_PAGE, after=after):
        for row in rows:
            yield row
        after = rows[-1].id

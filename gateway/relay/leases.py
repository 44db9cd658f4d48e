"""Which deliveries of the store are this keeper's to try.

What it is: taking leases, finding those that nobody works on, and bringing near what a step of the clock put far away.
Who calls it: the relay's scheduler.
Must never: take what another keeper has leased while it lives; leave a committed delivery without anybody who tries it.
Sources: design.md section 6 ("Leases name the keeper's incarnation"); hostile-inputs catalogue O12, O13, O15.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection

from gateway import logs
from gateway.relay.schedule import Clock
from gateway.stores.base import Batch, Conflict, DeliveryRow, DeliveryState, DeliveryUpdate, Store

_OPEN = (DeliveryState.SCHEDULED, DeliveryState.DEFERRED)
_PAGE = 1000
_MARGIN = 60.0  # seconds beyond the longest wait that are no sign of a step

_log = logs.get("relay")


class Leases:
    """The leases of *incarnation*. *longest* is the longest wait between two attempts, in seconds."""

    def __init__(self, store: Store, clock: Clock, incarnation: str, longest: float) -> None:
        self._store = store
        self._clock = clock
        self._incarnation = incarnation
        self._longest = longest
        self._seen: set[str] = set()

    async def take(self, rows: list[DeliveryRow]) -> list[DeliveryRow]:
        """Those of *rows* that are ours now. Raises StoreError."""
        try:
            await self._store.write(
                Batch(delivery_updates=[DeliveryUpdate(row.id, _OPEN, DeliveryState.LEASED, lease=self._incarnation) for row in rows])
            )
        except Conflict:
            if len(rows) == 1:
                return []
            return [leased for row in rows for leased in await self.take([row])]
        return rows

    async def _open_rows(self) -> AsyncIterator[DeliveryRow]:
        after = ""
        while rows := await self._store.deliveries(limit=_PAGE, after=after):
            for row in rows:
                yield row
            after = rows[-1].id

    async def forgotten(self, mine: Collection[str]) -> list[DeliveryRow]:
        """Deliveries leased as ours that were not in *mine* (ids the relay works on) at two calls running.

        They were committed and never offered: the task between the two died. Raises StoreError.
        """
        found = {
            row.id: row
            async for row in self._open_rows()
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
        async for row in self._open_rows():
            if row.state in _OPEN and row.next_attempt > horizon:
                update = DeliveryUpdate(row.id, (row.state,), row.state, next_attempt=self._clock.time())
                try:
                    await self._store.write(Batch(delivery_updates=[update]))
                except Conflict:
                    continue

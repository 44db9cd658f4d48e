"""What keepers on one store need of each other, and how a store that has one keeper answers.

What it is: ``Sharing``, a part of every ``Store``, and ``Alone``: its meaning where a lock on the folder keeps every other keeper out.
Who calls it: ``base``, which every store implements; the relay for its leases; the keeper for what one node does for all.
Must never: give a delivery to two keepers; let a job of the whole installation run twice at once.
Sources: docs/design.md sections 6 and 9; hostile-inputs catalogue O12, O13.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from gateway.stores.base import Batch, DeliveryRow

BEAT_EVERY = 5.0
"""Seconds between two signs of life of a keeper."""
FIRM = 20.0
"""Seconds after its last sign of life in which a keeper may still count on its leases; then it begins nothing new."""
DEAD = 30.0
"""Seconds without a sign of life after which others may take them."""


class Sharing(Protocol):
    """How several keepers share a store. All methods may raise StoreError; none blocks the event loop."""

    async def lease_due(self, now: float, limit: int, incarnation: str) -> list[DeliveryRow]:
        """Leases at most *limit* scheduled and deferred deliveries whose time has come to *incarnation*, the oldest first; durable
        when it returns. What another keeper is just taking is left out."""

    async def release_leases(self, incarnation: str) -> int:
        """Gives *incarnation* its place, at its start: makes scheduled what keepers had leased that are gone, all earlier ones of the
        same folder among them. Returns how many."""

    async def release_dead(self, incarnation: str) -> int:
        """The same while it runs: of keepers that gave no sign of life for ``DEAD`` seconds."""

    async def beat(self, incarnation: str) -> bool:
        """Says that the keeper *incarnation* lives. False: it was taken for dead, and what it had leased may be another's now; so it
        stays until ``release_leases`` gives it its place again."""

    def alone(self, job: str) -> AbstractAsyncContextManager[bool]:
        """True inside of it where no other keeper of the store does *job* meanwhile, else False."""

    def listen(self, heard: Callable[[str], None]) -> None:
        """From now on *heard* is called with ``queue`` or ``register`` when another keeper has changed those."""


class _Own(Protocol):
    """What ``Alone`` needs of the store that it is part of."""

    async def due_deliveries(self, now: float, limit: int) -> list[DeliveryRow]: ...
    async def write(self, batch: Batch) -> None: ...


class Alone:
    """The part of a store that nobody else writes to."""

    async def lease_due(self: _Own, now: float, limit: int, incarnation: str) -> list[DeliveryRow]:
        """See ``Sharing.lease_due``."""
        return await _take(self, await self.due_deliveries(now, limit), incarnation)

    async def release_dead(self, incarnation: str) -> int:
        """Nobody else can be gone."""
        return 0

    async def beat(self, incarnation: str) -> bool:
        """Nobody else looks."""
        return True

    @contextlib.asynccontextmanager
    async def alone(self, job: str) -> AsyncIterator[bool]:
        """There is no other."""
        yield True

    def listen(self, heard: Callable[[str], None]) -> None:
        """There is nobody to be heard."""


async def _take(store: _Own, rows: list[DeliveryRow], incarnation: str) -> list[DeliveryRow]:
    """Those of *rows* that are *incarnation*'s now; an operator may have been quicker with some."""
    from gateway.stores.base import Batch, Conflict, DeliveryState, DeliveryUpdate

    if not rows:
        return []
    expect = (DeliveryState.SCHEDULED, DeliveryState.DEFERRED)
    updates = [DeliveryUpdate(row.id, expect, DeliveryState.LEASED, lease=incarnation) for row in rows]
    try:
        await store.write(Batch(delivery_updates=updates))
    except Conflict:
        if len(rows) == 1:
            return []
        return [leased for row in rows for leased in await _take(store, [row], incarnation)]
    return rows

"""Counts of decisions an hour, made from the decision log in small steps.

What it is: ``Tallies.count``: one step after another, from where the last one ended.
Who calls it: ``housekeeping``.
Must never: count a row twice, or leave one out: what a step counts and where it ended become durable together; read much at once.
Source: docs/design.md section 6.
"""

from __future__ import annotations

import asyncio

from gateway.stores.base import Batch, Store
from gateway.stores.reviewed import ReviewBatch

STEP = 1000
"""Rows of the decision log that are read at once: some milliseconds of the store's reader."""
_PAUSE = 0.02


class Tallies:
    """The counts of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._one = asyncio.Lock()

    async def count(self) -> int:
        """Counts what has been added to the log. Returns how many of its rows were read. Raises StoreError."""
        read = 0
        async with self._one:
            while True:
                after = await self._store.reviewing.tallied_to()
                rows, upto = await self._store.reviewing.untallied(after, STEP)
                if upto <= after:
                    return read
                await self._store.write(Batch(review=ReviewBatch(tallies=rows, tallied_to=upto)))
                read += upto - after
                await asyncio.sleep(_PAUSE)  # mail goes first

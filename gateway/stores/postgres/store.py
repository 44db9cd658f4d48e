"""The store of many nodes: one PostgreSQL, a keeper a node, all of them equal.

What it is: the ``Store`` protocol over psycopg 3. Writing is in ``writer``, what keepers are to each other in
``leases``, reading in ``reading``.
Who calls it: the keeper; ``gateway audit verify`` and the like open it for reading only.
Must never: block the event loop; answer before COMMIT has; keep a clear body; end because the database is away.
Sources: docs/design.md sections 6, 8 and 9; hostile-inputs catalogue O10.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path as FilePath
from typing import Any

from gateway.counting import Histogram
from gateway.stores import locking
from gateway.stores.base import Batch, Chain, DeliveryRow, HeadRow, StoreError, StoreFull
from gateway.stores.jobs import Job
from gateway.stores.postgres import partitions, removal, resealing, upgrade
from gateway.stores.postgres.connection import Connection, Pool, Target
from gateway.stores.postgres.leases import Presence
from gateway.stores.postgres.reading import PostgresReading
from gateway.stores.postgres.writer import PostgresWriter, Work
from gateway.stores.resealing import Resealed
from gateway.stores.sharing import BEAT_EVERY

_LOOK = 1.0
"""Seconds between two looks at a database that is away."""
_FULL = (10.0, 60.0)
"""Seconds for which a database whose disk was full is taken to be so still: at first, and at most, doubled each time. Nobody can ask how
much room it has, so after that mail is let in to find out, and is answered 4xx where there is none."""


class PostgresStore(PostgresReading):
    """The store in the database *target*. *lock*: the file that keeps a second keeper out of the same folder. Made inside the loop."""

    def __init__(self, target: Target, *, lock: FilePath | None = None, read_only: bool = False) -> None:
        self._pool = Pool(target)
        super().__init__(self._pool)
        self._target = target
        self._lock_file = lock
        self._read_only = read_only
        self._lock = -1
        self._writer: PostgresWriter | None = None
        self._presence: Presence | None = None
        self._watching: asyncio.Task[None] | None = None
        self._observed: tuple[Histogram, Histogram] | None = None
        self._full = ""
        self._full_until = 0.0
        self._full_for = _FULL[0]

    # --- life ---------------------------------------------------------------------------------------------------------

    async def open(self, chain: Chain | None = None) -> None:
        """Opens, checks, makes or upgrades the tables; takes the lock. Raises StoreError in plain words."""
        if self._read_only:
            await self._pool.open()
            return
        if chain is None:
            raise StoreError("a store that is written needs an audit chain")
        try:
            if self._lock_file is not None:
                self._lock = locking.take_lock(self._lock_file)
            async with self._pool.writer() as link:
                await upgrade.fit(link, self._target)
                await partitions.ahead(link, time.time())
            writer = PostgresWriter(self._pool, chain)
            await writer.start()
            await writer.count()
        except OSError as error:
            await self._shut()
            raise StoreError(f"{self._lock_file}: {error.strerror}") from error
        except BaseException:
            await self._shut()
            raise
        self._writer = writer
        if self._observed is not None:
            self.observe(*self._observed)
        self._presence = Presence(self._pool, chain.id)
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    async def close(self) -> None:
        """Ends after all writes that were accepted."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
            self._watching = None
        if self._writer is not None:
            await self._writer.stop()
            self._writer = None
        if self._presence is not None:
            await self._presence.close()
            self._presence = None
        await self._shut()

    async def _shut(self) -> None:
        await self._pool.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    async def _watch(self) -> None:
        """Knows how full the queue is, and whether the database answers, also while no mail comes."""
        while True:
            await asyncio.sleep(_LOOK if self._pool.away else BEAT_EVERY)
            if self._writer is not None:
                try:
                    async with asyncio.timeout(BEAT_EVERY):
                        await self._writer.count()
                except TimeoutError:
                    self._pool.away = f"{self._target.name}: the database does not answer"
                except StoreError:
                    pass  # the pool remembers it

    @property
    def degraded(self) -> str:
        """Why nothing can be written now; empty when all is well."""
        return self._pool.away or (self._full if time.monotonic() < self._full_until else "")

    @property
    def counters(self) -> dict[str, int]:
        """See ``Store.counters``."""
        writer = self._writer
        if writer is None:
            return {"groups": 0, "batches": 0, "open_deliveries": 0}
        return {"groups": writer.groups, "batches": writer.batches, "open_deliveries": writer.open_deliveries}

    def observe(self, seconds: Histogram, batches: Histogram) -> None:
        """See ``Store.observe``."""
        self._observed = (seconds, batches)
        if self._writer is not None:
            self._writer.seconds, self._writer.sizes = seconds, batches

    @property
    def exceptions_version(self) -> str:
        """See ``Store.exceptions_version``."""
        return self._writer.register if self._writer is not None else ""

    async def open_delivery_count(self) -> int:
        """As of the last look, at most some seconds ago."""
        return self.counters["open_deliveries"]

    # --- writing ------------------------------------------------------------------------------------------------------

    async def write(self, batch: Batch) -> None:
        """See ``Store.write``. Raises Conflict, StoreFull or StoreError."""
        try:
            await self._submit(batch=batch)
        except StoreFull as error:
            now = time.monotonic()
            if now >= self._full_until:  # one more after a pause, not one more of those that were under way together
                self._full_for = min(2 * self._full_for, _FULL[1]) if self._full else _FULL[0]
                self._full_until = now + self._full_for
            self._full = str(error)
            raise
        if batch.bodies:  # a row may be changed where it lies; this needed room
            self._full, self._full_until = "", 0.0

    async def _submit(self, *, batch: Batch | None = None, work: Work | None = None) -> Any:
        if self._writer is None:
            raise StoreError(f"{self._target.name}: the store is not open for writing")
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._writer.submit(Job(future, batch, work))
        return await future

    async def compact(self) -> int:
        """See ``Store.compact``: partitions in which nothing is left go, those of the next days are made. The rest is autovacuum's."""
        link = await self._pool.own("gateway housekeeping")
        try:
            with self._pool.faults(link):
                await partitions.ahead(link, time.time())
                await partitions.forget(link, time.time())
        finally:
            await link.close()
        return 0  # all of it was done: there is no next step

    # --- keepers ------------------------------------------------------------------------------------------------------

    async def lease_due(self, now: float, limit: int, incarnation: str) -> list[DeliveryRow]:
        """See ``Sharing.lease_due``."""
        presence = self._present()
        found: list[DeliveryRow] = await self._submit(work=lambda link: presence.lease_due(link, now, limit, incarnation))
        return found

    async def release_leases(self, incarnation: str) -> int:
        """See ``Sharing.release_leases``."""
        presence = self._present()
        return int(await self._submit(work=lambda link: presence.release(link, incarnation)))

    async def release_dead(self, incarnation: str) -> int:
        """See ``Sharing.release_dead``."""
        return await self.release_leases(incarnation)

    async def beat(self, incarnation: str) -> bool:
        """See ``Sharing.beat``."""
        return await self._present().beat(incarnation)

    def alone(self, job: str) -> AbstractAsyncContextManager[bool]:
        """See ``Sharing.alone``."""
        return self._present().alone(job)

    def listen(self, heard: Callable[[str], None]) -> None:
        """See ``Sharing.listen``."""
        self._present().listen(heard)

    def _present(self) -> Presence:
        if self._presence is None:
            raise StoreError(f"{self._target.name}: the store is not open for writing")
        return self._presence

    # --- removing what is past its retention ----------------------------------------------------------------------------

    async def drop_audit(self, closing: HeadRow, limit: int) -> int:
        """See ``Store.drop_audit``."""
        return await self._removed(lambda link: removal.audit(link, closing, limit))

    async def drop_messages(self, before: float, after: str, limit: int) -> tuple[int, str]:
        """See ``Store.drop_messages``."""
        count, last = await self._submit(work=lambda link: removal.messages(link, before, after, limit))
        return int(count), str(last)

    async def drop_correspondents(self, before: int, limit: int) -> int:
        """See ``Store.drop_correspondents``."""
        return await self._removed(lambda link: removal.correspondents(link, before, limit))

    async def drop_threads(self, before: int, limit: int) -> int:
        """See ``Store.drop_threads``."""
        return await self._removed(lambda link: removal.threads(link, before, limit))

    async def drop_ended(self, before: float, limit: int) -> int:
        """See ``Store.drop_ended``."""
        return await self._removed(lambda link: removal.ended(link, before, limit))

    async def drop_reviewed(self, before: float, limit: int) -> int:
        """See ``Store.drop_reviewed``."""
        return await self._removed(lambda link: removal.reviewed(link, before, limit))

    async def drop_journal(self, now: float, limit: int) -> int:
        """See ``Store.drop_journal``."""
        return await self._removed(lambda link: removal.journal(link, now, limit))

    async def reseal(self, resealed: Resealed) -> int:
        """Writes rows under another key. Returns how many were still as they were read."""
        return await self._removed(lambda link: resealing.change(link, resealed))

    async def _removed(self, work: Work) -> int:
        return int(await self._submit(work=work))


__all__ = ["Connection", "PostgresStore", "Target"]

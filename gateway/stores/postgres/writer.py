"""The one writer of a keeper in PostgreSQL: group commit, many batches in one transaction.

What it is: a queue of batches and the task that makes them durable in two round trips a group: all statements, then COMMIT.
Who calls it: ``store.PostgresStore`` alone.
Must never: report a batch before its COMMIT returned; call one lost whose COMMIT may have been done; let one batch's Conflict end
another's work; write on a chain whose end it does not know.
Sources: docs/design.md section 6; hostile-inputs catalogue P1, O10.

A connection that breaks during COMMIT leaves open whether it was done. The next one asks: a row of ``chains`` is moved by every
transaction that writes to the decision log, and it is locked until the lost transaction has ended one way or the other. What wrote no
such row stays unknown: that is an error, and the one who asked does it again (a message that is there already is found by its id).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable

from psycopg import pq

from gateway.counting import Histogram
from gateway.metrics import BOUNDS
from gateway.stores import rows
from gateway.stores.base import Chain, Conflict, StoreError
from gateway.stores.jobs import Job, settle
from gateway.stores.postgres.apply import Apart, Applier, write_register
from gateway.stores.postgres.connection import Connection, Pool, Repeat, Unfit
from gateway.stores.postgres.tables import POSITION_BITS

_GROUP_BATCHES = 128
_GROUP_OCTETS = 32 << 20
_BUSY = 0.01
_GATHER = 0.004
"""Seconds: where a group ended less than _BUSY ago, the next one waits _GATHER for company: a transaction of its own costs far more
than a row more."""
_REPEATS = 5
"""Tries of a group whose transaction the server took back in favour of another."""
_PATIENCE = 25.0
"""Seconds for the statements of a group."""
_SETTLING = 6.0
"""Seconds for the answer to a lost COMMIT: below the time that a door waits."""
_HEAD = " WHERE chain = %s ORDER BY seq DESC LIMIT 1"
_RAISE_BASE = (
    f"UPDATE store_format SET base = f.last + 1 - (pg_current_xact_id()::text::bigint << {POSITION_BITS})"  # noqa: S608 - constants of ours
    " FROM (SELECT max(position) AS last, pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS after FROM audit) f"
    f" WHERE f.last >= base + (f.after << {POSITION_BITS})"
)
"""Where the log has positions above those that this server's transactions give (it was copied from another server): of rows that are
seen, each was written by a transaction before *after*."""

Work = Callable[[Connection], Awaitable[object]]


class Lost(Exception):
    """The connection broke during COMMIT: what became of it is not known yet."""


class PostgresWriter:
    """Writes for the keeper of *chain* through *pool*. Made inside the running loop."""

    def __init__(self, pool: Pool, chain: Chain) -> None:
        self._pool = pool
        self._chain = chain
        self._waiting: deque[Job[Work]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._applier = Applier()
        self._known = -1
        self._end: tuple[int, str] = (0, "")
        self._ended = float("-inf")
        self.open_deliveries = 0
        """As of the last count, with what this keeper has added since."""
        self.groups = 0
        self.batches = 0
        self.seconds = Histogram(BOUNDS["gateway_store_commit_seconds"])
        self.sizes = Histogram(BOUNDS["gateway_store_group_batches"])

    @property
    def register(self) -> str:
        """Version of the register as the last transaction that looked saw it."""
        return self._applier.register

    async def start(self) -> None:
        """Finds the chain's end and the register. Raises StoreError."""
        await self._work(self._refresh)

    def submit(self, job: Job[Work]) -> None:
        """Takes *job*; its future is set when it is durable."""
        self._waiting.append(job)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Ends after all jobs before this call."""
        while self._task is not None:
            await asyncio.wait([self._task])

    async def count(self) -> None:
        """Counts what is open in the whole store. Raises StoreError."""
        async with self._pool.reader() as link:
            found = await (await link.execute("SELECT count(*) FROM deliveries_open")).fetchone()
        self.open_deliveries = int(found[0]) if found else 0

    # --- the groups ---------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                if loop.time() - self._ended < _BUSY:
                    await asyncio.sleep(_GATHER)
                jobs = self._group()
                try:
                    await self._do(jobs)
                except Exception as error:
                    for job in jobs:
                        job.error = job.error or error
                except BaseException as error:
                    for job in jobs:
                        job.error = job.error or StoreError("the store is being closed")
                    raise error from None
                finally:
                    settle(jobs)
                    self._ended = loop.time()
        finally:
            self._task = None
            if self._waiting:  # only after a cancellation: whoever waits must not wait for ever
                left = list(self._waiting)
                self._waiting.clear()
                for job in left:
                    job.error = StoreError("the store is being closed")
                settle(left)

    def _group(self) -> list[Job[Work]]:
        jobs = [self._waiting.popleft()]
        if jobs[0].work is not None:
            return jobs
        size = jobs[0].octets
        while self._waiting and self._waiting[0].work is None and len(jobs) < _GROUP_BATCHES and size < _GROUP_OCTETS:
            jobs.append(self._waiting.popleft())
            size += jobs[-1].octets
        return jobs

    async def _do(self, jobs: list[Job[Work]]) -> None:
        if jobs[0].work is not None:
            jobs[0].result = await self._work(jobs[0].work)
            return
        try:
            await self._transaction(jobs)
        except Lost as lost:
            if not await self._was_committed():
                raise StoreError(str(lost)) from lost
        except Conflict as conflict:
            if len(jobs) == 1:
                raise
            raise StoreError(f"a conflict that no batch of its own had: {conflict}") from conflict
        except Unfit:
            if len(jobs) > 1:
                await self._alone(jobs)
            elif self._applier.clean:
                raise
            else:
                await self._cleaned(jobs)
        except StoreError:
            raise
        except Exception:
            if len(jobs) == 1:
                raise
            await self._alone(jobs)  # one of them is not what it should be: it must not take the others with it

    async def _cleaned(self, jobs: list[Job[Work]]) -> None:
        """Once more without what cannot be stored: an answer of another server must not stand in the way of the queue for ever."""
        self._applier.clean = True
        try:
            await self._do(jobs)
        finally:
            self._applier.clean = False

    async def _alone(self, jobs: list[Job[Work]]) -> None:
        for job in jobs:
            job.error = None
            try:
                await self._do([job])
            except Exception as error:
                job.error = error

    async def _work(self, work: Work) -> object:
        async with self._pool.writer() as link:
            await self._current(link)
            try:
                return await work(link)
            finally:
                await _rolled_back(link)

    async def _current(self, link: Connection) -> None:
        """After a new connection the chain's end is read again: whatever was under way before has ended when this returns."""
        if self._known != self._pool.writer_number:
            await self._refresh(link)

    async def _refresh(self, link: Connection) -> None:
        chain = self._chain.id
        found = await (await link.execute(rows.SELECT_AUDIT + _HEAD, (chain,))).fetchone()
        last = rows.audit_row(found) if found else None
        async with link.transaction():
            place = (chain, last.seq if last else 0, last.hash if last else "")
            await link.execute("INSERT INTO chains (chain, seq, hash) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING", place)
            row = await (await link.execute("SELECT seq, hash FROM chains WHERE chain = %s FOR UPDATE", (chain,))).fetchone()
        assert row is not None
        # Read again under the lock: the end that was read before may have been moved by the transaction that was waited for.
        found = await (await link.execute(rows.SELECT_AUDIT + _HEAD, (chain,))).fetchone()
        last = rows.audit_row(found) if found else None
        if (row[0], row[1]) != ((last.seq, last.hash) if last else (0, "")):
            raise StoreError(f"the audit chain {chain} ends in row {last.seq if last else 0}, and the store says {row[0]}")
        self._end = (row[0], row[1])
        self._chain.resume(last)
        await link.execute(_RAISE_BASE)
        async with link.transaction():
            self._applier.register = await write_register(link)
        self._known = self._pool.writer_number

    async def _was_committed(self) -> bool:
        """After a lost COMMIT: whether it was done. False also where nobody can say."""
        wanted = self._applier.end
        until = time.monotonic() + _SETTLING
        while True:
            try:
                await self._work(_nothing)
            except StoreError:
                if time.monotonic() >= until:
                    return False
                await asyncio.sleep(0.2)
            else:
                return wanted is not None and self._end == wanted

    async def _transaction(self, jobs: list[Job[Work]]) -> None:
        """Makes *jobs* durable together; where some cannot stand, each for itself in the same transaction."""
        apart = False
        for _ in range(_REPEATS):
            try:
                async with self._pool.writer() as link:
                    await self._current(link)
                    await self._one(link, jobs, apart=apart)
            except Apart:
                apart = True
            except Conflict:
                if len(jobs) == 1:
                    raise
                apart = True
            except Repeat:
                await asyncio.sleep(0.01)
            else:
                return
        raise StoreError("the database took the transaction back again and again, in favour of others")

    async def _one(self, link: Connection, jobs: list[Job[Work]], *, apart: bool) -> None:
        applier = self._applier
        applier.begin()
        register = applier.register
        committing = False
        try:
            async with asyncio.timeout(_PATIENCE):
                if apart:
                    await link.execute("BEGIN")
                    for job in jobs:
                        await self._in_savepoint(link, job)
                else:
                    await applier.apply(link, self._chain, jobs)
            began = time.perf_counter()
            committing = True  # however long it takes: a commit that is broken off may stand all the same
            await link.execute("COMMIT")
        except BaseException as error:
            if not isinstance(error, Conflict):  # which knows what the register is now
                applier.register = register
            self._chain.discarded()
            if isinstance(error, TimeoutError):
                await link.close()
                raise StoreError("the database did not take a group of messages in time") from error
            if committing and link.closed:
                # The new connection finds out, and begins where the chain ends then.
                raise Lost("the connection to the database broke before it said whether a commit was done") from error
            await _rolled_back(link)
            raise
        self._chain.written()
        if applier.end is not None:
            self._end = applier.end
        self.seconds.observe(time.perf_counter() - began)
        self.sizes.observe(len(jobs))
        self.groups += 1
        self.batches += len(jobs)
        self.open_deliveries += applier.delta

    async def _in_savepoint(self, link: Connection, job: Job[Work]) -> None:
        job.error = None
        applier = self._applier
        delta = applier.delta
        await link.execute("SAVEPOINT batch")
        try:
            with self._pool.faults(link):
                await applier.apply(link, self._chain, [job], apart=True)
        except Conflict as conflict:
            await link.execute("ROLLBACK TO SAVEPOINT batch")
            applier.delta = delta
            job.error = conflict
        await link.execute("RELEASE SAVEPOINT batch")


async def _nothing(link: Connection) -> None:
    """To have a connection."""


async def _rolled_back(link: Connection) -> None:
    """Nothing stays open; a connection that cannot even do that is closed."""
    if link.closed or link.info.transaction_status == pq.TransactionStatus.IDLE:
        return
    try:
        async with asyncio.timeout(5):
            await link.execute("ROLLBACK")
    except BaseException:
        await link.close()
        raise

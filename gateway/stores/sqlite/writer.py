"""The one writer: group commit in one thread.

What it is: a queue of batches and the thread that makes them durable, many in one transaction and many rows in one statement. A
batch that cannot stand is found before it wrote anything, or the group is done again with a savepoint around each batch (a
savepoint costs a third of a commit).
Who calls it: ``store.SqliteStore`` alone.
Must never: report a batch before its COMMIT returned; trust the file after an I/O error without having opened and probed it
again; let one batch's Conflict end another's work.
Sources: docs/design.md section 6; hostile-inputs catalogue P1, P5, O01, O02, O20.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path as FilePath
from typing import TypeAlias

from gateway.counting import Histogram
from gateway.metrics import BOUNDS
from gateway.stores import rows
from gateway.stores.base import (
    Chain,
    Conflict,
    StoreError,
)
from gateway.stores.jobs import Job, settle
from gateway.stores.schema import OPEN_DELIVERY_SQL
from gateway.stores.sqlite import connection
from gateway.stores.sqlite.apply import Again, Applier, read_register

_GROUP_BATCHES = 64
_GROUP_OCTETS = 32 << 20
_BUSY = 0.01
_GATHER, _GATHER_MORE = 0.004, 0.010
"""Seconds: where a group ended less than _BUSY ago, the next one waits for company, longer where the last one had some, and no longer
than until it is of _COMPANY batches. A transaction of its own costs a message as much processor time as all the rest of its commit."""
_COMPANY = 24
"""Batches from which on more would save little: each bears one part in as many of what a transaction costs."""
_INLINE_OCTETS = 1 << 20
"""Octets of content up to which a group is written on the event loop: about a millisecond."""
_PATIENCE = 10.0  # seconds for another program that writes to the file
_REOPEN_EVERY = 1.0  # seconds between two attempts to open a degraded store again
Work: TypeAlias = Callable[[sqlite3.Connection], object]
_COUNT_OPEN = f"SELECT count(*) FROM deliveries WHERE {OPEN_DELIVERY_SQL}"  # noqa: S608


class _NotHereError(Exception):
    """What has to be done may wait: not on the event loop."""


class Writer:
    """Owns the writing connection. All but ``submit`` and the counters run in its thread."""

    def __init__(self, path: FilePath, connect: connection.Connect, reopen_reader: Callable[[], contextlib.AbstractContextManager[None]]):
        self._path = path
        self._connect = connect
        self._reopen_reader = reopen_reader
        self._waiting: deque[Job[Work]] = deque()
        self._busy = False
        self._gathering: asyncio.TimerHandle | None = None
        self._had_company = False
        self._idle: asyncio.Future[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store-writer")
        self._db: sqlite3.Connection | None = None
        self._chain: Chain | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._applier = Applier()
        self._tried = 0.0
        self._ended = float("-inf")
        self._register_before = ""
        self._doubtful: list[tuple[str]] = []
        """Deliveries of transactions whose COMMIT failed."""
        self.open_deliveries = 0
        self.degraded = ""
        """Why nothing is accepted now; empty when all is well."""
        self.groups = 0
        self.batches = 0
        self.seconds = Histogram(BOUNDS["gateway_store_commit_seconds"])
        self.sizes = Histogram(BOUNDS["gateway_store_group_batches"])

    @property
    def register(self) -> str:
        """Version of the exception register."""
        return self._applier.register

    # --- the event loop's side ----------------------------------------------------------------------------------------

    def start(self, chain: Chain, loop: asyncio.AbstractEventLoop) -> None:
        """Opens and checks the file (blocking; called in a thread). Raises StoreError."""
        self._chain = chain
        self._loop = loop
        self._open(full_check=True)

    def submit(self, job: Job[Work]) -> None:
        """Takes *job*; its future is set when it is durable."""
        self._waiting.append(job)
        if self._gathering is not None and len(self._waiting) >= _COMPANY:
            assert self._loop is not None
            self._gathering.cancel()
            self._gathering = None
            self._loop.call_soon(self._next_group)
        elif not self._busy:
            self._busy = True
            self._schedule()

    def _schedule(self) -> None:
        """The next group: at once for a lone message, a moment later where groups follow each other closely."""
        assert self._loop is not None
        if self._loop.time() - self._ended < _BUSY and len(self._waiting) < _COMPANY:
            wait = _GATHER_MORE if self._had_company else _GATHER
            self._gathering = self._loop.call_later(wait, self._next_group)
        else:
            # After the callbacks that are ready now: what they bring shares this transaction.
            self._loop.call_soon(self._next_group)

    async def stop(self) -> None:
        """Ends after all jobs before this call, and closes the file."""
        if self._loop is not None:
            if self._busy:
                self._idle = self._loop.create_future()
                await self._idle
            await self._loop.run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    def _next_group(self) -> None:
        self._gathering = None
        jobs, size = [self._waiting.popleft()], 0
        size = jobs[0].octets
        while self._waiting and len(jobs) < _GROUP_BATCHES and size < _GROUP_OCTETS:
            jobs.append(self._waiting.popleft())
            size += jobs[-1].octets
        self._had_company = len(jobs) > 1
        assert self._loop is not None
        work: Callable[[], None] = lambda: self._do(jobs)  # noqa: E731
        if size < _INLINE_OCTETS and self._db is not None and not self.degraded and all(job.batch is not None for job in jobs):
            # The statements run here, where nobody waits for the interpreter lock; the COMMIT, which waits for the disk and
            # needs no lock, in the thread. Measured: twice the messages for the same processor time.
            try:
                if not self._write(jobs, patience=0.0):
                    self._settle(jobs)
                    return
                work = lambda: self._commit(jobs)  # noqa: E731
            except _NotHereError:
                pass
        self._loop.run_in_executor(self._thread, self._guarded, work, jobs)

    def _guarded(self, work: Callable[[], None], jobs: list[Job[Work]]) -> None:
        try:
            work()
        except BaseException as error:
            for job in jobs:
                job.error = job.error or error
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._settle, jobs)

    def _settle(self, jobs: list[Job[Work]]) -> None:
        settle(jobs)
        assert self._loop is not None
        self._ended = self._loop.time()
        if self._waiting:
            self._schedule()
        else:
            self._busy = False
            if self._idle is not None and not self._idle.done():
                self._idle.set_result(None)

    # --- on either side, never on both at once ------------------------------------------------------------------------

    def _close(self) -> None:
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None

    def _open(self, *, full_check: bool) -> None:
        db = connection.connect_writer(self._path, self._connect)
        try:
            if full_check:
                connection.check(db, self._path)
            connection.drain_log(db)
            db.execute("PRAGMA busy_timeout=0")  # waiting for other programs is ours: never on the event loop
            self._refresh(db)
        except sqlite3.Error as error:
            db.close()
            raise connection.translate(error, self._path) from error
        except BaseException:
            db.close()
            raise
        self._db = db

    def _refresh(self, db: sqlite3.Connection) -> None:
        assert self._chain is not None
        self.open_deliveries = db.execute(_COUNT_OPEN).fetchone()[0]
        self._applier.register = read_register(db)
        last = db.execute(rows.SELECT_AUDIT + " WHERE chain = ? ORDER BY seq DESC LIMIT 1", (self._chain.id,)).fetchone()
        self._chain.resume(rows.audit_row(last) if last else None)

    def _do(self, jobs: list[Job[Work]]) -> None:
        """All of it in the thread: large content, work outside of transactions, and whatever follows a fault."""
        self._revive()
        batches = [job for job in jobs if job.batch is not None]
        if batches:
            self._transaction(batches)
        for job in jobs:
            if job.work is not None:
                self._work(job)

    def _work(self, job: Job[Work]) -> None:
        assert self._db is not None
        assert job.work is not None
        try:
            job.result = job.work(self._db)
        except sqlite3.Error as error:
            self._failed(error)
            job.error = connection.translate(error, self._path)
        except Exception as error:
            job.error = error  # its own alone: the batches before it are durable

    def _transaction(self, jobs: list[Job[Work]], *, apart: bool = False) -> None:
        if self._write(jobs, patience=_PATIENCE, apart=apart):
            self._commit(jobs)

    def _write(self, jobs: list[Job[Work]], *, patience: float, apart: bool = False) -> bool:
        """Begins a transaction with the batches of *jobs*; sets their errors. Returns whether there is something to commit.
        *apart*: each in its own savepoint. Without *patience* (seconds for other programs) it raises _NotHereError instead of
        waiting."""
        db, chain = self._db, self._chain
        assert db is not None
        assert chain is not None
        self._applier.delta, self._register_before = 0, self._applier.register
        try:
            self._begin(db, patience)
            if apart:
                for job in jobs:
                    self._apply_apart(db, chain, job)
            else:
                self._applier.apply(db, chain, jobs)
        except _NotHereError:
            raise
        except BaseException as error:
            self._take_back(db, chain)
            if not apart and isinstance(error, (Again, sqlite3.IntegrityError)):
                for job in jobs:
                    job.error = None
                return self._write(jobs, patience=patience, apart=True)
            if isinstance(error, sqlite3.Error):
                self._failed(error)
                failure: BaseException = connection.translate(error, self._path)
            else:
                failure = error
                if len(jobs) > 1 and not isinstance(error, StoreError):
                    if not patience:
                        raise _NotHereError from error
                    self._alone(jobs)  # one of them is not what it should be: it must not take the others with it
                    return False
            for job in jobs:
                job.error = failure
            return False
        return True

    def _begin(self, db: sqlite3.Connection, patience: float) -> None:
        end = time.monotonic() + patience
        while True:
            try:
                db.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if not connection.is_busy(error):
                    raise
                if not patience:
                    raise _NotHereError from error
                if time.monotonic() >= end:
                    raise
                time.sleep(0.02)
            else:
                return

    def _commit(self, jobs: list[Job[Work]]) -> None:
        """Makes the open transaction durable; after a failure it is answered as not done, and nothing is trusted."""
        db, chain = self._db, self._chain
        assert db is not None
        assert chain is not None
        began = time.perf_counter()
        try:
            db.execute("COMMIT")
        except sqlite3.Error as error:
            self._take_back(db, chain)
            self._failed(error)
            failure = connection.translate(error, self._path)
            for job in jobs:
                job.error = job.error or failure
            if self.degraded:
                self._doubtful += [(row.id,) for job in jobs if job.batch is not None for row in job.batch.deliveries]
            return
        chain.written()
        self.open_deliveries += self._applier.delta
        self.groups += 1
        self.batches += len(jobs)
        self.seconds.observe(time.perf_counter() - began)
        self.sizes.observe(len(jobs))

    def _take_back(self, db: sqlite3.Connection, chain: Chain) -> None:
        chain.discarded()
        self._applier.register = self._register_before
        with contextlib.suppress(sqlite3.Error):
            if db.in_transaction:
                db.execute("ROLLBACK")

    def _apply_apart(self, db: sqlite3.Connection, chain: Chain, job: Job[Work]) -> None:
        db.execute("SAVEPOINT batch")
        before, register = self._applier.delta, self._applier.register
        try:
            self._applier.apply(db, chain, [job])
            if job.error is not None:
                raise job.error
        except (Conflict, Again, sqlite3.IntegrityError) as error:
            # Audit rows are written last in a batch, so the chain has not moved for this one.
            db.execute("ROLLBACK TO batch")
            self._applier.delta, self._applier.register = before, register
            job.error = error if isinstance(error, Conflict) else Conflict(str(error))
        db.execute("RELEASE batch")

    def _alone(self, jobs: list[Job[Work]]) -> None:
        for job in jobs:
            job.error = None
            try:
                self._transaction([job])
            except Exception as error:
                job.error = error

    # --- after an I/O error -------------------------------------------------------------------------------------------

    def _failed(self, error: sqlite3.Error) -> None:
        if connection.breaks_trust(error):
            self.degraded = str(connection.translate(error, self._path))
            self._tried = 0.0

    def _revive(self) -> None:
        """Opens a degraded store again, at most once a second (in the thread). Raises StoreError while it cannot be trusted."""
        if not self.degraded and self._db is not None:
            return
        now = time.monotonic()
        if now - self._tried < _REOPEN_EVERY and self._tried:
            raise StoreError(self.degraded)
        self._tried = now
        with self._reopen_reader():
            if self._db is not None:
                with contextlib.suppress(sqlite3.Error):
                    self._db.close()
                self._db = None
            try:
                connection.probe(self._path)
                self._open(full_check=False)
                self._schedule_doubtful()
            except OSError as error:
                raise StoreError(f"{self._path}: {error.strerror}") from error
        self.degraded = ""

    def _schedule_doubtful(self) -> None:
        """A COMMIT that failed may stand all the same: what is whole in the log is recovered when it is opened. Its deliveries were
        leased and then offered to nobody. Raises StoreError."""
        assert self._db is not None
        if not self._doubtful:
            return
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("UPDATE deliveries SET state = 'scheduled', lease = '' WHERE id = ? AND state = 'leased'", self._doubtful)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise connection.translate(error, self._path) from error
        self._doubtful.clear()

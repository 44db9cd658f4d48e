"""The one writer: group commit in one thread.

What it is: a queue of batches and the thread that makes them durable, many in one transaction and many rows in one statement. A
batch that cannot stand is found before it wrote anything, or the group is done again with a savepoint around each batch (a
savepoint costs a third of a commit).
Who calls it: ``sqlite.SqliteStore`` alone.
Must never: report a batch before its COMMIT returned; trust the file after an I/O error without having opened and probed it
again; let one batch's Conflict end another's work.
Sources: design.md section 6; hostile-inputs catalogue P1, P5, O01, O02, O20.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path as FilePath

from gateway.stores import connection, rows
from gateway.stores.apply import Again, Applier
from gateway.stores.base import (
    Batch,
    Chain,
    Conflict,
    StoreError,
    register_version,
)
from gateway.stores.schema import OPEN_DELIVERY_SQL

_GROUP_BATCHES = 500
_GROUP_OCTETS = 32 << 20
_REOPEN_EVERY = 1.0  # seconds between two attempts to open a degraded store again
_COUNT_OPEN = f"SELECT count(*) FROM deliveries WHERE {OPEN_DELIVERY_SQL}"  # noqa: S608


class Job:
    """One piece of work: a batch, or a function on the connection outside of any transaction."""

    __slots__ = ("batch", "error", "future", "result", "work")

    def __init__(
        self, future: asyncio.Future[object], batch: Batch | None = None, work: Callable[[sqlite3.Connection], object] | None = None
    ) -> None:
        self.future = future
        self.batch = batch
        self.work = work
        self.result: object = None
        self.error: BaseException | None = None


class Writer:
    """Owns the writing connection. All but ``submit`` and the counters run in its thread."""

    def __init__(self, path: FilePath, connect: connection.Connect, reopen_reader: Callable[[], contextlib.AbstractContextManager[None]]):
        self._path = path
        self._connect = connect
        self._reopen_reader = reopen_reader
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._db: sqlite3.Connection | None = None
        self._chain: Chain | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._applier = Applier()
        self._tried = 0.0
        self.open_deliveries = 0
        self.degraded = ""
        """Why nothing is accepted now; empty when all is well."""
        self.groups = 0
        self.batches = 0

    @property
    def register(self) -> str:
        """Version of the exception register."""
        return self._applier.register

    # --- the event loop's side ----------------------------------------------------------------------------------------

    def start(self, chain: Chain, loop: asyncio.AbstractEventLoop) -> None:
        """Opens and checks the file (blocking), then starts the thread. Raises StoreError."""
        self._chain = chain
        self._loop = loop
        self._open(full_check=True)
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Queues *job*; its future is set from the thread."""
        self._jobs.put(job)

    def stop(self) -> None:
        """Ends the thread after all jobs before this call (blocking)."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
            self._thread = None

    # --- the thread's side --------------------------------------------------------------------------------------------

    def _open(self, *, full_check: bool) -> None:
        db = connection.connect_writer(self._path, self._connect)
        try:
            if full_check:
                connection.check(db, self._path)
            connection.drain_log(db)
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
        self._applier.register = register_version(rows.exception_row(v) for v in db.execute(rows.SELECT_EXCEPTION))
        last = db.execute(rows.SELECT_AUDIT + " WHERE chain = ? ORDER BY seq DESC LIMIT 1", (self._chain.id,)).fetchone()
        self._chain.resume(rows.audit_row(last) if last else None)

    def _run(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                break
            jobs, size, ending = [job], _octets(job), False
            while len(jobs) < _GROUP_BATCHES and size < _GROUP_OCTETS:
                try:
                    job = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if job is None:
                    ending = True
                    break
                jobs.append(job)
                size += _octets(job)
            self._do(jobs)
            if ending:
                break
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None

    def _do(self, jobs: list[Job]) -> None:
        try:
            self._revive()
            batches = [job for job in jobs if job.batch is not None]
            if batches:
                self._commit(batches)
            for job in jobs:
                if job.work is not None:
                    self._work(job)
        except BaseException as error:
            for job in jobs:
                job.error = job.error or error
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(_settle, jobs)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more

    def _work(self, job: Job) -> None:
        assert self._db is not None
        assert job.work is not None
        try:
            job.result = job.work(self._db)
        except sqlite3.Error as error:
            self._failed(error)
            job.error = connection.translate(error, self._path)

    def _commit(self, jobs: list[Job], *, apart: bool = False) -> None:
        """One transaction for all *jobs*; sets their errors. *apart*: each in its own savepoint."""
        db, chain = self._db, self._chain
        assert db is not None
        assert chain is not None
        self._applier.delta, register = 0, self._applier.register
        try:
            db.execute("BEGIN IMMEDIATE")
            if apart:
                for job in jobs:
                    self._apply_apart(db, chain, job)
            else:
                self._applier.apply(db, chain, jobs)
            db.execute("COMMIT")
        except BaseException as error:
            chain.discarded()
            self._applier.register = register
            with contextlib.suppress(sqlite3.Error):
                if db.in_transaction:
                    db.execute("ROLLBACK")
            if not apart and isinstance(error, (Again, sqlite3.IntegrityError)):
                for job in jobs:
                    job.error = None
                self._commit(jobs, apart=True)
                return
            if not isinstance(error, sqlite3.Error):
                if len(jobs) == 1 or isinstance(error, StoreError):
                    raise
                self._commit_alone(jobs)  # one of them is not what it should be: it must not take the others with it
                return
            self._failed(error)
            raise connection.translate(error, self._path) from error
        chain.written()
        self.open_deliveries += self._applier.delta
        self.groups += 1
        self.batches += len(jobs)

    def _apply_apart(self, db: sqlite3.Connection, chain: Chain, job: Job) -> None:
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

    def _commit_alone(self, jobs: list[Job]) -> None:
        for job in jobs:
            job.error = None
            try:
                self._commit([job])
            except Exception as error:
                job.error = error

    # --- after an I/O error -------------------------------------------------------------------------------------------

    def _failed(self, error: sqlite3.Error) -> None:
        if connection.breaks_trust(error):
            self.degraded = str(connection.translate(error, self._path))
            self._tried = 0.0

    def _revive(self) -> None:
        """Opens a degraded store again, at most once a second. Raises StoreError while it cannot be trusted."""
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
            except OSError as error:
                raise StoreError(f"{self._path}: {error.strerror}") from error
        self.degraded = ""


def _octets(job: Job) -> int:
    return sum(len(body.ciphertext) for body in job.batch.bodies) if job.batch is not None else 0


def _settle(jobs: Sequence[Job]) -> None:
    for job in jobs:
        if job.future.done():
            continue
        if job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.result)

"""The one writer: group commit in one thread.

What it is: a queue of batches and the thread that makes them durable, many in one transaction, each in its own savepoint.
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
from gateway.stores.base import (
    Batch,
    Chain,
    Conflict,
    DeliveryState,
    DeliveryUpdate,
    HoldState,
    HoldUpdate,
    StoreError,
    register_version,
)
from gateway.stores.schema import OPEN_DELIVERY_SQL, OPEN_HOLD_SQL

_GROUP_BATCHES = 500
_GROUP_OCTETS = 32 << 20
_REOPEN_EVERY = 1.0  # seconds between two attempts to open a degraded store again
_FINAL = frozenset({DeliveryState.DELIVERED, DeliveryState.BOUNCED, DeliveryState.EXPIRED})
_FINAL_HOLD = frozenset({HoldState.RELEASED, HoldState.REFUSED, HoldState.EXPIRED})

_UPDATE_DELIVERY = (
    "UPDATE deliveries SET state = ?, attempts = coalesce(?, attempts), next_attempt = coalesce(?, next_attempt),"
    " last_reply = coalesce(?, last_reply), route = coalesce(?, route), lease = coalesce(?, lease), warned = coalesce(?, warned),"
    " sent_sha256 = coalesce(?, sent_sha256) WHERE id = ? AND state IN ({marks}) RETURNING message_id"
)
_UPDATE_HOLD = (
    "UPDATE holds SET state = ?, updated = ?, released = coalesce(?, released) WHERE id = ? AND state IN ({marks}) RETURNING message_id"
)
_STILL_NEEDED = (
    f"SELECT EXISTS (SELECT 1 FROM deliveries WHERE message_id = ?1 AND {OPEN_DELIVERY_SQL})"  # noqa: S608 - constants of ours
    f" OR EXISTS (SELECT 1 FROM holds WHERE message_id = ?1 AND {OPEN_HOLD_SQL})"
)
_DROP_OF_MESSAGE = "DELETE FROM bodies WHERE id = (SELECT body_id FROM messages WHERE id = ?)"
_DROP_BODY = "DELETE FROM bodies WHERE id = ?"
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
        self._updates: dict[tuple[str, int], str] = {}
        self._delta = 0
        self._tried = 0.0
        self.register = ""
        """Version of the exception register."""
        self.open_deliveries = 0
        self.degraded = ""
        """Why nothing is accepted now; empty when all is well."""
        self.groups = 0
        self.batches = 0

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
        self.register = register_version(rows.exception_row(v) for v in db.execute(rows.SELECT_EXCEPTION))
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

    def _commit(self, jobs: list[Job]) -> None:
        """One transaction for all *jobs*; sets their errors."""
        db, chain = self._db, self._chain
        assert db is not None
        assert chain is not None
        execute = db.execute
        self._delta, register = 0, self.register
        try:
            execute("BEGIN IMMEDIATE")
            for job in jobs:
                assert job.batch is not None
                before = self._delta
                execute("SAVEPOINT batch")
                try:
                    self._apply(db, chain, job.batch)
                except (Conflict, sqlite3.IntegrityError) as error:
                    # Audit rows are written last in a batch, so the chain has not moved for this one.
                    execute("ROLLBACK TO batch")
                    self._delta = before
                    job.error = error if isinstance(error, Conflict) else Conflict(str(error))
                execute("RELEASE batch")
            execute("COMMIT")
        except BaseException as error:
            chain.discarded()
            self.register = register
            with contextlib.suppress(sqlite3.Error):
                if db.in_transaction:
                    execute("ROLLBACK")
            if not isinstance(error, sqlite3.Error):
                if len(jobs) == 1 or isinstance(error, StoreError):
                    raise
                self._commit_alone(jobs)  # one of them is not what it should be: it must not take the others with it
                return
            self._failed(error)
            raise connection.translate(error, self._path) from error
        chain.written()
        self.open_deliveries += self._delta
        self.groups += 1
        self.batches += len(jobs)

    def _commit_alone(self, jobs: list[Job]) -> None:
        for job in jobs:
            job.error = None
            try:
                self._commit([job])
            except Exception as error:
                job.error = error

    def _apply(self, db: sqlite3.Connection, chain: Chain, batch: Batch) -> None:
        execute = db.execute
        if batch.expect_exceptions_version and batch.expect_exceptions_version != self.register:
            raise Conflict("the exception register has changed")
        department = batch.messages[0].department if batch.messages else ""
        for body in batch.bodies:
            execute(rows.INSERT_BODY, rows.body_values(body, department))
        for message in batch.messages:
            execute(rows.INSERT_MESSAGE, rows.message_values(message))
        for delivery in batch.deliveries:
            execute(rows.INSERT_DELIVERY, rows.delivery_values(delivery))
            self._delta += delivery.state not in _FINAL
        for hold in batch.holds:
            execute(rows.INSERT_HOLD, rows.hold_values(hold))
        ended: dict[str, None] = {}
        for update in batch.delivery_updates:
            message_id = self._update_delivery(db, update)
            if update.state in _FINAL:
                ended[message_id] = None
        for change in batch.hold_updates:
            message_id = self._update_hold(db, change)
            if change.state in _FINAL_HOLD:
                ended[message_id] = None
        for approval in batch.approvals:
            execute(rows.INSERT_APPROVAL, rows.approval_values(approval))
        for exception in batch.exceptions:
            execute(rows.REPLACE_EXCEPTION, rows.exception_values(exception))
        for user in batch.users:
            execute(rows.REPLACE_USER, rows.user_values(user))
        for body_id in batch.drop_bodies:
            execute(_DROP_BODY, (body_id,))
        for message_id in ended:
            if not execute(_STILL_NEEDED, (message_id,)).fetchone()[0]:
                execute(_DROP_OF_MESSAGE, (message_id,))
        for head in batch.heads:
            execute(rows.INSERT_HEAD, rows.head_values(head))
        if batch.exceptions:
            self.register = register_version(rows.exception_row(v) for v in execute(rows.SELECT_EXCEPTION))
        for event in batch.audit:
            try:
                execute(rows.INSERT_AUDIT, rows.audit_values(chain.append(event), event))
            except sqlite3.IntegrityError as error:
                # Two writers on one chain: no batch of this group may stand.
                raise StoreError("the audit chain has a row that this keeper did not write") from error

    def _update_delivery(self, db: sqlite3.Connection, update: DeliveryUpdate) -> str:
        values = (
            update.state.value, update.attempts, update.next_attempt, update.last_reply, update.route, update.lease, update.warned,
            update.sent_sha256, update.id, *(state.value for state in update.expect),
        )  # fmt: skip
        found = db.execute(self._statement(_UPDATE_DELIVERY, len(update.expect)), values).fetchall()
        if not found:
            raise Conflict(f"delivery {update.id} is not {' or '.join(update.expect)}")
        # Whoever expects a final state (nobody today) would have to say from which one: open ones are what is counted.
        self._delta += (update.state not in _FINAL) - (update.expect[0] not in _FINAL)
        return str(found[0][0])

    def _update_hold(self, db: sqlite3.Connection, change: HoldUpdate) -> str:
        released = None if change.released is None else rows.dump(change.released)
        values = (change.state.value, change.updated, released, change.id, *(state.value for state in change.expect))
        found = db.execute(self._statement(_UPDATE_HOLD, len(change.expect)), values).fetchall()
        if not found:
            raise Conflict(f"held record {change.id} is not {' or '.join(change.expect)}")
        return str(found[0][0])

    def _statement(self, template: str, marks: int) -> str:
        key = (template, marks)
        if key not in self._updates:
            self._updates[key] = template.format(marks=", ".join("?" * marks))
        return self._updates[key]

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

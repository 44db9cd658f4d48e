"""The embedded store: one SQLite file, one writer thread, one reader.

What it is: the ``Store`` protocol over the standard library's sqlite3. Writing is in ``writer``, opening in ``connection``.
Who calls it: the keeper; ``gateway audit verify`` opens it for reading only.
Must never: block the event loop; be opened for writing by two keepers; keep a clear body.
Sources: docs/design.md sections 6 and 8; hostile-inputs catalogue O10, O16.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path as FilePath
from typing import Any, TypeVar

from gateway.counting import Histogram
from gateway.requests import ExceptionRow, ProfileRow
from gateway.stores import locking, rows
from gateway.stores.audit_conditions import LogSearch, Ways, statement
from gateway.stores.base import (
    ApprovalRow,
    AuditRow,
    Batch,
    BodyRow,
    Chain,
    DeliveryRow,
    HeadRow,
    HoldRow,
    MessageRow,
    StoreError,
    UserRow,
)
from gateway.stores.figures import Figures
from gateway.stores.jobs import Job
from gateway.stores.resealing import Resealed, SealedBody, SealedFields
from gateway.stores.schema import OPEN_HOLD_SQL
from gateway.stores.sharing import Alone
from gateway.stores.sqlite import connection, figures, removal, resealing
from gateway.stores.sqlite.journal import SqliteJournal
from gateway.stores.sqlite.reviewing import SqliteReviewing
from gateway.stores.sqlite.writer import Writer

_T = TypeVar("_T")
_LIST_OPEN = (
    " WHERE d.id IN (SELECT id FROM deliveries WHERE state IN ('scheduled', 'deferred')"
    " UNION ALL SELECT id FROM deliveries WHERE state IN ('leased', 'on-hold')) AND d.id > ? ORDER BY d.id LIMIT ?"
)
_WAYS = Ways(
    "?", "{} = ? COLLATE NOCASE".format, "instr(lower({}), lower(?)) > 0".format,
    lambda column, wanted: (f"{column} IN (SELECT value FROM json_each(?))", rows.dump(list(wanted))),  # noqa: S608 - constants of ours
)  # fmt: skip


class SqliteStore(Alone):
    """The store in the file *path*. *connect* is ``sqlite3.connect`` but in tests that inject faults."""

    def __init__(self, path: FilePath, *, read_only: bool = False, connect: connection.Connect = sqlite3.connect) -> None:
        self._path = path
        self._connect = connect
        self._read_only = read_only
        self._lock = -1
        self._reader: sqlite3.Connection | None = None
        self._reading = threading.Lock()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="store-reader")
        self._writer = Writer(path, connect, self._reader_away)
        self._open = False

    # --- life ---------------------------------------------------------------------------------------------------------

    async def open(self, chain: Chain | None = None) -> None:
        """Opens, checks and migrates; takes the lock. Raises StoreError in plain words."""
        loop = asyncio.get_running_loop()
        if self._read_only:
            if not self._path.exists():
                raise StoreError(f"{self._path}: there is no store")
        else:
            if chain is None:
                raise StoreError("a store that is written needs an audit chain")
            try:
                self._lock = locking.take_lock(self._path.with_suffix(".lock"))
                await loop.run_in_executor(self._pool, self._writer.start, chain, loop)
            except OSError as error:
                self._unlock()
                raise StoreError(f"{self._path}: {error.strerror}") from error
            except StoreError:
                self._unlock()
                raise
        self._open = True
        await self._read(lambda _: None)

    async def close(self) -> None:
        """Ends after all writes that were accepted."""
        if not self._open:
            return
        self._open = False
        loop = asyncio.get_running_loop()
        # The reader goes first: the last connection that closes moves the log into the file.
        await loop.run_in_executor(self._pool, self._close_reader)
        await self._writer.stop()
        self._pool.shutdown()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    @property
    def reviewing(self) -> SqliteReviewing:
        """See ``Store.reviewing``."""
        return SqliteReviewing(self._read)

    @property
    def journal(self) -> SqliteJournal:
        """See ``Store.journal``."""
        return SqliteJournal(self._read)

    @property
    def degraded(self) -> str:
        """Why nothing can be written now; empty when all is well."""
        return self._writer.degraded

    @property
    def counters(self) -> dict[str, int]:
        """Transactions, batches and open deliveries since the start."""
        return {"groups": self._writer.groups, "batches": self._writer.batches, "open_deliveries": self._writer.open_deliveries}

    def observe(self, seconds: Histogram, batches: Histogram) -> None:
        """Has the seconds of each COMMIT and the batches of each transaction observed there."""
        self._writer.seconds, self._writer.sizes = seconds, batches

    @property
    def exceptions_version(self) -> str:
        """The version of the register as the writer sees it."""
        return self._writer.register

    # --- writing ------------------------------------------------------------------------------------------------------

    async def write(self, batch: Batch) -> None:
        """See ``Store.write``. Raises Conflict, StoreFull or StoreError."""
        await self._submit(batch=batch)

    async def release_leases(self, incarnation: str) -> int:
        """See ``Store.release_leases``."""

        def work(db: sqlite3.Connection) -> int:
            sql = "UPDATE deliveries SET state = 'scheduled', lease = '' WHERE state = 'leased' AND lease <> ?"
            return db.execute(sql, (incarnation,)).rowcount

        return int(await self._submit(work=work))

    async def compact(self) -> int:
        """See ``Store.compact``: at most 500 pages a call."""
        return int(await self._submit(work=lambda db: connection.give_back(db, self._path)))

    # --- removing what is past its retention ----------------------------------------------------------------------------

    async def drop_audit(self, closing: HeadRow, limit: int) -> int:
        """See ``Store.drop_audit``."""
        return int(await self._submit(work=lambda db: removal.audit(db, closing, limit)))

    async def drop_messages(self, before: float, after: str, limit: int) -> tuple[int, str]:
        """See ``Store.drop_messages``."""
        count, last = await self._submit(work=lambda db: removal.messages(db, before, after, limit))
        return int(count), str(last)

    async def drop_correspondents(self, before: int, limit: int) -> int:
        """See ``Store.drop_correspondents``."""
        return int(await self._submit(work=lambda db: removal.correspondents(db, before, limit)))

    async def drop_threads(self, before: int, limit: int) -> int:
        """See ``Store.drop_threads``."""
        return int(await self._submit(work=lambda db: removal.threads(db, before, limit)))

    async def drop_ended(self, before: float, limit: int) -> int:
        """See ``Store.drop_ended``."""
        return int(await self._submit(work=lambda db: removal.ended(db, before, limit)))

    async def drop_reviewed(self, before: float, limit: int) -> int:
        """See ``Store.drop_reviewed``."""
        return int(await self._submit(work=lambda db: removal.reviewed(db, before, limit)))

    async def drop_journal(self, now: float, limit: int) -> int:
        """See ``Store.drop_journal``."""
        return int(await self._submit(work=lambda db: removal.journal(db, now, limit)))

    # --- under which vault key -----------------------------------------------------------------------------------------

    async def sealed_bodies(self, after: int | str, limit: int) -> list[SealedBody]:
        """The next bodies that a vault key opens, in the order of their places."""
        return await self._read(lambda db: resealing.bodies(db, after, limit))

    async def sealed_fields(self, after: int | str, limit: int, table: str = "messages") -> list[SealedFields]:
        """The sealed fields of the next rows of *table*, in the order of their places."""
        return await self._read(lambda db: resealing.fields(db, after, limit, table))

    async def reseal(self, resealed: Resealed) -> int:
        """Writes rows under another key. Returns how many were still as they were read."""
        return int(await self._submit(work=lambda db: resealing.change(db, resealed)))

    async def needing_key(self, key_id: str, prefix: bytes) -> tuple[int, int]:
        """How many bodies, and how many rows with sealed fields, need a vault key; reads all rows."""
        return await self._read(lambda db: resealing.needing(db, key_id, prefix))

    async def bodies_by_key(self) -> dict[str, int]:
        """How many bodies each vault key has; reads all rows."""
        return await self._read(resealing.by_key)

    async def _submit(self, *, batch: Batch | None = None, work: Callable[[sqlite3.Connection], object] | None = None) -> Any:
        if not self._open or self._read_only:
            raise StoreError(f"{self._path}: the store is not open for writing")
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._writer.submit(Job(future, batch, work))
        return await future

    # --- reading ------------------------------------------------------------------------------------------------------

    async def _read(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        if not self._open:
            raise StoreError(f"{self._path}: the store is not open")
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._read_now, work)

    def _read_now(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        with self._reading:
            if self._reader is None:
                self._reader = connection.connect_reader(self._path, self._connect)
            try:
                return work(self._reader)
            except sqlite3.Error as error:
                raise connection.translate(error, self._path) from error
            except (ValueError, TypeError) as error:
                raise StoreError(f"{self._path}: a row is damaged and cannot be read: {error}") from error

    def _close_reader(self) -> None:
        with self._reading:
            if self._reader is not None:
                self._reader.close()
                self._reader = None

    @contextlib.contextmanager
    def _reader_away(self) -> Iterator[None]:
        """While the writer opens a degraded file again nobody else may have it open."""
        with self._reading:
            if self._reader is not None:
                with contextlib.suppress(sqlite3.Error):
                    self._reader.close()
                self._reader = None
            yield

    async def _all(self, sql: str, values: Sequence[object], make: Callable[[tuple[Any, ...]], _T]) -> list[_T]:
        return await self._read(lambda db: [make(v) for v in db.execute(sql, values)])

    async def _one(self, sql: str, values: tuple[object, ...], make: Callable[[tuple[Any, ...]], _T]) -> _T | None:
        found = await self._all(sql, values, make)
        return found[0] if found else None

    async def body(self, body_id: str) -> BodyRow | None:
        """The sealed content, or None when it was destroyed."""
        return await self._one(rows.SELECT_BODY + " WHERE id = ?", (body_id,), rows.body_row)

    async def message(self, id_or_reference: str) -> MessageRow | None:
        """The message with that id or reference."""
        return await self._one(
            rows.SELECT_MESSAGE + " WHERE id = ?1 OR reference = ?1 ORDER BY is_report LIMIT 1", (id_or_reference,), rows.message_row
        )

    async def due_deliveries(self, now: float, limit: int) -> list[DeliveryRow]:
        """See ``Store.due_deliveries``."""
        sql = " WHERE d.state IN ('scheduled', 'deferred') AND d.next_attempt <= ? ORDER BY d.next_attempt LIMIT ?"
        return await self._all(rows.SELECT_DELIVERY + sql, (now, limit), rows.delivery_row)

    async def open_delivery_count(self) -> int:
        """Deliveries that are not final; counted by the writer, so it costs nothing."""
        return self._writer.open_deliveries

    async def next_due(self) -> float | None:
        """See ``Store.next_due``."""
        sql = "SELECT next_attempt FROM deliveries WHERE state IN ('scheduled', 'deferred') ORDER BY next_attempt LIMIT 1"
        return await self._one(sql, (), lambda v: float(v[0]))

    async def deliveries(self, *, all: bool = False, limit: int = 1000, after: str = "", reference: str = "") -> list[DeliveryRow]:
        """Open deliveries by id (all with *all*), or every one of a reference."""
        if reference:
            sql = " WHERE m.reference = ? AND d.id > ? ORDER BY d.id LIMIT ?"
            return await self._all(rows.SELECT_DELIVERY + sql, (reference, after, limit), rows.delivery_row)
        sql = " WHERE d.id > ? ORDER BY d.id LIMIT ?" if all else _LIST_OPEN
        return await self._all(rows.SELECT_DELIVERY + sql, (after, limit), rows.delivery_row)

    async def delivery(self, delivery_id: str) -> DeliveryRow | None:
        """One delivery by its id."""
        return await self._one(rows.SELECT_DELIVERY + " WHERE d.id = ?", (delivery_id,), rows.delivery_row)

    async def holds(self, *, all: bool = False, limit: int = 1000, after: str = "") -> list[HoldRow]:
        """Open held records by id; finished ones too with *all*."""
        sql = f" WHERE {'1' if all else OPEN_HOLD_SQL} AND id > ? ORDER BY id LIMIT ?"
        return await self._all(rows.SELECT_HOLD + sql, (after, limit), rows.hold_row)

    async def hold(self, id_or_reference: str) -> HoldRow | None:
        """The held record with that id, else the newest of that reference (an open one first)."""
        sql = f" WHERE id = ?1 OR reference = ?1 ORDER BY {OPEN_HOLD_SQL} DESC, id DESC LIMIT 1"
        return await self._one(rows.SELECT_HOLD + sql, (id_or_reference,), rows.hold_row)

    async def expired_holds(self, now: float, limit: int) -> list[HoldRow]:
        """Open held records whose deadline has passed, oldest deadline first."""
        sql = f" WHERE {OPEN_HOLD_SQL} AND deadline <= ? ORDER BY deadline LIMIT ?"
        return await self._all(rows.SELECT_HOLD + sql, (now, limit), rows.hold_row)

    async def approvals(self, hold_id: str) -> list[ApprovalRow]:
        """The approvals of one held record, oldest first."""
        return await self._all(rows.SELECT_APPROVAL + " WHERE hold_id = ? ORDER BY id", (hold_id,), rows.approval_row)

    async def exceptions(self, *, all: bool = False) -> list[ExceptionRow]:
        """The active entries of the register; every entry with *all*."""
        sql = " ORDER BY id" if all else " WHERE state = 'active' ORDER BY id"
        return await self._all(rows.SELECT_EXCEPTION + sql, (), rows.exception_row)

    async def profiles(self, *, all: bool = False) -> list[ProfileRow]:
        """The profiles that are on; every one with *all*."""
        sql = " ORDER BY id" if all else " WHERE state = 'active' ORDER BY id"
        return await self._all(rows.SELECT_PROFILE + sql, (), rows.profile_row)

    async def known_pairs(self, pairs: Sequence[bytes]) -> set[bytes]:
        """See ``Store.known_pairs``."""
        return await self._read(lambda db: removal.known_pairs(db, pairs))

    async def remembered(self, marks: Sequence[bytes]) -> dict[bytes, int]:
        """See ``Store.remembered``."""
        return await self._read(lambda db: removal.remembered(db, marks)) if marks else {}

    async def figures(self) -> Figures:
        """Open deliveries, held mail and sizes as they are now."""
        return await self._read(lambda db: figures.read(db, self._path))

    async def users(self) -> list[UserRow]:
        """The reviewers by name."""
        return await self._all(rows.SELECT_USER + " ORDER BY name", (), rows.user_row)

    async def audit_head(self, chain: str) -> AuditRow | None:
        """The last row of a chain."""
        return await self._one(rows.SELECT_AUDIT + " WHERE chain = ? ORDER BY seq DESC LIMIT 1", (chain,), rows.audit_row)

    async def audit_chains(self) -> list[str]:
        """The names of all chains that have a row or a signed head."""
        found = await self._all("SELECT chain FROM audit UNION SELECT chain FROM heads ORDER BY 1", (), lambda v: str(v[0]))
        return sorted({*found, *(closing.chain for closing in await self.closings())})

    async def audit_rows(
        self, *, chain: str = "", after: int = 0, limit: int = 1000, reference: str = "", within: frozenset[str] | None = None
    ) -> list[AuditRow]:
        """Rows in chain order after sequence number *after*; *within*: of these departments only."""
        sql = " WHERE seq > ?1"
        if chain:
            sql += " AND chain = ?2"
        if reference:
            sql += " AND reference = ?3"
        if within is not None:
            sql += " AND department IN (SELECT value FROM json_each(?5))"
        more = () if within is None else (rows.dump(sorted(within)),)
        sql = rows.SELECT_AUDIT + sql + " ORDER BY chain, seq LIMIT ?4"
        return await self._all(sql, (after, chain, reference, limit, *more), rows.audit_row)

    async def signed_heads(self, chain: str = "") -> list[HeadRow]:
        """The signed heads of one chain (of all), oldest first."""
        return await self._all(rows.SELECT_HEAD + " WHERE ?1 = '' OR chain = ?1 ORDER BY chain, seq", (chain,), rows.head_row)

    async def closings(self, chain: str = "") -> list[HeadRow]:
        """See ``Store.closings``."""
        if not await self._all("SELECT 1 FROM sqlite_master WHERE name = 'closings'", (), len):
            return []  # a store of the first format, opened for reading
        return await self._all(rows.SELECT_CLOSING + " WHERE ?1 = '' OR chain = ?1 ORDER BY chain", (chain,), rows.head_row)

    async def audit_ages(self, chain: str, after: int, limit: int) -> list[tuple[int, float, str]]:
        """See ``Store.audit_ages``."""
        sql = "SELECT seq, created, hash FROM audit WHERE chain = ? AND seq > ? ORDER BY seq LIMIT ?"
        return await self._all(sql, (chain, after, limit), lambda v: (int(v[0]), float(v[1]), str(v[2])))

    async def search_audit(
        self, *, text: str = "", sender: str = "", recipient: str = "", rule: str = "", since: float = 0, until: float = 0,
        limit: int = 1000, after: int = 0, before: int = 0, within: frozenset[str] | None = None,
    ) -> list[AuditRow]:  # fmt: skip
        """See ``Store.search_audit``."""
        sought = LogSearch(
            text=text, sender=sender, recipient=recipient, rule=rule, since=since, until=until, limit=limit, after=after, before=before,
            within=within,
        )  # fmt: skip
        return await self._all(*statement(sought, _WAYS), rows.audit_row)

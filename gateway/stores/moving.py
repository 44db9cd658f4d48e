"""Moving the embedded store of a stopped gateway into PostgreSQL, a bounded step at a time.

What it is: ``Move``: makes the tables in an empty database, copies table by table in the order of the keys, and finishes what only
PostgreSQL keeps. Each step is one transaction with the mark of how far it is, so that a run that was killed goes on.
Who calls it: ``gateway store migrate``; ``moved_check`` says afterwards whether both sides are the same.
Must never: write to the embedded store; write into a database that somebody else uses; let a keeper open a store that is half there.
Sources: https://www.postgresql.org/docs/15/sql-copy.html; docs/design.md section 6.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from psycopg import AsyncConnection

from gateway.stores import moved_rows, rows, schema
from gateway.stores.base import ENDED, StoreError, register_version
from gateway.stores.moved_rows import Row, Table
from gateway.stores.postgres import partitions, tables

_STEP_ROWS = 2000
_STEP_OCTETS = 8 << 20
NOBODY = 1 << 40
"""What ``store_format.oldest_code`` says while the store is half there: no keeper opens it."""
_PROGRESS = (
    'CREATE TABLE moved (name text COLLATE "C" PRIMARY KEY, key text NOT NULL, rows bigint NOT NULL, finished boolean NOT NULL)',
    "CREATE TABLE moved_from (one bigint PRIMARY KEY CHECK (one = 1), mark text NOT NULL, finished boolean NOT NULL)",
)
_CHAINS = (
    "INSERT INTO chains (chain, seq, hash) SELECT DISTINCT ON (chain) chain, seq, hash FROM audit ORDER BY chain, seq DESC"
    " ON CONFLICT (chain) DO UPDATE SET seq = excluded.seq, hash = excluded.hash"
)
Link = AsyncConnection[Any]


class Step(msgspec.Struct, frozen=True):
    """How far one table is."""

    table: str
    rows: int
    of: int
    total: int
    """Rows of all tables that are there."""
    of_all: int


class Move:
    """From *db* to *link*, which is in autocommit mode; *told* hears of each step. Raises StoreError, psycopg.Error, sqlite3.Error."""

    def __init__(self, db: sqlite3.Connection, link: Link, name: str, told: Callable[[Step], None]) -> None:
        self._db = db
        self._link = link
        self._name = name
        self._told = told
        self._counts = moved_rows.counts(db)

    async def run(self) -> dict[str, int]:
        """Copies what is not there yet. Returns the rows of each table."""
        taken = await self._one("SELECT pg_try_advisory_lock(%s::int, 1)", (tables.LOCK_FORMAT,))
        if not taken[0]:
            raise StoreError(f"{self._name}: another run of this command, or a keeper that makes the tables, is at work on this database")
        await self._prepare()
        total = 0
        for table in moved_rows.tables():
            total += await self._table(table, total)
        await self._finish()
        return self._counts

    async def begin_anew(self) -> None:
        """What was copied is not what is there: the next run copies everything again."""
        await self._empty()

    # --- before -----------------------------------------------------------------------------------------------------------

    async def _prepare(self) -> None:
        mark = _mark(self._db, self._counts)
        if not await self._there("store_format"):
            if await self._one("SELECT 1 FROM pg_tables WHERE schemaname = current_schema()", ()):
                raise StoreError(f"{self._name}: there are tables in this database that are not ours; name an empty one")
            async with self._link.transaction():
                for sql in (*tables.create(), *_earlier(int(time.time() // partitions.DAY) - 1), *_PROGRESS):
                    await self._link.execute(sql)
                await self._link.execute("UPDATE store_format SET oldest_code = %s", (NOBODY,))
                await self._link.execute("INSERT INTO moved_from (one, mark, finished) VALUES (1, %s, false)", (mark,))
            await partitions.ahead(self._link, time.time())
            return
        if not await self._there("moved_from"):
            raise StoreError(f"{self._name}: this database is a store of the gateway already; name an empty one")
        before, finished = await self._one("SELECT mark, finished FROM moved_from", ())
        if finished:
            raise StoreError(f"{self._name}: a store was moved here already, and may be in use; name an empty database")
        version = (await self._one("SELECT version FROM store_format", ()))[0]
        if version != schema.VERSION:
            raise StoreError(f"{self._name}: an earlier run of another version of the gateway began here; name an empty database")
        if before != mark:
            await self._empty()
            await self._link.execute("UPDATE moved_from SET mark = %s", (mark,))

    async def _empty(self) -> None:
        names = ", ".join(_targets(table) for table in moved_rows.tables())
        async with self._link.transaction():
            await self._link.execute(f"TRUNCATE {names}, chains, moved")
            await self._link.execute("UPDATE moved_from SET finished = false")
            await self._link.execute("UPDATE store_format SET oldest_code = %s", (NOBODY,))

    # --- a table -----------------------------------------------------------------------------------------------------------

    async def _table(self, table: Table, before: int) -> int:
        found = await self._one("SELECT key, rows, finished FROM moved WHERE name = %s", (table.name,))
        key, done, finished = found or ("", 0, False)
        if not finished:
            left = moved_rows.source_rows(self._db, table, moved_rows.key_from(key) if key else ())
            for step in _steps(left):
                done += len(step)
                key = moved_rows.key_text(moved_rows.key_of(table, step[-1]))
                async with self._link.transaction():
                    for target, some in _divided(table, step):
                        await self._copy(table, target, some)
                    await self._note(table, key, done, finished=False)
                self._tell(table, done, before)
            await self._note(table, key, done, finished=True)
        self._tell(table, done, before)
        return int(done)

    async def _copy(self, table: Table, target: str, step: list[Row]) -> None:
        sql = f"COPY {target} ({table.listed}) FROM STDIN (FORMAT BINARY)"
        async with self._link.cursor() as cursor, cursor.copy(sql) as copy:
            copy.set_types(table.kinds)
            for row in step:
                await copy.write_row(row)

    async def _note(self, table: Table, key: str, done: int, *, finished: bool) -> None:
        await self._link.execute(
            "INSERT INTO moved (name, key, rows, finished) VALUES (%s, %s, %s, %s) ON CONFLICT (name)"
            " DO UPDATE SET key = excluded.key, rows = excluded.rows, finished = excluded.finished",
            (table.name, key, done, finished),
        )

    def _tell(self, table: Table, done: int, before: int) -> None:
        self._told(Step(table.name, done, self._counts[table.name], before + done, sum(self._counts.values())))

    # --- after -------------------------------------------------------------------------------------------------------------

    async def _finish(self) -> None:
        """What only PostgreSQL keeps: where the chains end, the version of the register, and where positions go on."""
        register = register_version(
            (rows.exception_row(v) for v in self._db.execute(rows.SELECT_EXCEPTION + " WHERE state = 'active'")),
            (rows.profile_row(v) for v in self._db.execute(rows.SELECT_PROFILE + " WHERE state = 'active'")),
        )
        async with self._link.transaction():
            await self._link.execute(_CHAINS)
            await self._link.execute("UPDATE register SET version = %s", (register,))
            await self._link.execute("UPDATE store_format SET base = coalesce((SELECT max(position) FROM audit), 0)")

    async def accept(self) -> None:
        """Both sides were found to be the same: keepers may open the store from now on."""
        async with self._link.transaction():
            await self._link.execute("UPDATE store_format SET oldest_code = %s", (schema.VERSION,))
            await self._link.execute("UPDATE moved_from SET finished = true")
            await self._link.execute("DROP TABLE moved")

    async def _there(self, table: str) -> bool:
        return (await self._one("SELECT to_regclass(%s) IS NOT NULL", (table,)))[0] is True

    async def _one(self, sql: str, values: tuple[object, ...]) -> Row:
        return await (await self._link.execute(sql, values)).fetchone() or ()


def _earlier(day: int) -> list[str]:
    """A partition for all that is older than *day*: in the default one it would be read through whenever a day gets its own."""
    made = [
        f"CREATE TABLE {table}_earlier PARTITION OF {table} FOR VALUES FROM (MINVALUE) TO ({day * partitions.DAY})"
        for table in tables.DAILY
    ]
    return [*made, "CREATE UNIQUE INDEX uq_audit_earlier_chain_seq ON audit_earlier (chain, seq)"]


def _targets(table: Table) -> str:
    return "deliveries_open, deliveries_done" if table.name == "deliveries" else table.name


def _divided(table: Table, step: list[Row]) -> Iterator[tuple[str, list[Row]]]:
    """The rows of one step by the table that they go into."""
    if table.name != "deliveries":
        yield table.name, step
        return
    state = table.columns.index("state")
    for target, is_open in (("deliveries_open", True), ("deliveries_done", False)):
        if some := [row for row in step if (row[state] not in ENDED) is is_open]:
            yield target, some


def _steps(left: Iterator[Row]) -> Iterator[list[Row]]:
    step: list[Row] = []
    weight = 0
    for row in left:
        step.append(row)
        weight += moved_rows.octets(row)
        if len(step) == _STEP_ROWS or weight >= _STEP_OCTETS:
            yield step
            step, weight = [], 0
    if step:
        yield step


def _mark(db: sqlite3.Connection, counts: dict[str, int]) -> str:
    """What changes when the gateway has run on the embedded store between two runs: whatever it does is in its decision log."""
    ends = db.execute("SELECT chain, seq, hash FROM audit WHERE (chain, seq) IN (SELECT chain, max(seq) FROM audit GROUP BY chain)")
    text = repr((sorted(counts.items()), sorted(ends.fetchall())))
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()

"""Rows that lie in a store: as many as a year leaves, written past the gateway in a minute.

What it is: ``embedded`` and ``shared``, which fill the store of stopped gateways with held, finished, recorded and waiting rows.
Who calls it: ``nodes`` and ``growth``.
Must never: be run on a store that is in use, or that somebody needs.
Sources: https://www.postgresql.org/docs/15/populate.html (one statement a table, indexes last, no waiting for the disk at each commit).
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg

from gateway.stores import moved_rows

_SPAN = 80_000.0  # seconds that the rows go back: there are partitions for today and yesterday


def _insert(table: str, count: int, dialect: str, **given: str) -> str:
    """``INSERT`` of *count* rows numbered ``n``; columns that are not *given* are empty or 0."""
    name = "deliveries" if table.startswith("deliveries") else table
    shape = next(one for one in moved_rows.tables() if one.name == name)
    empty = {"text": "''", "bigint": "0", "double precision": "0", "boolean": "false", "bytea": "''::bytea" if dialect == "pg" else "x''"}
    values = [given.get(column) or empty[kind] for column, kind in zip(shape.columns, shape.kinds, strict=True)]
    if dialect == "pg":
        return f"INSERT INTO {table} ({shape.listed}) SELECT {', '.join(values)} FROM generate_series(1, {count}) AS s (n)"
    series = f"WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {count})"
    return f"INSERT INTO {name} ({shape.listed}) {series} SELECT {', '.join(values)} FROM s"


def _rows(held: int, done: int, waiting: int, dialect: str) -> Iterator[str]:
    """*held* messages, *done* ones that were delivered, as many decisions in a chain of their own, and *waiting* deliveries."""
    now, pg, recorded = time.time(), dialect == "pg", held + done
    step = min(0.5, _SPAN / max(held, recorded, waiting, 1))

    def id_(letter: str, n: str = "n") -> str:
        return f"'{letter}' || lpad(({n})::text, 31, '0')" if pg else f"'{letter}' || printf('%031d', {n})"

    octets = "decode(repeat('ab', 700), 'hex')" if pg else "zeroblob(700)"
    json_ = {"peer": "'{}'", "verdict": "'{}'", "facts": "'{}'", "created": f"{now} - n * {step}", "sender": "'a' || n || '@dept.gov.in'"}
    for letter, reference, count in (("0", "R", held), ("1", "S", done), ("2", "T", waiting)):
        if count:
            yield _insert("messages", count, dialect, id=id_(letter), reference=id_(reference), body_id=id_(letter), **json_)
    for letter, count in (("0", held), ("2", waiting)):
        if count:
            yield _insert("bodies", count, dialect, id=id_(letter), key_id="'none'", ciphertext=octets, size="700", sealed="true")
    if held:
        yield _insert(
            "holds", held, dialect, id=id_("0"), message_id=id_("0"), reference=id_("R"), body_id=id_("0"), created=f"{now} - n * {step}",
            deadline=f"{now} + 8000000 + n", state="'held'", recipients="'[\"a@b.in\"]'", released="'[]'", rule="'r' || (n % 20)",
            department="'d' || (n % 50) || '.gov.in'", updated=f"{now} - n * {step}",
        )  # fmt: skip
    way = {"recipient": "'desk@finance.nic.in'", "edits": "'[]'", "direction": "'internal'", "created": f"{now} - n * {step}"}
    if done:
        yield _insert("deliveries_done", done, dialect, id=id_("1"), message_id=id_("1"), state="'delivered'", notify="NULL", **way)
    if waiting:
        yield _insert(
            "deliveries_open", waiting, dialect, id=id_("2"), message_id=id_("2"), state="'deferred'", notify="NULL", attempts="1",
            next_attempt=f"{now} + 36000 + n", **way,
        )  # fmt: skip
    if recorded:
        yield _insert(
            "audit", recorded, dialect, position="n", chain="'filled'", seq="n", reference=id_("S"), disposition="'deliver'", line="'{}'",
            created=f"{now} - n * {step}", hash="'' || n", rule="'r1'",
        )  # fmt: skip
        if pg:
            yield f"INSERT INTO chains (chain, seq, hash) VALUES ('filled', {recorded}, '{recorded}')"
            yield f"UPDATE store_format SET base = {recorded}"


def embedded(file: Path, held: int, done: int, waiting: int) -> None:
    """Fills the embedded store in *file*."""
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.executescript("PRAGMA synchronous = OFF; PRAGMA cache_size = -400000; BEGIN")
        indexes = db.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'holds' AND sql IS NOT NULL"
        ).fetchall()
        for sql in _statements(indexes, _rows(held, done, waiting, "sqlite")):
            db.execute(sql)
        db.execute("COMMIT")


def shared(link: psycopg.Connection[Any], held: int, done: int, waiting: int) -> None:
    """Fills the PostgreSQL store that *link*, the superuser's in autocommit, is connected to."""
    link.execute("SET synchronous_commit = off")
    link.execute("SET maintenance_work_mem = '256MB'")
    indexes = link.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'holds' AND indexname NOT IN (SELECT conname FROM pg_constraint)"
    ).fetchall()
    for sql in _statements(indexes, _rows(held, done, waiting, "pg")):
        link.execute(sql)
    link.execute("VACUUM ANALYZE")
    link.execute("CHECKPOINT")


def _statements(indexes: Sequence[tuple[str, str]], rows: Iterable[str]) -> Iterator[str]:
    """*rows* without *indexes*, which are made again after them: in order, a table of many indexes is filled several times as quickly."""
    yield from (f"DROP INDEX {name}" for name, _ in indexes)
    yield from rows
    yield from (sql for _, sql in indexes)

"""Journal copies read from the embedded store, and their removal.

What it is: ``SqliteJournal``, the ``JournalReading`` of ``store.SqliteStore``, and ``removed``.
Who calls it: ``store`` and ``removal``.
Must never: change a copy that was filed; remove one before its time, or a body that somebody else still needs.
Source: docs/design.md section 6.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

from gateway.stores import rows
from gateway.stores.journal import JournalRow, Waiting
from gateway.stores.journal_rows import SELECT_COPY, copy_row
from gateway.stores.schema import NEEDED_COPY_SQL, OPEN_DELIVERY_SQL, OPEN_HOLD_SQL, UNFILED_COPY_SQL

_T = TypeVar("_T")


def removed(db: sqlite3.Connection, now: float, limit: int) -> int:
    """Removes at most *limit* copies that are filed or kept and whose retention ended before *now*, and the bodies that nothing else
    needs then; inside the caller's transaction. Returns how many copies."""
    listed = db.execute(
        "SELECT id, message_id, body_id FROM journal WHERE state IN ('filed', 'kept') AND retain_until < ? ORDER BY retain_until LIMIT ?",
        (now, limit),
    ).fetchall()
    for id, message_id, body_id in listed:
        db.execute("DELETE FROM journal WHERE id = ?", (id,))
        db.execute(
            f"DELETE FROM bodies WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM deliveries WHERE message_id = ?2 AND {OPEN_DELIVERY_SQL})"  # noqa: S608
            f" AND NOT EXISTS (SELECT 1 FROM holds WHERE message_id = ?2 AND {OPEN_HOLD_SQL})"
            f" AND NOT EXISTS (SELECT 1 FROM journal WHERE message_id = ?2 AND {NEEDED_COPY_SQL})",
            (body_id, message_id),
        )
    return len(listed)


class Read(Protocol):
    """Runs a function on the reading connection, in its thread."""

    def __call__(self, work: Callable[[sqlite3.Connection], _T], /) -> Awaitable[_T]: ...


class SqliteJournal:
    """See ``journal.JournalReading``; each method raises StoreError as it says."""

    def __init__(self, read: Read) -> None:
        self._read = read

    async def due(self, name: str, now: float, limit: int) -> list[JournalRow]:
        """Through the index of what is not filed."""
        sql = f" WHERE name = ? AND {UNFILED_COPY_SQL} AND next_attempt <= ? ORDER BY next_attempt LIMIT ?"
        return await self._all(SELECT_COPY + sql, (name, now, limit), copy_row)

    async def next_due(self, name: str) -> float | None:
        """Through the same index."""
        sql = f"SELECT next_attempt FROM journal WHERE name = ? AND {UNFILED_COPY_SQL} ORDER BY next_attempt LIMIT 1"  # noqa: S608
        found = await self._all(sql, (name,), lambda v: float(v[0]))
        return found[0] if found else None

    async def page(self, name: str, after: str, limit: int) -> list[JournalRow]:
        """In the order of ids."""
        return await self._all(SELECT_COPY + " WHERE id > ?1 AND ?2 IN ('', name) ORDER BY id LIMIT ?3", (after, name, limit), copy_row)

    async def newest(self, name: str, reference: str, before: str, limit: int) -> list[JournalRow]:
        """Backwards in the order of ids."""
        where, values = ["?1 IN ('', name)"], [name]  # type: tuple[list[str], list[object]]
        if reference:
            where.append("reference = ?")
            values.append(reference)
        if before:
            where.append("id < ?")
            values.append(before)
        return await self._all(f"{SELECT_COPY} WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT ?", (*values, limit), copy_row)

    async def among(self, name: str, references: Sequence[str]) -> dict[str, JournalRow]:
        """By reference."""
        sql = SELECT_COPY + " WHERE name = ? AND reference IN (SELECT value FROM json_each(?))"  # noqa: S608 - constants of ours
        found = await self._all(sql, (name, rows.dump(list(references))), copy_row)
        return {row.reference: row for row in found}

    async def count(self, name: str) -> int:
        """Counts the table."""
        return (await self._all("SELECT count(*) FROM journal WHERE ?1 IN ('', name)", (name,), lambda v: int(v[0])))[0]

    async def waiting(self) -> list[Waiting]:
        """Through the index of what is not filed."""
        sql = f"SELECT name, count(*), min(created) FROM journal WHERE {UNFILED_COPY_SQL} GROUP BY name ORDER BY name"  # noqa: S608
        return await self._all(sql, (), lambda v: Waiting(str(v[0]), int(v[1]), float(v[2])))

    async def _all(self, sql: str, values: Sequence[object], make: Callable[[tuple[Any, ...]], _T]) -> list[_T]:
        return await self._read(lambda db: [make(v) for v in db.execute(sql, values)])

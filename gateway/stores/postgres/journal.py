"""Journal copies read from PostgreSQL.

What it is: ``PostgresJournal``, the ``JournalReading`` of ``store.PostgresStore``, and ``removed``.
Who calls it: ``store`` and ``removal``.
Must never: change a copy that was filed; remove one before its time, or a body that somebody else still needs.
Source: docs/design.md section 6.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.stores.journal import JournalRow, Waiting
from gateway.stores.journal_rows import SELECT_COPY, copy_row
from gateway.stores.postgres.asking import Asking
from gateway.stores.schema import UNFILED_COPY_SQL

WAITING = f"SELECT name, count(*), min(created) FROM journal WHERE {UNFILED_COPY_SQL} GROUP BY name ORDER BY name"  # noqa: S608 - ours


class PostgresJournal:
    """See ``journal.JournalReading``; each method raises StoreError as it says."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking

    async def due(self, name: str, now: float, limit: int) -> list[JournalRow]:
        """Through the index of what is not filed."""
        sql = f" WHERE name = %s AND {UNFILED_COPY_SQL} AND next_attempt <= %s ORDER BY next_attempt, created LIMIT %s"
        return await self._asking.all(SELECT_COPY + sql, (name, now, limit), copy_row)

    async def next_due(self, name: str) -> float | None:
        """Through the same index."""
        sql = f"SELECT next_attempt FROM journal WHERE name = %s AND {UNFILED_COPY_SQL} ORDER BY next_attempt LIMIT 1"  # noqa: S608
        return await self._asking.one(sql, (name,), lambda v: float(v[0]))

    async def page(self, name: str, after: str, limit: int) -> list[JournalRow]:
        """In the order of ids."""
        return await self._pages(name, [("id > %s", after)], "ASC", limit)

    async def newest(self, name: str, reference: str, before: str, limit: int) -> list[JournalRow]:
        """Backwards in the order of ids."""
        wanted = [("reference = %s", reference), ("id < %s", before)]
        return await self._pages(name, [one for one in wanted if one[1]], "DESC", limit)

    async def among(self, name: str, references: Sequence[str]) -> dict[str, JournalRow]:
        """By reference."""
        sql = SELECT_COPY + " WHERE name = %s AND reference = ANY(%s::text[])"
        return {row.reference: row for row in await self._asking.all(sql, (name, list(references)), copy_row)}

    async def count(self, name: str) -> int:
        """Counts the table."""
        sql, values = ("SELECT count(*) FROM journal WHERE name = %s", (name,)) if name else ("SELECT count(*) FROM journal", ())
        return (await self._asking.all(sql, values, lambda v: int(v[0])))[0]

    async def waiting(self) -> list[Waiting]:
        """Through the index of what is not filed."""
        return await self._asking.all(WAITING, (), lambda v: Waiting(str(v[0]), int(v[1]), float(v[2])))

    async def _pages(self, name: str, where: list[tuple[str, str]], order: str, limit: int) -> list[JournalRow]:
        where = ([("name = %s", name)] if name else []) + where
        conditions = f" WHERE {' AND '.join(sql for sql, _ in where)}" if where else ""
        sql = f"{SELECT_COPY}{conditions} ORDER BY id {order} LIMIT %s"
        return await self._asking.all(sql, (*(value for _, value in where), limit), copy_row)

"""Whether PostgreSQL holds what the embedded store holds: counts, and a digest over every row of every table.

What it is: ``compare``, which reads both sides in full.
Who calls it: ``gateway store migrate``, before it lets a keeper open the new store.
Must never: write; take the mark of how far the copying was for what is there.
Source: docs/design.md section 6.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import msgspec
from psycopg import AsyncConnection

from gateway.stores import moved_rows
from gateway.stores.moved_rows import Table

_PAGE = 1000
_PAGE_OF_BODIES = 16


class Compared(msgspec.Struct, frozen=True):
    """One table on both sides. Digests are over all rows in whatever order."""

    table: str
    rows: int
    """In the embedded store."""
    rows_there: int
    digest: str
    digest_there: str

    @property
    def same(self) -> bool:
        """Whether both sides are equal."""
        return (self.rows, self.digest) == (self.rows_there, self.digest_there)


async def compare(db: sqlite3.Connection, link: AsyncConnection[Any], told: Callable[[Compared], None]) -> bool:
    """Reads both sides of each table; *told* hears of each. Whether all are equal."""
    equal = True
    for table in moved_rows.tables():
        here, there = _of_source(db, table), await _of_target(link, table)
        found = Compared(table.name, here[0], there[0], f"{here[1]:064x}", f"{there[1]:064x}")
        equal &= found.same
        told(found)
    return equal


def _of_source(db: sqlite3.Connection, table: Table) -> tuple[int, int]:
    count, sums = 0, 0
    for row in moved_rows.source_rows(db, table):
        count, sums = count + 1, moved_rows.digest(sums, (row,))
    return count, sums


async def _of_target(link: AsyncConnection[Any], table: Table) -> tuple[int, int]:
    count, sums = 0, 0
    async with link.transaction(), link.cursor(name="moved") as cursor:
        await cursor.execute(f"SELECT {table.listed} FROM {table.name}")  # noqa: S608 - names of ours
        size = _PAGE_OF_BODIES if table.name == "bodies" else _PAGE
        while page := await cursor.fetchmany(size):
            count, sums = count + len(page), moved_rows.digest(sums, page)
    return count, sums

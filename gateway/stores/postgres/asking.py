"""One question to PostgreSQL and its rows: what all reading parts of that store share.

What it is: ``Asking``, over the pool's readers, and ``rows_of``.
Who calls it: ``reading``, ``reviewing``, ``search`` and ``journal``.
Must never: write; put a value into the text of a statement.
Source: docs/design.md section 6.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar

from gateway.stores.postgres.connection import Connection, Pool

_T = TypeVar("_T")
Make = Callable[[tuple[Any, ...]], _T]


async def rows_of(link: Connection, sql: str, values: Sequence[object], make: Make[_T]) -> list[_T]:
    """What *sql* gives, each row made anew. A row that is damaged raises ValueError or TypeError, which the pool translates."""
    cursor = await link.execute(sql, values)
    return [make(row) for row in await cursor.fetchall()]


class Asking:
    """Asks a reader of *pool*; raises StoreError as the pool does."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def all(self, sql: str, values: Sequence[object], make: Make[_T]) -> list[_T]:
        """All rows."""
        async with self._pool.reader() as link:
            return await rows_of(link, sql, values, make)

    async def one(self, sql: str, values: Sequence[object], make: Make[_T]) -> _T | None:
        """The first row, or None."""
        found = await self.all(sql, values, make)
        return found[0] if found else None

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Connection]:
        """A reader for several questions that have to see the same rows."""
        async with self._pool.reader() as link, link.transaction():
            await link.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield link

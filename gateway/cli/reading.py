"""Stores that a command reads without the keeper: the embedded file, or a PostgreSQL.

What it is: ``named`` and ``configured`` (which store), ``log_of``, which opens its decision log, and ``kept``, all of the config's store.
Who calls it: ``gateway audit verify``; ``gateway check`` and ``gateway keys`` for what they have to know of the store.
Must never: write; take the lock of a keeper.
Source: docs/design.md section 10.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, TypeAlias

from gateway.cli.options import Stop

if TYPE_CHECKING:
    from gateway.audit.audit import Reader
    from gateway.config import Config
    from gateway.stores.postgres.connection import Pool, Target
    from gateway.stores.postgres.reading import PostgresReading
    from gateway.stores.sqlite.store import SqliteStore

Where: TypeAlias = "FilePath | Target"


def named(url: str, password_file: str = "") -> Where:
    """The store of *url*: ``postgresql://…``, ``sqlite:///path``, or a file or folder."""
    if url.startswith(("postgresql://", "postgres://")):
        from gateway.stores.postgres.connection import Target

        return Target(url, FilePath(password_file) if password_file else None)
    if "://" in url and not url.startswith("sqlite:///"):
        raise Stop(
            f"--store: there are no {url.split(':', 1)[0]} stores; name postgresql://…, sqlite:///path/gateway.db or a state folder", 2
        )
    path = FilePath(url.removeprefix("sqlite://")) if url.startswith("sqlite:///") else FilePath(url)
    return path / "gateway.db" if path.is_dir() else path


def configured(config: Config) -> Where:
    """The store that *config* names."""
    if config.store.url == "sqlite":
        return config.state_dir / "gateway.db"
    from gateway.stores.postgres.connection import Target

    return Target.of(config.store)


@contextlib.asynccontextmanager
async def _embedded(path: FilePath) -> AsyncIterator[SqliteStore]:
    from gateway.stores.sqlite.store import SqliteStore

    store = SqliteStore(path, read_only=True)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@contextlib.asynccontextmanager
async def _asked(target: Target, name: str) -> AsyncIterator[Pool]:
    """Connections to the server of *target*, which sees them under *name*."""
    from gateway.stores.postgres.connection import Pool

    pool = Pool(target, readers=1, statement=0, name=name)
    await pool.open()
    try:
        yield pool
    finally:
        await pool.close()


@contextlib.asynccontextmanager
async def log_of(where: Where) -> AsyncIterator[Reader]:
    """The decision log of the store *where*. Raises StoreError."""
    if isinstance(where, FilePath):
        async with _embedded(where) as store:
            yield store
        return
    from gateway.stores.postgres.asking import Asking
    from gateway.stores.postgres.audit import PostgresAudit

    async with _asked(where, "gateway audit verify") as pool:
        yield PostgresAudit(Asking(pool))


@contextlib.asynccontextmanager
async def kept(config: Config) -> AsyncIterator[SqliteStore | PostgresReading | None]:
    """The store of *config* for reading; None where there is none yet. Raises StoreError."""
    where = configured(config)
    if isinstance(where, FilePath):
        if not where.exists():
            yield None
            return
        async with _embedded(where) as store:
            yield store
        return
    from gateway.stores.postgres.reading import PostgresReading

    async with _asked(where, "gateway command") as pool:
        async with pool.reader() as link:
            made = await (await link.execute("SELECT to_regclass('store_format') IS NOT NULL")).fetchone()
        yield PostgresReading(pool) if made and made[0] else None

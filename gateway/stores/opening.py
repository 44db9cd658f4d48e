"""The store that a config names.

What it is: ``made``, which gives the embedded store or the one in PostgreSQL, not yet open.
Who calls it: the keeper, and commands that write while no keeper runs.
Must never: load PostgreSQL's driver where the store is embedded.
Source: docs/design.md section 8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from gateway.config import Config
from gateway.stores.sqlite.store import SqliteStore

if TYPE_CHECKING:
    from gateway.stores.postgres.store import PostgresStore

NAME = "gateway.db"
Made: TypeAlias = "SqliteStore | PostgresStore"


def made(config: Config) -> Made:
    """The store of *config*, with the lock that keeps a second keeper out of its folder. Raises StoreError."""
    path = config.state_dir / NAME
    if not config.store.shared:
        return SqliteStore(path)
    from gateway.stores.postgres.connection import Target
    from gateway.stores.postgres.store import PostgresStore

    return PostgresStore(Target.of(config.store), lock=path.with_suffix(".lock"))

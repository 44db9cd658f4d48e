"""What the embedded store holds, in a few numbers.

What it is: ``read``, on the reading connection.
Who calls it: ``store``, for ``keeper.metrics``.
Must never: read a row that is not open; write.
Source: docs/design.md section 6.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path as FilePath

from gateway.stores.figures import DUE, HELD, PARKED, Figures, put_together
from gateway.stores.journal import Waiting
from gateway.stores.schema import UNFILED_COPY_SQL

_UNFILED = f"SELECT name, count(*), min(created) FROM journal WHERE {UNFILED_COPY_SQL} GROUP BY name ORDER BY name"  # noqa: S608


def read(db: sqlite3.Connection, path: FilePath) -> Figures:
    """The figures as they are now. Raises sqlite3.Error."""
    unfiled = tuple(Waiting(str(name), int(count), float(oldest)) for name, count, oldest in db.execute(_UNFILED))
    octets = sum(_size(file) for file in (path, path.with_name(path.name + "-wal")))
    return put_together(db.execute(DUE).fetchall(), db.execute(PARKED).fetchall(), db.execute(HELD).fetchall(), octets, unfiled)


def _size(path: FilePath) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0

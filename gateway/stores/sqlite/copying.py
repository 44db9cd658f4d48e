"""A consistent copy of the store as a new file, while mail goes on, and what is in it.

What it is: ``copy_into`` (VACUUM INTO: one snapshot, without the pages of what was deleted), ``copy``, which does it on a connection
of its own at a bounded speed, and ``contents``.
Who calls it: ``upgrade`` before a change of format; ``keeper.backup`` and ``gateway backup``.
Must never: hold up the writer (a reader of a write-ahead log does not); leave a half copy behind; copy what was destroyed: the pages
of deleted rows stay out.
Sources: https://www.sqlite.org/lang_vacuum.html (VACUUM INTO); https://www.sqlite.org/wal.html; hostile-inputs catalogue O23.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
import time
from pathlib import Path as FilePath
from typing import Any

from gateway.stores.base import StoreError
from gateway.stores.sqlite import connection

_STEPS = 5_000
"""Instructions of SQLite's machine between two looks at the clock: under a millisecond of copying."""
_SHARE = 0.3
"""Part of the time that copying may take; the rest is slept, so that the mail path has the disk and a processor."""


def copy_into(db: sqlite3.Connection, target: FilePath) -> None:
    """A consistent copy of the store in *db* as the new file *target*, mode 0600, synced. Raises sqlite3.Error, OSError."""
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        db.execute("VACUUM INTO ?", (str(target),))
        os.fsync(descriptor)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


class Pace:
    """Keeps one connection to its share of the time; ``stop`` ends it at the next look."""

    def __init__(self, share: float = _SHARE) -> None:
        self.stop = threading.Event()
        self._share = share
        self._since = time.monotonic()

    def __call__(self) -> int:
        """SQLite's progress handler: sleeps as long as the share asks for; not 0 ends the statement."""
        worked = time.monotonic() - self._since
        if self.stop.wait(worked * (1 / self._share - 1)):
            return 1
        self._since = time.monotonic()
        return 0


def copy(path: FilePath, target: FilePath, pace: Pace) -> None:
    """Copies the store *path*, which may be in use, to the new file *target* (blocking). Raises StoreError, OSError."""
    try:
        db = sqlite3.connect(path, isolation_level=None, timeout=10)
        try:
            connection.format_of(db, path)
            db.set_progress_handler(pace, _STEPS)
            copy_into(db, target)
        finally:
            db.close()
    except sqlite3.Error as error:
        if pace.stop.is_set():
            raise StoreError("the copy was broken off") from error
        raise connection.translate(error, target) from error


def contents(path: FilePath) -> dict[str, Any]:
    """What the copy *path* holds: format, counts by state, and where each audit chain ends. Raises StoreError."""
    try:
        db = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True, timeout=10)
        try:
            found = connection.format_of(db, path)
            counts = {
                table: dict(db.execute(f"SELECT state, count(*) FROM {table} GROUP BY 1 ORDER BY 1").fetchall())  # noqa: S608 - ours
                for table in ("deliveries", "holds")
            }
            rows = {
                table: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - ours
                for table in ("bodies", "messages", "audit", "exceptions", "users")
            }
            ends = db.execute(
                "SELECT chain, seq, hash FROM audit WHERE (chain, seq) IN (SELECT chain, max(seq) FROM audit GROUP BY chain) ORDER BY 1"
            ).fetchall()
            keys = [key for (key,) in db.execute("SELECT DISTINCT key_id FROM bodies WHERE NOT sealed ORDER BY 1")]
        finally:
            db.close()
    except sqlite3.Error as error:
        raise connection.translate(error, path) from error
    chains = [{"chain": chain, "seq": seq, "hash": digest} for chain, seq, digest in ends]
    return {"format": found, **counts, "rows": rows, "chains": chains, "keys_needed": keys}


def digest_of(path: FilePath) -> str:
    """sha256 of the file *path* in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

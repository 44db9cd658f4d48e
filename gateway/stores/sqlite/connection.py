"""Opening an SQLite file so that it can be trusted: pragmas, migration, integrity, probe.

What it is: the functions that ``writer`` and ``store`` open files with, and the one translation of SQLite's errors.
Who calls it: ``writer``, ``store``.
Must never: go on with a file that fails its check; trust a write-ahead log after a failed fsync.
Sources: https://www.sqlite.org/wal.html; hostile-inputs catalogue O01, O02, O10, O16, O21.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path as FilePath

from gateway import __version__
from gateway.stores import schema
from gateway.stores.base import StoreError, StoreFull

PAGE_SIZE = 16_384
"""Four times SQLite's own: a large body is written in a quarter of the calls, and small rows cost the same."""
CHECKPOINT_PAGES = 1000
CHECK_UP_TO = 4 << 30
"""Octets of a file up to which its whole structure is checked at start."""
COPY_KEPT = 7 * 86400.0
"""Seconds that the copy made before a change of format is kept."""
_VACUUM_PAGES = 500
_VACUUM_LEAST = 25
_ALWAYS = frozenset({"audit", "bodies", "deliveries", "holds", "messages"})

Connect = Callable[..., sqlite3.Connection]


def connect_writer(path: FilePath, connect: Connect) -> sqlite3.Connection:
    """The writing connection of the file *path*: WAL, synchronous=FULL, migrated. Raises StoreError in plain words."""
    new = not path.exists()
    if new:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        db = connect(path, isolation_level=None, check_same_thread=False, timeout=10, cached_statements=256)
        try:
            if new:
                db.execute(f"PRAGMA page_size={PAGE_SIZE}")
                db.execute("PRAGMA auto_vacuum=INCREMENTAL")
            mode = db.execute("PRAGMA journal_mode=WAL").fetchone()[0]
            if mode != "wal":
                raise StoreError(f"{path}: SQLite cannot use a write-ahead log here (journal mode {mode}); put state_dir on a local disk")
            db.execute("PRAGMA synchronous=FULL")
            db.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
            db.execute("PRAGMA journal_size_limit=67108864")
            db.execute("PRAGMA secure_delete=FAST")
            db.execute("PRAGMA temp_store=MEMORY")
            db.execute("PRAGMA trusted_schema=OFF")
            db.execute("PRAGMA cache_size=-32000")
            _migrate(db, path)
        except BaseException:
            db.close()
            raise
    except sqlite3.Error as error:
        raise translate(error, path) from error
    except UnicodeDecodeError as error:
        raise StoreError(_corrupt(path, "its tables cannot be read")) from error  # the text of SQLite's own error holds octets of it
    if new:
        sync_folder(path.parent)
    return db


def connect_reader(path: FilePath, connect: Connect) -> sqlite3.Connection:
    """A connection that cannot write."""
    try:
        db = connect(path, isolation_level=None, check_same_thread=False, timeout=10, cached_statements=256)
        db.execute("PRAGMA query_only=ON")
        db.execute("PRAGMA trusted_schema=OFF")
        db.execute("PRAGMA cache_size=-16000")
        db.execute("SELECT 1 FROM messages LIMIT 1").fetchone()
    except sqlite3.Error as error:
        raise translate(error, path) from error
    except UnicodeDecodeError as error:
        raise StoreError(_corrupt(path, "its tables cannot be read")) from error
    return db


def _migrate(db: sqlite3.Connection, path: FilePath) -> None:
    """Brings the store to the format of this code; what is older is copied first. Raises StoreError."""
    found = format_of(db, path)
    if found == 0:
        _one_transaction(db, schema.create_sqlite())
    elif found < schema.VERSION:
        from gateway.stores.sqlite import upgrade  # alembic: half a second that only a change of format pays

        check(db, path)
        upgrade.copied_steps(db, path, found, schema.VERSION)


def _one_transaction(db: sqlite3.Connection, statements: Sequence[str]) -> None:
    db.execute("BEGIN EXCLUSIVE")
    try:
        for statement in statements:
            db.execute(statement)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def format_of(db: sqlite3.Connection, path: FilePath) -> int:
    """The format of the store in *db*; 0 of an empty file. Raises StoreError for what is no store, is newer than this code, or says
    two things about itself."""
    found = int(db.execute("PRAGMA user_version").fetchone()[0])
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if found > schema.VERSION:
        raise StoreError(
            f"{path}: the store has format {found}, and gateway {__version__} knows formats up to {schema.VERSION}; start the newer version"
            f" again, or take the store down with it first: gateway store downgrade --to {schema.VERSION}"
        )
    if (found == 0 and tables) or (found and not tables.issuperset(_ALWAYS)):
        raise StoreError(f"{path}: this SQLite file is not a store of the gateway; move it away or name another state_dir")
    if "alembic_version" in tables:  # stores of the first release have none
        marks = [name for (name,) in db.execute("SELECT version_num FROM alembic_version")]
        if marks != [schema.revision(found)]:
            raise StoreError(
                f"{path}: the store says format {found} in one place and {', '.join(marks) or 'nothing'} in another: somebody has changed"
                " it by hand. Nothing was changed; restore the last backup with 'gateway restore'"
            )
    return found


def forget_copies(path: FilePath, now: float) -> int:
    """Removes the copies that were made before a change of format and are older than COPY_KEPT. Returns how many.

    They are removed because what is destroyed in the store has to be destroyed everywhere, some day.
    """
    old = [copy for copy in path.parent.glob(f"{path.name}.format-*") if copy.stat().st_mtime < now - COPY_KEPT]
    for copy in old:
        copy.unlink()
    return len(old)


def check(db: sqlite3.Connection, path: FilePath) -> None:
    """Reads the whole structure of the file, up to CHECK_UP_TO octets. Raises StoreError that says what to do when it is damaged."""
    try:
        if path.stat().st_size > CHECK_UP_TO:
            db.execute("SELECT max(position) FROM audit").fetchone()
            return
        rows = [row[0] for row in db.execute("PRAGMA quick_check(3)")]
    except sqlite3.Error as error:
        raise translate(error, path) from error
    if rows != ["ok"]:
        raise StoreError(_corrupt(path, "; ".join(rows)))


def _corrupt(path: FilePath, what: str) -> str:
    what = " ".join(what.split())[:300]
    return (
        f"{path} is damaged ({what}). Nothing was changed. Stop the gateway, copy {path.parent} away, and restore the last backup with "
        "'gateway restore', or take out what can be read with 'sqlite3 gateway.db .recover'"
    )


def probe(path: FilePath) -> None:
    """Writes, syncs and removes a file beside the store. Raises OSError while the disk does not keep what it is given."""
    name = path.with_suffix(".probe")
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, b"\0" * 65536)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            name.unlink()
    sync_folder(path.parent)


def drain_log(db: sqlite3.Connection) -> None:
    """Moves the whole write-ahead log into the file, syncs it and empties the log. Raises StoreError when it cannot.

    After a failed fsync the log may have a hole on the disk that the page cache hides; nothing may be appended behind it.
    """
    busy, log, moved = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy or log != moved:
        raise StoreError("the write-ahead log could not be emptied")


def sync_folder(folder: FilePath) -> None:
    """fsync of the folder itself."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def translate(error: sqlite3.Error, path: FilePath) -> StoreError:
    """The StoreError of *error*; its text is one plain sentence."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return StoreFull(f"{path}: no room on the disk")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreError(_corrupt(path, str(error)))
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreError(f"{path}: another program is writing to the store")
    return StoreError(f"{path}: {error}")


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another program holds the lock."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def breaks_trust(error: sqlite3.Error) -> bool:
    """Whether the connection has to be opened and probed again before anything more is written (rule: O02)."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    harmless = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_CONSTRAINT)
    return code not in harmless


def give_back(db: sqlite3.Connection, path: FilePath) -> int:
    """Gives free pages of the file *path* back to the system, at most 500; octets. Old safety copies go with them."""
    before = db.execute("PRAGMA freelist_count").fetchone()[0]
    # Room that the next messages will take anyway stays; a shrinking and growing file costs more than it gives.
    spare = max(0, before - _VACUUM_PAGES)
    if spare >= _VACUUM_LEAST:
        # executescript steps to the end; execute would stop after the first page, since the pragma has no columns.
        db.executescript(f"PRAGMA incremental_vacuum({min(spare, _VACUUM_PAGES)})")
    after = db.execute("PRAGMA freelist_count").fetchone()[0]
    forget_copies(path, time.time())
    return int((before - after) * db.execute("PRAGMA page_size").fetchone()[0])

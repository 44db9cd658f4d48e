"""Taking a store from one format to another: each step in one transaction, after a copy of the file.

What it is: ``steps`` (up or down, over alembic's operations and script folder, without its files of settings) and ``safety_copy``.
Who calls it: ``connection``, when a store that is opened has an older format; ``gateway store upgrade`` and ``downgrade``.
Must never: leave a store between two formats; be imported where there is nothing to do (alembic takes longer to import than the
whole store to open); go on without the copy when nobody said so.
Sources: https://alembic.sqlalchemy.org/en/latest/api/script.html; https://www.sqlite.org/lang_vacuum.html (VACUUM INTO);
hostile-inputs catalogue O21.
"""

from __future__ import annotations

import os
import sqlite3
import time
from datetime import UTC, datetime
from pathlib import Path as FilePath

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from gateway import logs
from gateway.stores import locking
from gateway.stores.base import StoreError
from gateway.stores.schema import REVISION_SQL, STAMP_SQL, VERSION, revision
from gateway.stores.sqlite import connection, copying, migrations

_MARGIN = 64 << 20
"""Octets that stay free beside a safety copy."""
_log = logs.get("store")


def script() -> ScriptDirectory:
    """Alembic's view of the steps; the folder is the package, so that nothing has to be found at run time."""
    folder = FilePath(migrations.__file__).parent
    return ScriptDirectory(folder, version_locations=[folder])


def steps(db: sqlite3.Connection, path: FilePath, found: int, wanted: int) -> None:
    """Takes the store in *db* (of the file *path*, in autocommit mode) from format *found* to *wanted*, a transaction a step.

    Raises StoreError when a step cannot be made; the steps before it stand.
    """
    known = script()
    engine = create_engine("sqlite://", creator=lambda: db, poolclass=StaticPool)
    with engine.connect() as link:
        context = MigrationContext.configure(link, opts={"transactional_ddl": False})
        while found != wanted:
            up = wanted > found
            following = found + 1 if up else found - 1
            module = known.get_revision(revision(following if up else found)).module
            db.execute("BEGIN EXCLUSIVE")
            try:
                with Operations.context(context):
                    (module.upgrade if up else module.downgrade)()
                db.execute(REVISION_SQL)
                db.execute(STAMP_SQL.format(revision(following)))
                db.execute(f"PRAGMA user_version={following}")
                db.execute("COMMIT")
            except BaseException as error:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                if isinstance(error, Exception):
                    why = str(getattr(error, "orig", None) or error).splitlines()[0]
                    raise StoreError(f"{path}: the step from format {found} to {following} failed and was taken back: {why}") from error
                raise
            _log.info("the store has a new format", **{"gateway.format_before": found, "gateway.format": following})
            found = following


def copied_steps(db: sqlite3.Connection, path: FilePath, found: int, wanted: int) -> FilePath:
    """``steps`` after a ``safety_copy``; the copy goes again where the store stayed as it was. Raises StoreError."""
    copy = safety_copy(db, path, found)
    try:
        steps(db, path, found, wanted)
    except BaseException:
        if db.execute("PRAGMA user_version").fetchone()[0] == found:
            copy.unlink(missing_ok=True)
        raise
    return copy


def safety_copy(db: sqlite3.Connection, path: FilePath, found: int) -> FilePath:
    """Copies the store beside itself before its format changes; the copy's path. Raises StoreError when there is no room."""
    size = db.execute("PRAGMA page_count").fetchone()[0] * db.execute("PRAGMA page_size").fetchone()[0]
    room = os.statvfs(path.parent)
    if room.f_bavail * room.f_frsize < size + _MARGIN:
        raise StoreError(
            f"{path}: the format of the store has to change, and there is no room for the copy that is made first"
            f" ({(size + _MARGIN) / 1e6:.0f} MB); make room, or run 'gateway store upgrade --no-copy' after a backup of your own"
        )
    earlier = list(path.parent.glob(f"{path.name}.format-{found}-*"))
    name = path.with_name(f"{path.name}.format-{found}-{datetime.now(UTC).strftime('%Y%m%dT%H%M%S.%fZ')}")
    began = time.monotonic()
    copying.copy_into(db, name)
    for copy in earlier:  # a start that is tried again and again must not fill the disk
        copy.unlink(missing_ok=True)
    _log.warning(
        "the store was copied before its format changes; the copy is removed after seven days",
        **{"file.path": str(name), "file.size": name.stat().st_size, "gateway.seconds": round(time.monotonic() - began, 2)},
    )
    return name


def change(path: FilePath, wanted: int, *, copy: bool = True) -> tuple[int, FilePath | None]:
    """Takes the stopped store *path* to format *wanted*: its format before, and the copy that was made. Raises StoreError."""
    if not path.exists():
        raise StoreError(f"{path}: there is no store")
    if not 1 <= wanted <= VERSION:
        raise StoreError(f"{path}: there is no format {wanted}; this version of the gateway knows 1 to {VERSION}")
    lock = locking.take_lock(path.with_suffix(".lock"))
    try:
        db = sqlite3.connect(path, isolation_level=None, timeout=10)
        try:
            found = connection.format_of(db, path)
            if found == 0:
                raise StoreError(f"{path}: this file is empty")
            if found == wanted:
                return found, None
            connection.check(db, path)
            copied = None
            if copy:
                copied = copied_steps(db, path, found, wanted)
            else:
                steps(db, path, found, wanted)
            connection.drain_log(db)
            return found, copied
        finally:
            db.close()
    except sqlite3.Error as error:
        raise connection.translate(error, path) from error
    finally:
        os.close(lock)

"""A copy of the store becomes a store again: its format, its structure, and what must not go on by itself.

What it is: ``prepare``, on a file that nobody has open.
Who calls it: ``gateway restore``.
Must never: touch a store that runs; let a delivery go that may have been made since the backup, unless somebody said so.
Sources: https://www.sqlite.org/pragma.html#pragma_integrity_check; docs/design.md section 6 (leases); hostile-inputs catalogue O21, O23.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path as FilePath
from typing import Any

from gateway.stores import schema
from gateway.stores.base import StoreError
from gateway.stores.sqlite import connection

_OPEN = "state IN ('scheduled', 'leased', 'deferred')"


def prepare(path: FilePath, taken: float, now: float, *, resume: bool) -> dict[str, Any]:
    """Checks the copy *path*, taken at *taken*, brings it to the format of this code and voids its leases; counts of what was done.

    Deliveries that were on their way wait on hold, but for *resume*. Held mail gets the time back that has passed since. Raises
    StoreError.
    """
    try:
        db = sqlite3.connect(path, isolation_level=None, timeout=10)
        try:
            found = connection.format_of(db, path)
            rows = [row[0] for row in db.execute("PRAGMA integrity_check(3)")]
            if rows != ["ok"]:
                raise StoreError(f"{path} is damaged ({'; '.join(rows)[:300]}); take another backup")
            if found < schema.VERSION:
                from gateway.stores.sqlite import upgrade

                upgrade.steps(db, path, found, schema.VERSION)
            said = "restored from a backup; it may have been delivered since"
            db.execute("BEGIN IMMEDIATE")
            if resume:
                sql = f"UPDATE deliveries SET state = 'scheduled', lease = '', next_attempt = ? WHERE {_OPEN}"  # noqa: S608 - ours
                changed = db.execute(sql, (now,)).rowcount
            else:
                sql = f"UPDATE deliveries SET state = 'on-hold', lease = '', last_reply = ? WHERE {_OPEN}"  # noqa: S608 - ours
                changed = db.execute(sql, (said,)).rowcount
            late = max(0.0, now - taken)
            sql = f"UPDATE holds SET deadline = deadline + ? WHERE {schema.OPEN_HOLD_SQL}"  # noqa: S608 - ours
            held = db.execute(sql, (late,)).rowcount
            # The archive may have them since the backup: each is looked for before it is filed.
            sql = "UPDATE journal SET state = 'filing', next_attempt = ? WHERE state IN ('waiting', 'filing')"
            copies = db.execute(sql, (now,)).rowcount
            db.execute("COMMIT")
        finally:
            db.close()
    except sqlite3.Error as error:
        raise connection.translate(error, path) from error
    return {
        "format_before": found, "format": schema.VERSION, "deliveries": changed, "resumed": resume, "held": held, "copies": copies,
    }  # fmt: skip

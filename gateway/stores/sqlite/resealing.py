"""What is sealed under which vault key in the embedded store, and its change to another: bounded pages, never the content itself.

What it is: functions on one connection: pages of bodies and of rows with sealed fields, the change of a page, and how many
rows need a key.
Who calls it: ``store`` (for ``keeper.rotation``), ``gateway keys retire``.
Must never: open anything; read a ciphertext; change a row that is no longer what was read.
Sources: docs/design.md section 6; hostile-inputs catalogue O22.
"""

from __future__ import annotations

import sqlite3

from gateway.stores.resealing import TABLES, Resealed, SealedBody, SealedFields


def bodies(db: sqlite3.Connection, after: int | str, limit: int) -> list[SealedBody]:
    """The next *limit* bodies after the place *after* that a vault key opens (or opened)."""
    sql = "SELECT rowid, id, key_id, wrapped_key FROM bodies WHERE rowid > ? AND NOT sealed ORDER BY rowid LIMIT ?"
    return [SealedBody(*row) for row in db.execute(sql, (after, limit))]


def fields(db: sqlite3.Connection, after: int | str, limit: int, table: str = "messages") -> list[SealedFields]:
    """The sealed fields of the next *limit* rows of *table* after the place *after*."""
    name, first, second = TABLES[table]
    second = second or "x''"
    sql = f"SELECT rowid, {name}, {first}, {second} FROM {table} WHERE rowid > ? ORDER BY rowid LIMIT ?"  # noqa: S608 - constants of ours
    return [SealedFields(place, id, one, two, table) for place, id, one, two in db.execute(sql, (after, limit))]


def change(db: sqlite3.Connection, resealed: Resealed) -> int:
    """Writes *resealed* in one transaction; a row that has changed or gone meanwhile is left. Returns how many were changed."""
    count = 0
    db.execute("BEGIN IMMEDIATE")
    try:
        for old, new in resealed.bodies:
            sql = "UPDATE bodies SET key_id = ?, wrapped_key = ? WHERE id = ? AND wrapped_key = ?"
            count += db.execute(sql, (new.key_id, new.wrapped_key, old.id, old.wrapped_key)).rowcount
        for was, now in resealed.fields:
            name, first, second = TABLES[was.table]
            if second:
                sql = f"UPDATE {was.table} SET {first} = ?, {second} = ? WHERE {name} = ? AND {first} = ? AND {second} = ?"  # noqa: S608
                count += db.execute(sql, (now.subject, now.details, was.id, was.subject, was.details)).rowcount
            else:
                sql = f"UPDATE {was.table} SET {first} = ? WHERE {name} = ? AND {first} = ?"  # noqa: S608
                count += db.execute(sql, (now.subject, was.id, was.subject)).rowcount
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    return count


def needing(db: sqlite3.Connection, key_id: str, prefix: bytes) -> tuple[int, int]:
    """How many bodies, and how many rows with a field that begins with *prefix*, need the vault key *key_id*. Reads all rows."""
    body_count = db.execute("SELECT count(*) FROM bodies WHERE key_id = ? AND NOT sealed", (key_id,)).fetchone()[0]
    length, count = len(prefix), 0
    for table, (_, first, second) in TABLES.items():
        sql = f"SELECT count(*) FROM {table} WHERE substr({first}, 1, ?) = ? OR substr({second or first}, 1, ?) = ?"  # noqa: S608 - constants
        count += int(db.execute(sql, (length, prefix, length, prefix)).fetchone()[0])
    return int(body_count), count


def by_key(db: sqlite3.Connection) -> dict[str, int]:
    """How many bodies each vault key has. Reads all rows, but for their content."""
    return {str(key): int(count) for key, count in db.execute("SELECT key_id, count(*) FROM bodies WHERE NOT sealed GROUP BY key_id")}

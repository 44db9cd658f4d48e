"""Removing what is past its retention, a bounded step at a time.

What it is: functions on the writing connection, each of one short transaction, and the look-ups of correspondents and threads.
Who calls it: ``store``, in the writer's thread (the look-ups in the reader's).
Must never: remove a message with an open delivery or hold; take rows out of the middle of an audit chain; leave a removed
beginning without its signed closing head.
Sources: docs/design.md section 6.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence

from gateway.stores import rows
from gateway.stores.base import Conflict, HeadRow
from gateway.stores.reviewed import INDIA
from gateway.stores.schema import OPEN_DELIVERY_SQL, OPEN_HOLD_SQL, UNFILED_COPY_SQL
from gateway.stores.sqlite.journal import removed

_CLOSED = (
    f" AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.message_id = m.id AND (d.{OPEN_DELIVERY_SQL} OR d.created >= ?2))"  # noqa: S608
    f" AND NOT EXISTS (SELECT 1 FROM holds h WHERE h.message_id = m.id AND (h.{OPEN_HOLD_SQL} OR h.updated >= ?2))"
    f" AND NOT EXISTS (SELECT 1 FROM journal j WHERE j.message_id = m.id AND j.{UNFILED_COPY_SQL})"
)
_KEPT = "EXISTS (SELECT 1 FROM journal j WHERE j.message_id = m.id AND j.state = 'kept')"


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All of it or nothing."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


def audit(db: sqlite3.Connection, closing: HeadRow, limit: int) -> int:
    """See ``Store.drop_audit``."""
    with _transaction(db):
        here = db.execute("SELECT hash FROM audit WHERE chain = ? AND seq = ?", (closing.chain, closing.seq)).fetchone()
        if here is None or here[0] != closing.hash:
            raise Conflict(f"row {closing.seq} of chain {closing.chain} is not the one that was signed")
        db.execute(rows.REPLACE_CLOSING, rows.head_values(closing))
        gone = db.execute("DELETE FROM audit WHERE chain = ? AND seq <= ?", (closing.chain, closing.seq)).rowcount
        if gone > limit:
            raise Conflict(f"{gone} rows would have to go at once")
        db.execute("DELETE FROM heads WHERE chain = ? AND seq <= ?", (closing.chain, closing.seq))
    return gone


def messages(db: sqlite3.Connection, before: float, after: str, limit: int) -> tuple[int, str]:
    """See ``Store.drop_messages``."""
    # Ids sort by time, so old messages stand together at the beginning.
    seen = db.execute("SELECT id, created FROM messages WHERE id > ? ORDER BY id LIMIT ?", (after, limit)).fetchall()
    old = [row[0] for row in seen if row[1] < before]
    if not old:
        return 0, ""
    gone = 0
    with _transaction(db):
        found = db.execute(
            f"SELECT m.id, CASE WHEN {_KEPT} THEN '' ELSE m.body_id END FROM messages m"  # noqa: S608 - constants of ours
            f" WHERE m.id IN (SELECT value FROM json_each(?1)){_CLOSED}",
            (rows.dump(old), before),
        ).fetchall()
        if found:
            ids = rows.dump([row[0] for row in found])
            listed = "(SELECT value FROM json_each(?))"
            db.execute(f"DELETE FROM approvals WHERE hold_id IN (SELECT id FROM holds WHERE message_id IN {listed})", (ids,))  # noqa: S608
            db.execute(f"DELETE FROM terms WHERE hold_id IN (SELECT id FROM holds WHERE message_id IN {listed})", (ids,))  # noqa: S608
            db.execute(f"DELETE FROM remarks WHERE reference IN (SELECT reference FROM messages WHERE id IN {listed})", (ids,))  # noqa: S608
            db.execute(f"DELETE FROM holds WHERE message_id IN {listed}", (ids,))  # noqa: S608
            db.execute(f"DELETE FROM deliveries WHERE message_id IN {listed}", (ids,))  # noqa: S608
            # Content goes when the last delivery ends; what a fault left behind goes now. A journal copy outlives its message.
            db.execute(f"DELETE FROM bodies WHERE id IN {listed}", (rows.dump([row[1] for row in found]),))  # noqa: S608
            gone = db.execute(f"DELETE FROM messages WHERE id IN {listed}", (ids,)).rowcount  # noqa: S608
    return gone, str(old[-1]) if len(seen) == limit and len(old) == len(seen) else ""


def correspondents(db: sqlite3.Connection, before: int, limit: int) -> int:
    """See ``Store.drop_correspondents``."""
    sql = "DELETE FROM correspondents WHERE pair IN (SELECT pair FROM correspondents WHERE last_seen < ? LIMIT ?)"
    return db.execute(sql, (before, limit)).rowcount


def threads(db: sqlite3.Connection, before: int, limit: int) -> int:
    """See ``Store.drop_threads``."""
    sql = "DELETE FROM threads WHERE mark IN (SELECT mark FROM threads WHERE last_seen < ? LIMIT ?)"
    return db.execute(sql, (before, limit)).rowcount


def ended(db: sqlite3.Connection, before: float, limit: int) -> int:
    """See ``Store.drop_ended``."""
    gone = 0
    for table in ("exceptions", "profiles"):
        sql = f"DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE state <> 'active' AND expires < ? LIMIT ?)"  # noqa: S608
        gone += db.execute(sql, (before, limit)).rowcount
    return gone


def reviewed(db: sqlite3.Connection, before: float, limit: int) -> int:
    """See ``Store.drop_reviewed``."""
    hour = int((before + INDIA) // 3600)
    one = "(hour, department, rule, disposition, level)"
    sql = f"DELETE FROM tallies WHERE {one} IN (SELECT {one[1:-1]} FROM tallies WHERE hour < ? LIMIT ?)"  # noqa: S608
    gone = db.execute(sql, (hour, limit)).rowcount
    return gone + db.execute("DELETE FROM told WHERE key IN (SELECT key FROM told WHERE created < ? LIMIT ?)", (before, limit)).rowcount


def journal(db: sqlite3.Connection, now: float, limit: int) -> int:
    """See ``Store.drop_journal``."""
    with _transaction(db):
        return removed(db, now, limit)


def known_pairs(db: sqlite3.Connection, pairs: Sequence[bytes]) -> set[bytes]:
    """See ``Store.known_pairs``."""
    found: set[bytes] = set()
    for start in range(0, len(pairs), 200):
        some = pairs[start : start + 200]
        found.update(row[0] for row in db.execute(f"SELECT pair FROM correspondents WHERE pair IN ({_marks(some)})", some))  # noqa: S608
    return found


def remembered(db: sqlite3.Connection, marks: Sequence[bytes]) -> dict[bytes, int]:
    """See ``Store.remembered``."""
    found: dict[bytes, int] = {}
    for start in range(0, len(marks), 200):
        some = marks[start : start + 200]
        found.update(db.execute(f"SELECT mark, level FROM threads WHERE mark IN ({_marks(some)})", some))  # noqa: S608
    return found

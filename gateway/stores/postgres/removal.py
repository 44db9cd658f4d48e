"""Removing what is past its retention from PostgreSQL, a bounded step at a time; as ``sqlite.removal`` does for the embedded one.

What it is: functions on the writing connection, each of one short transaction.
Who calls it: ``store``.
Must never: remove a message with an open delivery or hold; take rows out of the middle of an audit chain; leave a removed
beginning without its signed closing head.
Sources: docs/design.md section 6.
"""

from __future__ import annotations

from typing import Any

from gateway.stores import rows
from gateway.stores.base import Conflict, HeadRow
from gateway.stores.postgres.connection import Connection
from gateway.stores.postgres.statements import any_of, has, needed
from gateway.stores.reviewed import INDIA
from gateway.stores.schema import OPEN_HOLD_SQL, UNFILED_COPY_SQL

# A message is locked by each transaction that adds to it or ends something of it: it is locked first, and looked at then, by a
# statement that sees what the others have committed. Whoever removes waits for none of them.
_LOCK_FREE = "SELECT id FROM messages WHERE id = ANY(%s::text[]) ORDER BY id FOR UPDATE SKIP LOCKED"
_STAYS = any_of(
    has("deliveries_open", "m.id"),
    has("deliveries_done", "m.id", of="created >= %(before)s"),
    has("holds", "m.id", f"o.{OPEN_HOLD_SQL} OR o.updated >= %(before)s"),
    has("journal", "m.id", f"o.{UNFILED_COPY_SQL}"),
)
_KEPT = any_of(has("journal", "m.id", "o.state = 'kept'"))
ENDED = (
    f"SELECT m.id, CASE WHEN {_KEPT} THEN '' ELSE m.body_id END FROM messages m"  # noqa: S608 - constants of ours
    f" WHERE m.id = ANY(%(ids)s::text[]) AND NOT {_STAYS}"
)
"""Of messages with these ids those that may go, with their bodies; an empty one where a journal copy is the body."""
_OF_HOLDS = "hold_id = ANY(ARRAY(SELECT id FROM holds WHERE message_id = ANY(%s::text[])))"
THEIRS = (
    f"DELETE FROM approvals WHERE {_OF_HOLDS}",  # noqa: S608 - constants of ours
    f"DELETE FROM terms WHERE {_OF_HOLDS}",  # noqa: S608 - constants of ours
    "DELETE FROM remarks WHERE reference = ANY(ARRAY(SELECT reference FROM messages WHERE id = ANY(%s::text[])))",
    "DELETE FROM holds WHERE message_id = ANY(%s::text[])",
    "DELETE FROM deliveries_done WHERE message_id = ANY(%s::text[])",
)
"""What goes with messages of these ids."""
UNNEEDED = (
    "DELETE FROM bodies WHERE id = ANY(ARRAY("  # noqa: S608 - constants of ours
    f"SELECT v.body_id FROM unnest(%s::text[], %s::text[]) AS v (body_id, message_id) WHERE NOT {needed('v.message_id')}))"
)
"""Of these bodies, each with its message's id, those that nothing needs go. The message itself may be gone: a copy outlives it."""
_CLOSE = (
    "INSERT INTO closings (chain, seq, hash, created, key_id, signature, department, format) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"
    " ON CONFLICT (chain) DO UPDATE SET seq = excluded.seq, hash = excluded.hash, created = excluded.created,"
    " key_id = excluded.key_id, signature = excluded.signature, department = excluded.department, format = excluded.format"
)


async def audit(link: Connection, closing: HeadRow, limit: int) -> int:
    """See ``Store.drop_audit``."""
    async with link.transaction():
        sql = "SELECT hash FROM audit WHERE chain = %s AND seq = %s"
        here = await (await link.execute(sql, (closing.chain, closing.seq))).fetchone()
        if here is None or here[0] != closing.hash:
            raise Conflict(f"row {closing.seq} of chain {closing.chain} is not the one that was signed")
        await link.execute(_CLOSE, rows.head_values(closing))
        gone = (await link.execute("DELETE FROM audit WHERE chain = %s AND seq <= %s", (closing.chain, closing.seq))).rowcount
        if gone > limit:
            raise Conflict(f"{gone} rows would have to go at once")
        await link.execute("DELETE FROM heads WHERE chain = %s AND seq <= %s", (closing.chain, closing.seq))
    return gone


async def messages(link: Connection, before: float, after: str, limit: int) -> tuple[int, str]:
    """See ``Store.drop_messages``."""
    # Ids sort by time, so old messages stand together at the beginning.
    seen = await _fetched(link, "SELECT id, created FROM messages WHERE id > %s ORDER BY id LIMIT %s", (after, limit))
    old = [row[0] for row in seen if row[1] < before]
    if not old:
        return 0, ""
    gone = 0
    async with link.transaction():
        free = [row[0] for row in await _fetched(link, _LOCK_FREE, (old,))]
        found = await _fetched(link, ENDED, {"ids": free, "before": before})
        if found:
            ids = [row[0] for row in found]
            for sql in THEIRS:
                await link.execute(sql, (ids,))
            # Content goes when the last delivery ends; what a fault left behind goes now. A journal copy outlives its message.
            await link.execute("DELETE FROM bodies WHERE id = ANY(%s::text[])", ([row[1] for row in found],))
            gone = (await link.execute("DELETE FROM messages WHERE id = ANY(%s::text[])", (ids,))).rowcount
    return gone, str(old[-1]) if len(seen) == limit and len(old) == len(seen) else ""


async def correspondents(link: Connection, before: int, limit: int) -> int:
    """See ``Store.drop_correspondents``."""
    return await _some(link, "correspondents", "pair", "last_seen < %s", before, limit)


async def threads(link: Connection, before: int, limit: int) -> int:
    """See ``Store.drop_threads``."""
    return await _some(link, "threads", "mark", "last_seen < %s", before, limit)


async def ended(link: Connection, before: float, limit: int) -> int:
    """See ``Store.drop_ended``."""
    gone = 0
    for table in ("exceptions", "profiles"):
        gone += await _some(link, table, "id", "state <> 'active' AND expires < %s", before, limit)
    return gone


async def reviewed(link: Connection, before: float, limit: int) -> int:
    """See ``Store.drop_reviewed``."""
    gone = await _some(link, "tallies", "hour, department, rule, disposition, level", "hour < %s", int((before + INDIA) // 3600), limit)
    return gone + await _some(link, "told", "key", "created < %s", before, limit)


async def journal(link: Connection, now: float, limit: int) -> int:
    """See ``Store.drop_journal``."""
    async with link.transaction():
        sql = (
            "SELECT id, message_id, body_id FROM journal WHERE state IN ('filed', 'kept') AND retain_until < %s"
            " ORDER BY retain_until LIMIT %s"
        )
        listed = await _fetched(link, sql, (now, limit))
        if listed:
            ids, message_ids, body_ids = (list(column) for column in zip(*listed, strict=True))
            await link.execute("SELECT 1 FROM messages WHERE id = ANY(%s::text[]) ORDER BY id FOR UPDATE", (message_ids,))
            await link.execute("DELETE FROM journal WHERE id = ANY(%s::text[])", (ids,))
            await link.execute(UNNEEDED, (body_ids, message_ids))
    return len(listed)


async def _some(link: Connection, table: str, key: str, where: str, value: float, limit: int) -> int:
    sql = f"DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE {where} LIMIT %s)"  # noqa: S608 - constants of ours
    return (await link.execute(sql, (value, limit))).rowcount


async def _fetched(link: Connection, sql: str, values: Any) -> list[tuple[Any, ...]]:
    return await (await link.execute(sql, values)).fetchall()

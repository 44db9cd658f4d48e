"""A partition a day for the decision log and for finished deliveries: made ahead, dropped when nothing is left in them.

What it is: ``ahead`` and ``forget``, each of short transactions that wait for nobody for long.
Who calls it: ``store``, at the start and where SQLite gives room back to the system.
Must never: drop a partition that holds a row; stop mail because a partition could not be made (its rows go to the default one).
Source: https://www.postgresql.org/docs/current/ddl-partitioning.html#DDL-PARTITIONING-DECLARATIVE-MAINTENANCE.

Rows leave by their retention (for the decision log: behind a signed closing head), a bounded step at a time; the emptied partition
then goes with its files and indexes, so that nothing has to be vacuumed and no index keeps the holes.
"""

from __future__ import annotations

from datetime import UTC, datetime

import psycopg

from gateway import logs
from gateway.stores.postgres.connection import Connection
from gateway.stores.postgres.tables import DAILY, LOCK_PARTITIONS

DAY = 86400
AHEAD = 7
"""Days for which there are partitions."""
KEPT = 2
"""Days for which an empty partition stays: a clock may be behind."""
_PATIENT = "SET LOCAL lock_timeout = '300ms'"
_PARTS = (
    "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_class p ON p.oid = i.inhparent"
    " WHERE p.oid = to_regclass(%s) AND c.relname ~ '_[0-9]{8}$'"
)
_log = logs.get("store")


def name_of(table: str, day: int) -> str:
    """The partition of *table* for the day *day* since the epoch, in UTC."""
    return f"{table}_{datetime.fromtimestamp(day * DAY, UTC):%Y%m%d}"


async def ahead(link: Connection, now: float) -> int:
    """Makes the partitions from yesterday to in ``AHEAD`` days that are not there. Returns how many."""
    made, today = 0, int(now // DAY)
    for table in DAILY:
        known = {row[0] for row in await (await link.execute(_PARTS, (table,))).fetchall()}
        for day in range(today - 1, today + AHEAD + 1):
            if name_of(table, day) not in known:
                made += await _made(link, table, day)
    return made


async def _made(link: Connection, table: str, day: int) -> bool:
    part = name_of(table, day)
    try:
        async with link.transaction():
            await link.execute(_PATIENT)
            await link.execute(f"SELECT pg_advisory_xact_lock({LOCK_PARTITIONS}, 0)")
            if (await (await link.execute("SELECT to_regclass(%s)", (part,))).fetchone() or (None,))[0] is not None:
                return False  # another node was quicker
            # Made apart and attached then: that holds up only who uses the default partition.
            await link.execute(f"CREATE TABLE {part} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)")
            if table == "audit":
                await link.execute(f"CREATE UNIQUE INDEX uq_{part}_chain_seq ON {part} (chain, seq)")
            await link.execute(f"ALTER TABLE {table} ATTACH PARTITION {part} FOR VALUES FROM ({day * DAY}) TO ({(day + 1) * DAY})")
    except psycopg.Error as error:
        # Rows of that day are in the default partition already, or somebody holds it: they stay there, and are found as well.
        _log.warning("a partition was not made", **{"gateway.partition": part, "error.message": str(error.diag.message_primary)})
        return False
    return True


async def forget(link: Connection, now: float) -> int:
    """Drops the partitions of days past in which nothing is left. Returns how many octets they held."""
    freed, oldest = 0, int(now // DAY) - KEPT
    for table in DAILY:
        limit = name_of(table, oldest)
        parts = sorted(row[0] for row in await (await link.execute(_PARTS, (table,))).fetchall())
        for part in parts:
            if part < limit:
                freed += await _dropped(link, table, part)
    return freed


async def _dropped(link: Connection, table: str, part: str) -> int:
    empty = f"SELECT NOT EXISTS (SELECT 1 FROM {part}), pg_total_relation_size('{part}')"  # noqa: S608 - a name of ours
    found = await (await link.execute(empty)).fetchone()
    if not found or not found[0]:
        return 0
    try:
        async with link.transaction():
            await link.execute(_PATIENT)
            await link.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            found = await (await link.execute(empty)).fetchone()
            if not found or not found[0]:
                return 0
            await link.execute(f"DROP TABLE {part}")
    except psycopg.errors.LockNotAvailable:
        return 0  # mail goes first; there is a next time
    return int(found[1])

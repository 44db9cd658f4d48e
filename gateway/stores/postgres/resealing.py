"""What is sealed under which vault key in PostgreSQL, and its change to another; as ``sqlite.resealing`` does for the embedded one.

What it is: functions over a reader, and ``change`` on the writing connection. The place of a row is what names it: PostgreSQL has no
number of a row that stays.
Who calls it: ``reading`` and ``store`` (for ``keeper.rotation``), ``gateway keys retire``.
Must never: open anything; read a ciphertext; change a row that is no longer what was read.
Sources: docs/design.md section 6; hostile-inputs catalogue O22.
"""

from __future__ import annotations

from gateway.stores.postgres.asking import Asking
from gateway.stores.postgres.connection import Connection
from gateway.stores.resealing import TABLES, Resealed, SealedBody, SealedFields


async def bodies(asking: Asking, after: int | str, limit: int) -> list[SealedBody]:
    """The next *limit* bodies after the place *after* that a vault key opens (or opened)."""
    sql = "SELECT id, id, key_id, wrapped_key FROM bodies WHERE id > %s AND NOT sealed ORDER BY id LIMIT %s"
    return await asking.all(sql, (_place(after), limit), lambda v: SealedBody(*v))


async def fields(asking: Asking, after: int | str, limit: int, table: str = "messages") -> list[SealedFields]:
    """The sealed fields of the next *limit* rows of *table* after the place *after*."""
    name, first, second = TABLES[table]
    second = f'"{second}"' if second else "''::bytea"
    sql = f'SELECT {name}, {name}, "{first}", {second} FROM {table} WHERE {name} > %s ORDER BY {name} LIMIT %s'  # noqa: S608 - ours
    return await asking.all(sql, (_place(after), limit), lambda v: SealedFields(v[0], v[1], v[2], v[3], table))


async def change(link: Connection, resealed: Resealed) -> int:
    """Writes *resealed* in one transaction; a row that has changed or gone meanwhile is left. Returns how many were changed."""
    count = 0
    async with link.transaction():
        for old, new in resealed.bodies:
            sql = "UPDATE bodies SET key_id = %s, wrapped_key = %s WHERE id = %s AND wrapped_key = %s"
            count += (await link.execute(sql, (new.key_id, new.wrapped_key, old.id, old.wrapped_key))).rowcount
        for was, now in resealed.fields:
            name, first, second = TABLES[was.table]
            if second:
                sql = f"UPDATE {was.table} SET {first} = %s, {second} = %s WHERE {name} = %s AND {first} = %s AND {second} = %s"  # noqa: S608
                values: tuple[object, ...] = (now.subject, now.details, was.id, was.subject, was.details)
            else:
                sql = f'UPDATE {was.table} SET "{first}" = %s WHERE {name} = %s AND "{first}" = %s'  # noqa: S608 - constants of ours
                values = (now.subject, was.id, was.subject)
            count += (await link.execute(sql, values)).rowcount
    return count


async def needing(asking: Asking, key_id: str, prefix: bytes) -> tuple[int, int]:
    """How many bodies, and how many rows with a field that begins with *prefix*, need the vault key *key_id*. Reads all rows."""
    sql = "SELECT count(*) FROM bodies WHERE key_id = %s AND NOT sealed"
    body_count = (await asking.all(sql, (key_id,), lambda v: int(v[0])))[0]
    length, count = len(prefix), 0
    for table, (_, first, second) in TABLES.items():
        either = " OR ".join(f'substr("{column}", 1, %s::int) = %s' for column in (first, second or first))
        found = await asking.all(f"SELECT count(*) FROM {table} WHERE {either}", (length, prefix) * 2, lambda v: int(v[0]))  # noqa: S608
        count += found[0]
    return body_count, count


async def by_key(asking: Asking) -> dict[str, int]:
    """How many bodies each vault key has. Reads all rows, but for their content."""
    sql = "SELECT key_id, count(*) FROM bodies WHERE NOT sealed GROUP BY key_id"
    return dict(await asking.all(sql, (), lambda v: (str(v[0]), int(v[1]))))


def _place(after: int | str) -> str:
    return str(after) if after else ""

"""Making and upgrading the tables in PostgreSQL, once, whichever node comes first, while older nodes run.

What it is: ``fit``, which makes the tables, takes them to the format of this code, or says why this code must not use them.
Who calls it: ``store`` when it opens.
Must never: run on two nodes at once; leave a store between two formats; let a node write whose code is older than the store takes.
Sources: https://alembic.sqlalchemy.org/en/latest/api/script.html; hostile-inputs catalogue O21.
"""

from __future__ import annotations

import asyncio
from pathlib import Path as FilePath

import psycopg
from psycopg.conninfo import make_conninfo

from gateway import __version__, logs
from gateway.stores import schema
from gateway.stores.base import StoreError
from gateway.stores.postgres import migrations, tables
from gateway.stores.postgres.connection import Connection, Target, translate

_log = logs.get("store")
_STEPS = FilePath(migrations.__file__).parent
_LOCK = f"SELECT pg_advisory_xact_lock({tables.LOCK_FORMAT}, 0)"
_OURS = "SELECT count(*) FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relname IN ('messages', 'bodies', 'audit')"


async def fit(link: Connection, target: Target, *, code: int = schema.VERSION, steps: FilePath = _STEPS) -> int:
    """Makes sure that the database is a store that code of format *code* may use. Returns its format. Raises StoreError."""
    found = await _format(link)
    if found is None:
        async with link.transaction():
            await link.execute(_LOCK)
            found = await _format(link)
            if found is None:
                others = await (await link.execute(_OURS)).fetchone()
                if others and others[0]:
                    raise StoreError(f"{target.name}: this database holds tables that are not the gateway's; name an empty one")
                for statement in tables.create():
                    await link.execute(statement)
                found = await _format(link)
        _log.info("the tables of the store were made", **{"gateway.store": target.name})
    assert found is not None
    version, oldest = found
    if oldest > code:
        raise StoreError(
            f"{target.name}: the store has format {version} and takes gateways that know format {oldest} or a newer one; gateway"
            f" {__version__} knows formats up to {code}; upgrade this node"
        )
    if version < code:
        await asyncio.to_thread(upgrade, target, code, steps)
        version = code
    return version


async def _format(link: Connection) -> tuple[int, int] | None:
    there = await (await link.execute("SELECT to_regclass('store_format')")).fetchone()
    if not there or there[0] is None:
        return None
    found = await (await link.execute("SELECT version, oldest_code FROM store_format")).fetchone()
    return (int(found[0]), int(found[1])) if found else None


def upgrade(target: Target, wanted: int, steps: FilePath = _STEPS) -> None:
    """Takes the store to format *wanted*, a transaction a step (blocking). Raises StoreError; the steps before a failure stand."""
    from alembic.operations import Operations  # half a second that only a change of format pays
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from sqlalchemy import create_engine
    from sqlalchemy.pool import StaticPool

    known = ScriptDirectory(steps, version_locations=[steps])
    password = target.password()
    more = {"password": password} if password else {}
    options = "-c lock_timeout=10000 -c timezone=UTC"
    try:
        db = psycopg.connect(make_conninfo(target.url, connect_timeout=10, options=options, **more))
    except psycopg.Error as error:
        raise translate(error, target) from error
    try:
        engine = create_engine("postgresql+psycopg://", creator=lambda: db, poolclass=StaticPool)
        while True:
            with engine.begin() as link:
                # Alone from here to the COMMIT; whoever waited finds the work done.
                link.exec_driver_sql(_LOCK)
                found = int(link.exec_driver_sql("SELECT version FROM store_format").scalar_one())
                if found >= wanted:
                    return
                module = known.get_revision(schema.revision(found + 1)).module
                try:
                    with Operations.context(MigrationContext.configure(link)):
                        module.upgrade()
                except Exception as error:
                    why = str(getattr(error, "orig", None) or error).splitlines()[0]
                    raise StoreError(
                        f"{target.name}: the step from format {found} to {found + 1} failed and was taken back: {why}"
                    ) from error
                link.exec_driver_sql(
                    "UPDATE store_format SET version = %s, oldest_code = greatest(oldest_code, %s)", (found + 1, module.OLDEST_CODE)
                )
            _log.info("the store has a new format", **{"gateway.format_before": found, "gateway.format": found + 1})
    finally:
        db.close()

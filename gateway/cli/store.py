"""``gateway store``: the format of the store, and the way from one to another; the way into PostgreSQL is in ``store_migrate``.

Who calls it: administrators, around an upgrade or a rollback of the gateway.
Must never: touch a store that a keeper has open; change a format without a copy unless told so.
Sources: docs/design.md section 10; hostile-inputs catalogue O21.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli import output, store_migrate
from gateway.cli.options import ConfigFile, Json, Stop, config_path, load_config

if TYPE_CHECKING:
    from pathlib import Path as FilePath

    from gateway.config import Config

NoCopy = Annotated[bool, typer.Option("--no-copy", help="Make no copy of the store first.")]


def _file(context: typer.Context, config: str) -> FilePath:
    loaded = load_config(config_path(context, config))
    if loaded.store.shared:
        raise Stop(
            "The config names a store in PostgreSQL: its tables go to the newest format when the first node of a newer version starts."
        )
    return loaded.state_dir / "gateway.db"


async def _shared_format(config: Config) -> int | None:
    """The format of the store in PostgreSQL; None where there are no tables yet. Raises StoreError."""
    from gateway.stores.postgres.connection import Pool, Target

    pool = Pool(Target.of(config.store), readers=1, name="gateway store version")
    try:
        async with pool.reader() as link:
            there = await (await link.execute("SELECT to_regclass('store_format') IS NOT NULL")).fetchone()
            if not there or not there[0]:
                return None
            found = await (await link.execute("SELECT version FROM store_format")).fetchone()
            return int(found[0]) if found else None
    finally:
        await pool.close()


def _shared_version(config: Config, json: bool) -> None:
    import asyncio

    from gateway.stores import schema
    from gateway.stores.base import StoreError
    from gateway.stores.postgres.connection import Target

    try:
        found = asyncio.run(_shared_format(config))
    except StoreError as error:
        raise Stop(str(error), 2) from error
    name = Target.of(config.store).name
    if json:
        output.json_lines([{"store": name, "format": found, "newest": schema.VERSION, "copies": []}])
    elif found is None:
        output.write(f"{name}: there is no store yet; the first start makes it with format {schema.VERSION}.")
    else:
        output.write(f"format {found}; this version knows {schema.VERSION}")


def _version(context: typer.Context, json: Json = False, config: ConfigFile = "") -> None:
    """The format of the store, the formats that this version knows, and the copies that were made before a change."""
    import sqlite3

    from gateway.stores import schema
    from gateway.stores.sqlite import connection

    loaded = load_config(config_path(context, config))
    if loaded.store.shared:
        _shared_version(loaded, json)
        return
    path = _file(context, config)
    if not path.exists():
        raise Stop(f"{path}: there is no store yet; the first start makes it with format {schema.VERSION}.")
    try:
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
        try:
            found = db.execute("PRAGMA user_version").fetchone()[0]
        finally:
            db.close()
    except sqlite3.Error as error:
        raise Stop(str(connection.translate(error, path)), 2) from error
    copies = sorted(str(copy) for copy in path.parent.glob(f"{path.name}.format-*"))
    if json:
        output.json_lines([{"store": str(path), "format": found, "newest": schema.VERSION, "copies": copies}])
        return
    output.write(f"format {found}; this version knows 1 to {schema.VERSION}")
    if found > schema.VERSION:
        output.write(
            "The store is newer than this version. Start the newer version again, or take the store down with it:"
            f" gateway store downgrade --to {schema.VERSION}"
        )
    elif found < schema.VERSION:
        output.write("The next start brings it to the newest format, after a copy; or now, while nothing runs: gateway store upgrade")
    for copy in copies:
        output.write(f"copy: {copy}")


def _change(path: FilePath, wanted: int, copy: bool) -> None:
    from gateway import logs
    from gateway.stores.base import StoreError
    from gateway.stores.sqlite import upgrade

    logs.configure("store")
    try:
        found, copied = upgrade.change(path, wanted, copy=copy)
    except (StoreError, OSError) as error:
        raise Stop(str(error)) from error
    if found == wanted:
        output.write(f"The store has format {wanted} already; nothing was changed.")
        return
    output.write(f"The store went from format {found} to {wanted}." + (f" Before that it was copied to {copied}" if copied else ""))


def _upgrade(context: typer.Context, no_copy: NoCopy = False, config: ConfigFile = "") -> None:
    """Bring the store of a stopped gateway to the newest format; a start does the same by itself."""
    from gateway.stores import schema

    _change(_file(context, config), schema.VERSION, not no_copy)


def _downgrade(
    context: typer.Context,
    to: Annotated[int, typer.Option("--to", min=1, help="The format that the older version knows.", metavar="N")],
    no_copy: NoCopy = False,
    config: ConfigFile = "",
) -> None:
    """Take the store of a stopped gateway to an older format, before the older version is installed again: all mail stays."""
    _change(_file(context, config), to, not no_copy)


def commands() -> typer.Typer:
    """The commands of this noun."""
    app = typer.Typer(name="store", help="The store: version, upgrade, downgrade, migrate.", no_args_is_help=True)
    app.command("version")(_version)
    app.command("upgrade")(_upgrade)
    app.command("downgrade")(_downgrade)
    app.command("migrate")(store_migrate.migrate)
    return app

"""``gateway store migrate``: the embedded store of a stopped gateway goes into PostgreSQL.

Who calls it: administrators, once, before the second node is put beside the first.
Must never: change or delete the embedded store; say that all is there before every row was read back from the new one.
Sources: docs/design.md sections 9 and 10.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli import output
from gateway.cli.options import ConfigFile, Json, Stop, config_path, load_config

if TYPE_CHECKING:
    from gateway.stores.moved_check import Compared
    from gateway.stores.moving import Step

_EVERY = 1.0
"""Seconds between two lines of progress where there is no terminal."""


class _Lines:
    """Progress as JSON lines: one at most a second, and the last of each table."""

    def __init__(self) -> None:
        self._next = 0.0

    def step(self, step: Step) -> None:
        now = time.monotonic()
        if now < self._next and step.rows < step.of:
            return
        self._next = now + _EVERY
        output.json_lines([{"table": step.table, "rows": step.rows, "of": step.of, "total": step.total, "of_all": step.of_all}])


@contextmanager
def _shown(json: bool) -> Iterator[Callable[[Step], None]]:
    """What hears of each step: a bar on a terminal, lines of JSON in a pipe."""
    if json or not sys.stderr.isatty() or not sys.stdout.isatty():
        yield _Lines().step
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description:>16}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(file=sys.stderr, soft_wrap=True, highlight=False, markup=False, emoji=False)
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("copying", total=None)
        yield lambda step: bar.update(task, description=step.table, completed=step.total, total=step.of_all)


async def _moved(source: FilePath, url: str, password: FilePath | None, json: bool) -> None:
    """Copies, compares and verifies. Raises StoreError, VaultError, psycopg.Error, sqlite3.Error."""
    from gateway.audit import audit
    from gateway.cli.audit import public_keys
    from gateway.stores import moved_check, moved_rows, moving
    from gateway.stores.base import StoreError
    from gateway.stores.postgres import connection
    from gateway.stores.postgres.asking import Asking
    from gateway.stores.postgres.audit import PostgresAudit

    target = connection.Target(url, password)
    db = moved_rows.open_source(source)
    pool = connection.Pool(target, readers=1, statement=0, name="gateway store migrate")
    try:
        link = await connection.connect(target, statement=0, name="gateway store migrate")
        try:
            with _shown(json) as told:
                move = moving.Move(db, link, target.name, told)
                await move.run()
            different: list[str] = []

            def compared(one: Compared) -> None:
                if not one.same:
                    different.append(one.table)
                if json or not sys.stdout.isatty():
                    record = {"table": one.table, "rows": one.rows, "rows_there": one.rows_there, "digest": one.digest}
                    output.json_lines([record | {"digest_there": one.digest_there, "same": one.same}])

            if not await moved_check.compare(db, link, compared):
                await move.begin_anew()
                raise StoreError(
                    f"{target.name}: not the same as {source}: {', '.join(different)}. Did the gateway run meanwhile? The copy was"
                    " emptied; run the command again. Nothing was changed in the old store"
                )
            folder = source.parent
            reader = PostgresAudit(Asking(pool))
            result = await audit.verify(reader, public_keys(folder / "keys"), audit.heads_in(folder / "log" / "audit-heads.jsonl"))
            if result.bad is not None:
                raise StoreError(f"every row was copied, but the decision log does not verify, here or there: {result.text}")
            await move.accept()
        finally:
            await link.close()
    finally:
        await pool.close()
        db.close()
    settings = [f'url = "{url}"', *([f'password_file = "{password}"'] if password else [])]
    if json or not sys.stdout.isatty():
        output.json_lines([{"ok": True, "store": target.name, "audit": result.text, "config": {"store": settings}}])
        return
    output.write(f"Every row is there and was read back; {result.text}")
    output.write("Put this into the config of every node, and start them:\n\n[store]\n" + "\n".join(settings))
    output.write(f"\nThe old store stays as it is: {source}. Remove it when the new one has proved itself.")


def migrate(
    context: typer.Context,
    to: Annotated[str, typer.Option("--to", help="An empty database: postgresql://user@host/database.", metavar="URL")],
    password_file: Annotated[str, typer.Option("--password-file", help="Holds the password of that user.", metavar="FILE")] = "",
    json: Json = False,
    config: ConfigFile = "",
) -> None:
    """Copy the store of a stopped gateway into PostgreSQL; broken off, it goes on where it was when it is run again."""
    import asyncio
    import sqlite3

    import psycopg

    from gateway.stores import locking
    from gateway.stores.base import StoreError
    from gateway.vault.vault import VaultError

    source = load_config(config_path(context, config)).state_dir / "gateway.db"
    lock = -1
    try:
        lock = locking.take_lock(source.with_suffix(".lock"))
        asyncio.run(_moved(source, to, FilePath(password_file).absolute() if password_file else None, json))
    except (StoreError, VaultError, OSError) as error:
        raise Stop(str(error)) from error
    except (psycopg.Error, sqlite3.Error) as error:
        again = "; run the command again, it goes on where it was" if isinstance(error, psycopg.OperationalError) else ""
        raise Stop(f"broken off: {_first_line(error)}{again}") from error
    finally:
        if lock >= 0:
            os.close(lock)


def _first_line(error: Any) -> str:
    return str(error).partition("\n")[0]

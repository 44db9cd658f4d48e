"""``gateway archive``: the journal copies, and whether the archive still has them as they were filed.

Who calls it: administrators, auditors and scripts.
Must never: speak with the archive itself (the keeper does); change anything.
Source: docs/design.md section 10; Gujarat Circular of 2018, clause 2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from gateway.cli import output
from gateway.cli.options import After, ConfigFile, Json, Limit, config_path, load_config

Name = Annotated[str, typer.Option("--name", help="Of this archive only, as the config names it.", metavar="NAME")]
COLUMNS = [
    ("id", "id"), ("reference", "reference"), ("name", "archive"), ("state", "state"), ("created", "created"), ("filed", "filed"),
    ("level", "level"), ("size", "size"), ("attempts", "attempts"), ("last_reply", "last reply"),
]  # fmt: skip
_PATIENCE = 600.0  # a step ends after 20 seconds and the message that is being read then


def _list(
    context: typer.Context,
    name: Name = "",
    reference: Annotated[str, typer.Option("--reference", help="Of this message only.", metavar="REFERENCE")] = "",
    limit: Limit = 100,
    after: After = "",
    json: Json = False,
    config: ConfigFile = "",
) -> None:
    """The journal copies, newest first: those that wait, those that are filed, and those that are kept in the store."""
    from gateway import requests
    from gateway.cli.link import rows

    path = config_path(context, config)
    records = rows(load_config(path), path, requests.ListArchived(name, reference, limit, after))
    if json:
        output.json_lines(records)
        return
    shown = [record | {"created": output.when(record["created"]), "filed": output.when(record["filed"])} for record in records]
    output.show(shown, json, COLUMNS, empty="There is no journal copy.")


def _verify(context: typer.Context, name: Name = "", json: Json = False, config: ConfigFile = "") -> None:
    """Compare every journal copy with what the archive, or the store, has: each is read and hashed. Prints ok, or each copy that is
    missing, different, or there without a record (exit 1)."""
    from gateway import requests
    from gateway.cli.link import rows

    path = config_path(context, config)
    loaded = load_config(path)
    problems, total = 0, {"copies": 0, "good": 0, "waiting": 0, "foreign": 0}
    after = ""
    with _bar() as show:
        while True:
            *found, last = rows(loaded, path, requests.VerifyArchive(name, after), patience=_PATIENCE)
            problems += len(found)
            for record in found:
                if json:
                    output.json_lines([record])
                else:
                    output.write(f"{output.safe(record['name'])} {output.safe(record['reference'])}: {output.safe(record['problem'])}")
            total = {key: count + int(last.get(key, 0)) for key, count in total.items()}
            show(total["copies"], int(last.get("of", 0)))
            after = str(last.get("next", ""))
            if not after:
                break
    if json:
        output.json_lines([{"ok": not problems, "problems": problems, **total}])
    else:
        output.write(summary(total, problems))
    if problems:
        raise typer.Exit(1)


def summary(total: dict[str, int], problems: int) -> str:
    """The last line of a comparison."""
    compared = total["copies"] - total["waiting"]
    copies = f"{compared} cop{'y' if compared == 1 else 'ies'}"
    more = f"; {total['waiting']} not filed yet" if total["waiting"] else ""
    more += f"; {total['foreign']} messages in the archive are no journal copies" if total["foreign"] else ""
    if problems:
        return f"bad: {problems} problem{'s' * (problems != 1)}; {total['good']} of {copies} as filed{more}"
    return f"ok: {copies}{more}"


def _nothing(done: int, of: int) -> None:
    """No bar."""


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    """What shows how far it is: a bar where stderr is a terminal, else nothing."""
    import sys

    if not sys.stderr.isatty():
        yield _nothing
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns: tuple[Any, ...] = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(file=sys.stderr, soft_wrap=True, highlight=False, markup=False, emoji=False)
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("copies", total=None)
        yield lambda done, of: bar.update(task, completed=done, total=max(done, of))


def commands() -> typer.Typer:
    """The commands of this noun."""
    app = typer.Typer(name="archive", help="Journal copies: list, verify.", no_args_is_help=True)
    app.command("list")(_list)
    app.command("verify")(_verify)
    return app

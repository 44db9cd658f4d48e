"""``gateway quarantine``: held mail, reviewed without the web page.

Who calls it: reviewers and scripts.
Must never: decide who may; the keeper does.
Source: contract.md, "Details of the commands".
"""

from __future__ import annotations

import os
import sys
from pathlib import Path as FilePath
from typing import Annotated

import typer

from gateway.cli import output
from gateway.cli.options import After, All, AsUser, ConfigFile, Json, Limit, Stop, config_path, load_config

COLUMNS = [
    ("reference", "reference"), ("state", "state"), ("level", "level"), ("rule", "rule"), ("sender", "from"), ("recipients", "to"),
    ("deadline", "deadline"), ("id", "id"),
]  # fmt: skip
Id = Annotated[str, typer.Argument(help="Id or reference of the held message.", metavar="ID")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is recorded.", metavar="TEXT")]


def _list(
    context: typer.Context, every: All = False, limit: Limit = 1000, after: After = "", json: Json = False, config: ConfigFile = ""
) -> None:
    """Held mail that waits for a decision; with --all also what was released, refused or has expired."""
    from gateway import requests
    from gateway.cli.link import rows

    path = config_path(context, config)
    records = rows(load_config(path), path, requests.ListHeld(all=every, limit=limit, after=after))
    output.show(records, json, COLUMNS, empty="No mail is held.")


def _show(context: typer.Context, id: Id, json: Json = False, config: ConfigFile = "") -> None:
    """One held message: why it is held, its leaves, evidence, approvals and history."""
    from gateway import requests
    from gateway.cli.link import rows

    path = config_path(context, config)
    records = rows(load_config(path), path, requests.ShowHeld(id))
    if not records:
        raise Stop(f"There is no held message {id}.")
    if json:
        output.json_lines(records)
    else:
        for record in records:
            output.details(record)


def _needs(reason: str) -> str:
    if not reason.strip():
        raise Stop("--reason: write why; it is recorded with the decision", 2)
    return reason.strip()


def _release(
    context: typer.Context,
    id: Id,
    reason: Reason = "",
    to: Annotated[list[str] | None, typer.Option("--to", help="Only to this recipient; may be repeated.", metavar="RCPT")] = None,
    user: AsUser = "",
    json: Json = False,
    config: ConfigFile = "",
) -> None:
    """Release a held message to its recipients; from the level two_people_from up it needs a second person."""
    from gateway import requests
    from gateway.cli.link import rows

    path = config_path(context, config)
    records = rows(load_config(path), path, requests.ReleaseHeld(id, _needs(reason), tuple(to or ()), user))
    if json:
        output.json_lines(records)
        return
    for record in records or ({},):
        output.write(output.safe(record.get("message") or record.get("result") or record.get("text") or f"released {id}"))


def _refuse(context: typer.Context, id: Id, reason: Reason = "", user: AsUser = "", json: Json = False, config: ConfigFile = "") -> None:
    """Refuse a held message; its originator gets a report with the reason."""
    from gateway import requests
    from gateway.cli.link import rows

    path = config_path(context, config)
    records = rows(load_config(path), path, requests.RefuseHeld(id, _needs(reason), user))
    if json:
        output.json_lines(records)
        return
    for record in records or ({},):
        output.write(output.safe(record.get("message") or record.get("result") or record.get("text") or f"refused {id}"))


def _export(
    context: typer.Context,
    id: Id,
    reason: Reason = "",
    output_file: Annotated[str, typer.Option("--output", "-o", help="File to write; - for stdout.", metavar="FILE")] = "",
    user: AsUser = "",
    config: ConfigFile = "",
) -> None:
    """Write the content of a held message to a file of mode 0600; the access is recorded."""
    from gateway import requests
    from gateway.cli.link import ask

    path = config_path(context, config)
    target = output_file or f"{id}.eml"
    if target == "-" and sys.stdout.isatty():
        raise Stop("--output -: the content of a message may hold what a terminal acts on; send it to a file", 2)
    if target != "-" and FilePath(target).exists():
        raise Stop(f"{target}: is there already; nothing was written", 2)
    _, body = ask(load_config(path), path, requests.ExportHeld(id, _needs(reason), user))
    if target == "-":
        sys.stdout.buffer.write(body)
        return
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(body)
    output.write(f"{len(body)} octets written to {output.safe(target)}")


def commands() -> typer.Typer:
    """The commands of this noun."""
    app = typer.Typer(name="quarantine", help="Held mail: list, show, release, refuse, export.", no_args_is_help=True)
    app.command("list")(_list)
    app.command("show")(_show)
    app.command("release")(_release)
    app.command("refuse")(_refuse)
    app.command("export")(_export)
    return app

"""``gateway quarantine``: held mail, reviewed without the web page.

Who calls it: reviewers and scripts.
Must never: decide who may; the keeper does.
Source: docs/design.md section 10 ("Records").
"""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli import output, quarantine_acts, quarantine_copies
from gateway.cli.options import After, All, AsUser, ConfigFile, Json, Limit, Stop, config_path, load_config
from gateway.cli.quarantine_acts import Id, Reason, needed, say

COLUMNS = [
    ("reference", "reference"), ("state", "state"), ("level", "level"), ("rule", "rule"), ("sender", "from"), ("recipients", "to"),
    ("deadline", "deadline"), ("id", "id"),
]  # fmt: skip


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

    say(context, config, requests.ReleaseHeld(id, needed(reason), tuple(to or ()), user), json, f"released {id}")


def _refuse(context: typer.Context, id: Id, reason: Reason = "", user: AsUser = "", json: Json = False, config: ConfigFile = "") -> None:
    """Refuse a held message; its originator gets a report with the reason."""
    from gateway import requests

    say(context, config, requests.RefuseHeld(id, needed(reason), user), json, f"refused {id}")


def commands() -> typer.Typer:
    """The commands of this noun."""
    app = typer.Typer(
        name="quarantine", help="Held mail: list, show, release, refuse, ask, level, forward, again, export, verify.", no_args_is_help=True
    )
    app.command("list")(_list)
    app.command("show")(_show)
    app.command("release")(_release)
    app.command("refuse")(_refuse)
    app.command("ask")(quarantine_acts.ask)
    app.command("level")(quarantine_acts.level)
    app.command("forward")(quarantine_acts.forward)
    app.command("again")(quarantine_acts.again)
    app.command("export")(quarantine_copies.export)
    app.command("verify")(quarantine_copies.verify)
    return app

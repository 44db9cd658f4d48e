"""``gateway queue``: the deliveries of the relay.

Who calls it: administrators and scripts.
Must never: touch a delivery but through the keeper.
Source: docs/design.md section 10 ("Records").
"""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli import output
from gateway.cli.options import After, All, AsUser, ConfigFile, Json, Limit, Stop, config_path, load_config

COLUMNS = [
    ("reference", "reference"), ("state", "state"), ("recipient", "to"), ("sender", "from"), ("attempts", "tries"),
    ("next_attempt", "next try"), ("last_reply", "last reply"), ("route", "route"), ("id", "id"),
]  # fmt: skip
Ids = Annotated[list[str] | None, typer.Argument(help="Ids of deliveries.", metavar="ID…")]
Every = Annotated[bool, typer.Option("--all", help="All open deliveries.")]


def _list(
    context: typer.Context, every: All = False, limit: Limit = 1000, after: After = "", json: Json = False, config: ConfigFile = ""
) -> None:
    """Deliveries under way; with --all also delivered, bounced and expired ones."""
    from gateway import requests
    from gateway.cli.link import rows

    path = config_path(context, config)
    records = rows(load_config(path), path, requests.ListQueue(all=every, limit=limit, after=after))
    output.show(records, json, COLUMNS, empty="Nothing waits for delivery.")


def _show(
    context: typer.Context,
    id: Annotated[str, typer.Argument(help="Id of a delivery, or a reference.", metavar="ID")],
    json: Json = False,
    config: ConfigFile = "",
) -> None:
    """One delivery, or all of a reference."""
    from gateway import requests
    from gateway.cli.link import rows

    path = config_path(context, config)
    records = rows(load_config(path), path, requests.ShowDelivery(id))
    if not records:
        raise Stop(f"There is no delivery {id}.")
    output.each(records, json)


def _act(context: typer.Context, action: str, ids: list[str] | None, every: bool, user: str, json: bool, config: str) -> None:
    from gateway import requests
    from gateway.cli.link import rows

    if bool(ids) == every:
        raise Stop(f"queue {action}: name the deliveries, or --all", 2)
    path = config_path(context, config)
    records = rows(load_config(path), path, requests.ActOnQueue(action, tuple(ids or ()), every, user))
    if json:
        output.json_lines(records)
    elif records:
        output.table(records, [(name, name) for name in records[0]], empty="")
    else:
        output.write(f"{action}: done")


def _retry(
    context: typer.Context, ids: Ids = None, every: Every = False, user: AsUser = "", json: Json = False, config: ConfigFile = ""
) -> None:
    """Try deliveries now."""
    _act(context, "retry", ids, every, user, json, config)


def _bounce(
    context: typer.Context, ids: Ids = None, every: Every = False, user: AsUser = "", json: Json = False, config: ConfigFile = ""
) -> None:
    """Give deliveries up; their originators get a report."""
    _act(context, "bounce", ids, every, user, json, config)


def _hold(
    context: typer.Context, ids: Ids = None, every: Every = False, user: AsUser = "", json: Json = False, config: ConfigFile = ""
) -> None:
    """Stop trying deliveries until they are let go."""
    _act(context, "hold", ids, every, user, json, config)


def _unhold(
    context: typer.Context, ids: Ids = None, every: Every = False, user: AsUser = "", json: Json = False, config: ConfigFile = ""
) -> None:
    """Let deliveries that were put on hold go again."""
    _act(context, "unhold", ids, every, user, json, config)


def commands() -> typer.Typer:
    """The commands of this noun."""
    app = typer.Typer(name="queue", help="Deliveries: list, show, retry, bounce, hold, unhold.", no_args_is_help=True)
    for name, function in (("list", _list), ("show", _show), ("retry", _retry), ("bounce", _bounce), ("hold", _hold), ("unhold", _unhold)):
        app.command(name)(function)
    return app

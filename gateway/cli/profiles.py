"""``gateway profiles``: times in which the rules for unclassified mail are relaxed, such as a disaster.

Who calls it: administrators and scripts.
Must never: start a profile without a reason, an approver and an end.
Sources: docs/design.md section 10 ("Records"); rules/README.md, R31.
"""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli import output
from gateway.cli.options import All, AsUser, ConfigFile, Json, config_path, end, load_config, needed

COLUMNS = [
    ("id", "id"), ("name", "profile"), ("state", "state"), ("reason", "reason"), ("requester", "requester"), ("approver", "approver"),
    ("created", "since"), ("expires", "until"),
]  # fmt: skip


def _list(context: typer.Context, every: All = False, json: Json = False, config: ConfigFile = "") -> None:
    """The profiles that are on; with --all also those that have ended."""
    from gateway import requests
    from gateway.cli.link import rows

    path = config_path(context, config)
    output.show(rows(load_config(path), path, requests.ListProfiles(every)), json, COLUMNS, empty="No profile is on.")


def _start(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The profile: disaster.", metavar="NAME")],
    reason: Annotated[str, typer.Option("--reason", help="Why; it is recorded.", metavar="TEXT")] = "",
    requester: Annotated[str, typer.Option("--requester", help="Who asked for it.", metavar="USER")] = "",
    approver: Annotated[str, typer.Option("--approver", help="Who approved it; not the requester.", metavar="USER")] = "",
    until: Annotated[str, typer.Option("--until", help="End: ISO 8601 with zone, 2026-12-31T18:30+05:30.", metavar="TIME")] = "",
    lasting: Annotated[str, typer.Option("--for", help="End: so long from now, 48h; at most 30d.", metavar="SPAN")] = "",
    json: Json = False,
    config: ConfigFile = "",
) -> None:
    """Turn a profile on; it is in force at once in every process, and ends by itself. Rules on classified mail stay as they are."""
    from gateway import requests
    from gateway.cli.link import rows

    needed("profiles start", {"--reason": reason, "--requester": requester, "--approver": approver})
    expires = end("profiles start", until, lasting)
    path = config_path(context, config)
    request = requests.StartProfile(name.strip(), reason.strip(), requester.strip(), approver.strip(), expires)
    records = rows(load_config(path), path, request)
    if json:
        output.json_lines(records)
        return
    for record in records or ({},):
        title, id = output.safe(record.get("name", name)), output.safe(record.get("id", ""))
        output.write(f"the profile {title} ({id}) is on until {output.when(expires)}; rules on classified mail apply as before")


def _end(
    context: typer.Context,
    id: Annotated[str, typer.Argument(help="Id of the profile, or its name: all of that name end.", metavar="ID")],
    reason: Annotated[str, typer.Option("--reason", help="Why; it is recorded.", metavar="TEXT")] = "",
    user: AsUser = "",
    json: Json = False,
    config: ConfigFile = "",
) -> None:
    """End a profile now."""
    from gateway import requests
    from gateway.cli.link import rows

    path = config_path(context, config)
    records = rows(load_config(path), path, requests.EndProfile(id, reason, user))
    if json:
        output.json_lines(records)
        return
    for record in records:
        output.write(f"the profile {output.safe(record.get('name', ''))} ({output.safe(record.get('id', ''))}) has ended")


def commands() -> typer.Typer:
    """The commands of this noun."""
    app = typer.Typer(name="profiles", help="Profiles such as disaster: list, start, end.", no_args_is_help=True)
    app.command("list")(_list)
    app.command("start")(_start)
    app.command("end")(_end)
    return app

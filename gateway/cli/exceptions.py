"""``gateway exceptions``: the exception register.

Who calls it: administrators and scripts.
Must never: add an entry without a reason, an approver and an end.
Source: docs/design.md section 10 ("Records").
"""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli import output
from gateway.cli.options import After, All, AsUser, ConfigFile, Json, Limit, config_path, end, load_config, needed

COLUMNS = [
    ("id", "id"), ("state", "state"), ("sender", "from"), ("recipient", "to"), ("reason", "reason"), ("requester", "requester"),
    ("approver", "approver"), ("expires", "expires"),
]  # fmt: skip


def _list(
    context: typer.Context, every: All = False, limit: Limit = 1000, after: After = "", json: Json = False, config: ConfigFile = ""
) -> None:
    """The entries in force; with --all also what has ended."""
    from gateway import requests
    from gateway.cli.link import rows

    path = config_path(context, config)
    output.show(rows(load_config(path), path, requests.ListExceptions(every, limit, after)), json, COLUMNS, empty="There is no exception.")


def _add(
    context: typer.Context,
    sender: Annotated[
        str, typer.Option("--from", help="Sender: a@b, @b or b (a domain), .b (its sub-domains), *.", metavar="PATTERN")
    ] = "",
    recipient: Annotated[str, typer.Option("--to", help="Recipient, in the same forms.", metavar="PATTERN")] = "",
    reason: Annotated[str, typer.Option("--reason", help="Why; it is recorded.", metavar="TEXT")] = "",
    requester: Annotated[str, typer.Option("--requester", help="Who asked for it.", metavar="USER")] = "",
    approver: Annotated[str, typer.Option("--approver", help="Who approved it; not the requester.", metavar="USER")] = "",
    until: Annotated[str, typer.Option("--until", help="End: ISO 8601 with zone, 2026-12-31T18:30+05:30.", metavar="TIME")] = "",
    lasting: Annotated[str, typer.Option("--for", help="End: so long from now, 30d, 12h or 90s.", metavar="SPAN")] = "",
    json: Json = False,
    config: ConfigFile = "",
) -> None:
    """Add an entry; it is in force at once in every process."""
    from gateway import requests
    from gateway.cli.link import rows

    given = {"--from": sender, "--to": recipient, "--reason": reason, "--requester": requester, "--approver": approver}
    needed("exceptions add", given)
    expires = end("exceptions add", until, lasting)
    path = config_path(context, config)
    request = requests.AddException(sender.strip(), recipient.strip(), reason.strip(), requester.strip(), approver.strip(), expires)
    records = rows(load_config(path), path, request)
    if json:
        output.json_lines(records)
    else:
        for record in records or ({},):
            output.write(f"exception {output.safe(record.get('id', ''))} is in force until {output.when(expires)}")


def _expire(
    context: typer.Context,
    id: Annotated[str, typer.Argument(help="Id of the entry.", metavar="ID")],
    reason: Annotated[str, typer.Option("--reason", help="Why; it is recorded.", metavar="TEXT")] = "",
    user: AsUser = "",
    json: Json = False,
    config: ConfigFile = "",
) -> None:
    """End an entry now."""
    from gateway import requests
    from gateway.cli.link import rows

    path = config_path(context, config)
    records = rows(load_config(path), path, requests.ExpireException(id, reason, user))
    if json:
        output.json_lines(records)
    else:
        output.write(f"exception {output.safe(id)} has ended")


def commands() -> typer.Typer:
    """The commands of this noun."""
    app = typer.Typer(name="exceptions", help="The exception register: list, add, expire.", no_args_is_help=True)
    app.command("list")(_list)
    app.command("add")(_add)
    app.command("expire")(_expire)
    return app

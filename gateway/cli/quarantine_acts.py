"""``gateway quarantine``: the acts of a reviewer beside release and refusal.

Who calls it: ``quarantine``.
Must never: decide who may; the keeper does.
Source: docs/design.md section 10 ("Records").
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gateway.cli import output
from gateway.cli.options import AsUser, ConfigFile, Json, Stop, config_path, load_config

Id = Annotated[str, typer.Argument(help="Id or reference of the held message.", metavar="ID")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is recorded.", metavar="TEXT")]


def needed(text: str, option: str = "--reason") -> str:
    """*text*; ends the command where nothing is written."""
    if not text.strip():
        raise Stop(f"{option}: write why; it is recorded with the decision", 2)
    return text.strip()


def say(context: typer.Context, config: str, request: Any, json: bool, otherwise: str) -> None:
    """Asks the keeper and prints what it did."""
    from gateway.cli.link import rows

    path = config_path(context, config)
    records = rows(load_config(path), path, request)
    if json:
        output.json_lines(records)
        return
    for record in records or ({},):
        output.write(output.safe(record.get("message") or record.get("result") or record.get("text") or otherwise))


def ask(
    context: typer.Context,
    id: Id,
    text: Annotated[str, typer.Option("--text", help="The question.", metavar="TEXT")] = "",
    user: AsUser = "",
    json: Json = False,
    config: ConfigFile = "",
) -> None:
    """Ask the originator of a held message; the message waits on."""
    from gateway import requests

    say(context, config, requests.AskOfficer(id, needed(text, "--text"), user), json, f"asked about {id}")


def level(
    context: typer.Context,
    id: Id,
    level: Annotated[
        str, typer.Argument(help="RESTRICTED, CONFIDENTIAL, SECRET, TOP-SECRET; UNCLASSIFIED takes the level away.", metavar="LEVEL")
    ],
    reason: Reason = "",
    user: AsUser = "",
    json: Json = False,
    config: ConfigFile = "",
) -> None:
    """Give a held message another level; a lower one needs a second person, who gives the same command."""
    from gateway import requests

    say(context, config, requests.ReclassifyHeld(id, level, needed(reason), user), json, f"{id} is {level} now")


def forward(
    context: typer.Context,
    id: Id,
    to: Annotated[str, typer.Argument(help="Name of the person.", metavar="NAME")],
    note: Annotated[str, typer.Option("--note", help="What he should know; it is recorded.", metavar="TEXT")] = "",
    user: AsUser = "",
    json: Json = False,
    config: ConfigFile = "",
) -> None:
    """Hand a held message to another reviewer, who gets a mail."""
    from gateway import requests

    say(context, config, requests.ForwardHeld(id, to, needed(note, "--note"), user), json, f"handed {id} to {to}")


def again(
    context: typer.Context,
    id: Id,
    apply: Annotated[bool, typer.Option("--apply", help="Release to those whom nothing holds any more; needs --reason.")] = False,
    reason: Reason = "",
    user: AsUser = "",
    json: Json = False,
    config: ConfigFile = "",
) -> None:
    """What the rules of today say of each recipient who waits; nothing is waived."""
    from gateway import requests
    from gateway.cli.link import rows

    path = config_path(context, config)
    request = requests.DecideAgain(id, apply, needed(reason) if apply else reason, user)
    records = rows(load_config(path), path, request)
    columns = [("address", "to"), ("disposition", "decision"), ("rule", "rule"), ("released", "released")]
    output.show(records, json, columns, empty="Nobody waits.")

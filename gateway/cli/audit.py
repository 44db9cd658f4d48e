"""``gateway audit``: the decision log.

Who calls it: administrators, auditors and scripts.
Must never: change the log, but for what is past its retention; print text of a message (the log has none).
Source: docs/design.md section 10 ("Records").
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway import logged
from gateway.cli import output
from gateway.cli.options import AsUser, ConfigFile, Json, Stop, config_path, has_config, load_config, since

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

Text = Annotated[str, typer.Argument(help="Words to look for.", metavar="TEXT")]


def _request(text: str, sender: str, recipient: str, rule: str, begin: str, end: str, limit: int, after: int) -> Any:
    from gateway import requests

    return requests.SearchAudit(
        text=text,
        sender=sender,
        recipient=recipient,
        rule=rule,
        since=since(begin, "--since"),
        until=since(end, "--until"),
        limit=limit,
        after=after,
    )


def csv_line(values: Iterable[object]) -> str:
    """*values* as one line of CSV; see ``logged``."""
    return logged.csv_line(values, output.safe)


def _search(
    context: typer.Context,
    text: Text = "",
    sender: Annotated[str, typer.Option("--from", help="Sender.", metavar="ADDRESS")] = "",
    recipient: Annotated[str, typer.Option("--to", help="Recipient.", metavar="ADDRESS")] = "",
    rule: Annotated[str, typer.Option("--rule", help="Id of a rule.", metavar="ID")] = "",
    begin: Annotated[str, typer.Option("--since", help="ISO 8601 with zone, or a span before now: 30d, 12h.", metavar="TIME")] = "",
    end: Annotated[str, typer.Option("--until", help="ISO 8601 with zone, or a span before now.", metavar="TIME")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="At most this many records.", metavar="N")] = 1000,
    after: Annotated[int, typer.Option("--after", min=0, help="Page on from this row.", metavar="N")] = 0,
    json: Json = False,
    config: ConfigFile = "",
) -> None:
    """Decisions by words, sender, recipient, rule and time."""
    from gateway.cli.link import rows

    path = config_path(context, config)
    records = rows(load_config(path), path, _request(text, sender, recipient, rule, begin, end, limit, after))
    if json:
        output.json_lines(records)
    else:
        output.table([logged.flat(row) for row in records], list(logged.COLUMNS), empty="Nothing was found.")


def _show(
    context: typer.Context,
    id: Annotated[str, typer.Argument(help="A reference or an id.", metavar="ID")],
    json: Json = False,
    config: ConfigFile = "",
) -> None:
    """Everything that was recorded about one message."""
    from gateway import requests
    from gateway.cli.link import rows

    path = config_path(context, config)
    records = rows(load_config(path), path, requests.ShowAudit(id))
    if not records:
        raise Stop(f"Nothing is recorded about {id}.")
    output.each(records, json)


def _export(
    context: typer.Context,
    format: Annotated[str, typer.Option("--format", help="ecs: JSON Lines with ECS names; csv: a table.", metavar="FORMAT")] = "ecs",
    begin: Annotated[str, typer.Option("--since", help="ISO 8601 with zone, or a span before now.", metavar="TIME")] = "",
    end: Annotated[str, typer.Option("--until", help="ISO 8601 with zone, or a span before now.", metavar="TIME")] = "",
    config: ConfigFile = "",
) -> None:
    """The whole log, oldest first: as JSON Lines with ECS names, or its main columns as CSV."""
    from gateway.cli.link import rows

    if format not in ("ecs", "csv"):
        raise Stop(f"--format: {format!r} is not a format; there is: ecs, csv", 2)
    path = config_path(context, config)
    loaded = load_config(path)
    after, page = 0, 5000
    if format == "csv":
        output.write(",".join(heading for _, heading in logged.EXPORTED))
    while True:
        records = rows(loaded, path, _request("", "", "", "", begin, end, page, after))
        if format == "csv":
            for record in records:
                output.write(csv_line(logged.flat(record).get(field) for field, _ in logged.EXPORTED))
        else:
            output.json_lines(records)
        if len(records) < page:
            return
        last = records[-1]
        after = int(last.get("seq") or last.get("gateway", {}).get("seq") or 0)
        if not after:
            raise Stop("The rows of the log carry no number; the export is not complete.")


def _verify(
    context: typer.Context,
    store: Annotated[
        str,
        typer.Option("--store", help="Another store: sqlite:///path/gateway.db, a state folder, or postgresql://…", metavar="URL"),
    ] = "",
    password_file: Annotated[str, typer.Option("--password-file", help="Holds the password for postgresql://…", metavar="FILE")] = "",
    json: Json = False,
    config: ConfigFile = "",
) -> None:
    """Read every chain from its first row; names the first bad one. Works on a stopped gateway too."""
    import asyncio
    from dataclasses import asdict

    from gateway.audit import audit
    from gateway.cli import reading
    from gateway.stores.base import StoreError
    from gateway.vault import vault

    loaded = load_config(config_path(context, config)) if not store or has_config(context, config) else None
    if store:
        where: reading.Where = reading.named(store, password_file)
    else:
        assert loaded is not None
        where = reading.configured(loaded)
    if loaded is not None:
        folder = loaded.state_dir
    elif isinstance(where, FilePath):
        folder = where.parent
    else:
        raise Stop("--store: the keys that heads are signed with are looked for in state_dir; name the config too (--config)", 2)

    async def verify() -> audit.Result:
        async with reading.log_of(where) as reader:
            return await audit.verify(reader, public_keys(folder / "keys"), audit.heads_in(folder / "log" / "audit-heads.jsonl"))

    try:
        result = asyncio.run(verify())
    except (StoreError, vault.VaultError) as error:
        raise Stop(str(error), 2) from error
    if json:
        output.json_lines([asdict(result) | {"ok": result.bad is None}])
    else:
        output.write(result.text)
    if result.bad is not None:
        raise typer.Exit(1)


def _purge(
    context: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    user: AsUser = "",
    json: Json = False,
    config: ConfigFile = "",
) -> None:
    """Remove now what is past its retention (the table retention of the config); the gateway does so by itself every six hours."""
    from gateway import requests
    from gateway.cli.link import rows

    path = config_path(context, config)
    loaded = load_config(path)
    if not yes and not json:
        days = {name: f"{getattr(loaded.retention, name) / 86400:g} days" for name in ("audit", "messages", "correspondents", "threads")}
        output.write(
            f"What is older goes for good: decisions {days['audit']}, finished messages {days['messages']},"
            f" correspondents {days['correspondents']}, levels of threads {days['threads']}."
        )
        if not typer.confirm("Remove it?"):
            raise Stop("Nothing was removed.", 1)
    records = rows(loaded, path, requests.Purge(user))
    if json:
        output.json_lines(records)
        return
    for record in records:
        counts = ", ".join(
            f"{record.get(name, 0)} {words}"
            for name, words in (
                ("audit", "rows of the decision log"), ("messages", "finished messages"), ("correspondents", "correspondents"),
                ("threads", "levels of threads and passages"),
                ("entries", "ended exceptions and profiles"), ("copies", "journal copies"), ("files", "log files"),
            )
        )  # fmt: skip
        output.write(f"removed: {counts}")
        if not record.get("finished", True):
            output.write("there is more; the gateway goes on by itself, or run the command again")


def public_keys(folder: FilePath) -> list[Ed25519PublicKey]:
    """The keys in *folder* that heads are signed with: the present one, older ones that were put back as audit-signing-NAME.pem, and
    the public ones of other nodes as audit-signing-NAME.pub. None where the store lies without its keys: then only the hashes are
    checked, and the answer says so."""
    from gateway.audit import audit, chain_keys

    own = [audit.read_signer(file).public for file in sorted(folder.glob("audit-signing*.pem"))]
    return own + [chain_keys.read_public(file) for file in sorted(folder.glob("audit-signing-*.pub"))]


def commands() -> typer.Typer:
    """The commands of this noun."""
    app = typer.Typer(name="audit", help="The decision log: search, show, verify, export, purge.", no_args_is_help=True)
    app.command("search")(_search)
    app.command("show")(_show)
    app.command("verify")(_verify)
    app.command("export")(_export)
    app.command("purge")(_purge)
    return app

"""``gateway logins``: who may sign in on the submission doors, and as whom each may send.

Who calls it: administrators; ``gateway check`` for its findings.
Must never: print, log or take as an argument a password.
Sources: docs/design.md section 10; the form of the file is in ``keeper.login_file``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli import output
from gateway.cli.options import ConfigFile, Json, Stop, config_path, has_config, load_config

if TYPE_CHECKING:
    from gateway.config import Config
    from gateway.doctor import Finding
    from gateway.signin.login_file import LoginTable

COLUMNS = [
    ("login", "login"), ("senders", "may send as"), ("mailboxes", "mailboxes"), ("applications", "applications"),
    ("networks", "only from"), ("department", "department"),
]  # fmt: skip
_LINE = 4096  # octets of a password line on stdin


def password(*, twice: bool) -> str:
    """The password from the terminal without echo (*twice*: and once more), or the first line of stdin where that is no terminal."""
    from getpass import getpass

    from gateway.signin import login_names

    if sys.stdin.isatty():
        given = getpass("Password: ")
        if twice and getpass("Once more: ") != given:
            raise Stop("The two are not the same; nothing was made.")
    else:
        octets = sys.stdin.buffer.readline(_LINE)
        try:
            given = octets.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8")
        except UnicodeDecodeError as error:
            raise Stop("The password on stdin is not UTF-8.", 2) from error
    if login_names.secret(given) is None:
        raise Stop("The password is empty or longer than 1024 octets.", 2)
    return given


def _hash(json: Json = False, _: ConfigFile = "") -> None:
    """Make the argon2id hash of a password for the logins file: from the terminal, asked twice, or from the first line of stdin."""
    from gateway.signin import passwords

    made = passwords.make(password(twice=True).encode("utf-8"))
    output.write(output.json_line({"password": made}) if json else made)


def table_of(config: Config, file: str) -> tuple[FilePath, LoginTable]:
    """The logins of *file*, or of the config's. Ends the command with file, line and reason."""
    from gateway.signin import login_file

    path = FilePath(file).absolute() if file else config.submission.logins
    if path is None:
        raise Stop('The config names no logins file: write logins = "/etc/gateway/logins.toml" under [submission].', 2)
    try:
        return path, login_file.load(path, config)
    except login_file.LoginFileError as error:
        raise Stop(str(error), 2) from error


def records(config: Config, table: LoginTable) -> list[dict[str, Any]]:
    """One record a login; those that only a mailbox names are there too, where the next hop checks passwords."""
    from gateway.signin import login_file, login_names

    rows = []
    for name in sorted({*table.logins, *(user for users in table.mailboxes.values() for user in users)}):
        login = table.logins.get(name)
        boxes = [address for address, users in table.mailboxes.items() if name in users]
        own = list(login.senders) if login is not None else [login_names.address_of(name), *boxes]
        applications = [one for one in config.application if name in login_file.names_of(one)]
        rows.append({
            "login": name, "senders": own, "mailboxes": boxes, "applications": [one.name for one in applications],
            "networks": [str(network) for network in login.networks] if login is not None else [],
            "department": login.department if login is not None else "",
        })  # fmt: skip
    return rows


def doubts(config: Config, table: LoginTable) -> Iterator[str]:
    """What the file says and the config makes void."""
    from gateway.address import matches
    from gateway.signin import login_file

    for row in records(config, table):
        for sender in row["senders"]:
            if not any(matches(sender.rpartition("@")[2], domain) for domain in config.originators.domains):
                yield f"login {row['login']}: {sender} is not of originators.domains, so mail from it is refused"
    if config.submission.check == "file":
        for one in config.application:
            for name in sorted(login_file.names_of(one) - set(table.logins)):
                yield f"application {one.name}: there is no login {name}"


def _check(
    context: typer.Context,
    file: Annotated[str, typer.Argument(help="The logins file (default: the config's).", metavar="[FILE]")] = "",
    json: Json = False,
    config: ConfigFile = "",
) -> None:
    """Check a logins file: ok, or the first mistake with its line."""
    from gateway.config import Config

    loaded = load_config(config_path(context, config)) if has_config(context, config) or not file else Config()
    path, table = table_of(loaded, file)
    found = list(doubts(loaded, table)) if has_config(context, config) else []
    if json:
        row = {"file": str(path), "logins": len(table.logins), "mailboxes": len(table.mailboxes), "warnings": found}
        output.write(output.json_line(row))
        return
    for doubt in found:
        output.write(f"warn   {output.safe(doubt)}")
    output.write(f"ok     {path}: {len(table.logins)} logins, {len(table.mailboxes)} mailboxes")


def _list(context: typer.Context, json: Json = False, config: ConfigFile = "") -> None:
    """The logins: as whom each may send, its mailboxes, and from where it may be used."""
    loaded = load_config(config_path(context, config))
    _, table = table_of(loaded, "")
    output.show(records(loaded, table), json, COLUMNS, empty="The file has no login.")


def _test(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The login.", metavar="NAME")],
    client_ip: Annotated[str, typer.Option("--client-ip", help="The address to come from.", metavar="IP")] = "127.0.0.1",
    json: Json = False,
    config: ConfigFile = "",
) -> None:
    """Ask for a password and say what a submission door would answer. The running gateway is asked: its limits count, and the try is in
    the log."""
    import ipaddress

    from gateway import requests
    from gateway.cli.link import ask

    try:
        ipaddress.ip_address(client_ip)
    except ValueError as error:
        raise Stop(f"--client-ip: {client_ip!r} is not an IP address", 2) from error
    path = config_path(context, config)
    loaded = load_config(path)
    answer, _ = ask(loaded, path, requests.Authenticate(name, password(twice=False), client_ip, "test"))
    if not isinstance(answer, requests.Authenticated):
        raise Stop("The keeper gave no answer about the login.")
    right = answer.reply.code == 235
    if json:
        row = {"login": answer.login, "code": answer.reply.code, "enhanced": answer.reply.enhanced, "text": answer.reply.text}
        output.write(output.json_line(row | {"senders": list(answer.senders)}))
    else:
        output.write(f"{answer.reply}")
        if right:
            output.write(f"{output.safe(answer.login)} may send as: {output.safe(', '.join(answer.senders) or 'nobody')}")
    if not right:
        raise typer.Exit(1)


# --- for gateway check ------------------------------------------------------------------------------------------------


def findings(config: Config, *, offline: bool) -> Iterator[Finding]:
    """Whether sign-in can work: the file, and what the next hop offers."""
    from gateway.doctor import Finding
    from gateway.signin import login_file

    wanted = config.submission
    doors = [listen for listen in config.listen if listen.door in ("submission", "smtps")]
    if not doors and wanted.logins is None and not wanted.next_hop:
        return
    if not doors:
        yield Finding("logins", "warning", "[submission] is there, but no [[listen]] has door = submission or smtps: nobody can sign in")
    if wanted.logins is None:
        if wanted.check == "file":
            yield Finding("logins", "wrong", "submission.logins names no file: nobody can sign in")
    else:
        try:
            table = login_file.load(wanted.logins, config)
        except login_file.LoginFileError as error:
            yield Finding("logins", "wrong", str(error))
        else:
            yield Finding("logins", "ok", f"{wanted.logins}: {len(table.logins)} logins, {len(table.mailboxes)} mailboxes")
            for doubt in doubts(config, table):
                yield Finding("logins", "warning", doubt)
    if wanted.check == "next-hop" and not offline:
        yield from _offers(config)


def _offers(config: Config) -> Iterator[Finding]:
    """What each hop that is asked about passwords offers, over TLS that is verified as for a real question."""
    import asyncio
    import time

    from gateway.doctor import Finding
    from gateway.relay.hop_protocol import HopError
    from gateway.relay.hop_tls import Contexts
    from gateway.relay.routes import OwnAddresses, Resolver, RouteError, Routes
    from gateway.signin.hop_auth import HopAuth

    async def look() -> list[Finding]:
        routes = Routes(config)
        hops = HopAuth(config, routes, Resolver(OwnAddresses.of(config), config.limits.relay_connect), Contexts(), time.monotonic)
        asked = {domain: hops.hop_for(f"postmaster@{domain}") for domain in config.originators.domains}
        out = [
            Finding("logins", "wrong", f"no route leads to {domain}: its logins cannot be checked")
            for domain, hop in asked.items() if hop is None
        ]  # fmt: skip
        if not asked:
            out.append(Finding("logins", "wrong", "originators.domains is empty: no login is ours"))
        for hop in dict.fromkeys(hop for hop in asked.values() if hop is not None):
            name = f"{hop.name} (asked about passwords)"
            try:
                connection = await hops.open(hop)
            except HopError as error:
                out.append(Finding("logins", "wrong", f"{name}: {error.reply.text}"))
                continue
            offered = sorted(connection.capabilities.auth & {"PLAIN", "LOGIN"})
            text = f"{name}: AUTH {' '.join(offered)} over {connection.way}" if offered else f"{name}: offers neither AUTH PLAIN nor LOGIN"
            out.append(Finding("logins", "ok" if offered else "wrong", text))
            connection.quit()
            await asyncio.sleep(0)
        return out

    try:
        yield from asyncio.run(look())
    except RouteError as error:
        yield Finding("logins", "wrong", f"submission.next_hop: {error}")


def commands() -> typer.Typer:
    """The commands of this noun."""
    app = typer.Typer(name="logins", help="Logins of the submission doors: hash, check, list, test.", no_args_is_help=True)
    app.command("hash")(_hash)
    app.command("check")(_check)
    app.command("list")(_list)
    app.command("test")(_test)
    return app

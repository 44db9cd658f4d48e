"""``gateway users``: the people who work with the gateway, their roles, and one-time logins for the web page.

Who calls it: administrators.
Must never: ask for or print a password.
Source: docs/design.md section 10.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli import output
from gateway.cli.options import AsUser, ConfigFile, Json, Stop, config_path, load_config

if TYPE_CHECKING:
    from pathlib import Path as FilePath

    from gateway.config import Config

COLUMNS = [
    ("name", "name"), ("roles", "roles"), ("state", "state"), ("system_user", "system user"), ("email", "e-mail"),
    ("department", "department"), ("created", "since"),
]  # fmt: skip
Name = Annotated[str, typer.Argument(help="Name of the person.", metavar="NAME")]


def _list(context: typer.Context, json: Json = False, config: ConfigFile = "") -> None:
    """The people, with their roles, and whether they may sign in."""
    from gateway import requests
    from gateway.cli.link import rows

    path = config_path(context, config)
    records = rows(load_config(path), path, requests.ListUsers())
    shown = records if json else tuple(record | {"roles": _roles_of(record), "state": _state_of(record)} for record in records)
    output.show(shown, json, COLUMNS, empty="There is no reviewer. Add one with: gateway users add")


def _roles_of(record: dict[str, Any]) -> str:
    return ", ".join(str(grant).removesuffix("@*") for grant in record.get("grants", ())) or "none"


def _state_of(record: dict[str, Any]) -> str:
    if record.get("disabled"):
        return "disabled"
    ways = [name for name in ("password", "totp", "oidc") if record.get(name)]
    return f"active ({', '.join(ways)})" if ways else "active, has not signed in yet"


def _add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the reviewer.", metavar="NAME")],
    system_user: Annotated[str, typer.Option("--system-user", help="The user of this machine that it is.", metavar="USER")] = "",
    email: Annotated[str, typer.Option("--email", help="Address of the reviewer.", metavar="ADDRESS")] = "",
    department: Annotated[
        str, typer.Option("--department", help="Domain whose mail is this person's, such as home.gov.in.", metavar="DOMAIN")
    ] = "",
    roles: Annotated[
        list[str] | None,
        typer.Option("--role", help="A role: NAME, or NAME@DOMAIN for one department. Again for more.", metavar="ROLE"),
    ] = None,
    json: Json = False,
    config: ConfigFile = "",
) -> None:
    """Add a person: viewer, reviewer, second-approver, auditor or administrator; without --role reviewer and second-approver."""
    import pwd

    from gateway import requests
    from gateway.cli.link import rows

    if not name.strip():
        raise Stop("users add: the name is empty", 2)
    if system_user:
        try:
            pwd.getpwnam(system_user)
        except KeyError as error:
            raise Stop(f"--system-user: this machine has no user {system_user!r}", 2) from error
    path = config_path(context, config)
    records = rows(load_config(path), path, requests.AddUser(name.strip(), system_user, email, department, tuple(roles or ())))
    if json:
        output.json_lines(records)
    else:
        output.write(f"reviewer {output.safe(name.strip())} added" + (f", the system user {system_user}" if system_user else ""))


def _change(context: typer.Context, config: str, name: str, json: bool, said: str, **changes: Any) -> None:
    from gateway import requests
    from gateway.cli.link import rows

    path = config_path(context, config)
    records = rows(load_config(path), path, requests.ChangeUser(name, **changes))
    if json:
        output.json_lines(records)
    else:
        output.write(f"{output.safe(name)} {said}")


def _roles(
    context: typer.Context,
    name: Name,
    roles: Annotated[list[str], typer.Argument(help="All roles from now on: NAME, or NAME@DOMAIN for one department.", metavar="ROLE")],
    json: Json = False,
    config: ConfigFile = "",
) -> None:
    """Give a person these roles, and no others; they hold from the next request on."""
    _change(context, config, name, json, f"has the roles {output.safe(', '.join(roles))}", grants=tuple(roles))


def _disable(context: typer.Context, name: Name, json: Json = False, config: ConfigFile = "") -> None:
    """Keep a person out: sessions end, passwords and tokens open nothing."""
    _change(context, config, name, json, "is disabled", disabled=True)


def _enable(context: typer.Context, name: Name, json: Json = False, config: ConfigFile = "") -> None:
    """Let a person in again."""
    _change(context, config, name, json, "is enabled", disabled=False)


def _invite(context: typer.Context, name: Name, json: Json = False, config: ConfigFile = "") -> None:
    """Take a person's password, codes, tokens and sessions away, and make a one-time login to set them up anew."""
    from gateway import requests

    path = config_path(context, config)
    _print_login(load_config(path), path, requests.InviteUser(name), json)


def page_address(config: Config) -> str:
    """Where the web page is: the public address, else the first listener; empty where there is none."""
    if config.web.public_url:
        return config.web.public_url.rstrip("/")
    for listen in config.listen:
        if listen.door == "web" and not listen.address.startswith(("unix:", "systemd:")):
            host, _, port = listen.address.rpartition(":")
            return f"http://{'127.0.0.1' if host in ('0.0.0.0', '') else '[::1]' if host == '[::]' else host}:{port}"  # noqa: S104
    return ""


def _login(context: typer.Context, user: AsUser = "", json: Json = False, config: ConfigFile = "") -> None:
    """Make a one-time login for the web page."""
    from gateway import requests

    path = config_path(context, config)
    _print_login(load_config(path), path, requests.OneTimeLogin(user=user), json)


def _print_login(config: Config, path: FilePath, request: Any, json: bool) -> None:
    """Asks for a one-time login and prints its link. Raises Stop."""
    from gateway.cli.link import rows

    records = rows(config, path, request)
    token = str(records[0].get("token", "")) if records else ""
    if not token:
        raise Stop("The keeper gave no login.")
    address = page_address(config)
    link = f"{address}/login?token={token}" if address else ""
    if json:
        output.json_lines([records[0] | {"url": link}])
    else:
        output.write(link or token)


def commands() -> typer.Typer:
    """The commands of this noun."""
    app = typer.Typer(name="users", help="People: list, add, roles, disable, enable, login, invite.", no_args_is_help=True)
    app.command("list")(_list)
    app.command("add")(_add)
    app.command("roles")(_roles)
    app.command("disable")(_disable)
    app.command("enable")(_enable)
    app.command("login")(_login)
    app.command("invite")(_invite)
    return app

"""``gateway users``: the reviewers, and one-time logins for the web page.

Who calls it: administrators.
Must never: ask for or print a password.
Source: contract.md, "Commands".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli import output
from gateway.cli.options import AsUser, ConfigFile, Json, Stop, config_path, load_config

if TYPE_CHECKING:
    from gateway.config import Config

COLUMNS = [("name", "name"), ("system_user", "system user"), ("email", "e-mail"), ("department", "department"), ("created", "since")]


def _list(context: typer.Context, json: Json = False, config: ConfigFile = "") -> None:
    """The reviewers."""
    from gateway import requests
    from gateway.cli.link import rows

    path = config_path(context, config)
    output.show(
        rows(load_config(path), path, requests.ListUsers()), json, COLUMNS, empty="There is no reviewer. Add one with: gateway users add"
    )


def _add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the reviewer.", metavar="NAME")],
    system_user: Annotated[str, typer.Option("--system-user", help="The user of this machine that it is.", metavar="USER")] = "",
    email: Annotated[str, typer.Option("--email", help="Address of the reviewer.", metavar="ADDRESS")] = "",
    department: Annotated[str, typer.Option("--department", help="Department.", metavar="NAME")] = "",
    json: Json = False,
    config: ConfigFile = "",
) -> None:
    """Add a reviewer."""
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
    records = rows(load_config(path), path, requests.AddUser(name.strip(), system_user, email, department))
    if json:
        output.json_lines(records)
    else:
        output.write(f"reviewer {output.safe(name.strip())} added" + (f", the system user {system_user}" if system_user else ""))


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
    from gateway.cli.link import rows

    path = config_path(context, config)
    loaded = load_config(path)
    records = rows(loaded, path, requests.OneTimeLogin(user=user))
    token = str(records[0].get("token", "")) if records else ""
    if not token:
        raise Stop("The keeper gave no login.")
    address = page_address(loaded)
    link = f"{address}/login?token={token}" if address else ""
    if json:
        output.json_lines([records[0] | {"url": link}])
    else:
        output.write(link or token)


def commands() -> typer.Typer:
    """The commands of this noun."""
    app = typer.Typer(name="users", help="Reviewers: list, add, login.", no_args_is_help=True)
    app.command("list")(_list)
    app.command("add")(_add)
    app.command("login")(_login)
    return app

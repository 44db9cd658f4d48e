"""``gateway run`` and ``gateway reload``: the gateway itself.

Who calls it: people, systemd, and the supervisor for each of its processes (``--only``).
Must never: keep a process alive whose supervisor has gone.
Source: docs/design.md section 10.
"""

from __future__ import annotations

import sys
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli import output
from gateway.cli.options import ConfigFile, Json, Stop, config_path, load_config

if TYPE_CHECKING:
    from gateway.config import Config


def _run(
    context: typer.Context,
    only: Annotated[str, typer.Option("--only", help="Run one kind of process: keeper, inspector, doors, web.", metavar="KIND")] = "",
    parent: Annotated[int, typer.Option("--parent", hidden=True)] = 0,
    config: ConfigFile = "",
) -> None:
    """Run the gateway: keeper, inspectors, doors and web, until SIGTERM or Ctrl-C. SIGHUP reloads."""
    from gateway import serving, supervisor
    from gateway.config import ConfigError

    if only and only not in serving.KINDS:
        raise Stop(f"--only: {only!r} is none of {', '.join(serving.KINDS)}", 2)
    path = config_path(context, config)
    try:
        if parent:
            serving.die_with(parent)
        loaded = load_config(path)
        if only:
            serving.serve(only, loaded, path)
        else:
            supervisor.run(path, loaded)
    except supervisor.CannotRun as error:
        raise Stop(str(error), error.code) from error
    except ConfigError as error:
        raise Stop(str(error), 2) from error


def _change(row: dict[str, Any]) -> str:
    text = f"{output.safe(row['what'])} {output.safe(row['name'])}: {row['change']}".replace(" :", ":")
    if "before" in row:
        text += f" from {output.json_line(row['before'])} to {output.json_line(row['after'])}"
    return text


def _reload(context: typer.Context, json: Json = False, config: ConfigFile = "") -> None:
    """Take rules, domains, certificates and config anew in the running gateway; a mistake changes nothing."""
    from gateway import requests
    from gateway.cli.link import rows

    path = config_path(context, config)
    loaded = load_config(path)
    changes = rows(loaded, path, requests.Reload(), socket="supervisor.sock")
    if json:
        output.json_lines(changes)
    elif not changes:
        output.write("Nothing changed; certificates and keys were read again.")
    else:
        for change in changes:
            output.write(_change(change))


def _status(context: typer.Context, json: Json = False, config: ConfigFile = "") -> None:
    """The processes of the running gateway."""
    from gateway import requests
    from gateway.cli.link import rows

    path = config_path(context, config)
    records = rows(load_config(path), path, requests.Status(), socket="supervisor.sock")
    columns = [(name, name.replace("_", " ")) for name in ("kind", "pid", "state", "running_s", "restarts")]
    output.show(records, json, columns, empty="No process runs.")


def describe(config: Config, only: str = "") -> dict[str, Any]:
    """Config and rules of *config* as values that can be compared; every example was run, the logins and the certificate of the doors
    were read. Ends the command on a mistake.

    *only*: for one kind of process, whose user may not read what belongs to another: the logins are the keeper's, the certificate is
    the doors'.
    """
    import hashlib

    from gateway import policy
    from gateway.config import ConfigError
    from gateway.doors import tls
    from gateway.signin import login_file

    try:
        loaded = policy.load(config.rules_dir, config, messages=True)
    except policy.PolicyError as error:
        raise Stop(str(error), 2) from error
    table = login_file.NO_LOGINS
    if config.submission.logins is not None and only in ("", "keeper"):
        try:
            table = login_file.load(config.submission.logins, config)
        except login_file.LoginFileError as error:
            raise Stop(str(error), 2) from error
    if only in ("", "doors"):
        try:
            # Else the doors alone would refuse the reload, and go on with the rules of before while all others have the new ones.
            tls.context(config.tls)
        except ConfigError as error:
            raise Stop(str(error), 2) from error
    flat: dict[str, Any] = {}

    def flatten(prefix: str, value: Any) -> None:
        if isinstance(value, dict) and value:
            for name, item in value.items():
                flatten(f"{prefix}.{name}" if prefix else name, item)
        else:
            flat[prefix] = value

    flatten("", config.model_dump(mode="json"))
    rules = {rule.id: hashlib.sha256(repr(rule).encode("utf-8", "backslashreplace")).hexdigest() for rule in loaded.rules.rules}
    logins = {
        one.name: hashlib.sha256(f"{one} {one.password}".encode("utf-8", "backslashreplace")).hexdigest() for one in table.logins.values()
    }
    return {"config": flat, "rule": rules, "login": logins, "version": loaded.version}


def _describe(
    context: typer.Context,
    only: Annotated[str, typer.Option("--only", help="What this kind of process reads: keeper or doors.", metavar="KIND")] = "",
    config: ConfigFile = "",
) -> None:
    """What the supervisor, or a unit of systemd, asks before a start or a reload."""
    if only not in ("", "keeper", "doors"):
        raise Stop(f"--only: {only!r} is neither keeper nor doors", 2)
    output.write(output.json_line(describe(load_config(config_path(context, config)), only)))
    sys.stdout.flush()


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    app.command("run")(_run)
    app.command("reload")(_reload)
    app.command("status")(_status)
    app.command("describe", hidden=True)(_describe)


def start_arguments(path: FilePath) -> list[str]:
    """How ``gateway demo`` starts a gateway with the config *path*."""
    from gateway import processes

    return processes.command(path, "run")

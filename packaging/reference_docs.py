#!/usr/bin/env python3
"""docs/options.md and docs/commands.md, written from the config's tables and from the command line itself.

What it is: ``options`` and ``commands``, which return the text of the two files; run by itself it writes both.
Who calls it: whoever has changed an option or a command (``.venv/bin/python packaging/reference_docs.py``); tests/test_docs.py compares.
Must never: say of an option what the code does not say; hold a sentence that stands in the code already.
Source: docs/design.md section 10.
"""

from __future__ import annotations

import re
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import AfterValidator, BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from gateway import cli  # noqa: E402
from gateway import options as tables  # noqa: E402
from gateway.config import Config  # noqa: E402
from gateway.doors import workers  # noqa: E402
from gateway.keeper import service as keeper  # noqa: E402

_BY_CHECK = {
    "parse_size": "size", "parse_duration": "time", "_absolute": "path from /", "_server": "server", "listening": "address to listen on",
    "_networks": "list of address ranges", "clock": "time of day",
}  # fmt: skip
_PLAIN = {bool: "true or false", int: "whole number", float: "number", str: "text", Path: "path"}
_UNITS = {"size": "octets", "time": "seconds"}
_STEPS = ((31_536_000, "y"), (604_800, "w"), (86_400, "d"), (3600, "h"), (60, "m"))
STOP_AND_START = {*workers._FIXED, "store"}
"""What no process takes while it runs: the doors' list, and the store, which the supervisor refuses to change."""
READ_BY_THE_PAGE = {"web.metrics_networks", "web.proxies"}
"""What only the web process reads, at its start."""
READ_BY_BOTH = {"web.public_url"}
"""What keeper and web process read, each at its start; the doors take it at a reload."""
RENEWED = set(keeper._RENEWED)
"""What the keeper takes at a reload, or does not read."""

HEAD_OPTIONS = """\
# Every option of gateway.toml

Written by `packaging/reference_docs.py` from `gateway/options.py`, `options_limits.py` and `config.py`; a test holds the two together.
`gateway check --show` prints the same options with the values of your config.

The file is TOML. An unknown key is an error: the gateway does not start, and names file, line and field. Secrets are never values: an
option names a file, or a credential of systemd. No environment variable changes the config.

**Sizes** are whole numbers of octets, or text such as `"25MB"`, `"64KiB"`, `"1GB"`. **Times** are numbers of seconds, or text such as
`"90s"`, `"30m"`, `"4h"`, `"5d"`, `"8y"`. **Servers** are `host:port`, `[v6]:port` or `unix:/path`. **Address ranges** are `10.0.0.0/8` or
`2001:db8::/32`. A table in double brackets may stand more than once.

**At a change** says what takes it:

| word | under `gateway run` | under the units of systemd |
|---|---|---|
| reload | `gateway reload` | `systemctl reload gateway-doors` |
| reload, keeper restart | `gateway reload` | the same, and `systemctl restart gateway-keeper` for what the keeper reads of it |
| reload, web restart | `gateway reload` | `systemctl restart gateway-web` |
| stop and start | stop the gateway and start it again; a reload is refused | `systemctl restart gateway.target` |

Where the keeper waits for a restart, its log names the option (`config.needs_restart`). The page reads its config at its start: under
systemd, `systemctl restart gateway-web` after a change of `[web]`, of `hostname`, or of a `[[listen]]` with `door = "web"`. A certificate,
a key, a rule file or the logins file that changes in its place needs a reload too.
"""

NOT_YET: dict[str, str] = {}
"""What the file may hold already and this version does not do; ``gateway check`` says WRONG to each."""

HEAD_COMMANDS = """\
# Every command

Written by `packaging/reference_docs.py` from the command line itself; a test holds the two together.
`gateway COMMAND --help` prints the same.

| exit code | meaning |
|---|---|
| 0 | Done. A list or search that finds nothing is also 0. |
| 1 | The answer is no: not found, not permitted, a check failed, the gateway does not run. |
| 2 | The call or the config is wrong; one sentence on stderr says what. |
| 130 | Stopped by Ctrl-C. |

`--config FILE` may stand before or after the command; without it `/etc/gateway/gateway.toml` holds. `--json` prints one record a line
(JSON Lines). Commands that ask the running gateway need a user who may speak to the keeper: root, the gateway's own user, or, with the
units of systemd, a member of the group `gateway-admin`.
"""

EXIT_ONE = {
    "check": "A line is WRONG.",
    "doctor": "A line is WRONG.",
    "rules test": "An example does not hold.",
    "audit verify": "A row of a chain is bad; the first bad one is named.",
    "audit show": "Nothing is recorded about it.",
    "queue show": "There is no such delivery.",
    "quarantine show": "There is no such held message.",
    "quarantine release": "It may not be released, or not by this person.",
    "quarantine refuse": "It may not be refused, or not by this person.",
    "backup": "It could not be made, or with --verify: it is not good to its end.",
    "restore": "It could not be restored; the new folder is not used.",
    "reload": "The gateway does not run.",
    "status": "The gateway does not run.",
    "logins test": "The door would not let the login in.",
}
"""What exit code 1 means there, where the table at the top does not say enough."""


def _kind(field: FieldInfo) -> str:
    """The type of an option in words."""
    for one in field.metadata:
        if isinstance(one, (BeforeValidator, AfterValidator)):
            return _BY_CHECK[typing.cast(Any, one.func).__name__]
    return _kind_of(field.annotation)


def _kind_of(annotation: Any) -> str:
    arguments = [one for one in get_args(annotation) if one is not type(None)]
    if get_origin(annotation) is Literal:
        return ", ".join(f'`"{one}"`' for one in arguments)
    if get_origin(annotation) is tuple:
        return f"list of {_kind_of(arguments[0])}s".replace("list of texts", "list of text")
    if arguments:
        return _kind_of(arguments[0])
    return _PLAIN[annotation]


def _unit(kind: str, field: FieldInfo) -> str:
    bounds = [f"at least {one.ge:g}" for one in field.metadata if isinstance(one, Ge) and one.ge]
    bounds += [f"above {one.gt:g}" for one in field.metadata if isinstance(one, Gt)]
    bounds += [f"at most {one.le:g}" for one in field.metadata if isinstance(one, Le)]
    return ", ".join([*([_UNITS[kind]] if kind in _UNITS else []), *bounds])


def _value(kind: str, value: Any) -> str:
    """A default as one would write it in the file."""
    if value in (None, "", ()):
        return "absent" if value is None else "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if kind == "size":
        for step, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
            if value >= step and value % step == 0:
                return f'`"{value // step}{unit}"`'
        return f"`{value}`"
    if kind == "time":
        if not value:
            return "`0`"
        for length, unit in _STEPS[1:]:
            if value >= length and value % length == 0 and unit != "w":
                return f'`"{value / length:g}{unit}"`'
        return f'`"{value:g}s"`'
    if isinstance(value, (int, float)):
        return f"`{value:g}`"
    if isinstance(value, tuple):
        return "`[" + ", ".join(f'"{one}"' for one in value) + "]`"
    return f'`"{value}"`'


def _default(kind: str, field: FieldInfo) -> str:
    if field.is_required():
        return "**needed**"
    if field.default_factory is not None:
        return "see there"
    return _value(kind, field.default)


def _at_a_change(name: str) -> str:
    if name in STOP_AND_START:
        return "stop and start"
    return "reload" if name in RENEWED else "reload, keeper restart"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _table(fields: dict[str, FieldInfo], change: str = "", table: str = "") -> Iterator[str]:
    yield "| option | type | unit, bounds | default | what it is | at a change |"
    yield "|---|---|---|---|---|---|"
    for name, field in fields.items():
        kind = _kind(field)
        cells = [f"`{name}`", kind, _unit(kind, field), _default(kind, field), field.description or ""]
        whole = f"{table}.{name}"
        both = "reload, keeper and web restart" if whole in READ_BY_BOTH else ""
        cells.append(both or ("reload, web restart" if whole in READ_BY_THE_PAGE else change or _at_a_change(name)))
        yield "| " + " | ".join(_cell(one) for one in cells) + " |"


def _model(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """The table that an option is, and whether it may stand more than once."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    first = next(iter(get_args(annotation)), None)
    if get_origin(annotation) is tuple and isinstance(first, type) and issubclass(first, BaseModel):
        return first, True
    return None, False


def options() -> str:
    """The text of docs/options.md."""
    missing = [f"- `{name}`: {what}." for name, what in NOT_YET.items()]
    intro = "Not in this version, and `gateway check` says so (WRONG) where the file asks for it:"
    lines = [HEAD_OPTIONS, *([intro, "", *missing, ""] if missing else []), "## At the top of the file, before any table", ""]
    models = {name: _model(field.annotation) for name, field in Config.model_fields.items()}
    lines += _table({name: field for name, field in Config.model_fields.items() if models[name][0] is None})
    for name, (model, many) in models.items():
        if model is None:
            continue
        lines += ["", f"## `[[{name}]]`" if many else f"## `[{name}]`", "", " ".join((model.__doc__ or "").split()), ""]
        if name == "listen":
            lines += [_without(Config.model_fields[name].default), ""]
        lines += _table(model.model_fields, _at_a_change(name), name)
    return "\n".join(lines) + "\n"


def _without(default: tuple[tables.Listen, ...]) -> str:
    places = " and ".join(f"`{one.door}` on `{one.address}`" for one in default)
    return f"Where no `[[listen]]` stands in the file: {places}."


def _words(parameter: Any) -> str:
    names = ", ".join(f"`{one}`" for one in parameter.opts)
    return f"{names} {parameter.metavar}" if parameter.metavar else names


def _takes(parameter: Any) -> str:
    notes = ["**needed**"] if parameter.required else []
    if not parameter.required and parameter.default not in (None, "", False, (), []) and not callable(parameter.default):
        notes.append(f"default {parameter.default}")
    if parameter.multiple if hasattr(parameter, "multiple") else parameter.nargs == -1:
        notes.append("may be repeated")
    return ", ".join(notes)


def _command(path: str, command: Any) -> Iterator[str]:
    shown = [one for one in command.params if not getattr(one, "hidden", False)]
    arguments = [one for one in shown if one.param_type_name == "argument"]
    places = " ".join(one.metavar if one.required else f"[{one.metavar}]" for one in arguments)
    yield from ("", f"### gateway {path}", "", f"`gateway {path}{' ' + places if places else ''}`", "")
    yield from (" ".join((command.help or "").split()), "")
    if path in EXIT_ONE:
        yield from (f"Exit code 1: {EXIT_ONE[path]}", "")
    yield "| option | what it is | |"
    yield "|---|---|---|"
    for one in shown:
        name = f"{one.metavar}" if one.param_type_name == "argument" else _words(one)
        yield f"| {_cell(name)} | {_cell(one.help or '')} | {_cell(_takes(one))} |"


def tree() -> dict[str, Any]:
    """Every command that is not hidden, by its words."""
    from typer.main import get_command

    found: dict[str, Any] = {}
    for name, command in typing.cast(Any, get_command(cli.application())).commands.items():
        if getattr(command, "commands", None):
            found |= {f"{name} {inner}": one for inner, one in command.commands.items() if not one.hidden}
        elif not command.hidden:
            found[name] = command
    return found


def commands() -> str:
    """The text of docs/commands.md."""
    lines, noun = [HEAD_COMMANDS], ""
    for path, command in tree().items():
        first = path.split()[0]
        if first != noun:
            noun = first
            lines += ["", f"## {noun}"]
        lines += _command(path, command)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n"


def main() -> None:
    """Writes both files."""
    for name, text in (("options.md", options()), ("commands.md", commands())):
        (ROOT / "docs" / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main()

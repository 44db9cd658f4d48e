"""What the commands share: the options that all have, the config they name, and the error that ends a command.

Who calls it: every file of ``cli``.
Must never: import a heavy module at the top.
Source: docs/design.md section 10.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from gateway.config import Config

DEFAULT_CONFIG = "/etc/gateway/gateway.toml"

ConfigFile = Annotated[str, typer.Option("--config", help=f"The config file (default {DEFAULT_CONFIG}).", metavar="FILE")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON Lines, one record a line.")]
All = Annotated[bool, typer.Option("--all", help="Include what is finished.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=100_000, help="At most this many records.", metavar="N")]
After = Annotated[str, typer.Option("--after", help="Page on from the record with this id.", metavar="ID")]
AsUser = Annotated[str, typer.Option("--as", help="Act as this reviewer (default: the one mapped to the system user).", metavar="USER")]


class Stop(Exception):
    """Ends the command with one plain sentence on stderr. *code* 1: the answer is no; 2: the call or the config is wrong."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def config_path(context: typer.Context, given: str) -> FilePath:
    """The config file of this call: the option after the command, before it, or the default. Absolute."""
    return FilePath(given or context.find_root().obj or DEFAULT_CONFIG).absolute()


def load_config(path: FilePath) -> Config:
    """The config of *path*. Ends the command with exit 2 when it cannot be used."""
    from gateway import config

    try:
        return config.load(path)
    except config.ConfigError as error:
        raise Stop(str(error), 2) from error


def has_config(context: typer.Context, given: str) -> bool:
    """Whether a config file was named, or the default one is there."""
    return bool(given or context.find_root().obj) or FilePath(DEFAULT_CONFIG).exists()


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def moment(text: str, option: str) -> float:
    """Seconds since the epoch of an ISO 8601 time with a zone. Ends the command when it is none."""
    try:
        when = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise Stop(f"{option}: {text!r} is not a time such as 2026-12-31T18:30+05:30", 2) from error
    if when.tzinfo is None:
        raise Stop(f"{option}: {text!r} names no time zone; write for example {text.strip()}+05:30", 2)
    return when.timestamp()


def span(text: str, option: str) -> float:
    """Seconds of ``30d``, ``12h``, ``90s``. Ends the command when it is none."""
    match = re.fullmatch(r"(\d{1,9})([smhdw])", text.strip())
    if not match or not int(match[1]):
        raise Stop(f"{option}: {text!r} is not a time such as 30d, 12h or 90s", 2)
    return float(int(match[1]) * _UNITS[match[2]])


def needed(command: str, given: Mapping[str, str]) -> None:
    """Ends *command* when one of the options *given* is empty."""
    for option, value in given.items():
        if not value.strip():
            raise Stop(f"{command}: {option} is missing", 2)


def end(command: str, until: str, lasting: str) -> float:
    """Seconds since the epoch at which something ends: *until* a time, or *lasting* so long from now.

    Ends *command* when neither or both are said, or the time is past.
    """
    if bool(until) == bool(lasting):
        raise Stop(f"{command}: say when it ends, with --until or with --for", 2)
    expires = moment(until, "--until") if until else time.time() + span(lasting, "--for")
    if expires <= time.time():
        raise Stop(f"--until: {until} is past", 2)
    return expires


def since(text: str, option: str) -> float:
    """Seconds since the epoch of a time with zone, or of a span before now; 0 when nothing was given."""
    if not text:
        return 0.0
    return time.time() - span(text, option) if re.fullmatch(r"\d+[smhdw]", text.strip()) else moment(text, option)

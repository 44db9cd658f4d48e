"""What a value of gateway.toml may look like: sizes, times, servers, networks, folders, domains.

What it is: the types that the tables of ``options`` and ``options_limits`` are made of, each with the sentence that says what was
wrong; and ``Section``, the base of every table.
Who calls it: ``options``, ``options_limits`` and ``config``.
Must never: do I/O; know a table.
Source: docs/design.md section 10.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path as FilePath
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from gateway import address

_SIZES = {"": 1, "B": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "KIB": 1024, "MIB": 1024**2, "GIB": 1024**3}
_TIMES = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "y": 31536000.0}


def parse_size(value: object) -> object:
    """Octets of ``25MB``, ``64KiB`` or a whole number."""
    if isinstance(value, str):
        match = re.fullmatch(r"(\d+)\s*([A-Za-z]*)", value.strip())
        if not match or match[2].upper() not in _SIZES:
            raise ValueError("write a size such as 25MB, 100kB or 1GB")
        return int(match[1]) * _SIZES[match[2].upper()]
    return value


def parse_duration(value: object) -> object:
    """Seconds of ``30m``, ``4h``, ``5d`` or a number of seconds."""
    if isinstance(value, str):
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdwy]?)", value.strip())
        if not match:
            raise ValueError("write a time such as 90s, 30m, 4h, 5d or 8y")
        return float(match[1]) * _TIMES[match[2]]
    return value


Size = Annotated[int, BeforeValidator(parse_size), Field(ge=0)]
Seconds = Annotated[float, BeforeValidator(parse_duration), Field(ge=0)]


class Section(BaseModel):
    """A table of the file: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def a_labels(domain: str) -> str:
    """*domain* (or a pattern such as ``.b`` or ``*.b``) in lower-case A-labels, as envelope addresses are compared."""
    if "@" in domain:
        raise ValueError(f"{domain} is an address; write the domain alone: {domain.rpartition('@')[2] or 'example.gov.in'}")
    if domain.isascii():
        return domain.lower().rstrip(".")
    start = len(domain) - len(domain.lstrip("*."))
    return domain[:start] + address.domain_of(domain[start:].rstrip("."))


def clock(value: str) -> str:
    """HH:MM, or nothing."""
    if value and not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value):
        raise ValueError(f'{value} is no time of day; write one such as "08:30", or "" for none')
    return value


def _networks(value: tuple[str, ...]) -> tuple[str, ...]:
    for network in value:
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            try:
                meant = str(ipaddress.ip_network(network, strict=False))
            except ValueError:
                meant = "10.0.0.0/8 or 10.1.2.3/32"
            raise ValueError(f"{network} is not an address range; write {meant}") from error
    return value


def _server(value: str) -> str:
    """host:port, [v6]:port or unix:/path."""
    if not value or value.startswith("unix:/"):
        return value
    host, colon, port = value.rpartition(":")
    if not colon and value and not set(value) & set("@/ "):
        raise ValueError(f"{value} names no port; write {value}:25")
    if set(value) & set("@/ ") or not host or (":" in host and not (host.startswith("[") and host.endswith("]"))):
        raise ValueError(f"{value} is not a server; write host:port, [v6]:port or unix:/path, such as mail.example.gov.in:25")
    if not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        raise ValueError(f"{value}: the port is a number from 1 to 65535; write {host}:25")
    return value


def _absolute(value: FilePath) -> FilePath:
    if not value.is_absolute():
        raise ValueError(f"{value} is not an absolute path; write it from / on, such as /var/lib/gateway")
    return value


Folder = Annotated[FilePath, AfterValidator(_absolute)]
"""A folder by its absolute path: where the program is started must not matter."""


def listening(value: str) -> str:
    """host:port, [v6]:port, unix:/path or systemd:NAME."""
    kind, _, name = value.partition(":")
    if (kind == "unix" and name.startswith("/")) or (kind == "systemd" and name):
        return value
    host, colon, port = value.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError(f"{value} is not an address to listen on; write host:port, such as 0.0.0.0:25, or unix:/path or systemd:NAME")
    return value


Server = Annotated[str, AfterValidator(_server)]
"""The next server: host:port, [v6]:port or unix:/path."""


Networks = Annotated[tuple[str, ...], AfterValidator(_networks)]
"""CIDR ranges such as 10.0.0.0/8 or 2001:db8::/32."""

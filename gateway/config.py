"""The whole of gateway.toml: its tables put together, loaded, and errors that name file, line and field.

What it is: ``Config`` over the tables of ``options``, and ``load``.
Who calls it: the supervisor and each process at start and at reload; ``gateway check --show``.
Must never: hold a secret as a value (secrets are files or systemd credentials); accept an unknown key.
Source: docs/design.md section 10.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path as FilePath
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from gateway import address, config_errors, cores
from gateway.option_values import Folder, Seconds, Section, Size, parse_duration, parse_size
from gateway.options import (
    Application,
    Archive,
    Backup,
    Contacts,
    Dkim,
    Imap,
    Listen,
    Oidc,
    Originators,
    Relay,
    Retention,
    Review,
    Route,
    Sealed,
    Store,
    Submission,
    Tls,
    Vault,
    Web,
    is_loopback,
)
from gateway.options_limits import Limits

__all__ = [
    "Application",
    "Archive",
    "Backup",
    "Config",
    "ConfigError",
    "Contacts",
    "Dkim",
    "Imap",
    "Limits",
    "Listen",
    "Oidc",
    "Originators",
    "Relay",
    "Retention",
    "Review",
    "Route",
    "Sealed",
    "Seconds",
    "Section",
    "Size",
    "Store",
    "Submission",
    "Tls",
    "Vault",
    "Web",
    "is_loopback",
    "load",
    "parse_duration",
    "parse_size",
]  # fmt: skip


class ConfigError(Exception):
    """The config cannot be used. The text is one plain sentence with file, line and field."""


class Config(BaseModel):
    """The whole of gateway.toml, and only that: no environment variable may change the policy of a mail gateway."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    hostname: str = Field("localhost", description="The name in greeting, Received and reports.")
    state_dir: Folder = Field(FilePath("/var/lib/gateway"), description="Store, keys and logs.")
    run_dir: FilePath = Field(
        default_factory=lambda data: FilePath(data["state_dir"]) / "run",
        description="Sockets between the processes; absent: state_dir/run. With the units of systemd: /run/gateway.",
    )
    rules_dir: FilePath | None = Field(None, description="Folder of the rules; absent: those shipped with the package.")
    packs: tuple[str, ...] = Field((), description="Government rule packs in force.")
    workers: int = Field(2, ge=1, description="Door processes; auto: one a core.")
    languages: tuple[str, ...] = Field(("en", "hi"), description="Languages of reports, in order.")
    resolvers: tuple[str, ...] = Field((), description="DNS servers (address or address:port) for DKIM keys; absent: the system's.")
    label_namespace: str = Field("gov.in", description="NS= of X-Protective-Marking.")
    max_message_size: Size = Field(25_000_000, description="Octets of one message.")
    protection_required: Literal["transport", "object", "both"] = Field(
        "both", description="How CONFIDENTIAL and RESTRICTED must be protected: AES-256 hop, encrypted attachments, or both."
    )
    contacts: Contacts = Contacts()
    store: Store = Store()
    vault: Vault = Vault()
    sealed: Sealed = Sealed()
    dkim: tuple[Dkim, ...] = ()
    listen: tuple[Listen, ...] = (Listen(door="smtp", address="127.0.0.1:10025"), Listen(door="web", address="127.0.0.1:18080"))
    tls: Tls = Tls()
    originators: Originators = Originators()
    submission: Submission = Submission()
    imap: Imap = Imap()
    application: tuple[Application, ...] = ()
    route: tuple[Route, ...] = ()
    relay: Relay = Relay()
    web: Web = Web()
    review: Review = Review()
    oidc: Oidc = Oidc()
    limits: Limits = Limits()
    archive: tuple[Archive, ...] = ()
    retention: Retention = Retention()
    backup: Backup = Backup()

    @property
    def holds_without_copies(self) -> bool:
        """Whether an archive wants a copy of all official mail, and an MTA holds some of it, whose release nobody here hears of."""
        by_mta = self.relay.milter_hold == "mta" and any(one.door == "milter" for one in self.listen)
        return by_mta and any(one.which == "official" for one in self.archive)

    def route_of(self, domain: str) -> Route | None:
        """The first route that matches *domain* (A-labels); None where there is none."""
        return next((one for one in self.route if any(address.matches(domain, pattern) for pattern in one.domains)), None)

    def is_local(self, domain: str) -> bool:
        """Whether the route of *domain* is a local one."""
        found = self.route_of(domain)
        return found is not None and found.local

    @field_validator("workers", mode="before")
    @classmethod
    def _by_cores(cls, value: object) -> object:
        return cores.available() if value == "auto" else value

    @field_validator("oidc")
    @classmethod
    def _comes_back(cls, value: Oidc, info: ValidationInfo) -> Oidc:
        web = info.data.get("web")
        if value.issuer and isinstance(web, Web) and not web.public_url:
            raise ValueError("issuer needs web.public_url: the provider sends people back to it")
        return value

    @field_validator("archive")
    @classmethod
    def _named_once(cls, value: tuple[Archive, ...]) -> tuple[Archive, ...]:
        names = [one.name for one in value]
        twice = next((name for name in names if names.count(name) > 1), "")
        if twice:
            raise ValueError(f"two archives are called {twice}; give one of them another name")
        return value


def load(path: FilePath) -> Config:
    """The config of the file *path*. Raises ConfigError with file, line and field; nothing is half-loaded."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if text.startswith("\ufeff"):
        raise ConfigError(f"{path}:1: starts with a byte-order mark; save it as UTF-8 without BOM")
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        said, line = config_errors.toml_sentence(str(error), text)
        raise ConfigError(f"{path}:{line}: {said}") from error
    try:
        return Config(**data)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        line = _line_of(text, [str(part) for part in first["loc"]])
        message = config_errors.sentence(Config, first["loc"], first["type"], first["msg"], first["input"])
        raise ConfigError(f"{path}:{line}: {field}: {message}") from error


def _line_of(text: str, location: list[str]) -> int:
    """The line (from 1) on which the option at *location* stands; the nearest table heading when it is not written."""
    names = [part for part in location if not part.isdigit()]
    wanted_index = next((int(part) for part in location if part.isdigit()), 0)
    best, table, index = 1, "", -1
    for number, line in enumerate(text.splitlines(), 1):
        if heading := re.match(r"\s*\[\[?\s*([\w.\-]+)\s*\]\]?", line):
            table = heading[1]
            if names and table == names[0]:
                index += 1
                if index <= wanted_index:
                    best = number
        elif key := re.match(r"\s*([\w\-]+)\s*=", line):
            inside = len(names) > 1 and table == names[0] and index == (wanted_index if index > 0 or wanted_index else index)
            if (inside and key[1] == names[-1]) or (len(names) == 1 and not table and key[1] == names[0]):
                return number
    return best

"""Every option of gateway.toml, once: name, type, unit, default and the sentence that explains it.

What it is: pydantic models over TOML, their loading, and errors that name file, line and field.
Who calls it: the supervisor and each process at start and at reload; ``gateway check --show``.
Must never: hold a secret as a value (secrets are files or systemd credentials); accept an unknown key.
Source: contract.md, "Config"; hostile-inputs catalogue 4.4 for the limits.
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from pathlib import Path as FilePath
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from gateway import address

_SIZES = {"": 1, "B": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "KIB": 1024, "MIB": 1024**2, "GIB": 1024**3}
_TIMES = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "y": 31536000.0}


class ConfigError(Exception):
    """The config cannot be used. The text is one plain sentence with file, line and field."""


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


def _a_labels(domain: str) -> str:
    """*domain* (or a pattern such as ``.b`` or ``*.b``) in lower-case A-labels, as envelope addresses are compared."""
    if domain.isascii():
        return domain.lower().rstrip(".")
    start = len(domain) - len(domain.lstrip("*."))
    return domain[:start] + address.domain_of(domain[start:].rstrip("."))


class Contacts(Section):
    """Who is asked for help."""

    postmaster: str = Field("", description="Address of the postmaster; reports that may go to nobody else are listed for it.")
    security: str = Field("", description="Address of the security team; officers are told to write here.")


class Store(Section):
    """Where the state lives."""

    url: str = Field("sqlite", description='"sqlite" (embedded, in state_dir) or a postgresql:// address.')


class Vault(Section):
    """The key that seals bodies at rest."""

    key_file: FilePath | None = Field(None, description="File with the vault key; absent: a key is made in state_dir/keys.")
    credential: str = Field("", description="Name of the systemd credential with the vault key.")


class Sealed(Section):
    """Probable TOP SECRET and SECRET mail."""

    certificate: FilePath | None = Field(
        None, description="PEM certificate of the security officer; absent: probable TS/S is refused like certain TS/S."
    )


class Dkim(Section):
    """One signing key."""

    domain: str = Field(description="The d= domain.")
    selector: str = Field(description="The s= selector.")
    key_file: FilePath = Field(description="PEM private key (RSA-2048 or Ed25519).")


class Listen(Section):
    """One listening address."""

    door: Literal["smtp", "submission", "smtps", "milter", "imap", "web"] = Field(description="What listens there.")
    address: str = Field(description="host:port, [v6]:port, unix:/path or systemd:NAME.")
    proxy_protocol: bool = Field(False, description="Expect a PROXY protocol header on each connection.")


class Tls(Section):
    """The certificate that the doors show."""

    certificate: FilePath | None = Field(None, description="PEM certificate chain; absent: no STARTTLS is offered.")
    key: FilePath | None = Field(None, description="PEM private key of the certificate.")

    @model_validator(mode="after")
    def _both_or_none(self) -> Tls:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together")
        return self


class Originators(Section):
    """Whose mail is outbound official mail."""

    domains: tuple[str, ...] = Field((), description="Sender domains of ours; sub-domains are named on their own.")
    networks: tuple[str, ...] = Field((), description="The IP white-list: CIDR ranges whose clients send official mail.")
    require_auth: bool = Field(False, description="Listed networks must sign in too.")

    @field_validator("networks")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ipaddress.ip_network(network)
        return value

    @field_validator("domains")
    @classmethod
    def _domains(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_a_labels(domain) for domain in value)


class Route(Section):
    """Where mail for some domains goes. The first match wins."""

    domains: tuple[str, ...] = Field(description='Domains, or "*" for all others; ".example.in" matches sub-domains.')
    local: bool = Field(False, description="Ours: strangers may send here, recipients are verified with the next hop.")
    next_hop: str = Field(description="host:port, [v6]:port or unix:/path of the next server.")
    tls: Literal["required", "opportunistic", "none"] = Field(
        "required", description="required: verified TLS or defer; none: only for loopback and unix sockets."
    )
    tls_ca: FilePath | None = Field(None, description="PEM file of the authorities trusted for this hop; absent: the system's.")
    tls_name: str = Field("", description="Name the hop's certificate must carry; absent: the host of next_hop.")

    @field_validator("domains")
    @classmethod
    def _domains(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_a_labels(domain) for domain in value)

    @model_validator(mode="after")
    def _clear_only_on_loopback(self) -> Route:
        if self.tls == "none" and not is_loopback(self.next_hop):
            raise ValueError('tls = "none" is allowed for a loopback or unix next_hop only')
        return self


class Relay(Section):
    """Answering, holding and delivering."""

    refuse_with: Literal["bounce", "reply"] = Field(
        "bounce", description="bounce: one report after DATA for verified originators; reply: refuse in the session."
    )
    hold_days: float = Field(15, gt=0, description="Days until held mail expires and is bounced.")
    two_people_from: Literal["RESTRICTED", "CONFIDENTIAL", "SECRET", "never"] = Field(
        "CONFIDENTIAL", description="From this level up a release needs two people."
    )
    subject_marking: bool = Field(False, description="Put [LEVEL] before the subject of marked outbound mail of ours.")
    connections: int = Field(8, ge=1, description="Connections to one next hop at most.")
    verify_recipients: bool = Field(True, description="Ask the next hop whether a local recipient exists before 250.")


class Web(Section):
    """The review page."""

    public_url: str = Field("", description="Address of the page as officers reach it; absent: bounces carry the reference alone.")


class Archive(Section):
    """One journal copy."""

    kind: Literal["imap", "store"] = Field(description="Where the copy goes.")
    url: str = Field("", description="imaps:// address for kind = imap.")
    retain: Seconds = Field(365 * 86400.0, description="How long a copy is kept.")


class Limits(Section):
    """Every limit and timer. Sizes in octets, times in seconds."""

    recipients: int = Field(100, ge=1, description="Recipients of one transaction; the next get 452.")
    command_line: Size = Field(512, description="Octets of a command line, with CRLF; extensions add their own.")
    text_line: Size = Field(1000, description="Octets of a line of text, with CRLF.")
    header_bytes: Size = Field(100_000, description="Octets of the header section.")
    header_lines: int = Field(1000, description="Lines of the header section.")
    received: int = Field(50, description="Received fields; more is a loop (554 5.4.6).")
    mime_depth: int = Field(20, description="Depth of nested parts.")
    mime_parts: int = Field(1000, description="Parts of a message.")
    mime_params: int = Field(50, description="Parameters of one header field.")
    boundary: int = Field(70, description="Octets of a boundary.")
    archive_depth: int = Field(6, description="Depth of nested archives.")
    archive_entries: int = Field(5000, description="Entries of an archive.")
    archive_bytes: Size = Field(200_000_000, description="Octets unpacked from one message.")
    archive_ratio: int = Field(100, description="Expansion of an entry, once past archive_ratio_from.")
    archive_ratio_from: Size = Field(1_000_000, description="Unpacked octets from which the ratio counts.")
    inspect_cpu: Seconds = Field(10.0, description="CPU time of one inspection.")
    inspect_memory: Size = Field(512_000_000, description="Memory of one inspection worker above its start.")
    inspectors: int = Field(2, ge=1, description="Inspection workers.")
    pipeline: Seconds = Field(60.0, description="Time from the end of DATA to the decision; later is 451.")
    max_inflight: Size = Field(256_000_000, description="Octets of message bodies in memory in one door process; more waits, then 452.")
    connections: int = Field(500, description="Sessions of one door process.")
    connections_per_ip: int = Field(20, description="Sessions of one stranger's address.")
    connections_per_minute: int = Field(30, description="New sessions a minute of one stranger's address.")
    connections_listed: int = Field(500, description="Sessions of one address in a listed network.")
    greet_delay: Seconds = Field(1.0, description="Silence before the greeting, for strangers.")
    command_deadline: Seconds = Field(60.0, description="From the first to the last octet of a command.")
    idle: Seconds = Field(300.0, description="Between two commands.")
    idle_stressed: Seconds = Field(10.0, description="The same when nine tenths of the sessions are taken.")
    session: Seconds = Field(1800.0, description="A whole session.")
    data_idle: Seconds = Field(60.0, description="Without any octet of the message.")
    data_min_rate: int = Field(500, description="Octets a second of message text, on average.")
    tls_handshake: Seconds = Field(30.0, description="A TLS handshake.")
    errors_soft: int = Field(10, description="Errors of a session before its answers slow down.")
    errors_hard: int = Field(20, description="Errors of a session before 421.")
    junk_commands: int = Field(100, description="NOOP, RSET, VRFY … of a session before they count as errors.")
    auth_failures: int = Field(3, description="Failed logins of a session before 421.")
    relay_connect: Seconds = Field(30.0, description="Connecting to the next hop.")
    relay_command: Seconds = Field(300.0, description="HELO, MAIL, RCPT at the next hop.")
    relay_data_init: Seconds = Field(120.0, description="DATA at the next hop.")
    relay_data_block: Seconds = Field(180.0, description="Sending a block to the next hop.")
    relay_data_end: Seconds = Field(600.0, description="The reply after the final dot.")
    relay_quit: Seconds = Field(10.0, description="QUIT at the next hop.")
    retry_first: Seconds = Field(300.0, description="First retry of a deferred delivery.")
    retry_max: Seconds = Field(4000.0, description="Longest wait between retries.")
    delay_warning: Seconds = Field(4 * 3600.0, description="Age at which the originator is told of a delay.")
    lifetime: Seconds = Field(5 * 86400.0, description="Age at which a delivery is given up.")
    unprotected_warning: Seconds = Field(3600.0, description="Age at which mail that waits for an AES-256 hop is announced.")
    unprotected_lifetime: Seconds = Field(86400.0, description="Age at which it is given up.")
    queue_messages: int = Field(100_000, description="Undelivered deliveries at which new mail gets 452.")
    free_disk: Size = Field(1_000_000_000, description="Octets that stay free on the disk, besides three messages of the largest size.")
    bounce_body: Size = Field(50_000, description="Octets of original headers in a report.")
    drain: Seconds = Field(30.0, description="Time that sessions get to end at a stop.")


class Config(BaseModel):
    """The whole of gateway.toml, and only that: no environment variable may change the policy of a mail gateway."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    hostname: str = Field("localhost", description="The name in greeting, Received and reports.")
    state_dir: FilePath = Field(FilePath("/var/lib/gateway"), description="Store, keys, logs and sockets.")
    rules_dir: FilePath | None = Field(None, description="Folder of the rules; absent: those shipped with the package.")
    packs: tuple[str, ...] = Field((), description="Government rule packs in force.")
    workers: int = Field(2, ge=1, description="Door processes.")
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
    route: tuple[Route, ...] = ()
    relay: Relay = Relay()
    web: Web = Web()
    limits: Limits = Limits()
    archive: tuple[Archive, ...] = ()

    @property
    def run_dir(self) -> FilePath:
        """Folder of the unix sockets between the processes."""
        return self.state_dir / "run"


def is_loopback(next_hop: str) -> bool:
    """Whether *next_hop* stays on this machine: a unix socket or a loopback address."""
    if next_hop.startswith("unix:"):
        return True
    host = next_hop.rsplit(":", 1)[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def load(path: FilePath) -> Config:
    """The config of the file *path*. Raises ConfigError with file, line and field; nothing is half-loaded."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from error
    try:
        return Config(**data)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        line = _line_of(text, [str(part) for part in first["loc"]])
        message = "unknown option" if first["type"] == "extra_forbidden" else str(first["msg"]).removeprefix("Value error, ")
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

"""The tables of gateway.toml: each option once, with type, unit, default and the sentence that explains it.

What it is: one frozen pydantic model a table.
Who calls it: ``config``, which puts them together; everybody else imports them from there.
Must never: hold a secret as a value (secrets are files or systemd credentials); accept an unknown key; do I/O.
Source: docs/design.md section 10. The limits stand in ``options_limits``, the forms of values in
``option_values``.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path as FilePath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from gateway.option_values import (
    Networks,
    Seconds,
    Section,
    Server,
    a_labels,
    clock,
    listening,
)


class Contacts(Section):
    """Who is asked for help."""

    postmaster: str = Field("", description="Address of the postmaster; reports that may go to nobody else are listed for it.")
    security: str = Field("", description="Address of the security team; officers are told to write here.")
    nodal: str = Field("", description='Address of the department\'s nodal officer, for rules with notify = ["nodal"].')
    registry: str = Field("", description='Mailbox of the registry branch, for rules with copy = ["registry"].')


class Store(Section):
    """Where the state lives."""

    url: str = Field("sqlite", description='"sqlite" (embedded, in state_dir) or a postgresql:// address, without a password.')
    password_file: FilePath | None = Field(None, description="File with the password for postgresql://; absent: credential, or none.")
    credential: str = Field("", description="Name of the systemd credential with that password.")

    @model_validator(mode="after")
    def _known(self) -> Store:
        if self.url != "sqlite" and not self.url.startswith(("postgresql://", "postgres://")):
            raise ValueError('store.url: write "sqlite", or postgresql://user@host:5432/database')
        return self

    @property
    def shared(self) -> bool:
        """Whether many nodes may use it."""
        return self.url != "sqlite"


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
    address: Annotated[str, AfterValidator(listening)] = Field(description="host:port, [v6]:port, unix:/path or systemd:NAME.")
    proxy_protocol: bool = Field(False, description="Expect a PROXY protocol header (v1 or v2) on each connection.")
    proxies: Networks = Field((), description="The load balancers whose PROXY header is believed; all other addresses are turned away.")
    networks: Networks = Field((), description="Only these addresses may connect here; others get 554 5.7.1 (web: 403). Absent: any.")
    starttls: bool = Field(False, description="imap: TLS begins with STARTTLS (port 143); absent: with the first octet (port 993).")

    @model_validator(mode="after")
    def _proxies_are_named(self) -> Listen:
        if self.proxy_protocol and not self.proxies:
            raise ValueError('proxy_protocol needs proxies, the addresses of the load balancers: proxies = ["10.0.0.2/32"]')
        if self.proxies and not self.proxy_protocol:
            raise ValueError("proxies needs proxy_protocol = true")
        if self.starttls and self.door != "imap":
            raise ValueError('starttls is for door = "imap"; the SMTP doors offer it by themselves')
        return self


class Tls(Section):
    """The certificate that the doors show."""

    certificate: FilePath | None = Field(None, description="PEM certificate chain; absent: no STARTTLS is offered.")
    key: FilePath | None = Field(None, description="PEM private key of the certificate.")

    @model_validator(mode="after")
    def _both_or_none(self) -> Tls:
        if (self.certificate is None) != (self.key is None):
            missing = "key" if self.key is None else "certificate"
            raise ValueError(f"certificate and key go together; {missing} is not written")
        return self


class Originators(Section):
    """Whose mail is outbound official mail."""

    domains: tuple[str, ...] = Field((), description="Sender domains of ours; sub-domains are named on their own.")
    networks: Networks = Field((), description="The IP white-list: CIDR ranges whose clients send official mail.")
    require_auth: bool = Field(False, description="Listed networks must sign in too.")

    @field_validator("domains")
    @classmethod
    def _domains(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for domain in value:
            if domain.startswith(("*", ".")):
                raise ValueError(f"{domain}: patterns do not stand here; name each domain whose officers write, such as example.gov.in")
        return tuple(a_labels(domain) for domain in value)


class Submission(Section):
    """Who signs in on the submission doors (587, 465), and how a password is checked."""

    check: Literal["file", "next-hop"] = Field(
        "file", description="file: passwords are argon2 hashes in logins; next-hop: the same credentials are shown to next_hop."
    )
    logins: FilePath | None = Field(None, description="TOML file of logins, shared mailboxes and their senders; read anew at a reload.")
    next_hop: Server = Field("", description="host:port asked with AUTH when check = next-hop; absent: the route of the login's domain.")
    implicit_tls: bool = Field(False, description="next_hop speaks TLS from the first octet (port 465).")
    tls_ca: FilePath | None = Field(None, description="PEM file of the authorities trusted for next_hop; absent: the system's.")
    tls_name: str = Field("", description="Name the certificate of next_hop must carry; absent: its host.")
    vpn: Networks = Field((), description="Addresses of the government VPN; sign-in from others gets 530 5.7.0. Absent: from anywhere.")
    cache: Seconds = Field(300.0, description="How long the next hop's yes is remembered (as a keyed hash in memory); 0 asks each time.")


class Imap(Section):
    """The IMAP server behind the IMAP door."""

    server: Server = Field("", description="host:port of the IMAP server; needed where a listener has door = imap.")
    tls: Literal["implicit", "starttls", "none"] = Field(
        "implicit", description="implicit: TLS from the first octet (993); starttls: port 143; none: only for loopback."
    )
    tls_ca: FilePath | None = Field(None, description="PEM file of the authorities trusted for the server; absent: the system's.")
    tls_name: str = Field("", description="Name the server's certificate must carry; absent: the host of server.")
    domain: str = Field("", description="Domain of the mailboxes of logins without one; absent: the first of originators.domains.")
    shared: Literal["pass", "refuse"] = Field(
        "pass", description="COPY, MOVE and RENAME into mailboxes of others (other users' and shared namespaces of the server)."
    )

    @model_validator(mode="after")
    def _clear_only_on_loopback(self) -> Imap:
        if self.tls == "none" and self.server and not is_loopback(self.server):
            raise ValueError('tls = "none" is for a server on this machine only; take it out: "implicit" is the default')
        return self


class Application(Section):
    """A system that sends mail by itself (e-Office, OTP, grievance portal): known by its login or its sender address."""

    name: str = Field(description="Its name in rules (originator.application) and in the log.")
    logins: tuple[str, ...] = Field((), description="Logins that are this application.")
    senders: tuple[str, ...] = Field((), description="Its envelope senders: a@b, @b or b for a domain.")
    networks: Networks = Field((), description="Addresses it sends from; from elsewhere it is not it. Absent: any listed one.")

    @model_validator(mode="after")
    def _known_by_something(self) -> Application:
        if not self.logins and not self.senders:
            raise ValueError("an application is known by logins or senders: name one")
        return self


class Route(Section):
    """Where mail for some domains goes. The first match wins."""

    domains: tuple[str, ...] = Field(description='Domains, or "*" for all others; ".example.in" matches sub-domains.')
    local: bool = Field(False, description="Ours: strangers may send here, recipients are verified with the next hop.")
    next_hop: Server = Field(description="host:port, [v6]:port or unix:/path of the next server.")
    tls: Literal["required", "opportunistic", "none"] = Field(
        "required", description="required: verified TLS or defer; none: only for loopback and unix sockets."
    )
    tls_ca: FilePath | None = Field(None, description="PEM file of the authorities trusted for this hop; absent: the system's.")
    tls_name: str = Field("", description="Name the hop's certificate must carry; absent: the host of next_hop.")

    @field_validator("domains")
    @classmethod
    def _domains(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(a_labels(domain) for domain in value)

    @model_validator(mode="after")
    def _clear_only_on_loopback(self) -> Route:
        if self.tls == "none" and not is_loopback(self.next_hop):
            raise ValueError('tls = "none" is for a next_hop on this machine only; take it out: "required" is the default')
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
    milter_hold: Literal["store", "mta"] = Field(
        "store", description="Where mail is held that came by a milter: here, for the review page, or in the MTA's own hold queue."
    )


class Web(Section):
    """The review page."""

    public_url: str = Field("", description="Address of the page as officers reach it; absent: bounces carry the reference alone.")
    officer_link_days: float | None = Field(
        None, gt=0, le=3650, description="Days for which a report's link opens the officer's page; absent: relay.hold_days and 15 more."
    )
    metrics_networks: Networks = Field(
        ("127.0.0.0/8", "::1/128"), description="Addresses that may read /metrics; others get 403, as does what came through a proxy."
    )
    proxies: Networks = Field(
        (), description="Web servers before the page: the last address of their X-Forwarded-For is the client; absent: nobody is believed."
    )
    session_idle: Seconds = Field(900.0, gt=0, description="A session ends when its person has done nothing for so long.")
    session_lifetime: Seconds = Field(8 * 3600.0, gt=0, description="A session ends so long after the sign-in, whatever is done in it.")
    sessions_per_person: int = Field(5, ge=1, description="Sessions of one person at one time; one more ends the oldest.")
    require_totp: bool = Field(
        True, description="A password alone does not sign in: who has no codes (TOTP) yet sets them up after a one-time login."
    )


class Oidc(Section):
    """Signing in to the review page with OpenID Connect. It counts as two factors: the provider has to ask for the second."""

    issuer: str = Field("", description="Address of the provider, as its discovery document names itself; absent: no OpenID Connect.")
    client_id: str = Field("", description="The gateway's name at the provider, which sends back to web.public_url/login/oidc/callback.")
    client_secret_file: FilePath | None = Field(None, description="File with the client secret; absent: credential, or none at all.")
    credential: str = Field("", description="Name of the systemd credential with the client secret.")
    name: str = Field("OpenID Connect", description="What the button on the sign-in page calls it.")
    claim: Literal["email", "preferred_username"] = Field(
        "email", description="By what a person is found at the first sign-in: a verified e-mail address, or the name here."
    )
    scopes: tuple[str, ...] = Field(("openid", "email", "profile"), description="What the provider is asked for; openid is needed.")

    @model_validator(mode="after")
    def _complete(self) -> Oidc:
        if not self.issuer:
            return self
        scheme, _, rest = self.issuer.partition("://")
        host = rest.partition("/")[0]
        if not rest or scheme not in ("https", "http") or (scheme == "http" and not is_loopback(host if ":" in host else f"{host}:80")):
            raise ValueError("issuer is an https:// address, such as https://login.example.gov.in (http:// on this machine only)")
        if not self.client_id:
            raise ValueError("client_id is needed beside issuer")
        if "openid" not in self.scopes:
            raise ValueError('scopes need "openid"')
        return self


class Review(Section):
    """Mail to those who decide about held mail."""

    digest: Annotated[str, AfterValidator(clock)] = Field(
        "08:30", description='When each reviewer gets one mail a day about what is held, on India\'s clock; "": none.'
    )
    warn_before: Seconds = Field(2 * 86400.0, description="So long before its deadline reviewers are told of a held message; 0: never.")


class Archive(Section):
    """One place for journal copies."""

    name: str = Field("journal", pattern=r"^[a-z][a-z0-9-]{0,31}$", description='What rules call it, as in archive = "journal".')
    kind: Literal["imap", "store"] = Field(description="Where the copy goes: into a mailbox, or into the store of the gateway.")
    url: str = Field("", description="imaps://host[:port]/Mailbox for kind = imap; imap:// on this machine only.")
    which: Literal["official", "rules"] = Field(
        "official", description="official: every accepted message of a verified originator; rules: what a rule with archive asks for."
    )
    login: str = Field("", description="Login at the archive's server.")
    password_file: FilePath | None = Field(None, description="File with its password; absent: credential.")
    credential: str = Field("", description="Name of the systemd credential with its password.")
    tls_ca: FilePath | None = Field(None, description="PEM file of the authorities trusted for the server; absent: the system's.")
    tls_name: str = Field("", description="Name the server's certificate must carry; absent: the host of url.")
    retain: Seconds = Field(365 * 86400.0, description="How long a copy is to be kept: kind = store destroys it then.")

    @model_validator(mode="after")
    def _complete(self) -> Archive:
        if self.kind == "store":
            if self.url:
                raise ValueError('url is for kind = "imap"')
            return self
        scheme, _, rest = self.url.partition("://")
        host, slash, mailbox = rest.partition("/")
        if scheme not in ("imaps", "imap") or not host or not slash or not mailbox or set(host) & set("@ "):
            raise ValueError('kind = "imap" needs url, such as imaps://archive.example.gov.in/Journal (the login stands in login)')
        if scheme == "imap" and not is_loopback(host if host.rpartition(":")[2].isdigit() else f"{host}:143"):
            raise ValueError("imap:// is for a server on this machine only; write imaps://")
        if not self.login or not (self.password_file or self.credential):
            raise ValueError('kind = "imap" needs login, and password_file or credential')
        return self


class Retention(Section):
    """How long what is no longer needed is kept. Held mail: relay.hold_days. Journal copies: archive.retain."""

    audit: Seconds = Field(365 * 86400.0, description="The decision log; at least 180d (CERT-In directions of 2022).")
    messages: Seconds = Field(90 * 86400.0, description="Envelope and facts of mail whose deliveries have ended (bodies go at once).")
    correspondents: Seconds = Field(365 * 86400.0, description="Who has written to whom before, as keyed hashes.")
    threads: Seconds = Field(365 * 86400.0, description="Levels of threads and passages of marked mail, as keyed hashes.")

    @field_validator("audit")
    @classmethod
    def _floor(cls, value: float) -> float:
        if value < 180 * 86400:
            raise ValueError("the decision log is kept for at least 180 days (CERT-In directions of 2022): write 180d or more")
        return value


class Backup(Section):
    """Copies of store and keys."""

    certificate: FilePath | None = Field(
        None, description="PEM certificate to which backups are sealed; absent: gateway backup asks for --certificate or --passphrase-file."
    )


def is_loopback(next_hop: str) -> bool:
    """Whether *next_hop* stays on this machine: a unix socket or a loopback address."""
    if next_hop.startswith("unix:"):
        return True
    host = next_hop.rsplit(":", 1)[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

"""Who sends what to whom, as an MTA tells it through its milter connection.

What it is: ``Client``, what is known of the MTA's client; ``Envelope`` under way, with the path of each recipient as the MTA wrote it.
Who calls it: ``doors.milter``, at each event.
Must never: take what an MTA did not say for trust: no macro means no login, no TLS; a client without an address is in no network.

Where mail comes from, and what holds for it:

* *A client of the MTA*: its address from CONNECT (and, where the MTA also sends {client_addr}, both must be in a listed network for it
  to count as listed). Whether it may relay, and which recipients there are, the MTA has decided before it asked us.
* *A login* ({auth_authen}): an officer, verified as on our own submission ports; must send as an official address. Which of them is the
  MTA's to check (smtpd_sender_login_maps).
* *The MTA's own machine* (``non_smtpd_milters``: sendmail(1), cron, and with internal_mail_filter_classes Postfix's own reports): CONNECT
  from "localhost", a loopback address and port 0. It is ours if that address is in ``originators.networks``. Postfix cannot refuse one
  recipient of such mail, and tries mail that was deferred again for ever: so each recipient gets a yes, and the first fault is the
  answer to the whole message at its end; mail of others to our own people comes in as inbound mail.
* *A null sender from there*: a report of the MTA; it needs no sign-in, and its content is decided like any other.

Sources: Postfix src/cleanup/cleanup_milter.c (emulated events), MILTER_README; hostile-inputs catalogue T03, T11.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from gateway.doors.limits import Networks, plain_ip
from gateway.doors.relaying import Refused
from gateway.envelope import Peer, Recipient
from gateway.wire import smtp_params
from gateway.wire.milter_events import Connect
from gateway.wire.smtp_params import ArgumentError, Mail

_LOGIN = 320  # characters
_WORD = 64  # of a TLS version or cipher
_MAIL = (b"SIZE", b"BODY", b"SMTPUTF8", b"RET", b"ENVID")
_RCPT = (b"NOTIFY", b"ORCPT")
"""Parameters that say something to us; all others are between the client and its MTA, which has taken them."""


@dataclass(slots=True)
class Client:
    """The MTA's client: one SMTP session, or the MTA's own machine."""

    ip: str = ""
    port: int = 0
    local: bool = False
    """Mail that the MTA's own machine sends: no SMTP client, no RCPT that can be refused."""
    helo: str = ""

    @classmethod
    def of(cls, connect: Connect) -> Client:
        """What CONNECT says."""
        ip = plain_ip(connect.address) if connect.family in ("4", "6") else ""
        local = connect.host == "localhost" and connect.port == 0 and _is_loopback(ip)
        return cls(ip, connect.port, local)

    def greet(self, name: bytes) -> None:
        """Takes the name of HELO; one that is none is no name."""
        try:
            self.helo = smtp_params.helo_name(name)
        except ArgumentError:
            self.helo = ""

    def peer(self, macros: Mapping[str, str], networks: Networks) -> Peer:
        """The client as one message knows it."""
        said = _address(macros.get("{client_addr}", ""))
        ip = self.ip or said
        # Two addresses that differ come of a proxy that one of the two does not know of: only what both are sure of counts.
        listed = ip in networks and (not said or said in networks)
        tls = _word(macros.get("{tls_version}", ""))
        bits = macros.get("{cipher_bits}", "")
        return Peer(
            ip, self.port, self.helo, listed=listed, user=_login(macros.get("{auth_authen}", "")), tls_version=tls,
            tls_cipher=_word(macros.get("{cipher}", "")) if tls else "",
            tls_bits=int(bits) if tls and bits.isascii() and bits.isdigit() and len(bits) < 5 else 0,
        )  # fmt: skip


@lru_cache(maxsize=1024)
def _is_loopback(ip: str) -> bool:
    return bool(ip) and ipaddress.ip_address(ip).is_loopback


@lru_cache(maxsize=1024)
def _address(text: str) -> str:
    """*text* as an address; empty when it is none (Sendmail writes ``IPv6:`` before those of version 6)."""
    try:
        return plain_ip(str(ipaddress.ip_address(text.removeprefix("IPv6:").partition("%")[0])))
    except ValueError:
        return ""


def _login(text: str) -> str:
    """A login that can be logged and compared; what is none is nobody's."""
    return text.lower() if 0 < len(text) <= _LOGIN and text.isprintable() and "\ufffd" not in text and not text.isspace() else ""


def _word(text: str) -> str:
    return text[:_WORD] if text.isascii() and text.isprintable() else ""


@dataclass(slots=True)
class Envelope:
    """The envelope of the message under way."""

    peer: Peer
    mail: Mail
    recipients: dict[str, Recipient] = field(default_factory=dict)
    """By the text of their paths."""
    written: dict[str, list[bytes]] = field(default_factory=dict)
    """For each of them the paths as the MTA wrote them, by which alone it finds them again."""
    refused: Refused | None = None
    """The first fault of mail whose recipients cannot be refused: the answer to the whole message."""

    def full(self, text: str, written: bytes, most: int) -> bool:
        """Whether there is no room for one more, where *most* is the limit: a recipient may be written in many ways, and each is kept."""
        paths = self.written.get(text)
        if paths is None:
            return len(self.recipients) >= most
        return written not in paths and sum(map(len, self.written.values())) >= 2 * most

    def add(self, recipient: Recipient, written: bytes) -> None:
        """Takes a recipient, once however often it was named."""
        text = recipient.path.text
        self.recipients.setdefault(text, recipient)
        paths = self.written.setdefault(text, [])
        if written not in paths:
            paths.append(written)


def mail(args: tuple[bytes, ...], max_size: int, *, local: bool) -> Mail:
    """The arguments of MAIL. Raises ArgumentError or AddressError."""
    parsed = smtp_params.mail(b"FROM:" + _line(args, _MAIL, local=local), esmtp=True, max_size=max_size)
    parsed.smtputf8 = parsed.smtputf8 and (not local or not parsed.path.text.isascii())
    return parsed


def recipient(args: tuple[bytes, ...], *, smtputf8: bool) -> Recipient:
    """The arguments of RCPT. Raises ArgumentError or AddressError."""
    return smtp_params.recipient(b"TO:" + _line(args, _RCPT), esmtp=True, smtputf8=smtputf8)


def _line(args: tuple[bytes, ...], known: Iterable[bytes], *, local: bool = False) -> bytes:
    """*args* as they stand in a command, with the parameters that are *known*."""
    path = args[0]
    if not path.startswith(b"<"):
        path = b"<" + path + b">"
    if len(args) == 1 and not local:
        return path
    parameters = [one for one in args[1:] if one.partition(b"=")[0].upper() in known]
    if local:
        parameters.append(b"SMTPUTF8")  # no client of this mail could have asked for it
    return b" ".join((path, *parameters))

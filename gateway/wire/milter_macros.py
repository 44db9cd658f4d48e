"""What an MTA says beside the commands of the milter protocol: macros, a set for each stage of a message.

What it is: ``Macros``, one object a connection; it knows how long what was said holds.
Who calls it: ``wire.milter``; the door reads ``known``.
Must never: let a macro outlive its stage, its message or its client; keep a name that nobody asks for; pass on a control character.
Sources: libmilter/engine.c (st_macros, mi_clr_macros) and docs/smfi_setsymlist.html; Postfix MILTER_README, "macros"; hostile-inputs
catalogue T03.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from types import MappingProxyType

from gateway.wire.milter_events import MilterError

# Commands in the order of their stages: macros of a stage end those of all later ones.
STAGES = b"CHMRTNE"
CLIENT, MESSAGE = 0, 2
"""The first stage that belongs to a client, and to a message."""

KEPT = frozenset(
    {
        "i", "v", "{auth_authen}", "{auth_type}", "{cipher}", "{cipher_bits}", "{client_addr}", "{client_name}", "{client_port}",
        "{daemon_name}", "{mail_addr}", "{mail_mailer}", "{rcpt_addr}", "{rcpt_mailer}", "{tls_version}",
    }
)  # fmt: skip
_CLIENT = b"{client_addr} {client_name} {client_port}"
_TLS = b"{tls_version} {cipher} {cipher_bits}"
# By the numbers of SMFIM_CONNECT and its sisters. Sender and client come at MAIL again: then they are of this message for certain.
WANTED: tuple[bytes, ...] = (
    _CLIENT + b" {daemon_name} v",
    _TLS,
    b"i {auth_authen} {auth_type} {mail_addr} {mail_mailer} {daemon_name} " + _CLIENT + b" " + _TLS,
    b"i {rcpt_addr} {rcpt_mailer}",
    b"i",
    b"i",
    b"i",
)
_CONTROLS = re.compile(rb"[\x00-\x1f\x7f]")
_LONGEST = 4096  # octets of a value that is kept


def plain_address(text: str) -> str:
    """The IPv4 or IPv6 address *text* in its shortest form, without Sendmail's "IPv6:" and a zone; empty where it is none."""
    if text[:5].lower() == "ipv6:":
        text = text[5:]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


class Macros:
    """The macros of one connection."""

    __slots__ = ("_fresh", "_known", "_stages")

    def __init__(self) -> None:
        self._stages: list[dict[str, str]] = [{} for _ in STAGES]
        self._fresh = -1
        """The stage whose macros have come and whose command has not."""
        self._known: Mapping[str, str] | None = None

    @property
    def known(self) -> Mapping[str, str]:
        """What holds now; where several stages name a macro, the latest of them."""
        if self._known is None:
            merged: dict[str, str] = {}
            for stage in self._stages:
                merged.update(stage)
            self._known = MappingProxyType(merged)
        return self._known

    def take(self, data: bytes) -> None:
        """Takes the packet *data* (the command it is for, then names and values). Raises MilterError."""
        if not data:
            raise MilterError("macros for no command")
        stage = STAGES.find(data[:1])
        if stage < 0:
            return  # of a command that needs none (Postfix: of each header field); libmilter passes over them as well
        if len(data) > 1 and data[-1]:
            raise MilterError("a macro without its end")
        words = data[1:-1].split(b"\0") if len(data) > 1 else []
        if len(words) % 2:
            raise MilterError("a macro without a value")
        said: dict[str, str] = {}
        for name, value in zip(words[::2], words[1::2], strict=True):
            key = name.decode("ascii", "replace")
            if len(key) == 3 and key[0] == "{" and key[2] == "}":
                key = key[1]
            if key not in KEPT:
                continue
            if _CONTROLS.search(value) or len(value) > _LONGEST:
                raise MilterError("a control character in a macro, or too much of it")
            text = value.decode("utf-8", "replace")
            if key == "{client_addr}" and not (text := plain_address(text)):
                continue  # no address that could be trusted
            if said.setdefault(key, text) != text:
                raise MilterError("a macro with two values")
        self.forget(stage)
        self._stages[stage] = said
        self._fresh = stage

    def command(self, command: bytes) -> None:
        """The command itself has come: what was said for an earlier one of its kind does not hold for it."""
        stage = STAGES.find(command)
        if stage >= 0:
            self.forget(stage + 1 if self._fresh == stage else stage)
            self._fresh = -1

    def forget(self, stage: int) -> None:
        """Forgets what was said for *stage* and all later ones."""
        self._known = None
        for index in range(stage, len(STAGES)):
            if self._stages[index]:
                self._stages[index] = {}
        if self._fresh >= stage:
            self._fresh = -1

    def forget_message(self) -> None:
        """Forgets what was said of a message that another one takes the place of, but not what was just said of that other one."""
        if self._fresh != MESSAGE:
            self.forget(MESSAGE)

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
from functools import lru_cache
from types import MappingProxyType

from gateway.wire.milter_events import MilterError

# Commands in the order of their stages: macros of a stage end those of all later ones.
STAGES = b"CHMRTNE"
CLIENT, MESSAGE = 0, 2
"""The first stage that belongs to a client, and to a message."""

_NONE = b"{none}"
"""A macro that nobody sets. An MTA that is asked for no macro of a stage at all says those of its own list (Postfix 3.7)."""
# By the numbers of SMFIM_CONNECT and its sisters: what is read, and nothing at the stages where nothing is; Postfix says those of the
# header section's end before each field of it. Who the client is comes with MAIL: then it is of this message for certain.
WANTED: tuple[bytes, ...] = (
    _NONE, _NONE, b"{auth_authen} {client_addr} {tls_version} {cipher} {cipher_bits}", _NONE, _NONE, b"i", _NONE
)  # fmt: skip
KEPT = frozenset(name.decode() for names in WANTED for name in names.split(b" ") if name != _NONE)
"""What is asked for."""
_CONTROLS = re.compile(rb"[\x00-\x1f\x7f]")
_LONGEST = 4096  # octets of a value that is kept
_STAGE = {octet: stage for stage, octet in enumerate(STAGES)}
_NOTHING: dict[str, str] = {}
_LONGEST_ADDRESS = 64  # characters of an address that is worth remembering


def plain_address(text: str) -> str:
    """The IPv4 or IPv6 address *text* in its shortest form, without Sendmail's "IPv6:" and a zone; empty where it is none."""
    return _plain(text) if len(text) <= _LONGEST_ADDRESS else _plain.__wrapped__(text)


@lru_cache(maxsize=1024)
def _plain(text: str) -> str:
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

    __slots__ = ("_fresh", "_known", "_stages", "_top")

    def __init__(self) -> None:
        self._stages: list[dict[str, str]] = [_NOTHING] * len(STAGES)
        self._top = -1
        """The last stage that has any."""
        self._fresh = -1
        """The stage whose macros have come and whose command has not."""
        self._known: Mapping[str, str] | None = None

    @property
    def known(self) -> Mapping[str, str]:
        """What holds now; where several stages name a macro, the latest of them."""
        if self._known is None:
            merged: dict[str, str] = {}
            for stage in self._stages[: self._top + 1]:
                if stage:
                    merged.update(stage)
            self._known = MappingProxyType(merged)
        return self._known

    def take(self, data: bytes, start: int = 0, end: int | None = None) -> None:
        """Takes the packet that is *data* from *start* to *end* (the command it is for, then names and values). Raises MilterError."""
        end = len(data) if end is None else end
        if end <= start:
            raise MilterError("macros for no command")
        stage = _STAGE.get(data[start])
        if stage is None:
            return  # of a command that needs none (Postfix: of each header field); libmilter passes over them as well
        said = _said(data[start + 1 : end]) if end - start > 1 else _NOTHING
        if self._top >= stage:
            self.forget(stage)
        if said:
            self._stages[stage] = said
            self._top = stage
            self._known = None
        self._fresh = stage

    def command(self, command: bytes) -> None:
        """The command itself has come: what was said for an earlier one of its kind does not hold for it."""
        stage = _STAGE.get(command[0])
        if stage is not None:
            after = stage + 1 if self._fresh == stage else stage
            if self._top >= after:
                self.forget(after)
            self._fresh = -1

    def forget(self, stage: int) -> None:
        """Forgets what was said for *stage* and all later ones."""
        if self._top >= stage:
            self._known = None
            for index in range(stage, self._top + 1):
                self._stages[index] = _NOTHING
            self._top = stage - 1
        if self._fresh >= stage:
            self._fresh = -1

    def forget_message(self) -> None:
        """Forgets what was said of a message that another one takes the place of, but not what was just said of that other one."""
        if self._fresh != MESSAGE:
            self.forget(MESSAGE)


def _said(data: bytes) -> dict[str, str]:
    """Those of the names and values *data* that are kept. Raises MilterError."""
    words = data.split(b"\0")
    if words[-1]:
        raise MilterError("a macro without its end")
    if not len(words) % 2:
        raise MilterError("a macro without a value")
    said: dict[str, str] = {}
    for name, value in zip(words[:-1:2], words[1::2], strict=True):
        key = name.decode("ascii", "replace")
        if len(key) == 3 and key[0] == "{" and key[2] == "}":
            key = key[1]
        if key not in KEPT:
            continue
        if len(value) > _LONGEST or _CONTROLS.search(value):
            raise MilterError("a control character in a macro, or too much of it")
        text = value.decode("utf-8", "replace")
        if key == "{client_addr}" and not (text := plain_address(text)):
            continue  # no address that could be trusted
        if said.setdefault(key, text) != text:
            raise MilterError("a macro with two values")
    return said

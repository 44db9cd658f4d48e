"""The signed link of an officer's page: who may see what was stopped of one message, without signing in.

What it is: ``OfficerLinks``, which makes and reads the links, and ``Link``, what a good one says. A token names the message, when it
ends and, as a keyed hash, its originator; a MAC of 128 bits covers all of it under a key for nothing else.
Who calls it: ``relay.reports`` and ``keeper.act`` put links into what originators get; ``keeper.officers`` reads them.
Must never: give a link to anybody but the originator's report; let a token say by its time or by another answer how far it was right;
take a token that is one bit, one purpose or one second off.
Sources: docs/design.md section 4 (TOP SECRET and SECRET, held mail); hostile-inputs catalogue W06, W17; RFC 2104; RFC 4648 section 6.

The octets: version (1), reference (16), end in seconds since the epoch (4), originator (8), MAC (16): 45, which are 72 characters of
base 32 without padding and without a spare bit, in small letters, so that nothing at their end is taken for punctuation.
"""

from __future__ import annotations

import base64
import hmac
import re
from dataclasses import dataclass
from typing import Protocol

from gateway.config import Config

_VERSION = b"\x01"
_TOKEN = re.compile(r"[a-z2-7]{72}")
_REFERENCE = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAGE, _ORIGINATOR = b"page", b"originator"
_SIGNED, _MAC = 29, 16  # octets
_DAY = 86_400


class Marker(Protocol):
    """What is needed of the vault here."""

    def link_mac(self, octets: bytes) -> bytes:
        """32 octets over *octets* under the key of links."""


@dataclass(frozen=True, slots=True)
class Link:
    """What a good token says. *expires* in seconds since the epoch; *originator* is a keyed hash."""

    reference: str
    expires: float
    originator: bytes


class OfficerLinks:
    """Makes and reads them."""

    def __init__(self, config: Config, vault: Marker) -> None:
        self._public_url = config.web.public_url.rstrip("/")
        days = config.web.officer_link_days
        self._seconds = _DAY * (config.relay.hold_days + 15 if days is None else days)
        self._vault = vault

    def url(self, reference: str, originator: str, now: float) -> str:
        """The address of the page for the *originator* of *reference*; empty where there is no page, or nobody who may have one."""
        token = self.token(reference, originator, now) if self._public_url else ""
        return f"{self._public_url}/officer/{token}" if token else ""

    def token(self, reference: str, originator: str, now: float) -> str:
        """The token alone; empty for a null originator, or a reference that is none of ours."""
        if not originator or not _REFERENCE.fullmatch(reference):
            return ""
        number = 0
        for digit in reference:
            number = number * 32 + _DIGITS.index(digit)
        expires = min(int(now + self._seconds), 0xFFFF_FFFF)
        signed = _VERSION + number.to_bytes(16, "big") + expires.to_bytes(4, "big") + self._originator(originator)
        return base64.b32encode(signed + self._mac(signed)).decode("ascii").lower()

    def read(self, token: str, now: float) -> Link | None:
        """What *token* says; None where it is not one of ours, or has ended."""
        if not _TOKEN.fullmatch(token):
            return None
        octets = base64.b32decode(token.upper())
        signed, mac = octets[:_SIGNED], octets[_SIGNED:]
        if not hmac.compare_digest(mac, self._mac(signed)) or signed[:1] != _VERSION:
            return None
        number, expires = int.from_bytes(signed[1:17], "big"), int.from_bytes(signed[17:21], "big")
        if now >= expires:
            return None
        reference = "".join(_DIGITS[(number >> shift) & 31] for shift in range(125, -5, -5))
        return Link(reference, float(expires), signed[21:])

    def is_of(self, link: Link, originator: str) -> bool:
        """Whether *link* was made for *originator*."""
        return bool(originator) and hmac.compare_digest(link.originator, self._originator(originator))

    def _originator(self, address: str) -> bytes:
        return self._vault.link_mac(_ORIGINATOR + b"\0" + address.casefold().encode("utf-8", "surrogatepass"))[:8]

    def _mac(self, signed: bytes) -> bytes:
        return self._vault.link_mac(_PAGE + b"\0" + signed)[:_MAC]

"""TLS to the next hop: which contexts, and what a finished handshake proves.

What it is: the client contexts for the four ways of asking (verified; AES-256 only; unverified for ``opportunistic``), cached
until their authority file changes, and the check of the negotiated cipher.
Who calls it: ``smtp_client``.
Must never: turn verification off for a route with ``tls = "required"`` or for mail that needs an AES-256 hop; offer a
version below TLS 1.2.

The three words of the config mean:

* ``required``: STARTTLS, TLS 1.2 or newer, a chain to ``tls_ca`` (or the system's authorities) and the name ``tls_name``. Anything
  less is a deferral, never clear text.
* ``opportunistic``: STARTTLS where it is offered. The certificate is verified if it can be; one that does not verify is used all
  the same (encrypted to somebody is better than clear) and the delivery's record says ``unverified``. Not offered: clear. This
  protects against listeners only. Mail that needs an AES-256 hop is sent over such a route as if it said ``required``.
* ``none``: clear; the config admits it for loopback and unix sockets alone.

Sources: docs/design.md section 4 ("The hop"); RFC 3207; RFC 8446; hostile-inputs catalogue O08; docs/inspection.md, "What counts
as encryption".
"""

from __future__ import annotations

import enum
import ssl
from pathlib import Path as FilePath

AES_256_SUITES = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:DHE-RSA-AES256-GCM-SHA384"
"""TLS 1.2 suites of the second try. Python cannot choose TLS 1.3 suites, so that try stays at 1.2."""


class Trust(enum.Enum):
    """How a connection is asked for."""

    VERIFIED = "verified"
    AES_256 = "aes-256"
    """Verified, TLS 1.2 with AES-256-GCM suites and nothing else."""
    UNVERIFIED = "unverified"


class Contexts:
    """Makes and keeps the client contexts."""

    def __init__(self) -> None:
        self._cache: dict[tuple[FilePath | None, Trust], tuple[float, ssl.SSLContext]] = {}

    def get(self, authorities: FilePath | None, trust: Trust) -> ssl.SSLContext:
        """The context. Raises OSError or ssl.SSLError where *authorities* cannot be read: the caller defers."""
        stamp = authorities.stat().st_mtime if authorities is not None else 0.0
        known = self._cache.get((authorities, trust))
        if known is not None and known[0] == stamp:
            return known[1]
        context = self._make(authorities, trust)
        self._cache[(authorities, trust)] = (stamp, context)
        return context

    @staticmethod
    def _make(authorities: FilePath | None, trust: Trust) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if trust is Trust.UNVERIFIED:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            return context
        if authorities is None:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        else:
            context.load_verify_locations(cafile=authorities)
        if trust is Trust.AES_256:
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers(AES_256_SUITES)
        return context


def is_aes_256(cipher: tuple[str, str, int] | None) -> bool:
    """Whether ``SSLObject.cipher()`` says AES with keys of 256 bits."""
    if cipher is None:
        return False
    name, _, bits = cipher
    return bits >= 256 and "AES" in name.upper()

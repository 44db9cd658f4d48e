"""By which name the pages may be asked for: the one of ``web.public_url``, and from this machine itself.

What it is: ``Hosts``.
Who calls it: ``secured``, before anything else looks at a request.
Must never: believe a field that a proxy adds (``X-Forwarded-Host``, ``Forwarded``): anybody can add it.
Sources: hostile-inputs catalogue W11; RFC 9110 sections 7.2 and 15.5.20 (421 Misdirected Request).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from gateway.web.origin import is_loopback

REFUSAL = "This server does not answer under this name.\n"
_MACHINES = frozenset({"/healthz", "/readyz", "/metrics"})
"""What machines ask by whatever address they know; no answer of these depends on the name."""
_PORTS = {"https": 443, "http": 80}


class Hosts:
    """The names of the config's *public_url*; without one every name is good, since none is known."""

    def __init__(self, public_url: str) -> None:
        url = urlsplit(public_url)
        self._host = (url.hostname or "").rstrip(".")
        self._port = url.port or _PORTS.get(url.scheme, 0)

    def knows(self, scope: Any) -> bool:
        """Whether the request of *scope* names a host of ours."""
        if not self._host or scope.get("path") in _MACHINES:
            return True
        named = _host_of(scope.get("headers", ()))
        if named is None:
            return False
        host, port = named
        return is_loopback(host) or (host == self._host and port in (None, self._port))


def _host_of(headers: Iterable[tuple[bytes, bytes]]) -> tuple[str, int | None] | None:
    """The one ``Host`` field; None where there is none, more than one, or one that is no name."""
    found = [value for name, value in headers if name.lower() == b"host"]
    if len(found) != 1 or any(sign in found[0] for sign in b"/@\\?# "):
        return None
    try:
        url = urlsplit("//" + found[0].decode("ascii"))
        return ((url.hostname or "").rstrip("."), url.port)
    except (UnicodeDecodeError, ValueError):
        return None

"""Whom the department's web server brings: the client's address behind a proxy that the config names.

What it is: ``Forwarded``, an ASGI layer that puts the address before the rest sees the request.
Who calls it: ``service``, around the application.
Must never: believe a field of a request that does not come from one of ``web.proxies``; take any address of the field but the last,
the only one that the proxy itself has seen.
Sources: docs/design.md section 10 ("Web"); nginx, ``$proxy_add_x_forwarded_for``; hostile-inputs catalogue S37 (limits a client).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from gateway.web.admission import address_of

App = Callable[[Any, Any, Any], Awaitable[None]]


class Forwarded:
    """*proxies*: networks of those that are believed."""

    def __init__(self, app: App, proxies: Iterable[str]) -> None:
        self._app = app
        self._proxies = [ipaddress.ip_network(one) for one in proxies]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Passes the request on, with the client that the proxy names where it is one of ours."""
        if scope["type"] == "http" and self._proxies and (client := self._brought(scope)):
            scope = {**scope, "client": (client, 0)}
        await self._app(scope, receive, send)

    def _brought(self, scope: Any) -> str:
        peer = address_of((scope.get("client") or ("",))[0])
        if peer is None or not any(peer in one for one in self._proxies):
            return ""
        fields = [value for name, value in scope.get("headers", ()) if name.lower() == b"x-forwarded-for"]
        found = address_of(fields[-1].decode("latin-1").rpartition(",")[2].strip()) if fields else None
        return str(found) if found is not None else ""

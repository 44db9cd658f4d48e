"""The PROXY protocol's header at the start of a connection, before there is a session.

What it is: ``read``, which takes exactly the header off a socket.
Who calls it: ``doors.entrance``, for listeners with ``proxy_protocol``.
Must never: read an octet behind the header; believe one that does not come from a named load balancer (its caller sees to that);
wait longer than it was told to.
Source: "The PROXY protocol, versions 1 & 2" of HAProxy, section 2; hostile-inputs catalogue S41.
"""

from __future__ import annotations

import asyncio
import socket

from gateway.wire.proxy import Parser, ProxyError, Source


async def read(sock: socket.socket, seconds: float) -> Source:
    """The source that the header on *sock* names. Raises ProxyError, also where it does not come within *seconds*."""
    loop, parser = asyncio.get_running_loop(), Parser()
    try:
        async with asyncio.timeout(seconds):
            while True:
                data = await loop.sock_recv(sock, parser.wanted)
                if not data:
                    raise ProxyError("the connection ended inside the header")
                source = parser.feed(data)
                if source is not None:
                    return source
    except TimeoutError:
        raise ProxyError("the header did not come in time") from None
    except OSError as error:
        raise ProxyError(f"the connection broke: {error.strerror}") from None

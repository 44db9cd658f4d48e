"""Who may connect to the web door: the ``networks`` of its listeners.

What it is: ``Admission``, which says of a request whether the listener that it came in by is open to its address; ``address_of``.
Who calls it: ``service`` makes it; ``secured.Secured`` asks it before anything else; ``forwarded`` for the second.
Must never: let in what it cannot place: no address (a unix socket), or a listener that it does not know, where any listener has networks;
look at a field of the request (what a proxy says of its client is not proved).
Sources: docs/options.md (``[[listen]] networks``); rules/README.md, R5.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Mapping
from typing import Any

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]

REFUSAL = "The page cannot be used from this address. Your IT cell knows from where it can.\n"


class Admission:
    """Who may use which listening socket of *listening*: the socket, and the networks that may (none: everybody)."""

    def __init__(self, listening: Iterable[tuple[socket.socket, tuple[str, ...]]] = ()) -> None:
        self._exact: dict[tuple[Address, int], Networks] = {}
        self._wild: dict[tuple[int, int], Networks] = {}
        """Those of sockets on all addresses, by IP version and port."""
        self._unknown: Networks | None = ()
        """Those of whatever cannot be placed; None: nobody."""
        for sock, names in listening:
            networks: Networks = tuple(ipaddress.ip_network(name) for name in names)
            if networks:
                self._unknown = None
            if sock.family not in (socket.AF_INET, socket.AF_INET6):
                continue
            host, port = sock.getsockname()[:2]
            address = ipaddress.ip_address(host.partition("%")[0])
            if address.is_unspecified:
                self._wild[address.version, port] = networks
            else:
                self._exact[address, port] = networks

    def __call__(self, scope: Mapping[str, Any]) -> bool:
        """Whether the request of the ASGI *scope* comes from where its listener is open to."""
        if self._unknown is not None:
            return True  # no listener has networks
        here, there = scope.get("server"), scope.get("client")
        if not here or not there or (at := address_of(here[0])) is None or (ip := address_of(there[0])) is None:
            return False
        networks = self._exact.get((at, here[1]))
        for version in (at.version, 6):  # an IPv6 socket may take IPv4 too
            networks = self._wild.get((version, here[1])) if networks is None else networks
        return networks is not None and (not networks or any(ip in network for network in networks))


def address_of(text: object) -> Address | None:
    """*text* as an address, of an IPv4 one in IPv6 the IPv4 one; None where it is none."""
    try:
        found = ipaddress.ip_address(str(text).partition("%")[0])
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, ipaddress.IPv6Address) else found

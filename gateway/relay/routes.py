"""Which next hop takes a domain's mail, and the addresses behind it.

What it is: the route table of the config, the parsed next hop, and name resolution that never leads back to ourselves.
Who calls it: the relay, the call-out, and sign-ins that the mail service judges.
Must never: look up MX records (the way out is pinned, rule R22), or connect to one of our own listening addresses, or to
loopback unless the config names loopback itself.
Sources: docs/design.md section 4 ("Who may relay"); rules/README.md, R22; hostile-inputs catalogue A32, O09.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path as FilePath

from gateway.address import matches
from gateway.config import Config, Route, is_loopback

_ADDRESSES = 8  # of one name; more are not tried
_FRESH = 30.0  # seconds for which an answer is used again


class RouteError(ValueError):
    """The next hop cannot be used: its config is wrong, or it leads nowhere now. One plain sentence without private words."""


@dataclass(frozen=True, slots=True)
class NextHop:
    """A parsed ``next_hop`` with its TLS rules. Two routes with the same values share one."""

    name: str
    """As the config writes it; the key people see."""
    host: str
    port: int
    path: str
    """Of a unix socket; host and port are empty then."""
    tls: str
    tls_ca: FilePath | None
    tls_name: str
    loopback: bool
    """The config itself names this machine: the way counts as protected."""


def parse_next_hop(route: Route) -> NextHop:
    """The next hop of *route*. Raises RouteError where it is not ``host:port``, ``[v6]:port`` or ``unix:/path``."""
    name = route.next_hop
    if name.startswith("unix:"):
        path = name[5:]
        if not path.startswith("/") or "\0" in path:
            raise RouteError(f"next_hop {name!r}: write unix:/path")
        return NextHop(name, "", 0, path, route.tls, route.tls_ca, route.tls_name or "localhost", loopback=True)
    host, colon, port = name.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        try:
            host = str(ipaddress.IPv6Address(host[1:-1]))
        except ValueError as error:
            raise RouteError(f"next_hop {name!r}: not an IPv6 address") from error
    elif ":" in host:
        raise RouteError(f"next_hop {name!r}: write an IPv6 address in brackets")
    if not colon or not host or not port.isascii() or not port.isdecimal() or not 0 < int(port) < 65536:
        raise RouteError(f"next_hop {name!r}: write host:port, [v6]:port or unix:/path")
    if any(c <= " " or c == "\x7f" for c in host):
        raise RouteError(f"next_hop {name!r}: not a host name")
    return NextHop(name, host, int(port), "", route.tls, route.tls_ca, route.tls_name or host, is_loopback(name))


class Routes:
    """The route table; the first match wins."""

    def __init__(self, config: Config) -> None:
        """Raises RouteError for a next hop that is none."""
        hops: dict[NextHop, NextHop] = {}
        self._table: list[tuple[tuple[str, ...], NextHop, bool]] = []
        for route in config.route:
            hop = parse_next_hop(route)
            hop = hops.setdefault(hop, hop)
            self._table.append((route.domains, hop, route.local))
        self._found: dict[str, tuple[NextHop, bool] | None] = {}

    def take(self, other: Routes) -> None:
        """Has the table of *other* from now on."""
        self._table, self._found = other._table, {}

    @property
    def hops(self) -> list[NextHop]:
        """Each next hop once, in the order of the config."""
        return list(dict.fromkeys(hop for _, hop, _ in self._table))

    def _match(self, domain: str) -> tuple[NextHop, bool] | None:
        for patterns, hop, local in self._table:
            if any(matches(domain, pattern) for pattern in patterns):
                return hop, local
        return None

    def _find(self, domain: str) -> tuple[NextHop, bool] | None:
        domain = domain.lower()
        try:
            return self._found[domain]
        except KeyError:
            pass
        found = self._match(domain) if domain else self._postmaster()
        if len(self._found) > 10_000:
            self._found.clear()
        self._found[domain] = found
        return found

    def _postmaster(self) -> tuple[NextHop, bool] | None:
        """``<postmaster>`` without a domain goes where our own mail goes, else the general way out."""
        for _, hop, local in self._table:
            if local:
                return hop, True
        return self._match("*")

    def find(self, domain: str) -> NextHop | None:
        """The next hop for *domain* (A-labels), or None where no route matches."""
        found = self._find(domain)
        return found[0] if found else None


def domain_of(recipient: str) -> str:
    """The domain of a recipient as the store writes it; empty for ``postmaster``."""
    return recipient.rpartition("@")[2] if "@" in recipient else ""


def _is_own_address(ip: str) -> bool:
    """Whether *ip* belongs to this machine: only then can a socket be bound to it."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((ip, 0))
    except OSError:
        return False
    return True


def _plain(ip: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    address = ipaddress.ip_address(ip.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


class OwnAddresses:
    """Our own listening addresses, so that no connection of the relay ends at a door of ours.

    ``systemd:NAME`` listeners are not known here; the limit on Received fields ends a loop through them.
    """

    def __init__(self, addresses: Iterable[str]) -> None:
        self._paths: set[str] = set()
        self._ports: dict[int, set[str]] = {}
        for address in addresses:
            if address.startswith("unix:"):
                self._paths.add(os.path.realpath(address[5:]))
            elif not address.startswith("systemd:"):
                host, _, port = address.rpartition(":")
                if port.isdecimal():
                    self._ports.setdefault(int(port), set()).add(host.strip("[]"))

    @classmethod
    def of(cls, config: Config) -> OwnAddresses:
        """Those of the config's ``[[listen]]`` tables."""
        return cls(listen.address for listen in config.listen)

    def has_path(self, path: str) -> bool:
        """Whether the unix socket *path* is ours."""
        return os.path.realpath(path) in self._paths

    def has(self, ip: str, port: int) -> bool:
        """Whether a connection to *ip* and *port* would reach a door of ours."""
        hosts = self._ports.get(port)
        if not hosts:
            return False
        wanted = _plain(ip)
        wildcard = False
        for host in hosts:
            try:
                own = _plain(host)
            except ValueError:  # a name, such as localhost
                wildcard = True
                continue
            if own == wanted:
                return True
            wildcard = wildcard or own.is_unspecified
        return wanted.is_unspecified or (wildcard and _is_own_address(str(wanted)))


class Resolver:
    """Addresses of next hops, asked from the system's resolver in a thread, one question a name at a time."""

    def __init__(self, own: OwnAddresses, timeout: float) -> None:
        self._own = own
        self._timeout = timeout
        self._fresh: dict[tuple[str, int], tuple[float, list[str]]] = {}
        self._asking: dict[tuple[str, int], asyncio.Future[list[str]]] = {}

    async def addresses(self, hop: NextHop) -> list[str]:
        """The IP addresses of *hop* that may be tried, at most eight. Raises RouteError: nothing to try now."""
        usable = [ip for ip in await self._look_up(hop) if self._allowed(ip, hop)]
        if not usable:
            raise RouteError(f"the next hop {hop.name} leads back to this gateway or to this machine")
        return usable

    def check_path(self, hop: NextHop) -> None:
        """Raises RouteError where the unix socket of *hop* is a door of ours."""
        if self._own.has_path(hop.path):
            raise RouteError(f"the next hop {hop.name} leads back to this gateway")

    def _allowed(self, ip: str, hop: NextHop) -> bool:
        address = _plain(ip)
        if self._own.has(ip, hop.port) or address.is_unspecified or address.is_multicast:
            return False
        return hop.loopback or not address.is_loopback

    async def _look_up(self, hop: NextHop) -> list[str]:
        try:
            return [str(ipaddress.ip_address(hop.host))]
        except ValueError:
            pass
        loop, key = asyncio.get_running_loop(), (hop.host, hop.port)
        when, known = self._fresh.get(key, (0.0, []))
        if known and loop.time() - when < _FRESH:
            return known
        asking = self._asking.get(key)
        if asking is None:
            # A resolver that hangs keeps one thread a name, however many deliveries wait for it.
            asking = asyncio.ensure_future(self._ask(hop))
            self._asking[key] = asking
            asking.add_done_callback(lambda _: self._asking.pop(key, None))
            asking.add_done_callback(lambda future: None if future.cancelled() else future.exception())
        try:
            return await asyncio.wait_for(asyncio.shield(asking), self._timeout)
        except TimeoutError:
            raise RouteError(f"the name of the next hop {hop.name} was not resolved in time") from None

    async def _ask(self, hop: NextHop) -> list[str]:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(hop.host, hop.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise RouteError(f"the name of the next hop {hop.name} was not resolved") from error
        ips = list(dict.fromkeys(str(entry[4][0]) for entry in found))[:_ADDRESSES]
        if not ips:
            raise RouteError(f"the name of the next hop {hop.name} has no address")
        self._fresh[(hop.host, hop.port)] = (loop.time(), ips)
        return ips

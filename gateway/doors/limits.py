"""What one door process shares out: sessions by address, and the memory of message bodies.

What it is: ``Callers`` counts the sessions and new sessions of each address; ``Budget`` is the byte budget of bodies.
Who calls it: ``doors.smtp``, at each connection and as bodies grow.
Must never: grow with the number of addresses that were ever seen; count for one stranger against another.
The counts are of this process: with N workers the kernel spreads one address's connections over all of them.
Sources: hostile-inputs catalogue S23 and section 4.4; design.md section 2 (``max_inflight``).
"""

from __future__ import annotations

import ipaddress
from collections import deque
from collections.abc import Callable

from gateway.config import Limits

_MINUTE = 60.0
_REMEMBERED = 4096  # addresses whose place in the listed networks is remembered
_ADDRESSES = 50_000  # addresses counted in one minute


class Networks:
    """The IP white-list: ``originators.networks``."""

    __slots__ = ("_known", "_networks")

    def __init__(self, networks: tuple[str, ...]) -> None:
        self._networks = tuple(ipaddress.ip_network(network) for network in networks)
        self._known: dict[str, bool] = {}

    def __contains__(self, ip: str) -> bool:
        known = self._known.get(ip)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            try:
                parsed = ipaddress.ip_address(ip)
            except ValueError:
                return False
            known = any(parsed in network for network in self._networks if network.version == parsed.version)
            self._known[ip] = known
        return known


def plain_ip(ip: str) -> str:
    """*ip* without a zone, and an IPv4 address that came over an IPv6 socket as itself."""
    ip = ip.partition("%")[0]
    if ip.startswith("::ffff:") and "." in ip:
        return ip[7:]
    return ip


def _caller(ip: str) -> str:
    """What counts as one stranger: an IPv4 address, or the /64 of an IPv6 one."""
    if ":" not in ip:
        return ip
    return str(ipaddress.IPv6Address(int(ipaddress.IPv6Address(ip)) >> 64 << 64)) + "/64"


class Callers:
    """Sessions and new sessions a minute, by address."""

    __slots__ = ("_minute", "_recent", "_sessions")

    def __init__(self) -> None:
        self._sessions: dict[str, int] = {}
        self._recent: dict[str, int] = {}
        self._minute = 0.0

    def enter(self, ip: str, listed: bool, limits: Limits, now: float) -> str:
        """Counts a new session. Returns why it may not be, or nothing; *now* in seconds of any monotonic clock.

        A session that may not be is not counted as a session, so call ``leave`` only for the others.
        """
        caller = ip if listed else _caller(ip)
        there = self._sessions.get(caller, 0)
        if listed:
            if there >= limits.connections_listed:
                return "too many sessions of a listed address"
        else:
            if now - self._minute >= _MINUTE or len(self._recent) >= _ADDRESSES:
                self._recent.clear()
                self._minute = now
            recent = self._recent.get(caller, 0) + 1
            self._recent[caller] = recent
            if recent > limits.connections_per_minute:
                return "too many new sessions a minute of one address"
            if there >= limits.connections_per_ip:
                return "too many sessions of one address"
        self._sessions[caller] = there + 1
        return ""

    def leave(self, ip: str, listed: bool) -> None:
        """Forgets a session that ``enter`` let in."""
        caller = ip if listed else _caller(ip)
        there = self._sessions.get(caller, 0)
        if there > 1:
            self._sessions[caller] = there - 1
        else:
            self._sessions.pop(caller, None)


class Budget:
    """Octets of bodies that may be in memory at once. Who must wait is served in order."""

    __slots__ = ("_total", "_used", "_waiting")

    def __init__(self, total: int) -> None:
        self._total = total
        self._used = 0
        self._waiting: deque[tuple[int, Callable[[], None]]] = deque()

    @property
    def used(self) -> int:
        """Octets given out."""
        return self._used

    def take(self, octets: int) -> bool:
        """Takes *octets* if they are there and nobody waits for them."""
        if self._waiting or self._used + octets > self._total:
            return False
        self._used += octets
        return True

    def wait(self, octets: int, granted: Callable[[], None]) -> None:
        """Calls *granted* once *octets* were taken for it."""
        self._waiting.append((octets, granted))

    def stop_waiting(self, granted: Callable[[], None]) -> None:
        """Withdraws a ``wait``."""
        self._waiting = deque(entry for entry in self._waiting if entry[1] != granted)
        self._serve()

    def give(self, octets: int) -> None:
        """Gives *octets* back."""
        self._used -= octets
        if self._waiting:
            self._serve()

    def _serve(self) -> None:
        while self._waiting and self._used + self._waiting[0][0] <= self._total:
            octets, granted = self._waiting.popleft()
            self._used += octets
            granted()

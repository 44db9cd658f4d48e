"""What one door process shares out: sessions by address, and the memory of message bodies.

What it is: ``Callers`` counts the sessions and new sessions of each address; ``Budget`` is the byte budget of bodies. Of both the last
part is kept for whoever has less than a share of it (``gateway.shares`` says who is one owner), so that one client's flood finds an
end before all the others do.
Who calls it: ``doors.door``, at each connection, and the sessions as bodies grow.
Must never: grow with the number of addresses that were ever seen; count for one stranger against another.
The counts are of this process: with N workers the kernel spreads one address's connections over all of them.
Sources: hostile-inputs catalogue S23 and section 4.4; docs/design.md section 2 (``max_inflight``).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from gateway.config import Limits
from gateway.shares import Turns, owner_of

_MINUTE = 60.0
_REMEMBERED = 4096  # addresses whose place in the listed networks is remembered
_ADDRESSES = 50_000  # addresses counted in one minute
_RESERVE = 10
"""Of so many sessions one is kept for whoever has less than a share of them."""
_COMMON_MEMORY = 0.75
"""Of the memory; what is left beyond must hold a few of the largest messages."""


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

    __slots__ = ("_minute", "_owners", "_recent", "_sessions")

    def __init__(self) -> None:
        self._sessions: dict[str, int] = {}
        self._owners: dict[str, int] = {}
        self._recent: dict[str, int] = {}
        self._minute = 0.0

    def enter(self, ip: str, listed: bool, limits: Limits, now: float, there: int = 0) -> str:
        """Counts a new session. Returns why it may not be, or nothing; *now* in seconds of any monotonic clock, *there*: the sessions of
        the whole process.

        A session that may not be is not counted as a session, so call ``leave`` only for the others.
        """
        caller, owner = ip if listed else _caller(ip), owner_of(ip, known=listed)
        its = self._sessions.get(caller, 0)
        if listed:
            if its >= limits.connections_listed:
                return "too many sessions of a listed address"
        else:
            if now - self._minute >= _MINUTE or len(self._recent) >= _ADDRESSES:
                self._recent.clear()
                self._minute = now
            recent = self._recent.get(caller, 0) + 1
            self._recent[caller] = recent
            if recent > limits.connections_per_minute:
                return "too many new sessions a minute of one address"
            if its >= limits.connections_per_ip:
                return "too many sessions of one address"
        if there >= limits.connections - limits.connections // _RESERVE and self._has_its_share(owner, limits.connections):
            return "more than a share of the sessions"
        self._sessions[caller] = its + 1
        self._owners[owner] = self._owners.get(owner, 0) + 1
        return ""

    def _has_its_share(self, owner: str, connections: int) -> bool:
        """Whether *owner* has as much as each would have if one more came."""
        its = self._owners.get(owner, 0)
        return its > 0 and its >= connections / (len(self._owners) + 1)

    def leave(self, ip: str, listed: bool) -> None:
        """Forgets a session that ``enter`` let in."""
        for counts, key in ((self._sessions, ip if listed else _caller(ip)), (self._owners, owner_of(ip, known=listed))):
            there = counts.get(key, 0)
            if there > 1:
                counts[key] = there - 1
            else:
                counts.pop(key, None)


class Budget:
    """Octets of bodies that may be in memory at once.

    All of it may be one owner's mail, but for the last quarter, in which nobody gets more than a share beside one message of the
    *largest* size. Who must wait is served in turn by owner; those over their share wait until that has changed.
    """

    __slots__ = ("_held", "_largest", "_total", "_used", "_waiting")

    def __init__(self, total: int, largest: int = 0) -> None:
        self._total = total
        self._largest = largest or total
        self._used = 0
        self._held: dict[str, int] = {}
        self._waiting: Turns[tuple[int, Callable[[], None]]] = Turns()

    @property
    def used(self) -> int:
        """Octets given out."""
        return self._used

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def crowded(self, owner: str, octets: int) -> bool:
        """Whether others go before a new message of *owner* with *octets*: it holds its share, and there is no more to be had."""
        return not self._may(owner, octets)

    def _may(self, owner: str, octets: int) -> bool:
        """Whether *owner* may have *octets* more as far as its share goes."""
        if self._used + octets <= _COMMON_MEMORY * self._total:
            return True
        held = self._held.get(owner, 0)
        return held + octets <= max(self._largest, self._total / (len(self._held) + (owner not in self._held) + 1))

    def _first(self) -> tuple[str, tuple[int, Callable[[], None]]] | None:
        return self._waiting.next(lambda owner, item: self._may(owner, item[0]))

    def _have(self, owner: str, octets: int) -> None:
        self._used += octets
        self._held[owner] = self._held.get(owner, 0) + octets

    def take(self, octets: int, owner: str = "") -> bool:
        """Takes *octets* for *owner* if they are there and nobody waits for them whose turn it is; nobody overtakes its own."""
        if self._used + octets > self._total or not self._may(owner, octets):
            return False
        if self._waiting and (owner in self._waiting or self._first() is not None):
            return False
        self._have(owner, octets)
        return True

    def wait(self, octets: int, granted: Callable[[], None], owner: str = "") -> None:
        """Calls *granted* once *octets* were taken for it."""
        self._waiting.add(owner, (octets, granted))

    def stop_waiting(self, granted: Callable[[], None]) -> None:
        """Withdraws a ``wait``."""
        self._waiting.drop(lambda item: item[1] == granted)
        self._serve()

    def give(self, octets: int, owner: str = "") -> None:
        """Gives *octets* of *owner* back."""
        self._used -= octets
        left = self._held.get(owner, 0) - octets
        if left > 0:
            self._held[owner] = left
        else:
            self._held.pop(owner, None)
        if self._waiting:
            self._serve()

    def _serve(self) -> None:
        while (first := self._first()) is not None and self._used + first[1][0] <= self._total:
            owner = first[0]
            octets, granted = self._waiting.take(owner)
            self._have(owner, octets)
            granted()

"""How often a sign-in may fail: counted in one place for all door workers.

What it is: ``Window`` (how often something happened within a span, bounded memory) and ``Failures`` (the limits of the config).
Who calls it: ``logins``.
Must never: let a success wipe out what an address did to other logins; lock a login as such (then anybody could lock out its owner
from anywhere); grow without bound.

What counts. A wrong password counts for the login at that address, and, unless it is the very one that this login was shown before,
for the address: one phone with an old password in it says the same thing for ever and learns nothing, while somebody who sprays
has to say something new each time. An address is an IPv4 address or an IPv6 /64. Only the address that failed is put off, so an
attack from many addresses on one login leaves its owner's own address alone.
Sources: RFC 4954 section 4 (454 4.7.0); hostile-inputs catalogue S37.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable, Hashable

from gateway.config import Limits

HOUR = 3600.0
_AT_HOME = 30 * 86400.0  # seconds that a sign-in makes a login known where it came from
_ANSWER = 60.0  # seconds after which an answer will not come any more
_NAMED = 10
"""How much oftener an address that the config names may fail."""
_KEYS = 20_000
"""Keys of one window in memory. The least recently used goes first."""


def network_of(ip: str) -> str:
    """What counts as one address: the IPv4 address, or the /64 of an IPv6 one; anything else as it is."""
    try:
        address = ipaddress.ip_address(ip.partition("%")[0])
    except ValueError:
        return ip[:64]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))
    return str(address)


def neighbourhood_of(ip: str) -> str:
    """Where a login is at home: the /24 of an IPv4 address, the /64 of an IPv6 one; anything else as it is."""
    network = network_of(ip)
    try:
        return str(ipaddress.ip_network(f"{network}/24", strict=False)) if "/" not in network else network
    except ValueError:
        return network


class Window:
    """How often each key was noted within the last *span* seconds, up to *limit* each. *now* never steps."""

    def __init__(self, limit: int, span: float, now: Callable[[], float], *, keys: int = _KEYS) -> None:
        self._limit = limit
        self._span = span
        self._now = now
        self._most = keys
        self._kept: OrderedDict[Hashable, list[float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def count(self, key: Hashable) -> int:
        """How often *key* was noted within the span; at most the limit."""
        times = self._kept.get(key)
        if times is None:
            return 0
        start = self._now() - self._span
        fresh = [time for time in times if time > start]
        if not fresh:
            del self._kept[key]
        elif len(fresh) < len(times):
            self._kept[key] = fresh
        return len(fresh)

    def full(self, key: Hashable) -> bool:
        """Whether *key* has reached the limit."""
        return self.count(key) >= self._limit

    def note(self, key: Hashable) -> None:
        """Counts one more."""
        times = self._kept.setdefault(key, [])
        times.append(self._now())
        if len(times) > self._limit:
            del times[0]
        self._kept.move_to_end(key)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def take_back(self, key: Hashable) -> None:
        """Uncounts the last one."""
        times = self._kept.get(key)
        if times:
            times.pop()
        if not times:
            self._kept.pop(key, None)

    def forget(self, key: Hashable) -> None:
        """Uncounts all of *key*."""
        self._kept.pop(key, None)


class Failures:
    """The limits of failed sign-ins. *now* is a clock in seconds that never steps; *named* says whether the config names an address."""

    def __init__(self, limits: Limits, now: Callable[[], float], named: Callable[[str], bool]) -> None:
        self._of_login = Window(limits.auth_failures_per_login, HOUR, now)
        self._of_address = Window(limits.auth_failures_per_ip, HOUR, now)
        self._of_named = Window(limits.auth_failures_per_ip * _NAMED, HOUR, now)
        self._most = limits.auth_failures_per_login
        self._asked = Window(self._most, _ANSWER, now)
        self._seen = Window(1, HOUR, now)
        self._at_home = Window(1, _AT_HOME, now)
        self._named = named

    def blocked(self, login: str, ip: str) -> str:
        """Why *login* may not be tried from *ip* now, ``address`` or ``login``; empty when it may."""
        network = network_of(ip)
        if self._window(ip).full(network) and not self._at_home.count((login, neighbourhood_of(ip))):
            return "address"
        return "login" if self._of_login.full((login, network)) else ""

    def crowded(self, login: str, ip: str) -> bool:
        """Whether so many sign-ins of *login* from *ip* wait for somebody else's answer that all of them together could pass the limit.

        A login that is at home there may open as many at once as it likes: mail programs do.
        """
        if self._at_home.count((login, neighbourhood_of(ip))):
            return False
        key = (login, network_of(ip))
        return self._asked.count(key) + self._of_login.count(key) >= self._most

    def asked(self, login: str, ip: str) -> None:
        """Counts a sign-in that somebody else is being asked about."""
        self._asked.note((login, network_of(ip)))

    def answered(self, login: str, ip: str) -> None:
        """The answer has come."""
        self._asked.take_back((login, network_of(ip)))

    def failed(self, login: str, ip: str, fingerprint: bytes) -> None:
        """Counts a wrong password; *fingerprint* is a keyed hash of login and password."""
        network = network_of(ip)
        self._of_login.note((login, network))
        if not self._seen.count((network, fingerprint)):
            self._seen.note((network, fingerprint))
            self._window(ip).note(network)

    def succeeded(self, login: str, ip: str) -> None:
        """Forgets the failures of *login* at this address, where it is at home from now on; those of the address stay."""
        self._of_login.forget((login, network_of(ip)))
        self._at_home.note((login, neighbourhood_of(ip)))

    def _window(self, ip: str) -> Window:
        return self._of_named if self._named(ip) else self._of_address

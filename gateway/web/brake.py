"""Slowing down guessing at the page, before the keeper is asked at all.

What it is: ``Brake``.
Who calls it: the pages that take a secret.
Must never: be the only limit: the keeper counts failures by person and address; keep one address out because another one guesses; grow
without bound.
Source: hostile-inputs catalogue W10.
"""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from gateway.web.admission import address_of

_ADDRESSES = 4096
"""Addresses that are remembered; the one that failed longest ago is forgotten first."""


class Brake:
    """At most *most* failures of one address in *period* seconds, then none is tried. *now* is a clock that never steps."""

    def __init__(self, most: int = 20, period: float = 60.0, now: Callable[[], float] = time.monotonic) -> None:
        self._most, self._period, self._now = most, period, now
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def open(self, client: str = "") -> bool:
        """Whether another attempt may be made from *client*."""
        failures = self._failures.get(_network(client))
        return failures is None or len(failures) < self._most or self._now() - failures[0] >= self._period

    def failed(self, client: str = "") -> None:
        """Counts one failure of *client*."""
        network = _network(client)
        failures = self._failures.setdefault(network, deque(maxlen=self._most))
        failures.append(self._now())
        self._failures.move_to_end(network)
        while len(self._failures) > _ADDRESSES:
            self._failures.popitem(last=False)


def _network(client: str) -> str:
    """One IPv4 address, or the 64 bits of IPv6 that one customer has."""
    address = address_of(client)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return "" if address is None else str(address)

"""How often somebody may guess at the sign-in of the review page, and how long he waits after a wrong one.

What it is: ``Guesses``: the limits of ``login_limits`` (of a login at an address, of an address), a wait that doubles with each wrong
try at one address, and a limit for one person from all addresses together that leaves those where he is at home alone.
Who calls it: ``keeper.entry``.
Must never: tell by what it says whether a name exists (names count before anybody looks them up); lock somebody out of the address
where he signs in every day because strangers guess elsewhere; grow without bound.
Sources: hostile-inputs catalogue W10, S37; OWASP authentication (back-off, one answer for every failure).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from gateway.config import Limits
from gateway.signin.login_limits import HOUR, Failures, Window, neighbourhood_of, network_of

_FREE = 3
"""Wrong tries before the first wait."""
_LONGEST_WAIT = 300.0
_EVERYWHERE = 5
"""How much oftener than from one address a person's sign-in may fail from all together."""
_KEYS = 20_000
_AT_HOME = 30 * 86400.0


class Guesses:
    """The limits. *now* is a clock in seconds that never steps; *named* says whether the config names an address."""

    def __init__(self, limits: Limits, now: Callable[[], float], named: Callable[[str], bool]) -> None:
        self._now = now
        self._failures = Failures(limits, now, named)
        self._anywhere = Window(limits.auth_failures_per_login * _EVERYWHERE, HOUR, now)
        self._at_home = Window(1, _AT_HOME, now)
        self._waits: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()

    def blocked(self, name: str, ip: str) -> str:
        """Why *name* may not be tried from *ip* now, one plain sentence; empty when it may."""
        if self._failures.blocked(name, ip):
            return "too many failed sign-ins from your address; please try again in an hour"
        if self._anywhere.full(name) and not self._at_home.count((name, neighbourhood_of(ip))):
            return "too many failed sign-ins with this name; please try again in an hour, or from where you usually sign in"
        wait = self._waits.get((name, network_of(ip)), (0, 0.0))[1] - self._now()
        return f"too many failed sign-ins; please wait {int(wait) + 1} seconds and try again" if wait > 0 else ""

    def failed(self, name: str, ip: str, fingerprint: bytes) -> None:
        """Counts a wrong try; *fingerprint* is a keyed hash of all that was tried."""
        self._failures.failed(name, ip, fingerprint)
        self._anywhere.note(name)
        key = (name, network_of(ip))
        count, end = self._waits.pop(key, (0, 0.0))
        if self._now() - end > HOUR:
            count = 0
        wait = 0.0 if count < _FREE else min(2.0 ** (count - _FREE + 1), _LONGEST_WAIT)
        self._waits[key] = (count + 1, self._now() + wait)
        while len(self._waits) > _KEYS:
            self._waits.popitem(last=False)

    def succeeded(self, name: str, ip: str) -> None:
        """Forgets what *name* got wrong at this address, where it is at home from now on."""
        self._failures.succeeded(name, ip)
        self._at_home.note((name, neighbourhood_of(ip)))
        self._waits.pop((name, network_of(ip)), None)

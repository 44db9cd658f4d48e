"""Which passwords are tried on which locks, in which order, and when it is enough.

What it is: ``Locked`` (a leaf that a secret closes), ``Opened`` (what came of one) and ``Trial``, which keeps account of the tries
of one message over all its rounds.
Who calls it: ``content.walk``, when everything else was read; ``content.keyring`` for the account.
Must never: let the clock decide what is tried (each try counts what its lock says it costs, so that the same message always gets the
same verdict); keep, log or return a password.
Sources: docs/design.md section 10 ("protection.state") (*weak*: its password stands in the same message); hostile-inputs catalogue E05.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.content.joining import failed
from gateway.extraction.base import Budget, Child, KeyLock, Lock, ToolFault
from gateway.protection import PASSWORD_GIVEN

SHARE = 0.4
"""Part of a message's processor time that may go into tries. What is well encrypted is dear to try; the likeliest words come first."""
SHARE_OF_ONE = 0.3
"""And into tries of one lock: two words on an OpenDocument file with Argon2id."""
FIRST = 24
"""The likeliest words, to which all of that is open."""
SHARE_OF_REST = 0.12
"""What may have gone into tries of one lock before one more word is tried. Files that are encrypted as they have to be come every day,
mostly without their password, and each word costs 60 ms on an Office document: so the many unlikely words are for cheap locks."""
CHEAPEST = 0.0002
"""Seconds that a try counts at least."""
_RESERVE = 1.0  # seconds of processor time that are left for reading what opened
_MOST_TRIES = 20_000


@dataclass(slots=True, eq=False)
class Locked:
    """A leaf that a secret closes, and what was tried on it."""

    path: str
    depth: int
    child: Child
    lock: Lock | None
    key_lock: KeyLock | None = None
    tried: set[str] = field(default_factory=set, repr=False)
    spent: float = 0.0
    """Seconds that its tries were said to cost."""

    @property
    def container(self) -> str:
        """What it is a member of."""
        return self.path.rpartition("/")[0]


@dataclass(frozen=True, slots=True)
class Opened:
    """A lock that a password or a key of the message opened (*why*); *fault* when what is behind it cannot be read."""

    locked: Locked
    content: bytes | tuple[Child, ...] = ()
    fault: str = ""
    why: str = PASSWORD_GIVEN


class Trial:
    """The account of one message's tries."""

    __slots__ = ("_credit", "_credit_of_one", "_credit_of_rest", "_fits", "_tries")

    def __init__(self, budget: Budget) -> None:
        self._credit = budget.limits.inspect_cpu * SHARE
        self._credit_of_one = budget.limits.inspect_cpu * SHARE_OF_ONE
        self._credit_of_rest = budget.limits.inspect_cpu * SHARE_OF_REST
        self._tries = _MOST_TRIES
        self._fits: dict[str, None] = {}
        """What opened something is tried first on everything else."""

    def run(self, locked: Sequence[Locked], candidates: Sequence[str], budget: Budget) -> tuple[Opened, ...]:
        """What opens. Raises ToolFault.

        Members of one container mostly have one password. So the cheapest lock of each container is asked for every candidate before
        its second one is asked at all; what opens one is tried on all others at once.
        """
        opened: list[Opened] = []
        waiting = sorted((one for one in locked if one.lock is not None), key=lambda one: one.lock.seconds if one.lock is not None else 0.0)
        for password in tuple(self._fits):
            waiting = self._on_all(waiting, password, budget, opened)
        tier: dict[str, int] = {}
        ranked: list[tuple[int, Locked]] = []
        for one in waiting:
            # Parts of the message itself have nothing in common.
            place = one.container or one.path
            tier[place] = tier.get(place, -1) + 1
            ranked.append((tier[place], one))
        for _, group in itertools.groupby(sorted(ranked, key=lambda pair: pair[0]), key=lambda pair: pair[0]):
            members = [one for _, one in group]
            for password in candidates:
                for one in members:
                    if one in waiting and self._try(one, password, budget, opened):
                        waiting.remove(one)
                        self._fits.setdefault(password)
                        waiting = self._on_all(waiting, password, budget, opened)
        return tuple(opened)

    def afford(self, seconds: float, spent: float, tried: int, budget: Budget) -> bool:
        """Whether one more try, of *seconds*, may be made on something on which *tried* words *spent* so many already; it is then
        accounted for.
        """
        cost = max(seconds, CHEAPEST)
        most = self._credit_of_one if tried < FIRST else self._credit_of_rest
        if cost > self._credit or spent + cost > most or not self._tries:
            return False
        if budget.seconds_left < cost + _RESERVE:
            return False  # a machine so slow that the account does not hold: the limit of time does
        self._credit -= cost
        self._tries -= 1
        return True

    def _on_all(self, waiting: list[Locked], password: str, budget: Budget, opened: list[Opened]) -> list[Locked]:
        return [one for one in waiting if not self._try(one, password, budget, opened)]

    def _try(self, one: Locked, password: str, budget: Budget, opened: list[Opened]) -> bool:
        """Whether *password* fits on *one*, which then stands in *opened*. Too dear a try is none."""
        if one.lock is None or password in one.tried or not self.afford(one.lock.seconds, one.spent, len(one.tried), budget):
            return False
        one.tried.add(password)
        one.spent += max(one.lock.seconds, CHEAPEST)
        try:
            content = one.lock.open(password, budget)
        except ToolFault:
            raise
        except Exception as error:
            opened.append(Opened(one, (), failed(error).reason))
            return True
        if content is None:
            return False
        opened.append(Opened(one, content))
        return True

"""When a delivery is tried again, and how old it is, whatever the clock says.

What it is: the back-off table, the age of a delivery, and the detection of clock steps.
Who calls it: ``outcomes`` and ``relay``.
Must never: give mail up because the wall clock jumped.

The rule of age. A delivery's age is the smaller of two figures: the wall clock since it was accepted, and the time that the
schedule itself has waited for the attempts that were made (their number is durable). The first alone would bounce the whole queue
after a step of the clock by a year; the second alone would age mail that an operator retries by hand. A wall clock before the
acceptance says nothing, then the second figure counts alone. So five days means five days of trying: time in which the gateway
was switched off does not count. A step back would leave deliveries due in a far future: the relay finds those and brings them near.

The table is made so that one attempt falls exactly on each limit (4 h, 5 d; for mail that needs an AES-256 hop also 1 h and 24 h).

Sources: RFC 5321 section 4.5.4.1; hostile-inputs catalogue P22, O15, 4.4.
"""

from __future__ import annotations

from typing import Protocol

from gateway.config import Limits
from gateway.stores.base import DeliveryRow

STEP = 60.0
"""Seconds by which wall clock and monotonic clock may drift apart between two looks before it is a step."""


class Clock(Protocol):
    """Two clocks; the module ``time`` is one."""

    def time(self) -> float:
        """Seconds since the epoch, UTC."""

    def monotonic(self) -> float:
        """Seconds of this process that never step."""


class Schedule:
    """Nominal ages at which attempts are made: 0, 300, 900, 2100, 4500, 8500 … seconds with the default limits."""

    def __init__(self, limits: Limits, *, protected: bool) -> None:
        stops = [limits.delay_warning, limits.lifetime]
        if protected:
            stops += [limits.unprotected_warning, limits.unprotected_lifetime]
        self._stops = sorted(set(stops))
        self._first = max(limits.retry_first, 0.001)
        self._longest = max(limits.retry_max, self._first)
        self._ages = [0.0]

    def nominal(self, attempts: int) -> float:
        """The age at which attempt number *attempts* (from 0) falls."""
        ages = self._ages
        while len(ages) <= attempts:
            age = ages[-1]
            following = age + min(self._first * 2 ** min(len(ages) - 1, 30), self._longest)
            stop = next((stop for stop in self._stops if age < stop), following)
            ages.append(min(following, stop))
        return ages[attempts]

    def wait(self, attempts: int) -> float:
        """Seconds from attempt number *attempts* (from 0), which failed, to the next."""
        return self.nominal(attempts + 1) - self.nominal(attempts)

    def age(self, row: DeliveryRow, now: float) -> float:
        """The age of *row* in seconds at its attempt number ``row.attempts`` (from 0): see the rule above."""
        nominal, wall = self.nominal(row.attempts), now - row.created
        return nominal if wall < 0 else min(nominal, wall)


class Schedules:
    """The two tables: of ordinary mail, and of mail that needs an AES-256 hop."""

    def __init__(self, limits: Limits) -> None:
        self._plain = Schedule(limits, protected=False)
        self._protected = Schedule(limits, protected=True)

    def of(self, row: DeliveryRow) -> Schedule:
        """The table that *row* follows."""
        return self._protected if row.require_aes256 else self._plain


class StepDetector:
    """Sees steps of the wall clock by holding it against the monotonic one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset = clock.time() - clock.monotonic()

    def stepped(self) -> float:
        """Seconds by which the wall clock has stepped since the last call; 0 when it did not."""
        offset = self._clock.time() - self._clock.monotonic()
        step, self._offset = offset - self._offset, offset
        return step if abs(step) > STEP else 0.0

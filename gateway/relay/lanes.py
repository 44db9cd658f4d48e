"""Everything about one next hop: its queue, its connections, and what happens while it is away.

What it is: ``Breaker``, which spares a dead hop and our queue, and ``Lane``, which remembers what waits for the hop to come back.
Who calls it: the relay; the call-out uses the breaker.
Must never: try ten thousand deliveries one by one against a dead hop; forget that a hop is back.
Sources: RFC 5321 section 4.5.4.1 ("queuing strategies"); hostile-inputs catalogue O04, O19.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Sequence

from gateway import logs
from gateway.relay.hop_protocol import Fault, HopError
from gateway.relay.jobs import Job
from gateway.relay.pool import Pool
from gateway.stores.base import DeliveryRow

_PARKED = 10_000  # deliveries of one hop that are brought forward when it is back

_log = logs.get("relay")


class Breaker:
    """Open after the hop could not be reached, or broke off several times in a row; says when to probe again."""

    _FIRST, _LONGEST, _BROKEN_OFF = 5.0, 60.0, 5

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._wait = 0.0
        self._until = 0.0
        self._lost = 0
        self.error: HopError | None = None

    @property
    def open(self) -> bool:
        """Whether no delivery may be tried now."""
        return self.error is not None and self._now() < self._until

    @property
    def left(self) -> float:
        """Seconds until the next probe."""
        return max(0.0, self._until - self._now())

    def failed(self, error: HopError) -> None:
        """Counts *error*; opens when it says that nobody gets through."""
        if error.fault is Fault.LOST:
            self._lost += 1
            if self._lost < self._BROKEN_OFF:
                return
        self._wait = min(max(self._wait * 2, self._FIRST), self._LONGEST)
        self._until = self._now() + self._wait
        self.error = error

    def allow(self) -> None:
        """The next delivery may be tried, whatever happened before."""
        self._until = self._now()

    def worked(self) -> bool:
        """Closes; returns whether it was open."""
        was = self.error is not None
        self._wait, self._lost, self.error = 0.0, 0, None
        return was


class Lane:
    """The queue, the pool and the breakers of one hop; mail that needs an AES-256 hop (True) has its own breaker."""

    def __init__(self, pool: Pool, now: Callable[[], float]) -> None:
        self.pool = pool
        self.breakers = {False: Breaker(now), True: Breaker(now)}
        self.jobs: deque[Job] = deque()
        self.workers = 0
        self.probing: set[bool] = set()
        self.served = 0.0
        """When the hop last answered for a message (seconds since the epoch), and how it was reached then."""
        self.way = ""
        self._parked: dict[bool, dict[str, None]] = {False: {}, True: {}}

    def without(self, mine: Collection[str]) -> list[Job]:
        """Takes out the jobs of which a delivery is not among *mine* (ids); returns them."""
        jobs = list(self.jobs)
        kept = [all(row.id in mine for row in job.rows) for job in jobs]
        self.jobs = deque(job for job, keep in zip(jobs, kept, strict=True) if keep)
        return [job for job, keep in zip(jobs, kept, strict=True) if not keep]

    def park(self, rows: Sequence[DeliveryRow], protected: bool) -> None:
        """Remembers *rows*, which were deferred because the hop is away."""
        parked = self._parked[protected]
        for row in rows:
            if len(parked) < _PARKED:
                parked[row.id] = None

    def parked(self, protected: bool) -> bool:
        """Whether anything waits for the hop to come back."""
        return bool(self._parked[protected])

    def unparked(self, protected: bool) -> list[str]:
        """The ids that were parked; they are parked no more."""
        parked = list(self._parked[protected])
        self._parked[protected].clear()
        return parked

    async def watch(self, protected: bool) -> bool:
        """Asks a hop that was away, at growing intervals, until it is back (True) or nothing waits for it any more (False)."""
        breaker = self.breakers[protected]
        self.probing.add(protected)
        _log.warning("the next hop is away", hop=self.pool.hop.name, reply=str(breaker.error.reply) if breaker.error else "")
        try:
            while self._parked[protected]:
                await asyncio.sleep(max(0.01, breaker.left))
                try:
                    connection = await self.pool.acquire(protected, fresh=True)
                except HopError as error:
                    breaker.failed(error)
                    continue
                self.pool.release(connection, protected)
                breaker.worked()
                _log.info("the next hop is back", hop=self.pool.hop.name)
                return True
        finally:
            self.probing.discard(protected)
        return False

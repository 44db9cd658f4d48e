"""Door workers with the same config and rules, as their parent sees them.

What it is: ``Worker``, one place for a process, and ``Generation``, which knows whose sockets nobody attends to at a moment.
Who calls it: ``doors.workers``.
Must never: start or end a process.
Source: docs/design.md section 2.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from gateway.config import Config
from gateway.policy import Policy

QUICK = 5.0
"""Seconds of life below which a death counts towards a crash loop."""
SILENT = 6.0
"""Seconds without a sign of life after which others attend to its sockets as well; it is no fault yet."""


@dataclass(slots=True)
class Worker:
    """One place for a worker; *number* stays the same through all its processes."""

    number: int
    pid: int = 0
    pipe: int = -1
    """Where its signs of life arrive."""
    ready: bool = False
    heard: float = 0.0
    """When it last gave one, in seconds of the monotonic clock as all times here."""
    started: float = 0.0
    due: float = 0.0
    """When it may start again."""
    quick_deaths: int = 0
    draining: bool = False
    former: bool = False
    """Another process was here before."""
    told: frozenset[int] = frozenset()
    """The vacant places that it knows of."""

    def away(self, now: float) -> bool:
        """Whether its sockets are nobody's, or may soon be again: it is not there (any more), is silent, or has just come back from one
        of several quick deaths. One that starts for the first time is waited for."""
        if not self.pid or not self.ready:
            return self.former
        return now - self.heard > SILENT or (self.quick_deaths > 0 and now - self.started < QUICK)


@dataclass(slots=True)
class Generation:
    """Workers with the same config and rules."""

    config: Config
    rules: Policy
    addresses: tuple[str, ...]
    """Where it listens."""
    born: float = field(default_factory=time.monotonic)
    workers: list[Worker] = field(init=False)

    def __post_init__(self) -> None:
        self.workers = [Worker(number) for number in range(self.config.workers)]

    @property
    def living(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.pid]

    def vacant(self, now: float) -> frozenset[int]:
        """The places whose sockets the other workers attend to."""
        return frozenset(worker.number for worker in self.workers if worker.away(now))

    @property
    def ready(self) -> bool:
        return all(worker.pid and worker.ready for worker in self.workers)

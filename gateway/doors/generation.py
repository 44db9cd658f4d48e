"""Door workers with the same config and rules, as their parent sees them.

What it is: ``Worker``, one place for a process, and ``Generation``.
Who calls it: ``doors.workers``.
Must never: start or end a process.
Source: design.md section 2.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from gateway.config import Config
from gateway.policy import Policy


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


@dataclass(slots=True)
class Generation:
    """Workers with the same config and rules."""

    config: Config
    rules: Policy
    addresses: tuple[str, ...]
    """Where it listens."""
    opened: tuple[str, ...]
    """Those of them that were bound for it."""
    born: float = field(default_factory=time.monotonic)
    workers: list[Worker] = field(init=False)

    def __post_init__(self) -> None:
        self.workers = [Worker(number) for number in range(self.config.workers)]

    @property
    def living(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.pid]

    @property
    def ready(self) -> bool:
        return all(worker.pid and worker.ready for worker in self.workers)

"""Whether new mail should come to this node: no, a while before it would be answered 4xx.

What it is: ``Readiness``: store, queue, disk and sessions against their limits, as one plain reason.
Who calls it: ``service`` for Health (the web's /readyz), ``metrics`` for ``gateway_ready``.
Must never: say yes while a commit would be refused.
Sources: design.md section 9 (a load balancer in front of equal nodes); hostile-inputs catalogue 4.4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from gateway.config import Config
from gateway.keeper.act import free_octets
from gateway.requests import Sample

_EARLY = 0.9
"""Of a limit: where the node says no, so that a balancer has turned away before clients see 452 or 421."""


class Writable(Protocol):
    """What is needed of the store here."""

    @property
    def degraded(self) -> str: ...
    @property
    def counters(self) -> dict[str, int]: ...


def full_at(config: Config) -> int:
    """Free octets on the disk at which mail gets 452."""
    return config.limits.free_disk + 3 * config.max_message_size


class Readiness:
    """Asks *store*, the disk and what the doors have reported; *stopping* says whether the keeper is about to end."""

    def __init__(self, config: Config, store: Writable, stopping: Callable[[], bool]) -> None:
        self._config = config
        self._store = store
        self._stopping = stopping
        self._doors: dict[str, tuple[float, float, float, float]] = {}

    @property
    def degraded(self) -> str:
        """Why the store cannot be written; empty when it can."""
        return self._store.degraded

    def sessions(self, process: str, gauges: Iterable[Sample]) -> None:
        """Takes note of the open sessions and the memory of one door process."""
        found = {sample.name: sample.value for sample in gauges}
        if found.get("gateway_sessions_limit", 0.0) > 0:
            self._doors[process] = (
                found.get("gateway_sessions", 0.0), found["gateway_sessions_limit"], found.get("gateway_memory_bytes", 0.0),
                found.get("gateway_memory_limit_bytes", 0.0),
            )  # fmt: skip

    def gone(self, process: str) -> None:
        """That process has ended."""
        self._doors.pop(process, None)

    def lacks(self) -> str:
        """Why no new mail should come now, in a few words without private ones; empty when it may."""
        limits = self._config.limits
        if self._stopping():
            return "the gateway is stopping"
        if self._store.degraded:
            return "the store cannot be written"
        if self._store.counters["open_deliveries"] >= _EARLY * limits.queue_messages:
            return "the queue is nearly full"
        if free_octets(self._config) < full_at(self._config) + 3 * self._config.max_message_size:
            return "the disk is nearly full"
        # One process that has room takes what the kernel gives it: the node is full when all of them are.
        if self._doors and all(open_ >= _EARLY * most for open_, most, _, __ in self._doors.values()):
            return "nearly all sessions are taken"
        if self._doors and all(limit and used >= _EARLY * limit for _, __, used, limit in self._doors.values()):
            return "the memory for messages is nearly full"
        return ""

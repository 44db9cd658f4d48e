"""Whether new mail should come to this node: no, a while before it would be answered 4xx; and what there is room for.

What it is: ``Readiness``: store, queue, disk, sessions, memory and inspection against their limits, as one plain reason; ``room``, what
doors tell new mail before its text. What was left is entered again at a distance, so that a node at its edge does not flutter.
Who calls it: ``service`` for Health (the web's /readyz) and for the doors' reports, ``metrics`` for ``gateway_ready``.
Must never: say yes while a commit would be refused.
Sources: docs/design.md section 9 (a load balancer in front of equal nodes); hostile-inputs catalogue 4.4, O01, O19.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from gateway.config import Config
from gateway.keeper.act import free_octets
from gateway.requests import Room, Sample
from gateway.shares import AGAIN, NEARLY, SLOW, WAITS

_TAKEN_AGAIN = 0.95
"""Of limits.queue_messages: where a queue that was full takes mail again."""
_NEAR, _FAR = 3, 6
"""Messages of the largest size above the reserve of the disk: where the node is not ready, and is again."""


class Writable(Protocol):
    """What is needed of the store here."""

    @property
    def degraded(self) -> str: ...
    @property
    def counters(self) -> dict[str, int]: ...


@dataclass(frozen=True, slots=True)
class _DoorState:
    """What a door process last reported, each as a share of its limit."""

    sessions: float
    memory: float
    inspection: float
    commit: float


def full_at(config: Config) -> int:
    """Free octets on the disk at which mail gets 452."""
    return config.limits.free_disk + 3 * config.max_message_size


class Readiness:
    """Asks *store*, the disk and what the doors have reported; *stopping* says whether the keeper is about to end."""

    def __init__(self, config: Config, store: Writable, stopping: Callable[[], bool]) -> None:
        self._config = config
        self._store = store
        self._stopping = stopping
        self._doors: dict[str, _DoorState] = {}
        self._lacking: set[str] = set()
        """What was over its edge when it was last looked at."""

    @property
    def degraded(self) -> str:
        """Why the store cannot be written; empty when it can."""
        return self._store.degraded

    def sessions(self, process: str, gauges: Iterable[Sample]) -> None:
        """Takes note of the open sessions, the memory and the waits of one door process."""
        found = {sample.name: sample.value for sample in gauges}
        limits = self._config.limits
        if most := max(0.0, found.get("gateway_sessions_limit", 0.0)):
            memory = found.get("gateway_memory_limit_bytes", 0.0)
            self._doors[process] = _DoorState(
                found.get("gateway_sessions", 0.0) / most,
                found.get("gateway_memory_bytes", 0.0) / memory if memory > 0 else 0.0,
                found.get("gateway_inspection_wait_seconds", 0.0) / limits.pipeline if limits.pipeline else 0.0,
                found.get("gateway_commit_age_seconds", 0.0) / SLOW,
            )

    def gone(self, process: str) -> None:
        """That process has ended."""
        self._doors.pop(process, None)

    def lacks(self) -> str:
        """Why no new mail should come now, in a few words without private ones; empty when it may."""
        if self._stopping():
            return "the gateway is stopping"
        if self._store.degraded:
            return "the store cannot be written"
        doors = self._doors.values()
        # One process that has room takes what the kernel gives it: the node is full when all of them are. Store and inspector are the
        # same for all of them.
        reasons = (
            ("the queue is nearly full", self._over("queue", self._queue())),
            ("the disk is nearly full", self._disk_over("disk", _NEAR, _FAR)),
            ("nearly all sessions are taken", self._over("sessions", min((one.sessions for one in doors), default=0.0))),
            ("the memory for messages is nearly full", self._over("memory", min((one.memory for one in doors), default=0.0))),
            ("inspection is far behind", self._over("inspection", min((one.inspection for one in doors), default=0.0), WAITS, WAITS / 2)),
            ("the store is slow", self._over("commit", max((one.commit for one in doors), default=0.0), 0.5, 0.25)),
        )
        return next((reason for reason, over in reasons if over), "")

    def room(self) -> Room:
        """What a door tells new mail before its text."""
        octets = max(0, free_octets(self._config) - self._config.limits.free_disk)
        if self._over("room", self._queue(), 1.0, _TAKEN_AGAIN):
            return Room("queue", octets)
        return Room("disk" if self._disk_over("room on disk", 0, 1) else "", octets)

    def _queue(self) -> float:
        return self._store.counters["open_deliveries"] / max(1, self._config.limits.queue_messages)

    def _disk_over(self, what: str, near: int, far: int) -> bool:
        """Whether fewer than *near* messages above the reserve are free, or fewer than *far* where it was so before."""
        above = (free_octets(self._config) - full_at(self._config)) / max(1, self._config.max_message_size)
        return self._note(what, above < (far if what in self._lacking else near))

    def _over(self, what: str, share: float, edge: float = NEARLY, again: float = AGAIN) -> bool:
        """Whether *share* is over the *edge*, or not yet below *again*."""
        return self._note(what, share >= (again if what in self._lacking else edge))

    def _note(self, what: str, over: bool) -> bool:
        (self._lacking.add if over else self._lacking.discard)(what)
        return over

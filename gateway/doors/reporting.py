"""What a door process tells the keeper about itself, every few seconds.

What it is: ``Reporting``: the counts of door and pipeline under the names of ``gateway.metrics``, the state of this moment, and the
sending of both.
Who calls it: ``doors.service``, one a process.
Must never: be waited for by a session; lose a count because the keeper was away.
Source: Prometheus, "Metric and label naming".
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway import logs
from gateway.counting import EVERY, Counts, Report
from gateway.doors.door import SHED, Door
from gateway.doors.peers import KeeperLink
from gateway.shares import NEARLY, SLOW, WAITS

_LOOK = 0.25  # seconds between two looks at what is full
_ENDED = "closed: "
_TURNED_AWAY = "address not listed"
_NAMES: dict[str, tuple[str, ...]] = {
    "accepted": ("gateway_messages_total", "accepted"),
    "deferred": ("gateway_messages_total", "deferred"),
    "refused": ("gateway_messages_total", "refused"),
    "tls_failures": ("gateway_tls_failures_total",),
    "no_memory": ("gateway_memory_waits_total",),
    "faults": ("gateway_faults_total", "doors"),
}
_OF_THE_KEEPER = frozenset({"refusals", "logins", "logins refused", "logins not checked"})  # it counts them itself
Samples = dict[tuple[str, ...], float]


def named(counters: dict[str, int]) -> Samples:
    """What ``Door.count`` has counted, under the names of metrics; what has no name of its own is a connection that was refused."""
    samples: Samples = {}
    for what, count in counters.items():
        if what in _OF_THE_KEEPER:
            continue
        key = _NAMES.get(what)
        if key is None and what.startswith(SHED):
            key = ("gateway_shed_total", what.removeprefix(SHED))
        if key is None and what.startswith(_ENDED) and what != _ENDED + _TURNED_AWAY:
            key = ("gateway_sessions_ended_total", what.removeprefix(_ENDED))
        key = key or ("gateway_connections_refused_total", what.removeprefix(_ENDED))
        samples[key] = float(count)
    return samples


class Reporting:
    """The reports of door process *worker*. *rules_version* and *not_after* (of the certificate, 0 without) are asked each time."""

    def __init__(
        self, door: Door, keeper: KeeperLink, counts: Counts, worker: int, sink: logs.Sink, rules_version: Callable[[], str],
        not_after: Callable[[], float],
    ) -> None:  # fmt: skip
        self._door = door
        self._keeper = keeper
        self._sink = sink
        self._rules_version = rules_version
        self._not_after = not_after
        self._report = Report("doors", worker, counts)

    async def run(self) -> None:
        """Sends a report now and every 5 s, until it is cancelled; at once when this process becomes full, or is so no longer: a balancer
        is to hear of it before clients do."""
        while True:
            full, left = self._full(), EVERY
            await self.send()
            while left > 0 and self._full() == full:
                await asyncio.sleep(_LOOK)
                left -= _LOOK

    def _full(self) -> tuple[bool, ...]:
        """What of this process is nearly full, as the keeper will judge."""
        limits, door = self._door.settings.config.limits, self._door
        return (
            len(door.sessions) >= NEARLY * limits.connections, door.budget.used >= NEARLY * limits.max_inflight,
            door.pressure.inspection_wait >= WAITS * limits.pipeline, door.pressure.commit_age >= SLOW / 2,
        )  # fmt: skip

    async def send(self) -> None:
        """Sends one report; what the keeper does not take comes with the next."""
        if await self._keeper.report(self._report.make(self._state(), self._counted())):
            self._report.taken()

    def _counted(self) -> Samples:
        return named(self._door.counters) | {
            ("gateway_sessions_total",): float(self._door.opened),
            ("gateway_lost_records_total", "refusal"): float(self._keeper.lost_records),
            ("gateway_log_lines_dropped_total", "doors"): float(self._sink.dropped),
        }

    def _state(self) -> Samples:
        limits = self._door.settings.config.limits
        samples: Samples = {
            ("gateway_sessions",): float(len(self._door.sessions)),
            ("gateway_sessions_limit",): float(limits.connections),
            ("gateway_memory_bytes", "doors"): float(self._door.budget.used),
            ("gateway_memory_limit_bytes", "doors"): float(limits.max_inflight),
            ("gateway_inspection_wait_seconds",): self._door.pressure.inspection_wait,
            ("gateway_commit_age_seconds",): self._door.pressure.commit_age,
            ("gateway_rules_info", "doors", self._rules_version()): 1.0,
        }
        if ends := self._not_after():
            samples["gateway_certificate_expiry_timestamp_seconds", "tls"] = ends
        return samples

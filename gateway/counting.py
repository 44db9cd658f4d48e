"""What a process counts and times while it works: plain numbers in memory, and what of them is new since the last report.

What it is: ``Counts`` (counters and timings of one process), ``Histogram``, and ``Report``, which makes ``requests.Counters`` of what
was added since the keeper took the last one.
Who calls it: doors, web and keeper as they work; ``doors.reporting`` and ``web.reporting`` send the reports; the stores' writers time
their transactions.
Must never: wait, allocate a message's worth, or hold an address: labels are few and known; what comes beyond ``SERIES`` different
label sets of one metric is counted under ``other``.
Source: Prometheus, "Metric types" and "Writing exporters" (bounded labels, base units).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from gateway.envelope import new_id
from gateway.metrics import BOUNDS, FAMILIES, OTHER
from gateway.requests import Counters, Sample, Timing

SERIES = 300
"""Different label sets of one metric in one process."""
EVERY = 5.0
"""Seconds between two reports of a process."""


class Histogram:
    """How many observations lie in each bucket, and their sum. Not for two threads at once."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """Of each bucket alone (not cumulative); the last is for what is above every bound."""
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Takes note of *value*, in the unit of the bounds."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Counts:
    """Counters and timings since the start of a process; they only grow."""

    __slots__ = ("_counters", "_sizes", "_timings")

    def __init__(self) -> None:
        self._counters: dict[tuple[str, ...], float] = {}
        self._timings: dict[tuple[str, ...], Histogram] = {}
        self._sizes: dict[str, int] = {}

    def add(self, name: str, *labels: str, by: float = 1.0) -> None:
        """Adds *by* to the counter *name* with *labels*, in the order that ``metrics.FAMILIES`` has them."""
        key = (name, *labels)
        try:
            self._counters[key] += by
        except KeyError:
            key = self._bounded(key)
            self._counters[key] = self._counters.get(key, 0.0) + by

    def timing(self, name: str, *labels: str) -> Histogram:
        """The histogram *name* with *labels*; keep it where it is needed for each message."""
        key = (name, *labels)
        found = self._timings.get(key)
        if found is None:
            found = self._timings[key] = Histogram(BOUNDS[name])
        return found

    def value(self, name: str, *labels: str) -> float:
        """The counter as it stands."""
        return self._counters.get((name, *labels), 0.0)

    def _bounded(self, key: tuple[str, ...]) -> tuple[str, ...]:
        name = key[0]
        size = self._sizes.get(name, 0)
        if size >= SERIES:
            return (name, *([OTHER] * (len(key) - 1)))
        self._sizes[name] = size + 1
        return key

    def counters(self) -> dict[tuple[str, ...], float]:
        """A copy of all counters: name and labels to value."""
        return dict(self._counters)

    def timings(self) -> dict[tuple[str, ...], tuple[tuple[int, ...], float]]:
        """A copy of all timings: name and labels to counts and sum."""
        return {key: (tuple(one.counts), one.sum) for key, one in self._timings.items()}

    def take(self, counters: Iterable[Sample], timings: Iterable[Timing]) -> None:
        """Adds what another process has reported; what is none of ``metrics.FAMILIES`` is left out."""
        for sample in counters:
            family = FAMILIES.get(sample.name)
            if family is not None and family.kind == "counter" and len(sample.labels) == len(family.labels) and 0 < sample.value < 1e15:
                self.add(sample.name, *(label[:80] for label in sample.labels), by=sample.value)
        for timing in timings:
            family = FAMILIES.get(timing.name)
            if family is None or len(timing.labels) != len(family.labels) or len(timing.counts) != len(BOUNDS.get(timing.name, ())) + 1:
                continue
            if min(timing.counts) < 0 or not 0 <= timing.sum < 1e15:
                continue
            key = (timing.name, *(label[:80] for label in timing.labels))
            mine = self.timing(*(key if key in self._timings else self._bounded(key)))
            for place, count in enumerate(timing.counts):
                mine.counts[place] += count
            mine.sum += timing.sum


class Report:
    """The reports of one process: each holds what is new since the last that the keeper took."""

    def __init__(self, kind: str, worker: int, counts: Counts) -> None:
        self._kind = kind
        self._worker = worker
        self._counts = counts
        self._process = new_id()
        self._number = 0
        self._open: Counters | None = None
        self._counters: dict[tuple[str, ...], float] = {}
        self._timings: dict[tuple[str, ...], tuple[tuple[int, ...], float]] = {}
        self._next = (self._counters, self._timings)

    def make(self, gauges: Mapping[tuple[str, ...], float], more: Mapping[tuple[str, ...], float] | None = None) -> Counters:
        """The next report; *gauges* are as they are now, *more* are counters that are kept elsewhere.

        A report that was not taken comes again under its number with what it held, so that one of which only the answer was lost
        is not counted twice.
        """
        state = tuple(Sample(key[0], key[1:], value) for key, value in gauges.items())
        if self._open is not None:
            return replace(self._open, gauges=state)
        counters = self._counts.counters() | dict(more or {})
        timings = self._counts.timings()
        self._next = (counters, timings)
        self._number += 1
        self._open = Counters(
            self._kind, self._worker, self._process, self._number,
            tuple(
                Sample(key[0], key[1:], value - self._counters.get(key, 0.0))
                for key, value in counters.items()
                if value > self._counters.get(key, 0.0)
            ),
            state,
            tuple(new for key, now in timings.items() if sum((new := _since(key, now, self._timings.get(key))).counts)),
        )  # fmt: skip
        return self._open

    def taken(self) -> None:
        """The keeper has the last report."""
        self._open = None
        self._counters, self._timings = self._next


def _since(key: tuple[str, ...], now: tuple[tuple[int, ...], float], before: tuple[tuple[int, ...], float] | None) -> Timing:
    if before is None:
        return Timing(key[0], key[1:], now[0], now[1])
    counts = tuple(a - b for a, b in zip(now[0], before[0], strict=True))
    return Timing(key[0], key[1:], counts, max(0.0, now[1] - before[1]))

"""What a process has counted, as it tells the keeper.

What it is: ``Counters``, a request of ``requests``, and the values in it.
Who calls it: ``counting``, which fills it; ``requests``, from which everybody else takes it.
Must never: carry what a person wrote; labels are the few words of ``metrics.FAMILIES``.
Source: docs/design.md section 2.
"""

from __future__ import annotations

import msgspec


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """One value of a metric: its name and its labels in the order of ``metrics.FAMILIES``."""

    name: str
    labels: tuple[str, ...]
    value: float


class Timing(msgspec.Struct, frozen=True, array_like=True):
    """What was added to a histogram: how many in each bucket alone, and the sum of the observations."""

    name: str
    labels: tuple[str, ...]
    counts: tuple[int, ...]
    sum: float


class Counters(msgspec.Struct, frozen=True, tag=True):
    """What a process has counted and timed since the last report that was taken; the keeper adds it up for ``GetMetrics``.

    A report whose answer did not come is sent again under its *number* and with the same counters and timings.
    """

    kind: str
    """doors or web."""
    worker: int
    process: str = ""
    """Different in each process that ever reported."""
    number: int = 0
    counters: tuple[Sample, ...] = ()
    gauges: tuple[Sample, ...] = ()
    """As they are now: each report replaces those of the one before."""
    timings: tuple[Timing, ...] = ()

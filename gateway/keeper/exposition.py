"""The Prometheus text of samples and timings.

What it is: ``write``, through a registry of its own of the prometheus-client library.
Who calls it: ``metrics``, in a thread.
Must never: use the library's global registry; be imported with the library at the start (it takes 5 MB, and many nodes are never scraped).
Source: Prometheus, "Text-based format 0.0.4".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from gateway.metrics import BOUNDS, FAMILIES, Family

if TYPE_CHECKING:
    from prometheus_client import Metric

Samples = Mapping[tuple[str, ...], float]
Timings = Mapping[tuple[str, ...], tuple[tuple[int, ...], float]]


class _Snapshot:
    """A collector of what was counted before."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """The families as they are."""
        return iter(self._families)


def write(samples: Samples, timings: Timings) -> str:
    """The text; every family of ``metrics.FAMILIES`` is in it with its help, whether it has a sample or not."""
    from prometheus_client import CollectorRegistry, generate_latest

    by_name: dict[str, list[tuple[tuple[str, ...], float]]] = {}
    for key, value in samples.items():
        by_name.setdefault(key[0], []).append((key[1:], value))
    families = [_family(family, sorted(by_name.get(family.name, ())), timings) for family in FAMILIES.values()]
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(families))
    return generate_latest(registry).decode("utf-8")


def _family(family: Family, samples: list[tuple[tuple[str, ...], float]], timings: Timings) -> Metric:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    if family.kind == "histogram":
        histogram = HistogramMetricFamily(family.name, family.help, labels=family.labels)
        for key, (counts, total) in sorted(timings.items()):
            if key[0] == family.name:
                histogram.add_metric(key[1:], _cumulative(BOUNDS[family.name], counts), total)
        return histogram
    made: Any = (CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily)(family.name, family.help, labels=family.labels)
    for labels, value in samples:
        made.add_metric(labels, value)
    metric: Metric = made
    return metric


def _cumulative(bounds: tuple[float, ...], counts: tuple[int, ...]) -> list[tuple[str, float]]:
    out, sum_ = [], 0
    for bound, count in zip((*bounds, float("inf")), counts, strict=True):
        sum_ += count
        out.append(("+Inf" if bound == float("inf") else str(bound), float(sum_)))
    return out

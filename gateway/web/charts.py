"""The geometry of charts that are drawn on the server: where each bar stands, in the units of an SVG's view box.

What it is: pure functions: ``stacked`` (bars over time, in layers) and ``shares`` (one bar a row). The templates write the elements.
Who calls it: ``dashboard_pages``.
Must never: return markup; divide by nothing; draw more columns than a screen has room for.
Sources: SVG 1.1 section 7.7 (viewBox); WCAG 2.1, 1.1.1 and 1.4.1: each chart stands as a table, too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 640, 220
"""Of a chart over time."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 6, 8, 24
_LABELS = 8
"""Labels below a chart over time at most: more would run into each other."""
_TICKS = 4


@dataclass(frozen=True, slots=True)
class Layer:
    """One kind of count over all columns. *look*: the CSS class, s0 to s7."""

    name: str
    words: str
    look: str
    counts: tuple[int, ...]

    @property
    def total(self) -> int:
        """Over all columns."""
        return sum(self.counts)


@dataclass(frozen=True, slots=True)
class Box:
    """One rectangle, and what it says to a pointer."""

    x: float
    y: float
    width: float
    height: float
    look: str
    words: str


@dataclass(frozen=True, slots=True)
class Stacked:
    """A chart over time, ready to be written."""

    boxes: tuple[Box, ...]
    ticks: tuple[tuple[float, int], ...]
    """Height of each line across, and the number at it."""
    labels: tuple[tuple[float, str], ...]
    left: float = _LEFT
    right: float = WIDTH - _RIGHT
    floor: float = HEIGHT - _BOTTOM
    width: int = WIDTH
    height: int = HEIGHT


def stacked(columns: Sequence[str], layers: Sequence[Layer]) -> Stacked:
    """Bars of *columns* (their labels), each with its *layers* from the floor up."""
    sums = [sum(layer.counts[place] for layer in layers) for place in range(len(columns))]
    top = ceiling(max(sums, default=0))
    room, floor = HEIGHT - _TOP - _BOTTOM, float(HEIGHT - _BOTTOM)
    step = (WIDTH - _LEFT - _RIGHT) / max(1, len(columns))
    width = max(1.0, step * 0.78)
    boxes: list[Box] = []
    for place, label in enumerate(columns):
        y = floor
        for layer in layers:
            count = layer.counts[place]
            if count <= 0:
                continue
            height = max(0.8, count / top * room)
            y -= height
            words = f"{label}: {count:,} {layer.words}"
            boxes.append(
                Box(_round(_LEFT + place * step + (step - width) / 2), _round(y), _round(width), _round(height), layer.look, words)
            )
    ticks = tuple((_round(floor - room * part / _TICKS), top * part // _TICKS) for part in range(_TICKS + 1))
    every = max(1, math.ceil(len(columns) / _LABELS))
    labels = tuple((_round(_LEFT + (place + 0.5) * step), columns[place]) for place in range(0, len(columns), every))
    return Stacked(tuple(boxes), ticks, labels)


@dataclass(frozen=True, slots=True)
class Share:
    """One row of a table with a bar: *part* is its length in percent of the longest."""

    name: str
    words: str
    count: int
    part: float
    address: str


def shares(counts: Mapping[str, int], words: Mapping[str, str], addresses: Mapping[str, str], most: int = 12) -> tuple[Share, ...]:
    """The *most* frequent of *counts*, the rest summed up in a last row without an address."""
    order = sorted(((name, count) for name, count in counts.items() if count > 0), key=lambda one: (-one[1], one[0]))
    longest = order[0][1] if order else 1
    shown = [Share(name, words.get(name, name), count, _part(count, longest), addresses.get(name, "")) for name, count in order[:most]]
    rest = sum(count for _, count in order[most:])
    if rest:
        shown.append(Share("", f"{len(order) - most} others", rest, _part(rest, longest), ""))
    return tuple(shown)


def ceiling(most: int) -> int:
    """The top of a scale for *most*: a round number that the lines across divide, at least as many."""
    if most <= _TICKS:
        return _TICKS
    power = int(10 ** math.floor(math.log10(most)))
    for factor in (1, 2, 4, 8, 10):
        top = int(power * factor)
        if top >= most and top % _TICKS == 0:
            return top
    return int(20 * power)


def _part(count: int, longest: int) -> float:
    return _round(min(100.0, max(0.5, 100 * count / longest)))


def _round(value: float) -> float:
    return round(value, 2)

"""What was shown a moment ago, so that it need not be read and drawn again: in memory, within a bound, for a short time.

What it is: ``Recent``, a table that forgets what was not asked for longest.
Who calls it: ``previews``.
Must never: grow beyond its bound; keep anything longer than its time; be written anywhere.
Source: docs/design.md section 2 (bodies stay in memory under a byte budget).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Kept(Generic[T]):
    value: T
    size: int
    until: float


class Recent(Generic[T]):
    """At most *octets* of values, each for *seconds* of *clock*."""

    def __init__(self, octets: int, seconds: float, clock: Callable[[], float]) -> None:
        self._most = octets
        self._seconds = seconds
        self._clock = clock
        self._kept: OrderedDict[Hashable, _Kept[T]] = OrderedDict()
        self.octets = 0

    def get(self, key: Hashable) -> T | None:
        """The value of *key*, if it is still there."""
        self._expire()
        one = self._kept.get(key)
        if one is None:
            return None
        self._kept.move_to_end(key)
        return one.value

    def put(self, key: Hashable, value: T, size: int) -> None:
        """Keeps *value*, of *size* octets; one larger than a quarter of all room is not kept."""
        self._drop(key)
        if size > self._most // 4:
            return
        self._kept[key] = _Kept(value, size, self._clock() + self._seconds)
        self.octets += size
        while self.octets > self._most:
            self._drop(next(iter(self._kept)))

    def _expire(self) -> None:
        now = self._clock()
        for key in [key for key, one in self._kept.items() if one.until <= now]:
            self._drop(key)

    def _drop(self, key: Hashable) -> None:
        one = self._kept.pop(key, None)
        if one is not None:
            self.octets -= one.size

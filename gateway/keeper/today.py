"""What was written today already, so that a row that would say the same again need not be written again.

What it is: ``Today``: a bounded set of keyed hashes of one day, each with the level that it was written with.
Who calls it: ``correspondents`` and ``threads``.
Must never: be told of what is not durable; answer for another day; grow without bound.
Source: docs/design.md section 6.
"""

from __future__ import annotations

MOST = 50_000
"""Hashes that are kept; each is about 150 octets. Of more the oldest are forgotten, and written once more when they come again."""


class Today:
    """The hashes of the day that was named last."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._day = -1
        self._levels: dict[bytes, int] = {}

    def has(self, key: bytes, day: int, level: int = 0) -> bool:
        """Whether *key* was written on *day* with *level* or a higher one."""
        return day == self._day and self._levels.get(key, -1) >= level

    def add(self, key: bytes, day: int, level: int = 0) -> None:
        """*key* is durable as of *day* with *level*. Another day than that before begins anew, also where the clock went back."""
        if day != self._day:
            self._day = day
            self._levels.clear()
        levels = self._levels
        levels[key] = max(level, levels.pop(key, -1))  # the last one added stands last
        if len(levels) > self._most:
            del levels[next(iter(levels))]

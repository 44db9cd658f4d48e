"""Slowing down guessing at the page, before the keeper is asked at all.

What it is: ``Brake``.
Who calls it: the pages that take a secret.
Must never: be the only limit: the keeper counts failures by person and address.
Source: hostile-inputs catalogue W10.
"""

from __future__ import annotations

import time


class Brake:
    """At most *most* failures in *period* seconds, then none is tried."""

    def __init__(self, most: int = 20, period: float = 60.0) -> None:
        self._most, self._period = most, period
        self._failures: list[float] = []

    def open(self) -> bool:
        """Whether another attempt may be made."""
        now = time.monotonic()
        self._failures = [at for at in self._failures if now - at < self._period]
        return len(self._failures) < self._most

    def failed(self) -> None:
        """Counts one failure."""
        self._failures.append(time.monotonic())

"""Whether this machine's clock is kept by NTP, as the kernel says.

What it is: ``kernel_clock``, one adjtimex(2) that only reads, and ``Watch``, which asks at most once a minute.
Who calls it: ``audit`` for every record of the decision log; ``gateway doctor``.
Must never: set the clock; start a process; fail (what cannot be known is None).
Sources: adjtimex(2); CERT-In Directions of 28 April 2022.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from typing import NamedTuple

EVERY = 60.0
"""Seconds for which an answer is used again."""
_STA_UNSYNC = 0x0040
_TIME_ERROR = 5


class KernelClock(NamedTuple):
    """What the kernel says."""

    synced: bool
    error: float
    """Seconds by which it may be wrong at most, as far as the kernel was told."""


class _Timex(ctypes.Structure):
    """struct timex, as far as its status; the rest is room."""

    _fields_ = [
        ("modes", ctypes.c_uint), ("offset", ctypes.c_long), ("freq", ctypes.c_long), ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long), ("status", ctypes.c_int), ("rest", ctypes.c_char * 256),
    ]  # fmt: skip


def kernel_clock() -> KernelClock | None:
    """The kernel's own word; None where it gives none (another kernel, a sandbox)."""
    read = _Timex()  # modes = 0: nothing is set
    try:
        result = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(read))
    except (OSError, AttributeError):
        return None
    if result < 0:
        return None
    return KernelClock(result != _TIME_ERROR and not read.status & _STA_UNSYNC, read.maxerror / 1e6)


class Watch:
    """The state of the clock, a minute old at most. *ask* and *now* are the kernel's but in tests."""

    def __init__(self, ask: Callable[[], KernelClock | None] = kernel_clock, now: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._now = now
        self._at = float("-inf")
        self._synced: bool | None = None

    @property
    def synced(self) -> bool | None:
        """Whether the clock is kept by NTP; None where that cannot be known."""
        now = self._now()
        if now - self._at >= EVERY:
            self._at = now
            known = self._ask()
            self._synced = known.synced if known is not None else None
        return self._synced

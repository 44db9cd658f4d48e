"""What is said before a message comes that it would come in vain: at MAIL, at the size of an APPEND.

What it is: ``Pressure``: what this process knows of keeper, store, inspector and its own memory, as one answer to a new message.
Who calls it: ``doors.door`` for the sessions of all doors; ``doors.reporting`` for what the keeper and the metrics are told.
Must never: refuse for ever (each answer is 4xx, and what it rests on is known anew every few seconds); let one client's crowd
speak for another, where it is known whose it is; refuse what a keeper that has just been restarted will take.

The order is that of the harm: a balancer hears that the node is not ready (``keeper.readiness``) before anybody is answered 4xx here,
and here they are answered before work was spent in vain.
Sources: RFC 5321 section 4.5.4.1 (what a client does at 4xx), RFC 1870 (SIZE); docs/design.md section 2; hostile-inputs catalogue 4.4, O01,
O10, O19.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from gateway.config import Config
from gateway.doors.limits import Budget
from gateway.reply import OUR_FAULT, STORE_FULL, Reply
from gateway.requests import Room
from gateway.shares import LATE, SLOW, Places

BUSY = Reply(451, "4.3.2", "The mail gateway has more mail to read than it can at present. Please try again later.")
AWAY = 2.0
"""Seconds for which the keeper may be away before new mail is told so at once: one that died is back sooner."""
_TWICE = 2  # each body is written to the log of the store, then to the store
_ROOM_KNOWN = 30.0  # seconds for which the keeper's word on its room is believed


class Link(Protocol):
    """What is known of the keeper."""

    @property
    def away_since(self) -> float:
        """When it went away, in monotonic seconds; 0 while it is there."""

    @property
    def oldest_commit(self) -> float:
        """When the oldest commit under way was asked for; 0: there is none."""

    @property
    def room(self) -> tuple[Room, float]:
        """What it last said of its room, and when."""


class Pressure:
    """*budget* is this process' memory for bodies; *link* and *places*: the keeper and the inspector's queue, where they are known."""

    def __init__(
        self, config: Callable[[], Config], budget: Budget, link: Link | None = None, places: Places | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._config = config
        self._budget = budget
        self._link = link
        self._places = places
        self._clock = clock

    def refusal(self, owner: str, size: int, *, stored: bool) -> tuple[Reply, str] | None:
        """What a new message of *owner* with *size* octets (0: not said) is answered, and why in a word or two; None: it may come.
        *stored*: it needs a place in the queue and on the disk."""
        return self._of_keeper(size, stored=stored) or self._of_inspector(owner) or self._of_memory(owner, size)

    def _of_keeper(self, size: int, *, stored: bool) -> tuple[Reply, str] | None:
        link = self._link
        if link is None:
            return None
        now = self._clock()
        if link.away_since and now - link.away_since > AWAY:
            return OUR_FAULT, "keeper away"
        if self.commit_age > SLOW:
            return OUR_FAULT, "store slow"
        room, said = link.room
        if not stored or now - said > _ROOM_KNOWN:
            return None
        if room.full:
            return STORE_FULL, f"{room.full} full"
        if 0 <= room.octets < _TWICE * (self._budget.used + size):
            return STORE_FULL, "disk full"
        return None

    def _of_inspector(self, owner: str) -> tuple[Reply, str] | None:
        if self._places is not None and self._places.wait(owner) > LATE * self._config().limits.pipeline:
            return BUSY, "inspection behind"
        return None

    def _of_memory(self, owner: str, size: int) -> tuple[Reply, str] | None:
        """Who has its share while others wait need not wait as well: there is nothing for it before they are served."""
        if self._budget.waiting and self._budget.crowded(owner, max(1, size)):
            return STORE_FULL, "share of memory"
        return None

    # --- what is told -------------------------------------------------------------------------------------------------

    @property
    def commit_age(self) -> float:
        """Seconds since the oldest commit under way was asked for; 0 without one."""
        began = self._link.oldest_commit if self._link is not None else 0.0
        return self._clock() - began if began else 0.0

    @property
    def inspection_wait(self) -> float:
        """Seconds that somebody new would wait for the inspector."""
        return self._places.wait("") if self._places is not None else 0.0

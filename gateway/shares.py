"""Who comes next where there is not enough for all: each in turn, however much one of them asks.

What it is: ``Turns``, a queue that is served round-robin over owners; ``Places``, a number of places that are given out by it, with
the time that a newcomer would have to wait; ``owner_of``, who counts as one; and, in one place for doors and keeper, the thresholds at
which a node says that it is not ready, and at which it refuses.
Who calls it: ``doors.limits`` for memory and sessions; ``pipeline`` for the inspector.
Must never: let one owner's crowd push another back by more than one turn; grow with the number of owners that were ever seen.
Sources: "On Packet Switches With Infinite Storage" (J. Nagle, RFC 970), fair queueing; hostile-inputs catalogue S23 and section 4.4.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

NEARLY, AGAIN = 0.9, 0.8
"""Of a limit: where a node says that it is not ready, so that a balancer has turned away before clients see 4xx; and where it is ready
again."""
WAITS = 0.5
"""Of ``limits.pipeline``: where it says so for the wait for the inspector; new mail is refused at ``LATE``."""
LATE = 0.9
SLOW = 5.0
"""Seconds that the oldest commit under way may take before new mail is told that the store stands still; half of it, and the node is
not ready."""
_WEIGHT = 0.1  # of the newest time in the average
_NETWORK = {4: 24, 6: 64}

T = TypeVar("T")


@functools.lru_cache(4096)
def owner_of(ip: str, *, user: str = "", known: bool = False) -> str:
    """Who is one owner: a login; an address of a listed network; of strangers a whole network, since addresses are cheap."""
    if user:
        return f"login {user}"
    if known:
        return ip
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return ip
    return str(ipaddress.ip_network((address, _NETWORK[address.version]), strict=False))


class Turns(Generic[T]):
    """A queue of queues: each owner's in its order, the owners in turn."""

    __slots__ = ("_count", "_queues")

    def __init__(self) -> None:
        self._queues: OrderedDict[str, deque[T]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, owner: str) -> bool:
        return owner in self._queues

    def add(self, owner: str, item: T) -> None:
        """Queues *item* behind what *owner* has here already."""
        queue = self._queues.get(owner)
        if queue is None:
            queue = self._queues[owner] = deque()
        queue.append(item)
        self._count += 1

    def next(self, may: Callable[[str, T], bool] = lambda _owner, _item: True) -> tuple[str, T] | None:
        """The owner whose turn it is among those who *may*, with its first item; it stays queued until ``take``."""
        return next(((owner, queue[0]) for owner, queue in self._queues.items() if may(owner, queue[0])), None)

    def take(self, owner: str) -> T:
        """Takes the first item of *owner* out, whose next turn comes after everybody else's."""
        queue = self._queues[owner]
        item = queue.popleft()
        self._count -= 1
        if queue:
            self._queues.move_to_end(owner)
        else:
            del self._queues[owner]
        return item

    def drop(self, unwanted: Callable[[T], bool]) -> None:
        """Takes out every item that is *unwanted*."""
        for owner in list(self._queues):
            kept = deque(item for item in self._queues[owner] if not unwanted(item))
            self._count -= len(self._queues[owner]) - len(kept)
            if kept:
                self._queues[owner] = kept
            else:
                del self._queues[owner]

    def before(self, owner: str) -> int:
        """How many would be served before an item that *owner* added now."""
        mine = len(self._queues.get(owner, ()))
        others = sum(min(len(queue), mine + 1) for other, queue in self._queues.items() if other != owner)
        return mine + others


class Places:
    """*number* places; who must wait is served in turn by owner. Must be used inside one event loop."""

    __slots__ = ("_clock", "_free", "_number", "_seconds", "_turns")

    def __init__(self, number: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._number = self._free = number
        self._clock = clock
        self._turns: Turns[asyncio.Future[None]] = Turns()
        self._seconds = 0.0
        """For which a place was taken, on average of late."""

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._turns)

    def wait(self, owner: str) -> float:
        """Seconds that *owner* would have to wait for a place, by what the last ones took; 0 where one is free."""
        if self._free > 0 and not self._turns:
            return 0.0
        return (self._turns.before(owner) + 1) * self._seconds / self._number

    @contextlib.asynccontextmanager
    async def of(self, owner: str) -> AsyncIterator[None]:
        """A place for *owner*."""
        if self._free > 0 and not self._turns:
            self._free -= 1
        else:
            await self._queue(owner)
        began = self._clock()
        try:
            yield
        finally:
            self._seconds += (self._clock() - began - self._seconds) * (_WEIGHT if self._seconds else 1.0)
            self._leave()

    async def _queue(self, owner: str) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._turns.add(owner, future)
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self._leave()  # the place came with the cancellation: it is for the next
            else:
                self._turns.drop(lambda one: one is future)
            raise

    def _leave(self) -> None:
        while (first := self._turns.next()) is not None:
            future = self._turns.take(first[0])
            if not future.done():
                future.set_result(None)  # the place goes from hand to hand
                return
        self._free += 1

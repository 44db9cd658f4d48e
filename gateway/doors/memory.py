"""Memory for messages, for every door: taken from the one budget of the process, waited for in order, given back.

What it is: ``Borrower``, the base of the connections of all doors that keep messages. What a session does when it has waited too long is
its own.
Who calls it: ``doors.connection`` (SMTP), ``doors.milter_connection`` and ``doors.imap_connection`` are made of it.
Must never: keep what nobody keeps any more; lose its place among those who wait because it asked twice; know a protocol.
Sources: docs/design.md section 2 (``max_inflight``); hostile-inputs catalogue S23, T04 and section 4.4.
"""

from __future__ import annotations

from gateway.doors.door import Door, Listener
from gateway.doors.guest import Guest

_MORE = 262_144  # octets of memory taken at a time while a message comes


class Borrower(Guest):
    """One connection, and what it has of the budget."""

    __slots__ = ("_holder", "_reserved", "_waiting_since", "_wanted")

    def __init__(self, door: Door, listener: Listener) -> None:
        super().__init__(door, listener)
        self._reserved = 0
        """Octets of the budget that are this connection's."""
        self._holder = ""
        """In whose name they were taken; it stays the same until they are given back."""
        self._wanted = 0
        """Octets that it waits for."""
        self._waiting_since = 0.0
        """0: it does not wait."""

    def _borrow(self, octets: int) -> bool:
        """Takes *octets*, or begins to wait for them: then ``_lent`` is called once they are here."""
        if self._take(octets):
            return True
        self._wanted = octets
        self._waiting_since = self._loop.time()
        self._door.budget.wait(octets, self._granted, self._holder)
        return False

    def _take(self, octets: int) -> bool:
        """Takes *octets* if they are there."""
        if not self._reserved:
            self._holder = self._owner()
        if not self._door.budget.take(octets, self._holder):
            return False
        self._reserved += octets
        return True

    def _keep_up(self, held: int) -> None:
        """Keeps the memory that is taken in step with the *held* octets; nothing is read while it waits."""
        more = held - self._reserved
        if more > 0 and not self._waiting_since and not self._borrow(-(-more // _MORE) * _MORE):
            self._pause_reading()

    def _cover(self, octets: int) -> bool:
        """Takes what *octets* still need, now or not at all."""
        more = octets - self._reserved
        return more <= 0 or self._take(more)

    def _granted(self) -> None:
        waited = self._loop.time() - self._waiting_since
        self._waiting_since = 0.0
        self._reserved += self._wanted
        # Whoever gave it back is in the middle of something of its own.
        self._loop.call_soon(self._go_on, waited)

    def _go_on(self, waited: float) -> None:
        if self._transport is None or self._is_over():
            self._give_memory()
            return
        self._last = self._loop.time()
        self._lent(waited)
        self._pump()

    def _stop_waiting(self) -> None:
        if self._waiting_since:
            self._door.budget.stop_waiting(self._granted)
            self._waiting_since = 0.0

    def _give_up_waiting(self, now: float) -> None:
        """Ends a wait that lasted too long; the session says what becomes of the message."""
        if now - self._waiting_since > self._settings.config.limits.data_idle:
            self._stop_waiting()
            self._door.count("no_memory")
            self._no_memory()
            self._pump()

    def _give_memory(self) -> None:
        if self._reserved:
            reserved, self._reserved = self._reserved, 0
            self._door.budget.give(reserved, self._holder)

    # --- what a session adds ------------------------------------------------------------------------------------------

    def _is_over(self) -> bool:
        """Whether the session has ended, and only its connection is still there."""
        raise NotImplementedError

    def _lent(self, waited: float) -> None:
        """The memory is here after *waited* seconds, for which nobody on the wire is to blame; then the pump runs."""
        raise NotImplementedError

    def _no_memory(self) -> None:
        """The memory did not come: nothing of the message is kept, and it is answered for; then the pump runs."""
        raise NotImplementedError

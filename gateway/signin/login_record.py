"""Writes down what was decided about each sign-in, in a size that an attacker cannot choose.

What it is: ``LoginRecord``: the first sign-in of a kind in a minute is written at once, the same again is counted and written as one
row at the end of that minute; beyond ``ROWS`` different kinds of failure a minute one row counts the rest.
Who calls it: ``logins``.
Must never: hold a password; write a name that is none of ours in clear (people type passwords into the wrong field); let a success
be answered before it is durable.
Sources: docs/design.md section 6; CERT-In Directions of 28 April 2022; hostile-inputs catalogue S37, S38.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gateway import logs
from gateway.audit import events
from gateway.relay.schedule import Clock
from gateway.signin.login_limits import network_of
from gateway.stores.base import AuditEvent, Batch, StoreError

ROWS = 60
"""Different failures of one minute with a row of their own; each may get one more with its count."""
MINUTE = 60.0
_WAITING = 1000  # rows that wait for a store that is away; older ones stay
_log = logs.get("logins")

ACCEPTED, REFUSED, DEFERRED = "login-accepted", "login-refused", "login-deferred"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One sign-in and what became of it."""

    action: str
    name: str
    """Canonical; empty where it is none of ours."""
    name_hash: str
    """Keyed; for a name that is none of ours."""
    ip: str
    door: str
    cause: str
    department: str = ""


class Writes(Protocol):
    """What is needed of the store here."""

    async def write(self, batch: Batch) -> None: ...


class LoginRecord:
    """The log of sign-ins. ``start`` once, ``stop`` at the end."""

    def __init__(self, store: Writes, hostname: str, clock: Clock) -> None:
        self._store = store
        self._hostname = hostname
        self._clock = clock
        self._began = (clock.monotonic(), clock.time())
        self._again: dict[tuple[str, ...], tuple[Attempt, int]] = {}
        self._failures = 0
        self._rest: dict[str, int] = {}
        self._rest_addresses: set[str] = set()
        self._waiting: list[AuditEvent] = []
        self._task: asyncio.Task[None] | None = None
        self.dropped = 0
        """Rows that were lost because the store was away for long."""

    def start(self) -> None:
        """Begins to write what is not waited for."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Writes what is left."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._turn()
        await self._flush()

    async def accepted(self, attempt: Attempt) -> None:
        """Writes a success; returns when it is durable, or counted to one that is. Raises StoreError."""
        if self._is_new(attempt):
            try:
                await self._store.write(Batch(audit=[self._event(attempt)]))
            except BaseException:
                self._again.pop(_key(attempt), None)
                raise
            _say(attempt)

    def failed(self, attempt: Attempt) -> None:
        """Takes note of a failure; it is written within a second or two."""
        if self._is_new(attempt):
            self._queue(self._event(attempt))
            _say(attempt)

    def _is_new(self, attempt: Attempt) -> bool:
        """Whether *attempt* gets a row now; else it is counted."""
        if self._clock.monotonic() - self._began[0] >= MINUTE:
            self._turn()
        key = _key(attempt)
        known = self._again.get(key)
        if known is not None:
            self._again[key] = (attempt, known[1] + 1)
            return False
        if attempt.action != ACCEPTED:
            if self._failures >= ROWS:
                self._rest[attempt.action] = self._rest.get(attempt.action, 0) + 1
                if len(self._rest_addresses) < 10_000:
                    self._rest_addresses.add(network_of(attempt.ip))
                return False
            self._failures += 1
        self._again[key] = (attempt, 0)
        return True

    def _turn(self) -> None:
        """Ends the minute: one row for each kind that came again."""
        since = self._began[1]
        for attempt, more in self._again.values():
            if more:
                self._queue(self._event(attempt, count=more, since=since))
                _say(attempt, more)
        for action, count in self._rest.items():
            now, addresses = self._clock.time(), len(self._rest_addresses)
            self._queue(
                events.sign_in(action, now, "", "", "", "many-different", "", self._hostname, count=count, since=since, addresses=addresses)
            )
            fields = {"event.action": action, "gateway.count": count, "gateway.addresses": addresses}
            _log.warning("many different sign-ins failed", **fields)
        self._again.clear()
        self._rest.clear()
        self._rest_addresses.clear()
        self._failures = 0
        self._began = (self._clock.monotonic(), self._clock.time())

    def _event(self, attempt: Attempt, *, count: int = 1, since: float = 0) -> AuditEvent:
        hidden = {"name_hash": attempt.name_hash} if attempt.name_hash else {}
        return events.sign_in(
            attempt.action, self._clock.time(), attempt.name, attempt.ip, attempt.door, attempt.cause, attempt.department, self._hostname,
            count=count, since=since, **hidden,
        )  # fmt: skip

    def _queue(self, event: AuditEvent) -> None:
        if len(self._waiting) < _WAITING:
            self._waiting.append(event)
        else:
            self.dropped += 1

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            if self._clock.monotonic() - self._began[0] >= MINUTE:
                self._turn()
            await self._flush()

    async def _flush(self) -> None:
        rows = self._waiting[:]
        if not rows:
            return
        try:
            await self._store.write(Batch(audit=rows))
        except StoreError as error:
            _log.error("records of sign-ins wait for the store", **{"error.message": str(error), "gateway.rows": len(rows)})
            return
        del self._waiting[: len(rows)]


def _key(attempt: Attempt) -> tuple[str, ...]:
    return (attempt.action, attempt.name or attempt.name_hash, network_of(attempt.ip), attempt.cause)


def _say(attempt: Attempt, count: int = 1) -> None:
    say: Callable[..., object] = _log.info if attempt.action == ACCEPTED else _log.warning
    fields = {"event.action": attempt.action, "source.ip": attempt.ip, "event.reason": attempt.cause, "gateway.count": count}
    say("sign-in", **fields, **({"user.name": attempt.name} if attempt.name else {"gateway.name_hash": attempt.name_hash}))

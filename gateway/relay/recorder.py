"""Writes what the relay has found out, many results in one transaction.

What it is: a queue of Records and the one task that makes them durable, in order.
Who calls it: the relay and its queue actions.
Must never: drop a Record because the store is away (it is written when the store is back); write a later one before an earlier one;
take its own result for somebody else's: a write whose end nobody could tell may stand all the same.
Sources: docs/design.md sections 4 and 6; hostile-inputs catalogue O05, O10, P2.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from gateway import logs
from gateway.relay.notices import Report
from gateway.relay.outcomes import Record
from gateway.stores.base import Batch, Conflict, DeliveryRow, DeliveryState, DeliveryUpdate, StoreError

_LINGER = 0.03  # seconds in which results that belong together may gather
_MOST = 500  # records of one transaction
_AGAIN = 1.0  # seconds between tries while the store is away

_log = logs.get("relay")


class Writes(Protocol):
    """What is needed of the store here."""

    async def write(self, batch: Batch) -> None: ...
    async def delivery(self, delivery_id: str) -> DeliveryRow | None: ...


def batch_of(records: list[Record]) -> Batch:
    """One batch of many records."""
    return Batch(
        bodies=[report.body for record in records for report in record.reports],
        messages=[report.message for record in records for report in record.reports],
        deliveries=[report.delivery for record in records for report in record.reports],
        holds=[hold for record in records for hold in record.holds],
        delivery_updates=[update for record in records for update in record.updates],
        audit=[event for record in records for event in record.audit],
    )


class Recorder:
    """Writes Records in the order they were given; *written* is called with the reports that are durable now."""

    def __init__(self, store: Writes, written: Callable[[Report], None]) -> None:
        self._store = store
        self._written = written
        self._waiting: list[Record] = []
        self._writing = 0
        self._work = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to write."""
        self._task = asyncio.create_task(self._run())

    @property
    def backlog(self) -> int:
        """Records that are not durable yet."""
        return len(self._waiting) + self._writing

    def add(self, record: Record) -> None:
        """Queues *record*; returns at once."""
        self._waiting.append(record)
        self._work.set()
        if len(self._waiting) >= 2 * _MOST:
            self._room.clear()

    async def write_now(self, record: Record) -> None:
        """Writes *record* by itself and returns when it is durable. Raises Conflict, StoreError."""
        await self._store.write(batch_of([record]))
        for report in record.reports:
            self._written(report)

    async def room(self) -> None:
        """Waits while more results are not durable than a crash should put in doubt."""
        if not self._room.is_set():
            await self._room.wait()

    async def flushed(self, patience: float) -> bool:
        """Waits at most *patience* seconds until everything is durable; says whether it is."""
        end = asyncio.get_running_loop().time() + patience
        while self.backlog:
            if asyncio.get_running_loop().time() >= end:
                return False
            await asyncio.sleep(0.005)
        return True

    async def stop(self) -> None:
        """Ends the task; what is not written stays leased in the store and is tried again after the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await self._work.wait()
            await asyncio.sleep(_LINGER)
            records = self._waiting[:_MOST]
            del self._waiting[:_MOST]
            if not self._waiting:
                self._work.clear()
            self._writing = len(records)
            await self._write(records)
            self._writing = 0
            if len(self._waiting) < _MOST:
                self._room.set()

    async def _write(self, records: list[Record]) -> None:
        in_doubt = False
        while True:
            try:
                if in_doubt:
                    # What stands must not be written again: it may be leased anew by now, and on its way.
                    found = [(record, await self._stood(record)) for record in records]
                    for _, reports in found:
                        for report in reports or ():
                            self._written(report)
                    records = [record for record, reports in found if reports is None]
                    in_doubt = False
                if records:
                    await self._store.write(batch_of(records))
            except Conflict as conflict:
                if len(records) > 1:
                    for record in records:
                        await self._write([record])
                else:
                    # Somebody was quicker (an operator, or a keeper that took this one for dead): the store's state stands.
                    _log.warning("a delivery had changed before its result was written", cause=str(conflict))
                return
            except StoreError as error:
                in_doubt = True
                _log.error("results of deliveries wait for the store", cause=str(error), records=len(records))
                await asyncio.sleep(_AGAIN)
            else:
                for record in records:
                    for report in record.reports:
                        self._written(report)
                return

    async def _stood(self, record: Record) -> list[Report] | None:
        """Where the store has *record* although it had not said so, those of its reports that still wait here; else None. Raises
        StoreError."""
        waiting: list[Report] = []
        if record.reports:  # with ids that nobody else has
            for report in record.reports:
                row = await self._store.delivery(report.delivery.id)
                if row is None:
                    return None
                if row.state is DeliveryState.LEASED and row.lease == report.delivery.lease:
                    waiting.append(report)
        else:
            for update in record.updates:
                row = await self._store.delivery(update.id)
                if row is None or not _says(row, update):
                    return None
        _log.info("results of deliveries stood although the store had not said so", deliveries=len(record.updates))
        return waiting


_TOLD = ("attempts", "last_reply", "route", "warned", "sent_sha256")
_MOVES = ("state", "next_attempt", "lease")


def _says(row: DeliveryRow, update: DeliveryUpdate) -> bool:
    """Whether *row* is as *update* left it. What tells of an attempt stays until the next one has ended; the rest may have moved on."""
    names = _TOLD if update.attempts is not None else _TOLD + _MOVES
    return all(value is None or getattr(row, name) == value for name in names for value in (getattr(update, name),))

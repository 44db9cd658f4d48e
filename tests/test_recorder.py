"""The recorder of the relay where the store cannot say whether a write was done: nothing twice, nothing forgotten, nothing told wrongly."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest
from structlog.testing import capture_logs

from gateway.relay.notices import Report
from gateway.relay.outcomes import Record
from gateway.relay.recorder import Recorder
from gateway.stores.base import Batch, DeliveryRow, DeliveryState, DeliveryUpdate, StoreError
from tests.keeper_kit import body, delivery, event, message, replace
from tests.memory_store import MemoryStore

S = DeliveryState
_OURS = "this keeper"


class Unsure(MemoryStore):
    """Loses the answer to its next *unsure* writes, which are done all the same; then *meanwhile* happens. *away*: for each of the
    questions that follow whether it is away, as a server that broke is."""

    def __init__(self) -> None:
        super().__init__()
        self.unsure = 0
        self.away: list[bool] = []
        self.meanwhile: Callable[[], None] = lambda: None

    async def write(self, batch: Batch) -> None:
        await super().write(batch)
        if self.unsure:
            self.unsure -= 1
            self.meanwhile()
            raise StoreError("the connection to the database broke before it said whether a commit was done")

    async def delivery(self, delivery_id: str) -> DeliveryRow | None:
        if self.away and self.away.pop(0):
            raise StoreError("away")
        return await super().delivery(delivery_id)


@dataclass
class World:
    """A recorder, its store, and what it offered."""

    store: Unsure = field(default_factory=Unsure)
    offered: list[Report] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.recorder = Recorder(self.store, self.offered.append)

    async def leased(self, lease: str = _OURS) -> DeliveryRow:
        row = message()
        one = delivery(row, state=S.LEASED, lease=lease)
        await self.store.write(Batch(bodies=[body(row.body_id)], messages=[row], deliveries=[one], audit=[event(row.reference)]))
        self.store.events.clear()
        return one

    async def written(self, *records: Record) -> list[str]:
        """Has *records* written; returns what the log said."""
        with capture_logs() as logged:
            for record in records:
                self.recorder.add(record)
            assert await self.recorder.flushed(5)
        return [line["event"] for line in logged]

    def row(self, one: DeliveryRow) -> DeliveryRow:
        return self.store.delivery_rows[one.id]


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr("gateway.relay.recorder._AGAIN", 0.01)
    made = World()
    made.recorder.start()
    yield made
    await made.recorder.stop()


def ended(one: DeliveryRow, state: DeliveryState, **more: object) -> Record:
    update = DeliveryUpdate(one.id, (S.LEASED,), state, attempts=1, last_reply="what it said", route="nic", lease="", **more)  # type: ignore[arg-type]
    return Record([update], [event(one.reference)])


def told(one: DeliveryRow) -> Record:
    row = message(is_report=True, sender="")
    report = Report(body(row.body_id), row, delivery(row, state=S.LEASED, lease=_OURS, is_report=True), b"a report")
    record = ended(one, S.BOUNCED)
    record.reports.append(report)
    return record


async def test_a_result_that_stood_is_written_once_and_blames_nobody(world: World) -> None:
    rows = [await world.leased() for _ in range(3)]
    world.store.unsure, world.store.away = 1, [True, True]
    said = await world.written(*(ended(one, S.DELIVERED) for one in rows))
    assert {world.row(one).state for one in rows} == {S.DELIVERED}
    assert len(world.store.events) == 3, "each once in the decision log"
    assert not any("had changed" in line for line in said), said
    assert sum("stood although" in line for line in said) == 3


async def test_the_report_of_a_result_that_stood_goes_at_once(world: World) -> None:
    one = await world.leased()
    world.store.unsure = 1
    record = told(one)
    await world.written(record)
    assert world.row(one).state is S.BOUNCED
    assert world.offered == record.reports


async def test_no_report_goes_twice_where_the_store_is_away_again_before_all_was_asked(world: World) -> None:
    records = [told(await world.leased()) for _ in range(2)]
    world.store.unsure, world.store.away = 1, [False, True]
    await world.written(*records)
    assert world.offered == [report for record in records for report in record.reports]


async def test_a_report_that_another_keeper_has_taken_meanwhile_is_not_offered_here(world: World) -> None:
    one = await world.leased()
    record = told(one)
    report = record.reports[0].delivery

    def taken() -> None:
        world.store.delivery_rows[report.id] = replace(report, lease="another keeper")

    world.store.unsure, world.store.meanwhile = 1, taken
    await world.written(record)
    assert world.offered == []


async def test_what_is_leased_anew_before_the_store_was_asked_stays_leased(world: World) -> None:
    one = await world.leased()

    def due() -> None:
        """The pause of the deferral is over, and the scheduler was quicker than the recorder."""
        world.store.delivery_rows[one.id] = replace(world.row(one), state=S.LEASED, lease=_OURS)

    world.store.unsure, world.store.meanwhile = 1, due
    await world.written(ended(one, S.DEFERRED, next_attempt=5.0, holder=_OURS))
    assert world.row(one).state is S.LEASED, "it is on its way: scheduled once more it would go twice"
    world.store.meanwhile = lambda: None
    await world.written(Record([DeliveryUpdate(one.id, (S.LEASED,), S.DELIVERED, attempts=2, lease="")]))
    assert world.row(one).state is S.DELIVERED


async def test_what_did_not_stand_is_written_and_its_reports_go(world: World) -> None:
    one, other = await world.leased(), await world.leased()
    world.store.fail_writes = 2
    record = told(other)
    await world.written(ended(one, S.DELIVERED), record)
    assert (world.row(one).state, world.row(other).state) == (S.DELIVERED, S.BOUNCED)
    assert world.offered == record.reports
    assert len(world.store.events) == 2


async def test_after_a_fault_somebody_who_was_quicker_spoils_no_other_result(world: World) -> None:
    one, other = await world.leased(), await world.leased()
    await world.store.write(Batch(delivery_updates=[DeliveryUpdate(one.id, (S.LEASED,), S.ON_HOLD)]))
    world.store.fail_writes = 1
    said = await world.written(ended(one, S.DELIVERED), ended(other, S.DELIVERED))
    assert (world.row(one).state, world.row(other).state) == (S.ON_HOLD, S.DELIVERED)
    assert sum("had changed" in line for line in said) == 1

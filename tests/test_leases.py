"""The leases of one keeper among others: when it may count on them, and what it drops when it was taken for dead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.relay import leases
from gateway.relay.lanes import Lane
from gateway.relay.leases import Leases
from gateway.stores.base import Batch, DeliveryState, DeliveryUpdate, StoreError
from gateway.stores.sharing import DEAD, FIRM
from gateway.stores.sqlite.store import SqliteStore
from tests.keeper_kit import NOW, PlainChain, delivery, message, whole
from tests.memory_store import MemoryStore
from tests.people_kit import Clocks

S, L = DeliveryState.SCHEDULED, DeliveryState.LEASED


class Shared(MemoryStore):
    """Answers to signs of life as it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[bool | None] = []
        self.beats = 0
        self.places = 0

    async def beat(self, incarnation: str) -> bool:
        self.beats += 1
        answer = self.answers.pop(0) if self.answers else True
        if answer is None:
            raise StoreError("away")
        return answer

    async def release_leases(self, incarnation: str) -> int:
        self.places += 1
        return 0


class Dropped:
    """What the relay was told to keep."""

    def __init__(self) -> None:
        self.kept: list[set[str]] = []

    def __call__(self, mine: Collection[str]) -> int:
        self.kept.append(set(mine))
        return 1


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    real = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", lambda seconds: real(0))


def test_a_keeper_stops_well_before_others_take_what_it_had() -> None:
    assert FIRM + 10 <= DEAD


async def test_leases_hold_for_a_while_after_a_sign_of_life_and_then_wait_for_the_next() -> None:
    store, clock, lost = Shared(), Clocks(), Dropped()
    mine = Leases(store, clock, "i", 60)
    await mine.begin()
    clock.advance(FIRM - 1)
    await mine.firm(lost)
    assert store.beats == 0, "no question while the last answer is fresh"
    clock.advance(2)
    store.answers = [None, None, True]
    await mine.firm(lost)
    assert store.beats == 3
    assert lost.kept == []


async def test_the_time_counts_from_before_the_sign_was_sent() -> None:
    store, clock = Shared(), Clocks()
    mine = Leases(store, clock, "i", 60)

    async def slow(incarnation: str) -> bool:
        clock.advance(FIRM + 1)
        store.beat = Shared.beat.__get__(store)  # type: ignore[method-assign]
        return True

    store.beat = slow  # type: ignore[method-assign]
    await mine.firm(Dropped())
    assert store.beats == 1, "an answer that came so late says nothing of now"


@pytest.mark.parametrize("fails", [False, True])
async def test_O12_a_keeper_that_was_taken_for_dead_drops_what_is_no_longer_its_own(fails: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    store, clock, lost = Shared(), Clocks(), Dropped()
    row = message()
    kept, taken = (delivery(row, lease=lease, state=L) for lease in ("i", "other"))
    await store.open(PlainChain())
    await store.write(Batch(messages=[row], deliveries=[kept, taken]))
    mine = Leases(store, clock, "i", 60)
    store.answers = [False]
    if fails:  # the database goes away between the bad news and the answer to what is left: the news must not be lost
        real = store.deliveries

        async def away(**more: Any) -> Any:
            monkeypatch.setattr(store, "deliveries", real)
            raise StoreError("away")

        monkeypatch.setattr(store, "deliveries", away)
    await mine.firm(lost)
    assert lost.kept == [{kept.id}]
    assert store.places == 1
    assert store.beats == 1 + fails


async def test_a_lane_gives_up_the_jobs_of_which_a_delivery_is_not_ours() -> None:
    from collections import deque
    from types import SimpleNamespace

    row = message()
    rows = [delivery(row) for _ in range(4)]
    whole_job, half, gone = (SimpleNamespace(rows=part) for part in (rows[:1], rows[1:3], rows[3:]))
    lane: Any = Lane.__new__(Lane)
    lane.jobs = deque([whole_job, half, gone])
    assert lane.without({rows[0].id, rows[1].id}) == [half, gone]
    assert list(lane.jobs) == [whole_job]


@pytest.fixture(params=["sqlite", "memory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Any]:
    made: Any = SqliteStore(tmp_path / "gateway.db") if request.param == "sqlite" else MemoryStore()
    await made.open(PlainChain())
    yield made
    await made.close()


async def test_where_one_keeper_has_the_store_it_leases_what_is_due_and_does_every_job(store: Any) -> None:
    batches = [whole() for _ in range(3)]
    for batch, _, _ in batches:
        await store.write(batch)
    taken = await store.lease_due(NOW, 2, "i")
    assert [row.id for row in taken] == [one.id for _, _, one in batches[:2]]
    assert [row.lease for row in await store.deliveries() if row.state is L] == ["i", "i"]
    assert await store.lease_due(NOW - 1, 9, "i") == []
    assert await store.beat("i") is True
    assert await store.release_dead("i") == 0
    async with store.alone("x") as one, store.alone("x") as two:
        assert (one, two) == (True, True)


async def test_what_an_operator_took_meanwhile_is_not_leased_and_the_rest_is(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _, one = whole()
    second, _, two = whole()
    await store.write(first)
    await store.write(second)
    real = store.due_deliveries

    async def due(now: float, limit: int) -> Any:
        rows = await real(now, limit)
        await store.write(Batch(delivery_updates=[DeliveryUpdate(one.id, (S,), DeliveryState.ON_HOLD)]))
        return rows

    monkeypatch.setattr(store, "due_deliveries", due)
    assert [row.id for row in await store.lease_due(NOW, 9, "i")] == [two.id]


async def test_O15_what_a_step_of_the_clock_put_far_away_comes_near_in_few_commits(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "_TOGETHER", 4)
    clock = Clocks()
    soon = clock.time() + 600
    batch, row, _ = whole()
    far = [delivery(row, f"desk{number}@finance.nic.in", next_attempt=soon + 90_000) for number in range(10)]
    late = delivery(row, next_attempt=soon)
    await store.write(replace(batch, deliveries=[*far, late]))
    real, sizes = store.write, []

    async def write(batch: Batch) -> Any:
        sizes.append(len(batch.delivery_updates))
        if len(sizes) == 2:  # somebody puts one of these on hold meanwhile
            await real(Batch(delivery_updates=[DeliveryUpdate(batch.delivery_updates[1].id, (S,), DeliveryState.ON_HOLD)]))
        return await real(batch)

    monkeypatch.setattr(store, "write", write)
    await Leases(store, clock, "i", 3600).bring_near()
    assert sizes == [4, 4, 1, 1, 1, 1, 2]
    rows = {one.id: one for one in await store.deliveries()}
    held = [one for one in far if rows[one.id].state is DeliveryState.ON_HOLD]
    assert len(held) == 1
    assert {rows[one.id].next_attempt for one in far if one not in held} == {clock.time()}
    assert (rows[late.id].next_attempt, rows[held[0].id].next_attempt) == (soon, soon + 90_000)

"""Counts of decisions: each row once, whatever ends a step in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.keeper import tallies
from gateway.keeper.tallies import Tallies
from gateway.levels import Level
from gateway.stores.base import Batch, StoreError
from gateway.stores.reviewed import INDIA, TallyRow
from gateway.verdict import Disposition
from tests.keeper_kit import NOW, Room, event, recipient, transaction, verdict

HOUR = int((NOW + INDIA) // 3600)
EVER = (0, 10**9, None)


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    made = await Room(tmp_path).open()
    yield made
    await made.close()


async def decide(room: Room, *dispositions: Disposition, level: Level | None = None, sender: str = "so@dept.gov.in") -> None:
    addresses = [f"r{n}@finance.nic.in" for n in range(len(dispositions))]
    made = verdict(room.version, *(recipient(a, d) for a, d in zip(addresses, dispositions, strict=True)), level=level)
    await room.commit(transaction(*addresses, sender=sender), made)


async def test_decisions_are_counted_by_hour_department_rule_disposition_and_level(room: Room) -> None:
    await decide(room, Disposition.DELIVER, Disposition.DELIVER, Disposition.HOLD)
    await decide(room, Disposition.HOLD, level=Level.CONFIDENTIAL)
    room.now = NOW + 3600
    await decide(room, Disposition.DELIVER, sender="so@home.gov.in")
    assert await Tallies(room.store).count() == 5
    rows = await room.store.reviewing.tallies(*EVER)
    assert sorted(rows, key=lambda row: (row.hour, row.disposition, row.level)) == [
        TallyRow(HOUR, "dept.gov.in", "rule-x", "deliver", -1, 2), TallyRow(HOUR, "dept.gov.in", "rule-x", "hold", -1, 1),
        TallyRow(HOUR, "dept.gov.in", "rule-x", "hold", int(Level.CONFIDENTIAL), 1),
        TallyRow(HOUR + 1, "home.gov.in", "rule-x", "deliver", -1, 1),
    ]  # fmt: skip
    assert await room.store.reviewing.tallies(HOUR, HOUR + 1, frozenset({"home.gov.in"})) == []


async def test_acts_of_people_and_sign_ins_are_no_decisions(room: Room) -> None:
    await room.store.write(Batch(audit=[event(disposition="held-released"), event(disposition="login-refused")]))
    assert await Tallies(room.store).count() == 2
    assert await room.store.reviewing.tallies(*EVER) == []
    assert await room.store.reviewing.tallied_to() == 2


async def test_every_row_is_counted_once_in_small_steps_through_failures_and_by_two_at_once(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tallies, "STEP", 7)
    monkeypatch.setattr(tallies, "_PAUSE", 0.0)
    await room.store.write(Batch(audit=[event(created=NOW + n * 600) for n in range(40)]))
    write = room.store.write
    failing = iter([False, True, False, True, True] + [False] * 100)

    async def unsteady(batch: Batch) -> None:
        if next(failing):
            raise StoreError("no room")
        await write(batch)

    monkeypatch.setattr(room.store, "write", unsteady)
    for _ in range(4):
        results = await asyncio.gather(Tallies(room.store).count(), return_exceptions=True)
        assert all(isinstance(result, int | StoreError) for result in results)
    one = Tallies(room.store)
    await write(Batch(audit=[event(created=NOW) for _ in range(15)]))
    await asyncio.gather(one.count(), one.count())
    assert sum(row.count for row in await room.store.reviewing.tallies(*EVER)) == 55
    assert await one.count() == 0


async def test_counts_go_with_the_decision_log(room: Room) -> None:
    await decide(room, Disposition.DELIVER)
    room.now = NOW + 7200
    await decide(room, Disposition.HOLD)
    await Tallies(room.store).count()
    assert await room.store.drop_reviewed(NOW + 3600, 100) == 1
    assert [row.disposition for row in await room.store.reviewing.tallies(*EVER)] == ["hold"]
    assert await room.store.drop_reviewed(NOW + 3600, 100) == 0


def test_an_hour_is_one_of_indias_clock() -> None:
    midnight = 1_800_037_800 - 1_800_037_800 % 86400 - INDIA
    assert (midnight + INDIA) // 3600 % 24 == 0


async def test_a_level_that_no_code_knows_counts_as_none(room: Room) -> None:
    document: dict[str, Any] = {"event": {"dataset": "gateway.decision"}, "gateway": {"label": {"level": "ULTRA"}}}
    await room.store.write(Batch(audit=[event(document=document), event(document={"event": {}})]))
    await Tallies(room.store).count()
    assert {row.level for row in await room.store.reviewing.tallies(*EVER)} == {-1}

"""The figures that people see: within their departments, by India's days in a long period."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.keeper.access import Who
from gateway.keeper.dashboard import Figures
from gateway.keeper.exceptions import Wrong
from gateway.levels import Level
from gateway.relay.relay import Relay
from gateway.relay.routes import NextHop
from gateway.review import Dashboard, ListRules
from gateway.roles import Grant
from gateway.stores.base import Batch, DeliveryState
from gateway.stores.reviewed import INDIA, ReviewBatch, TallyRow
from tests.keeper_kit import NOW, Room, delivery, hold, message

DAY = 86400


def who(*grants: str) -> Who:
    return Who("asha", grants=tuple(Grant.parse(one) for one in grants))


ALL = who("viewer@*")


def relay(**lanes: Any) -> Relay:
    hops = {name: NextHop(f"{name}:25", name, 25, "", "required", None, name, loopback=False) for name in ("used", "away", "idle")}
    known = {hops[name]: lane for name, lane in lanes.items()}
    return cast(Relay, SimpleNamespace(routes=SimpleNamespace(hops=list(hops.values())), lanes=known))


def lane(served: float, error: object = None, jobs: tuple[Any, ...] = ()) -> SimpleNamespace:
    return SimpleNamespace(
        served=served, way="TLSv1.3", jobs=jobs, breakers={False: SimpleNamespace(error=error), True: SimpleNamespace(error=None)}
    )


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    made = await Room(tmp_path).open()
    yield made
    await made.close()


@pytest.fixture
def figures(room: Room) -> Figures:
    return Figures(room.config, room.store, relay(), lambda: room.policy, lambda: room.now)


async def ask(figures: Figures, person: Who = ALL, department: str = "", days: float = 1) -> dict[str, Any]:
    return (await figures.dashboard(Dashboard(NOW - days * DAY, NOW + 1, department), person)).rows[0]


def tally(seconds: float, department: str, count: int, level: int = -1) -> TallyRow:
    return TallyRow(int((seconds + INDIA) // 3600), department, "r", "hold", level, count)


async def fill(room: Room) -> None:
    counts = [tally(NOW, "dept.gov.in", 2, int(Level.SECRET)), tally(NOW - 1800, "home.gov.in", 3), tally(NOW - 20 * DAY, "dept.gov.in", 5)]
    row, other = message(), message(department="home.gov.in")
    parked = delivery(other, state=DeliveryState.ON_HOLD)
    holds = [hold(row, created=NOW - 50), hold(other, created=NOW - 90, deadline=NOW + 9 * DAY)]
    await room.store.write(
        Batch(messages=[row, other], deliveries=[delivery(row), parked], holds=holds, review=ReviewBatch(tallies=counts, tallied_to=1))
    )


async def test_figures_are_of_the_departments_whose_figures_one_may_see(room: Room, figures: Figures) -> None:
    await fill(room)
    every = await ask(figures)
    assert sorted((row["department"], row["count"], row["level"]) for row in every["series"]) == [
        ("dept.gov.in", 2, Level.SECRET.text), ("home.gov.in", 3, ""),
    ]  # fmt: skip
    assert (every["held"], every["oldest"], every["due_soon"]) == ({"held": 2}, NOW - 90, 1)
    assert (every["queue"]["scheduled"], every["queue"]["on-hold"], every["queue"]["deferred"]) == (1, 1, 0)
    for person, department in ((who("viewer@dept.gov.in"), ""), (ALL, "dept.gov.in"), (ALL, "DEPT.gov.in")):
        mine = await ask(figures, person, department)
        assert {row["department"] for row in mine["series"]} == {"dept.gov.in"}
        assert (mine["held"], mine["oldest"], mine["queue"]["on-hold"]) == ({"held": 1}, NOW - 50, 0)
    none = await ask(figures, who("viewer@dept.gov.in"), "home.gov.in")
    assert (none["series"], none["held"], sum(none["queue"].values())) == ([], {}, 0)


async def test_a_long_period_is_counted_by_days_of_india(room: Room, figures: Figures) -> None:
    await fill(room)
    month = await ask(figures, days=30)
    assert month["step"] == 24
    assert sum(row["count"] for row in month["series"]) == 10
    assert all((row["at"] + INDIA) % DAY == 0 for row in month["series"]), "each begins at midnight"
    day = await ask(figures)
    assert (day["step"], {(row["at"] + INDIA) % 3600 for row in day["series"]}) == (1, {0})


@pytest.mark.parametrize("asked", [Dashboard(float("nan"), 0), Dashboard(0, float("inf")), Dashboard(0, 1, "x" * 300)])
async def test_W12_times_that_are_none_are_refused(figures: Figures, asked: Dashboard) -> None:
    with pytest.raises(Wrong):
        await figures.dashboard(asked, ALL)


async def test_an_endless_period_is_cut(room: Room, figures: Figures) -> None:
    await fill(room)
    assert (await figures.dashboard(Dashboard(-1e15, 1e15), ALL)).rows[0]["step"] == 24


async def test_next_hops_tell_whether_they_answer(room: Room) -> None:
    lanes = relay(used=lane(NOW - 5), away=lane(NOW - 900, "connection refused", (SimpleNamespace(rows=[1, 2]),)))
    made = Figures(room.config, room.store, lanes, lambda: room.policy, lambda: room.now)
    names = ("route", "state", "since", "last_reply", "waiting")
    assert [tuple(hop[name] for name in names) for hop in (await ask(made))["hops"]] == [
        ("used:25", "well", NOW - 5, "TLSv1.3", 0), ("away:25", "away", NOW - 900, "connection refused", 2),
        ("idle:25", "not used", 0, "", 0),
    ]  # fmt: skip


async def test_the_rules_in_force_are_told_with_their_sentences(figures: Figures, room: Room) -> None:
    english = (await figures.rules(ListRules(), ALL)).rows
    assert [row["id"] for row in english] == [rule.id for rule in room.policy.rules.rules]
    explained = next(row for row in english if row["explain"])
    hindi = next(row for row in (await figures.rules(ListRules("hi"), ALL)).rows if row["id"] == explained["id"])
    assert explained["what"]
    assert explained["why"] != hindi["why"]
    assert not any("{" in row["what"] + row["why"] for row in english)
    assert (await figures.rules(ListRules("x" * 1000), ALL)).rows[0]["id"] == english[0]["id"]

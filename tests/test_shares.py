"""Who comes next where there is not enough for all: turns, places, sessions, memory. Hostile-inputs S23, O19; clocks go by hand."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from gateway.config import Limits
from gateway.doors.limits import Budget, Callers
from gateway.shares import Places, Turns, owner_of


@pytest.mark.parametrize(
    ("ip", "more", "owner"),
    [
        ("192.0.2.77", {}, "192.0.2.0/24"), ("192.0.2.1", {}, "192.0.2.0/24"), ("192.0.3.1", {}, "192.0.3.0/24"),
        ("2001:db8:0:1::7", {}, "2001:db8:0:1::/64"), ("2001:db8:0:2::7", {}, "2001:db8:0:2::/64"),
        ("10.0.0.7", {"known": True}, "10.0.0.7"), ("192.0.2.77", {"user": "a@dept.gov.in"}, "login a@dept.gov.in"),
        ("192.0.2.77", {"user": "a@dept.gov.in", "known": True}, "login a@dept.gov.in"), ("", {}, ""), ("unix", {}, "unix"),
    ],
)  # fmt: skip
def test_S23_a_login_an_address_of_ours_or_a_strangers_network_is_one(ip: str, more: dict[str, bool | str], owner: str) -> None:
    assert owner_of(ip, **more) == owner  # type: ignore[arg-type]


def test_turns_go_round_and_keep_each_owners_order() -> None:
    turns: Turns[str] = Turns()
    for item in ("a1", "a2", "a3", "b1", "c1", "b2"):
        turns.add(item[0], item)
    assert (turns.before("a"), turns.before("b"), turns.before("new")) == (6, 6, 3)
    served = []
    while (first := turns.next()) is not None:
        served.append(turns.take(first[0]))
    assert served == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert len(turns) == 0


def test_turns_leave_out_who_may_not_and_who_left() -> None:
    turns: Turns[str] = Turns()
    for item in ("a1", "b1", "b2"):
        turns.add(item[0], item)
    assert turns.next(lambda owner, _: owner != "a") == ("b", "b1")
    turns.drop(lambda item: item == "b1")
    assert (len(turns), turns.next(lambda owner, _: owner != "a")) == (2, ("b", "b2"))
    turns.drop(lambda item: item == "b2")
    assert (len(turns), turns.next(lambda owner, _: owner != "a")) == (1, None)


async def test_places_go_from_hand_to_hand_in_turn() -> None:
    clock = [0.0]
    places, order, gates = Places(1, lambda: clock[0]), [], {}

    async def work(name: str) -> None:
        async with places.of(name[0]):
            order.append(name)
            await gates.setdefault(name, asyncio.Event()).wait()

    tasks = []
    for name in ("a1", "a2", "a3", "b1"):
        tasks.append(asyncio.create_task(work(name)))
        await asyncio.sleep(0)
    assert (order, places.waiting) == (["a1"], 3)
    assert places.wait("b") == 0.0, "nobody knows yet how long one takes"
    for name in ("a1", "a2", "b1"):
        clock[0] += 10
        gates.setdefault(name, asyncio.Event()).set()
        for _ in range(4):
            await asyncio.sleep(0)
    assert order == ["a1", "a2", "b1", "a3"]
    assert places.waiting == 0
    assert places.wait("a") == places.wait("b") == 10.0, "one is at work, and one takes ten seconds"
    gates["a3"].set()
    await asyncio.gather(*tasks)
    assert places.wait("a") == 0.0


async def test_a_place_is_not_lost_with_who_was_cancelled() -> None:
    places = Places(1)
    first = places.of("a")
    await first.__aenter__()
    waiting = [asyncio.create_task(places.of("b").__aenter__()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()  # while it waits
    await asyncio.sleep(0)
    await first.__aexit__(None, None, None)  # gives the place to the second
    waiting[1].cancel()  # before it could take it
    await asyncio.wait(waiting, timeout=1)
    assert [task.cancelled() for task in waiting] == [True, True, False]


def test_S23_one_client_does_not_get_the_last_tenth_of_the_sessions() -> None:
    limits, callers = Limits(connections=50, connections_listed=500, connections_per_minute=999, connections_per_ip=99), Callers()
    there = 0
    while not (why := callers.enter("10.0.0.1", True, limits, 0.0, there)):
        there += 1
    assert (there, why) == (45, "more than a share of the sessions")
    for number in range(5):
        assert not callers.enter(f"10.0.0.{2 + number % 2}", True, limits, 0.0, there)
        there += 1
    assert there == limits.connections
    callers.leave("10.0.0.2", True)
    assert callers.enter("10.0.0.1", True, limits, 0.0, there - 1)
    assert not callers.enter("10.0.0.2", True, limits, 0.0, there - 1)


def test_S23_a_strangers_network_is_one_in_a_crowd() -> None:
    limits, callers = Limits(connections=100, connections_per_ip=20, connections_per_minute=999), Callers()
    let_in: Counter[str] = Counter()
    for there in range(100):
        ip = f"192.0.2.{there}"
        let_in[callers.enter(ip, False, limits, 0.0, sum(let_in[why] for why in let_in if not why))] += 1
    assert let_in == {"": 90, "more than a share of the sessions": 10}
    assert not callers.enter("198.51.100.1", False, limits, 0.0, 90)


def test_memory_is_anybodys_until_it_is_short() -> None:
    budget = Budget(1000, 100)
    assert all(budget.take(100, "flood") for _ in range(7))
    assert not budget.take(100, "flood"), "beyond three quarters nobody gets more than a share"
    assert budget.crowded("flood", 100)
    assert not budget.crowded("honest", 100)
    assert budget.take(100, "honest")
    assert budget.take(100, "honest"), "up to a share"
    assert budget.take(100, "third")
    assert budget.used == 1000
    assert not budget.take(1, "fourth"), "there is no more"


def test_memory_that_is_given_back_goes_to_who_has_less_than_a_share() -> None:
    budget, served = Budget(1000, 100), []
    assert all(budget.take(100, "flood") for _ in range(7))
    for owner in ("h1", "h2", "h3"):
        assert budget.take(100, owner)
    for owner in ("flood", "flood", "h4", "h5"):
        budget.wait(100, lambda owner=owner: served.append(owner), owner)  # type: ignore[misc]
    budget.give(100, "flood")
    assert served == ["h4"]
    budget.give(100, "flood")
    assert served == ["h4", "h5"]
    assert budget.waiting == 2
    for _ in range(4):
        budget.give(100, "flood")
    assert served == ["h4", "h5", "flood"], "one is left to it, and a share of a thousand among seven is 142"
    for owner in ("h1", "h2", "h3"):
        budget.give(100, owner)
    assert (served, budget.waiting) == (["h4", "h5", "flood", "flood"], 0)


def test_a_large_message_is_not_overtaken_for_ever_by_small_ones() -> None:
    budget, served = Budget(1000, 400), []
    assert budget.take(300, "a")
    assert budget.take(300, "b")
    assert budget.take(300, "c")
    budget.wait(400, lambda: served.append("large"), "d")
    assert not budget.take(50, "e"), "it is not its turn"
    budget.give(300, "a")
    assert served == ["large"]


def test_a_budget_below_the_largest_message_is_one_owners_all_the_same() -> None:
    budget = Budget(1000, 5000)
    assert budget.take(1000, "a")
    assert not budget.take(1, "a")
    budget.give(1000, "a")
    assert budget.used == 0

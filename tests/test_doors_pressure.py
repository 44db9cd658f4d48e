"""What new mail is told before its text, in which order, and what the keeper says of its room. Hostile-inputs O01, O10, O19."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.config import Config, Limits
from gateway.doors.limits import Budget
from gateway.doors.pressure import AWAY, BUSY, Pressure
from gateway.doors.reporting import named
from gateway.keeper.readiness import Readiness
from gateway.metrics import FAMILIES, SHED_FOR
from gateway.reply import OUR_FAULT, STORE_FULL
from gateway.requests import Room, Sample
from gateway.shares import LATE, SLOW, Places
from tests.smtp_door import make_config, running

CONFIG = Config(max_message_size=1000, limits=Limits(max_inflight=10_000, pipeline=60.0))


class World:
    """A door's pressure, with a clock that goes by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.link = SimpleNamespace(away_since=0.0, oldest_commit=0.0, room=(Room(), 0.0))
        self.budget = Budget(10_000, 1000)
        self.wait = {"flood": 0.0}
        places = SimpleNamespace(wait=lambda owner: self.wait.get(owner, 0.0))
        self.pressure = Pressure(lambda: CONFIG, self.budget, self.link, cast(Places, places), lambda: self.now)

    def said(self, owner: str = "a", size: int = 0, *, stored: bool = True) -> Any:
        return self.pressure.refusal(owner, size, stored=stored)


def test_nothing_speaks_against_mail_where_nothing_is_known() -> None:
    assert Pressure(lambda: CONFIG, Budget(1000)).refusal("a", 0, stored=True) is None
    assert World().said(size=1000) is None


def test_a_keeper_that_is_away_for_a_moment_is_waited_for() -> None:
    world = World()
    world.link.away_since = world.now - AWAY
    assert world.said() is None
    world.now += 0.1
    assert world.said() == (OUR_FAULT, "keeper away")
    world.link.away_since = 0.0
    assert world.said() is None


def test_O10_a_store_that_stands_still_is_said_before_the_text() -> None:
    world = World()
    world.link.oldest_commit = world.now - SLOW
    assert (world.said(), world.pressure.commit_age) == (None, SLOW)
    world.now += 0.1
    assert world.said() == (OUR_FAULT, "store slow")


@pytest.mark.parametrize("full", ["queue", "disk"])
def test_O19_a_full_queue_or_disk_is_said_before_the_text_but_not_to_drafts(full: str) -> None:
    world = World()
    world.link.room = (Room(full, 50_000), world.now)
    assert world.said() == (STORE_FULL, f"{full} full")
    assert world.said(stored=False) is None
    world.now += 31
    assert world.said() is None, "an old word is none"


def test_O01_a_size_that_has_no_room_on_the_disk_beside_what_is_coming_is_said_at_once() -> None:
    world = World()
    world.link.room = (Room("", 1500), world.now)
    assert world.said(size=750) is None
    assert world.said(size=751) == (STORE_FULL, "disk full")
    assert world.budget.take(500, "b")
    assert world.said(size=250) is None
    assert world.said(size=251) == (STORE_FULL, "disk full")


def test_who_would_wait_too_long_for_the_inspector_is_not_let_in_and_others_are() -> None:
    world = World()
    world.wait["flood"] = LATE * 60
    assert world.said("flood") is None
    world.wait["flood"] += 0.1
    assert world.said("flood") == (BUSY, "inspection behind")
    assert world.said("honest") is None
    assert world.pressure.inspection_wait == 0.0


def test_who_has_its_share_of_memory_is_not_let_in_while_others_wait() -> None:
    world = World()
    assert all(world.budget.take(1000, "flood") for _ in range(7))
    assert all(world.budget.take(1000, owner) for owner in ("b", "c", "d"))
    assert world.said("flood", 1000) is None, "nobody waits yet"
    world.budget.wait(1000, lambda: None, "e")
    assert world.said("flood", 1000) == (STORE_FULL, "share of memory")
    assert world.said("f", 1000) is None, "it has nothing yet: its turn comes"


def test_every_reason_has_its_counter() -> None:
    counted = named({f"shed: {reason}": 2 for reason in SHED_FOR})
    assert counted == {("gateway_shed_total", reason): 2.0 for reason in SHED_FOR}
    assert FAMILIES["gateway_shed_total"].labels == ("reason",)


# --- the keeper's side -------------------------------------------------------------------------------------------------------


class Node:
    """A keeper's readiness over numbers that the test sets."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.config = Config(state_dir=folder, max_message_size=1000, limits=Limits(free_disk=10_000, queue_messages=100, pipeline=60))
        self.degraded, self.open_deliveries, self.free = "", 0, 100_000
        monkeypatch.setattr("gateway.keeper.readiness.free_octets", lambda _: self.free)
        self.readiness = Readiness(self.config, cast(Any, self), lambda: False)

    @property
    def counters(self) -> dict[str, int]:
        return {"open_deliveries": self.open_deliveries}

    def state(self) -> tuple[str, str]:
        return self.readiness.lacks(), self.readiness.room().full

    def door(self, **values: float) -> str:
        known = {"gateway_sessions_limit": 100.0, "gateway_memory_limit_bytes": 1000.0} | {f"gateway_{k}": v for k, v in values.items()}
        self.readiness.sessions("p1", [Sample(name, (), value) for name, value in known.items()])
        return self.readiness.lacks()


def test_O19_a_queue_that_fills_and_empties_not_ready_then_full_then_room_then_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, seen = Node(tmp_path, monkeypatch), []
    for count in [*range(85, 102), *range(101, 70, -1)]:
        node.open_deliveries = count
        if not seen or node.state() != seen[-1][1:]:
            seen.append((count, *node.state()))
    nearly = "the queue is nearly full"
    assert seen == [(85, "", ""), (90, nearly, ""), (100, nearly, "queue"), (94, nearly, ""), (79, "", "")]


def test_O01_a_disk_that_fills_and_empties_likewise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node, seen = Node(tmp_path, monkeypatch), []
    for free in [*range(17_000, 12_000, -250), *range(12_000, 21_000, 250)]:
        node.free = free
        if not seen or node.state() != seen[-1][1:]:
            seen.append((free, *node.state()))
    nearly = "the disk is nearly full"
    assert seen == [(17_000, "", ""), (15_750, nearly, ""), (12_750, nearly, "disk"), (14_000, nearly, ""), (19_000, "", "")]
    assert node.readiness.room().octets == node.free - node.config.limits.free_disk


@pytest.mark.parametrize(
    ("name", "edge", "again", "refused", "words"),
    [
        ("sessions", 90, 79, 100, "nearly all sessions are taken"),
        ("memory_bytes", 900, 799, 1000, "the memory for messages is nearly full"),
        ("inspection_wait_seconds", 30, 14, LATE * 60, "inspection is far behind"),
        ("commit_age_seconds", 2.5, 1.2, SLOW, "the store is slow"),
    ],
)
def test_the_node_is_not_ready_before_anybody_is_refused_and_ready_again_at_a_distance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, edge: float, again: float, refused: float, words: str
) -> None:
    node = Node(tmp_path, monkeypatch)
    assert edge < refused
    assert [node.door(**{name: value}) for value in (edge * 0.99, edge, edge * 0.99, again, edge * 0.99)] == ["", words, words, "", ""]


# --- on the wire -------------------------------------------------------------------------------------------------------------


async def test_a_session_is_told_at_mail_and_goes_on_when_there_is_room_again() -> None:
    async with running(make_config()) as door:
        client = await door.connect()
        await client.ask("EHLO c.dept.gov.in")
        link: Any = SimpleNamespace(away_since=0.0, oldest_commit=0.0, room=(Room("queue", 10**9), 10**12))
        door.door.pressure = Pressure(lambda: door.door.settings.config, door.door.budget, link)
        assert await client.ask("MAIL FROM:<a@dept.gov.in> SIZE=5000") == STORE_FULL.encode().decode().strip()
        assert (await client.ask("RCPT TO:<b@gov.in>"))[:3] == "503", "there is no transaction"
        link.room = (Room("", 10**9), 10**12)
        assert (await client.ask("MAIL FROM:<a@dept.gov.in> SIZE=5000"))[:3] == "250"
        assert door.door.counters["shed: queue full"] == 1
        await asyncio.sleep(0)

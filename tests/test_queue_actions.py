"""The operator's hand on the queue, and the call-out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.relay import callout
from gateway.relay.callout import Callout
from gateway.relay.queue_actions import QueueActions
from gateway.stores.base import DeliveryState as S
from tests.hostile_hop import CLOSE, SILENT, Hop, per_recipient
from tests.test_relay import Told, World, told  # noqa: F401

pytestmark = pytest.mark.usefixtures("told")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with Hop() as hop:
        world = World(hop)
        await world.relay.start()
        yield world
        await world.relay.stop()


async def waiting(world: World, state: S = S.DEFERRED, **more: Any) -> str:
    rows = world.rows(state=state, **{"next_attempt": world.clock.time() + 1000, **more})
    await world.commit(rows)
    return rows[0].id


async def test_retry_sends_now(world: World) -> None:
    delivery = await waiting(world)
    acted = await QueueActions(world.store, world.relay).act("retry", [delivery], user="asha")
    assert (acted.done, acted.problems) == (1, ())
    await world.settled([delivery], S.DELIVERED)
    event = world.store.events[0].document
    assert event["event"]["action"] == "delivery-retry"
    assert event["user"]["name"] == "asha"


async def test_retry_passes_an_open_breaker(world: World) -> None:
    await world.hop.stop()
    ids = await world.accept()
    await world.settled(ids, S.DEFERRED)
    await world.hop.start()
    await QueueActions(world.store, world.relay).act("retry", all=True)
    await world.settled(ids, S.DELIVERED)


async def test_hold_and_unhold(world: World) -> None:
    actions, delivery = QueueActions(world.store, world.relay), await waiting(world)
    assert (await actions.act("hold", [delivery])).done == 1
    world.clock.advance(5000)
    world.relay.wake()
    await asyncio.sleep(0.05)
    assert world.store.delivery_rows[delivery].state is S.ON_HOLD
    assert not world.hop.taken
    again = await actions.act("retry", [delivery])
    assert again.done == 0
    assert "on-hold" in again.problems[0]
    assert (await actions.act("unhold", [delivery])).done == 1
    await world.settled([delivery], S.DELIVERED)


async def test_bounce_tells_the_originator_with_the_header_of_the_stored_body(world: World, told: Told) -> None:  # noqa: F811
    delivery = await waiting(world)
    assert (await QueueActions(world.store, world.relay).act("bounce", [delivery], user="asha")).done == 1
    assert world.store.delivery_rows[delivery].state is S.BOUNCED
    assert told.kinds == ["failed"]
    assert b"Subject: Tour programme" in told.calls[0][2]["header"]
    await world.settled([world.reports()[0].id], S.DELIVERED)
    assert world.hop.taken[0].mail.startswith("MAIL FROM:<>")


@pytest.mark.parametrize("state", [S.LEASED, S.DELIVERED, S.BOUNCED, S.EXPIRED])
@pytest.mark.parametrize("action", ["retry", "bounce", "hold", "unhold"])
async def test_what_is_on_its_way_or_final_is_left_alone(world: World, action: str, state: S) -> None:
    delivery = await waiting(world, state)
    acted = await QueueActions(world.store, world.relay).act(action, [delivery, "nothing"])
    assert acted.done == 0
    assert len(acted.problems) == 2
    assert world.store.delivery_rows[delivery].state is state


async def test_all_takes_what_fits(world: World) -> None:
    held, deferred = await waiting(world, S.ON_HOLD), await waiting(world)
    acted = await QueueActions(world.store, world.relay).act("hold", all=True)
    assert (acted.done, acted.problems) == (1, ())
    assert world.store.delivery_rows[deferred].state is S.ON_HOLD
    assert (await QueueActions(world.store, world.relay).act("unhold", all=True)).done == 2
    await world.settled([held, deferred], S.DELIVERED)


@pytest.mark.parametrize("call", [("explode", ["x"], False), ("retry", [], False), ("retry", ["x"], True)])
async def test_wrong_calls(world: World, call: tuple[str, list[str], bool]) -> None:
    with pytest.raises(ValueError, match="name|action"):
        await QueueActions(world.store, world.relay).act(call[0], call[1], all=call[2])


# --- the call-out ----------------------------------------------------------------------------------------------------


def callout_for(world: World) -> Callout:
    return Callout(world.config, world.relay.routes, world.relay.resolver, world.relay.contexts)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (b"250 ok\r\n", callout.TAKEN), (b"251 will forward\r\n", callout.TAKEN), (b"550 5.1.1 secret words\r\n", callout.UNKNOWN),
        (b"553 x\r\n", callout.UNKNOWN), (b"450 4.2.1 greylisted\r\n", callout.UNSURE), (b"421 4.3.2 bye\r\n", callout.AWAY),
        (CLOSE, callout.AWAY), (SILENT, callout.AWAY), (b"999 x\r\n", callout.AWAY), (b"354 x\r\n", callout.UNSURE),
    ],
)  # fmt: skip
async def test_verify_says_what_the_hop_says_in_our_words(world: World, reply: Any, expected: Any) -> None:
    world.hop.replies["RCPT"] = reply
    mine = callout_for(world)
    assert await mine.verify("x@dept.gov.in") == expected
    assert "DATA" not in world.hop.lines
    assert "MAIL FROM:<> SIZE=0" in world.hop.lines
    await mine.stop()


async def test_verify_when_the_hop_is_away_or_refuses_the_null_sender(world: World) -> None:
    world.hop.replies["MAIL"] = b"550 no null senders\r\n"
    mine = callout_for(world)
    assert (await mine.verify("x@dept.gov.in")).temporary
    await world.hop.stop()
    mine = callout_for(world)
    assert await mine.verify("x@dept.gov.in") == callout.AWAY
    assert (await mine.verify("a b@dept.gov.in")).code == 450, "the breaker answers"


async def test_verify_keeps_answers_asks_once_and_keeps_the_connection(world: World) -> None:
    world.hop.replies["RCPT"] = per_recipient({"no@dept.gov.in": b"550 5.1.1 no\r\n"})
    mine = callout_for(world)
    answers = await asyncio.gather(*[mine.verify("x@dept.gov.in") for _ in range(20)])
    assert set(answers) == {callout.TAKEN}
    for _ in range(3):
        assert await mine.verify("no@dept.gov.in") == callout.UNKNOWN
        assert await mine.verify("x@dept.gov.in") == callout.TAKEN
    assert sum(line.startswith("RCPT") for line in world.hop.lines) == 2
    assert world.hop.connections == 1
    await mine.stop()
    await asyncio.sleep(0.05)
    assert world.hop.open == 0


async def test_verify_does_not_wait_for_ever_for_a_hop_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callout, "PATIENCE", 0.2)
    async with Hop() as hop:
        world = World(hop, limits={"relay_command": "5m"})
        hop.replies["RCPT"] = SILENT
        mine = callout_for(world)
        async with asyncio.timeout(5):
            # More than there are connections: the last of them wait for one as long as the first for their answer.
            assert set(await asyncio.gather(*[mine.verify(f"x{n}@dept.gov.in") for n in range(9)])) == {callout.AWAY}
        asked = len(hop.lines)
        assert await mine.verify("y@dept.gov.in") == callout.AWAY
        assert len(hop.lines) == asked, "the breaker answers"
        await mine.stop()


async def test_verify_can_be_switched_off() -> None:
    async with Hop() as hop:
        world = World(hop, relay={"verify_recipients": False})
        assert await callout_for(world).verify("x@dept.gov.in") == callout.TAKEN
        assert hop.connections == 0

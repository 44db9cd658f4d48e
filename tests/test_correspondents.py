"""Who has written to whom before: what is kept, when, and what a door is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.address import NULL_PATH
from gateway.doors.peers import KeeperLink
from gateway.keeper.access import Who
from gateway.keeper.accounts import ALL
from gateway.keeper.today import Today
from gateway.policy import Policy
from gateway.policy.rules import Rule, RuleSet
from gateway.reply import ReplyError
from gateway.requests import Failed, FirstTime, FirstTimes
from gateway.stores.base import StoreError
from gateway.verdict import Disposition
from tests.keeper_kit import NOW, Room, recipient, shipped_policy, transaction, verdict

SENDER, DESK, HEAD = "so@dept.gov.in", "desk@finance.nic.in", "head@home.gov.in"
DAY = 86400.0


def asking(when: str = "recipient.first_time && message.level >= CONFIDENTIAL") -> Policy:
    """A policy whose only rule reads *when*."""
    rule = Rule("novel", "Somebody new", "", when, Disposition.HOLD, "", "4.7.1")
    return changed(shipped_policy(), rules=RuleSet((rule,), when), version=when)


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    made = Room(tmp_path)
    made.policy = asking()
    await made.open()
    yield made
    await made.close()


async def pairs(room: Room) -> list[tuple[bytes, int]]:
    """The whole table."""
    return await room.store._read(lambda db: db.execute("SELECT pair, last_seen FROM correspondents ORDER BY pair").fetchall())


async def first(room: Room, *recipients: str, sender: str = SENDER) -> tuple[str, ...]:
    return await room.correspondents.first_times(sender, recipients)


async def deliver(room: Room, *recipients: str, **more: Any) -> None:
    tx = transaction(*recipients, **more)
    await room.commit(tx, verdict(room.version, *(recipient(one) for one in recipients)))


async def test_what_was_delivered_is_known_afterwards(room: Room) -> None:
    assert await first(room, DESK, HEAD) == (DESK, HEAD)
    await deliver(room, DESK)
    assert await first(room, DESK, HEAD, DESK) == (HEAD,)
    assert await first(room, "Desk@Finance.nic.in", sender="SO@dept.gov.in") == (), "in any case of letters"
    assert await first(room, DESK, sender="other@dept.gov.in") == (DESK,), "known to its own sender only"


async def test_no_address_stands_in_the_store(room: Room, tmp_path: Path) -> None:
    await deliver(room, DESK)
    [(pair, day)] = await pairs(room)
    assert (len(pair), day) == (16, int(NOW // DAY))
    assert pair != room.vault.pair_hash(DESK, SENDER)
    assert pair == room.vault.pair_hash(SENDER, DESK)


@pytest.mark.parametrize(("when", "wanted"), [
    ("message.level >= CONFIDENTIAL", False),
    ("recipient.first_time", True),
    ("message.first_time_recipients > 3", True),
])  # fmt: skip
async def test_nothing_is_written_where_no_rule_asks(room: Room, when: str, wanted: bool) -> None:
    room.policy = asking(when)
    assert room.correspondents.wanted is wanted
    await deliver(room, DESK)
    assert bool(await pairs(room)) is wanted


async def test_only_deliveries_of_verified_originators_count(room: Room) -> None:
    await deliver(room, DESK, verified=False)
    tx = transaction(DESK, HEAD)
    await room.commit(tx, verdict(room.version, recipient(DESK, Disposition.HOLD), recipient(HEAD, Disposition.REFUSE)))
    null = transaction(DESK)
    null = replace(null, envelope=replace(null.envelope, sender=NULL_PATH))
    await room.commit(null, verdict(room.version, recipient(DESK)))
    assert await pairs(room) == []


async def test_a_release_counts_as_the_delivery_that_it_is(room: Room) -> None:
    tx = transaction(DESK, HEAD)
    made = verdict(room.version, recipient(DESK, Disposition.HOLD), recipient(HEAD, Disposition.HOLD))
    await room.commit(tx, replace(made, recipient_facts=()))
    hold = await room.store.hold(tx.reference)
    assert hold is not None
    await room.quarantine.release(hold.id, "looked at it", (DESK,), Who("asha", grants=ALL))
    assert await first(room, DESK, HEAD) == (HEAD,)


async def test_a_pair_is_written_once_a_day(room: Room) -> None:
    written: list[int] = []
    write = room.store.write

    async def counted(batch: Any) -> None:
        written.append(len(batch.correspondents))
        await write(batch)

    room.store.write = counted  # type: ignore[method-assign]
    for _ in range(3):
        await deliver(room, DESK, HEAD)
    assert written == [2, 0, 0]
    room.now += DAY
    await deliver(room, DESK)
    assert written[-1] == 1
    assert {day for _, day in await pairs(room)} == {int(NOW // DAY), int(NOW // DAY) + 1}


async def test_a_batch_that_failed_is_written_next_time(room: Room) -> None:
    write = room.store.write

    async def broken(batch: Any) -> None:
        raise StoreError("disk")

    room.store.write = broken  # type: ignore[method-assign]
    with pytest.raises(StoreError):
        await deliver(room, DESK)
    room.store.write = write  # type: ignore[method-assign]
    assert await first(room, DESK) == (DESK,)
    await deliver(room, DESK)
    assert await first(room, DESK) == ()


async def test_memory_is_bounded_and_the_store_remembers(room: Room) -> None:
    room.correspondents._today = Today(3)
    addresses = [f"a{n}@nic.in" for n in range(8)]
    for address in addresses:
        await deliver(room, address)
    assert len(room.correspondents._today._levels) == 3
    assert await first(room, *addresses, "new@nic.in") == ("new@nic.in",)


async def test_what_is_known_survives_a_restart_and_goes_with_its_age(room: Room, tmp_path: Path) -> None:
    await deliver(room, DESK)
    await room.close()
    again = Room(tmp_path)
    again.policy = asking()
    await again.open()
    assert await first(again, DESK) == ()
    again.now += 366 * DAY
    assert await again.store.drop_correspondents(int((again.now - again.config.retention.correspondents) // DAY), 100) == 1
    assert await first(again, DESK) == (DESK,)
    await again.close()


class FakeChannel:
    """A channel to a keeper that answers *answer*."""

    open = True

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[Any] = []

    async def call(self, request: Any, body: bytes = b"") -> tuple[Any, bytes]:
        self.asked.append(request)
        return self.answer, b""


async def test_a_door_asks_and_what_cannot_be_known_is_deferred(room: Room) -> None:
    link = KeeperLink(room.config)
    with pytest.raises(ReplyError) as away:
        await link.first_times(SENDER, (DESK,))
    channel = FakeChannel(FirstTime((DESK,)))
    link._channel = channel  # type: ignore[assignment]
    assert await link.first_times(SENDER, (DESK, HEAD)) == frozenset({DESK})
    assert channel.asked == [FirstTimes(SENDER, (DESK, HEAD))]
    for answer in (Failed("disk", 3), Failed("full", 4), object()):
        channel.answer = answer
        with pytest.raises(ReplyError) as caught:
            await link.first_times(SENDER, (DESK,))
        assert caught.value.reply.temporary
    assert away.value.reply.temporary

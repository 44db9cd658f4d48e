"""The exception register: who may be entered, for how long, and what a change does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.keeper.exceptions import Wrong
from gateway.requests import AddException, ExpireException
from tests.keeper_kit import NOW, Room


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    made = await Room(tmp_path).open()
    yield made
    await made.close()


def asked(**changes: object) -> AddException:
    given = {"sender": "so@Dept.gov.in", "recipient": "@Example.com", "reason": "tender 5", "requester": "asha", "approver": "bina"}
    return AddException(**(given | {"expires": NOW + 100} | changes))  # type: ignore[arg-type]


async def test_an_entry_is_in_force_at_once_and_changes_the_version(room: Room) -> None:
    empty = room.version
    row = await room.register.add(asked(), "root")
    assert (row.sender, row.recipient) == ("so@dept.gov.in", "@example.com")
    assert room.register.current.rows == (row,)
    assert room.version != empty
    assert room.store.exceptions_version == room.version
    line = (await room.lines())[-1]
    assert (line["event"]["action"], line["user"]["name"]) == ("exception-added", "root")
    assert line["gateway"]["act"] == {"approver": "bina", "exception": row.id, "expires": int(NOW + 100), "requester": "asha"}


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"approver": "asha"}, 1, "approver"),
        ({"approver": " ASHA "}, 1, "approver"),
        ({"approver": "\uff41sha"}, 1, "approver"),
        ({"approver": "\u0430sha"}, 1, "approver"),
        ({"requester": "asha rao", "approver": "asha  rao."}, 1, "approver"),
        ({"requester": ""}, 2, "requester is missing"),
        ({"approver": " "}, 2, "approver is missing"),
        ({"reason": ""}, 2, "reason is missing"),
        ({"reason": "a\nb"}, 2, "printed"),
        ({"expires": NOW}, 2, "future"),
        ({"expires": NOW - 1}, 2, "future"),
        ({"expires": NOW + 20 * 366 * 86400}, 2, "future"),
        ({"expires": float("nan")}, 2, "future"),
        ({"expires": float("inf")}, 2, "future"),
        ({"sender": "a b@c"}, 2, "from"),
        ({"recipient": "a@b@c"}, 2, "to"),
        ({"recipient": "*.gov.in"}, 2, "to"),
        ({"recipient": "सरकार.भारत"}, 2, "A-labels"),
        ({"sender": "*", "recipient": "*"}, 2, "everybody"),
    ],
)
async def test_entries_that_are_refused(room: Room, changes: dict[str, object], code: int, words: str) -> None:
    with pytest.raises(Wrong, match=words) as caught:
        await room.register.add(asked(**changes), "root")
    assert caught.value.code == code
    assert room.register.current.rows == ()
    assert await room.store.exceptions(all=True) == []


@pytest.mark.parametrize("pattern", ["a@b.in", "@b.in", "b.in", ".b.in", "*", "a.b+c@xn--11b7cb3a6a.xn--h2brj9c"])
async def test_patterns_that_are_taken(room: Room, pattern: str) -> None:
    assert (await room.register.add(asked(sender=pattern), "root")).sender == pattern


async def test_an_entry_ends_by_the_clock_and_the_version_with_it(room: Room) -> None:
    empty = room.version
    row = await room.register.add(asked(), "root")
    later = await room.register.add(asked(expires=NOW + 500), "root")
    assert room.register.first_end == NOW + 100
    room.now = NOW + 99
    assert await room.register.expire() == 0
    room.now = NOW + 100
    assert await room.register.expire() == 1
    assert room.register.current.rows == (later,)
    room.now = NOW + 600
    await room.register.load()
    assert room.version == empty
    assert [one.state for one in await room.store.exceptions(all=True)] == ["expired", "expired"]
    assert row.id in {one.id for one in await room.store.exceptions(all=True)}
    assert [line["event"]["action"] for line in await room.lines()][-2:] == ["exception-expired"] * 2


async def test_an_entry_is_ended_by_hand(room: Room) -> None:
    row = await room.register.add(asked(), "root")
    await room.register.end(ExpireException(row.id, "done"), "asha")
    assert room.register.current.rows == ()
    with pytest.raises(Wrong, match="no active exception"):
        await room.register.end(ExpireException(row.id), "asha")


async def test_the_register_survives_a_restart(room: Room, tmp_path: Path) -> None:
    row = await room.register.add(asked(), "root")
    version = room.version
    await room.close()
    again = await Room(tmp_path).open()
    assert again.version == version
    assert again.register.current.rows == (row,)
    await again.close()

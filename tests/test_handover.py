"""What a door hands over of a decision, and what the keeper makes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from gateway import handover
from gateway.levels import Level
from gateway.requests import Commit, DoorRequest, Failed
from gateway.verdict import Disposition, RuleTrace, Verdict
from tests.keeper_kit import CONTENT, Room, recipient, transaction, verdict

DESK, HEAD = "desk@finance.nic.in", "head@home.gov.in"
TRACE = (RuleTrace("a", False), RuleTrace("b", True, "monitor", "hold"), RuleTrace("c", False), RuleTrace("rule-x", True))
ABOUT: dict[str, object] = {
    "message.level": 2,
    "message.resent": True,
    "originator.application": "ledger",
    "leaves": [{"level": 2, "é": "ü"}],
}
EACH: tuple[dict[str, object], ...] = ({"recipient.address": DESK}, {"recipient.address": HEAD, "exception.active": False})


def through(request: Commit) -> Commit:
    """*request* as the other end of the socket has it."""
    read: Commit = msgspec.msgpack.decode(msgspec.msgpack.encode(request), type=DoorRequest)
    return read


def made(room: Room, *dispositions: Disposition, **changes: Any) -> Verdict:
    each = [recipient(one, what, trace=TRACE) for one, what in zip((DESK, HEAD), dispositions, strict=True)]
    found = verdict(room.version, *each, level=Level.CONFIDENTIAL)
    return replace(found, message_facts=ABOUT, recipient_facts=EACH, **changes)


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    made = await Room(tmp_path).open()
    yield made
    await made.close()


DELIVER, HOLD, REFUSE, DEFER = Disposition.DELIVER, Disposition.HOLD, Disposition.REFUSE, Disposition.DEFER


def rows(db: Any) -> list[Any]:
    tables = ("SELECT verdict, facts, peer, details = '' FROM messages", "SELECT recipient, edits FROM deliveries ORDER BY recipient")
    return [db.execute(one).fetchall() for one in tables]


def lines(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without what differs between two runs."""
    for one in found:
        for field in ("prev_hash", "seq", "chain"):
            one["gateway"].pop(field)
    return found


async def test_what_goes_to_all_is_stored_and_logged_as_if_it_had_come_in_full(room: Room, tmp_path: Path) -> None:
    tx, decided = transaction(DESK, HEAD), made(room, DELIVER, DELIVER)
    lean, full = through(handover.commit(tx, decided, 7.0)), through(Commit(tx, decided))
    assert lean.until == 7.0
    assert lean.verdict.message_facts == {"message.resent": True, "originator.application": "ledger"}
    assert [one.trace for one in lean.verdict.recipients] == [(TRACE[1], TRACE[3])] * 2
    assert [one.facts for one in lean.verdict.recipients] == [(), ()]
    (tmp_path / "other").mkdir()
    other = await Room(tmp_path / "other").open()
    answers = [await room.actor.commit(lean, CONTENT), await other.actor.commit(full, CONTENT)]
    assert answers[0] == answers[1]
    assert await room.store._read(rows) == await other.store._read(rows)
    assert lines(await room.lines()) == lines(await other.lines())
    stored = await room.store.message(tx.id)
    assert stored is not None
    assert stored.facts == {"message": ABOUT, "recipients": list(EACH)}
    await other.close()


@pytest.mark.parametrize("dispositions", [(DELIVER, HOLD), (DELIVER, REFUSE), (REFUSE, REFUSE), (HOLD, HOLD), (DELIVER, DEFER)])
def test_what_a_person_may_look_at_comes_in_full(room_less: Room, dispositions: tuple[Disposition, ...]) -> None:
    tx, decided = transaction(DESK, HEAD), made(room_less, *dispositions)
    assert handover.commit(tx, decided, 1.0) == Commit(tx, decided, 1.0)


@pytest.mark.parametrize("change", [{"sealed": True}, {"session_refusal": True}])
def test_what_is_sealed_or_refused_in_the_session_comes_in_full(room_less: Room, change: dict[str, bool]) -> None:
    tx, decided = transaction(DESK, HEAD), made(room_less, DELIVER, DELIVER, **change)
    assert handover.commit(tx, decided) == Commit(tx, decided)


@pytest.fixture
def room_less() -> Any:
    return type("R", (), {"version": "sha256:1"})


@pytest.mark.parametrize("facts", [
    b"{", b"null", b"[]", b"{}", b'{"message":{},"recipients":[{}]}', b'{"message":{},"recipients":[{},{},{}]}',
    b'{"message":[],"recipients":[{},{}]}', b'{"message":{},"recipients":[{},1]}', b'{"message":null,"recipients":[{},{}]}',
    b'{"message":{"a":tru},"recipients":[{},{}]}', b'{"message":{"a":"\xff"},"recipients":[{},{}]}',
    b'{"message":{"a":"\n"},"recipients":[{},{}]}', b'{"message":{"a":1},"recipients":[{},{}]}{}',
    b'{"message":{"a":' + b"[" * 5000 + b"]" * 5000 + b'},"recipients":[{},{}]}',
])  # fmt: skip
async def test_facts_that_are_none_are_our_fault_and_nothing_is_stored(room: Room, facts: bytes) -> None:
    tx = transaction(DESK, HEAD)
    answer = await room.actor.commit(through(replace(handover.commit(tx, made(room, DELIVER, DELIVER)), facts=facts)), CONTENT)
    assert isinstance(answer, Failed)
    assert answer.code == 3
    assert await room.store.message(tx.id) is None
    assert room.relay.offered == []


async def test_facts_apart_are_not_taken_where_somebody_has_to_look_at_them(room: Room) -> None:
    tx = transaction(DESK, HEAD)
    request = replace(Commit(tx, made(room, DELIVER, HOLD)), facts=b'{"message":{},"recipients":[{},{}]}')
    assert isinstance(await room.actor.commit(through(request), CONTENT), Failed)
    assert await room.store.message(tx.id) is None

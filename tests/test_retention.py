"""What is past its retention goes, a step at a time; what is left can be proved."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.audit import audit, export
from gateway.cli import invoke
from gateway.config import Retention as Ages
from gateway.keeper import retention
from gateway.keeper.exceptions import Wrong
from gateway.keeper.housekeeping import GRACE, Housekeeping
from gateway.requests import AddException
from gateway.stores.base import AuditEvent, Batch, DeliveryState, DeliveryUpdate, HeadRow
from gateway.stores.sqlite.store import SqliteStore
from tests.keeper_kit import NOW, Room, delivery, event, message, recipient, transaction, verdict

DAY = 86400.0


class Clock:
    """A wall clock that follows the room's, and a steady one beside it."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.stepped = 0.0

    def time(self) -> float:
        return self._room.now

    def monotonic(self) -> float:
        return self._room.now - self.stepped


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    made = await Room(tmp_path).open()
    yield made
    await made.close()


def keeping(room: Room) -> tuple[Housekeeping, Clock]:
    clock = Clock(room)
    signer = audit.signer(room.config)
    return Housekeeping(
        room.config, room.store, room.chain, signer, room.register, room.quarantine, clock, room.notifier, room.relay
    ), clock  # fmt: skip


async def written(room: Room, count: int, at: float) -> None:
    """*count* rows of the decision log of the time *at*."""
    await room.store.write(Batch(audit=[event(f"R{n}", created=at) for n in range(count)]))


async def checked(room: Room, **more: Any) -> audit.Result:
    keys = [audit.signer(room.config).public]
    heads = audit.heads_in(room.config.state_dir / "log" / "audit-heads.jsonl")
    return await audit.verify(room.store, more.get("keys", keys), more.get("heads", heads))


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "AUDIT_STEP", 7)
    monkeypatch.setattr(retention, "_AGES", 10)
    monkeypatch.setattr(retention, "MESSAGE_STEP", 3)
    monkeypatch.setattr(retention, "_LEAST_PAUSE", 0.0)


@pytest.mark.usefixtures("small_steps")
async def test_the_old_beginning_of_the_log_goes_and_the_rest_verifies(room: Room) -> None:
    house, _ = keeping(room)
    await written(room, 25, NOW - 366 * DAY)
    await written(room, 5, NOW - 364 * DAY)
    done = await house.purge()
    assert (done["audit"], done["finished"]) == (25, True)
    first = (await room.store.audit_rows())[0]
    assert first.seq == 26
    result = await checked(room)
    assert result.bad is None
    assert [(one.chain, one.seq) for one in result.beginnings] == [("c1", 26)]
    assert result.text.startswith(f"ok: {result.rows} rows in 1 chain; chain c1 begins with row 26, the rows before it were removed")
    said = [line for line in await room.lines() if line["event"]["action"] == "audit-purged"]
    assert [(line["gateway"]["act"]["last"], line["gateway"]["act"]["rows"]) for line in said] == [(25, 25)]
    [closing] = await room.store.closings()
    assert said[0]["gateway"]["act"]["hash"] == closing.hash == first.prev_hash
    assert (await house.purge())["audit"] == 0, "once"
    room.now += 2 * DAY
    assert (await house.purge())["audit"] == 5
    assert (await checked(room)).bad is None


@pytest.mark.usefixtures("small_steps")
async def test_a_row_that_is_younger_than_its_neighbours_keeps_all_behind_it(room: Room) -> None:
    house, _ = keeping(room)
    await written(room, 3, NOW - 400 * DAY)
    await written(room, 1, NOW)
    await written(room, 3, NOW - 400 * DAY)
    assert (await house.purge())["audit"] == 3
    assert [row.seq for row in await room.store.audit_rows()][:4] == [4, 5, 6, 7]
    assert (await checked(room)).bad is None


@pytest.mark.usefixtures("small_steps")
async def test_the_last_signed_row_stays_so_that_a_start_finds_it(room: Room) -> None:
    house, _ = keeping(room)
    await written(room, 10, NOW - 400 * DAY)
    run = house._retention.run

    async def later(upto: int, *rest: Any) -> dict[str, Any]:
        await written(room, 3, NOW - 400 * DAY)  # after the head was signed, before anything goes
        return await run(upto, *rest)

    house._retention.run = later  # type: ignore[method-assign, assignment]
    assert (await house.purge())["audit"] == 9
    signed = max(head.seq for head in audit.heads_in(house.heads_file))
    assert signed == 10
    assert [row.seq for row in await room.store.audit_rows()][0] == 10


@pytest.mark.usefixtures("small_steps")
async def test_a_chain_that_has_ended_keeps_its_last_row(room: Room) -> None:
    house, _ = keeping(room)
    old = audit.AuditChain("ended")
    await room.store.close()
    store = SqliteStore(room.config.state_dir / "gateway.db")
    await store.open(old)
    await store.write(Batch(audit=[event(f"E{n}", created=NOW - 400 * DAY) for n in range(4)]))
    await store.close()
    room.store = SqliteStore(room.config.state_dir / "gateway.db")
    await room.store.open(room.chain)
    house, _ = keeping(room)
    assert (await house.purge())["audit"] == 3
    result = await checked(room)
    assert result.bad is None
    assert [(one.chain, one.seq) for one in result.beginnings] == [("ended", 4)]


def change(folder: Path, sql: str, *values: object) -> None:
    with sqlite3.connect(folder / "gateway.db") as db:
        db.execute(sql, values)


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("DELETE FROM closings", "rows are missing"),
        ("DELETE FROM audit WHERE seq = (SELECT min(seq) FROM audit)", "rows are missing"),
        ("UPDATE closings SET seq = seq + 1", "signature"),
        ("UPDATE closings SET hash = 'sha256:0'", "signature"),
        ("UPDATE closings SET created = created + 1", "signature"),
        ("UPDATE closings SET signature = (SELECT signature FROM heads LIMIT 1)", "signature"),
        ("UPDATE closings SET key_id = 'other'", "unknown key"),
    ],
)
async def test_P17_a_beginning_that_was_not_removed_by_the_keeper_is_seen(room: Room, tmp_path: Path, sql: str, why: str) -> None:
    house, _ = keeping(room)
    await written(room, 9, NOW - 366 * DAY)
    await written(room, 4, NOW)
    await house.purge()
    assert (await checked(room)).bad is None
    await room.store.close()
    change(tmp_path, sql)
    room.store = SqliteStore(tmp_path / "gateway.db", read_only=True)
    await room.store.open()
    bad = (await checked(room)).bad
    assert bad is not None
    assert why in bad.why


@pytest.mark.usefixtures("small_steps")
async def test_P17_a_head_is_no_closing_head(room: Room, tmp_path: Path) -> None:
    """Who can write to the store, but not sign, cuts the chain off where a head was signed and shows that head as a closing one."""
    house, _ = keeping(room)
    await written(room, 5, NOW)
    await house.sign_head()
    [head] = audit.heads_in(house.heads_file)
    await written(room, 5, NOW)
    await room.store.drop_audit(head, 100)
    bad = (await checked(room)).bad
    assert bad is not None
    assert "closing head" in bad.why


@pytest.mark.usefixtures("small_steps")
async def test_whatever_ends_it_the_chain_is_whole_after_each_step(room: Room) -> None:
    house, _ = keeping(room)
    await written(room, 30, NOW - 366 * DAY)
    await written(room, 2, NOW)
    drop = room.store.drop_audit
    steps: list[int] = []

    async def broken(closing: HeadRow, limit: int) -> int:
        if len(steps) == 2:
            raise asyncio.CancelledError
        steps.append(closing.seq)
        return await drop(closing, limit)

    room.store.drop_audit = broken  # type: ignore[method-assign]
    with pytest.raises(asyncio.CancelledError):
        await house.purge()
    assert steps == [7, 14]
    assert (await room.store.audit_rows())[0].seq == 15
    assert (await checked(room)).bad is None
    room.store.drop_audit = drop  # type: ignore[method-assign]
    assert (await house.purge())["audit"] == 16


async def test_O15_a_jump_of_the_clock_removes_nothing(room: Room) -> None:
    house, clock = keeping(room)
    await written(room, 3, NOW)
    room.now += 3650 * DAY
    clock.stepped += 3650 * DAY
    with pytest.raises(Wrong, match="clock"):
        await house.purge("root")
    room.now += GRACE / 2
    with pytest.raises(Wrong, match="clock"):
        await house.purge()
    assert len(await room.store.audit_rows()) == 3
    room.now -= 3650 * DAY
    clock.stepped -= 3650 * DAY
    room.now += GRACE
    assert (await house.purge())["audit"] == 0, "the clock was put right: nothing is lost"


async def test_O15_a_clock_that_was_wrong_before_the_start_removes_nothing(room: Room) -> None:
    await written(room, 3, NOW)
    room.now = NOW + 3650 * DAY
    house, _ = keeping(room)
    house.hold_clock_against(NOW)
    with pytest.raises(Wrong, match="clock"):
        await house.purge("root")
    assert await house.expire() == 0
    assert len(await room.store.audit_rows()) == 3
    room.now += GRACE
    assert (await house.purge())["audit"] == 2, "a day later the clock is believed; the last row always stays"
    room.now = NOW + GRACE / 2
    house, _ = keeping(room)
    house.hold_clock_against(NOW)
    await house.purge()


async def test_only_one_removes_at_a_time(room: Room) -> None:
    house, _ = keeping(room)
    results = await asyncio.gather(house.purge(), house.purge("root"), return_exceptions=True)
    assert [type(result) for result in results] == [dict, Wrong]


@pytest.mark.usefixtures("small_steps")
async def test_finished_messages_go_after_their_time_and_the_log_still_tells_of_them(room: Room) -> None:
    house, _ = keeping(room)
    references = []
    for _ in range(8):
        tx = transaction()
        await room.commit(tx, verdict(room.version, recipient("desk@finance.nic.in")))
        references.append(tx.reference)
    rows = [row for reference in references for row in await room.store.deliveries(reference=reference)]
    for row in rows[:7]:
        ended = DeliveryUpdate(row.id, (DeliveryState.LEASED,), DeliveryState.DELIVERED)
        await room.store.write(Batch(delivery_updates=[ended]))
    room.now += 89 * DAY
    assert (await house.purge())["messages"] == 0
    room.now += 2 * DAY
    assert (await house.purge())["messages"] == 7
    assert [await room.store.message(reference) is None for reference in references] == [True] * 7 + [False]
    assert await room.store.audit_rows(reference=references[0]) != []


@pytest.mark.usefixtures("small_steps")
async def test_an_ended_exception_stays_as_long_as_the_log(room: Room) -> None:
    house, _ = keeping(room)
    await room.register.add(AddException("a@dept.gov.in", "*", "why", "asha", "bina", NOW + 100), "root")
    room.now += 364 * DAY
    await room.register.expire()
    assert (await house.purge())["entries"] == 0
    room.now += 2 * DAY
    done = await house.purge("root")
    assert done["entries"] == 1
    line = (await room.lines())[-1]
    assert (line["event"]["action"], line["user"]["name"], line["gateway"]["act"]["entries"]) == ("retention-applied", "root", 1)


@pytest.mark.usefixtures("small_steps")
async def test_log_files_go_with_the_rows_they_hold(room: Room) -> None:
    house, _ = keeping(room)
    folder = room.config.state_dir / "log"
    await written(room, 3, NOW - 400 * DAY)
    await house.export()
    await house.sign_head()
    await written(room, 2, NOW - 369 * DAY)
    await house.export()
    assert len(list(folder.glob("decisions-*.jsonl"))) == 1, "a month is a file"
    await written(room, 2, NOW)
    await house.export()
    await house.sign_head()
    old = sorted(folder.glob("decisions-*.jsonl"))
    assert len(old) == 2
    for path, age in zip(old, (400, 364), strict=True):
        at = NOW - age * DAY
        os.utime(path, (at, at))
    done = await house.purge()
    assert (done["audit"], done["files"]) == (5, 1)
    assert not old[0].exists()
    assert old[1].exists()
    assert [head.seq > 5 for head in audit.heads_in(house.heads_file)] == [True] * len(audit.heads_in(house.heads_file))
    assert (await checked(room)).bad is None


def test_the_file_of_heads_keeps_what_it_must(tmp_path: Path) -> None:
    path = tmp_path / "audit-heads.jsonl"
    assert export.keep_heads(path, {"a": 5}) == 0
    heads = [HeadRow(chain, seq, "h", NOW, "k", "s") for chain, seq in (("a", 4), ("a", 5), ("a", 6), ("b", 1))]
    path.write_bytes(b"".join(msgspec.json.encode(head) + b"\n" for head in heads) + b'{"torn')
    assert export.keep_heads(path, {"a": 5, "c": 9}) == 2
    assert [(head.chain, head.seq) for head in audit.heads_in(path)] == [("a", 6), ("b", 1)]
    assert path.read_bytes().endswith(b'{"torn')
    assert path.stat().st_mode & 0o077 == 0


async def test_nothing_goes_that_was_not_exported(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    house, _ = keeping(room)
    await written(room, 3, NOW - 400 * DAY)

    def full(rows: Any) -> int:
        raise OSError("disk full")

    monkeypatch.setattr(house._follower, "copy", full)
    with pytest.raises(OSError, match="disk full"):
        await house.purge()
    assert len(await room.store.audit_rows()) == 3


def test_the_floor_of_the_log_is_180_days() -> None:
    with pytest.raises(ValueError, match="180 days"):
        Ages(audit="179d")
    assert Ages(audit="180d").audit == 180 * DAY
    assert Ages().audit == 365 * DAY


@pytest.mark.slow
async def test_mail_goes_on_while_much_is_removed(room: Room) -> None:
    """Commits between the steps wait for one step at most: a tenth of a second would be a stall."""
    house, _ = keeping(room)
    old = [message(f"0{n:05}", created=NOW - 100 * DAY) for n in range(3000)]
    ended = [delivery(row, state=DeliveryState.DELIVERED) for row in old]
    await room.store.write(Batch(messages=old, deliveries=ended))
    for start in range(0, 6000, 1000):
        await room.store.write(Batch(audit=[_aged(n) for n in range(start, start + 1000)]))
    purge = asyncio.create_task(house.purge())
    waits = []
    while not purge.done():
        begun = time.perf_counter()
        await room.store.write(Batch(audit=[event("live", created=NOW)]))
        waits.append(time.perf_counter() - begun)
        await asyncio.sleep(0.005)
    done = await purge
    assert (done["audit"], done["messages"]) == (6000, 3000)
    assert len(waits) > 10
    waits.sort()
    assert waits[len(waits) * 9 // 10] < 1.0, "on a loaded machine; on an idle one it is some milliseconds"


def _aged(number: int) -> AuditEvent:
    return event(f"R{number}", created=NOW - 400 * DAY)


@pytest.mark.usefixtures("small_steps")
async def test_audit_verify_names_where_a_chain_begins(room: Room, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    house, _ = keeping(room)
    await written(room, 9, NOW - 366 * DAY)
    await written(room, 2, NOW)
    await house.purge("root")
    await house.stop()
    await room.store.close()
    assert await asyncio.to_thread(invoke, ["audit", "verify", "--store", str(tmp_path)]) == 0
    assert "; chain c1 begins with row 10, the rows before it were removed for their age on 2027-01-15" in capsys.readouterr().out
    assert await asyncio.to_thread(invoke, ["audit", "verify", "--store", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["beginnings"] == [{"chain": "c1", "seq": 10, "removed": NOW}]
    change(tmp_path, "DELETE FROM closings")
    assert await asyncio.to_thread(invoke, ["audit", "verify", "--store", str(tmp_path)]) == 1
    assert "bad: chain c1 row 1: rows are missing" in capsys.readouterr().out


@pytest.mark.usefixtures("small_steps")
async def test_the_keepers_start_takes_a_shortened_chain_for_whole(room: Room, tmp_path: Path) -> None:
    house, _ = keeping(room)
    await written(room, 9, NOW - 366 * DAY)
    await house.purge()
    head = room.chain.head
    await room.store.close()
    chain = audit.AuditChain("c1")
    room.store = SqliteStore(tmp_path / "gateway.db")
    await room.store.open(chain)
    assert chain.head == head
    await written(room, 1, NOW)
    last = max(head.seq for head in audit.heads_in(house.heads_file))
    assert (await room.store.audit_rows(chain="c1", after=last - 1, limit=1))[0].seq == last
    assert (await checked(room)).bad is None

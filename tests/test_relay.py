"""The relay: nothing is lost, whatever the hop, the clock and the store do (hostile-inputs catalogue O, L, P)."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.audit.audit import AuditChain, verify
from gateway.config import Config
from gateway.envelope import new_id, reference_of
from gateway.policy import bounce
from gateway.relay import jobs
from gateway.relay.notices import Notices
from gateway.relay.relay import Relay
from gateway.relay.signing import Signer
from gateway.stores.base import Batch, DeliveryRow, DeliveryState, DeliveryUpdate, HoldState, MessageRow
from gateway.stores.sqlite.store import SqliteStore
from gateway.vault.vault import Vault
from gateway.verdict import Edit
from tests.hostile_hop import CLOSE, SILENT, Hop, Slow, per_recipient
from tests.memory_store import MemoryStore

LIMITS = {"relay_connect": 0.5, "relay_command": 0.5, "relay_data_init": 0.5, "relay_data_block": 0.5, "relay_data_end": 0.5,
          "relay_quit": 0.1, "drain": 1.0}  # fmt: skip
CONTENT = b"From: a@dept.gov.in\r\nTo: b@nic.in\r\nSubject: Tour programme\r\n\r\nDear Sir\r\n"
S = DeliveryState


class FakeClock:
    """Wall and monotonic time that stand still until they are moved."""

    def __init__(self) -> None:
        self.wall, self.mono = 1_780_000_000.0, 1000.0

    def time(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.mono

    def advance(self, seconds: float) -> None:
        self.wall += seconds
        self.mono += seconds


class Told:
    """Stands in for the report writers: keeps what they were asked for."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[Any], dict[str, Any]]] = []

    def writer(self, kind: str) -> Callable[..., bytes]:
        def write(
            reference: str, hostname: str, now: float, header: bytes, sender: str, recipients: list[Any], *rest: Any, **more: Any
        ) -> bytes:
            self.calls.append((kind, recipients, {"header": header, "sender": sender, "now": now, "rest": rest, **more}))
            head = f"From: MAILER-DAEMON@{hostname}\r\nTo: {sender}\r\nSubject: {kind}\r\nAuto-Submitted: auto-replied\r\n"
            return f"{head}\r\n{kind}\r\n".encode()

        return write

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _, _ in self.calls]


class World:
    """A relay with its store, hop and clock."""

    def __init__(self, hop: Hop, **more: Any) -> None:
        self.hop = hop
        self.store = MemoryStore()
        self.clock = FakeClock()
        self.vault = Vault({"k": bytes(32)}, "k")
        limits = {**LIMITS, **more.pop("limits", {})}
        routes = more.pop("route", ({"domains": ("*",), "next_hop": hop.address, "tls": "none"},))
        self.config = Config(hostname="gw.dept.gov.in", route=routes, listen=(), limits=limits, **more)
        self.relay = self.make()

    def make(self) -> Relay:
        signer = Signer(self.config, self.clock.time)
        return Relay(self.config, self.store, self.vault, signer, Notices(self.config, self.vault, lambda: None), self.clock)  # type: ignore[arg-type]

    def rows(self, *recipients: str, content: bytes = CONTENT, state: DeliveryState = S.LEASED, **more: Any) -> list[DeliveryRow]:
        message = more.pop("message_id", new_id())
        base: dict[str, Any] = {
            "message_id": message, "reference": reference_of(message), "body_id": "body-" + message, "created": self.clock.time(),
            "department": "dept.gov.in", "sender": "a@dept.gov.in", "state": state, "notify": None, "orcpt": "", "ret": "", "envid": "",
            "eight_bit": False, "smtputf8": False, "size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "edits": (),
            "require_aes256": False, "direction": "internal", "verified_originator": True, "next_attempt": self.clock.time(),
            "lease": self.relay.incarnation if state is S.LEASED else "",
        }  # fmt: skip
        return [DeliveryRow(id=new_id(), recipient=r, **{**base, **more}) for r in recipients or ("b@nic.in",)]

    async def commit(self, rows: list[DeliveryRow], content: bytes = CONTENT) -> None:
        first = rows[0]
        message = MessageRow(
            first.message_id, first.reference, first.created, first.department, "smtp", first.sender, "", "", False, False, first.size,
            first.sha256, first.body_id, None, first.verified_originator,
        )  # fmt: skip
        body = self.vault.seal(first.body_id, content, hashlib.sha256(content).hexdigest())
        await self.store.write(Batch(bodies=[body], messages=[message], deliveries=rows))

    async def accept(self, *recipients: str, content: bytes = CONTENT, **more: Any) -> list[str]:
        """Commits and offers a message; returns the ids of its deliveries."""
        rows = self.rows(*recipients, content=content, **more)
        await self.commit(rows, content)
        self.relay.offer(rows, content)
        return [row.id for row in rows]

    async def settled(self, ids: list[str], *states: DeliveryState) -> list[DeliveryRow]:
        rows = self.store.delivery_rows
        await self.store.until(lambda: all(rows[i].state in states if states else rows[i].state is not S.LEASED for i in ids))
        return [rows[i] for i in ids]

    async def attempted(self, delivery: str, before: int) -> None:
        """Waits for one more attempt than *before*."""
        await self.store.until(lambda: self.store.delivery_rows[delivery].attempts > before)

    def reports(self) -> list[DeliveryRow]:
        return [row for row in self.store.delivery_rows.values() if row.is_report]

    def actions(self) -> list[str]:
        return [event.document["event"]["action"] for event in self.store.events]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    told = Told()
    for kind in ("failed", "delayed", "relayed"):
        monkeypatch.setattr(bounce, kind, told.writer(kind))
    return told


@pytest.fixture
async def hop() -> AsyncIterator[Hop]:
    async with Hop() as hop:
        yield hop


@pytest.fixture
async def world(hop: Hop, told: Told) -> AsyncIterator[World]:
    world = World(hop)
    await world.relay.start()
    yield world
    await world.relay.stop()


# --- the plain way ---------------------------------------------------------------------------------------------------


async def test_offered_mail_is_delivered_and_recorded(world: World) -> None:
    rows = await world.settled(await world.accept())
    assert rows[0].state is S.DELIVERED
    assert rows[0].attempts == 1
    assert rows[0].lease == ""
    assert rows[0].sent_sha256 == hashlib.sha256(world.hop.taken[0].content).hexdigest() == rows[0].sha256
    assert rows[0].last_reply == "250 2.0.0 queued [loopback]"
    assert world.actions() == ["message-delivered"]
    event = world.store.events[0]
    assert event.document["gateway"]["delivery"]["way"] == "loopback", "the protected path is on record"
    assert not world.store.bodies


async def test_recipients_of_one_message_share_a_transaction_edits_keep_them_apart(world: World) -> None:
    message = new_id()
    rows = world.rows("a@nic.in", "b@nic.in", message_id=message)
    rows += world.rows("c@nic.in", message_id=message, edits=(Edit("add", "SIO-Label", 'marking="RESTRICTED"'),))
    await world.commit(rows)
    world.relay.offer(rows, CONTENT)
    done = await world.settled([row.id for row in rows])
    assert {row.state for row in done} == {S.DELIVERED}
    by_recipients = {tuple(taken.rcpts): taken.content for taken in world.hop.taken}
    assert by_recipients[("RCPT TO:<a@nic.in>", "RCPT TO:<b@nic.in>")] == CONTENT
    labelled = by_recipients[("RCPT TO:<c@nic.in>",)]
    assert labelled == b'SIO-Label: marking="RESTRICTED"\r\n' + CONTENT
    assert done[2].sent_sha256 == hashlib.sha256(labelled).hexdigest() != done[2].sha256


async def test_a_hundred_recipients_a_transaction(world: World) -> None:
    await world.settled(await world.accept(*[f"r{i}@nic.in" for i in range(150)]))
    assert sorted(len(taken.rcpts) for taken in world.hop.taken) == [50, 100]


async def test_what_is_scheduled_in_the_store_is_read_from_the_vault(world: World) -> None:
    rows = world.rows(state=S.SCHEDULED)
    await world.commit(rows)
    world.relay.wake()
    done = await world.settled([rows[0].id], S.DELIVERED)
    assert world.hop.taken[0].content == CONTENT
    assert done[0].state is S.DELIVERED


async def test_content_beyond_the_budget_is_read_from_the_store(hop: Hop, told: Told) -> None:
    world = World(hop, limits={"max_inflight": 10})
    await world.relay.start()
    await world.settled(await world.accept(), S.DELIVERED)
    assert hop.taken[0].content == CONTENT
    await world.relay.stop()


async def test_memory_is_given_back(world: World) -> None:
    for _ in range(20):
        await world.settled(await world.accept("a@nic.in", "b@nic.in"), S.DELIVERED)
    await asyncio.sleep(0.02)
    assert world.relay.queued == 0
    assert world.relay._contents.held == 0


async def test_too_much_in_memory_goes_back_to_the_schedule_and_still_arrives(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.relay.relay.QUEUE", 1)
    await world.settled(await world.accept("a@nic.in", "b@nic.in", "c@nic.in"), S.SCHEDULED)
    world.relay.wake()
    await world.store.until(lambda: all(r.state is S.DELIVERED for r in world.store.delivery_rows.values()))


async def test_no_route_waits(told: Told, hop: Hop) -> None:
    world = World(hop, route=({"domains": ("other.in",), "next_hop": hop.address, "tls": "none"},))
    await world.relay.start()
    row = (await world.settled(await world.accept()))[0]
    assert row.state is S.DEFERRED
    assert "4.4.4" in row.last_reply
    await world.relay.stop()


# --- O04, O05, O06 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA", "DOT"])
@pytest.mark.parametrize("reply", [b"451 4.3.0 later\r\n", CLOSE, SILENT, b"999 what\r\n", b"421 4.3.2 bye\r\n"])
async def test_O04_deferred_at_every_step_and_delivered_later(step: str, reply: Any, told: Told) -> None:
    async with Hop(replies={step: reply}) as hop:
        world = World(hop)
        await world.relay.start()
        ids = await world.accept()
        row = (await world.settled(ids))[0]
        assert row.state is S.DEFERRED
        assert row.next_attempt == world.clock.time() + 300
        assert row.last_reply.startswith("4")
        hop.replies.clear()
        world.clock.advance(300)
        world.relay.wake()
        row = (await world.settled(ids, S.DELIVERED))[0]
        assert row.attempts == 2
        assert not told.calls
        await world.relay.stop()


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA", "DOT"])
async def test_O04_a_refusal_is_returned_to_a_verified_originator(step: str, told: Told) -> None:
    refusal = b"550 5.1.1 no such user\r\n"
    async with Hop(replies={step: lambda line: None if "FROM:<>" in line or "a@dept" in line and "RCPT" in line else refusal}) as hop:
        world = World(hop)
        await world.relay.start()
        row = (await world.settled(await world.accept()))[0]
        assert row.state is S.BOUNCED
        assert told.kinds == ["failed"]
        kind, recipients, more = told.calls[0]
        assert [(r.address, r.status, r.diagnostic, r.explain) for r in recipients] == [
            ("b@nic.in", "5.1.1", "550 5.1.1 no such user", "next-hop-refused")
        ]
        assert more["sender"] == "a@dept.gov.in"
        assert more["header"] == CONTENT[: CONTENT.index(b"\r\n\r\n") + 2], "headers only"
        report = world.reports()[0]
        assert (report.sender, report.recipient, report.notify) == ("", "a@dept.gov.in", ("NEVER",))
        hop.replies.clear()
        if step in ("MAIL", "RCPT"):
            await world.settled([report.id], S.DELIVERED)
            assert hop.taken[-1].mail.startswith("MAIL FROM:<>")
        await world.relay.stop()


async def test_O05_each_recipient_has_its_own_state(told: Told) -> None:
    script = per_recipient({"b@nic.in": b"450 4.2.1 later\r\n", "c@nic.in": b"550 5.1.1 unknown\r\n", "d@nic.in": b"551 5.1.6 moved\r\n"})
    async with Hop(replies={"RCPT": script}) as hop:
        world = World(hop)
        await world.relay.start()
        rows = await world.settled(await world.accept("a@nic.in", "b@nic.in", "c@nic.in", "d@nic.in"))
        assert [row.state for row in rows] == [S.DELIVERED, S.DEFERRED, S.BOUNCED, S.BOUNCED]
        assert [[r.address for r in recipients] for _, recipients, _ in told.calls] == [["c@nic.in", "d@nic.in"]], "one report for all"
        assert sorted(world.actions())[:3] == ["message-bounced", "message-bounced", "message-delivered"]
        world.clock.advance(300)
        world.relay.wake()
        await world.store.until(lambda: world.store.delivery_rows[rows[1].id].attempts == 2)
        assert [taken.rcpts for taken in hop.taken if "a@dept" in taken.mail] == [["RCPT TO:<a@nic.in>"]], (
            "the delivered one is not sent again"
        )
        await world.relay.stop()


async def test_O06_a_possible_duplicate_is_flagged(told: Told) -> None:
    async with Hop(replies={"DOT": CLOSE}) as hop:
        world = World(hop)
        await world.relay.start()
        row = (await world.settled(await world.accept()))[0]
        assert row.state is S.DEFERRED
        assert row.last_reply.endswith("(possible duplicate)")
        event = world.store.events[0]
        assert event.document["gateway"]["delivery"]["possible_duplicate"] is True
        await world.relay.stop()


async def test_a_kept_connection_that_died_costs_no_attempt(world: World) -> None:
    await world.settled(await world.accept(), S.DELIVERED)
    died = []
    world.hop.replies["MAIL"] = lambda line: (died.append(line), CLOSE)[1] if not died else None
    row = (await world.settled(await world.accept()))[0]
    assert row.state is S.DELIVERED
    assert row.attempts == 1
    assert died


async def test_O04_a_dead_hop_is_not_tried_for_each_delivery_and_mail_goes_when_it_is_back(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.relay.lanes.Breaker._FIRST", 0.05)
    hop = Hop()
    await hop.start()
    await hop.stop()
    world = World(hop)
    tries = 0
    await world.relay.start()
    lane = world.relay.lane_of(world.relay.routes.hops[0])
    connect = lane.pool._connected

    async def counted() -> Any:
        nonlocal tries
        tries += 1
        return await connect()

    lane.pool._connected = counted  # type: ignore[method-assign]
    ids = [i for _ in range(300) for i in await world.accept()]
    rows = await world.settled(ids)
    assert {row.state for row in rows} == {S.DEFERRED}
    assert tries < 30
    await hop.start()
    await world.settled(ids, S.DELIVERED)
    assert len(hop.taken) == 300, "each once"
    await hop.stop()
    await world.relay.stop()


async def test_a_fault_of_ours_is_a_deferral(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("bug")

    monkeypatch.setattr("gateway.relay.relay.prepare", broken)
    row = (await world.settled(await world.accept()))[0]
    assert row.state is S.DEFERRED
    assert "bug" not in row.last_reply


# --- the store is away -----------------------------------------------------------------------------------------------


async def test_results_wait_for_the_store(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.relay.recorder._AGAIN", 0.02)
    rows = world.rows()
    await world.commit(rows)
    world.store.fail_writes = 5
    world.relay.offer(rows, CONTENT)
    await world.settled([rows[0].id], S.DELIVERED)
    assert len(world.hop.taken) == 1


async def test_one_changed_delivery_spoils_no_other_result(world: World) -> None:
    rows = world.rows("a@nic.in"), world.rows("b@nic.in")
    for each in rows:
        await world.commit(each)
    await world.store.write(Batch(delivery_updates=[DeliveryUpdate(rows[0][0].id, (S.LEASED,), S.ON_HOLD)]))
    for each in rows:
        world.relay.offer(each, CONTENT)
    await world.settled([rows[1][0].id], S.DELIVERED)
    assert world.store.delivery_rows[rows[0][0].id].state is S.ON_HOLD


# --- O12, O13 --------------------------------------------------------------------------------------------------------


async def test_O12_what_a_dead_keeper_had_leased_is_delivered_by_the_next(world: World) -> None:
    rows = world.rows(lease="another incarnation")
    await world.commit(rows)
    following = world.make()
    await following.start()
    await world.settled([rows[0].id], S.DELIVERED)
    await following.stop()


async def test_O12_what_was_committed_and_never_offered_is_found(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.relay.relay._SWEEP", 0.02)
    rows = world.rows()
    await world.commit(rows)  # and the task that would have offered it died
    while world.store.delivery_rows[rows[0].id].state is S.LEASED:
        world.relay.wake()
        await asyncio.sleep(0.03)
    world.relay.wake()
    await world.settled([rows[0].id], S.DELIVERED)
    assert len(world.hop.taken) == 1


async def test_O12_what_is_on_its_way_is_not_taken_for_forgotten(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.relay.relay._SWEEP", 0.02)
    async with Hop(replies={"DOT": Slow(b"250 ok\r\n", 0.05)}) as hop:
        world = World(hop)
        await world.relay.start()
        ids = await world.accept()
        while world.store.delivery_rows[ids[0]].state is S.LEASED:
            world.relay.wake()
            await asyncio.sleep(0.02)
        assert world.store.delivery_rows[ids[0]].state is S.DELIVERED
        assert len(hop.taken) == 1
        await world.relay.stop()


async def test_O13_stop_is_bounded_and_loses_nothing(told: Told) -> None:
    async with Hop(replies={"DOT": SILENT}) as hop:
        world = World(hop, limits={"relay_data_end": 60, "drain": 0.2})
        await world.relay.start()
        ids = [i for _ in range(30) for i in await world.accept()]
        await asyncio.sleep(0.05)
        start = asyncio.get_running_loop().time()
        await world.relay.stop()
        assert asyncio.get_running_loop().time() - start < 2
        states = {world.store.delivery_rows[i].state for i in ids}
        assert states <= {S.LEASED, S.SCHEDULED, S.DEFERRED}
        hop.replies.clear()
        world.relay = world.make()
        await world.relay.start()
        world.clock.advance(300)
        world.relay.wake()
        await world.settled(ids, S.DELIVERED)
        await world.relay.stop()


async def test_O13_stop_lets_running_transactions_end(told: Told) -> None:
    release = asyncio.Event()
    async with Hop() as hop:
        world = World(hop)
        await world.relay.start()
        original = hop._reply

        async def slow(writer: Any, step: str, line: str, default: bytes) -> bool:
            if step == "DOT":
                await release.wait()
            return await original(writer, step, line, default)

        hop._reply = slow  # type: ignore[method-assign]
        ids = await world.accept()
        await asyncio.sleep(0.05)
        stopping = asyncio.create_task(world.relay.stop())
        await asyncio.sleep(0.05)
        release.set()
        await stopping
        assert world.store.delivery_rows[ids[0]].state is S.DELIVERED


# --- P22, O15 --------------------------------------------------------------------------------------------------------


async def follow(world: World, delivery: str) -> list[tuple[float, str]]:
    """Moves the clock from attempt to attempt until the delivery is final; returns the age of each attempt."""
    created, seen = world.clock.time(), [0.0]
    while True:
        row = world.store.delivery_rows[delivery]
        if row.state not in (S.DEFERRED, S.LEASED, S.SCHEDULED):
            return seen
        if row.state is not S.DEFERRED:
            await world.store.until(lambda: world.store.delivery_rows[delivery].state not in (S.LEASED, S.SCHEDULED))
            continue
        world.clock.advance(row.next_attempt - world.clock.time())
        seen.append(world.clock.time() - created)
        attempts = row.attempts
        world.relay.wake()
        await world.attempted(delivery, attempts)


@pytest.mark.slow
async def test_P22_the_schedule_to_its_end(told: Told) -> None:
    async with Hop(replies={"RCPT": lambda line: None if "a@dept" in line else b"451 4.3.0 later\r\n"}) as hop:
        world = World(hop)
        await world.relay.start()
        ids = await world.accept()
        ages = await follow(world, ids[0])
        assert ages[:9] == [0, 300, 900, 2100, 4500, 8500, 12500, 14400, 18400]
        assert all(0 < b - a <= 4000 for a, b in zip(ages, ages[1:], strict=False))
        assert ages[-1] == 5 * 86400
        assert told.kinds == ["delayed", "failed"], "one notice at 4 h, one report at 5 d"
        start = ages[0] + world.clock.time() - ages[-1]
        assert told.calls[0][2]["now"] == start + 4 * 3600
        assert told.calls[0][2]["until"] == start + 5 * 86400
        assert told.calls[1][2]["now"] == start + 5 * 86400
        assert told.calls[1][1][0].status == "5.4.7"
        assert world.store.delivery_rows[ids[0]].state is S.EXPIRED
        await world.relay.stop()


async def test_P22_mail_that_needs_an_aes_256_hop(told: Told) -> None:
    """Notice after 1 h, given up after 24 h: the hop is there but no protected way."""
    async with Hop() as hop:
        world = World(hop, limits={"relay_connect": 0.2})
        lane = world.relay.lane_of(world.relay.routes.hops[0])
        lane.pool.hop = dataclasses.replace(lane.pool.hop, loopback=False, tls="opportunistic")
        world.relay.resolver._allowed = lambda ip, hop: True  # type: ignore[method-assign]
        away = lane.pool.hop
        world.relay.lanes[away] = lane
        world.relay.routes._table = [(("*",), away, False)]
        await world.relay.start()
        ids = await world.accept(require_aes256=True, level=2)
        plain = await world.accept()
        await world.settled(plain, S.DELIVERED)
        ages = await follow_without_breaker(world, ids[0], lane)
        assert 3600.0 in ages
        assert ages[-1] == 86400
        assert told.kinds == ["delayed", "failed"]
        assert told.calls[0][1][0].explain == "hop-unprotected"
        assert told.calls[1][1][0].status == "5.7.4"
        assert len(hop.taken) == 1
        await world.relay.stop()


async def follow_without_breaker(world: World, delivery: str, lane: Any) -> list[float]:
    """As ``follow``, with the breaker closed before each attempt (it runs on real seconds)."""
    await world.store.until(lambda: world.store.delivery_rows[delivery].state is S.DEFERRED)
    created, ages = world.store.delivery_rows[delivery].created, [0.0]
    while (row := world.store.delivery_rows[delivery]).state is S.DEFERRED:
        lane.unparked(True)
        lane.breakers[True].worked()
        world.clock.advance(row.next_attempt - world.clock.time())
        ages.append(world.clock.time() - created)
        world.relay.wake()
        attempts = row.attempts
        await world.attempted(delivery, attempts)
    return ages


@pytest.mark.parametrize("jump", [365 * 86400.0, -365 * 86400.0, 3600.0, -3600.0])
async def test_O15_a_step_of_the_clock_bounces_nothing_and_stops_nothing(jump: float, told: Told) -> None:
    async with Hop(replies={"RCPT": lambda line: None if "a@dept" in line else b"451 4.3.0 later\r\n"}) as hop:
        world = World(hop)
        await world.relay.start()
        ids = [i for _ in range(20) for i in await world.accept()]
        await world.settled(ids, S.DEFERRED)
        world.clock.wall += jump
        for _ in range(4):
            before = world.store.delivery_rows[ids[0]].attempts
            world.clock.advance(400)
            world.relay.wake()
            await world.store.until(lambda: True)
            await asyncio.sleep(0.05)
            rows = [world.store.delivery_rows[i] for i in ids]
            assert {row.state for row in rows} <= {S.DEFERRED, S.LEASED}
            assert all(row.next_attempt <= world.clock.time() + 4000 + 60 for row in rows if row.state is S.DEFERRED)
            if abs(jump) > 4000:
                assert before >= 1
        assert not told.calls, "nobody was told anything"
        hop.replies.clear()
        world.clock.advance(4000)
        world.relay.wake()
        await world.settled(ids, S.DELIVERED)
        await world.relay.stop()


async def test_O15_a_start_after_a_step_brings_deliveries_near(world: World) -> None:
    rows = world.rows(state=S.DEFERRED, next_attempt=world.clock.time() + 365 * 86400)
    await world.commit(rows)
    following = world.make()
    await following.start()
    await world.settled([rows[0].id], S.DELIVERED)
    await following.stop()


# --- L01, L03, backscatter, NOTIFY -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "state"), [(50, S.DELIVERED), (51, S.BOUNCED)])
async def test_L01_mail_that_goes_round_is_returned(count: int, state: DeliveryState, world: World, told: Told) -> None:
    content = b"received: from x\r\n by y\r\n" * (count - 1) + b"Received: from z\r\n" + CONTENT + b"Received: in the body\r\n"
    row = (await world.settled(await world.accept(content=content)))[0]
    assert row.state is state
    if state is S.BOUNCED:
        assert told.calls[0][1][0].status == "5.4.6"
        assert not any("a@dept" in taken.mail for taken in world.hop.taken)


async def test_L03_a_report_that_cannot_be_delivered_is_dropped_and_recorded(told: Told) -> None:
    async with Hop(replies={"RCPT": b"550 5.1.1 unknown\r\n"}) as hop:
        world = World(hop)
        await world.relay.start()
        ids = await world.accept()
        await world.settled(ids, S.BOUNCED)
        await world.store.until(lambda: world.reports() and world.reports()[0].state is S.BOUNCED)
        await asyncio.sleep(0.05)
        assert told.kinds == ["failed"], "no report about a report"
        assert len(world.reports()) == 1
        assert world.actions() == ["message-bounced", "message-report-lost"]
        assert not world.store.hold_rows
        await world.relay.stop()


@pytest.mark.parametrize(
    "more",
    [
        {"verified_originator": False, "sender": "x@elsewhere.example"},  # a stranger: no backscatter
        {"sender": ""},  # the null sender, not a report of ours
        {"notify": ("NEVER",)},
        {"notify": ("SUCCESS", "DELAY")},
    ],
)
async def test_L02_what_may_not_be_reported_is_listed_for_the_postmaster(more: dict[str, Any], told: Told) -> None:
    async with Hop(replies={"RCPT": b"550 5.1.1 unknown\r\n"}) as hop:
        world = World(hop)
        await world.relay.start()
        rows = await world.settled(await world.accept("b@nic.in", "c@nic.in", **more))
        assert {row.state for row in rows} == {S.EXPIRED}
        assert not told.calls
        assert not world.reports()
        (hold,) = world.store.hold_rows.values()
        assert (hold.reason, hold.state, hold.recipients) == ("postmaster", HoldState.HELD, ("b@nic.in", "c@nic.in"))
        assert hold.deadline == world.clock.time() + 15 * 86400
        assert rows[0].body_id in world.store.bodies, "the postmaster can read it"
        await world.relay.stop()


@pytest.mark.parametrize(
    ("notify", "header", "kinds"),
    [
        (None, b"", ["delayed", "failed"]),
        (("FAILURE",), b"", ["failed"]),
        (("DELAY", "FAILURE"), b"", ["delayed", "failed"]),
        (None, b"Auto-Submitted: auto-generated\r\n", ["failed"]),
        (None, b"Auto-Submitted: no\r\n", ["delayed", "failed"]),
        (None, b"Precedence: bulk\r\n", ["failed"]),
        (None, b"List-Id: <x>\r\n", ["failed"]),
    ],
)
async def test_L04_who_is_told_what(notify: Any, header: bytes, kinds: list[str], told: Told) -> None:
    async with Hop(replies={"RCPT": lambda line: None if "a@dept" in line else b"451 4.3.0 later\r\n"}) as hop:
        limits = {"lifetime": 2000, "delay_warning": 1000}
        world = World(hop, limits=limits)
        await world.relay.start()
        ids = await world.accept(notify=notify, content=header + CONTENT)
        await follow(world, ids[0])
        assert told.kinds == kinds
        await world.relay.stop()


@pytest.mark.parametrize(("offer", "kinds"), [(("PIPELINING", "DSN"), []), (("PIPELINING",), ["relayed"])])
async def test_success_notices_are_ours_where_the_hop_has_no_dsn(offer: tuple[str, ...], kinds: list[str], told: Told) -> None:
    async with Hop(offer=offer) as hop:
        world = World(hop)
        await world.relay.start()
        await world.settled(await world.accept(notify=("SUCCESS",)), S.DELIVERED)
        await world.settled(await world.accept(notify=("FAILURE",)), S.DELIVERED)
        await world.settled(await world.accept(notify=("SUCCESS",), verified_originator=False, sender="x@else.example"), S.DELIVERED)
        assert told.kinds == kinds
        await world.relay.stop()


# --- P7, O20 ---------------------------------------------------------------------------------------------------------


async def test_P7_content_that_changed_under_us_is_moved_aside(world: World) -> None:
    rows = world.rows(state=S.SCHEDULED)
    await world.commit(rows)
    body = world.store.bodies[rows[0].body_id]
    flipped = bytes((body.ciphertext[0] ^ 1,)) + body.ciphertext[1:]
    world.store.bodies[body.id] = msgspec.structs.replace(body, ciphertext=flipped)
    others = world.rows(state=S.SCHEDULED)
    await world.commit(others)
    world.relay.wake()
    assert (await world.settled([rows[0].id], S.ON_HOLD))[0].last_reply.startswith("451 4.3.0")
    await world.settled([others[0].id], S.DELIVERED)
    assert len(world.hop.taken) == 1
    assert "message-on-hold" in world.actions()


async def test_O22_mail_whose_vault_key_is_not_here_waits_without_an_end_and_goes_when_it_is(world: World, told: Told) -> None:
    """Another node has sealed it, or a key was lost: our own lack is no attempt, tells nobody, ends nothing."""
    other = Vault({"k": bytes(32), "new": b"\x01" * 32}, "new")
    mine, world.vault = world.vault, other
    rows = world.rows(state=S.SCHEDULED)
    await world.commit(rows)
    world.vault = mine
    lifetime, before = world.config.limits.lifetime, 0.0
    for _ in range(4):  # long after everything else would have been given up
        world.clock.advance(lifetime)
        world.relay.wake()
        row = (await world.settled([rows[0].id], S.DEFERRED))[0]
        await world.store.until(lambda: (world.store.delivery_rows[rows[0].id].next_attempt or 0) > world.clock.wall)
        assert world.store.delivery_rows[rows[0].id].next_attempt > before
        before = world.store.delivery_rows[rows[0].id].next_attempt
        assert before <= world.clock.wall + 900
        assert row.attempts == 0 and not row.warned
        assert row.last_reply.startswith("451 4.3.0") and "vault key new" in row.last_reply
    assert not world.hop.taken and not told.kinds
    assert mine.missed == {"new"}
    mine.adopt(other)
    world.clock.advance(1000)
    world.relay.wake()
    await world.settled([rows[0].id], S.DELIVERED)
    assert len(world.hop.taken) == 1 and not told.kinds


@pytest.mark.parametrize("offered", [CONTENT + b"x\r\n", CONTENT.replace(b"Sir", b"Sit")])
async def test_P7_only_what_was_inspected_leaves(world: World, offered: bytes) -> None:
    rows = world.rows()
    await world.commit(rows)
    world.relay.offer(rows, offered)
    await world.settled([rows[0].id], S.ON_HOLD)
    assert not world.hop.taken


async def test_P13_content_that_could_smuggle_never_leaves(world: World) -> None:
    content = CONTENT + b"\n.\nMAIL FROM:<x@y>\r\n"
    row = (await world.settled(await world.accept(content=content)))[0]
    assert row.state is S.ON_HOLD
    assert not world.hop.taken


def test_received_fields_are_counted_in_the_header_only() -> None:
    assert jobs.received_count(jobs.header_of(b"Received: a\r\nX: y\r\nRECEIVED: b\r\nX-Received: c\r\n\r\nReceived: d\r\n")) == 2


# --- on the real store -----------------------------------------------------------------------------------------------


async def test_the_relay_on_the_embedded_store_across_a_restart(told: Told, tmp_path: Path) -> None:
    """Delivered, returned and deferred; then the keeper dies, and the next one delivers what was left, with an unbroken chain."""
    unlisted = per_recipient({"no@nic.in": b"550 5.1.1 unknown\r\n", "later@nic.in": b"451 4.3.0 later\r\n"})
    async with Hop(replies={"RCPT": unlisted}) as hop:
        world = World(hop)
        world.store = SqliteStore(tmp_path / "gateway.db")  # type: ignore[assignment]
        chain = AuditChain("c1")
        await world.store.open(chain)
        world.relay = world.make()
        await world.relay.start()
        ids = await world.accept("yes@nic.in", "no@nic.in", "later@nic.in")
        orphan = world.rows("never-offered@nic.in")
        await world.commit(orphan)
        while await world.store.open_delivery_count() > 2:  # the deferred one and the orphan; the report is delivered too
            await asyncio.sleep(0.01)
        states = [(await world.store.delivery(i)).state for i in ids]  # type: ignore[union-attr]
        assert states == [S.DELIVERED, S.BOUNCED, S.DEFERRED]
        await world.relay.stop()
        await world.store.close()

        hop.replies.clear()
        world.store = SqliteStore(tmp_path / "gateway.db")  # type: ignore[assignment]
        await world.store.open(AuditChain("c1"))
        world.clock.advance(300)
        world.relay = world.make()
        await world.relay.start()
        while await world.store.open_delivery_count():
            await asyncio.sleep(0.01)
        assert sorted(taken.rcpts[0] for taken in hop.taken) == [
            "RCPT TO:<a@dept.gov.in>" + (" NOTIFY=NEVER" if "DSN" in hop.offer else ""), "RCPT TO:<later@nic.in>",
            "RCPT TO:<never-offered@nic.in>", "RCPT TO:<yes@nic.in>",
        ]  # fmt: skip
        assert await world.store.body(orphan[0].body_id) is None, "nothing needs the content any more"
        assert (await verify(world.store)).bad is None
        await world.relay.stop()
        await world.store.close()

"""What only a store with several keepers can do, on a real PostgreSQL: leases, locks, positions, partitions, and a server that goes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import psycopg
import pytest
from psycopg import errors

from gateway.requests import ExceptionRow
from gateway.stores import schema
from gateway.stores.base import (
    AuditEvent,
    AuditRow,
    Batch,
    Conflict,
    DeliveryState,
    DeliveryUpdate,
    HoldState,
    HoldUpdate,
    StoreError,
    StoreFull,
    register_version,
)
from gateway.stores.postgres import connection, partitions, upgrade
from gateway.stores.postgres.connection import Target
from gateway.stores.postgres.leases import Presence
from gateway.stores.postgres.store import PostgresStore
from gateway.stores.sharing import BEAT_EVERY, DEAD
from tests.e2e.postgres import Postgres
from tests.keeper_kit import NOW, PlainChain, body, delivery, event, hold, message, whole
from tests.store_databases import Databases, name_of

pytestmark = pytest.mark.service
S, L, D = DeliveryState.SCHEDULED, DeliveryState.LEASED, DeliveryState.DELIVERED
_TODAY = int(time.time() // 86400)


class NamedChain(PlainChain):
    """A keeper's own chain."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.id = name

    def append(self, event: AuditEvent) -> AuditRow:
        row = super().append(event)
        return AuditRow(self.id, row.seq, event.created, event.reference, row.prev_hash, row.hash, row.line)


@pytest.fixture
async def target(databases: Databases) -> AsyncIterator[Target]:
    made = databases.make()
    yield made
    databases.drop(made)


Opened = Callable[[str], Awaitable[PostgresStore]]


@pytest.fixture
async def keeper(target: Target) -> AsyncIterator[Opened]:
    """Opens one more keeper's store on the same database."""
    stores: list[PostgresStore] = []

    async def opened(name: str) -> PostgresStore:
        store = PostgresStore(target)
        await store.open(NamedChain(name))
        stores.append(store)
        return store

    yield opened
    for store in stores:
        await store.close()


# --- two writers --------------------------------------------------------------------------------------------------------


async def test_two_keepers_write_at_once_and_each_has_its_whole_chain(keeper: Opened) -> None:
    one, two = await keeper("one"), await keeper("two")
    batches = [whole()[0] for _ in range(60)]
    await asyncio.gather(*(store.write(batch) for n, batch in enumerate(batches) for store in [(one, two)[n % 2]]))
    for name in ("one", "two"):
        assert [row.seq for row in await one.audit_rows(chain=name)] == list(range(1, 31))
    assert {row.id for row in await two.deliveries()} == {row.id for batch in batches for row in batch.deliveries}


async def test_nobody_else_writes_on_a_keepers_chain(keeper: Opened) -> None:
    mine, thief = await keeper("one"), await keeper("one")
    await mine.write(Batch(audit=[event()]))
    with pytest.raises(StoreError, match="did not write"):
        await thief.write(Batch(audit=[event()], messages=[message()]))
    assert len(await mine.audit_rows(chain="one")) == 1


async def test_the_last_two_deliveries_of_a_message_end_on_two_nodes_and_its_body_goes(keeper: Opened) -> None:
    one, two = await keeper("one"), await keeper("two")
    for _ in range(30):
        row = message()
        pair = [delivery(row, "a@nic.in"), delivery(row, "b@nic.in")]
        await one.write(Batch(bodies=[body(row.id)], messages=[row], deliveries=pair))
        ends = [Batch(delivery_updates=[DeliveryUpdate(each.id, (S,), D)]) for each in pair]
        await asyncio.gather(one.write(ends[0]), two.write(ends[1]))
        assert await one.body(row.id) is None
        assert [each.state for each in await two.deliveries(reference=row.reference)] == [D, D]


async def test_a_body_stays_while_another_node_has_not_committed_its_end(keeper: Opened, target: Target) -> None:
    one = await keeper("one")
    row = message()
    pair = [delivery(row, "a@nic.in"), delivery(row, "b@nic.in")]
    await one.write(Batch(bodies=[body(row.id)], messages=[row], deliveries=pair))
    other = await connection.connect(target)
    try:
        await other.execute("BEGIN")
        await other.execute("DELETE FROM deliveries_open WHERE id = %s", (pair[1].id,))
        await one.write(Batch(delivery_updates=[DeliveryUpdate(pair[0].id, (S,), D)]))
        assert await one.body(row.id) is not None
        await other.execute("ROLLBACK")
    finally:
        await other.close()
    await one.write(Batch(delivery_updates=[DeliveryUpdate(pair[1].id, (S,), D)]))
    assert await one.body(row.id) is None


async def test_a_commit_that_was_decided_under_another_nodes_old_register_conflicts(keeper: Opened) -> None:
    one, two = await keeper("one"), await keeper("two")
    heard: list[str] = []
    two.listen(heard.append)
    await asyncio.sleep(0.3)
    empty = register_version(())
    await two.write(Batch(expect_exceptions_version=empty, messages=[message()]))
    row = ExceptionRow("e1", "a@b", "*", "why", "r", "a", NOW, NOW + 10)
    await one.write(Batch(exceptions=[row]))
    with pytest.raises(Conflict, match="register has changed"):
        await two.write(Batch(expect_exceptions_version=empty, messages=[message()]))
    assert two.exceptions_version == register_version([row]), "the keeper sees that it has to read the register again"
    await two.write(Batch(expect_exceptions_version=register_version([row]), messages=[message()]))
    await _until(lambda: "register" in heard)


async def test_a_release_on_one_node_wakes_the_other(keeper: Opened) -> None:
    one, two = await keeper("one"), await keeper("two")
    heard: list[str] = []
    own: list[str] = []
    two.listen(heard.append)
    one.listen(own.append)
    await asyncio.sleep(0.3)
    batch, row, _ = whole()
    held = hold(row)
    await one.write(Batch(bodies=batch.bodies, messages=[row], holds=[held]))
    assert heard == [], "held mail is nothing for a relay"
    release = HoldUpdate(held.id, (HoldState.HELD,), HoldState.RELEASED, NOW, ("x",))
    await one.write(Batch(hold_updates=[release], deliveries=[delivery(row)]))
    await _until(lambda: heard == ["queue"])
    assert own == [], "who wrote it is not told"


# --- leases -------------------------------------------------------------------------------------------------------------


async def test_O13_two_keepers_lease_what_is_due_and_none_of_it_twice(keeper: Opened) -> None:
    one, two = await keeper("one"), await keeper("two")
    await asyncio.gather(*(one.write(whole()[0]) for _ in range(40)))
    await one.release_leases("i1")
    await two.release_leases("i2")
    taken = await asyncio.gather(*(store.lease_due(NOW, 7, name) for _ in range(4) for store, name in ((one, "i1"), (two, "i2"))))
    ids = [row.id for rows in taken for row in rows]
    assert len(ids) == len(set(ids)) == 40
    assert {row.lease for rows in taken for row in rows} == {"i1", "i2"}
    assert all(row.state is L and row.sender for rows in taken for row in rows)


async def test_a_keeper_that_nobody_knows_leases_nothing(keeper: Opened) -> None:
    one = await keeper("one")
    await one.write(whole()[0])
    assert await one.lease_due(NOW, 7, "ghost") == []


async def test_O12_at_a_start_the_leases_of_the_keeper_before_in_this_folder_are_free_at_once(keeper: Opened) -> None:
    first, other = await keeper("one"), await keeper("two")
    await first.write(whole()[0])
    await other.write(whole()[0])
    await first.release_leases("before")
    await other.release_leases("theirs")
    assert len(await first.lease_due(NOW, 1, "before")) == len(await other.lease_due(NOW, 1, "theirs")) == 1
    again = await keeper("one")
    assert await again.release_leases("after") == 1
    assert [row.lease for row in await again.deliveries() if row.state is L] == ["theirs"], "the other one lives"


async def test_O12_a_keeper_is_dead_when_its_sign_of_life_was_watched_unchanged_for_long(target: Target, keeper: Opened) -> None:
    quiet = await keeper("quiet")
    await quiet.write(whole()[0])
    await quiet.release_leases("q")
    (leased,) = await quiet.lease_due(NOW, 1, "q")
    now = [1000.0]
    watching = Presence(quiet._pool, "watcher", lambda: now[0])

    async def look(seconds: float) -> int:
        now[0] += seconds
        async with quiet._pool.writer() as link:
            return await watching.release(link, "w")

    assert await look(0) == 0
    assert await look(DEAD * 10) == 0, "it was away itself and has watched nobody"
    for _ in range(5):
        assert await look(BEAT_EVERY) == 0
    assert await quiet.beat("q") is True
    for _ in range(6):
        assert await look(BEAT_EVERY) == 0, "it lives"
    assert await look(BEAT_EVERY) == 1
    row = await quiet.delivery(leased.id)
    assert row is not None
    assert (row.state, row.lease) == (S, "")
    assert await quiet.beat("q") is False, "and is told so"
    assert await quiet.beat("q") is False, "until it has taken its place again"
    assert await quiet.lease_due(NOW, 1, "q") == []
    await quiet.release_leases("q")
    assert await quiet.beat("q") is True
    await watching.close()


async def test_what_another_keeper_has_taken_over_is_not_put_back_by_the_one_before(keeper: Opened) -> None:
    one, two = await keeper("one"), await keeper("two")
    await one.write(whole()[0])
    await two.release_leases("i2")
    (row,) = await two.lease_due(NOW, 1, "i2")
    late = DeliveryUpdate(row.id, (L,), DeliveryState.DEFERRED, next_attempt=NOW, lease="", holder="i1")
    with pytest.raises(Conflict):
        await one.write(Batch(delivery_updates=[late]))
    # What it has delivered is delivered, whoever thinks to hold it; and an operator names no holder.
    await one.write(Batch(delivery_updates=[DeliveryUpdate(row.id, (L,), D, lease="")]))
    with pytest.raises(Conflict):
        await two.write(Batch(delivery_updates=[DeliveryUpdate(row.id, (L,), DeliveryState.DEFERRED, lease="", holder="i2")]))


async def test_one_keeper_at_a_time_does_a_job_and_the_next_one_after_its_death(keeper: Opened, postgres: Postgres, target: Target) -> None:
    one, two = await keeper("one"), await keeper("two")
    async with one.alone("digests") as mine, two.alone("digests") as theirs, two.alone("expiry") as other:
        assert (mine, theirs, other) == (True, False, True)
    async with two.alone("digests") as free:
        assert free
    holder = one.alone("digests")
    assert await holder.__aenter__()
    postgres.cut(name_of(target))
    with contextlib.suppress(StoreError):
        async with two.alone("digests"):
            pass
    async with asyncio.timeout(5):
        while True:
            with contextlib.suppress(StoreError):
                async with two.alone("digests") as given:
                    if given:
                        break
            await asyncio.sleep(0.1)
    await holder.__aexit__(None, None, None)


# --- positions ----------------------------------------------------------------------------------------------------------


async def test_a_walk_by_position_skips_nothing_that_another_node_commits_later(keeper: Opened, target: Target) -> None:
    one = await keeper("one")
    await one.write(Batch(audit=[event("R1")]))
    early = await connection.connect(target)
    try:
        await early.execute("BEGIN")
        await early.execute("SELECT pg_current_xact_id()")  # a transaction of another node that has begun before ...
        await one.write(Batch(audit=[event("R2")]))  # ... and commits after this one
        first = await one.search_audit()
        assert [row.reference for row in first] == ["R1"], "what may still get company below it waits"
        assert await one.reviewing.untallied(first[-1].position, 10) == ([], 0)
        await early.execute("COMMIT")
    finally:
        await early.close()
    assert [row.reference for row in await one.search_audit(after=first[-1].position)] == ["R2"]


async def test_walking_while_two_nodes_write_gives_every_row_once(keeper: Opened) -> None:
    one, two, reader = await keeper("one"), await keeper("two"), await keeper("reader")

    async def written(store: PostgresStore, name: str) -> None:
        for n in range(25):
            await store.write(Batch(audit=[event(f"{name}{n}")]))

    work = asyncio.gather(written(one, "one"), written(two, "two"))
    seen: list[str] = []
    after = 0
    async with asyncio.timeout(30):
        while len(seen) < 50:
            rows = await reader.search_audit(after=after, limit=7)
            seen += [row.reference for row in rows]
            after = rows[-1].position if rows else after
            await asyncio.sleep(0)
    await work
    assert sorted(seen) == sorted(f"{name}{n}" for name in ("one", "two") for n in range(25))


async def test_positions_go_on_above_those_of_a_log_from_another_server(keeper: Opened, target: Target) -> None:
    one = await keeper("one")
    await one.write(Batch(audit=[event("OLD")]))
    await one.close()
    link = await connection.connect(target)
    await link.execute("UPDATE audit SET position = (1::bigint << 60)")
    await link.close()
    again = await keeper("one")
    await again.write(Batch(audit=[event("NEW")]))
    assert [row.reference for row in await again.search_audit()] == ["OLD", "NEW"]


# --- partitions ---------------------------------------------------------------------------------------------------------


async def test_finished_deliveries_and_decisions_stand_in_the_partition_of_their_day(keeper: Opened, target: Target) -> None:
    one = await keeper("one")
    today, far = message(created=time.time()), message(created=4e9)
    for row in (today, far):
        moved = delivery(row, attempts=3)
        await one.write(Batch(messages=[row], deliveries=[moved], audit=[event(row.reference, created=row.created)]))
        await one.write(Batch(delivery_updates=[DeliveryUpdate(moved.id, (S,), D, last_reply="250 ok", sent_sha256="x")]))
        found = await one.delivery(moved.id)
        assert found is not None
        assert (found.state, found.last_reply, found.sent_sha256, found.attempts) == (D, "250 ok", "x", 3)
    day = partitions.name_of("deliveries_done", _TODAY)
    async with one._pool.reader() as link:
        for table, count in (
            (day, 1),
            ("deliveries_done_default", 1),
            ("deliveries_open", 0),
            (day.replace("deliveries_done", "audit"), 1),
        ):
            assert (await (await link.execute(f"SELECT count(*) FROM {table}")).fetchone()) == (count,), table


async def test_emptied_partitions_of_days_past_go_and_those_ahead_are_made(keeper: Opened) -> None:
    one = await keeper("one")
    past = [_TODAY - 20, _TODAY - 10]
    await one.write(Batch(audit=[event("KEPT", created=past[1] * 86400.0 + 5)]))  # no partition yet: in the default one
    async with one._pool.writer() as link:
        assert await partitions._made(link, "audit", past[0]) is True
        assert await partitions._made(link, "audit", past[1]) is False, "its rows are in the default partition"
        assert await partitions._made(link, "deliveries_done", past[1]) is True
    row = message(created=past[1] * 86400.0 + 9)
    await one.write(Batch(messages=[row], deliveries=[delivery(row, state=D)]))
    await one.compact()
    async with one._pool.reader() as link:
        found = {name for (name,) in await (await link.execute("SELECT relname FROM pg_class WHERE relkind = 'r'")).fetchall()}
    assert partitions.name_of("audit", past[0]) not in found
    assert partitions.name_of("deliveries_done", past[1]) in found, "it holds a row"
    assert partitions.name_of("audit", _TODAY + partitions.AHEAD) in found
    assert [one.reference for one in await one.audit_rows()] == ["KEPT"]


async def test_what_is_open_is_read_without_the_days_past(keeper: Opened) -> None:
    one = await keeper("one")
    async with one._pool.reader() as link:
        sql = "EXPLAIN SELECT id FROM deliveries WHERE state IN ('scheduled', 'deferred') AND next_attempt <= 5"
        plan = "\n".join(row[0] for row in await (await link.execute(sql)).fetchall())
    assert "deliveries_open" in plan
    assert "deliveries_done" not in plan


async def test_a_queue_that_was_empty_when_a_plan_was_made_is_not_walked_when_it_is_full(keeper: Opened) -> None:
    from gateway.stores.postgres import statements as statements

    one = await keeper("one")
    async with one._pool.writer() as link:
        for sql in (statements.DROP_FINISHED, statements.STILL_NEEDED, statements.UPDATE_DELIVERIES, statements.END_DELIVERIES):
            text, count = sql, 0
            while "%b" in text:
                count += 1
                text = text.replace("%b", f"${count}", 1)
            await link.execute(f"PREPARE looked AS {text}")
            await link.execute("SET plan_cache_mode = force_generic_plan")
            plan = await (await link.execute(f"EXPLAIN EXECUTE looked ({', '.join(['NULL'] * count)})")).fetchall()
            await link.execute("DEALLOCATE looked")
            lines = [row[0] for row in plan]
            assert not any("Seq Scan on" in line or "hashed SubPlan" in line for line in lines), "\n".join(lines)
            for table in ("deliveries_open", "messages", "bodies"):
                for n, line in enumerate(lines):
                    if f" on {table}" in line and "Scan" in line:
                        assert any("Cond" in later for later in lines[n : n + 4]), "\n".join(lines)


# --- a server that goes, or is full -------------------------------------------------------------------------------------


async def test_O10_a_cut_connection_is_an_error_for_those_on_it_and_the_store_goes_on_by_itself(
    keeper: Opened, postgres: Postgres, target: Target
) -> None:
    one = await keeper("one")
    answered: list[str] = []
    stop = False

    async def mail() -> None:
        while not stop:
            batch, row, _ = whole()
            try:
                await one.write(batch)
            except StoreError:
                await asyncio.sleep(0.02)
            else:
                answered.append(row.id)

    tasks = [asyncio.create_task(mail()) for _ in range(8)]
    for _ in range(6):
        await asyncio.sleep(0.15)
        await asyncio.to_thread(postgres.cut, name_of(target))
    await asyncio.sleep(1.5)
    stop = True
    await asyncio.gather(*tasks)
    assert one.degraded == ""
    assert len(answered) > 20
    for identifier in answered:
        assert await one.message(identifier) is not None
    rows = await one.audit_rows(chain="one", limit=100_000)
    assert [row.seq for row in rows] == list(range(1, len(rows) + 1)), "no gap, no fork"


@pytest.mark.slow
async def test_O10_a_database_killed_in_the_middle_of_commits_keeps_all_that_was_answered(tmp_path: Path) -> None:
    server = Postgres(tmp_path / "own")
    server.start()
    try:
        store = PostgresStore(Target(server.create("mail"), server.password_file))
        await store.open(NamedChain("one"))
        answered: list[str] = []
        stop = False

        async def mail() -> None:
            while not stop:
                batch, row, _ = whole()
                try:
                    await store.write(batch)
                except StoreError:
                    await asyncio.sleep(0.05)
                else:
                    answered.append(row.id)

        tasks = [asyncio.create_task(mail()) for _ in range(6)]
        for end in (server.immediate, server.kill):
            await asyncio.sleep(0.8)
            await asyncio.to_thread(end)
            await asyncio.sleep(0.5)
            assert store.degraded, "it says so while the database is away"
            await asyncio.to_thread(server.start)
        before = len(answered)
        async with asyncio.timeout(20):
            while len(answered) < before + 5:
                await asyncio.sleep(0.1)
        stop = True
        await asyncio.gather(*tasks)
        for identifier in answered:
            assert await store.message(identifier) is not None
        rows = await store.audit_rows(chain="one", limit=1_000_000)
        assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
        await store.close()
    finally:
        server.stop()


async def test_a_commit_whose_answer_was_lost_is_asked_after(
    keeper: Opened, postgres: Postgres, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await keeper("one")
    real = psycopg.AsyncConnection.execute
    done: list[object] = []

    async def execute(self: psycopg.AsyncConnection[tuple[object, ...]], query: str, *more: object, **named: object) -> object:
        if query == "COMMIT" and not done:
            done.append(await real(self, "COMMIT"))  # the server has done it, and its answer never came
            await self.close()
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        return await real(self, query, *more, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(psycopg.AsyncConnection, "execute", execute)
    batch, row, _ = whole()
    await one.write(batch)
    assert done
    assert await one.message(row.id) is not None
    await one.write(whole()[0])
    assert [each.seq for each in await one.audit_rows(chain="one")] == [1, 2]


async def test_a_commit_that_was_lost_before_it_was_done_is_an_error(keeper: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await keeper("one")
    real = psycopg.AsyncConnection.execute
    lost: list[int] = []

    async def execute(self: psycopg.AsyncConnection[tuple[object, ...]], query: str, *more: object, **named: object) -> object:
        if query == "COMMIT" and not lost:
            lost.append(1)
            await self.close()
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        return await real(self, query, *more, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(psycopg.AsyncConnection, "execute", execute)
    batch, row, _ = whole()
    with pytest.raises(StoreError, match="broke before"):
        await one.write(batch)
    assert await one.message(row.id) is None
    await one.write(batch)
    assert [each.seq for each in await one.audit_rows(chain="one")] == [1]


def test_what_postgresql_says_becomes_one_of_ours() -> None:
    here = Target("postgresql://u@h:1/d")
    for error, kind in (
        (errors.DiskFull("x"), StoreFull), (errors.OutOfMemory("x"), StoreFull), (errors.UniqueViolation("x"), Conflict),
        (errors.DeadlockDetected("x"), connection.Repeat), (errors.AdminShutdown("x"), StoreError),
        (errors.ReadOnlySqlTransaction("x"), StoreError), (psycopg.OperationalError("x"), StoreError),
    ):  # fmt: skip
        assert type(connection.translate(error, here)) is kind, error
    said = str(connection.translate(errors.NotNullViolation("null value\nDETAIL:  Failing row (a secret)"), here))
    assert "secret" not in said


def test_an_address_with_a_password_is_refused() -> None:
    assert "password_file" in Target("postgresql://u:secret@h/d").problem()
    assert "database" in Target("postgresql://u@h").problem()
    assert Target("postgresql://u@h/d?sslmode=verify-full").problem() == ""
    assert "secret" not in Target("postgresql://u:secret@h/d").name


async def test_a_text_that_postgresql_does_not_take_stands_in_nobodys_way(keeper: Opened) -> None:
    one = await keeper("one")
    batches = [whole() for _ in range(4)]
    await asyncio.gather(*(one.write(batch) for batch, _, _ in batches))
    said = [DeliveryUpdate(each.id, (S,), D, last_reply="250 ok\0\ud800") for _, _, each in batches[:1]]
    said += [DeliveryUpdate(each.id, (S,), D, last_reply="250 ok") for _, _, each in batches[1:]]
    await asyncio.gather(*(one.write(Batch(delivery_updates=[update], audit=[event()])) for update in said))
    rows = [await one.delivery(each.id) for _, _, each in batches]
    assert [row and row.last_reply for row in rows] == ["250 ok\ufffd\\ud800", "250 ok", "250 ok", "250 ok"]
    assert len(await one.audit_rows(chain="one")) == 8


# --- formats ------------------------------------------------------------------------------------------------------------

_STEP = """
import sqlalchemy as sa
from alembic import op
revision, down_revision, branch_labels, depends_on = "{next:04}", None, None, None
OLDEST_CODE = {oldest}

def upgrade():
    op.add_column("users", sa.Column("telephone", sa.Text, nullable=False, server_default=sa.text("''")))
"""


@pytest.mark.parametrize("oldest", [schema.VERSION, schema.VERSION + 1])
async def test_O21_the_next_version_upgrades_while_a_node_of_this_one_runs(
    keeper: Opened, target: Target, tmp_path: Path, oldest: int
) -> None:
    running = await keeper("old")
    following = schema.VERSION + 1
    (tmp_path / f"p{following:04}_next.py").write_text(_STEP.format(next=following, oldest=oldest))
    link = await connection.connect(target)
    other = await connection.connect(target)
    try:
        found = await asyncio.gather(*(upgrade.fit(each, target, code=following, steps=tmp_path) for each in (link, other)))
        assert found == [following, following], "two nodes of the next version at once: one of them does it"
        assert (await (await link.execute("SELECT telephone FROM users")).fetchall()) == []
    finally:
        await link.close()
        await other.close()
    await running.write(whole()[0])
    if oldest == schema.VERSION:
        await (await keeper("old too")).write(whole()[0])
    else:
        with pytest.raises(StoreError, match="upgrade this node"):
            await keeper("old too")


async def test_O21_a_step_that_fails_is_taken_back(target: Target, tmp_path: Path) -> None:
    following = schema.VERSION + 1
    broken = _STEP.format(next=following, oldest=5) + "    op.drop_table('nowhere')\n"
    (tmp_path / f"p{following:04}_next.py").write_text(broken)
    link = await connection.connect(target)
    try:
        with pytest.raises(StoreError, match="taken back"):
            await upgrade.fit(link, target, code=following, steps=tmp_path)
        assert await upgrade.fit(link, target) == schema.VERSION
        with pytest.raises(psycopg.errors.UndefinedColumn):
            await link.execute("SELECT telephone FROM users")
    finally:
        await link.close()


async def test_a_database_of_somebody_else_is_left_alone(postgres: Postgres) -> None:
    target = Target(postgres.create("theirs"), postgres.password_file)
    link = await connection.connect(target)
    try:
        await link.execute("CREATE TABLE messages (id int)")
        with pytest.raises(StoreError, match="not the gateway's"):
            await upgrade.fit(link, target)
    finally:
        await link.close()
        postgres.drop("theirs")


async def _until(true: Callable[[], bool], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.02)

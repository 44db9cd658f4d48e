"""``gateway store migrate``: everything goes into PostgreSQL, whatever breaks it off, and nothing of the old store changes."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from gateway.config import Config
from gateway.stores import locking, moved_check, moved_rows, moving
from gateway.stores.postgres.connection import Pool, Target
from gateway.stores.postgres.reading import PostgresReading
from gateway.stores.sqlite.store import SqliteStore
from tests.e2e.postgres import Postgres
from tests.keeper_kit import event
from tests.store_stock import stocked

ROOT = Path(__file__).resolve().parents[1]


def test_a_digest_does_not_depend_on_order_or_steps_and_sees_every_column() -> None:
    rows = [(n, "a", b"\x00", 1.5, True, None) for n in range(9)]
    whole = moved_rows.digest(0, rows)
    assert moved_rows.digest(moved_rows.digest(0, rows[5:]), rows[4::-1]) == whole
    for place, other in enumerate((99, "b", b"\x01", 1.25, False, "")):
        changed = [*rows[:8], (*rows[8][:place], other, *rows[8][place + 1 :])]
        assert moved_rows.digest(0, changed) != whole


def test_keys_come_back_as_they_were() -> None:
    for key in (("id",), (b"\x00\xff" * 8, "hold"), (4, "dept", "rule", "deliver", -1)):
        assert moved_rows.key_from(moved_rows.key_text(key)) == key


def test_every_table_of_the_store_is_moved() -> None:
    from gateway.stores import schema

    assert {one.name for one in moved_rows.tables()} == set(schema.METADATA.tables)
    assert [one.name for one in moved_rows.tables()][:4] == ["bodies", "messages", "deliveries", "holds"]
    assert moved_rows.tables()[-1].name == "audit"


@pytest.fixture
def target(postgres: Postgres) -> Iterator[str]:
    name = f"m{uuid.uuid4().hex[:12]}"
    yield postgres.create(name)
    postgres.drop(name)


def command(folder: Path, url: str, password: Path, *, steps: int = 0) -> list[str]:
    words = ["store", "migrate", "--to", url, "--password-file", str(password), "--config", str(folder / "gateway.toml"), "--json"]
    small = (
        f"from gateway.stores import moving; moving._STEP_ROWS = {steps or 2000}; from gateway.cli import store_migrate as m; m._EVERY = 0"
    )
    return [sys.executable, "-u", "-c", f"{small}; import sys; sys.argv = ['gateway', *{words!r}]; from gateway.cli import main; main()"]


def migrate(folder: Path, url: str, password: Path, *, check: bool = True, steps: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command(folder, url, password, steps=steps), capture_output=True, text=True, cwd=ROOT, timeout=120, stdin=subprocess.DEVNULL
    )
    assert not check or done.returncode == 0, (done.stdout[-2000:], done.stderr[-3000:])
    return done


def records(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


async def same(config: Config, target: Target) -> bool:
    from gateway.stores.postgres import connection

    link = await connection.connect(target)
    try:
        return await moved_check.compare(moved_rows.open_source(config.state_dir / "gateway.db"), link, lambda _: None)
    finally:
        await link.close()


async def accounts(config: Config, target: Target) -> tuple[list[Any], list[Any]]:
    """The same questions to both stores."""

    async def ask(store: Any) -> list[Any]:
        deliveries = await store.deliveries(all=True, limit=10_000)
        bodies = [await store.body(row.body_id) for row in deliveries]
        return [
            deliveries, await store.deliveries(), bodies, await store.holds(all=True), await store.audit_rows(limit=10_000),
            await store.search_audit(limit=10_000), await store.signed_heads(), await store.exceptions(all=True), await store.users(),
            await store.journal.page("", "", 1000), await store.reviewing.tallies(0, 999, None), await store.reviewing.credentials("asha"),
            await store.audit_chains(), (await store.figures()).queue, await store.known_pairs([bytes([3]) * 16, b"no"]),
        ]  # fmt: skip

    here = SqliteStore(config.state_dir / "gateway.db", read_only=True)
    await here.open()
    pool = Pool(target)
    try:
        return await ask(here), await ask(PostgresReading(pool))
    finally:
        await here.close()
        await pool.close()


@pytest.mark.service
def test_everything_is_moved_read_back_and_verified(postgres: Postgres, target: str, tmp_path: Path) -> None:
    config = asyncio.run(stocked(tmp_path))
    before = {path: path.read_bytes() for path in config.state_dir.glob("gateway.db*")}
    lines = records(migrate(tmp_path, target, postgres.password_file))
    assert lines[-1]["ok"] is True
    assert "121 rows" in lines[-1]["audit"], lines[-1]
    assert lines[-1]["config"]["store"] == [f'url = "{target}"', f'password_file = "{postgres.password_file}"']
    assert {line["table"] for line in lines if "same" in line} == {one.name for one in moved_rows.tables()}
    assert all(line["same"] and line["rows"] == line["rows_there"] for line in lines if "same" in line)
    where = Target(target, postgres.password_file)
    assert asyncio.run(same(config, where))
    here, there = asyncio.run(accounts(config, where))
    for one, other in zip(here, there, strict=True):
        assert one == other
    database = target.rpartition("/")[2]
    assert postgres.ask("SELECT version, oldest_code, base FROM store_format", database=database) == [(5, 5, 121)]
    chain, seq, digest = postgres.ask("SELECT chain, seq, hash FROM chains", database=database)[0]
    last = next(row for row in here[4] if row.seq == seq)
    assert (last.chain, last.hash, seq) == (chain, digest, 121)
    assert {path: path.read_bytes() for path in config.state_dir.glob("gateway.db*")}[config.state_dir / "gateway.db"] == before[
        config.state_dir / "gateway.db"
    ], "the old store is as it was"
    again = migrate(tmp_path, target, postgres.password_file, check=False)
    assert (again.returncode, "moved here already" in again.stderr) == (1, True), again.stderr


@pytest.mark.service
@pytest.mark.slow
def test_killed_at_any_moment_and_run_again_it_ends_right(postgres: Postgres, target: str, tmp_path: Path) -> None:
    config = asyncio.run(stocked(tmp_path))
    rng = random.Random(int(os.environ.get("SEED", "7")))
    furthest = 0
    for kill in range(4):
        stop = rng.randint(18, 45)
        process = subprocess.Popen(
            command(tmp_path, target, postgres.password_file, steps=5), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            cwd=ROOT, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert process.stdout is not None
        for number, line in enumerate(process.stdout):
            record = json.loads(line)
            furthest = max(furthest, record.get("total", 0))
            if number == stop:
                process.send_signal(signal.SIGKILL)
                break
        process.wait()
        process.stdout.close()
        assert process.returncode == -signal.SIGKILL, kill
        oldest = postgres.ask("SELECT oldest_code FROM store_format", database=target.rpartition("/")[2])
        assert oldest == [(moving.NOBODY,)], "no keeper may open what is half there"
    lines = records(migrate(tmp_path, target, postgres.password_file, steps=5))
    first = next(line for line in lines if line.get("total"))
    assert furthest > 50
    assert lines[-1]["ok"] is True
    assert (
        sum("total" in line for line in lines)
        < sum(moved_rows.counts(moved_rows.open_source(config.state_dir / "gateway.db")).values()) / 5
    )
    assert first["table"] == "bodies"
    assert asyncio.run(same(config, Target(target, postgres.password_file)))


@pytest.mark.service
@pytest.mark.slow
def test_a_gateway_that_ran_between_two_runs_makes_it_begin_anew(postgres: Postgres, target: str, tmp_path: Path) -> None:
    config = asyncio.run(stocked(tmp_path, 20))
    database = target.rpartition("/")[2]
    asyncio.run(_moved_but_not_accepted(config, Target(target, postgres.password_file)))
    assert postgres.ask("SELECT count(*) FROM messages", database=database) == [(20,)]
    asyncio.run(_goes_on(config))
    lines = records(migrate(tmp_path, target, postgres.password_file))
    assert lines[-1]["ok"] is True
    assert lines[0]["total"] > 0
    assert asyncio.run(same(config, Target(target, postgres.password_file)))


async def _moved_but_not_accepted(config: Config, target: Target) -> None:
    from gateway.stores.postgres import connection

    link = await connection.connect(target)
    try:
        await moving.Move(moved_rows.open_source(config.state_dir / "gateway.db"), link, target.name, lambda _: None).run()
    finally:
        await link.close()


async def _goes_on(config: Config) -> None:
    from gateway.audit.audit import load

    store = SqliteStore(config.state_dir / "gateway.db")
    await store.open(load(config)[0])
    from gateway.stores.base import Batch, DeliveryState, DeliveryUpdate

    one = next(row for row in await store.deliveries() if row.state is DeliveryState.SCHEDULED)
    await store.write(
        Batch(delivery_updates=[DeliveryUpdate(one.id, (DeliveryState.SCHEDULED,), DeliveryState.DELIVERED)], audit=[event("NEW")])
    )
    await store.close()


@pytest.mark.service
def test_what_is_not_the_same_is_found_and_no_keeper_may_open_it(postgres: Postgres, target: str, tmp_path: Path) -> None:
    config = asyncio.run(stocked(tmp_path, 5))
    where = Target(target, postgres.password_file)
    asyncio.run(_moved_but_not_accepted(config, where))
    database = target.rpartition("/")[2]
    assert asyncio.run(same(config, where)) is True
    for number, change in enumerate((
        "UPDATE deliveries_open SET recipient = recipient || 'x' WHERE id = (SELECT min(id) FROM deliveries_open)",
        "UPDATE bodies SET ciphertext = ciphertext || '\\x00'::bytea WHERE id = (SELECT min(id) FROM bodies)",
        "DELETE FROM terms WHERE hold_id = (SELECT min(hold_id) FROM terms)",
    )):  # fmt: skip
        copy = f"{database}_{number}"
        url = postgres.create(copy, database)
        postgres.ask(change, database=copy)  # type: ignore[arg-type]
        assert asyncio.run(same(config, Target(url, postgres.password_file))) is False, change
        postgres.drop(copy)
    postgres.ask("DELETE FROM told", database=database)
    failed = migrate(tmp_path, target, postgres.password_file, check=False)
    assert (failed.returncode, "told" in failed.stderr) == (1, True), failed.stderr
    assert postgres.ask("SELECT oldest_code FROM store_format", database=database) == [(moving.NOBODY,)]
    assert records(migrate(tmp_path, target, postgres.password_file))[-1]["ok"] is True


@pytest.mark.service
def test_it_refuses_what_would_harm(postgres: Postgres, target: str, tmp_path: Path) -> None:
    def said(url: str = target) -> str:
        done = migrate(tmp_path, url, postgres.password_file, check=False)
        assert done.returncode == 1, (done.stdout, done.stderr)
        return " ".join(done.stderr.split())

    config = asyncio.run(stocked(tmp_path, 1))
    database = target.rpartition("/")[2]
    lock = locking.take_lock(config.state_dir / "gateway.lock")
    assert "in use by another keeper" in said()
    os.close(lock)
    assert "holds a password" in said(target.replace("gateway@", "gateway:x@"))
    postgres.ask("CREATE TABLE theirs (n int)", database=database)
    assert "tables in this database that are not ours" in said()
    postgres.ask("DROP TABLE theirs", database=database)
    with psycopg.connect(target, password=postgres.password_file.read_text().strip(), autocommit=True) as link:
        from gateway.stores.postgres import tables

        for sql in tables.create():
            link.execute(sql)  # type: ignore[arg-type]
    assert "is a store of the gateway already" in said()
    db = sqlite3.connect(config.state_dir / "gateway.db")
    db.execute("PRAGMA user_version=4")
    db.execute("UPDATE alembic_version SET version_num = '0004'")
    db.commit()
    db.close()
    assert "gateway store upgrade" in said()
    assert not any((tmp_path / "state").glob("*.format-*"))

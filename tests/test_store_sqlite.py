"""The embedded store under faults: full disks, failing disks, damage, two keepers, kills."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.audit.audit import AuditChain, verify
from gateway.stores.base import Batch, DeliveryState, DeliveryUpdate, StoreError, StoreFull
from gateway.stores.sqlite import connection, writer
from gateway.stores.sqlite.store import SqliteStore
from tests.keeper_kit import PlainChain, body, event, message, whole


async def opened(path: Path, **options: Any) -> SqliteStore:
    store = SqliteStore(path / "gateway.db", **options)
    await store.open(AuditChain("c1"))
    return store


class Faulty(sqlite3.Connection):
    """A connection whose disk fails: the statements that begin with ``fault`` raise SQLite's error ``code``."""

    fault = ""
    code = sqlite3.SQLITE_IOERR_FSYNC
    times = 0
    after = False
    """The statement is done, and its end fails."""

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        if Faulty.times and sql.startswith(Faulty.fault):
            Faulty.times -= 1
            if Faulty.after:
                super().execute(sql, *values)
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = Faulty.code
            raise error
        return super().execute(sql, *values)


def faulty(*args: Any, **options: Any) -> sqlite3.Connection:
    return sqlite3.connect(*args, factory=Faulty, **options)


@pytest.fixture(autouse=True)
def no_fault() -> None:
    Faulty.times, Faulty.after = 0, False


# --- O01: no room -----------------------------------------------------------------------------------------------------


async def test_O01_a_full_file_is_refused_and_recovers_by_itself(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.write(whole()[0])
    pages: list[int] = []
    limit = "PRAGMA max_page_count"

    def cap(db: sqlite3.Connection, add: int) -> None:
        pages.append(db.execute("PRAGMA page_count").fetchone()[0])
        db.execute(f"{limit}={pages[0] + add}")

    await store._submit(work=lambda db: cap(db, 3))
    big = message()
    with pytest.raises(StoreFull):
        await store.write(Batch(bodies=[body(big.id, os.urandom(100_000))], messages=[big], audit=[event()]))
    assert await store.message(big.id) is None
    assert not store.degraded
    await store._submit(work=lambda db: db.execute(f"{limit}=1000000").fetchall())
    await store.write(Batch(bodies=[body(big.id, os.urandom(100_000))], messages=[big], audit=[event()]))
    assert (await verify(store)).bad is None
    await store.close()


@pytest.mark.slow
def test_O01_a_limit_on_the_file_size_answers_an_error_and_loses_nothing(tmp_path: Path) -> None:
    """A real write error (EFBIG, as a quota gives it), in a process of its own."""
    script = textwrap.dedent(
        f"""
        import asyncio, os, resource, pathlib, sys
        sys.path[:0] = {sys.path!r}
        from gateway.audit.audit import AuditChain, verify
        from gateway.stores.base import Batch, StoreError
        from gateway.stores.sqlite.store import SqliteStore
        from tests.keeper_kit import body, event, message, whole

        async def main():
            store = SqliteStore(pathlib.Path({str(tmp_path)!r}) / "gateway.db")
            await store.open(AuditChain("c1"))
            kept = []
            for _ in range(3):
                batch, row, _ = whole()
                await store.write(batch)
                kept.append(row.id)
            resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, resource.RLIM_INFINITY))
            failed = 0
            for _ in range(20):
                row = message()
                try:
                    await store.write(Batch(bodies=[body(row.id, os.urandom(100_000))], messages=[row], audit=[event()]))
                    kept.append(row.id)
                except StoreError:
                    failed += 1
            assert failed, "the limit was not met"
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            await asyncio.sleep(1.1)
            batch, row, _ = whole()
            await store.write(batch)
            kept.append(row.id)
            assert not store.degraded
            for id in kept:
                assert await store.message(id) is not None, id
            result = await verify(store)
            assert result.bad is None, result.text
            await store.close()
            print("kept", len(kept), "failed", failed)

        asyncio.run(main())
        """
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[1])
    assert done.returncode == 0, done.stderr
    assert "failed" in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small file system")
async def test_O01_a_full_file_system_defers_and_recovers(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("this container may not mount")
    try:
        store = await opened(disk)
        (disk / "ballast").write_bytes(b"\0" * 2_000_000)
        kept, failed = [], 0
        for _ in range(30):
            row = message()
            try:
                await store.write(Batch(bodies=[body(row.id, os.urandom(60_000))], messages=[row], audit=[event()]))
                kept.append(row.id)
            except StoreError:
                failed += 1
        assert kept
        assert failed
        (disk / "ballast").unlink()
        await asyncio.sleep(1.1)
        batch, row, _ = whole()
        await store.write(batch)
        for one in [*kept, row.id]:
            assert await store.message(one) is not None
        assert (await verify(store)).bad is None
        await store.close()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


# --- O02: a failing disk ----------------------------------------------------------------------------------------------


async def test_O02_P5_a_failed_fsync_is_not_accepted_and_the_store_is_opened_again(tmp_path: Path) -> None:
    store = await opened(tmp_path, connect=faulty)
    await store.write(whole()[0])
    Faulty.fault, Faulty.times = "COMMIT", 1
    batch, row, _ = whole()
    with pytest.raises(StoreError):
        await store.write(batch)
    assert store.degraded
    first = store._writer._db
    again, kept, _ = whole()
    await store.write(again)
    assert store._writer._db is not first, "the connection whose fsync failed is not used again"
    assert not store.degraded
    assert await store.message(row.id) is None
    assert await store.message(kept.id) is not None
    assert (await verify(store)).bad is None, "the chain goes on from the last durable row"
    await store.close()


async def test_O02_what_stands_after_a_failed_commit_is_offered_to_the_relay(tmp_path: Path) -> None:
    """The log is recovered with whatever is whole in it; whoever wrote it was told that it failed, so nobody has its deliveries."""
    store = await opened(tmp_path, connect=faulty)
    (answered, _, kept), (batch, row, one) = whole(), whole()
    answered.deliveries[0] = replace(kept, state=DeliveryState.LEASED, lease="k1")
    batch.deliveries[0] = replace(one, state=DeliveryState.LEASED, lease="k1")
    await store.write(answered)
    Faulty.fault, Faulty.times, Faulty.after = "COMMIT", 1, True
    with pytest.raises(StoreError):
        await store.write(batch)
    await store.write(whole()[0])
    assert await store.message(row.id) is not None, "it stands"
    states = {row.id: row.state for row in await store.deliveries(limit=10)}
    assert states[one.id] is DeliveryState.SCHEDULED
    assert states[kept.id] is DeliveryState.LEASED, "what was answered stays with whoever has it"
    assert (await verify(store)).bad is None
    await store.close()


async def test_O02_while_the_disk_keeps_failing_nothing_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = await opened(tmp_path, connect=faulty)
    Faulty.fault, Faulty.times = "COMMIT", 1
    with pytest.raises(StoreError):
        await store.write(whole()[0])
    honest = connection.probe

    def broken(path: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(connection, "probe", broken)
    for _ in range(3):
        with pytest.raises(StoreError):
            await store.write(whole()[0])
    assert store.degraded
    assert await store.audit_rows() == []
    monkeypatch.setattr(connection, "probe", honest)
    store._writer._tried = -10.0
    await store.write(whole()[0])
    assert not store.degraded
    await store.close()


async def test_O02_a_failed_write_inside_a_group_fails_the_whole_group(tmp_path: Path) -> None:
    store = await opened(tmp_path, connect=faulty)
    Faulty.fault, Faulty.code, Faulty.times = "INSERT INTO audit", sqlite3.SQLITE_IOERR_WRITE, 1
    try:
        batches = [whole() for _ in range(10)]
        results = await asyncio.gather(*(store.write(batch) for batch, _, _ in batches), return_exceptions=True)
        for (_, row, _), result in zip(batches, results, strict=True):
            assert (await store.message(row.id) is None) == isinstance(result, StoreError)
        assert any(isinstance(result, StoreError) for result in results)
    finally:
        Faulty.code = sqlite3.SQLITE_IOERR_FSYNC
    assert (await verify(store)).bad is None
    await store.close()


# --- O10: damage and wrong files --------------------------------------------------------------------------------------


async def filled(path: Path, count: int = 60) -> None:
    store = await opened(path)
    for _ in range(count):
        await store.write(whole()[0])
    await store.close()


async def test_O10_a_damaged_file_is_refused_in_clear_words(tmp_path: Path) -> None:
    await filled(tmp_path)
    file = tmp_path / "gateway.db"
    data = bytearray(file.read_bytes())
    rng = random.Random(3)
    for page in range(2, len(data) // 4096, 3):
        data[page * 4096 : page * 4096 + 200] = rng.randbytes(200)
    file.write_bytes(data)
    with pytest.raises(StoreError, match="is damaged") as caught:
        await opened(tmp_path)
    assert "restore" in str(caught.value)
    assert file.read_bytes() == data, "a damaged file is not touched"


async def test_O10_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "gateway.db").write_bytes(b"this is no database" * 1000)
    with pytest.raises(StoreError, match="is damaged"):
        await opened(tmp_path)


async def test_O10_another_programs_database_is_refused(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "gateway.db")
    db.execute("CREATE TABLE other (x)")
    db.commit()
    db.close()
    with pytest.raises(StoreError, match="not a store of the gateway"):
        await opened(tmp_path)


async def test_O10_O21_a_newer_format_is_refused(tmp_path: Path) -> None:
    await filled(tmp_path, 1)
    db = sqlite3.connect(tmp_path / "gateway.db")
    db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(StoreError, match="format 99"):
        await opened(tmp_path)


async def test_O10_a_locked_database_is_an_error_not_a_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_PATIENCE", 0.2)
    store = await opened(tmp_path)
    other = sqlite3.connect(tmp_path / "gateway.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="another program"):
        await store.write(whole()[0])
    other.execute("ROLLBACK")
    other.close()
    await store.write(whole()[0])
    assert not store.degraded
    await store.close()


# --- O16: two keepers -------------------------------------------------------------------------------------------------


async def test_O16_a_second_keeper_refuses_and_says_which_process(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    with pytest.raises(StoreError, match=f"in use by another keeper \\(process {os.getpid()}\\)"):
        await opened(tmp_path)
    await store.write(whole()[0])
    await store.close()
    again = await opened(tmp_path)
    await again.close()


async def test_a_reader_of_a_running_store_needs_no_lock(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.write(whole()[0])
    reader = SqliteStore(tmp_path / "gateway.db", read_only=True)
    await reader.open()
    assert len(await reader.audit_rows()) == 1
    with pytest.raises(StoreError):
        await reader.write(Batch())
    await reader.close()
    await store.close()
    with pytest.raises(StoreError, match="there is no store"):
        await SqliteStore(tmp_path / "none.db", read_only=True).open()


# --- killing ----------------------------------------------------------------------------------------------------------

_VICTIM = """
import asyncio, os, pathlib, sys
sys.path[:0] = {path!r}
from gateway.audit.audit import AuditChain
from gateway.stores.sqlite.store import SqliteStore
from tests.keeper_kit import whole

async def main():
    store = SqliteStore(pathlib.Path({folder!r}) / "gateway.db")
    await store.open(AuditChain("c1"))
    async def sender():
        while True:
            batch, row, _ = whole()
            await store.write(batch)
            os.write(1, (row.id + "\\n").encode())
    await asyncio.gather(*(sender() for _ in range(8)))

asyncio.run(main())
"""


async def test_P1_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    rng = random.Random(7)
    acknowledged: list[str] = []
    for _ in range(2):
        victim = subprocess.Popen(
            [sys.executable, "-c", _VICTIM.format(path=sys.path, folder=str(tmp_path))],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[1],
        )
        assert victim.stdout is not None
        acknowledged.append(victim.stdout.readline().decode().strip())
        await asyncio.sleep(rng.uniform(0.02, 0.25))
        victim.send_signal(signal.SIGKILL)
        rest = victim.stdout.read().decode()
        acknowledged += [line for line in rest.splitlines() if len(line) == 36]
        victim.wait()
    store = await opened(tmp_path)
    for identifier in acknowledged:
        assert await store.message(identifier) is not None
        assert await store.body(identifier) is not None
    assert len(acknowledged) > 20
    assert (await verify(store)).bad is None
    await store.close()


# --- size -------------------------------------------------------------------------------------------------------------


async def test_P8_delivered_mail_leaves_no_growing_file(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    sizes = []
    for _ in range(3):
        for _ in range(12):
            row = message()
            batch, _, one = whole(id=row.id, body_id=row.id)
            await store.write(
                Batch(bodies=[body(row.id, os.urandom(300_000))], messages=batch.messages, deliveries=batch.deliveries, audit=batch.audit)
            )
            await store.write(Batch(delivery_updates=[DeliveryUpdate(one.id, (DeliveryState.SCHEDULED,), DeliveryState.DELIVERED)]))
        sizes.append((tmp_path / "gateway.db").stat().st_size + (tmp_path / "gateway.db-wal").stat().st_size)
    assert sizes[-1] < 60_000_000, sizes
    await store.close()
    assert (tmp_path / "gateway.db").stat().st_size < 3_000_000, "36 bodies of 300 kB went through"


async def test_compacting_gives_room_back(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    rows = [message() for _ in range(40)]
    await store.write(Batch(bodies=[body(row.id, os.urandom(400_000)) for row in rows], messages=rows))
    await store.write(Batch(drop_bodies=[row.id for row in rows]))
    given = [await store.compact() for _ in range(4)]
    assert given[0] > 0
    assert given[-1] == 0
    await store.close()
    assert (tmp_path / "gateway.db").stat().st_size < 10_000_000


async def test_bodies_of_many_megabytes_come_back_whole(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    row, content = message(), os.urandom(25_000_000)
    sealed = body(row.id, content)
    await store.write(Batch(bodies=[sealed], messages=[row]))
    assert await store.body(row.id) == sealed
    await store.close()


async def test_a_batch_that_is_no_row_ends_itself_alone(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "gateway.db")
    await store.open(PlainChain())
    good = [whole() for _ in range(6)]
    bad = Batch(messages=[message(facts={"x": object()})])
    batches = [batch for batch, _, _ in good[:3]] + [bad] + [batch for batch, _, _ in good[3:]]
    results = await asyncio.gather(*(store.write(batch) for batch in batches), return_exceptions=True)
    assert [isinstance(result, TypeError) for result in results] == [False] * 3 + [True] + [False] * 3
    for _, row, _ in good:
        assert await store.message(row.id) is not None
    await store.close()


async def test_a_group_waits_for_company_where_the_last_one_had_some_and_no_longer_than_it_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqliteStore(tmp_path / "gateway.db")
    await store.open(PlainChain())
    await asyncio.gather(*(store.write(Batch(audit=[event()])) for _ in range(2)))
    assert store.counters["groups"] == 1
    monkeypatch.setattr(writer, "_BUSY", 60.0)
    monkeypatch.setattr(writer, "_GATHER_MORE", 0.2)
    first = asyncio.create_task(store.write(Batch(audit=[event()])))
    await asyncio.sleep(0.05)
    await asyncio.gather(first, store.write(Batch(audit=[event()])))
    assert store.counters["groups"] == 2, "the second came while the first waited"
    monkeypatch.setattr(writer, "_GATHER_MORE", 60.0)
    async with asyncio.timeout(5):
        await asyncio.gather(*(store.write(Batch(audit=[event()])) for _ in range(writer._COMPANY)))
    assert store.counters["groups"] == 3
    monkeypatch.setattr(writer, "_GATHER_MORE", 0.0)
    await store.write(Batch(audit=[event()]))
    monkeypatch.setattr(writer, "_GATHER_MORE", 60.0)
    async with asyncio.timeout(5):
        await store.write(Batch(audit=[event()]))  # the last one was alone
    await store.close()
    assert audit_rows_of(tmp_path) == 2 + 2 + writer._COMPANY + 2


def audit_rows_of(folder: Path) -> int:
    """Rows of the decision log in the file."""
    with contextlib.closing(sqlite3.connect(folder / "gateway.db")) as db:
        return int(db.execute("SELECT count(*) FROM audit").fetchone()[0])

"""A keeper over a spool of a million deliveries, and store files that are not what they were. Hostile-inputs O19, O20."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.requests import Committed
from gateway.stores.base import Batch, StoreError
from gateway.stores.sqlite import connection
from gateway.stores.sqlite.store import SqliteStore
from tests.keeper_kit import PlainChain, transaction, whole
from tests.test_keeper_service import Running, Sink, send

FINISHED, OPEN, EACH = 1_000_000, 100_000, 10
"""Deliveries, and how many of them a message has."""
PATIENCE = 60.0


# --- O19 ---------------------------------------------------------------------------------------------------------------------


def multiply(path: Path, messages: int, each: int, state: str, mark: str, due: float) -> None:
    """*messages* copies of the one message of the store, with *each* deliveries in *state*; all share its body."""
    db = sqlite3.connect(path, isolation_level=None)
    columns = {table: [row[1] for row in db.execute(f"PRAGMA table_info({table})")] for table in ("messages", "deliveries")}  # noqa: S608

    def copies(table: str, **changed: str) -> str:
        return ", ".join(changed.get(name, f"one.{name}") for name in columns[table])

    name = f"'{mark}' || n.i"
    message = copies("messages", id=name, reference=name)
    row = copies(
        "deliveries", id=name, message_id=f"'{mark}' || (n.i / {each})", state=f"'{state}'", lease="''", next_attempt=str(due)
    )  # fmt: skip
    db.execute("BEGIN")
    for table, number, made in (("messages", messages, message), ("deliveries", messages * each, row)):
        counted = f"WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {number})"
        db.execute(f"{counted} INSERT INTO {table} SELECT {made} FROM n, (SELECT * FROM {table} LIMIT 1) AS one")  # noqa: S608
    db.execute("COMMIT")
    db.close()


@pytest.fixture
async def keeper(tmp_path: Path) -> AsyncIterator[Running]:
    """A keeper whose next hop has a port, and is away."""
    sink = Sink()
    await sink.start()
    sink.server.close()
    made = Running(tmp_path, sink.port)
    made.file.write_text(made.file.read_text() + f"queue_messages = {2 * OPEN}\n")
    yield made
    made.process.kill()
    made.process.wait()


@pytest.mark.slow
async def test_O19_a_spool_of_a_million_is_there_within_a_minute_and_takes_and_delivers(keeper: Running) -> None:
    await keeper.start()
    assert isinstance(await send(keeper, transaction()), Committed)
    await keeper.end()
    store = keeper.folder / "state" / "gateway.db"
    multiply(store, FINISHED // EACH, EACH, "delivered", "f", 0.0)
    multiply(store, OPEN // EACH, EACH, "scheduled", "o", time.time() - 1)
    sink, port = Sink(), int(keeper.file.read_text().partition('next_hop = "127.0.0.1:')[2].partition('"')[0])
    sink.server = await asyncio.start_server(sink._session, "127.0.0.1", port)
    began = time.monotonic()
    keeper.launch()
    while "keeper is ready" not in keeper.words().rpartition("has stopped")[2]:  # ``connect`` has less patience than we
        assert keeper.process.poll() is None, keeper.words()[-2000:]
        assert time.monotonic() - began < 2 * PATIENCE
        await asyncio.sleep(0.05)
    await keeper.connect()
    ready = time.monotonic() - began
    asked = time.monotonic()
    answer = await send(keeper, transaction())
    taken = time.monotonic() - asked
    size = store.stat().st_size / 1e6
    print(f"{size:.0f} MB, {FINISHED} finished and {OPEN} open deliveries: ready {ready:.1f} s, first commit {taken:.2f} s")
    assert isinstance(answer, Committed)
    assert answer.reply.code == 250
    await sink.take(20)
    await keeper.end()
    sink.server.close()
    assert ready < PATIENCE


# --- O20 ---------------------------------------------------------------------------------------------------------------------


async def opened(folder: Path) -> SqliteStore:
    store = SqliteStore(folder / "gateway.db")
    try:
        await store.open(PlainChain())
    except BaseException:
        await store.close()
        raise
    return store


async def filled(folder: Path, count: int = 30) -> list[str]:
    store = await opened(folder)
    ids = []
    for _ in range(count):
        batch, message, _ = whole()
        await store.write(batch)
        ids.append(message.id)
    await store.close()
    return ids


@pytest.mark.parametrize("kept", [0.9, 0.5, 0.1])
async def test_O20_a_store_that_was_cut_off_is_refused_and_left_as_it_is(tmp_path: Path, kept: float) -> None:
    await filled(tmp_path)
    file = tmp_path / "gateway.db"
    whole_file = file.read_bytes()
    cut = whole_file[: int(len(whole_file) * kept) // connection.PAGE_SIZE * connection.PAGE_SIZE]
    file.write_bytes(cut)
    with pytest.raises(StoreError, match="is damaged") as caught:
        await opened(tmp_path)
    assert "restore" in str(caught.value)
    assert file.read_bytes() == cut


async def test_O20_a_flipped_bit_in_a_body_is_that_bodys_alone(tmp_path: Path) -> None:
    """The store opens; the vault's seal tells which body it is (test_vault, test_relay, test_quarantine), and the others go on."""
    ids = await filled(tmp_path)
    db = sqlite3.connect(tmp_path / "gateway.db")
    db.execute(
        "UPDATE bodies SET ciphertext = zeroblob(length(ciphertext)) WHERE id = (SELECT body_id FROM messages WHERE id = ?)", (ids[3],)
    )
    db.commit()
    db.close()
    store = await opened(tmp_path)
    assert all([await store.message(one) is not None for one in ids])
    await store.write(whole()[0])
    await store.close()


async def test_O20_rubbish_in_the_log_of_the_store_is_not_taken_for_rows(tmp_path: Path) -> None:
    ids = await filled(tmp_path)
    (tmp_path / "gateway.db-wal").write_bytes(os.urandom(200_000))
    store = await opened(tmp_path)
    assert all([await store.message(one) is not None for one in ids])
    await store.write(whole()[0])
    await store.close()


@pytest.mark.parametrize("what", ["folder", "dangling link", "link to a folder", "socket"])
async def test_O20_what_is_no_file_in_the_place_of_the_store_is_refused_in_words(tmp_path: Path, what: str) -> None:
    place = tmp_path / "gateway.db"
    if what == "folder":
        place.mkdir()
    elif what == "dangling link":
        place.symlink_to(tmp_path / "elsewhere" / "gateway.db")
    elif what == "link to a folder":
        place.symlink_to(tmp_path)
    else:
        import socket

        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(place)) if len(str(place)) < 100 else os.mkfifo(place)
    with pytest.raises(StoreError) as caught:
        await opened(tmp_path)
    assert str(place) in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_O20_files_beside_the_store_that_are_nothing_of_it_are_left_alone(tmp_path: Path) -> None:
    ids = await filled(tmp_path)
    for name in ("gateway.db.bak", "core.1234", "evil -rf *", "gateway.db-wal2"):
        (tmp_path / name).write_bytes(b"what others left")
    os.link(tmp_path / "gateway.db", tmp_path / "second name")
    store = await opened(tmp_path)
    assert all([await store.message(one) is not None for one in ids])
    await store.write(Batch())
    await store.close()
    assert (tmp_path / "core.1234").read_bytes() == b"what others left"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read what is not its own")
async def test_O20_a_store_of_another_user_is_refused_in_words(tmp_path: Path) -> None:
    await filled(tmp_path)
    (tmp_path / "gateway.db").chmod(0)
    with pytest.raises(StoreError, match="gateway.db"):
        await opened(tmp_path)

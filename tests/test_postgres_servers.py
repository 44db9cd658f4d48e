"""Which server of several is meant, what a session of ours sets, and a server whose disk is full (catalogue O10, O01)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gateway.stores.base import StoreError, StoreFull
from gateway.stores.postgres import connection
from gateway.stores.postgres import store as postgres_store
from gateway.stores.postgres.connection import Target
from gateway.stores.postgres.store import PostgresStore
from tests.keeper_kit import whole
from tests.store_databases import Databases


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("postgresql://u@h:1/d", "postgresql://h:1/d"),
        ("postgresql://u@a:1,b:2/d?target_session_attrs=read-write", "postgresql://a:1,b:2/d"),
        ("postgresql://u@a,b/d", "postgresql://a,b/d"),
        ("host=a,b port=5 dbname=d", "postgresql://a:5,b:5/d"),
    ],
)
def test_several_servers_are_named_each_with_its_port(url: str, name: str) -> None:
    assert Target(url).name == name


@pytest.mark.service
async def test_O10_what_reads_finds_the_server_that_takes_writes(databases: Databases) -> None:
    """libpq asks the session whether it may write; those that only read say no, and found no server at all."""
    made = databases.make()
    first, database = made.url.rsplit("/", 1)
    target = Target(f"{first.replace('@', '@127.0.0.1:1,')}/{database}?target_session_attrs=read-write", made.password_file)
    for read_only in (False, True):
        link = await connection.connect(target, read_only=read_only)
        assert await (await link.execute("SHOW transaction_read_only")).fetchone() == ("on" if read_only else "off",)
        await link.close()
    databases.drop(made)


@pytest.mark.service
@pytest.mark.parametrize(
    ("given", "kept"), [("off", "on"), ("local", "on"), ("remote_write", "on"), ("on", "on"), ("remote_apply", "remote_apply")]
)
async def test_a_commit_of_ours_is_on_the_disk_whatever_the_server_has_as_its_default(databases: Databases, given: str, kept: str) -> None:
    made = databases.make()
    target = Target(f"{made.url}?options=-c%20synchronous_commit%3D{given}", made.password_file)
    link = await connection.connect(target)
    assert await (await link.execute("SHOW synchronous_commit")).fetchone() == (kept,)
    await link.close()
    databases.drop(made)


async def test_O01_a_server_without_room_is_degraded_for_a_while_and_until_something_that_needs_room_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, now, full = PostgresStore(Target("postgresql://u@h/d")), 1000.0, True
    monkeypatch.setattr(postgres_store, "time", SimpleNamespace(monotonic=lambda: now))

    async def submit(**_: Any) -> None:
        if full:
            raise StoreFull("no room")

    monkeypatch.setattr(store, "_submit", submit)
    batch = whole()[0]

    async def refused() -> None:
        with pytest.raises(StoreFull):
            await store.write(batch)

    waits = []
    for _ in range(5):
        for _ in range(3):  # those that were under way together count as one
            await refused()
        assert store.degraded == "no room"
        began = now
        while store.degraded:
            now += 1
        waits.append(now - began)
    assert waits == [10, 20, 40, 60, 60]
    await refused()
    full = False
    await store.write(type(batch)(audit=batch.audit))
    assert store.degraded, "a row or two may fit where no message does"
    await store.write(batch)
    assert not store.degraded
    full = True
    await refused()
    now += 10
    assert not store.degraded, "and it begins with the short wait again"
    with pytest.raises(StoreError):
        await store.write(batch)

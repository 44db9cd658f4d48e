"""What PostgreSQL is asked, beyond the contract: sealed pages, plans that stay short over many rows, damaged rows, and a database that
is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from gateway.review import Filter
from gateway.stores.base import Batch, DeliveryState, HeadRow, StoreError
from gateway.stores.postgres.connection import Target
from gateway.stores.postgres.store import PostgresStore
from gateway.stores.resealing import Resealed
from gateway.stores.reviewed import CredentialRow, RemarkKind, RemarkRow, ReviewBatch, Sought, Word
from tests.bench import filling
from tests.e2e.postgres import Postgres
from tests.keeper_kit import NOW, PlainChain, body, delivery, event, hold, message
from tests.store_databases import Databases, name_of

pytestmark = pytest.mark.service


@pytest.fixture
def target(databases: Databases) -> Target:
    return databases.make()


@pytest.fixture
async def store(databases: Databases, target: Target, tmp_path: Path) -> AsyncIterator[PostgresStore]:
    made = PostgresStore(target, lock=tmp_path / "gateway.lock")
    await made.open(PlainChain())
    yield made
    await made.close()
    databases.drop(target)


async def test_O22_pages_of_sealed_rows_reach_each_row_once_and_change_only_what_was_read(store: PostgresStore) -> None:
    rows = [message(subject=b"vk\x00%d" % n) for n in range(7)]
    remark = RemarkRow("k1", "h", rows[0].reference, NOW, "asha", RemarkKind.NOTE, b"vk\x00r", "dept.gov.in")
    proof = CredentialRow("asha", "argon", b"vk\x00t", b"", 5, "", NOW)
    sealed = replace(body(rows[6].id), sealed=True)
    await store.write(
        Batch(
            bodies=[*(body(row.id) for row in rows[:6]), sealed], messages=rows, holds=[hold(row) for row in rows], audit=[event()],
            review=ReviewBatch(remarks=[remark], credentials=[proof]),
        )
    )  # fmt: skip
    seen, after = [], 0  # type: ignore[var-annotated]
    while page := await store.sealed_bodies(after, 4):
        seen, after = [*seen, *page], page[-1].place  # type: ignore[assignment]
    assert [one.id for one in seen] == sorted(row.id for row in rows[:6]), "what no vault key opens is left out"
    fields = await store.sealed_fields(0, 100)
    assert {one.id: one.subject for one in fields} == {row.id: row.subject for row in rows}
    assert [one.subject for one in await store.sealed_fields(0, 9, "remarks")] == [b"vk\x00r"]
    assert [(one.id, one.subject, one.details) for one in await store.sealed_fields(0, 9, "credentials")] == [("asha", b"vk\x00t", b"")]
    assert await store.needing_key("k1", b"vk\x00") == (6, 9)
    assert await store.bodies_by_key() == {"k1": 6}
    old = seen[0]
    new = replace(old, key_id="k2", wrapped_key=b"w")
    stale = (replace(seen[1], wrapped_key=b"never"), replace(seen[1], key_id="k2"))
    pairs = [(fields[0], replace(fields[0], subject=b"s2")), (replace(fields[1], subject=b"never"), replace(fields[1], subject=b"s3"))]
    assert await store.reseal(Resealed(bodies=[(old, new), stale], fields=pairs)) == 2
    changed = await store.body(old.id)
    assert changed is not None
    assert (changed.key_id, changed.wrapped_key) == ("k2", b"w")
    assert await store.bodies_by_key() == {"k1": 5, "k2": 1}


async def test_text_of_other_scripts_is_compared_by_octets_and_case_of_ascii_only(store: PostgresStore) -> None:
    rows = [message() for _ in range(3)]
    names = ["ÅSA@x.in", "åsa@x.in", "asa@X.in"]
    await store.write(
        Batch(messages=rows, audit=[event(row.reference, sender=name) for row, name in zip(rows, names, strict=True)], holds=[])
    )
    found = {name: {row.sender for row in await store.search_audit(sender=name.upper())} for name in ("asa@x.in", "Åsa@X.in")}
    assert found == {"asa@x.in": {"asa@X.in"}, "Åsa@X.in": {"ÅSA@x.in"}}


async def test_a_damaged_row_is_an_error_in_words(store: PostgresStore, target: Target, postgres: Postgres) -> None:
    row = message()
    await store.write(Batch(messages=[row], holds=[hold(row)], audit=[event()]))
    postgres.ask("UPDATE holds SET recipients = 'no list'", database=name_of(target))
    postgres.ask("UPDATE messages SET verdict = '['", database=name_of(target))
    for question in (store.holds(), store.message(row.id), store.reviewing.found(Sought()), store.reviewing.briefs([row.id])):
        with pytest.raises(StoreError, match="damaged"):
            await question
    assert await store.deliveries() == [], "the connection is as good as before"


async def test_O10_a_question_that_is_cut_off_fails_in_words_and_the_next_is_answered(
    store: PostgresStore, target: Target, postgres: Postgres
) -> None:
    under_way = asyncio.create_task(store._asking.all("SELECT pg_sleep(20)", (), tuple))
    await asyncio.sleep(0.3)
    await asyncio.to_thread(postgres.cut, name_of(target))
    with pytest.raises(StoreError, match="127.0.0.1"):
        await under_way
    for _ in range(100):
        try:
            assert await store.holds() == []
            break
        except StoreError:
            await asyncio.sleep(0.05)
    else:
        pytest.fail("it never came back")


async def test_only_the_end_of_nothing_open_is_forgotten(store: PostgresStore) -> None:
    with pytest.raises(Exception, match="is not the one that was signed"):
        await store.drop_audit(HeadRow("plain", 5, "x", NOW, "k", "s"), 10)
    row = message(created=NOW - 100)
    one = delivery(row, created=NOW - 100, state=DeliveryState.ON_HOLD)
    await store.write(Batch(messages=[row], deliveries=[one], audit=[event()]))
    assert await store.drop_messages(NOW, "", 10) == (0, "")
    assert await store.message(row.id) == row


@pytest.mark.slow
async def test_questions_of_the_pages_and_the_relay_stay_short_over_a_hundred_thousand_rows(
    store: PostgresStore, target: Target, postgres: Postgres
) -> None:
    database = name_of(target)
    with postgres.admin(database) as link:
        filling.shared(link, 100_000, 100_000, 20_000)
        for letter, every in (("a", 1), ("b", 5000), ("c", 3)):
            link.execute(
                "INSERT INTO terms (term, hold_id, department, format)"
                f" SELECT decode(repeat('{letter}{letter}', 16), 'hex'), id, '', 1 FROM holds WHERE right(id, 8)::int %% {every} = 0",
                (),
            )
        link.execute("VACUUM ANALYZE")
    many, few, some = (Word((bytes([octet]) * 16,)) for octet in (0xAA, 0xBB, 0xCC))
    read = store.reviewing
    held = await read.found(Sought(limit=50))
    assert [row.id for row in held] == sorted((row.id for row in held), reverse=True)
    assert held[0].id.endswith("100000")
    questions = {
        "newest": lambda: read.found(Sought()), "page": lambda: read.found(Sought(before=held[-1].id)),
        "rule": lambda: read.found(Sought(Filter(rules=("r7",)))), "own": lambda: read.found(Sought(within=frozenset({"d7.gov.in"}))),
        "common word": lambda: read.found(Sought(words=(many,))), "rare word": lambda: read.found(Sought(words=(few,))),
        "two words": lambda: read.found(Sought(words=(some, few))), "counted": lambda: read.counted(Sought()),
        "counted common": lambda: read.counted(Sought(words=(many,))), "counted rare": lambda: read.counted(Sought(words=(few,))),
        "due": lambda: read.due(NOW * 2, 50), "relay": lambda: store.due_deliveries(time.time(), 100), "next due": store.next_due,
        "figures": store.figures, "one": lambda: store.hold(held[7].reference), "log": lambda: store.search_audit(limit=100),
        "log back": lambda: store.search_audit(before=2**62, limit=100), "shown": lambda: store.audit_rows(reference=held[7].reference),
        "queue": lambda: store.deliveries(limit=100), "of one": lambda: store.deliveries(reference="T" + "0" * 30 + "7"),
    }  # fmt: skip
    slow = {}
    for name, ask in questions.items():
        took = []
        for _ in range(3):
            began = time.perf_counter()
            await ask()  # type: ignore[operator]
            took.append(time.perf_counter() - began)
        slow[name] = round(min(took), 3)
    assert max(slow.values()) < 1.0, slow
    assert sorted(slow.values())[len(slow) // 2] < 0.1, slow
    print(slow)
    counted = await read.counted(Sought())
    assert (counted.total, sum(counted.rules.values())) == (100_000, 100_000)
    assert {row.id for row in await read.found(Sought(words=(few,)))} == {f"0{n:031d}" for n in range(5000, 100_001, 5000)}
    assert (await read.counted(Sought(words=(few,)))).total == 20

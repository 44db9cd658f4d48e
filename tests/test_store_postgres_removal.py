"""What is removed from PostgreSQL is found by look-ups, whatever the planner thinks it knows; what goes, ``test_store_contract`` holds."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import msgspec
import pytest

from gateway.stores.base import Batch, HoldState
from gateway.stores.journal import CopyState
from gateway.stores.postgres import removal, statements
from gateway.stores.postgres.connection import Connection
from gateway.stores.postgres.store import PostgresStore
from tests.keeper_kit import NOW, PlainChain, body, delivery, event, hold, journal_copy, message
from tests.store_databases import Databases

pytestmark = pytest.mark.service

_MESSAGES = 2000
_WALKED = ("ix_holds_open", "ix_journal_due", "ix_journal_ended", "ix_deliveries_open_due", "ix_deliveries_open_parked")
_PREPARED = re.compile(r"%(?:\((\w+)\)s|s|b)")


@pytest.fixture
async def store(databases: Databases) -> AsyncIterator[PostgresStore]:
    target = databases.make()
    made = PostgresStore(target)
    await made.open(PlainChain())
    yield made
    await made.close()
    databases.drop(target)


async def _grown(store: PostgresStore) -> None:
    """Many messages, each with a delivery, a held record and a copy that are open, in tables that were empty when they were counted."""
    async with store._pool.writer() as link:
        await link.execute("ANALYZE")
    row = msgspec.structs.replace(message(), id="m")
    one, held, copy = delivery(row), hold(row, state=HoldState.HELD), journal_copy(row, state=CopyState.KEPT)
    await store.write(
        Batch(bodies=[body(row.body_id)], messages=[row], deliveries=[one], holds=[held], journal=[copy], audit=[event(row.reference)])
    )
    async with store._pool.writer() as link:
        for table in ("messages", "bodies", "deliveries_open", "holds", "journal"):
            named = ", ".join(f"'{key}', o.{key} || n" for key in ("id", *(("message_id",) if table not in ("messages", "bodies") else ())))
            await link.execute(
                f"INSERT INTO {table} SELECT (jsonb_populate_record(o, jsonb_build_object({named}))).*"
                f" FROM {table} o, generate_series(1, {_MESSAGES}) n"
            )


async def _plan(link: Connection, sql: str) -> list[str]:
    """The plan of *sql* made without a look at its values: the one that may be kept and used again."""
    numbers: dict[str, str] = {}
    text = _PREPARED.sub(lambda found: numbers.setdefault(found[1] or str(len(numbers)), f"${len(numbers) + 1}"), sql)
    await link.execute(f"PREPARE looked AS {text}")
    await link.execute("SET plan_cache_mode = force_generic_plan")
    found = await (await link.execute(f"EXPLAIN EXECUTE looked ({', '.join(['NULL'] * len(numbers))})")).fetchall()
    await link.execute("DEALLOCATE looked")
    return [row[0] for row in found]


async def test_what_keeps_a_message_or_goes_with_it_is_looked_up_in_tables_that_were_empty_when_last_counted(store: PostgresStore) -> None:
    await _grown(store)
    async with store._pool.writer() as link:
        for sql in (removal.ENDED, removal.UNNEEDED, *removal.THEIRS, statements.DROP_FINISHED, statements.STILL_NEEDED):
            lines = await _plan(link, sql)
            plan = "\n".join(lines)
            assert "Seq Scan on" not in plan, plan
            assert "hashed SubPlan" not in plan, plan
            assert not any(f"{index} " in plan for index in _WALKED), plan
            for n, line in enumerate(lines):
                if re.search(r"Scan .*\bon (messages|bodies|deliveries_open|holds|journal|approvals|terms|remarks)\b", line):
                    assert any("Cond:" in later for later in lines[n + 1 : n + 3]), plan


async def test_a_message_goes_when_all_of_it_ended_long_ago_and_not_before(store: PostgresStore) -> None:
    await _grown(store)
    async with store._pool.writer() as link:
        await link.execute("DELETE FROM deliveries_open WHERE right(message_id, 1) = '1'")
        await link.execute("UPDATE holds SET state = 'released', updated = 0 WHERE right(message_id, 2) IN ('11', '21', '31')")
        await link.execute("UPDATE holds SET updated = %s WHERE right(message_id, 2) = '31'", (NOW + 2,))
        await link.execute("UPDATE journal SET state = 'waiting' WHERE right(message_id, 3) = '121'")
    gone, after = 0, ""
    while True:
        count, after = await store.drop_messages(NOW + 1, after, 500)
        gone += count
        if not after:
            break
    async with store._pool.writer() as link:
        sql = "SELECT count(*) FROM messages WHERE right(id, 2) IN ('11', '21') AND right(id, 3) <> '121'"
        left = (await (await link.execute(sql)).fetchone() or (None,))[0]
        bodies = (await (await link.execute("SELECT count(*) FROM bodies")).fetchone() or (None,))[0]
    assert (left, gone) == (0, 2 * _MESSAGES // 100 - 2)
    assert bodies == _MESSAGES + 1, "each has a copy that is kept in its body"

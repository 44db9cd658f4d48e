"""How long lists, counts and searches take with 100,000 held records; prints milliseconds.

    .venv/bin/python -P -m tests.bench.review [RECORDS] [FOLDER]

The store is filled by inserts, with the terms that a commit gives. FOLDER keeps it for the next run. ``review_http`` asks the same of a
whole gateway over HTTP.
"""

from __future__ import annotations

import asyncio
import functools
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from gateway.config import Config
from gateway.envelope import new_id
from gateway.keeper.access import Who
from gateway.keeper.reviews import Reviews
from gateway.keeper.terms import Terms
from gateway.policy import Policy
from gateway.review import CountHeld, Filter, FindHeld
from gateway.roles import Grant
from gateway.stores import rows
from gateway.stores.base import HoldState
from gateway.stores.sqlite.store import SqliteStore
from gateway.vault.vault import Vault
from tests.keeper_kit import NOW, PlainChain, hold, make_vault, message, shipped_policy

WORDS = (
    "budget", "estimates", "meeting", "minutes", "tender", "award", "transfer", "posting", "pension", "claim", "audit", "para", "draft",
    "cabinet", "note", "report", "annual",
)  # fmt: skip
DEPARTMENTS = [f"{name}.gov.in" for name in ("home", "finance", "health", "defence", "law", "power", "rail", "forest", "mines", "textiles")]
RULES = [f"rule-{kind}-{n}" for kind in ("classified", "unencrypted", "private", "foreign") for n in range(5)]


class Known:
    """Remembers hashes: the words here are few."""

    def __init__(self, vault: Vault) -> None:
        self.term_hash = functools.lru_cache(maxsize=500_000)(vault.term_hash)


def fill(file: Path, count: int, vault: Vault | None = None, begin: float = NOW) -> None:
    """*count* records from the time *begin* on, of which one in ten is no longer open: past the writer, in the order of the tables."""
    chance, vault = random.Random(1), vault or make_vault()
    terms = Terms(Known(vault))
    states = [HoldState.HELD] * 7 + [HoldState.REQUESTED, HoldState.APPROVED, HoldState.RELEASED]
    db = sqlite3.connect(file, isolation_level=None)
    db.executescript(
        "PRAGMA synchronous = OFF; PRAGMA cache_size = -400000; DROP INDEX ix_terms_hold_id; CREATE TEMP TABLE t (term, hold_id)"
    )
    db.execute("BEGIN")
    for n in range(count):
        department = chance.choice(DEPARTMENTS)
        subject = " ".join([*chance.sample(WORDS, 5), f"{n}/2026", *(["heron"] if n % 1000 == 0 else [])])
        sender = f"officer{chance.randrange(3000)}@{department}"
        id = new_id()
        row = message(id, sender=sender, department=department, created=begin + n, subject=vault.seal_field(id, subject))
        one = hold(
            row, f"desk{chance.randrange(5000)}@ministry{n % 50}.nic.in", created=begin + n, deadline=begin + n + 1_296_000,
            updated=begin + n, state=chance.choice(states), level=chance.choice((None, 1, 2, 3)), rule=chance.choice(RULES),
        )  # fmt: skip
        db.execute(rows.INSERT_MESSAGE, rows.message_values(row))
        db.execute(rows.INSERT_HOLD, rows.hold_values(one))
        db.executemany("INSERT INTO t VALUES (?, ?)", [(term.term, term.hold_id) for term in terms.rows(one, subject)])
    db.execute("INSERT INTO terms SELECT term, hold_id, '', 1 FROM t ORDER BY 1, 2")
    db.execute("CREATE INDEX ix_terms_hold_id ON terms (hold_id)")
    db.execute("COMMIT")
    db.close()


async def timed(name: str, ask: Callable[[], Awaitable[object]]) -> None:
    """Prints the median and the worst of seven, after one that warms."""
    await ask()
    taken = []
    for _ in range(7):
        begun = time.perf_counter()
        await ask()
        taken.append((time.perf_counter() - begun) * 1000)
    print(f"{name:44} {statistics.median(taken):8.1f} ms   worst {max(taken):8.1f} ms", flush=True)


async def run(folder: Path, count: int) -> None:
    """Fills and asks."""
    file = folder / "gateway.db"
    fresh = not file.exists()
    store = SqliteStore(file)
    await store.open(PlainChain())
    if fresh:
        await store.close()
        begun = time.perf_counter()
        fill(file, count)
        print(f"filled in {time.perf_counter() - begun:.0f} s, {file.stat().st_size / 1e6:.0f} MB", flush=True)
        store = SqliteStore(file)
        await store.open(PlainChain())
    policy: Policy = shipped_policy()
    reviews = Reviews(Config(), store, make_vault(), lambda: policy, lambda: NOW)
    everywhere = Who("asha", grants=(Grant.parse("reviewer@*"),))
    one = Who("asha", grants=(Grant.parse("reviewer@home.gov.in"),))
    mixed = Who("asha", grants=(Grant.parse("viewer@*"), Grant.parse("reviewer@home.gov.in")))
    old = (await store.holds(all=True, limit=count // 2))[-1]
    filters = {
        "no filter": Filter(), "level": Filter(levels=("RESTRICTED",)), "rule": Filter(rules=("rule-foreign-1",)),
        "department and state": Filter(departments=("law.gov.in",), states=("approved",)), "assigned to me (nobody)": Filter(assigned="me"),
        "due": Filter(due=NOW + 1_300_000), "a week": Filter(since=NOW, until=NOW + 3000), "reference": Filter(words=old.reference),
        "rare word": Filter(words="heron"), "common word": Filter(words="budget"), "two common words": Filter(words="budget pension"),
        "beginning of words": Filter(words="bud off"), "everybody's domain": Filter(words="gov.in"), "sender": Filter(words=old.sender),
        "rare and common": Filter(words="heron gov.in"), "word that is nowhere": Filter(words="albatross"),
    }  # fmt: skip
    for who, person in (("everywhere", everywhere), ("one department", one), ("two rights", mixed)):
        print(f"--- {who}")
        for name, filter in filters.items():
            await timed(f"find  {name}", lambda f=filter, p=person: reviews.find(FindHeld(f), p))  # type: ignore[misc]
            await timed(f"count {name}", lambda f=filter, p=person: reviews.count(CountHeld(f), p))  # type: ignore[misc]
    await timed("find  page in the middle", lambda: reviews.find(FindHeld(before=old.id), everywhere))
    await timed("find  changes of an open page", lambda: reviews.find(FindHeld(changed_since=NOW + count - 20), everywhere))
    await store.close()


if __name__ == "__main__":
    records = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    if len(sys.argv) > 2:
        asyncio.run(run(Path(sys.argv[2]), records))
    else:
        with tempfile.TemporaryDirectory() as place:
            asyncio.run(run(Path(place), records))

"""What a group of batches does to PostgreSQL's tables: one statement a table, whatever the number of rows.

What it is: ``Applier``, which turns batches into a list of statements and judges their answers, inside the writer's transaction.
Who calls it: ``writer`` alone.
Must never: begin or end a transaction; let a batch stand whose delivery, hold or register is not what it expects; destroy a body that
an open delivery, hold or journal copy of another node still needs.
Sources: docs/design.md section 6; https://www.postgresql.org/docs/current/transaction-iso.html#XACT-READ-COMMITTED;
https://www.psycopg.org/psycopg3/docs/advanced/pipeline.html.

All statements of a group go to the server together and are judged together. Each sees what was committed before it began (READ
COMMITTED), so a statement that waited for a row of another node's transaction sees what that one has done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from gateway.stores import journal_rows, review_rows, rows
from gateway.stores.base import (
    ENDED,
    ENDED_HOLD,
    FORMAT,
    Batch,
    Chain,
    Conflict,
    DeliveryState,
    DeliveryUpdate,
    HoldState,
    StoreError,
    register_version,
)
from gateway.stores.jobs import Job
from gateway.stores.journal import CopyState
from gateway.stores.postgres import tables
from gateway.stores.postgres.connection import Connection
from gateway.stores.postgres.statements import (
    DROP_FINISHED,
    END_DELIVERIES,
    INSERT_AUDIT,
    INSERTS,
    MOVE_CHAIN,
    NOTIFY,
    OTHER_VIEWS,
    REGISTER_LOCK,
    REGISTER_SHARED,
    STILL_NEEDED,
    TALLIED,
    UPDATE_COPIES,
    UPDATE_DELIVERIES,
    UPDATE_HOLD,
)
from gateway.stores.postgres.tables import POSITION_BITS
from gateway.stores.reviewed import ReviewBatch

Judge = Callable[[list[tuple[Any, ...]]], None]
Statement = tuple[str, Sequence[object], Judge | None]


class Apart(Exception):
    """Some batch of this group cannot stand, or the group has an order: each batch is done again in a savepoint of its own."""


class Applier:
    """Writes groups of batches for one keeper."""

    def __init__(self) -> None:
        self.delta = 0
        """Open deliveries that this transaction has added."""
        self.register = ""
        """Version of the register of exceptions and profiles as the last transaction saw it."""
        self.places = 0
        """Positions in the decision log that this transaction has used."""
        self.end: tuple[int, str] | None = None
        """Number and hash of the last row that this transaction adds to the chain."""
        self.clean = False
        """Texts are written without what PostgreSQL does not take."""

    def begin(self) -> None:
        """A transaction begins."""
        self.delta, self.places, self.end = 0, 0, None

    async def apply(self, link: Connection, chain: Chain, jobs: Sequence[Job[Any]], *, apart: bool = False) -> None:
        """Begins a transaction with the batches of *jobs* together; with *apart* writes one into the transaction that is open. Raises
        Conflict for a lone batch that cannot stand, Apart for several, StoreError when the chain is not this keeper's any more."""
        batches = [job.batch for job in jobs if job.batch is not None]
        ended: dict[str, None] = {}
        statements: list[Statement] = [] if apart else [("BEGIN", (), None)]
        statements += self._guarded(batches)
        statements += self._updates(batches, ended)
        statements += self._inserts(batches)
        for batch in batches:
            statements += self._rare(batch)
        statements += self._journal(batches, ended)
        if apart:
            # Before the chain moves: its rows are numbered once a batch stands.
            await run(link, statements, clean=self.clean)
            statements = []
        statements += self._audit(chain, batches)
        statements += [(NOTIFY, (word,), None) for word in sorted(_words(batches))]
        try:
            await run(link, statements, clean=self.clean)
            if ended:
                await self._destroy(link, sorted(ended))
        except Conflict as conflict:
            if len(batches) > 1:
                raise Apart from conflict
            raise
        for batch in batches:
            if batch.exceptions or batch.profiles:
                self.register = await write_register(link)

    def _guarded(self, batches: Sequence[Batch]) -> list[Statement]:
        """The register is held still for whoever expects a version, and held alone by whoever changes it. A lock in memory, not one on
        the row: every message takes it, and each lock on a row is written to the disk."""
        changing = [batch for batch in batches if batch.exceptions or batch.profiles]
        expected = {batch.expect_exceptions_version for batch in batches if batch.expect_exceptions_version}
        if not expected and not changing:
            return []
        if len(batches) > 1 and (len(expected) > 1 or (expected and changing)):
            raise Apart

        def judge(found: list[tuple[Any, ...]]) -> None:
            self.register = str(found[0][0])
            if expected and expected != {self.register}:
                raise Conflict("the exception register has changed")

        lock = REGISTER_LOCK if changing else REGISTER_SHARED
        return [(lock, (), None), ("SELECT version FROM register WHERE one = 1", (), judge)]

    def _updates(self, batches: Sequence[Batch], ended: dict[str, None]) -> list[Statement]:
        updates = sorted((one for batch in batches for one in batch.delivery_updates), key=lambda one: one.id)
        if len({one.id for one in updates}) < len(updates):
            if len(batches) > 1:
                raise Apart  # one delivery twice: in their order
            raise Conflict("a batch may change a delivery once")
        statements: list[Statement] = []
        for final, sql in ((False, UPDATE_DELIVERIES), (True, END_DELIVERIES)):
            some = [one for one in updates if (one.state in ENDED) is final]
            if some:
                lists = _lists(_update_values(one) for one in some)
                statements.append((sql, [*lists, lists[0]], self._changed(some, ended)))
        for batch in batches:
            for change in batch.hold_updates:
                released = None if change.released is None else rows.dump(change.released)
                given = (
                    change.state.value, change.updated, released, change.level, change.assigned, change.requested, change.id,
                    _states(change.expect), change.seen,
                )  # fmt: skip
                what = f"held record {change.id} is not {' or '.join(change.expect)}, or was changed meanwhile"
                statements.append((UPDATE_HOLD, given, _one(what, ended if change.state in ENDED_HOLD else None)))
        return statements

    def _changed(self, updates: Sequence[DeliveryUpdate], ended: dict[str, None]) -> Judge:
        def judge(found: list[tuple[Any, ...]]) -> None:
            known = dict(found)
            for one in updates:
                if one.id not in known:
                    raise Conflict(f"delivery {one.id} is not {' or '.join(one.expect)}")
                self.delta += (one.state not in ENDED) - (one.expect[0] not in ENDED)
                if one.state in ENDED:
                    ended[known[one.id]] = None

        return judge

    def _inserts(self, batches: Sequence[Batch]) -> list[Statement]:
        deliveries = [row for batch in batches for row in batch.deliveries]
        self.delta += sum(row.state not in ENDED for row in deliveries)
        day = {row.pair: rows.correspondent_values(row) for batch in batches for row in batch.correspondents}
        marks: dict[bytes, tuple[Any, ...]] = {}
        for batch in batches:
            for thread in batch.threads:
                new, old = rows.thread_values(thread), marks.get(thread.mark)
                marks[thread.mark] = new if old is None else (new[0], max(new[1], old[1]), max(new[2], old[2]), *old[3:])
        return [
            *_many("bodies", [rows.body_values(body, _department(batch)) for batch in batches for body in batch.bodies]),
            *_many("messages", [rows.message_values(row) for batch in batches for row in batch.messages]),
            *_many("deliveries_open", [rows.delivery_values(row) for row in deliveries if row.state not in ENDED]),
            *_many("deliveries_done", [rows.delivery_values(row) for row in deliveries if row.state in ENDED]),
            # In one order on every node, so that two of them never wait for each other.
            *_many("correspondents", [day[pair] for pair in sorted(day)]),
            *_many("threads", [marks[mark] for mark in sorted(marks)]),
        ]

    def _rare(self, batch: Batch) -> list[Statement]:
        if batch.review is None and not any(
            (batch.holds, batch.approvals, batch.users, batch.drop_bodies, batch.heads, batch.exceptions, batch.profiles)
        ):
            return []
        statements = [
            *_many("holds", [rows.hold_values(row) for row in batch.holds]),
            *_many("approvals", [rows.approval_values(row) for row in batch.approvals]),
            *_many("exceptions", _last(rows.exception_values(row) for row in batch.exceptions)),
            *_many("profiles", _last(rows.profile_values(row) for row in batch.profiles)),
            *_many("users", _last(rows.user_values(row) for row in batch.users)),
            *_many("heads", _last((rows.head_values(row) for row in batch.heads), 2)),
        ]
        if batch.drop_bodies:
            statements.append(("DELETE FROM bodies WHERE id = ANY(%b::text[])", (list(batch.drop_bodies),), None))
        return statements if batch.review is None else statements + _review(batch.review)

    def _journal(self, batches: Sequence[Batch], ended: dict[str, None]) -> list[Statement]:
        statements = _many("journal", [journal_rows.copy_values(row) for batch in batches for row in batch.journal])
        # Of several changes of one copy the last counts; a copy that is filed stays so whatever follows.
        changes: dict[str, tuple[object, ...]] = {}
        for batch in batches:
            for change in batch.journal_updates:
                if change.id in changes and len(batches) > 1:
                    raise Apart
                changes[change.id] = journal_rows.update_values(change)

        def judge(found: list[tuple[Any, ...]]) -> None:
            ended.update({message_id: None for message_id, state in found if state == CopyState.FILED})

        if changes:
            lists = _lists(changes[id] for id in sorted(changes))
            statements.append((UPDATE_COPIES, [*lists, lists[0]], judge))
        return statements

    def _audit(self, chain: Chain, batches: Sequence[Batch]) -> list[Statement]:
        added = [(chain.append(event), event) for batch in batches for event in batch.audit]
        if not added:
            return []
        first, last = added[0][0], added[-1][0]
        start, self.places = self.places, self.places + len(added)
        if self.places >> POSITION_BITS:
            raise StoreError("one transaction would write more than a million rows of the decision log")

        def judge(found: list[tuple[Any, ...]]) -> None:
            if not found:
                # Two writers on one chain: nothing of this transaction may stand.
                raise StoreError("the audit chain has a row that this keeper did not write")

        self.end = (last.seq, last.hash)
        given = _lists((start + n, *rows.audit_values(row, event)) for n, (row, event) in enumerate(added))
        move = (last.seq, last.hash, first.chain, first.seq - 1, first.prev_hash)
        return [(MOVE_CHAIN, move, judge), (INSERT_AUDIT, given, None)]

    async def _destroy(self, link: Connection, ended: list[str]) -> None:
        """Destroys the bodies that nothing needs any more. Where something is still open, another node may be ending just that: the
        message's row is locked first, so that of two such transactions the second one looks after the first has committed. Where
        nothing is open nobody can be ending it, and there is nothing to lock."""
        await run(link, [(STILL_NEEDED, (ended,), None), (DROP_FINISHED, (ended,), None)])


async def run(link: Connection, statements: Sequence[Statement], *, clean: bool = False) -> None:
    """Sends *statements* in one go and judges their answers in order."""
    if not statements:
        return
    if clean:
        statements = [(sql, [_clean(value) for value in given], judge) for sql, given, judge in statements]
    async with link.pipeline():
        cursors = [await link.execute(sql, given, binary=True) for sql, given, _ in statements]
    for cursor, (_, _, judge) in zip(cursors, statements, strict=True):
        if judge is not None:
            judge(await cursor.fetchall())


async def write_register(link: Connection) -> str:
    """Computes the version of the register from its rows and writes it, inside of a transaction."""
    await link.execute(REGISTER_LOCK)
    found = await (await link.execute(rows.SELECT_EXCEPTION + " WHERE state = 'active'")).fetchall()
    on = await (await link.execute(rows.SELECT_PROFILE + " WHERE state = 'active'")).fetchall()
    version = register_version((rows.exception_row(v) for v in found), (rows.profile_row(v) for v in on))
    await link.execute("UPDATE register SET version = %s WHERE one = 1 AND version <> %s", (version, version))
    return version


def _review(batch: ReviewBatch) -> list[Statement]:
    counts: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for row in batch.tallies:
        one = review_rows.tally_values(row)
        before = counts.get(one[:5])
        counts[one[:5]] = one if before is None else (*one[:5], one[5] + before[5], one[6])
    named = [(row.id, row.user, row.name) for row in batch.views]
    statements: list[Statement] = [(OTHER_VIEWS, _lists(named), None)] if named else []
    statements += [
        *_many("remarks", [review_rows.remark_values(row) for row in batch.remarks]),
        *_many("credentials", _last(review_rows.credential_values(row) for row in batch.credentials)),
        *_many("views", _last(review_rows.view_values(row) for row in batch.views)),
        *_many("tokens", _last(review_rows.token_values(row) for row in batch.tokens)),
        *_many("terms", _last((review_rows.term_values(row) for row in batch.terms), 2)),
        *_many("told", _last(review_rows.told_values(row) for row in batch.told)),
        *_many("tallies", [counts[key] for key in sorted(counts)]),
    ]
    if batch.tallied_to:
        statements.append((TALLIED, (batch.tallied_to, FORMAT), None))
    for table, ids in (("views", batch.drop_views), ("tokens", batch.drop_tokens)):
        if ids:
            statements.append((f"DELETE FROM {table} WHERE id = ANY(%b::text[])", (list(ids),), None))  # noqa: S608 - constants of ours
    return statements


def _words(batches: Iterable[Batch]) -> set[str]:
    """What other nodes are told of. Most groups tell nothing: a transaction that does waits for every other that does."""
    words = set()
    for batch in batches:
        if batch.exceptions or batch.profiles:
            words.add(tables.REGISTER)
        if any(row.state is DeliveryState.SCHEDULED for row in batch.deliveries) or any(
            one.state is DeliveryState.SCHEDULED for one in batch.delivery_updates
        ):
            words.add(tables.QUEUE)
    return words


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\ufffd")
    return [_clean(one) for one in value] if isinstance(value, list) else value


def _many(table: str, values: Sequence[tuple[object, ...]]) -> list[Statement]:
    return [(INSERTS[table], _lists(values), None)] if values else []


def _lists(values: Iterable[tuple[object, ...]]) -> list[list[object]]:
    """Rows to columns."""
    return [list(column) for column in zip(*values, strict=True)]


def _last(values: Iterable[tuple[object, ...]], key: int = 1) -> list[tuple[object, ...]]:
    """Of rows with the same key (their first *key* values) the last."""
    return list({one[:key]: one for one in values}.values())


def _one(what: str, ended: dict[str, None] | None) -> Judge:
    def judge(found: list[tuple[Any, ...]]) -> None:
        if not found:
            raise Conflict(what)
        if ended is not None:
            ended[str(found[0][0])] = None

    return judge


def _department(batch: Batch) -> str:
    return batch.messages[0].department if batch.messages else ""


def _states(expect: Sequence[DeliveryState] | Sequence[HoldState]) -> str:
    return f" {' '.join(state.value for state in expect)} "


def _update_values(update: DeliveryUpdate) -> tuple[object, ...]:
    return (
        update.id, update.state.value, update.attempts, update.next_attempt, update.last_reply, update.route, update.lease, update.warned,
        update.sent_sha256, _states(update.expect), update.holder,
    )  # fmt: skip

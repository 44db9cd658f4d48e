"""What a group of batches does to the tables: few statements with many rows.

What it is: ``Applier``, which turns batches into statements inside the writer's transaction.
Who calls it: ``writer`` alone, in its thread.
Must never: begin or end a transaction; write an audit row before everything else of the group stands.
Source: docs/design.md section 6; https://www.sqlite.org/lang_update.html (UPDATE FROM), lang_returning.html.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Sequence
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
    HoldUpdate,
    StoreError,
    register_version,
)
from gateway.stores.jobs import Job
from gateway.stores.journal import CopyState
from gateway.stores.reviewed import ReviewBatch
from gateway.stores.schema import NEEDED_COPY_SQL, OPEN_DELIVERY_SQL, OPEN_HOLD_SQL

_CHUNKS = (32, 8, 4, 2, 1)
"""Rows of one statement. Fewer statements are fewer hand-overs of the interpreter lock between this thread and the event loop:
under load each of them costs more than the row."""

_UPDATE_DELIVERIES = (
    "UPDATE deliveries SET state = v.column2, attempts = coalesce(v.column3, attempts), next_attempt = coalesce(v.column4, next_attempt),"
    " last_reply = coalesce(v.column5, last_reply), route = coalesce(v.column6, route), lease = coalesce(v.column7, lease),"
    " warned = coalesce(v.column8, warned), sent_sha256 = coalesce(v.column9, sent_sha256)"
    " FROM (VALUES {rows}) AS v WHERE deliveries.id = v.column1 AND instr(v.column10, ' ' || deliveries.state || ' ')"
    " RETURNING deliveries.id, message_id"
)
_UPDATE_HOLD = (
    "UPDATE holds SET state = ?, updated = ?, released = coalesce(?, released), level = coalesce(?, level),"
    " assigned = coalesce(?, assigned), requested = coalesce(?, requested) WHERE id = ? AND instr(?, ' ' || state || ' ')"
    " AND updated = coalesce(?, updated) RETURNING message_id"
)
_DROP_FINISHED = (
    "DELETE FROM bodies WHERE id IN (SELECT m.body_id FROM messages m WHERE m.id IN ({marks})"  # noqa: S608 - constants of ours
    f" AND NOT EXISTS (SELECT 1 FROM deliveries WHERE message_id = m.id AND {OPEN_DELIVERY_SQL})"
    f" AND NOT EXISTS (SELECT 1 FROM holds WHERE message_id = m.id AND {OPEN_HOLD_SQL})"
    f" AND NOT EXISTS (SELECT 1 FROM journal WHERE message_id = m.id AND {NEEDED_COPY_SQL}))"
)
_DROP_BODY = "DELETE FROM bodies WHERE id = ?"


class Again(Exception):
    """A batch may have to be taken back after it has written: the group is done again, each batch in its savepoint."""


class Applier:
    """Keeps what the writer has to know about the tables without asking them."""

    def __init__(self) -> None:
        self._prepared: dict[tuple[str, int], str] = {}
        self.delta = 0
        """Open deliveries that this transaction has added."""
        self.register = ""
        """Version of the register of exceptions and profiles."""

    def apply(self, db: sqlite3.Connection, chain: Chain, jobs: Sequence[Job[Any]]) -> None:
        """Writes the batches of *jobs* together. A Conflict found before its batch wrote anything is set on its job;
        Again asks for the group to be done again, each batch apart."""
        ended: dict[str, None] = {}
        batches = self._update(db, jobs, ended)
        many = self._insert
        many(
            db,
            rows.INSERT_BODY,
            [rows.body_values(body, b.messages[0].department if b.messages else "") for b in batches for body in b.bodies],
        )
        many(db, rows.INSERT_MESSAGE, [rows.message_values(row) for b in batches for row in b.messages])
        deliveries = [row for b in batches for row in b.deliveries]
        many(db, rows.INSERT_DELIVERY, [rows.delivery_values(row) for row in deliveries])
        self.delta += sum(row.state not in ENDED for row in deliveries)
        for batch in batches:
            if batch.review is not None or any(
                (batch.holds, batch.approvals, batch.users, batch.drop_bodies, batch.heads, batch.exceptions, batch.profiles)
            ):
                self._apply_rare(db, batch)
        many(db, rows.REPLACE_CORRESPONDENT, [rows.correspondent_values(row) for b in batches for row in b.correspondents])
        self._statements(db, rows.RAISE_THREAD, "(?, ?, ?, ?, ?)", [rows.thread_values(row) for b in batches for row in b.threads])
        copies = [journal_rows.copy_values(row) for b in batches for row in b.journal]
        self._statements(db, journal_rows.ADD_COPY, journal_rows.COPY_MARKS, copies)
        changes = [journal_rows.update_values(change) for b in batches for change in b.journal_updates]
        for message_id, state in self._statements(db, journal_rows.UPDATE_COPY, journal_rows.UPDATE_MARKS, changes):
            if state == CopyState.FILED:
                ended[message_id] = None
        if ended:
            self._statements(db, _DROP_FINISHED, "?", [(message_id,) for message_id in ended])
        audit = [rows.audit_values(chain.append(event), event) for b in batches for event in b.audit]
        try:
            many(db, rows.INSERT_AUDIT, audit)
        except sqlite3.IntegrityError as error:
            # Two writers on one chain: no batch of this group may stand.
            raise StoreError("the audit chain has a row that this keeper did not write") from error

    def _apply_rare(self, db: sqlite3.Connection, batch: Batch) -> None:
        self._insert(db, rows.INSERT_HOLD, [rows.hold_values(row) for row in batch.holds])
        self._insert(db, rows.INSERT_APPROVAL, [rows.approval_values(row) for row in batch.approvals])
        self._insert(db, rows.REPLACE_EXCEPTION, [rows.exception_values(row) for row in batch.exceptions])
        self._insert(db, rows.REPLACE_PROFILE, [rows.profile_values(row) for row in batch.profiles])
        self._insert(db, rows.REPLACE_USER, [rows.user_values(row) for row in batch.users])
        self._insert(db, rows.INSERT_HEAD, [rows.head_values(row) for row in batch.heads])
        for body_id in batch.drop_bodies:
            db.execute(_DROP_BODY, (body_id,))
        if batch.review is not None:
            self._apply_review(db, batch.review)
        if batch.exceptions or batch.profiles:
            self.register = read_register(db)

    def _apply_review(self, db: sqlite3.Connection, batch: ReviewBatch) -> None:
        self._insert(db, review_rows.INSERT_REMARK, [review_rows.remark_values(row) for row in batch.remarks])
        self._insert(db, review_rows.REPLACE_CREDENTIAL, [review_rows.credential_values(row) for row in batch.credentials])
        self._insert(db, review_rows.REPLACE_VIEW, [review_rows.view_values(row) for row in batch.views])
        self._insert(db, review_rows.REPLACE_TOKEN, [review_rows.token_values(row) for row in batch.tokens])
        self._insert(db, review_rows.REPLACE_TERM, [review_rows.term_values(row) for row in batch.terms])
        self._insert(db, review_rows.REPLACE_TOLD, [review_rows.told_values(row) for row in batch.told])
        counts = [review_rows.tally_values(row) for row in batch.tallies]
        self._statements(db, review_rows.ADD_TALLY, "(?, ?, ?, ?, ?, ?, ?)", counts)
        if batch.tallied_to:
            db.execute(review_rows.REPLACE_TALLIED, (batch.tallied_to, FORMAT))
        for sql, ids in (("DELETE FROM views WHERE id = ?", batch.drop_views), ("DELETE FROM tokens WHERE id = ?", batch.drop_tokens)):
            for one in ids:
                db.execute(sql, (one,))

    def _update(self, db: sqlite3.Connection, jobs: Sequence[Job[Any]], ended: dict[str, None]) -> list[Batch]:
        """The part that may find another state than it expects; returns the batches that may go on."""
        updates: list[tuple[Job[Any], DeliveryUpdate]] = []
        for job in jobs:
            assert job.batch is not None
            if job.batch.expect_exceptions_version not in ("", self.register):
                job.error = Conflict("the exception register has changed")
            elif len(jobs) > 1 and job.batch.expect_exceptions_version and any(_changes_register(j) for j in jobs):
                raise Again  # in their order, one by one
            else:
                updates += [(job, update) for update in job.batch.delivery_updates]
        if len({update.id for _, update in updates}) < len(updates):
            if len(jobs) > 1:
                raise Again  # one delivery twice: in their order, one by one
            raise Conflict("a batch may change a delivery once")
        values = [_update_values(update) for _, update in updates]
        found = dict(self._statements(db, _UPDATE_DELIVERIES, "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values))
        for job, update in updates:
            if update.id not in found:
                assert job.batch is not None
                if len(job.batch.delivery_updates) > 1:
                    if len(jobs) > 1:
                        raise Again  # its other updates may have been made
                    raise Conflict(f"delivery {update.id} is not {' or '.join(update.expect)}")
                job.error = Conflict(f"delivery {update.id} is not {' or '.join(update.expect)}")
                continue
            self.delta += (update.state not in ENDED) - (update.expect[0] not in ENDED)
            if update.state in ENDED:
                ended[found[update.id]] = None
        going = [job for job in jobs if job.error is None]
        for job in going:
            assert job.batch is not None
            for change in job.batch.hold_updates:
                if len(jobs) > 1:
                    raise Again  # rare, and it may have to be taken back after delivery updates of its own
                message_id = self._update_hold(db, change)
                if change.state in ENDED_HOLD:
                    ended[message_id] = None
        return [job.batch for job in going if job.batch is not None]

    def _update_hold(self, db: sqlite3.Connection, change: HoldUpdate) -> str:
        released = None if change.released is None else rows.dump(change.released)
        values = (
            change.state.value, change.updated, released, change.level, change.assigned, change.requested, change.id,
            _states(change.expect), change.seen,
        )  # fmt: skip
        found = db.execute(_UPDATE_HOLD, values).fetchall()
        if not found:
            raise Conflict(f"held record {change.id} is not {' or '.join(change.expect)}, or was changed meanwhile")
        return str(found[0][0])

    def _insert(self, db: sqlite3.Connection, sql: str, values: Sequence[tuple[object, ...]]) -> None:
        head, _, marks = sql.partition(" VALUES ")
        self._statements(db, head + " VALUES {rows}", marks, values)

    def _statements(self, db: sqlite3.Connection, template: str, marks: str, values: Sequence[tuple[object, ...]]) -> list[Any]:
        """Runs *template* with as many rows at once as there are, in chunks of fixed sizes so that statements are prepared once."""
        found: list[Any] = []
        start, left = 0, len(values)
        while left:
            size = next(chunk for chunk in _CHUNKS if chunk <= left)
            key = (template, size)
            sql = self._prepared.get(key)
            if sql is None:
                many = ", ".join([marks] * size)
                sql = self._prepared[key] = template.format(rows=many, marks=many)
            flat = values[start] if size == 1 else tuple(itertools.chain.from_iterable(values[start : start + size]))
            found += db.execute(sql, flat).fetchall()
            start, left = start + size, left - size
        return found


def read_register(db: sqlite3.Connection) -> str:
    """The version of the register as the tables have it."""
    return register_version(
        (rows.exception_row(v) for v in db.execute(rows.SELECT_EXCEPTION + " WHERE state = 'active'")),
        (rows.profile_row(v) for v in db.execute(rows.SELECT_PROFILE + " WHERE state = 'active'")),
    )


def _changes_register(job: Job[Any]) -> bool:
    return job.batch is not None and bool(job.batch.exceptions or job.batch.profiles)


def _states(expect: Sequence[DeliveryState] | Sequence[HoldState]) -> str:
    return f" {' '.join(state.value for state in expect)} "


def _update_values(update: DeliveryUpdate) -> tuple[object, ...]:
    return (
        update.id, update.state.value, update.attempts, update.next_attempt, update.last_reply, update.route, update.lease, update.warned,
        update.sent_sha256, _states(update.expect),
    )  # fmt: skip

"""A store in memory: the Store protocol for tests that need no durability, with faults on demand."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.counting import Histogram
from gateway.requests import ExceptionRow, ProfileRow
from gateway.stores.base import (
    ApprovalRow,
    AuditEvent,
    AuditRow,
    Batch,
    BodyRow,
    Chain,
    Conflict,
    DeliveryRow,
    DeliveryState,
    HeadRow,
    HoldRow,
    HoldState,
    MessageRow,
    StoreError,
    UserRow,
    register_version,
)
from gateway.stores.figures import Figures, Held
from gateway.stores.journal import CopyState
from gateway.stores.sharing import Alone
from tests.memory_journal import UNFILED, MemoryJournal
from tests.memory_reviewing import MemoryReviewing

_DUE = (DeliveryState.SCHEDULED, DeliveryState.DEFERRED)
_OPEN = (*_DUE, DeliveryState.LEASED, DeliveryState.ON_HOLD)
_OPEN_HOLD = (HoldState.HELD, HoldState.REQUESTED, HoldState.APPROVED)


class MemoryStore(Alone):
    """Implements ``Store``. *fail_writes*: that many writes raise StoreError first."""

    def __init__(self) -> None:
        self.bodies: dict[str, BodyRow] = {}
        self.messages: dict[str, MessageRow] = {}
        self.delivery_rows: dict[str, DeliveryRow] = {}
        self.hold_rows: dict[str, HoldRow] = {}
        self.approval_rows: list[ApprovalRow] = []
        self.exception_rows: dict[str, ExceptionRow] = {}
        self.profile_rows: dict[str, ProfileRow] = {}
        self.pairs: dict[bytes, int] = {}
        self.thread_rows: dict[bytes, tuple[int, int]] = {}
        self.user_rows: dict[str, UserRow] = {}
        self.events: list[AuditEvent] = []
        self.audit_table: list[AuditRow] = []
        self.head_rows: list[HeadRow] = []
        self.closing_rows: dict[str, HeadRow] = {}
        self.reviewing = MemoryReviewing(self)
        self.journal = MemoryJournal()
        self.fail_writes = 0
        self.writes = 0
        self.degraded = ""
        self._chain: Chain | None = None
        self._changed = asyncio.Event()

    async def open(self, chain: Chain | None = None) -> None:
        self._chain = chain
        if chain is not None:
            chain.resume(self.audit_table[-1] if self.audit_table else None)

    async def close(self) -> None:
        pass

    def observe(self, seconds: Histogram, batches: Histogram) -> None:
        pass

    @property
    def exceptions_version(self) -> str:
        return register_version(self.exception_rows.values(), self.profile_rows.values())

    @property
    def counters(self) -> dict[str, int]:
        open_ = sum(row.state in _OPEN for row in self.delivery_rows.values())
        return {"groups": self.writes, "batches": self.writes, "open_deliveries": open_}

    async def write(self, batch: Batch) -> None:
        await asyncio.sleep(0)
        if self.fail_writes:
            self.fail_writes -= 1
            raise StoreError("injected")
        self._check(batch)
        self.writes += 1
        ended = set()
        for body in batch.bodies:
            self.bodies[body.id] = body
        for message in batch.messages:
            self.messages[message.id] = message
        for delivery in batch.deliveries:
            self.delivery_rows[delivery.id] = delivery
        for hold in batch.holds:
            self.hold_rows[hold.id] = hold
        for update in batch.delivery_updates:
            changes: dict[str, Any] = {
                name: value
                for name in ("attempts", "next_attempt", "last_reply", "route", "lease", "warned", "sent_sha256")
                if (value := getattr(update, name)) is not None
            }
            row = self.delivery_rows[update.id]
            self.delivery_rows[update.id] = msgspec.structs.replace(row, state=update.state, **changes)
            ended.add(row.message_id)
        for change in batch.hold_updates:
            held = self.hold_rows[change.id]
            given = {name: value for name in ("released", "level", "assigned", "requested") if (value := getattr(change, name)) is not None}
            self.hold_rows[change.id] = msgspec.structs.replace(held, state=change.state, updated=change.updated, **given)
            ended.add(held.message_id)
        self.approval_rows += batch.approvals
        self.exception_rows.update((row.id, row) for row in batch.exceptions)
        self.profile_rows.update((row.id, row) for row in batch.profiles)
        self.pairs.update((row.pair, row.day) for row in batch.correspondents)
        for mark in batch.threads:
            level, day = self.thread_rows.get(mark.mark, (0, 0))
            self.thread_rows[mark.mark] = max(level, mark.level), max(day, mark.day)
        self.user_rows.update((row.name, row) for row in batch.users)
        ended |= self.journal.take(batch.journal, batch.journal_updates)
        if batch.review is not None:
            self.reviewing.take(batch.review)
        for body_id in batch.drop_bodies:
            self.bodies.pop(body_id, None)
        for message_id in ended:
            self._drop(message_id)
        self.head_rows += batch.heads
        self.events += batch.audit
        if self._chain is not None:
            self.audit_table += [self._chain.append(event) for event in batch.audit]
            self._chain.written()
        self._changed.set()

    def _check(self, batch: Batch) -> None:
        register = register_version(self.exception_rows.values(), self.profile_rows.values())
        if batch.expect_exceptions_version not in ("", register):
            raise Conflict("the exception register has changed")
        for update in batch.delivery_updates:
            row = self.delivery_rows.get(update.id)
            if row is None or row.state not in update.expect:
                raise Conflict(f"delivery {update.id} is not {' or '.join(update.expect)}")
        for change in batch.hold_updates:
            held = self.hold_rows.get(change.id)
            if held is None or held.state not in change.expect or change.seen not in (None, held.updated):
                raise Conflict(f"held record {change.id} is not {' or '.join(change.expect)}")

    def _drop(self, message_id: str) -> None:
        """Destroys the body when nothing open needs it."""
        needed = any(r.message_id == message_id and r.state in _OPEN for r in self.delivery_rows.values()) or any(
            h.message_id == message_id and h.state in _OPEN_HOLD for h in self.hold_rows.values()
        )
        needed = needed or any(c.message_id == message_id and c.state is not CopyState.FILED for c in self.journal.rows.values())
        if not needed and message_id in self.messages:
            self.bodies.pop(self.messages[message_id].body_id, None)

    async def until(self, condition: Any, timeout: float = 10) -> None:
        """Waits until *condition()* after some write (tests only)."""
        async with asyncio.timeout(timeout):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def body(self, body_id: str) -> BodyRow | None:
        return self.bodies.get(body_id)

    async def message(self, id_or_reference: str) -> MessageRow | None:
        return next((m for m in self.messages.values() if id_or_reference in (m.id, m.reference)), None)

    async def due_deliveries(self, now: float, limit: int) -> list[DeliveryRow]:
        due = [r for r in self.delivery_rows.values() if r.state in _DUE and r.next_attempt <= now]
        return sorted(due, key=lambda r: r.next_attempt)[:limit]

    async def open_delivery_count(self) -> int:
        return sum(r.state in _OPEN for r in self.delivery_rows.values())

    async def next_due(self) -> float | None:
        return min((r.next_attempt for r in self.delivery_rows.values() if r.state in _DUE), default=None)

    async def release_leases(self, incarnation: str) -> int:
        leased = [r for r in self.delivery_rows.values() if r.state is DeliveryState.LEASED and r.lease != incarnation]
        for row in leased:
            self.delivery_rows[row.id] = msgspec.structs.replace(row, state=DeliveryState.SCHEDULED, lease="")
        return len(leased)

    async def deliveries(self, *, all: bool = False, limit: int = 1000, after: str = "", reference: str = "") -> list[DeliveryRow]:
        rows = sorted(self.delivery_rows.values(), key=lambda r: r.id)
        return [r for r in rows if r.id > after and (r.reference == reference if reference else all or r.state in _OPEN)][:limit]

    async def delivery(self, delivery_id: str) -> DeliveryRow | None:
        return self.delivery_rows.get(delivery_id)

    async def holds(self, *, all: bool = False, limit: int = 1000, after: str = "") -> list[HoldRow]:
        rows = sorted(self.hold_rows.values(), key=lambda h: h.id)
        return [h for h in rows if h.id > after and (all or h.state in _OPEN_HOLD)][:limit]

    async def hold(self, id_or_reference: str) -> HoldRow | None:
        found = [h for h in self.hold_rows.values() if id_or_reference in (h.id, h.reference)]
        return max(found, key=lambda h: (h.state in _OPEN_HOLD, h.id), default=None)

    async def expired_holds(self, now: float, limit: int) -> list[HoldRow]:
        due = [h for h in self.hold_rows.values() if h.state in _OPEN_HOLD and h.deadline <= now]
        return sorted(due, key=lambda h: h.deadline)[:limit]

    async def approvals(self, hold_id: str) -> list[ApprovalRow]:
        return sorted((a for a in self.approval_rows if a.hold_id == hold_id), key=lambda a: a.id)

    async def exceptions(self, *, all: bool = False) -> list[ExceptionRow]:
        return sorted((r for r in self.exception_rows.values() if all or r.state == "active"), key=lambda r: r.id)

    async def profiles(self, *, all: bool = False) -> list[ProfileRow]:
        return sorted((r for r in self.profile_rows.values() if all or r.state == "active"), key=lambda r: r.id)

    async def known_pairs(self, pairs: Sequence[bytes]) -> set[bytes]:
        return {pair for pair in pairs if pair in self.pairs}

    async def remembered(self, marks: Sequence[bytes]) -> dict[bytes, int]:
        return {mark: self.thread_rows[mark][0] for mark in marks if mark in self.thread_rows}

    async def figures(self) -> Figures:
        due = [row for row in self.delivery_rows.values() if row.state in _DUE]
        held = [row for row in self.hold_rows.values() if row.state in _OPEN_HOLD]
        states = Counter(row.state.value for row in self.delivery_rows.values() if row.state in _OPEN)
        levels = Counter((row.state.value, row.level) for row in held)
        return Figures(
            dict(states), min((row.created for row in due), default=0.0),
            sum(row.require_aes256 for row in due if row.state is DeliveryState.DEFERRED),
            tuple(Held(state, level, count) for (state, level), count in levels.items()),
            min((row.created for row in held), default=0.0), min((row.deadline for row in held), default=0.0), 0,
            tuple(await self.journal.waiting()),
        )  # fmt: skip

    async def users(self) -> list[UserRow]:
        return sorted(self.user_rows.values(), key=lambda u: u.name)

    async def audit_head(self, chain: str) -> AuditRow | None:
        return next((r for r in reversed(self.audit_table) if r.chain == chain), None)

    async def audit_chains(self) -> list[str]:
        return sorted({r.chain for r in self.audit_table} | {h.chain for h in self.head_rows} | set(self.closing_rows))

    async def audit_rows(
        self, *, chain: str = "", after: int = 0, limit: int = 1000, reference: str = "", within: frozenset[str] | None = None
    ) -> list[AuditRow]:
        rows = [r for r in self.audit_table if r.seq > after and chain in ("", r.chain) and reference in ("", r.reference)]
        rows = [r for r in rows if within is None or r.department in within]
        return sorted(rows, key=lambda r: (r.chain, r.seq))[:limit]

    async def signed_heads(self, chain: str = "") -> list[HeadRow]:
        return sorted((h for h in self.head_rows if chain in ("", h.chain)), key=lambda h: (h.chain, h.seq))

    async def closings(self, chain: str = "") -> list[HeadRow]:
        return sorted((c for c in self.closing_rows.values() if chain in ("", c.chain)), key=lambda c: c.chain)

    async def audit_ages(self, chain: str, after: int, limit: int) -> list[tuple[int, float, str]]:
        return [(r.seq, r.created, r.hash) for r in await self.audit_rows(chain=chain, after=after, limit=limit)]

    async def drop_audit(self, closing: HeadRow, limit: int) -> int:
        chain = [r for r in self.audit_table if r.chain == closing.chain]
        gone = [r for r in chain if r.seq <= closing.seq]
        if len(gone) > limit or not any(r.seq == closing.seq and r.hash == closing.hash for r in chain):
            raise Conflict("not the rows that were signed")
        self.closing_rows[closing.chain] = closing
        self.audit_table = [r for r in self.audit_table if r not in gone]
        self.head_rows = [h for h in self.head_rows if h.chain != closing.chain or h.seq > closing.seq]
        return len(gone)

    async def drop_messages(self, before: float, after: str, limit: int) -> tuple[int, str]:
        seen = sorted(m.id for m in self.messages.values() if m.id > after)[:limit]
        old = [id for id in seen if self.messages[id].created < before]
        gone = [id for id in old if not self._is_needed(id, before)]
        holds = {h.id for h in self.hold_rows.values() if h.message_id in gone}
        self.approval_rows = [a for a in self.approval_rows if a.hold_id not in holds]
        self.hold_rows = {h.id: h for h in self.hold_rows.values() if h.id not in holds}
        self.delivery_rows = {d.id: d for d in self.delivery_rows.values() if d.message_id not in gone}
        self.reviewing.forget(holds, {self.messages[id].reference for id in gone})
        for id in gone:
            row = self.messages.pop(id)
            if not any(c.message_id == id and c.state is CopyState.KEPT for c in self.journal.rows.values()):
                self.bodies.pop(row.body_id, None)
        return len(gone), old[-1] if len(old) == len(seen) == limit else ""

    def _is_needed(self, message_id: str, before: float) -> bool:
        return (
            any(r.message_id == message_id and (r.state in _OPEN or r.created >= before) for r in self.delivery_rows.values())
            or any(h.message_id == message_id and (h.state in _OPEN_HOLD or h.updated >= before) for h in self.hold_rows.values())
            or any(c.message_id == message_id and c.state in UNFILED for c in self.journal.rows.values())
        )

    async def drop_correspondents(self, before: int, limit: int) -> int:
        gone = [pair for pair, day in self.pairs.items() if day < before][:limit]
        for pair in gone:
            del self.pairs[pair]
        return len(gone)

    async def drop_threads(self, before: int, limit: int) -> int:
        gone = [mark for mark, (_, day) in self.thread_rows.items() if day < before][:limit]
        for mark in gone:
            del self.thread_rows[mark]
        return len(gone)

    async def drop_ended(self, before: float, limit: int) -> int:
        count = 0
        for table in (self.exception_rows, self.profile_rows):
            gone = [r.id for r in table.values() if r.state != "active" and r.expires < before][:limit]
            for id in gone:
                del table[id]
            count += len(gone)
        return count

    async def drop_reviewed(self, before: float, limit: int) -> int:
        return self.reviewing.drop(before, limit)

    async def drop_journal(self, now: float, limit: int) -> int:
        gone = self.journal.ended(now)[:limit]
        for copy in gone:
            del self.journal.rows[copy.id]
            held = any(r.message_id == copy.message_id and r.state in _OPEN for r in self.delivery_rows.values()) or any(
                h.message_id == copy.message_id and h.state in _OPEN_HOLD for h in self.hold_rows.values()
            )
            if not held and not any(c.message_id == copy.message_id and c.state is not CopyState.FILED for c in self.journal.rows.values()):
                self.bodies.pop(copy.body_id, None)
        return len(gone)

    async def compact(self) -> int:
        return 0

    async def search_audit(
        self, *, text: str = "", sender: str = "", recipient: str = "", rule: str = "", since: float = 0, until: float = 0,
        limit: int = 1000, after: int = 0, before: int = 0, within: frozenset[str] | None = None,
    ) -> list[AuditRow]:  # fmt: skip
        def fits(row: AuditRow) -> bool:
            return (
                (row.seq < before if before else row.seq > after)
                and text.lower() in row.line.lower()
                and sender.lower() in ("", row.sender.lower())
                and recipient.lower() in ("", row.recipient.lower())
                and rule.lower() in ("", row.rule.lower())
                and row.created >= since
                and (within is None or row.department in within)
                and (not until or row.created < until)
            )

        found = [row for row in self.audit_table if fits(row)]
        return (found[::-1] if before else found)[:limit]

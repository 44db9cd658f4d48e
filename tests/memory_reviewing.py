"""What the store in memory reads for the review pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gateway.levels import Level
from gateway.stores.base import AuditEvent, HoldRow, HoldState
from gateway.stores.reviewed import (
    INDIA,
    Brief,
    Counted,
    CredentialRow,
    RemarkRow,
    ReviewBatch,
    Sought,
    TallyRow,
    TermRow,
    TokenRow,
    ToldRow,
    ViewRow,
)
from gateway.verdict import Disposition

if TYPE_CHECKING:
    from tests.memory_store import MemoryStore

_OPEN = (HoldState.HELD, HoldState.REQUESTED, HoldState.APPROVED)
_DECISIONS = {one.text for one in Disposition}


class MemoryReviewing:
    """Implements ``Reviewing``."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.remark_rows: list[RemarkRow] = []
        self.credential_rows: dict[str, CredentialRow] = {}
        self.view_rows: dict[str, ViewRow] = {}
        self.token_rows: dict[str, TokenRow] = {}
        self.term_rows: set[TermRow] = set()
        self.counts: dict[tuple[int, str, str, str, int], int] = {}
        self.told_rows: dict[str, ToldRow] = {}
        self.position = 0

    def take(self, batch: ReviewBatch) -> None:
        self.remark_rows += batch.remarks
        self.credential_rows.update((row.name, row) for row in batch.credentials)
        for view in batch.views:
            self.view_rows = {v.id: v for v in self.view_rows.values() if (v.user, v.name) != (view.user, view.name)} | {view.id: view}
        self.token_rows.update((row.id, row) for row in batch.tokens)
        self.term_rows.update(batch.terms)
        for row in batch.tallies:
            key = (row.hour, row.department, row.rule, row.disposition, row.level)
            self.counts[key] = self.counts.get(key, 0) + row.count
        self.position = batch.tallied_to or self.position
        self.told_rows.update((row.key, row) for row in batch.told)
        for id in batch.drop_views:
            self.view_rows.pop(id, None)
        for id in batch.drop_tokens:
            self.token_rows.pop(id, None)

    def forget(self, holds: set[str], references: set[str]) -> None:
        self.term_rows = {row for row in self.term_rows if row.hold_id not in holds}
        self.remark_rows = [row for row in self.remark_rows if row.reference not in references]

    def drop(self, before: float, limit: int) -> int:
        hours = [key for key in self.counts if key[0] < (before + INDIA) // 3600][:limit]
        keys = [row.key for row in self.told_rows.values() if row.created < before][:limit]
        for hour in hours:
            del self.counts[hour]
        for key in keys:
            del self.told_rows[key]
        return len(hours) + len(keys)

    def _fits(self, hold: HoldRow, sought: Sought) -> bool:
        asked, within = sought.filter, sought.within
        states = asked.states or (tuple(HoldState) if sought.changed_since else _OPEN)
        mine = {row.term for row in self.term_rows if row.hold_id == hold.id}
        opened = sought.opened is None or hold.department in sought.opened
        return (
            hold.state in states
            and (not asked.levels or ("none" if hold.level is None else Level(hold.level).text) in asked.levels)
            and (not asked.rules or hold.rule in asked.rules)
            and (not asked.departments or hold.department in asked.departments)
            and (within is None or hold.department in within)
            and asked.sealed in (None, hold.sealed)
            and asked.assigned in ("", hold.assigned)
            and hold.created >= asked.since
            and (not asked.until or hold.created < asked.until)
            and (not asked.due or hold.deadline < asked.due)
            and hold.updated > sought.changed_since
            and all(mine & {*word.plain, *(word.subject if opened else ())} for word in sought.words)
        )

    def _all(self, sought: Sought) -> list[HoldRow]:
        return sorted((h for h in self._store.hold_rows.values() if self._fits(h, sought)), key=lambda h: h.id, reverse=True)

    async def found(self, sought: Sought) -> list[HoldRow]:
        return [h for h in self._all(sought) if not sought.before or h.id < sought.before][: sought.limit]

    async def counted(self, sought: Sought) -> Counted:
        found = self._all(sought)
        return Counted(
            len(found), dict(Counter(h.state.value for h in found)), dict(Counter(str(-1 if h.level is None else h.level) for h in found)),
            dict(Counter(h.rule for h in found)), dict(Counter(h.department for h in found)),
            min((h.created for h in found), default=0.0), min((h.deadline for h in found), default=0.0),
            sum(h.deadline < sought.soon for h in found),
        )  # fmt: skip

    async def briefs(self, message_ids: Sequence[str]) -> dict[str, Brief]:
        found = (self._store.messages.get(id) for id in message_ids)
        return {m.id: Brief(m.subject, m.verdict) for m in found if m is not None}

    async def due(self, before: float, limit: int, within: frozenset[str] | None = None, untold: str = "") -> list[HoldRow]:
        found = [
            h for h in self._store.hold_rows.values()
            if h.state in _OPEN and h.deadline < before and (within is None or h.department in within)
            and not (untold and untold + h.id in self.told_rows)
        ]  # fmt: skip
        return sorted(found, key=lambda h: h.deadline)[:limit]

    async def told(self, keys: Sequence[str]) -> set[str]:
        return self.told_rows.keys() & set(keys)

    async def unindexed(self, after: str, limit: int) -> tuple[list[HoldRow], str]:
        step = sorted((h for h in self._store.hold_rows.values() if h.id > after), key=lambda h: h.id)[:limit]
        there = {row.hold_id for row in self.term_rows}
        return [h for h in step if h.id not in there], step[-1].id if step else ""

    async def queued(self, within: frozenset[str] | None) -> dict[str, int]:
        ended = ("delivered", "bounced", "expired")
        rows = self._store.delivery_rows.values()
        return dict(Counter(r.state.value for r in rows if r.state not in ended and (within is None or r.department in within)))

    async def approvals_of(self, hold_ids: Sequence[str]) -> dict[str, int]:
        return dict(Counter(row.hold_id for row in self._store.approval_rows if row.hold_id in hold_ids))

    async def remarks(self, reference: str) -> list[RemarkRow]:
        return sorted((row for row in self.remark_rows if row.reference == reference), key=lambda row: row.id)

    async def credentials(self, name: str) -> CredentialRow | None:
        return self.credential_rows.get(name)

    async def credentials_by_subject(self, subject: str) -> CredentialRow | None:
        return next((row for row in self.credential_rows.values() if subject and row.subject == subject), None)

    async def views(self, user: str) -> list[ViewRow]:
        return sorted((row for row in self.view_rows.values() if row.user == user), key=lambda row: row.name)

    async def tokens(self, user: str) -> list[TokenRow]:
        return sorted((row for row in self.token_rows.values() if row.user == user), key=lambda row: row.id)

    async def token(self, hash: bytes) -> TokenRow | None:
        return next((row for row in self.token_rows.values() if row.hash == hash), None)

    async def tallies(self, since: int, until: int, within: frozenset[str] | None) -> list[TallyRow]:
        found = [TallyRow(*key, count) for key, count in self.counts.items() if since <= key[0] < until]
        return [row for row in found if within is None or row.department in within]

    async def tallied_to(self) -> int:
        return self.position

    async def untallied(self, after: int, limit: int) -> tuple[list[TallyRow], int]:
        step = [(place, row) for place, row in enumerate(self._store.events, 1) if place > after][:limit]
        found = Counter(self._kind(row) for _, row in step if row.disposition in _DECISIONS)
        return [TallyRow(*kind, count) for kind, count in found.items()], step[-1][0] if step else 0

    @staticmethod
    def _kind(row: AuditEvent) -> tuple[int, str, str, str, int]:
        return int((row.created + INDIA) // 3600), row.department, row.rule, row.disposition, -1

    async def of_sender(self, sender: str, limit: int) -> list[str]:
        held = [(h.created, h.reference) for h in self._store.hold_rows.values() if h.sender.lower() == sender.lower()]
        refused = [(r.created, r.reference) for r in self._store.events if r.disposition == "refuse" and r.sender.lower() == sender.lower()]
        return list(dict.fromkeys(reference for _, reference in sorted([*held, *refused], reverse=True)))[:limit]

"""Journal copies in memory, for the store in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from gateway.stores.journal import CopyState, JournalRow, JournalUpdate, Waiting

UNFILED = (CopyState.WAITING, CopyState.FILING)


class MemoryJournal:
    """Implements ``JournalReading``."""

    def __init__(self) -> None:
        self.rows: dict[str, JournalRow] = {}

    def take(self, rows: Iterable[JournalRow], updates: Iterable[JournalUpdate]) -> set[str]:
        """Writes them; the messages whose copy was filed."""
        for row in rows:
            if not any(one.message_id == row.message_id and one.name == row.name for one in self.rows.values()):
                self.rows[row.id] = row
        filed = set()
        for change in updates:
            found = self.rows.get(change.id)
            if found is None or found.state not in UNFILED:
                continue
            given = {name: value for name in change.__struct_fields__[2:] if (value := getattr(change, name)) is not None}
            self.rows[change.id] = msgspec.structs.replace(found, state=change.state, **given)
            if change.state is CopyState.FILED:
                filed.add(found.message_id)
        return filed

    def ended(self, now: float) -> list[JournalRow]:
        return [row for row in self.rows.values() if row.state not in UNFILED and row.retain_until < now]

    async def due(self, name: str, now: float, limit: int) -> list[JournalRow]:
        found = [row for row in self.rows.values() if row.name == name and row.state in UNFILED and row.next_attempt <= now]
        return sorted(found, key=lambda row: row.next_attempt)[:limit]

    async def next_due(self, name: str) -> float | None:
        return min((row.next_attempt for row in self.rows.values() if row.name == name and row.state in UNFILED), default=None)

    async def page(self, name: str, after: str, limit: int) -> list[JournalRow]:
        return sorted((row for row in self.rows.values() if row.id > after and name in ("", row.name)), key=lambda row: row.id)[:limit]

    async def newest(self, name: str, reference: str, before: str, limit: int) -> list[JournalRow]:
        found = [row for row in self.rows.values() if name in ("", row.name) and reference in ("", row.reference)]
        return sorted((row for row in found if not before or row.id < before), key=lambda row: row.id, reverse=True)[:limit]

    async def among(self, name: str, references: Sequence[str]) -> dict[str, JournalRow]:
        return {row.reference: row for row in self.rows.values() if row.name == name and row.reference in references}

    async def count(self, name: str) -> int:
        return sum(name in ("", row.name) for row in self.rows.values())

    async def waiting(self) -> list[Waiting]:
        found: dict[str, list[float]] = {}
        for row in self.rows.values():
            if row.state in UNFILED:
                found.setdefault(row.name, []).append(row.created)
        return [Waiting(name, len(ages), min(ages)) for name, ages in sorted(found.items())]

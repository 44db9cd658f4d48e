"""The memory of threads: which Message-IDs and passages of earlier mail were marked, and how high.

What it is: ``Threads``: the rows that a decision or a person's word adds, and the answer to "what did this answer, forward or quote?".
Who calls it: ``act`` (every decision that is not a deferral), ``remarks`` (a level that a person raised), ``service`` (the doors'
question).
Must never: keep a Message-ID or a fingerprint as it came: each is hashed with a key that no door has; lower a level; take "could not
be looked up" for nothing.
Sources: J&K Circular 26-JK(GAD) of 2024 (no downgrading to share), rule R7; docs/design.md section 6.

An answer that is decided before the commit of what it answers, in another door, does not see it: nobody can answer what was not yet
delivered, but two messages of one sender can cross like that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.envelope import Transaction
from gateway.keeper.correspondents import DAY
from gateway.keeper.today import Today
from gateway.levels import Level
from gateway.message import thread_fields
from gateway.requests import ThreadLevels
from gateway.stores.base import Store, ThreadRow
from gateway.vault.vault import Vault
from gateway.verdict import Remembered, Verdict

MESSAGE, PASSAGE = "message", "passage"
_LEAST = Level.RESTRICTED  # what is below is not remembered


class Threads:
    """The table, behind the key of the vault."""

    def __init__(self, store: Store, vault: Vault, clock: Callable[[], float]) -> None:
        self._store = store
        self._vault = vault
        self._clock = clock
        self._today = Today()

    def rows(self, tx: Transaction, verdict: Verdict) -> list[ThreadRow]:
        """What the decision about *tx* adds: also one that refuses, since what was refused may be tried again without its marking.
        Nothing where it was written today already, as high: most passages of a day are those of the same forms and circulars.
        Call ``written`` when it is durable."""
        memo = verdict.memo
        if memo is None or memo.level < _LEAST:
            return []
        day = int(self._clock() // DAY)
        marked = [one for one in memo.passages if one[0] >= _LEAST]
        marks = self._vault.thread_hashes(PASSAGE, [value for _, value in marked])
        found = [(mark, int(level)) for mark, (level, _) in zip(marks, marked, strict=True)]
        if memo.message_id:
            mark = self._vault.thread_hash(MESSAGE, memo.message_id.encode("utf-8", "surrogateescape"))
            found.append((mark, int(memo.level)))
        return [ThreadRow(mark, level, day, tx.department) for mark, level in found if not self._today.has(mark, day, level)]

    def written(self, rows: Sequence[ThreadRow]) -> None:
        """*rows* are durable."""
        for row in rows:
            self._today.add(row.mark, row.day, row.level)

    def raised(self, message_id: str, level: Level, department: str) -> list[ThreadRow]:
        """What is added where a person found the level of the message *message_id* to be higher; its passages are not known any more."""
        identifier = thread_fields.identifier(message_id) if message_id else ""
        if level < _LEAST or not identifier:
            return []
        mark = self._vault.thread_hash(MESSAGE, identifier.encode("utf-8", "surrogateescape"))
        return [ThreadRow(mark, int(level), int(self._clock() // DAY), department)]

    async def levels(self, asked: ThreadLevels) -> Remembered:
        """What is remembered of the messages and passages that *asked* names. Raises StoreError."""
        messages = {self._vault.thread_hash(MESSAGE, one.encode("utf-8", "surrogateescape")) for one in asked.references}
        passages = {self._vault.thread_hash(PASSAGE, one) for one in asked.passages}
        known = await self._store.remembered([*messages, *passages])
        return Remembered(
            max((Level(level) for mark, level in known.items() if mark in messages), default=None),
            max((Level(level) for mark, level in known.items() if mark in passages), default=None),
        )

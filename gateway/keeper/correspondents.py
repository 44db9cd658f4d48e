"""Who has written to whom before, as keyed hashes: for rules that ask whether a recipient is new to its sender.

What it is: ``Correspondents``: the rows that a delivery adds, and the answer to "to whom for the first time?".
Who calls it: ``act`` and ``quarantine`` (what is delivered), ``service`` (the doors' question).
Must never: keep an address in the clear; write anything while no rule in force asks; take "could not be looked up" for known.
Sources: rules/README.md, R9; docs/design.md section 6.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from gateway.keeper.today import Today
from gateway.policy import Policy
from gateway.stores.base import CorrespondentRow, Store
from gateway.vault.vault import Vault

FACTS = ("recipient.first_time", "message.first_time_recipients")
"""The facts that rest on this table."""
DAY = 86400.0


class Correspondents:
    """The table, with today's pairs in memory so that each is written once a day."""

    def __init__(self, store: Store, vault: Vault, policy: Callable[[], Policy], clock: Callable[[], float]) -> None:
        self._store = store
        self._vault = vault
        self._policy = policy
        self._clock = clock
        self._today = Today()
        self._asked: tuple[str, bool] = ("", False)

    @property
    def wanted(self) -> bool:
        """Whether a rule in force asks for first times."""
        policy = self._policy()
        if self._asked[0] != policy.version:
            self._asked = (policy.version, any(fact in policy.rules.reads for fact in FACTS))
        return self._asked[1]

    def rows(self, sender: str, recipients: Iterable[str], department: str) -> list[CorrespondentRow]:
        """What a delivery from *sender* (a verified originator) to *recipients* adds; nothing where it was written today already.
        Call ``written`` when it is durable."""
        if not sender or not self.wanted:
            return []
        day = int(self._clock() // DAY)
        pairs = dict.fromkeys(self._vault.pair_hash(sender, recipient) for recipient in recipients)
        return [CorrespondentRow(pair, day, department) for pair in pairs if not self._today.has(pair, day)]

    def written(self, rows: Sequence[CorrespondentRow]) -> None:
        """*rows* are durable."""
        for row in rows:
            self._today.add(row.pair, row.day)

    async def first_times(self, sender: str, recipients: Sequence[str]) -> tuple[str, ...]:
        """Those of *recipients* that *sender* never wrote to, as far back as the table goes. Raises StoreError."""
        day = int(self._clock() // DAY)
        hashes = {recipient: self._vault.pair_hash(sender, recipient) for recipient in dict.fromkeys(recipients)}
        asked = {recipient: pair for recipient, pair in hashes.items() if not self._today.has(pair, day)}
        known = await self._store.known_pairs(list(asked.values())) if asked else set()
        return tuple(recipient for recipient, pair in asked.items() if pair not in known)

"""Terms for held records that have none: those of an earlier format, and those that the relay lists for the postmaster.

What it is: ``Indexing.step``: walks all held records once after the start, then those that came since.
Who calls it: ``housekeeping``.
Must never: hold the store longer than a step; stop at a subject that cannot be opened.
Source: docs/design.md section 6.
"""

from __future__ import annotations

import asyncio

from gateway.keeper.terms import Terms
from gateway.stores.base import Batch, Store
from gateway.stores.reviewed import ReviewBatch
from gateway.vault.vault import Vault, VaultError

STEP = 100
"""Held records that are looked at at once."""
_PAUSE = 0.05


class Indexing:
    """The walk over one store."""

    def __init__(self, store: Store, vault: Vault) -> None:
        self._store = store
        self._vault = vault
        self._terms = Terms(vault)
        self._from = self._next = ""

    async def step(self) -> int:
        """Gives terms to all that lack them. Returns to how many. Raises StoreError."""
        # Ids are made before their commit, so a record may come to lie a little before the end of the last walk: the one before it counts.
        after, self._from = self._from, self._next
        given = 0
        while True:
            lacking, last = await self._store.reviewing.unindexed(after, STEP)
            if lacking:
                briefs = await self._store.reviewing.briefs([hold.message_id for hold in lacking if not hold.sealed])
                rows = []
                for hold in lacking:
                    brief = briefs.get(hold.message_id)
                    rows += self._terms.rows(hold, "" if brief is None else self._subject(hold.message_id, brief.subject))
                await self._store.write(Batch(review=ReviewBatch(terms=rows)))
                given += len(lacking)
            if not last:
                return given
            after = self._next = last
            await asyncio.sleep(_PAUSE)  # mail goes first

    def _subject(self, message_id: str, sealed: bytes) -> str:
        try:
            return self._vault.open_field(message_id, sealed).decode("utf-8", "replace")
        except VaultError:
            return ""

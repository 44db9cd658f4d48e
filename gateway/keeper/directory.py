"""The people in the store, read at most once between two changes.

What it is: ``Directory``: who there is, found by name, system user or e-mail address, and the one way in which people are written.
Who calls it: ``access``, ``entry``, ``account``, ``people`` and ``accounts``.
Must never: answer with what was so before a change that is durable (W13).
Sources: docs/design.md section 2 (one keeper writes the store); hostile-inputs catalogue W13.
"""

from __future__ import annotations

from typing import Protocol

from gateway.stores.base import Batch, UserRow
from gateway.stores.reviewed import Reviewing


class People(Protocol):
    """What is needed of the store here and in the modules for people."""

    @property
    def reviewing(self) -> Reviewing: ...
    async def users(self) -> list[UserRow]: ...
    async def write(self, batch: Batch) -> None: ...


class Directory:
    """The people."""

    def __init__(self, store: People) -> None:
        self._store = store
        self._kept: dict[str, UserRow] | None = None
        self._changes = 0

    async def _people(self) -> dict[str, UserRow]:
        if self._kept is not None:
            return self._kept
        before = self._changes
        found = {row.name: row for row in await self._store.users()}
        if before == self._changes:  # else somebody wrote meanwhile, and this may be what was so before
            self._kept = found
        return found

    async def all(self) -> list[UserRow]:
        """By name. Raises StoreError."""
        return list((await self._people()).values())

    async def find(self, name: str) -> UserRow | None:
        """The person *name*; names are the same in any case of letters. Raises StoreError."""
        people = await self._people()
        folded = name.casefold()
        return people.get(name) or next((row for row in people.values() if row.name.casefold() == folded), None)

    async def by_email(self, address: str) -> UserRow | None:
        """The one person with that address; None where there is none, or more than one. Raises StoreError."""
        folded = address.casefold()
        found = [row for row in await self.all() if folded and row.email.casefold() == folded]
        return found[0] if len(found) == 1 else None

    async def write(self, batch: Batch) -> None:
        """Writes *batch*, which changes people. Raises StoreError."""
        self.forget()
        try:
            await self._store.write(batch)
        finally:
            self.forget()

    def forget(self) -> None:
        """Reads anew at the next question."""
        self._changes += 1
        self._kept = None

"""The vault's key changes while mail flows: new mail under the new key at once, old mail's data keys under it bit by bit.

What it is: ``Rotation``, which takes the keys that lie in their places now, and the background pass that wraps the data keys of
bodies anew and seals fields again, a page at a time. The contents themselves are not touched. Where something needs a key that is not
here (another node has it already), the places are looked at again until it is.
Who calls it: ``service`` starts and stops it; ``custody`` on RotateVault.
Must never: stand in the way of the mail path; change a row that an older key of ours does not open; go on with half a set of keys.
Sources: NIST SP 800-57 part 1 section 5.3 (cryptoperiods); hostile-inputs catalogue O22.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec.structs import replace

from gateway import logs
from gateway.audit import events
from gateway.config import Config
from gateway.stores.base import Batch, StoreError
from gateway.stores.resealing import TABLES, Resealed, SealedBody, SealedFields
from gateway.vault import vault
from gateway.vault.vault import Vault, VaultError

_PAGE = 100
_PAUSE = 0.05
"""Seconds between two pages: 2,000 rows a second at most, each page a few milliseconds of the writer."""
_MOST = 5
"""Passes in a row. Two nodes with different current keys would wrap each other's rows anew for ever."""
_AGAIN = 2.0  # seconds before a pass is followed by the one that shows that nothing is left
_LOOK = 5.0
"""Seconds between two looks whether a key was missed: a file that was put there is taken without a command."""
_REMEMBERED = 1200.0
"""Seconds for which a key counts as lacking after something needed it: longer than a delivery waits for its next turn."""
_SAID = 3600.0  # seconds between two lines of the log about the same key
_log = logs.get("vault")


class Seals(Protocol):
    """What is needed of the store."""

    async def write(self, batch: Batch) -> None: ...
    async def sealed_bodies(self, after: int | str, limit: int) -> list[SealedBody]: ...
    async def sealed_fields(self, after: int | str, limit: int, table: str = "messages") -> list[SealedFields]: ...
    async def reseal(self, resealed: Resealed) -> int: ...
    async def bodies_by_key(self) -> dict[str, int]: ...


class Rotation:
    """Changes *the_vault* in place, so that everybody who seals has the new key."""

    def __init__(self, config: Config, store: Seals, the_vault: Vault, clock: Callable[[], float]) -> None:
        self._config = config
        self._store = store
        self._vault = the_vault
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[int] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._needed: dict[str, float] = {}
        self._said: dict[str, float] = {}
        self.left: Counter[str] = Counter()
        """Key id to the rows that need it and could not be changed, since it is not here; of the last pass."""
        self.resealed = 0

    def start(self) -> None:
        """Says which keys cannot be read, and goes on with a pass that a stop has broken off."""
        for problem in self._vault.problems:
            _log.error(
                "an older vault key cannot be read; what it sealed stays closed, everything else goes on", **{"error.message": problem}
            )
        if len(self._vault.ids) > 1:
            self._run()
        self._looking = asyncio.create_task(self.look_for_lost())
        self._watching = asyncio.create_task(self._watch())

    async def look_for_lost(self) -> int:
        """Says once how many bodies need a vault key that is not here; their deliveries go on hold. Returns how many."""
        try:
            found = await self._store.bodies_by_key()
        except StoreError as error:
            _log.warning("whether a vault key is missing could not be seen", **{"error.message": str(error)})
            return 0
        lost = {key: count for key, count in found.items() if key not in self._vault.ids}
        if lost:
            _log.critical(
                "mail in the store needs a vault key that is not here, and waits for it; put the key back from another node, from your"
                " backup, or from paper with: gateway keys recover",
                **{"gateway.keys": sorted(lost), "gateway.bodies": sum(lost.values())},
            )
        return sum(lost.values())

    async def stop(self) -> None:
        """Ends the pass; the next start goes on with it."""
        for task in (self._task, self._looking, self._watching):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    def _run(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._passes())

    @property
    def under_way(self) -> bool:
        """Whether a pass goes on."""
        return self._task is not None and not self._task.done()

    async def rotate(self, user: str) -> dict[str, object]:
        """Takes the keys as they lie in their places now. The row says what was current and what is. Raises VaultError, StoreError."""
        before = self._vault.current
        found, _ = await asyncio.to_thread(vault.load, self._config)
        if found.current != before:
            if before not in found.ids:
                raise VaultError(
                    f"the current vault key {before} is not among the keys that lie there; keep it as state_dir/keys/vault-{before}.key"
                    " first, or what it sealed is lost"
                )
            # Recorded first: a key is not used that the log does not know.
            event = events.act("vault-key-rotated", self._clock(), user, "", key=found.current, before=before)
            await self._store.write(Batch(audit=[event]))
        self._vault.adopt(found)
        for problem in found.problems:
            _log.error("an older vault key cannot be read", **{"error.message": problem})
        _log.info("the vault's keys were read anew", **{"gateway.key": found.current, "gateway.key_before": before})
        if len(found.ids) > 1:
            self._run()
        return {"key": found.current, "before": before, "keys": sorted(found.ids), "problems": list(found.problems)}

    # --- a key that is not here ---------------------------------------------------------------------------------------

    @property
    def lacking(self) -> frozenset[str]:
        """Ids of the keys that something has needed of late and that are not here."""
        return frozenset(self._needed)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_LOOK)
            await self.look_again(asyncio.get_running_loop().time())

    async def look_again(self, now: float) -> None:
        """Looks for the keys that were missed since the last look, where keys lie. *now*: of a clock that does not jump."""
        missed, self._vault.missed = self._vault.missed, set()
        self._needed |= dict.fromkeys(missed, now)
        if missed - self._vault.ids:
            try:
                found, _ = await asyncio.to_thread(vault.load, self._config)
                if missed & found.ids:
                    await self.rotate("")  # each begins a pass over all rows, so only where there is something new
            except (VaultError, StoreError, OSError) as error:
                _log.error("the vault's keys could not be read anew", **{"error.message": str(error)})
        self._needed = {key: at for key, at in self._needed.items() if key not in self._vault.ids and now < at + _REMEMBERED}
        for key in self._needed:
            if now >= self._said.get(key, float("-inf")) + _SAID:
                self._said[key] = now
                _log.critical(
                    "mail waits for a vault key that is not here: put it into state_dir/keys as vault-next-KEY.key, from another node,"
                    " or back from a backup or from paper (gateway keys recover); it is taken within seconds",
                    **{"gateway.key": key},
                )

    # --- the background pass ------------------------------------------------------------------------------------------

    async def _passes(self) -> None:
        total, changed, rounds = 0, -1, 0
        while changed and rounds < _MOST:
            rounds += changed > 0
            try:
                changed = await self._pass()
            except StoreError as error:
                _log.warning("wrapping old keys anew waits for the store", **{"error.message": str(error)})
                changed = -1
            total += max(changed, 0)
            if changed:
                await asyncio.sleep(_AGAIN)  # what was sealed just before the change and written just after
        if changed:
            _log.error(
                "what was wrapped anew is wrapped otherwise again: another node on this store seals with another vault key; let all seal"
                " with the same: gateway keys rotate-vault --to ID",
                **{"gateway.key": self._vault.current},
            )
        elif total:
            _log.info("all that older keys of ours open is under the current one", **{"gateway.key": self._vault.current, "rows": total})
            event = events.act("vault-key-rewrapped", self._clock(), "", "", key=self._vault.current, rows=total)
            try:
                await self._store.write(Batch(audit=[event]))
            except StoreError as error:
                _log.error("not recorded", **{"error.message": str(error)})
        for key, rows in self.left.items():
            _log.warning("rows need a vault key that is not here", **{"gateway.key": key, "rows": rows})

    async def _pass(self) -> int:
        """Every row once; how many were changed."""
        self.left = Counter()
        changed = 0
        after: int | str = 0
        while page := await self._store.sealed_bodies(after, _PAGE):
            changed += await self._change(Resealed(bodies=self._bodies(page)))
            after = page[-1].place
            await asyncio.sleep(_PAUSE)
        for table in TABLES:
            after = 0
            while fields := await self._store.sealed_fields(after, _PAGE, table):
                changed += await self._change(Resealed(fields=self._fields(fields)))
                after = fields[-1].place
                await asyncio.sleep(_PAUSE)
        return changed

    async def _change(self, resealed: Resealed) -> int:
        if not resealed.bodies and not resealed.fields:
            return 0
        count = await self._store.reseal(resealed)
        self.resealed += count
        return count

    def _bodies(self, page: Sequence[SealedBody]) -> list[tuple[SealedBody, SealedBody]]:
        made = []
        for row in page:
            if row.key_id == self._vault.current or row.key_id in self._vault.ahead:
                continue  # what is ahead of this node's key is not wrapped back
            try:
                key, wrapped = self._vault.rewrap(row.id, row.key_id, row.wrapped_key)
            except VaultError:
                self.left[row.key_id] += 1
            else:
                made.append((row, replace(row, key_id=key, wrapped_key=wrapped)))
        return made

    def _fields(self, page: Sequence[SealedFields]) -> list[tuple[SealedFields, SealedFields]]:
        made = []
        for row in page:
            try:
                new = replace(row, subject=self._field(row.id, row.subject), details=self._field(row.id, row.details))
            except VaultError:
                for sealed in (row.subject, row.details):
                    if name := vault.field_key(sealed):
                        self.left[name] += 1
            else:
                if new != row:
                    made.append((row, new))
        return made

    def _field(self, owner: str, sealed: bytes) -> bytes:
        if vault.field_key(sealed) in ("", self._vault.current, *self._vault.ahead):
            return sealed
        return self._vault.seal_field(owner, self._vault.open_field(owner, sealed))

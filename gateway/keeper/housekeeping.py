"""What the keeper does by itself: signed heads, the exported log, expiry, and room given back.

What it is: a few loops, each of which survives its own failures.
Who calls it: ``service`` starts and stops it.
Must never: stand in the way of the mail path; end held mail or exceptions because the clock jumped.
Sources: design.md section 6; india.md B.5; hostile-inputs catalogue O15, O18, P17.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path as FilePath

import msgspec

from gateway import logs
from gateway.config import Config
from gateway.keeper import audit
from gateway.keeper.exceptions import Register, Wrong
from gateway.keeper.export import Follower, append_synced
from gateway.keeper.quarantine import Quarantine
from gateway.keeper.schedule import Clock, StepDetector
from gateway.keeper.vault import VaultError
from gateway.stores.base import Batch, Conflict, Store, StoreError

HEAD_EVERY = 60.0
EXPORT_EVERY = 0.5
EXPIRE_EVERY = 20.0
COMPACT_EVERY = 300.0
GRACE = 86400.0
"""Seconds during which nothing held expires after the clock has jumped ahead: time for a person to see it."""
_ROWS = 2000
_AT_ONCE = 50
_log = logs.get("housekeeping")


class Housekeeping:
    """The loops. ``start`` once, ``stop`` at the end."""

    def __init__(
        self, config: Config, store: Store, chain: audit.AuditChain, signer: audit.Signer, register: Register, quarantine: Quarantine,
        clock: Clock,
    ) -> None:  # fmt: skip
        self._store = store
        self._chain = chain
        self._signer = signer
        self._register = register
        self._quarantine = quarantine
        self._clock = clock
        self._folder = config.state_dir / "log"
        self._follower = Follower(self._folder, chain.id)
        self._after = -1
        self._signed = 0
        self._steps = StepDetector(clock)
        self._patience_until = 0.0
        self._tasks: list[asyncio.Task[None]] = []
        self.exported = 0

    @property
    def heads_file(self) -> FilePath:
        """Where signed heads are kept outside of the store."""
        return self._folder / "audit-heads.jsonl"

    def start(self) -> None:
        """Starts the loops."""
        work: tuple[tuple[str, float, Callable[[], Awaitable[object]]], ...] = (
            ("signed heads", HEAD_EVERY, self.sign_head),
            ("export of the decision log", EXPORT_EVERY, self.export),
            ("expiry", EXPIRE_EVERY, self.expire),
            ("compacting", COMPACT_EVERY, self._compact),
        )
        self._tasks = [asyncio.create_task(self._loop(name, every, do)) for name, every, do in work]
        self._tasks.append(asyncio.create_task(self._loop("expiry of exceptions", 0.0, self._expire_exceptions)))

    async def stop(self) -> None:
        """Ends the loops; exports what is left and signs a last head."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for work in (self.export, self.sign_head):
            try:
                async with asyncio.timeout(5):
                    await work()
            except (StoreError, OSError, TimeoutError) as error:
                _log.warning("not finished at the stop", **{"error.message": str(error)})

    async def _loop(self, name: str, every: float, work: Callable[[], Awaitable[object]]) -> None:
        failures = 0
        while True:
            try:
                await work()
                failures = 0
            except (StoreError, OSError, VaultError, Conflict, Wrong) as error:
                failures += 1
                if failures in (1, 10, 100) or failures % 1000 == 0:
                    _log.error(f"{name} failed", **{"error.message": str(error), "gateway.failures": failures})
                await asyncio.sleep(min(5.0, 0.5 * failures))
            except Exception:
                failures += 1
                _log.exception(f"{name} failed")
                await asyncio.sleep(5)
            await asyncio.sleep(every)

    # --- the log ------------------------------------------------------------------------------------------------------

    async def sign_head(self) -> bool:
        """Signs the head when it has moved: in the store, in a file beside it, and in the ordinary log (the journal)."""
        seq, digest = self._chain.head
        if seq == self._signed or not seq:
            return False
        head = self._signer.head(self._chain.id, seq, digest, self._clock.time())
        await self._store.write(Batch(heads=[head]))
        await asyncio.to_thread(append_synced, self.heads_file, msgspec.json.encode(head))
        self._signed = seq
        _log.info(
            "audit head",
            **{
                "gateway.chain": head.chain, "gateway.seq": head.seq, "event.hash": head.hash, "gateway.signature": head.signature,
                "gateway.key": head.key_id, "gateway.signed_at": head.created,
            },
        )  # fmt: skip
        return True

    async def export(self) -> int:
        """Copies new rows to the file. Returns how many."""
        if self._after < 0:
            self._after = await asyncio.to_thread(self._follower.start)
        copied = 0
        # Up to where the chain stands now: under load new rows never cease, and copying a few at a time costs most of a core.
        upto = self._chain.head[0]
        while self._after < upto:
            rows = await self._store.audit_rows(chain=self._chain.id, after=self._after, limit=_ROWS)
            if not rows:
                break
            try:
                self._after = await asyncio.to_thread(self._follower.copy, rows)
            except OSError:
                self._after = -1
                raise
            copied += len(rows)
        self.exported += copied
        return copied

    # --- expiry -------------------------------------------------------------------------------------------------------

    async def expire(self) -> int:
        """Ends held mail whose deadline has passed. Returns how many."""
        step = self._steps.stepped()
        if step:
            _log.warning("the wall clock has stepped", seconds=round(step))
        if step > 0:
            self._patience_until = self._clock.monotonic() + GRACE
        if self._clock.monotonic() < self._patience_until:
            return 0
        over = await self._store.expired_holds(self._clock.time(), _AT_ONCE)
        for hold in over:
            await self._quarantine.expire(hold)
        return len(over)

    async def _compact(self) -> None:
        given = await self._store.compact()
        while given:
            await asyncio.sleep(0.2)  # mail goes first
            given = await self._store.compact()

    async def _expire_exceptions(self) -> None:
        await self._register.expire()
        await asyncio.sleep(max(0.05, min(1.0, self._register.first_end - self._clock.time())))

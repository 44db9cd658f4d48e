"""What the keeper does by itself: signed heads, the exported log, expiry, and room given back.

What it is: a few loops, each of which survives its own failures: heads, export, expiry, retention, summaries for contacts.
Who calls it: ``service`` starts and stops it.
Must never: stand in the way of the mail path; end held mail, or remove anything for its age, because the clock jumped.
Sources: docs/design.md section 6; CERT-In Directions of 28 April 2022; hostile-inputs catalogue O15, O18, P17.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path as FilePath
from typing import Any

import msgspec

from gateway import logs
from gateway.audit import audit
from gateway.audit.export import Follower, append_synced
from gateway.config import Config
from gateway.keeper.act import Deliverer
from gateway.keeper.exceptions import Register, Wrong
from gateway.keeper.notify import Notifier
from gateway.keeper.quarantine import Quarantine
from gateway.keeper.retention import Retention
from gateway.relay.schedule import Clock, StepDetector
from gateway.stores.base import Batch, Conflict, Store, StoreError
from gateway.vault.vault import VaultError

HEAD_EVERY = 60.0
EXPORT_EVERY = 0.5
EXPIRE_EVERY = 20.0
COMPACT_EVERY = 300.0
PURGE_EVERY = 6 * 3600.0
PURGE_FIRST = 3600.0
"""Seconds from the start to the first removal by age: time for a wrong clock to be set, and for the step to be seen."""
PURGE_AT_ONCE = 60.0
"""Seconds that a removal which a person asked for may take; the loop does the rest."""
SUMMARIES_EVERY = 60.0
COUNT_EVERY = 20.0
INDEX_EVERY = 60.0
DIGESTS_EVERY = 60.0
GRACE = 86400.0
"""Seconds during which nothing held expires, and nothing is removed for its age, after the clock has jumped ahead, or at a start has
been ahead of the decision log by as much: time for a person to see it."""
_ROWS = 2000
_AT_ONCE = 50
_log = logs.get("housekeeping")


class Housekeeping:
    """The loops. ``start`` once, ``stop`` at the end."""

    def __init__(
        self, config: Config, store: Store, chain: audit.AuditChain, signer: audit.Signer, register: Register, quarantine: Quarantine,
        clock: Clock, notifier: Notifier, relay: Deliverer,
    ) -> None:  # fmt: skip
        self._store = store
        self._chain = chain
        self._signer = signer
        self._register = register
        self._quarantine = quarantine
        self._clock = clock
        self._notifier = notifier
        self._relay = relay
        self._folder = config.state_dir / "log"
        self._retention = Retention(config, store, chain, signer, clock, self._folder, self.heads_file)
        self._purging = asyncio.Lock()
        self._follower = Follower(self._folder, chain.id)
        self._after = self._copied = -1
        self._signed = 0
        self._signed_at = 0.0
        self._steps = StepDetector(clock)
        self._patience_until = 0.0
        self._more: list[tuple[str, float, Callable[[], Awaitable[object]]]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.exported = 0

    @property
    def heads_file(self) -> FilePath:
        """Where signed heads are kept outside of the store."""
        return self._folder / "audit-heads.jsonl"

    @property
    def signed(self) -> tuple[int, float]:
        """The last row under a signed head, and when it was signed (seconds since the epoch); 0 before the first."""
        return self._signed, self._signed_at

    @property
    def lag(self) -> int:
        """Rows of the decision log that are not in the exported file yet; 0 before the file was looked at."""
        if self._after >= 0:
            self._copied = self._after
        return 0 if self._copied < 0 else max(0, self._chain.head[0] - self._copied)

    def hold_clock_against(self, last: float) -> None:
        """At the start: *last* is when the decision log was last written (seconds since the epoch). A clock that is more than a day
        ahead of it may have been wrong since the machine started, which no step shows."""
        ahead = self._clock.time() - last
        if ahead > GRACE:
            _log.warning("the decision log was last written long ago; nothing is removed for its age for a day", seconds=round(ahead))
            self._patience_until = self._clock.monotonic() + GRACE

    def also(self, name: str, every: float, work: Callable[[], Awaitable[object]], *, by_clock: bool = False) -> None:
        """Before ``start``: one loop more, every so many seconds; *by_clock*: only while the wall clock is trusted."""

        async def trusted() -> None:
            if self._clock_is_trusted():
                await work()

        self._more.append((name, every, trusted if by_clock else work))

    def start(self) -> None:
        """Starts the loops."""
        work: tuple[tuple[str, float, Callable[[], Awaitable[object]]], ...] = (
            ("signed heads", HEAD_EVERY, self.sign_head),
            ("export of the decision log", EXPORT_EVERY, self.export),
            ("expiry", EXPIRE_EVERY, self.expire),
            ("compacting", COMPACT_EVERY, self._compact),
            ("notices to contacts", SUMMARIES_EVERY, self.tell),
            *self._more,
        )
        self._tasks = [asyncio.create_task(self._loop(name, every, do)) for name, every, do in work]
        self._tasks.append(asyncio.create_task(self._loop("expiry of exceptions", 0.0, self._expire_exceptions)))
        self._tasks.append(asyncio.create_task(self._loop("removal by age", PURGE_EVERY, self.purge, PURGE_FIRST)))

    async def stop(self) -> None:
        """Ends the loops; exports what is left and signs a last head."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for work in (self._tell_all, self.export, self.sign_head):
            try:
                async with asyncio.timeout(5):
                    await work()
            except (StoreError, OSError, TimeoutError) as error:
                _log.warning("not finished at the stop", **{"error.message": str(error)})

    async def _loop(self, name: str, every: float, work: Callable[[], Awaitable[object]], first: float = 0.0) -> None:
        failures = 0
        await asyncio.sleep(first)
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
        async with self._retention.heads_lock:
            await asyncio.to_thread(append_synced, self.heads_file, msgspec.json.encode(head))
        self._signed, self._signed_at = seq, head.created
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
        if not self._clock_is_trusted():
            return 0
        async with self._store.alone("expiry") as given:
            over = await self._store.expired_holds(self._clock.time(), _AT_ONCE) if given else []
            for hold in over:
                await self._quarantine.expire(hold)
        return len(over)

    def _clock_is_trusted(self) -> bool:
        step = self._steps.stepped()
        if step:
            _log.warning("the wall clock has stepped", seconds=round(step))
        if step > 0:
            self._patience_until = self._clock.monotonic() + GRACE
        return self._clock.monotonic() >= self._patience_until

    # --- retention and notices ----------------------------------------------------------------------------------------

    async def purge(self, user: str = "") -> dict[str, Any]:
        """Removes what is past its retention, for *user* or by the clock. Returns how much. Raises Wrong, StoreError, OSError."""
        if not self._clock_is_trusted():
            raise Wrong(
                "the clock has jumped ahead, or was far ahead of the decision log at the start, less than a day ago; nothing is removed"
                " for its age until somebody could see it", 1,
            )  # fmt: skip
        if self._purging.locked():
            raise Wrong("old records are being removed already; look again in a while", 1)
        async with self._purging, self._store.alone("removal by age") as given:
            if not given and not user:
                return {}
            if not given:
                raise Wrong("another node is removing old records already; look again in a while", 1)
            await self.export()
            await self.sign_head()
            # The row of the last signed head stays: a start holds the store against it.
            upto = max(0, min(self._after, self._signed - 1))
            return await self._retention.run(upto, user, PURGE_AT_ONCE if user else float("inf"))

    async def tell(self, *, all: bool = False) -> int:
        """Sends the contacts the summaries that are due (with *all*: every one). Returns how many."""
        told = self._notifier.summaries(self._relay.incarnation, all=all)
        if told.reports:
            await self._store.write(
                Batch(
                    bodies=[report.body for report in told.reports],
                    messages=[report.message for report in told.reports],
                    deliveries=[report.delivery for report in told.reports],
                    audit=told.audit,
                )
            )
            self._notifier.forget(told)
            for report in told.reports:
                self._relay.offer([report.delivery], report.content)
        return len(told.reports)

    async def _tell_all(self) -> None:
        await self.tell(all=True)

    async def _compact(self) -> None:
        given = await self._store.compact()
        while given:
            await asyncio.sleep(0.2)  # mail goes first
            given = await self._store.compact()

    async def _expire_exceptions(self) -> None:
        if self._register.first_end <= self._clock.time():
            async with self._store.alone("expiry of exceptions") as given:
                if given:
                    await self._register.agree()
                    await self._register.expire()
        await asyncio.sleep(max(0.05, min(1.0, self._register.first_end - self._clock.time())))

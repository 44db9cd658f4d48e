"""Removing what is past its retention: old decisions, finished messages, correspondents, threads, ended entries, journal
copies, old log files.

What it is: ``Retention.run``: bounded steps with pauses between them, so that mail goes first; each step leaves a whole store behind.
Who calls it: ``housekeeping``, by the clock and for ``gateway audit purge``.
Must never: remove a decision younger than ``retention.audit``, one that was not exported yet, or one out of the middle of a chain;
remove rows without a signed closing head and an event that says so; hold the store longer than a step.
Sources: docs/design.md section 6; the CERT-In directions of 2022 (180 days of logs).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path as FilePath
from typing import Any

from gateway import logs
from gateway.audit import audit, events, export
from gateway.config import Config
from gateway.keeper.correspondents import DAY
from gateway.relay.schedule import Clock
from gateway.stores.base import Batch, Store

AUDIT_STEP = 250
MESSAGE_STEP = 100
PAIR_STEP = 1000
COPY_STEP = 50
"""Rows of one step: each is some milliseconds of the store's writer."""
_AGES = 2000
_LEAST_PAUSE = 0.02
_log = logs.get("retention")


class Retention:
    """What goes, by the config's ``[retention]``. *folder* is that of the log files."""

    def __init__(
        self, config: Config, store: Store, chain: audit.AuditChain, signer: audit.Signer, clock: Clock, folder: FilePath, heads: FilePath
    ) -> None:
        self._keep = config.retention
        self._store = store
        self._chain = chain
        self._signer = signer
        self._clock = clock
        self._folder = folder
        self._heads = heads
        self._heads_lock = asyncio.Lock()
        self._end = float("inf")

    @property
    def heads_lock(self) -> asyncio.Lock:
        """Held while the file of signed heads is written anew; whoever appends to it holds it too."""
        return self._heads_lock

    async def run(self, upto: int, user: str = "", seconds: float = float("inf")) -> dict[str, Any]:
        """Removes what is past its retention; of our own chain nothing after row *upto*. Stops after *seconds* with a whole store.
        Returns how much went, and whether all of it. Raises StoreError, OSError."""
        now = self._clock.time()
        self._end = self._clock.monotonic() + seconds
        out: dict[str, Any] = {"audit": await self._audit(now, upto, user)}
        out["messages"] = await self._messages(now - self._keep.messages)
        out["correspondents"] = await self._correspondents(int((now - self._keep.correspondents) // DAY))
        threads = int((now - self._keep.threads) // DAY)
        out["threads"] = await self._repeated(lambda: self._store.drop_threads(threads, PAIR_STEP))
        out["entries"] = await self._repeated(lambda: self._store.drop_ended(now - self._keep.audit, PAIR_STEP))
        out["counts"] = await self._repeated(lambda: self._store.drop_reviewed(now - self._keep.audit, PAIR_STEP))
        out["copies"] = await self._repeated(lambda: self._store.drop_journal(now, COPY_STEP))
        out["files"] = await asyncio.to_thread(export.forget, self._folder, now - self._keep.audit)
        if any(out.values()):
            act = events.act("retention-applied", now, user, "", kind="deletion", **out)
            await self._store.write(Batch(audit=[act]))
            _log.info("what is past its retention was removed", **{f"gateway.removed.{name}": count for name, count in out.items()})
        return out | {"finished": not self._late()}

    def _late(self) -> bool:
        return self._clock.monotonic() >= self._end

    async def _pause(self, begun: float) -> None:
        """As long as the step took: the store is ours half of the time at most."""
        await asyncio.sleep(max(_LEAST_PAUSE, self._clock.monotonic() - begun))

    # --- the decision log ---------------------------------------------------------------------------------------------

    async def _audit(self, now: float, upto: int, user: str) -> int:
        gone = 0
        for chain in await self._store.audit_chains():
            if self._late():
                break
            head = await self._store.audit_head(chain)
            if head is not None:
                # The last row of a chain stays, whoever wrote it: from there it goes on.
                gone += await self._close(chain, now, min(upto, head.seq - 1) if chain == self._chain.id else head.seq - 1, user)
        if gone:
            closed = {closing.chain: closing.seq for closing in await self._store.closings()}
            async with self._heads_lock:
                await asyncio.to_thread(export.keep_heads, self._heads, closed)
        return gone

    async def _close(self, chain: str, now: float, upto: int, user: str) -> int:
        """Removes the old beginning of *chain*, nothing after row *upto*."""
        before = now - self._keep.audit
        steps = await self._old(chain, before, upto)
        if not steps:
            return 0
        last, digest, count = steps[-1][0], steps[-1][1], sum(step[2] for step in steps)
        # Said first: whatever ends the work in between, no row goes unannounced.
        act = events.act(
            "audit-purged", now, user, "", kind="deletion", chain=chain, last=last, hash=digest, rows=count, before=int(before)
        )
        await self._store.write(Batch(audit=[act]))
        gone = 0
        for seq, row_hash, _ in steps:
            begun = self._clock.monotonic()
            gone += await self._store.drop_audit(self._signer.closing(chain, seq, row_hash, now), AUDIT_STEP)
            if self._late():
                break
            await self._pause(begun)
        return gone

    async def _old(self, chain: str, before: float, upto: int) -> list[tuple[int, str, int]]:
        """Number and hash of the last row of each step, and its rows: from the chain's start to the first row that stays, whatever
        the clock said when later ones were written."""
        steps: list[tuple[int, str, int]] = []
        after, count, last = 0, 0, (0, "")
        while True:
            ages = await self._store.audit_ages(chain, after, _AGES)
            for seq, created, row_hash in ages:
                if created >= before or seq > upto:
                    return [*steps, (*last, count)] if count else steps
                last, count = (seq, row_hash), count + 1
                if count == AUDIT_STEP:
                    steps.append((*last, count))
                    count = 0
            if len(ages) < _AGES:
                return [*steps, (*last, count)] if count else steps
            after = ages[-1][0]
            await asyncio.sleep(0)

    # --- the rest -----------------------------------------------------------------------------------------------------

    async def _messages(self, before: float) -> int:
        gone, after = 0, ""
        while not self._late():
            begun = self._clock.monotonic()
            count, after = await self._store.drop_messages(before, after, MESSAGE_STEP)
            gone += count
            if not after:
                break
            await self._pause(begun)
        return gone

    async def _correspondents(self, day: int) -> int:
        return await self._repeated(lambda: self._store.drop_correspondents(day, PAIR_STEP))

    async def _repeated(self, step: Callable[[], Awaitable[int]]) -> int:
        gone = 0
        while not self._late():
            begun = self._clock.monotonic()
            count = await step()
            gone += count
            if not count:
                break
            await self._pause(begun)
        return gone

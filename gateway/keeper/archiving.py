"""Filing: takes journal copies that wait to their archive, tries again, and gives none up.

What it is: ``Filing``: one lane an archive mailbox, each with one session and a thread; start and bounded stop.
Who calls it: ``service`` starts and stops it; the ``Journal`` wakes it; ``metrics`` counts what it did.
Must never: stand in the way of mail; call a copy filed that the archive has not confirmed; hand one over again without having looked
for it, where the archive may have it already.

How one copy stays one. A copy is marked ``filing`` in the store before it is handed over, and ``filed`` after the archive's answer. A
keeper that is killed in between, or a connection that breaks before the answer, leaves ``filing``: then the mailbox is searched for
the reference in our field, and only what is not there, octet for octet, is filed again. Between the break and the search lie at least
``SETTLE`` seconds, in which a server that had the whole message stores it. What is left: a server that takes longer than that, or
whose search does not yet see what it has stored, gets a double, which ``gateway archive verify`` names.

Sources: Gujarat Circular of 2018, clause 2; RFC 9051 section 6.3.12; hostile-inputs catalogue O05, O09.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from msgspec.structs import replace

from gateway import logs
from gateway.config import Archive, Config
from gateway.counting import Counts
from gateway.keeper import archive
from gateway.keeper.archive import Journal
from gateway.message import edits
from gateway.relay.imap_limits import ANSWER, CONNECT
from gateway.relay.mailbox import Found, Mailbox, MailboxError, Place
from gateway.relay.schedule import Clock, Schedule
from gateway.stores.base import Batch, BodyRow, Store, StoreError
from gateway.stores.journal import CopyState, JournalRow, JournalUpdate
from gateway.vault.vault import VaultError

SETTLE = 15.0
"""Seconds from a break to the search, at least."""
LATE = 86400.0
"""Seconds after which a copy that waits is an alarm."""
_BATCH = 20  # copies that are marked at once
_GATHER = 0.2  # seconds in which copies come together
_IDLE = 30.0  # seconds after which a session without work is closed
_LOOK = 60.0
_TURN = 5.0  # seconds after which a node asks again whether it may file
_PATIENCE = 5  # messages that are refused one after the other until the lane pauses
_SLOWEST = 50_000  # octets a second that an archive takes at least
_SAY_EVERY = 3600.0
_T = TypeVar("_T")
_log = logs.get("archive")


class Opener(Protocol):
    """What is needed of the vault here."""

    def open(self, row: BodyRow) -> bytes: ...


class Box(Protocol):
    """What is needed of ``Mailbox`` here."""

    uidvalidity: int

    def open(self, *, readonly: bool = False) -> None: ...
    def append(self, content: bytes) -> tuple[int, int]: ...
    def look_for(self, field: str, value: str, sha256: str) -> Found | None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...


@dataclass(slots=True)
class _Lane:
    archive: Archive
    box: Box | None = None
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    failures: int = 0
    """Rounds one after the other in which the archive could not be used."""
    refused: int = 0
    mine: set[str] = field(default_factory=set)
    """Copies whose filing this keeper does not know the end of, or has waited for as another's."""
    said: float = float("-inf")


class Filing:
    """Files for the archives of *config* that are mailboxes. Made inside the running loop."""

    def __init__(
        self, config: Config, store: Store, vault: Opener, journal: Journal, clock: Clock, counts: Counts,
        box: Callable[[Archive], Box] = lambda archive: Mailbox(Place.of(archive)),
    ) -> None:  # fmt: skip
        self._store = store
        self._vault = vault
        self._clock = clock
        self._counts = counts
        self._box = box
        self._schedule = Schedule(config.limits, protected=False)
        self._longest = config.limits.retry_max
        self._shared = config.store.shared
        self._holds_without_copies = config.holds_without_copies
        self._lanes = [_Lane(one) for one in config.archive if one.kind == "imap"]
        self._threads = ThreadPoolExecutor(len(self._lanes) + 2, thread_name_prefix="archive")
        self._tasks: list[asyncio.Task[None]] = []
        self._loop = asyncio.get_running_loop()
        journal.wake = self.wake

    # --- life ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begins to file."""
        if self._holds_without_copies:
            _log.warning('mail that the MTA holds gets no journal copy when it is let go there: relay.milter_hold = "mta"')
        self._tasks = [self._loop.create_task(self._run(lane)) for lane in self._lanes]

    async def stop(self) -> None:
        """Ends at once: what was handed over without an answer is looked for at the next start."""
        for task in self._tasks:
            task.cancel()
        for lane in self._lanes:
            if lane.box is not None:
                lane.box.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)

    def wake(self) -> None:
        """Something may be due now."""
        for lane in self._lanes:
            lane.wake.set()

    @property
    def names(self) -> tuple[str, ...]:
        """The archives that are mailboxes."""
        return tuple(lane.archive.name for lane in self._lanes)

    # --- one archive --------------------------------------------------------------------------------------------------

    async def _run(self, lane: _Lane) -> None:
        settled = False
        while True:
            lane.wake.clear()
            try:
                # Of all nodes one files for an archive at a time. What another one handed over without an answer is settled first.
                async with self._store.alone(f"archive {lane.archive.name}") as given:
                    if given:
                        if not settled:
                            await self._settle(lane)
                            settled = not self._shared
                        pause = await self._round(lane)
                    else:
                        pause = _TURN
                        await self._leave(lane)
            except StoreError as error:
                _log.error("journal copies cannot be read or recorded", archive=lane.archive.name, **{"error.message": str(error)})
                pause = 5.0
            except Exception:
                _log.exception("filing failed", archive=lane.archive.name)
                pause = 30.0
                await self._leave(lane)
            await self._wait(lane, pause)

    async def _wait(self, lane: _Lane, pause: float) -> None:
        """Until something is due; an archive that is away is left alone for its time, whatever comes meanwhile."""
        if lane.failures:
            quiet = min(pause, self._pause(lane))
            await asyncio.sleep(quiet)
            pause -= quiet
        for part in (min(pause, _IDLE), pause - _IDLE):
            if part <= 0:
                return
            try:
                async with asyncio.timeout(part):
                    await lane.wake.wait()
            except TimeoutError:
                await self._leave(lane)
            else:
                await asyncio.sleep(_GATHER)
                return

    async def _settle(self, lane: _Lane) -> None:
        """What another keeper, or an earlier one, handed over without an answer is looked for, but not before the archive had time."""
        now = self._clock.time()
        while True:
            due = await self._store.journal.due(lane.archive.name, now, 500)
            found = [row for row in due if row.state is CopyState.FILING and row.id not in lane.mine]
            if not found:
                return
            lane.mine.update(row.id for row in found)
            changes = [JournalUpdate(row.id, CopyState.FILING, next_attempt=now + SETTLE) for row in found]
            await self._store.write(Batch(journal_updates=changes))

    async def _round(self, lane: _Lane) -> float:
        """Files what is due. Returns the seconds until there may be more."""
        name, now = lane.archive.name, self._clock.time()
        rows = await self._store.journal.due(name, now, _BATCH)
        if not rows:
            due = await self._store.journal.next_due(name)
            return _LOOK if due is None else min(_LOOK, max(0.05, due - now))
        if lane.box is None and not await self._enter(lane):
            return self._pause(lane)
        fresh = [JournalUpdate(row.id, CopyState.FILING) for row in rows if row.state is CopyState.WAITING]
        if fresh:
            await self._store.write(Batch(journal_updates=fresh))
        done: list[JournalUpdate] = []
        filed: list[JournalRow] = []
        try:
            for row in rows:
                if lane.box is None:
                    break
                change = await self._file(lane, row)
                done.append(change)
                if change.state is CopyState.FILED:
                    filed.append(row)
        finally:
            # A stop comes here too. What is filed is recorded; the one that was handed over meanwhile stays marked.
            await asyncio.shield(self._record(done, filed))
        # Those that were not tried are as they were.
        tried = {change.id for change in done}
        rest = [JournalUpdate(row.id, row.state) for row in rows if row.id not in tried]
        if rest:
            await self._store.write(Batch(journal_updates=rest))
        return self._pause(lane) if lane.failures else 0.0

    async def _record(self, done: Sequence[JournalUpdate], filed: Sequence[JournalRow]) -> None:
        if not done:
            return
        by_id, now = {change.id: change for change in done}, self._clock.time()
        audit = [archive.event(_after(row, by_id[row.id]), now) for row in filed]
        await self._store.write(Batch(journal_updates=done, audit=audit))

    def _pause(self, lane: _Lane) -> float:
        return self._schedule.wait(min(max(0, lane.failures - 1), 40))

    async def _enter(self, lane: _Lane) -> bool:
        """Opens a session. Returns whether there is one."""
        box = self._box(lane.archive)
        try:
            await self._within(box, 2 * CONNECT + ANSWER, box.open)
        except MailboxError as error:
            await self._closed(box)
            self._failed(lane, str(error))
            return False
        lane.box = box
        if lane.failures:
            _log.info("the archive takes journal copies again", archive=lane.archive.name)
        lane.failures = lane.refused = 0
        return True

    def _failed(self, lane: _Lane, why: str) -> None:
        lane.failures += 1
        self._counts.add("gateway_archive_copies_total", lane.archive.name, "failed")
        if self._clock.monotonic() - lane.said >= _SAY_EVERY or lane.failures == 1:
            lane.said = self._clock.monotonic()
            _log.error("the archive cannot be used now; its journal copies wait", archive=lane.archive.name, cause=why)

    async def _leave(self, lane: _Lane) -> None:
        box, lane.box = lane.box, None
        if box is not None:
            await self._closed(box)

    async def _closed(self, box: Box) -> None:
        try:
            await self._within(box, 5.0, box.close)
        except MailboxError:
            box.abort()

    # --- one copy -----------------------------------------------------------------------------------------------------

    async def _file(self, lane: _Lane, row: JournalRow) -> JournalUpdate:
        """What became of *row*."""
        box = lane.box
        assert box is not None
        limit = 2 * ANSWER + row.size / _SLOWEST
        try:
            content, sha256 = await self._octets(row)
        except (VaultError, ValueError) as error:
            _log.critical("a journal copy cannot be made", archive=row.name, reference=row.reference, cause=str(error))
            self._counts.add("gateway_archive_copies_total", row.name, "failed")
            return self._later(row, row.state, str(error), self._longest)
        try:
            found = None
            if row.state is CopyState.FILING:
                found = await self._within(box, limit, lambda: box.look_for(archive.FIELD, row.reference, sha256))
            where = (box.uidvalidity, found.uid) if found else await self._within(box, limit, lambda: box.append(content), doubtful=True)
        except MailboxError as error:
            state = CopyState.FILING if error.doubtful or row.state is CopyState.FILING else CopyState.WAITING
            if state is CopyState.FILING:
                lane.mine.add(row.id)
            lane.refused += 1
            if error.away or lane.refused >= _PATIENCE:
                await self._leave(lane)
                self._failed(lane, str(error))
            else:
                self._counts.add("gateway_archive_copies_total", row.name, "failed")
                _log.warning("a journal copy was not filed", archive=row.name, reference=row.reference, cause=str(error))
            return self._later(row, state, str(error), max(SETTLE, self._schedule.wait(row.attempts)))
        lane.refused = 0
        lane.mine.discard(row.id)
        self._counts.add("gateway_archive_copies_total", row.name, "filed")
        return JournalUpdate(
            row.id, CopyState.FILED, attempts=row.attempts + 1, last_reply="", filed=self._clock.time(), filed_sha256=sha256,
            filed_size=len(content), uidvalidity=where[0], uid=where[1],
        )  # fmt: skip

    def _later(self, row: JournalRow, state: CopyState, why: str, pause: float) -> JournalUpdate:
        return JournalUpdate(
            row.id, state, attempts=row.attempts + 1, next_attempt=self._clock.time() + min(pause, max(self._longest, SETTLE)),
            last_reply=why,
        )  # fmt: skip

    async def _octets(self, row: JournalRow) -> tuple[bytes, str]:
        """What is filed, and its hash. Raises VaultError, ValueError, StoreError."""
        body = await self._store.body(row.body_id)
        if body is None:
            raise ValueError("the message's content is not in the store any more")
        if body.sha256 != row.sha256:
            raise ValueError("the content is not that of the message")

        def made() -> tuple[bytes, str]:
            content = edits.apply(row.edits, self._vault.open(body))
            return content, hashlib.sha256(content).hexdigest()

        return await self._loop.run_in_executor(self._threads, made)

    async def _within(self, box: Box, seconds: float, work: Callable[[], _T], *, doubtful: bool = False) -> _T:
        """*work* in a thread, ended after *seconds*. Raises MailboxError."""
        future = self._loop.run_in_executor(self._threads, work)
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(future)
        except TimeoutError as error:
            box.abort()
            future.add_done_callback(_looked_at)
            raise MailboxError(f"the archive gave no answer within {seconds:.0f} seconds", doubtful=doubtful, away=True) from error
        except asyncio.CancelledError:
            box.abort()
            future.add_done_callback(_looked_at)
            raise


def _looked_at(future: asyncio.Future[Any]) -> None:
    """Its error was expected: the session was ended under it."""
    if not future.cancelled():
        future.exception()


def _after(row: JournalRow, change: JournalUpdate) -> JournalRow:
    return replace(row, filed_sha256=change.filed_sha256 or "", filed_size=change.filed_size or 0)

"""The relay: takes accepted deliveries to their next hop, tries again, and says so when it cannot.

What it is: lanes (one a next hop) with a queue of jobs, workers, a pool of connections and breakers; the scheduler that leases due
deliveries from the store; start and bounded stop.
Who calls it: ``service`` starts and stops it; ``act`` offers what was just committed; whoever schedules a delivery wakes it.
Must never: send what it has not leased; forget a lease; try ten thousand deliveries one by one against a dead hop.
Sources: docs/design.md section 4; RFC 5321 section 4.5.4; hostile-inputs catalogue O04 to O09, O12, O13, O15, O19, P22.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Coroutine, Sequence

from gateway import logs
from gateway.config import Config
from gateway.counting import Counts
from gateway.envelope import new_id
from gateway.relay.hop_protocol import Fault, HopError, temporary
from gateway.relay.hop_tls import Contexts
from gateway.relay.jobs import BIG, Contents, Damaged, Job, Opener, Prepared, Unopened, fetched, grouped, header_of, prepare
from gateway.relay.lanes import Lane
from gateway.relay.leases import Leases
from gateway.relay.notices import Notices, Report
from gateway.relay.outcomes import Attempt, Outcomes, Record
from gateway.relay.pool import Pool
from gateway.relay.recorder import Recorder
from gateway.relay.routes import NextHop, OwnAddresses, Resolver, Routes
from gateway.relay.schedule import Clock, StepDetector
from gateway.relay.signing import Signer
from gateway.reply import Reply
from gateway.stores.base import DeliveryRow, DeliveryState, DeliveryUpdate, Store, StoreError
from gateway.wire.smtp_client import UnsafeCommand

QUEUE = 20_000
"""Deliveries in memory; what is offered beyond goes back to the store's schedule."""
_LEASE = 500  # deliveries leased from the store at once
_LOW = 1_000  # deliveries in memory under which more are leased
_LOOK = 60.0  # seconds after which the scheduler looks at the clocks and the store at the latest
_SWEEP = 300.0  # seconds between looks for deliveries that nobody offered

_NO_ROUTE = temporary("4.4.4", "No route leads to the recipient's domain; the gateway's config names none")
_UNSAFE = Reply(553, "5.1.3", "The address holds characters that may not stand in a command")

LEASED = (DeliveryState.LEASED,)
_log = logs.get("relay")


class Relay:
    """Delivers. Made inside the running loop; ``incarnation`` is what leases name."""

    def __init__(
        self, config: Config, store: Store, vault: Opener, signer: Signer, notices: Notices, clock: Clock = time,
        counts: Counts | None = None,
    ) -> None:  # fmt: skip
        self.incarnation = new_id()
        self.outcomes = Outcomes(config, notices, clock, self.incarnation)
        self.recorder = Recorder(store, self._report_written)
        self.routes = Routes(config)
        self.resolver = Resolver(OwnAddresses.of(config), config.limits.relay_connect)
        self.contexts = Contexts()
        self._config = config
        self._store = store
        self._vault = vault
        self._signer = signer
        self._clock = clock
        self._steps = StepDetector(clock)
        self._leases = Leases(store, clock, self.incarnation, config.limits.retry_max)
        self._contents = Contents(config.limits.max_inflight)
        self.lanes: dict[NextHop, Lane] = {}
        """By next hop; made at its first use."""
        self._counts = counts or Counts()
        self._tried = self._counts.timing("gateway_delivery_attempt_seconds")
        self._took = self._counts.timing("gateway_delivery_seconds")
        self._queued = 0
        self._mine: set[str] = set()
        self._full = False
        self._wake = asyncio.Event()
        self._stopping = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._delivering: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()

    # --- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Takes over what an earlier keeper had leased, and begins. Raises StoreError."""
        released = await self._leases.begin()
        if released:
            _log.info("deliveries of an earlier keeper are scheduled again", deliveries=released)
        await self._leases.bring_near()
        self.recorder.start()
        self._spawn(self._leases.live(self._lose, self.wake), self._tasks)
        self._spawn(self._schedule(), self._tasks)

    async def stop(self) -> None:
        """Lets running transactions end for ``limits.drain`` seconds, then drops them; what was not tried goes back to the store."""
        self._stopping = True
        self._wake.set()
        end = self._loop.time() + self._config.limits.drain
        if self._delivering:
            await asyncio.wait(set(self._delivering), timeout=self._config.limits.drain)
        for lane in self.lanes.values():
            lane.pool.close()
        tasks = self._tasks | self._delivering
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        rows = [row for lane in self.lanes.values() for job in lane.jobs for row in job.rows]
        self._give_back(rows)
        if not await self.recorder.flushed(max(1.0, end - self._loop.time())):
            _log.error("results of deliveries are not written; those messages may be sent twice", records=self.recorder.backlog)
        await self.recorder.stop()

    def _spawn(self, work: Coroutine[object, object, None], tasks: set[asyncio.Task[None]]) -> None:
        task = self._loop.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def now(self) -> float:
        """Seconds since the epoch, by the relay's clock."""
        return self._clock.time()

    @property
    def queued(self) -> int:
        """Deliveries in memory."""
        return self._queued

    @property
    def memory(self) -> int:
        """Octets of message contents in memory."""
        return self._contents.held

    def lane_of(self, hop: NextHop) -> Lane:
        """The lane of *hop*, made at its first use."""
        lane = self.lanes.get(hop)
        if lane is None:
            pool = Pool(hop, self._config, self.resolver, self.contexts, self._config.relay.connections)
            lane = self.lanes[hop] = Lane(pool, self._loop.time)
        return lane

    # --- what comes in ------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Something in the store may be due now."""
        self._wake.set()

    def retry_now(self) -> None:
        """An operator asks: breakers let the next deliveries through whatever happened before."""
        for lane in self.lanes.values():
            for breaker in lane.breakers.values():
                breaker.allow()
        self._wake.set()

    def offer(self, rows: Sequence[DeliveryRow], content: bytes) -> None:
        """Takes *rows* of one message, committed as leased by ``incarnation``, with their *content*. Returns at once."""
        if self._stopping or self._queued + len(rows) > QUEUE:
            self._give_back(rows)
            return
        jobs = grouped(rows, self.routes)
        share = self._contents.keep(content, len(jobs))
        for job in jobs:
            job.share = share
            self._enqueue(job)

    def _give_back(self, rows: Sequence[DeliveryRow]) -> None:
        """Leased rows that this process will not try now: scheduled in the store."""
        now = self._clock.time()
        for start in range(0, len(rows), _LEASE):
            self.recorder.add(
                Record(
                    [
                        DeliveryUpdate(row.id, LEASED, DeliveryState.SCHEDULED, next_attempt=now, lease="", holder=self.incarnation)
                        for row in rows[start : start + _LEASE]
                    ]
                )
            )

    def _lose(self, mine: Collection[str]) -> int:
        """Drops what waits here and is not leased to this keeper any more. Returns how many deliveries."""
        lost = [job for lane in self.lanes.values() for job in lane.without(mine)]
        for job in lost:
            # A job is sent whole: what is ours of it goes through the store.
            self._give_back([row for row in job.rows if row.id in mine])
            self._done(job)
        return sum(len(job.rows) for job in lost)

    def _report_written(self, report: Report) -> None:
        self.offer([report.delivery], report.content)

    def _enqueue(self, job: Job) -> None:
        self._queued += len(job.rows)
        self._mine.update(row.id for row in job.rows)
        if job.hop is None:
            self._spawn(self._without_route(job), self._delivering)
            return
        lane = self.lane_of(job.hop)
        lane.jobs.append(job)
        if lane.workers < self._config.relay.connections:
            lane.workers += 1
            self._spawn(self._worker(lane), self._delivering)

    # --- the scheduler ------------------------------------------------------------------------------------------------

    async def _schedule(self) -> None:
        swept = self._loop.time()
        while not self._stopping:
            self._wake.clear()
            try:
                if step := self._steps.stepped():
                    _log.warning("the wall clock has stepped", seconds=round(step))
                    await self._leases.bring_near()
                if self._loop.time() >= swept + _SWEEP:
                    swept = self._loop.time()
                    if not self.recorder.backlog:
                        self._give_back(await self._leases.forgotten(self._mine))
                pause = await self._lease_due()
            except StoreError as error:
                _log.error("due deliveries cannot be read", cause=str(error))
                pause = 1.0
            if pause:
                try:
                    async with asyncio.timeout(pause):
                        await self._wake.wait()
                except TimeoutError:
                    pass

    async def _lease_due(self) -> float:
        """Leases what is due, as far as there is room. Returns the seconds until there may be more."""
        if self._queued >= _LOW:
            self._full = True  # workers wake the scheduler when the queue is low
            return _LOOK
        rows = await self._leases.due(_LEASE)
        if rows:
            for job in grouped(rows, self.routes):
                self._enqueue(job)
            if len(rows) == _LEASE:
                return 0.0
        due = await self._store.next_due()
        return _LOOK if due is None else min(_LOOK, max(0.02, due - self._clock.time()))

    # --- delivering ---------------------------------------------------------------------------------------------------

    async def _worker(self, lane: Lane) -> None:
        try:
            while lane.jobs and not self._stopping:
                await self.recorder.room()
                await self._leases.firm(self._lose)
                if not lane.jobs or self._stopping:
                    break
                job = lane.jobs.popleft()
                try:
                    await self._deliver(lane, job)
                except Exception as error:
                    # A fault of ours is a deferral, whatever it was: the lease must not stay behind.
                    _log.error("a fault of the relay; its deliveries are deferred", cause=repr(error), reference=job.rows[0].reference)
                    await self._end(job, [temporary("4.3.0", "The mail gateway could not deliver at present")] * len(job.rows))
                finally:
                    self._done(job)
        finally:
            lane.workers -= 1

    def _done(self, job: Job) -> None:
        self._queued -= len(job.rows)
        self._mine.difference_update(row.id for row in job.rows)
        if job.share is not None:
            job.share.drop()
        if self._full and self._queued < _LOW // 2:
            self._full = False
            self._wake.set()

    async def _without_route(self, job: Job) -> None:
        try:
            await self._end(job, [_NO_ROUTE] * len(job.rows))
        finally:
            self._done(job)

    async def _deliver(self, lane: Lane, job: Job) -> None:
        protected = job.protected
        breaker = lane.breakers[protected]
        if breaker.open and breaker.error is not None:
            await self._unreached(lane, job, breaker.error)
            return
        try:
            prepared = await self._prepare(job)
        except Unopened as shut:
            self.recorder.add(self.outcomes.waiting(job.rows, str(shut)))
            return
        except Damaged as damage:
            self.recorder.add(self.outcomes.aside(job.rows, str(damage)))
            return
        if isinstance(prepared, Reply):
            await self._end(job, [prepared] * len(job.rows))
            return
        began = time.perf_counter()
        for again in (False, True):
            try:
                connection = await lane.pool.acquire(protected, fresh=again)
            except HopError as error:
                breaker.failed(error)
                self._counts.add("gateway_next_hop_failures_total", lane.pool.hop.name)
                await self._unreached(lane, job, error)
                return
            try:
                sent = await connection.send(prepared.mail)
            except HopError as error:
                if error.fault is Fault.STALE and not again:
                    continue
                breaker.failed(error)
                self._counts.add("gateway_next_hop_failures_total", lane.pool.hop.name)
                _log.warning(
                    "a delivery was broken off", reference=job.rows[0].reference, hop=lane.pool.hop.name, reply=str(error.reply),
                    possible_duplicate=error.possible_duplicate,
                )  # fmt: skip
                replies = [error.reply] * len(job.rows)
                await self._end(job, replies, connection.way, fault=error.fault, possible_duplicate=error.possible_duplicate)
                return
            except UnsafeCommand:
                await self._end(job, [_UNSAFE] * len(job.rows))
                return
            finally:
                lane.pool.release(connection, protected)
            self._tried.observe(time.perf_counter() - began)
            lane.served, lane.way = self._clock.time(), sent.way
            if breaker.worked() or lane.parked(protected):
                self._unpark(lane, protected)
            await self._end(job, sent.replies, sent.way, dsn=sent.dsn, sent_sha256=prepared.sent_sha256)
            return

    async def _prepare(self, job: Job) -> Prepared | Reply:
        content = await self._content(job)
        limit = self._config.limits.received
        if len(content) < BIG:
            return prepare(job.rows, content, self._signer, limit)
        return await asyncio.to_thread(prepare, job.rows, content, self._signer, limit)

    async def _content(self, job: Job) -> bytes:
        """From memory, else from the store. Raises Damaged, StoreError."""
        return job.share.content if job.share is not None else await self.content_of(job.rows[0])

    async def content_of(self, delivery: DeliveryRow) -> bytes:
        """The content of *delivery* from the store. Raises Unopened, Damaged, StoreError."""
        return await fetched(delivery, self._store, self._vault)

    async def _end(
        self, job: Job, replies: Sequence[Reply], way: str = "", *, dsn: bool = True, sent_sha256: str = "", fault: Fault | None = None,
        possible_duplicate: bool = False,
    ) -> None:  # fmt: skip
        """Records how an attempt went."""

        async def header() -> bytes:
            try:
                return header_of(await self._content(job))
            except (Damaged, StoreError):
                return b""  # the report goes without the original's fields

        route = job.hop.name if job.hop is not None else ""
        attempt = Attempt(replies, route, way, dsn, sent_sha256, fault, possible_duplicate)
        record = await self.outcomes.record(job.rows, attempt, header)
        now = self._clock.time()
        for update in record.updates:
            self._counts.add("gateway_deliveries_total", update.state.value)
        for row, reply in zip(job.rows, replies, strict=True):
            if reply.code < 300:
                self._took.observe(max(0.0, now - row.created))
        self.recorder.add(record)

    # --- a hop that is away -------------------------------------------------------------------------------------------

    async def _unreached(self, lane: Lane, job: Job, error: HopError) -> None:
        """Defers *job* and remembers it, so that it goes as soon as the hop is back rather than at its next turn."""
        protected = job.protected
        lane.park(job.rows, protected)
        await self._end(job, [error.reply] * len(job.rows), fault=error.fault)
        if protected not in lane.probing and not self._stopping:
            self._spawn(self._watch(lane, protected), self._tasks)

    async def _watch(self, lane: Lane, protected: bool) -> None:
        if await lane.watch(protected):
            self._unpark(lane, protected)

    def _unpark(self, lane: Lane, protected: bool) -> None:
        now = self._clock.time()
        for delivery in lane.unparked(protected):
            update = DeliveryUpdate(delivery, (DeliveryState.DEFERRED,), DeliveryState.DEFERRED, next_attempt=now)
            self.recorder.add(Record([update]))
        self._loop.call_later(0.05, self._wake.set)

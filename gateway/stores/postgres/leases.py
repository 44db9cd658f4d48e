"""Many keepers on one PostgreSQL: who lives, who has leased what, who does a job for all, and who is told of a change.

What it is: ``Presence``, one keeper's part of it: its row in ``keepers``, its view of the others, advisory locks and LISTEN.
Who calls it: ``store.PostgresStore``.
Must never: take a delivery from a keeper that lives; call a keeper dead by anybody's wall clock, or because this one was away.
Sources: docs/design.md sections 6 and 9; https://www.postgresql.org/docs/current/sql-select.html#SQL-FOR-UPDATE-SHARE (SKIP LOCKED);
https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS; hostile-inputs catalogue O10, O12, O13.

A keeper writes the server's time into its row every ``BEAT_EVERY`` seconds. Another calls it dead when it has itself seen that row
unchanged for ``DEAD`` seconds by its own monotonic clock, and has looked at least every ``_LOOKS`` seconds in between: no clock that
is set, and no database that was away for all of them, makes anybody dead. Then the row goes, in a transaction that a sign of life
either precedes (the row has changed, nothing happens) or follows (there is no row: the keeper learns that it was taken for dead).
A lease whose keeper has no row is void.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

from gateway import logs
from gateway.stores import rows
from gateway.stores.base import DeliveryRow, StoreError
from gateway.stores.postgres.connection import Connection, Pool, is_fit
from gateway.stores.postgres.tables import CHANNEL, LOCK_JOB, QUEUE, REGISTER
from gateway.stores.sharing import BEAT_EVERY, DEAD

_LOOKS = 3 * BEAT_EVERY
_AGAIN = 1.0
"""Seconds between two attempts to listen."""
_LEASE = (
    "WITH me AS MATERIALIZED (SELECT 1 FROM keepers WHERE incarnation = %(me)s FOR KEY SHARE),"  # noqa: S608 - constants of ours
    " due AS MATERIALIZED (SELECT id FROM deliveries_open WHERE state IN ('scheduled', 'deferred') AND next_attempt <= %(now)s"
    " AND EXISTS (SELECT 1 FROM me) ORDER BY next_attempt LIMIT %(limit)s FOR UPDATE SKIP LOCKED),"
    " taken AS (UPDATE deliveries_open o SET state = 'leased', lease = %(me)s FROM due WHERE o.id = due.id RETURNING o.*) "
    + rows.SELECT_DELIVERY.replace(" FROM deliveries d ", " FROM taken d ")
    + " ORDER BY d.next_attempt"
)
_ENTER = (
    "INSERT INTO keepers (incarnation, node, started, seen) VALUES (%s, %s, clock_timestamp(), clock_timestamp())"
    " ON CONFLICT (incarnation) DO UPDATE SET seen = clock_timestamp()"
)
_BEAT = "UPDATE keepers SET seen = clock_timestamp() WHERE incarnation = %s RETURNING 1"
_VOID = (
    "UPDATE deliveries_open SET state = 'scheduled', lease = '' WHERE state = 'leased'"
    " AND NOT EXISTS (SELECT 1 FROM keepers k WHERE k.incarnation = deliveries_open.lease)"
)
_TELL = f"SELECT pg_notify('{CHANNEL}', '{QUEUE}')"
_log = logs.get("store")


class Presence:
    """The keeper of *node* among the others. Made inside the running loop."""

    def __init__(self, pool: Pool, node: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._pool = pool
        self._node = node
        self._monotonic = monotonic
        self._entered = ""
        self._seen: dict[str, tuple[object, float]] = {}
        self._looked = float("-inf")
        self._beats: Connection | None = None
        self._beating = asyncio.Lock()
        self._jobs: Connection | None = None
        self._asking = asyncio.Lock()
        self._listening: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Leaves: what is leased to this keeper still is anybody's from now on."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        if self._entered:
            with contextlib.suppress(StoreError, TimeoutError):
                async with asyncio.timeout(2), self._pool.writer() as link:
                    await link.execute("DELETE FROM keepers WHERE incarnation = %s", (self._entered,))
        for own in (self._beats, self._jobs):
            if own is not None:
                with contextlib.suppress(Exception):
                    await own.close()

    # --- leases -------------------------------------------------------------------------------------------------------

    async def lease_due(self, link: Connection, now: float, limit: int, incarnation: str) -> list[DeliveryRow]:
        """See ``Sharing.lease_due``, on the writing connection."""
        found = await link.execute(_LEASE, {"me": incarnation, "now": now, "limit": limit})
        return [rows.delivery_row(v) for v in await found.fetchall()]

    async def release(self, link: Connection, incarnation: str) -> int:
        """See ``Sharing.release_leases``, on the writing connection."""
        if self._entered != incarnation:
            async with link.transaction():
                # The lock on this keeper's folder says that no earlier one of it lives.
                await link.execute("DELETE FROM keepers WHERE node = %s AND incarnation <> %s", (self._node, incarnation))
                await link.execute(_ENTER, (incarnation, self._node))
            self._entered = incarnation
        for dead, seen in await self._dead(link, incarnation):
            gone = await link.execute("DELETE FROM keepers WHERE incarnation = %s AND seen = %s RETURNING node", (dead, seen))
            if node := await gone.fetchone():
                _log.warning("a keeper gives no sign of life; what it had leased goes to others", **{"gateway.node": node[0]})
        released = (await link.execute(_VOID)).rowcount
        if released:
            await link.execute(_TELL)
        return released

    async def _dead(self, link: Connection, incarnation: str) -> list[tuple[str, object]]:
        """The keepers whose sign of life this one has seen unchanged for long enough, and that sign."""
        now = self._monotonic()
        if now - self._looked > _LOOKS:
            self._seen.clear()  # it was away itself: it has seen nothing
        self._looked = now
        found = await (await link.execute("SELECT incarnation, seen FROM keepers WHERE incarnation <> %s", (incarnation,))).fetchall()
        before, self._seen = self._seen, {}
        for other, seen in found:
            known = before.get(other)
            self._seen[other] = known if known is not None and known[0] == seen else (seen, now)
        return [(other, seen) for other, (seen, since) in self._seen.items() if now - since >= DEAD]

    async def beat(self, incarnation: str) -> bool:
        """See ``Sharing.beat``; on a connection of its own, so that no commit stands in its way."""
        async with self._beating:
            if self._beats is None or not is_fit(self._beats):
                self._beats = await self._pool.own(f"gateway beat {self._node}"[:60])
            link = self._beats
            try:
                # Shorter than what it is about: an answer that comes later says nothing of now.
                async with asyncio.timeout(BEAT_EVERY):
                    with self._pool.faults(link):
                        lives = await (await link.execute(_BEAT, (incarnation,))).fetchone() is not None
            except TimeoutError as error:
                await link.close()
                raise StoreError("the database does not answer") from error
            if not lives and self._entered == incarnation:
                self._entered = ""
            return lives

    # --- jobs of the whole installation ---------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def alone(self, job: str) -> AsyncIterator[bool]:
        """See ``Sharing.alone``: a lock of the session, which ends with its connection, however this keeper ends."""
        given = await self._ask("SELECT pg_try_advisory_lock(%s, hashtext(%s))", job)
        try:
            yield given
        finally:
            if given:
                with contextlib.suppress(StoreError):  # then the connection is gone, and the lock with it
                    await self._ask("SELECT pg_advisory_unlock(%s, hashtext(%s))", job)

    async def _ask(self, sql: str, job: str) -> bool:
        async with self._asking:
            if self._jobs is None or not is_fit(self._jobs):
                self._jobs = await self._pool.own(f"gateway jobs {self._node}"[:60])
            with self._pool.faults(self._jobs):
                found = await (await self._jobs.execute(sql.replace("(%s,", "(%s::int,"), (LOCK_JOB, job))).fetchone()
            return bool(found and found[0])

    # --- being told -----------------------------------------------------------------------------------------------------

    def listen(self, heard: Callable[[str], None]) -> None:
        """See ``Sharing.listen``."""
        self._listening = asyncio.get_running_loop().create_task(self._listen(heard))

    async def _listen(self, heard: Callable[[str], None]) -> None:
        first = True
        while True:
            link: Connection | None = None
            try:
                link = await self._pool.own(f"gateway ear {self._node}"[:60])
                with self._pool.faults(link):
                    await link.execute(f"LISTEN {CHANNEL}")
                    if not first:  # what was said meanwhile was not heard
                        heard(REGISTER)
                        heard(QUEUE)
                    first = False
                    async for note in link.notifies():
                        if note.pid != self._pool.writer_pid:
                            heard(note.payload)
            except StoreError:
                await asyncio.sleep(_AGAIN)
            finally:
                if link is not None:
                    with contextlib.suppress(Exception):
                        await link.close()

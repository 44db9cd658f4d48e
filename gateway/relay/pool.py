"""Connections to one next hop: opened, proved, kept for a while, bounded in number.

What it is: ``Pool`` with idle connections for each requirement.
Who calls it: the relay (mail) and the call-out (recipients).
Must never: give a connection for mail that needs an AES-256 hop before the handshake proved it; fall back to clear text where
the route says ``required``.
Sources: docs/design.md section 4 ("The hop"); RFC 3207; hostile-inputs catalogue O04, O08, A32.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl

from gateway import logs
from gateway.config import Config
from gateway.relay.hop_open import Opener
from gateway.relay.hop_protocol import Fault, HopError, temporary
from gateway.relay.hop_tls import Contexts, Trust, is_aes_256
from gateway.relay.routes import NextHop, Resolver
from gateway.relay.smtp_client import Connection

IDLE = 15.0
"""Seconds for which an unused connection is kept."""
USES = 500
"""Transactions on one connection."""
_UNVERIFIED_FOR = 600.0  # seconds for which an opportunistic hop is taken as unverifiable

_log = logs.get("relay")


class Pool(Opener[Connection]):
    """Connections to *hop*; *size* bounds how many are open at once."""

    def __init__(self, hop: NextHop, config: Config, resolver: Resolver, contexts: Contexts, size: int) -> None:
        super().__init__(hop, config.limits, config.hostname, resolver, contexts, Connection)
        self._size = size
        self._room = asyncio.Semaphore(size)
        self._idle: dict[bool, list[Connection]] = {False: [], True: []}
        self._busy: set[Connection] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._unverified_until = 0.0

    async def acquire(self, protected: bool, *, fresh: bool = False) -> Connection:
        """A connection, for mail that needs an AES-256 hop if *protected*. Raises HopError (DOWN or UNPROTECTED)."""
        protected = protected and not self.hop.loopback
        await self._room.acquire()
        try:
            idle = self._idle[protected]
            while idle:
                connection = idle.pop()
                if connection.usable and not fresh:
                    break
                connection.quit()
            else:
                self._make_room()
                connection = await self._open(protected)
        except BaseException:
            self._room.release()
            raise
        self._busy.add(connection)
        return connection

    def release(self, connection: Connection, protected: bool) -> None:
        """Gives *connection* back; it is kept when another transaction may begin on it."""
        protected = protected and not self.hop.loopback
        self._busy.discard(connection)
        if connection.usable and connection.uses < USES:
            connection.idle_since = self._loop.time()
            self._idle[protected].append(connection)
            if self._sweeper is None:
                self._sweeper = self._loop.call_later(IDLE, self._sweep)
        else:
            connection.quit()
        self._room.release()

    def _make_room(self) -> None:
        """Idle connections of the other kind go where they would make more than *size* in all."""
        for idle in self._idle.values():
            while idle and len(self._busy) + sum(map(len, self._idle.values())) >= self._size:
                idle.pop(0).quit()

    def _sweep(self) -> None:
        self._sweeper = None
        old = self._loop.time() - IDLE
        for protected, idle in self._idle.items():
            for connection in idle:
                if connection.idle_since <= old or not connection.usable:
                    connection.quit()
            self._idle[protected] = [c for c in idle if c.idle_since > old and c.usable]
        kept = [c.idle_since for idle in self._idle.values() for c in idle]
        if kept:
            self._sweeper = self._loop.call_later(max(0.05, min(kept) + IDLE - self._loop.time()), self._sweep)

    def close(self) -> None:
        """Ends all connections: idle ones with QUIT, busy ones at once."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for idle in self._idle.values():
            for connection in idle:
                connection.quit()
            idle.clear()
        for connection in list(self._busy):
            connection.abort()

    # --- opening ------------------------------------------------------------------------------------------------------

    async def _open(self, protected: bool) -> Connection:
        if self.hop.tls == "none" or (self.hop.loopback and self.hop.tls == "opportunistic"):
            connection = await self.greeted()
            if not self._is_here(connection):  # a name such as localhost that leads elsewhere
                connection.quit()
                raise HopError(Fault.DOWN, temporary("4.4.3", f"The next server {self.hop.name} is not on this machine"))
            connection.way = "loopback"
            return connection
        if self.hop.tls == "opportunistic" and not protected:
            return await self._opportunistic()
        fault = Fault.UNPROTECTED if protected else Fault.DOWN
        connection = await self.secured(Trust.VERIFIED, fault)
        if not protected or is_aes_256(_cipher(connection)):
            return connection
        connection.quit()
        connection = await self.secured(Trust.AES_256, fault)
        if is_aes_256(_cipher(connection)):
            return connection
        connection.quit()
        raise HopError(fault, temporary("4.7.5", "The next server does not use AES with 256 bits"))

    async def _opportunistic(self) -> Connection:
        if self._loop.time() >= self._unverified_until:
            try:
                return await self.secured(Trust.VERIFIED, Fault.DOWN, or_clear=True)
            except HopError as error:
                if not isinstance(error.__cause__, ssl.SSLError):
                    raise
                _log.warning("the next hop's certificate was not verified; its route is opportunistic", hop=self.hop.name)
                self._unverified_until = self._loop.time() + _UNVERIFIED_FOR
        return await self.secured(Trust.UNVERIFIED, Fault.DOWN, or_clear=True)

    def _is_here(self, connection: Connection) -> bool:
        """Whether the other end really is this machine, whatever its name resolved to."""
        if self.hop.path:
            return True
        peer = connection.transport.get_extra_info("peername")
        try:
            return bool(peer) and ipaddress.ip_address(str(peer[0]).partition("%")[0]).is_loopback
        except ValueError:
            return False


def _cipher(connection: Connection) -> tuple[str, str, int] | None:
    tls = connection.transport.get_extra_info("ssl_object")
    return tls.cipher() if tls is not None else None

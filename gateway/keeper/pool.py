"""Connections to one next hop: opened, proved, kept for a while, bounded in number.

What it is: ``Pool`` with idle connections for each requirement.
Who calls it: the relay (mail) and the call-out (recipients).
Must never: give a connection for mail that needs an AES-256 hop before the handshake proved it; fall back to clear text where
the route says ``required``.
Sources: design.md section 4 ("The hop"); RFC 3207; hostile-inputs catalogue O04, O08, A32.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl

from gateway import logs
from gateway.config import Config
from gateway.keeper.hop_protocol import Fault, HopError, temporary
from gateway.keeper.hop_tls import Contexts, Trust, is_aes_256
from gateway.keeper.routes import NextHop, Resolver, RouteError
from gateway.keeper.smtp_client import Connection

IDLE = 15.0
"""Seconds for which an unused connection is kept."""
USES = 500
"""Transactions on one connection."""
_UNVERIFIED_FOR = 600.0  # seconds for which an opportunistic hop is taken as unverifiable

_log = logs.get("relay")


class Pool:
    """Connections to *hop*; *size* bounds how many are open at once."""

    def __init__(self, hop: NextHop, config: Config, resolver: Resolver, contexts: Contexts, size: int) -> None:
        self.hop = hop
        self._limits = config.limits
        self._helo = config.hostname
        self._resolver = resolver
        self._contexts = contexts
        self._size = size
        self._room = asyncio.Semaphore(size)
        self._idle: dict[bool, list[Connection]] = {False: [], True: []}
        self._busy: set[Connection] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._unverified_until = 0.0
        self._loop = asyncio.get_running_loop()

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
            connection = await self._greeted()
            if not self._is_here(connection):  # a name such as localhost that leads elsewhere
                connection.quit()
                raise HopError(Fault.DOWN, temporary("4.4.3", f"The next server {self.hop.name} is not on this machine"))
            connection.way = "loopback"
            return connection
        if self.hop.tls == "opportunistic" and not protected:
            return await self._opportunistic()
        fault = Fault.UNPROTECTED if protected else Fault.DOWN
        connection = await self._secured(Trust.VERIFIED, fault)
        if not protected or is_aes_256(_cipher(connection)):
            return connection
        connection.quit()
        connection = await self._secured(Trust.AES_256, fault)
        if is_aes_256(_cipher(connection)):
            return connection
        connection.quit()
        raise HopError(fault, temporary("4.7.5", "The next server does not use AES with 256 bits"))

    async def _opportunistic(self) -> Connection:
        if self._loop.time() >= self._unverified_until:
            try:
                return await self._secured(Trust.VERIFIED, Fault.DOWN, or_clear=True)
            except HopError as error:
                if not isinstance(error.__cause__, ssl.SSLError):
                    raise
                _log.warning("the next hop's certificate was not verified; its route is opportunistic", hop=self.hop.name)
                self._unverified_until = self._loop.time() + _UNVERIFIED_FOR
        return await self._secured(Trust.UNVERIFIED, Fault.DOWN, or_clear=True)

    async def _secured(self, trust: Trust, fault: Fault, *, or_clear: bool = False) -> Connection:
        """A connection after STARTTLS; clear only where *or_clear* and the hop does not offer it. Raises HopError."""
        connection = await self._greeted()
        if not connection.capabilities.starttls:
            if or_clear:
                return connection
            connection.quit()
            raise HopError(fault, temporary("4.7.4", "The next server does not offer STARTTLS, which its route requires"))
        try:
            context = self._contexts.get(self.hop.tls_ca, trust)
            tls = await connection.start_tls(context, self.hop.tls_name)
            await connection.hello()
        except HopError as error:
            connection.abort()
            raise HopError(Fault.DOWN, error.reply) from error
        except ssl.SSLCertVerificationError as error:
            connection.abort()
            why = f"The next server's certificate was not accepted: {error.verify_message}"
            raise HopError(fault, temporary("4.7.5", why)) from error
        except (OSError, TimeoutError) as error:
            connection.abort()
            raise HopError(fault, temporary("4.7.5", "The TLS handshake with the next server failed")) from error
        name, _, bits = tls.cipher() or ("none", "", 0)
        verified = "unverified" if trust is Trust.UNVERIFIED else "verified"
        connection.way = f"{tls.version()} {name} {bits} {verified}"
        return connection

    async def _greeted(self) -> Connection:
        connection = await self._connected()
        try:
            await connection.greet()
        except BaseException:
            connection.abort()
            raise
        return connection

    async def _connected(self) -> Connection:
        """Tries the hop's addresses in turn. Raises HopError with Fault.DOWN."""
        patience = self._limits.relay_connect
        error: BaseException | None = None
        try:
            if self.hop.path:
                self._resolver.check_path(self.hop)
                async with asyncio.timeout(patience):
                    _, connection = await self._loop.create_unix_connection(self._make, self.hop.path)
                return connection
            for address in await self._resolver.addresses(self.hop):
                try:
                    async with asyncio.timeout(patience):
                        _, connection = await self._loop.create_connection(self._make, address, self.hop.port)
                    return connection
                except (OSError, TimeoutError) as failure:
                    error = failure
        except RouteError as failure:
            raise HopError(Fault.DOWN, temporary("4.4.3", str(failure))) from failure
        except (OSError, TimeoutError) as failure:
            error = failure
        late = isinstance(error, TimeoutError)
        text = "The next server did not answer in time" if late else "The next server could not be reached"
        raise HopError(Fault.DOWN, temporary("4.4.1", text)) from error

    def _make(self) -> Connection:
        return Connection(self._limits, self._helo)

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

"""Who is at the other end of a connection, for every door: its address, its place in the lists and counts, and whether it is read.

What it is: ``Guest``, the base of the connections of all doors: what they have in common before their protocols begin to differ.
Who calls it: ``doors.connection`` (SMTP), ``doors.milter_connection`` and ``doors.imap_connection`` are made of it; ``doors.entrance``
counts a guest in before there is a transport.
Must never: know a protocol; believe that a balancer which names nobody is its client.
Sources: "The PROXY protocol" of HAProxy; rules/README.md, R5; RFC 3207 section 6 and RFC 9051 section 6.2.1 (what came before TLS is not
of it).
"""

from __future__ import annotations

import asyncio
import ssl

from gateway import logs
from gateway.doors.door import Door, Listener, Settings
from gateway.doors.limits import plain_ip
from gateway.reply import Reply
from gateway.shares import owner_of


def client_of(peername: object) -> tuple[str, int]:
    """Address and port of a socket's other end; a unix socket's is this machine."""
    if isinstance(peername, tuple):
        return plain_ip(peername[0]), peername[1]
    return "127.0.0.1", 0


class Guest(asyncio.Protocol):
    """One connection, whatever is spoken on it."""

    __slots__ = (
        "_door", "_entered", "_ip", "_known", "_last", "_listed", "_listener", "_loop", "_named", "_port", "_read_paused", "_settings",
        "_through", "_tls_data", "_transport", "_write_paused",
    )  # fmt: skip

    def __init__(self, door: Door, listener: Listener) -> None:
        self._door = door
        self._listener = listener
        self._loop = door.loop
        self._settings: Settings = door.settings
        self._transport: asyncio.Transport | None = None
        self._ip, self._port, self._through = "", 0, ""
        self._listed = False
        self._known = False
        """No stranger to the limits: in a listed network, or in the list of this listener."""
        self._named = True
        self._entered = False
        self._tls_data: list[bytes] | None = None
        """What came since a handshake began."""
        self._last = self._loop.time()
        self._read_paused = self._write_paused = False

    # --- in and out ---------------------------------------------------------------------------------------------------

    def enter(self, client: tuple[str, int], *, through: str = "", named: bool = True) -> Reply | None:
        """Takes note of who the client is, and returns why it may not come in: for listeners that need to know before the session has a
        transport. *through*: the load balancer that said so; not *named*: it did not say, and *client* is the balancer itself."""
        self._entered = True
        self._ip, self._port = client
        self._through, self._named = through, named
        # Whoever is behind a balancer that does not say so must not pass for the balancer.
        self._listed = named and self._ip in self._settings.networks
        self._known = self._listed or (named and self._is_expected())
        return self._door.enter(self, self._ip, self._known)

    def _is_expected(self) -> bool:
        return self._listener.networks is not None and self._ip in self._listener.networks

    def _owner(self) -> str:
        """Whose share of what is short its mail takes."""
        return owner_of(self._ip, known=self._known)

    def leave(self) -> None:
        """Takes back ``enter``: there was no session."""
        self._door.leave(self, self._ip, self._known)

    def refusal(self, reply: Reply) -> bytes:
        """*reply* as a client without a session gets it; empty where the protocol has no word for it so early."""
        raise NotImplementedError

    # --- what the door's sweep asks -----------------------------------------------------------------------------------

    def check(self, now: float, *, stressed: bool) -> None:
        """Ends itself if it is over a time."""
        raise NotImplementedError

    def retire(self, now: float, since: float) -> bool:
        """Ends itself if it may in a quiet moment of a retiring process; says whether it did."""
        raise NotImplementedError

    def drain(self) -> None:
        """Ends itself if it has nothing to finish."""
        raise NotImplementedError

    def end(self) -> None:
        """Ends itself."""
        raise NotImplementedError

    # --- TLS ----------------------------------------------------------------------------------------------------------

    async def _handshake(self, context: ssl.SSLContext, name: str) -> bool:
        """Puts TLS under the connection; says whether it is there. What came through it meanwhile is in ``_tls_data`` until ``_replay``.
        Where it failed the connection is gone; *name* is what the log calls the door."""
        assert self._transport is not None
        # From here on the loop gives us what came through TLS only; it may come before start_tls returns.
        self._tls_data = []
        try:
            transport = await self._loop.start_tls(
                self._transport, self, context, server_side=True, ssl_handshake_timeout=max(0.1, self._settings.config.limits.tls_handshake)
            )
        except (OSError, ssl.SSLError, TimeoutError) as error:
            self._door.count("tls_failures")
            words = getattr(error, "reason", None) or type(error).__name__
            logs.get(f"gateway.doors.{name}").info(f"{name}.tls_failed", **{"client.ip": self._ip, "error.message": words})
            if self._transport is not None:
                self._transport.abort()
                self.connection_lost(error)  # asyncio's own loop forgets to say so when a handshake fails
            return False
        if transport is None or self._transport is None:
            return False
        self._transport = transport
        self._read_paused = False
        return True

    def _replay(self) -> None:
        """Takes what came under TLS before the codec was told of it."""
        early, self._tls_data = self._tls_data or [], None
        for data in early:
            self.data_received(data)

    # --- reading and writing ------------------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        """The other end does not read: nothing more is done for it until it does."""
        self._write_paused = True
        self._pause_reading()

    def resume_writing(self) -> None:
        """It reads again."""
        self._write_paused = False
        self._pump()

    def _pump(self) -> None:
        """Takes what came as far as it may be taken now, and sends what is to be said."""
        raise NotImplementedError

    def _pause_reading(self) -> None:
        if not self._read_paused and self._transport is not None and not self._transport.is_closing():
            self._read_paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._read_paused and self._transport is not None and not self._transport.is_closing():
            self._read_paused = False
            self._transport.resume_reading()

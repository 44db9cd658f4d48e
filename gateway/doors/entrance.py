"""From a listening socket to a session: what has to happen before the greeting, by the kind of the listener.

What it is: ``open_listener``. Plain listeners are the event loop's own servers. Where a PROXY header or a TLS handshake comes before
the first octet of SMTP, ``Entrance`` accepts, reads the header, counts the client in and lets the loop do the handshake; only then
does the session get a transport. So the header's reader leaves every octet behind it in the socket, and each handshake shows the
certificate that is in force at that moment.
Who calls it: ``doors.service``, once a listening socket.
Must never: believe a PROXY header from an address that is not in ``proxies``, or answer it; begin a handshake for a client that is
over a limit.
Sources: "The PROXY protocol" of HAProxy; RFC 8314 section 3.3 (implicit TLS); rules/README.md, R5; hostile-inputs catalogue S35, S41.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Protocol

from gateway import logs
from gateway.doors import proxy
from gateway.doors.door import PLAIN, Door, Listener
from gateway.doors.guest import Guest, client_of
from gateway.doors.imap import ImapSession
from gateway.doors.listen import BACKLOG
from gateway.doors.milter import MilterSession
from gateway.doors.smtp import Session
from gateway.doors.submission import Submission
from gateway.envelope import Door as DoorName
from gateway.wire.proxy import ProxyError

_BURST = 64  # connections that are accepted before others get a turn
_PAUSE = 0.1  # seconds after a connection could not be accepted: there are no descriptors left
_log = logs.get("gateway.doors")


class Open(Protocol):
    """A listener that takes connections until it is closed; its sessions go on."""

    def close(self) -> None:
        """Takes no more. May be called again."""


_SESSIONS: dict[DoorName, Callable[[Door, Listener], Guest]] = {
    DoorName.SMTP: Session, DoorName.SUBMISSION: Submission, DoorName.MILTER: MilterSession, DoorName.IMAP: ImapSession,
}  # fmt: skip


def session_of(door: Door, listener: Listener) -> Guest:
    """A session of the kind that *listener* has."""
    return _SESSIONS[listener.door](door, listener)


async def open_listener(door: Door, address: str, sock: socket.socket) -> Open:
    """Takes the connections of *sock*, as the settings of each moment say of the *address* of the config."""

    def listener() -> Listener:
        return door.settings.listeners.get(address, first)

    first = door.settings.listeners.get(address, PLAIN)
    if first.implicit_tls or first.proxies is not None:
        return Entrance(door, sock, address, first)
    return await asyncio.get_running_loop().create_server(lambda: session_of(door, listener()), sock=sock, backlog=BACKLOG)


class Entrance:
    """Accepts the connections of one listening socket. Must be made inside the event loop."""

    def __init__(self, door: Door, sock: socket.socket, address: str, first: Listener = PLAIN) -> None:
        self._door, self._sock, self._address, self._first = door, sock, address, first
        self._again: asyncio.TimerHandle | None = None
        sock.setblocking(False)
        sock.listen(BACKLOG)
        self._watch()

    def close(self) -> None:
        """Takes no more connections; those that were accepted go on. A worker that retires and then ends closes it twice."""
        if self._sock.fileno() < 0:
            return
        if self._again is not None:
            self._again.cancel()
        self._door.loop.remove_reader(self._sock)
        self._sock.close()

    def _watch(self) -> None:
        self._again = None
        self._door.loop.add_reader(self._sock, self._accept)

    def _accept(self) -> None:
        """Takes what waits. An accepted connection is never in the hands of a task that could be cancelled without closing it."""
        for _ in range(_BURST):
            try:
                client, where = self._sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                _log.warning("doors.accept_failed", reason=error.strerror)
                self._door.loop.remove_reader(self._sock)
                self._again = self._door.loop.call_later(_PAUSE, self._watch)
                return
            client.setblocking(False)
            self._door.arriving += 1
            self._door.spawn(self._arrive(client, where))

    async def _arrive(self, sock: socket.socket, peername: object) -> None:
        try:
            await self._admit(sock, peername)
        finally:
            self._door.arriving -= 1

    async def _admit(self, sock: socket.socket, peername: object) -> None:
        """One connection, until it is a session or is gone."""
        settings = self._door.settings
        listener = settings.listeners.get(self._address, self._first)
        try:
            origin, through, named = client_of(peername), "", True
            if listener.proxies is not None:
                if origin[0] not in listener.proxies:
                    self._drop("proxy: not a load balancer", origin[0])
                    return
                try:
                    source = await proxy.read(sock, settings.config.limits.proxy_header)
                except ProxyError as error:
                    self._drop("proxy: no header", origin[0], str(error))
                    return
                through, named = origin[0], bool(source.address)
                origin = (source.address, source.port) if named else origin
            await self._hand_over(sock, session_of(self._door, listener), listener, origin, through, named)
            sock = None  # type: ignore[assignment]  # the transport's now
        except (OSError, ssl.SSLError, TimeoutError) as error:
            self._door.count("tls_failures")
            _log.info(
                "smtp.tls_failed", **{"client.ip": origin[0], "error.message": getattr(error, "reason", None) or type(error).__name__}
            )
        finally:
            if sock is not None:
                sock.close()

    async def _hand_over(
        self, sock: socket.socket, session: Guest, listener: Listener, origin: tuple[str, int],
        through: str, named: bool,
    ) -> None:  # fmt: skip
        reply = session.enter(origin, through=through, named=named)
        settings = self._door.settings
        try:
            if reply is not None:
                if not listener.implicit_tls:  # in clear a TLS client would not understand it
                    with contextlib.suppress(OSError):
                        sock.send(session.refusal(reply))
                sock.close()
                return
            if not listener.implicit_tls:
                await self._door.loop.connect_accepted_socket(lambda: session, sock)
            elif settings.tls is None:
                sock.close()
                session.leave()
            else:
                await self._door.loop.connect_accepted_socket(
                    lambda: session, sock, ssl=settings.tls, ssl_handshake_timeout=max(0.1, settings.config.limits.tls_handshake)
                )
        except BaseException:
            session.leave()
            raise

    def _drop(self, what: str, ip: str, why: str = "") -> None:
        self._door.count(what)
        _log.info("smtp.turned_away", reason=what, detail=why, **{"client.ip": ip})

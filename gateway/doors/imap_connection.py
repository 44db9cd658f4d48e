"""The mail program's connection under an IMAP session: its transport, TLS, its clock and its end.

What it is: ``ImapConnection``, an asyncio.Protocol that lets a mail program in, negotiates TLS, ends what lasts too long, and closes so
that no response of the server is taken for a whole one. It judges nothing.
Who calls it: the event loop, and ``doors.imap_passage`` whose ``Passage`` it is the base of.
Must never: give the codec octets that came in clear as if they had come through TLS; say anything inside a response of the server; keep
a timer for an idle session (one sweep of the door watches all of them).
Sources: RFC 9051 sections 5.4, 6.2.1, 7.1.5, 11.1; RFC 2177; hostile-inputs catalogue I01, I10.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any, cast

from gateway import logs
from gateway.doors.door import PLAIN, Door, Listener
from gateway.doors.guest import client_of
from gateway.doors.memory import Borrower
from gateway.doors.relaying import Refused
from gateway.envelope import Peer
from gateway.reply import Reply
from gateway.wire import imap_commands
from gateway.wire.imap import Client
from gateway.wire.imap_events import Step
from gateway.wire.imap_order import Order
from gateway.wire.imap_responses import Server

HIGH, LOW = 1 << 19, 1 << 17
"""Octets on their way to one side at which the other is not read any more, and is again."""
_LINGER = 30.0  # seconds in which a client may read our last words
_QUICKACK = getattr(socket, "TCP_QUICKACK", None)
_log = logs.get("gateway.doors.imap")

FAULT = "[UNAVAILABLE] The mail gateway could not go on. Please try again later."
STOPPING = "[UNAVAILABLE] The mail gateway is stopping. Please connect again."
NOBODY = "Nobody signed in for too long; closing the session."
TIMEOUT = "Nothing came for too long; closing the session."


def not_on_the_list(ip: str) -> Reply:
    """Why a client that is not in the ``networks`` of where it connects is turned away."""
    return Reply(554, "5.7.1", f"Your computer's address {ip} is not on the list for official mailboxes. Ask your IT cell to add it.")


class ImapConnection(Borrower):
    """Both connections of one session."""

    __slots__ = (
        "_barred", "_born", "_client", "_client_full", "_connecting", "_ended", "_handling", "_learning", "_leaving", "_order", "_peer",
        "_pumping", "_server", "_server_full", "_shown", "_socket", "_steps", "_steps_tag", "_to_client", "_to_server", "_upstream",
    )  # fmt: skip

    def __init__(self, door: Door, listener: Listener = PLAIN) -> None:
        super().__init__(door, listener)
        settings = self._settings
        assert settings.imap is not None
        self._client = Client(settings.imap.limits)
        self._client.tls = listener.implicit_tls
        self._server = Server(settings.imap.offer)
        self._order = Order(settings.config.limits.imap_commands)
        self._upstream: asyncio.Transport | None = None
        self._connecting: asyncio.Task[None] | None = None
        """Who waits for the server to be there."""
        self._socket: Any = None
        self._barred = False
        """A balancer's own connection, which is how it sees that we are well: nobody signs in through it."""
        self._peer: Peer | None = None
        self._to_client: list[bytes] = []
        self._to_server: list[bytes] = []
        self._steps: list[Step] = []
        """What is left of a command that we send; each waits for a ``+``."""
        self._steps_tag = b""
        self._born = self._last
        self._handling = False
        """A message is with the pipeline."""
        self._learning = b""
        """The tag of a question of ours to the server: nothing is taken from the client before the answer."""
        self._leaving = False
        """The server has said BYE."""
        self._shown = False
        """The client has had a greeting."""
        self._ended = self._pumping = self._server_full = self._client_full = False

    # --- the mail program's connection --------------------------------------------------------------------------------

    def refusal(self, reply: Reply) -> bytes:
        """*reply* as a client without a session gets it."""
        return imap_commands.bye(f"[UNAVAILABLE] {reply.text}")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Lets the client in, or says BYE."""
        self._transport = transport = cast("asyncio.Transport", transport)  # uvloop's are none of asyncio's classes
        self._socket = transport.get_extra_info("socket")
        if not self._entered:
            reply = self.enter(client_of(transport.get_extra_info("peername")))
            if reply is not None:
                transport.write(self.refusal(reply))
                transport.close()
                return
        elif self._ended:  # the process began to stop during the handshake
            transport.abort()
            return
        transport.set_write_buffer_limits(HIGH, LOW)
        networks = self._listener.networks
        if networks is not None and self._ip not in networks and self._named:
            refused = not_on_the_list(self._ip)
            peer = Peer(self._ip, self._port, through=self._through)
            self._door.record(peer, "", "", Refused(refused, "address-not-listed"), self._listener.door)
            self._end("address not listed", f"[ALERT] {refused.text}")
            return
        self._barred = not self._named
        if self._client.tls:
            self._door.spawn(self._connect())
        else:
            assert self._settings.imap is not None
            self._shown = True
            transport.write(self._settings.imap.clear)

    def data_received(self, data: bytes) -> None:
        """Octets of the mail program."""
        self._last = self._loop.time()
        if self._ended:
            return
        if self._tls_data is not None:
            self._tls_data.append(data)
            return
        if _QUICKACK is not None and self._reserved:
            # Programs that write a literal in two pieces wait for our acknowledgement of the first; the kernel forgets this again.
            self._socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
        self._client.receive(data)
        self._pump()

    def pause_writing(self) -> None:
        """The client does not read: nor do we from its server, nor is anything more done for it."""
        self._client_full = True
        if self._upstream is not None and not self._upstream.is_closing():
            self._upstream.pause_reading()

    def resume_writing(self) -> None:
        """It reads again."""
        self._client_full = False
        if self._upstream is not None and not self._upstream.is_closing():
            self._upstream.resume_reading()
        self._pump()

    def connection_lost(self, exc: Exception | None) -> None:
        """The server's connection ends with it. A message that is with the pipeline goes on, and is filed nowhere."""
        self._transport = None
        self._ended = True
        self._leave_server()
        self._let_go()
        self.leave()

    # --- between them -------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        if self._to_server:
            if self._upstream is not None and not self._upstream.is_closing():
                self._upstream.writelines(self._to_server)
            self._to_server.clear()
        if due := self._order.due(self._server.between):
            self._to_client.append(due)
        if self._to_client:
            if self._transport is not None and not self._transport.is_closing():
                self._transport.writelines(self._to_client)
            self._to_client.clear()

    def _fault(self) -> None:
        _log.exception("imap.fault", **{"client.ip": self._ip})
        self._door.count("faults")
        self._end("fault", FAULT)

    # --- what a session adds ------------------------------------------------------------------------------------------

    async def _connect(self) -> None:
        """Connects to the server."""
        raise NotImplementedError

    def _let_go(self) -> None:
        """Gives back what the session held."""
        raise NotImplementedError

    # --- STARTTLS -----------------------------------------------------------------------------------------------------

    async def _negotiate(self) -> None:
        context = self._settings.tls
        if context is None or self._transport is None:
            self._end("no certificate", FAULT)
            return
        if await self._handshake(context, "imap"):
            self._transport.set_write_buffer_limits(HIGH, LOW)
            self._client.tls_started()
            self._client.tls = True
            self._replay()
            self._door.spawn(self._connect())

    # --- who it is, time and ends -------------------------------------------------------------------------------------

    def _identity(self) -> Peer:
        """The peer without its login."""
        if self._peer is None:
            tls = self._transport.get_extra_info("ssl_object") if self._transport is not None else None
            version, cipher, bits = "", "", 0
            if tls is not None:
                version = tls.version() or ""
                cipher, _, bits = tls.cipher() or ("", "", 0)
            self._peer = Peer(
                self._ip, self._port, tls_version=version, tls_cipher=cipher, tls_bits=bits, listed=self._listed, through=self._through
            )
        return self._peer

    def check(self, now: float, *, stressed: bool) -> None:
        """Ends the session if it is over any of its times; called about once a second."""
        limits, quiet = self._settings.config.limits, now - self._last
        if self._ended:
            if quiet > _LINGER and self._transport is not None:
                self._transport.abort()
        elif self._handling:
            return
        elif not self._client.signed_in or self._learning:
            if now - self._born > limits.imap_login:
                self._end("login deadline", NOBODY)
        elif self._reserved and not self._order.outstanding:
            if quiet > limits.data_idle:
                self._end("idle in message", TIMEOUT)
        elif quiet > limits.imap_idle:
            self._end("idle", TIMEOUT)

    def retire(self, now: float, since: float) -> bool:
        """Mail programs stay for days, mostly in IDLE; each comes back by itself. One that is never quiet has limits.session."""
        limits = self._settings.config.limits
        quiet = now - max(self._last, since) > limits.idle_stressed or now - since > limits.session
        if not quiet or self._ended or self._client.amid:
            return False
        self.drain()
        return self._ended

    def drain(self) -> None:
        """The process is stopping: a session without a command under way ends now, the others after theirs."""
        client = self._client
        waits = self._order.outstanding and not client.idle
        if not (self._handling or self._reserved or (waits and client.signed_in)):
            self._end("drain", STOPPING)

    def end(self) -> None:
        """The time to stop is over."""
        if not self._handling:
            self._end("stop", STOPPING)

    def _end(self, reason: str, words: str) -> None:
        """Says BYE with *words*, unless a response of the server is half out, and closes; without *reason* the client wanted it."""
        if self._ended:
            return
        self._ended = True
        self._last = self._loop.time()
        if reason:
            self._door.count("closed: " + reason)
            _log.info("imap.closed", reason=reason, **{"client.ip": self._ip})
        self._leave_server()
        transport = self._transport
        if transport is None:
            return
        if self._tls_data is not None:
            transport.abort()
            return
        if self._server.between:
            self._to_client.append(self._order.rest())
            if words:
                self._to_client.append(imap_commands.bye(words))
        self._to_server.clear()
        self._flush()
        if not self._handling:
            self._let_go()
        transport.close()
        self._resume_reading()  # else nobody would see it go

    def _leave_server(self) -> None:
        """Ends the connection to the server, or the way there."""
        if self._upstream is not None:
            self._upstream.close()
        if self._connecting is not None:
            self._connecting.cancel()

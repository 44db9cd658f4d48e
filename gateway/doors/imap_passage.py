"""The way between a mail program and its IMAP server: octets go through both codecs, each side as fast as the other takes them.

What it is: ``Passage``, the server's side of a session and the pump between both. ``ServerLink`` is its ear at the server's side.
Who calls it: ``doors.imap_login`` and ``doors.imap``, whose base it is.
Must never: read on from one side while the other does not take it; let a reply of ours overtake one of the server to an earlier command;
show the client a ``+`` that is for a command of ours.
Sources: RFC 9051 sections 5.5, 7.1 and 7.6; hostile-inputs catalogue I02, I04, I05, I07, I08, I10.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gateway import logs
from gateway.doors.imap_connection import FAULT, HIGH, LOW, ImapConnection
from gateway.doors.imap_upstream import Upstream, UpstreamAway
from gateway.wire.imap_events import Bye, Capabilities, ClientEvent, Greeting, ImapError, Pass, Plus, ServerEvent, Step, Tagged, Told

_PENDING = 65_536  # octets that may wait behind a command that is being decided
AWAY = "[UNAVAILABLE] The mail server cannot be reached at present. Please try again later."
BROKEN = "[UNAVAILABLE] The mail server broke off. Please try again."
_log = logs.get("gateway.doors.imap")


class ServerLink(asyncio.Protocol):
    """The server's end, for the event loop."""

    __slots__ = ("_session",)

    def __init__(self, session: Passage) -> None:
        self._session = session

    def data_received(self, data: bytes) -> None:
        """Octets of the server."""
        self._session.server_received(data)

    def pause_writing(self) -> None:
        """It does not take more at present."""
        self._session.server_full(True)

    def resume_writing(self) -> None:
        """It does again."""
        self._session.server_full(False)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._session.server_lost()


class Passage(ImapConnection):
    """Both sides of one session."""

    __slots__ = ()

    # --- the server's connection --------------------------------------------------------------------------------------

    async def _connect(self) -> None:
        settings = self._settings
        assert settings.imap is not None
        if self._transport is None or self._ended:
            return
        try:
            transport, said = await self._reach(settings.imap.upstream)
        except UpstreamAway as error:
            self._door.count("imap server away")
            _log.warning("imap.server_away", **{"error.message": str(error)})
            self._end("server away", AWAY)
            return
        except Exception:
            _log.exception("imap.fault", **{"client.ip": self._ip})
            self._end("fault", FAULT)
            return
        if self._transport is None or self._ended:
            transport.abort()
            return
        self._upstream = transport
        transport.set_write_buffer_limits(HIGH, LOW)
        self.server_received(said)
        if not transport.is_closing():
            transport.resume_reading()

    async def _reach(self, upstream: Upstream) -> tuple[asyncio.Transport, bytes]:
        """A connection to the server; who leaves meanwhile ends the way there."""
        self._connecting = asyncio.current_task()
        try:
            return await upstream.connect(ServerLink(self), self._settings.config.limits)
        finally:
            self._connecting = None

    def server_received(self, data: bytes) -> None:
        """Octets of the server."""
        if self._ended or self._transport is None:
            return
        server, order, out = self._server, self._order, self._to_client
        if order.outstanding and not self._client.idle:
            self._last = self._loop.time()
        try:
            server.receive(data)
            while (event := server.next_event()) is not None:
                if type(event) is Pass:
                    out.append(event.octets)
                else:
                    self._server_event(event)
        except ImapError as error:
            _log.warning("imap.server_protocol", **{"error.message": str(error)})
            self._end("server protocol", BROKEN)
            return
        except Exception:
            self._fault()
            return
        self._pump()

    def _server_event(self, event: ServerEvent) -> None:
        out = self._to_client
        if isinstance(event, Tagged):
            if event.tag == self._steps_tag:
                self._steps.clear()
            self._client.answered(event.tag, event.word == b"OK")
            shown = self._order.replied(event.tag)
            if shown:
                out.append(event.octets)
            if due := self._order.due(self._server.between):
                out.append(due)
            self._replied(event)
        elif isinstance(event, Plus):
            if self._steps:
                self._to_server.extend(self._steps.pop(0))
            else:
                self._asked(event)
        elif isinstance(event, Greeting):
            if event.word != b"OK":
                raise ImapError("The greeting is not OK.")
            if not self._shown:
                self._shown = True
                out.append(event.octets)
        elif isinstance(event, Bye):
            self._leaving = True
            out.append(event.octets)
        elif isinstance(event, Told):
            self._told(event)
        elif isinstance(event, Capabilities | Pass):
            out.append(event.octets)

    def server_full(self, full: bool) -> None:
        """The server takes no more octets, or does again."""
        self._server_full = full
        if full:
            self._pause_reading()
        else:
            self._pump()

    def server_lost(self) -> None:
        """The server has closed."""
        self._end("" if self._leaving else "server lost", "" if self._leaving else BROKEN)

    def _send(self, tag: bytes, steps: Sequence[Step]) -> None:
        """Sends a command whose *steps* but the first wait for a ``+`` each, which the client does not see."""
        self._order.sent(tag)
        self._to_server.extend(steps[0])
        self._steps_tag, self._steps = tag, list(steps[1:])

    # --- between them -------------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Takes what the client said as far as it may be taken now, then writes to both sides."""
        if self._pumping or self._transport is None:
            return
        self._pumping = True
        client, order = self._client, self._order
        try:
            while not (
                self._ended or self._server_full or self._client_full or order.full or self._learning
                or (self._upstream is None and client.tls)
            ):  # fmt: skip
                event = client.next_event()
                if event is None:
                    break
                self._dispatch(event)
        except Exception:
            self._pumping = False
            self._fault()
            return
        self._pumping = False
        self._flush()
        if self._server_full or self._client_full or client.pending > _PENDING:
            self._pause_reading()
        else:
            self._resume_reading()

    # --- what a session adds ------------------------------------------------------------------------------------------

    def _dispatch(self, event: ClientEvent) -> None:
        """Does what the client wants."""
        raise NotImplementedError

    def _replied(self, event: Tagged) -> None:
        """The server has answered a command, and the client has it."""
        raise NotImplementedError

    def _told(self, event: Told) -> None:
        """The server has answered a question of ours. Raises ImapError."""
        raise NotImplementedError

    def _asked(self, event: Plus) -> None:
        """The server wants more of a command of the client's."""
        raise NotImplementedError

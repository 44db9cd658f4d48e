"""The connection under a milter session: its transport, its clock, its memory and its end.

What it is: ``MilterConnection``, an asyncio.Protocol that lets an MTA in, feeds the codec, obeys back-pressure and ends what lasts too
long. It makes no decision about mail.
Who calls it: the event loop, and ``doors.milter`` whose ``MilterSession`` it is the base of.
Must never: answer for the door when it closes (an MTA whose filter is gone defers the message); keep a timer for a connection (one
sweep of the door watches all of them).
Sources: tcp(7) (TCP_QUICKACK does not last); hostile-inputs catalogue T05, T06, T12 and section 4.4.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import cast

from gateway import logs
from gateway.doors.door import PLAIN, Door, Listener
from gateway.doors.guest import client_of
from gateway.doors.memory import Borrower
from gateway.reply import Reply
from gateway.wire.milter import Milter

_PENDING = 65_536  # octets that may wait behind an event that is being decided
_log = logs.get("gateway.doors.milter")


class MilterConnection(Borrower):
    """One connection of an MTA."""

    def __init__(self, door: Door, listener: Listener = PLAIN) -> None:
        super().__init__(door, listener)
        self._codec = Milter(self._settings.config.max_message_size)
        self._socket: socket.socket | None = None
        """Where TCP_QUICKACK has to be asked for again and again; None for a unix socket."""
        self._begun = self._text_since = 0.0

    # --- the connection -----------------------------------------------------------------------------------------------

    def _is_expected(self) -> bool:
        return True  # an MTA is no stranger; the address is its own, never its client's

    def refusal(self, reply: Reply) -> bytes:
        """Nothing: before the options are agreed the protocol has no word for no. The MTA finds the connection closed and defers."""
        return b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Lets the MTA in, or closes."""
        self._transport = transport = cast("asyncio.Transport", transport)  # uvloop's are none of asyncio's classes
        peername = transport.get_extra_info("peername")
        reply = None if self._entered else self.enter(client_of(peername))
        if reply is not None or self._door.draining:
            transport.close()
            return
        if isinstance(peername, tuple):
            if self._listener.networks is not None and self._ip not in self._listener.networks:
                self._close("address not listed")
                return
            self._socket = transport.get_extra_info("socket")
            if self._socket is not None:
                # An MTA that lost its power says nothing, and silence between messages is in order.
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._acknowledge()

    def _acknowledge(self) -> None:
        """Asks the kernel not to wait with acknowledgements: an MTA with Nagle's algorithm waits 40 ms a message for them."""
        if self._socket is not None and hasattr(socket, "TCP_QUICKACK"):
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def data_received(self, data: bytes) -> None:
        """Octets off the wire."""
        self._last = self._loop.time()
        self._acknowledge()
        self._codec.feed(data)
        self._pump()

    def eof_received(self) -> bool:
        """The MTA says no more: what is being decided goes on and has nobody to be told to."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Gives back what the session held. A message that is with the pipeline goes on, and holds its memory itself."""
        self._transport = self._socket = None
        self._stop_waiting()
        self._forget()
        self._give_memory()
        self._codec.close()
        self.leave()

    # --- what the session adds ----------------------------------------------------------------------------------------

    def _forget(self) -> None:
        """Drops what is known of the message under way."""
        raise NotImplementedError

    def _watch(self, now: float) -> bool:
        """Looks after a message that is with the pipeline; says whether there is one."""
        raise NotImplementedError

    def _read_or_wait(self) -> None:
        """Goes on reading unless somebody has to catch up first: the budget, the pipeline, the MTA itself."""
        codec = self._codec
        if self._waiting_since or (codec.asked and codec.pending > _PENDING):
            self._pause_reading()
        elif not self._write_paused:
            self._resume_reading()

    # --- memory -------------------------------------------------------------------------------------------------------

    def _account(self) -> None:
        """Keeps the memory that is taken in step with what is kept here of a message, and of a packet that is not whole."""
        codec = self._codec
        if codec.in_message and not codec.lost:
            self._keep_up(codec.memory + codec.pending)
        elif codec.pending > _PENDING:  # no packet of an MTA is so long, with the content of a message or without
            self._keep_up(codec.pending)
        elif not self._waiting_since:
            self._give_memory()

    def _is_over(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    def _lent(self, waited: float) -> None:
        if self._text_since:
            self._text_since += waited

    def _no_memory(self) -> None:
        """The end of the message is answered 452. A packet that needs so much, and is of no message that is kept, ends the connection."""
        codec = self._codec
        if not codec.in_message or codec.lost or codec.pending > _PENDING:
            self._close("no memory for a packet")
            self._give_memory()
            return
        codec.discard()
        self._give_memory()
        self._last = self._loop.time()

    # --- time and ends ------------------------------------------------------------------------------------------------

    def check(self, now: float, *, stressed: bool) -> None:
        """Ends the session if it is over any of its times; called about once a second. Between messages an MTA may be silent as long as
        it likes: that is its client's silence."""
        limits, codec = self._settings.config.limits, self._codec
        quiet = now - self._last
        if self._transport is None:
            return
        if self._write_paused and quiet > limits.data_idle:
            self._close("answers not read")
        elif self._watch(now):
            return
        elif self._waiting_since:
            self._give_up_waiting(now)
        elif codec.negotiated is None or (codec.pending and not codec.asked and not codec.text_octets):
            if quiet > limits.command_deadline:
                self._close("command deadline")
        elif codec.in_message and codec.text_octets:
            if quiet > limits.data_idle:
                self._close("idle in message")
            elif now - self._text_since > limits.session:
                self._close("slow message")
        elif codec.in_message and now - self._begun > limits.session:
            self._close("session limit")

    def retire(self, now: float, since: float) -> bool:
        """The MTA has nothing under way, and may keep the connection as long as it likes."""
        if self._codec.in_message or now - max(self._last, since) <= self._settings.config.limits.idle_stressed:
            return False
        self._close("retired")
        return True

    def drain(self) -> None:
        """The process is stopping: a connection without a message ends now, the others after theirs."""
        if not self._codec.in_message:
            self._close("drain")

    def end(self) -> None:
        """The time to stop is over; a message that is with the pipeline has until the process ends."""
        if not self._codec.asked:
            self._close("stop")

    def _close(self, reason: str = "") -> None:
        """Ends the connection; *reason* is empty when the MTA wanted it."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self._forget()
        self._codec.close()
        if reason:
            self._door.count("closed: " + reason)
            _log.info("milter.closed", reason=reason, **{"client.ip": self._ip})
        self._flush()
        if self._write_paused:
            transport.abort()
        else:
            transport.close()

    def _flush(self) -> None:
        out = self._codec.output()
        if out and self._transport is not None:
            self._transport.write(out)

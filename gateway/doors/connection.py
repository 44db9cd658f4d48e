"""The connection under an SMTP session: its transport, its clock, its memory and its end.

What it is: ``Connection``, an asyncio.Protocol that lets a client in, feeds the codec, negotiates TLS, obeys back-pressure, ends
what lasts too long, and closes so that the last reply arrives. It makes no decision about mail.
Who calls it: the event loop, and ``doors.smtp`` whose ``Session`` it is the base of.
Must never: give the codec octets that came in clear as if they had come through TLS; keep a timer for an idle connection (one
sweep of the door watches all of them).
Sources: RFC 5321 sections 3.8 and 4.5.3.2; RFC 3207; RFC 9293 section 3.6.1 (why a close may destroy a reply);
hostile-inputs catalogue S19-S24, S32-S35 and section 4.4.
"""

from __future__ import annotations

import asyncio
from typing import cast

from gateway import logs
from gateway.doors.door import PLAIN, Door, Listener
from gateway.doors.guest import client_of
from gateway.doors.memory import Borrower
from gateway.doors.relaying import Refused
from gateway.envelope import Peer
from gateway.reply import SHUTTING_DOWN, Reply
from gateway.wire.smtp import Server
from gateway.wire.smtp_events import Phase

_QUIET = 2.0  # seconds of silence after which a session that was ended is dropped
_LINGER = 30.0  # seconds for which it is listened to at most
_TIMEOUT = Reply(421, "4.4.2", "Nothing came for too long; closing the session.")
_SLOW = Reply(421, "4.4.2", "The message came too slowly; closing the session.")
_OVERTIME = Reply(421, "4.4.2", "The session lasted too long; closing it.")
_log = logs.get("gateway.doors.smtp")


def not_on_the_list(ip: str) -> Reply:
    """The answer to a client that is not in the ``networks`` of where it connects."""
    return Reply(
        554, "5.7.1", f"Your computer's address {ip} is not on the list allowed to send official mail. Ask your IT cell to add it."
    )


class Connection(Borrower):
    """One connection."""

    __slots__ = (
        "_barred", "_born", "_codec", "_command_since", "_end_of_input", "_handling", "_linger_until", "_peer", "_text_since", "_timer",
    )  # fmt: skip

    def __init__(self, door: Door, listener: Listener = PLAIN) -> None:
        super().__init__(door, listener)
        self._codec = self._make_codec()
        self._barred: Reply | None = None
        """Why this client may not send, where it is told so at MAIL."""
        self._peer: Peer | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._born = self._last
        self._command_since = self._text_since = self._linger_until = 0.0
        self._handling = self._end_of_input = False

    # --- the connection -----------------------------------------------------------------------------------------------

    def _make_codec(self) -> Server:
        return Server(self._settings.offer, self._settings.ehlo)

    def refusal(self, reply: Reply) -> bytes:
        """*reply* as a client without a session gets it."""
        return reply.encode()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Lets the client in, or says 421."""
        self._transport = transport = cast("asyncio.Transport", transport)  # uvloop's are none of asyncio's classes
        if not self._entered:
            reply = self.enter(client_of(transport.get_extra_info("peername")))
            if reply is not None:
                transport.write(reply.encode())
                transport.close()
                return
        elif self._codec.phase is Phase.CLOSED:  # the process began to stop during the handshake
            transport.abort()
            return
        if self._listener.networks is None or self._ip in self._listener.networks:
            self._welcome()
        else:
            reply = not_on_the_list(self._ip)
            if self._named:
                self._turn_away(reply)
            else:
                # A balancer's own connections, which is how it sees that we are well; nobody may send through them.
                self._barred = reply
                self._welcome()

    def _welcome(self) -> None:
        delay = self._settings.config.limits.greet_delay
        if self._known or not delay:
            self._greet()
        else:
            self._timer = self._loop.call_later(delay, self._greet)

    def _turn_away(self, reply: Reply) -> None:
        self._door.record(
            Peer(self._ip, self._port, through=self._through), "", "", Refused(reply, "address-not-listed"), self._listener.door
        )
        self._close("address not listed", reply)

    def _greet(self) -> None:
        self._timer = None
        self._codec.greet()
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Octets off the wire."""
        self._last = self._loop.time()
        if self._linger_until:
            return
        if self._tls_data is not None:
            self._tls_data.append(data)
            return
        self._codec.receive(data)
        self._pump()

    def eof_received(self) -> bool:
        """The client says no more; what is being decided is still answered (not under TLS, which cannot be half closed)."""
        self._end_of_input = True
        return self._codec.phase is Phase.ASKED and not self._codec.tls

    def connection_lost(self, exc: Exception | None) -> None:
        """Gives back what the session held. A message that is with the pipeline goes on."""
        self._transport = None
        self._stop_waiting()
        if self._timer is not None:
            self._timer.cancel()
        if not self._handling:
            self._give_memory()
        self._codec.close()
        self.leave()

    # --- STARTTLS -----------------------------------------------------------------------------------------------------

    async def _negotiate(self) -> None:
        context = self._settings.tls
        if context is None or self._transport is None:
            self._abort()
            return
        if await self._handshake(context, "smtp"):
            self._peer = None
            self._codec.tls_started(self._ehlo_under_tls())
            self._last = self._loop.time()
            self._replay()

    def _ehlo_under_tls(self) -> bytes:
        return self._settings.ehlo_tls

    # --- time and ends ------------------------------------------------------------------------------------------------

    def check(self, now: float, *, stressed: bool) -> None:
        """Ends the session if it is over any of its times; called about once a second."""
        limits, phase = self._settings.config.limits, self._codec.phase
        quiet = now - self._last
        if self._linger_until:
            if quiet > _QUIET or now > self._linger_until:
                self._abort()
        elif self._waiting_since:
            self._give_up_waiting(now)
        elif phase is Phase.TEXT:
            self._check_text(now, quiet)
        elif phase is Phase.CLOSED:
            if quiet > _LINGER:
                self._abort()  # it does not even read our last words
        elif phase is Phase.COMMAND or phase is Phase.AUTH:
            if now - self._born > limits.session:
                self._close("session limit", _OVERTIME)
            elif self._command_since and now - self._command_since > limits.command_deadline:
                self._close("command deadline", _TIMEOUT)
            elif quiet > (limits.idle_stressed if stressed else limits.idle):
                self._close("idle", _TIMEOUT)

    def _check_text(self, now: float, quiet: float) -> None:
        limits = self._settings.config.limits
        lasted = now - self._text_since
        if quiet > limits.data_idle:
            self._close("idle in message", _TIMEOUT)
        elif lasted > self._door.rate_grace and self._codec.text_octets < limits.data_min_rate * lasted:
            self._close("slow message", _SLOW)
        elif now - self._born > limits.session:
            self._close("session limit", _OVERTIME)

    def retire(self, now: float, since: float) -> bool:
        """It goes on: limits.session ends it."""
        return False

    def drain(self) -> None:
        """The process is stopping: a session without a transaction ends now, the others after theirs."""
        codec = self._codec
        if codec.phase in (Phase.SILENT, Phase.AUTH) or (codec.phase is Phase.COMMAND and codec.mail is None):
            self._close("drain", SHUTTING_DOWN)

    def end(self) -> None:
        """The time to stop is over."""
        if not self._handling:
            self._close("stop", SHUTTING_DOWN)

    def _close(self, reason: str, reply: Reply | None = None) -> None:
        self._codec.close(reply)
        self._finish(reason)

    def _finish(self, reason: str) -> None:
        """Sends what is left to say and ends the connection; *reason* is empty when the client wanted it."""
        transport = self._transport
        if not self._handling:
            self._give_memory()
        if transport is None or self._linger_until:
            return
        if reason:
            self._door.count("closed: " + reason)
            _log.info("smtp.closed", reason=reason, **{"client.ip": self._ip})
        if self._tls_data is not None:
            self._abort()  # in the middle of a handshake nothing can be said
            return
        spoken = self._flush()
        if not reason or self._codec.tls:
            transport.close()
        elif not spoken:
            self._abort()
        else:
            # Closing a socket with unread octets resets it, and the client would never read the reply: say that we are done
            # and throw away what comes until the client is done too.
            self._linger_until = self._loop.time() + _LINGER
            self._resume_reading()
            try:
                transport.write_eof()
            except (OSError, RuntimeError):
                transport.close()

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _flush(self) -> bool:
        out = self._codec.output()
        if out and self._transport is not None:
            self._transport.write(out)
        return bool(out)

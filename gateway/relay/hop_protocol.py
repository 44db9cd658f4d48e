"""A conversation with a next hop that may be hostile: what is asked, what is answered, and by when.

What it is: ``Conversation``, an asyncio protocol that writes commands and waits for whole replies; greeting, EHLO, STARTTLS, QUIT.
Who calls it: ``smtp_client.Connection`` adds transactions to it; ``pool`` opens it.
Must never: believe a reply that came before its command; wait longer than its timers; keep more of a hop's words than one reply.
Sources: RFC 5321 sections 3.1, 4.5.3.2, RFC 3207, RFC 2920; hostile-inputs catalogue O04, O06, O07, O08.
"""

from __future__ import annotations

import asyncio
import enum
from typing import Any, cast

from gateway.config import Limits
from gateway.reply import Reply
from gateway.wire.smtp_client import Capabilities, HopProtocolError, HopReply, ReplyParser

BLOCK = 65_536
"""Octets written before the transport must have room again."""


class Fault(enum.Enum):
    """What a HopError says about the hop."""

    DOWN = "down"
    """No conversation at all: every other message would meet the same."""
    UNPROTECTED = "unprotected"
    """There is a hop, but no AES-256 protected way to it."""
    LOST = "lost"
    """The conversation ended in the middle of this message."""
    STALE = "stale"
    """A kept connection was closed before it answered: a fresh one may be tried at once."""


class HopError(Exception):
    """The message was not handed over. *reply* is a 4xx in our words; *possible_duplicate*: the hop may have it all the same."""

    def __init__(self, fault: Fault, reply: Reply, *, possible_duplicate: bool = False) -> None:
        super().__init__(f"{fault.value}: {reply}")
        self.fault = fault
        self.reply = reply
        self.possible_duplicate = possible_duplicate


def temporary(enhanced: str, text: str, code: int = 451) -> Reply:
    """A deferral in our own words."""
    return Reply(code, enhanced, text)


CLOSED = temporary("4.4.2", "The next server closed the connection")
TIMED_OUT = temporary("4.4.2", "The next server did not answer in time")
BROKEN = temporary("4.5.0", "The next server broke the protocol")


class Conversation(asyncio.Protocol):
    """A conversation with a next hop. Used by one task at a time; after any HopError it is of no use."""

    def __init__(self, limits: Limits, helo: str) -> None:
        self._limits = limits
        self._helo = helo
        self._loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self.capabilities = Capabilities()
        self.way = "clear"
        """``loopback``, ``clear``, or TLS version, cipher and whether verified."""
        self.uses = 0
        self.idle_since = 0.0
        self._parser = ReplyParser()
        self._got: list[HopReply] = []
        self._want = 1  # the greeting, which may be here before anybody waits for it
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._patience = 0.0
        self._latest = 0.0
        self._error: HopError | None = None
        self._early = False
        self._dot = False
        self._reset = False
        self._room: asyncio.Future[None] | None = None
        self._paused = False
        self._closing = False

    # --- asyncio.Protocol ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=2 * BLOCK)

    def data_received(self, data: bytes) -> None:
        if self._closing:
            if b"\n" in data:
                self.transport.close()
            return
        try:
            replies = self._parser.feed(data)
        except HopProtocolError:
            self._fail(HopError(Fault.LOST, BROKEN, possible_duplicate=self._dot))
            return
        got, want = self._got, self._want
        for reply in replies:
            if len(got) < want:
                got.append(reply)
                if reply.code == 421:  # it is about to close: whatever else was asked stays unanswered
                    want = self._want = len(got)
            else:
                self._early = True
        if not want:
            self._early = True
            return
        if len(got) == want:
            self._early = self._early or self._parser.pending
            self._want = 0
            self._settle()
        elif replies:
            self._latest = self._loop.time() + self._patience

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._fail(HopError(Fault.LOST, CLOSED, possible_duplicate=self._dot), abort=False)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    # --- the inside ---------------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, error: HopError, *, abort: bool = True) -> None:
        if self._error is None:
            self._error = error
        self._settle()
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        if abort and self.transport is not None:
            self.transport.abort()

    def _tick(self) -> None:
        """The one timer of the connection: patience counts from the latest whole reply, not from the latest octet.

        It is left running from exchange to exchange, since setting and cancelling one costs more than a late look.
        """
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return
        left = self._latest - self._loop.time()
        if left > 0:
            self._arm(left)
        else:
            self._fail(HopError(Fault.LOST, TIMED_OUT, possible_duplicate=self._dot))

    def _arm(self, wait: float) -> None:
        at = self._loop.time() + wait
        if self._timer is not None:
            if self._timer.when() <= at:
                return
            self._timer.cancel()
        self._timer = self._loop.call_later(wait, self._tick)

    async def _exchange(self, data: bytes, count: int, patience: float) -> list[HopReply]:
        """Writes *data* and returns *count* replies (fewer when a 421 ended it). Each may take *patience* seconds."""
        if self._error is not None:
            raise self._error
        if self._early:
            raise self._broken()
        self._got, self._want = [], count
        if data:
            self.transport.write(data)
        return await self._answers(count, patience)

    async def _answers(self, count: int, patience: float) -> list[HopReply]:
        self._patience = patience
        self._latest = self._loop.time() + patience
        self._waiter = self._loop.create_future()
        if self._error is not None or len(self._got) == count:
            self._waiter.set_result(None)
        self._arm(patience)
        try:
            await self._waiter
        except asyncio.CancelledError:
            self._fail(HopError(Fault.LOST, CLOSED, possible_duplicate=self._dot))
            raise
        finally:
            self._waiter = None
            self._want = 0
        if len(self._got) < count and not (self._got and self._got[-1].code == 421):
            assert self._error is not None
            raise self._error
        return self._got

    def _broken(self) -> HopError:
        error = HopError(Fault.LOST, BROKEN, possible_duplicate=self._dot)
        self._fail(error)
        return error

    @property
    def usable(self) -> bool:
        """Whether another transaction may begin."""
        return self._error is None and not self._early and not self._closing and not self.transport.is_closing()

    # --- opening ------------------------------------------------------------------------------------------------------

    async def greet(self) -> None:
        """Waits for the greeting and says EHLO (HELO to a server that does not know it). Raises HopError with Fault.DOWN."""
        try:
            greeting = (await self._answers(1, self._limits.relay_command))[0]
            if self._early:
                raise self._broken()
            if greeting.code != 220:
                raise self._refused(greeting, "greeting")
            await self.hello()
        except HopError as error:
            raise HopError(Fault.DOWN, error.reply) from error

    async def hello(self) -> None:
        """EHLO, forgetting what was offered before (RFC 3207 section 4.2). Raises HopError."""
        self.capabilities = Capabilities()
        reply = await self._ask(f"EHLO {self._helo}\r\n".encode("ascii"))
        if reply.code in (500, 502, 504):
            reply = await self._ask(f"HELO {self._helo}\r\n".encode("ascii"))
            if reply.code == 250:
                return
        if reply.code != 250:
            raise self._refused(reply, "EHLO")
        self.capabilities = Capabilities.parse(reply)

    async def _ask(self, line: bytes) -> HopReply:
        reply = (await self._exchange(line, 1, self._limits.relay_command))[0]
        if self._early:
            raise self._broken()
        return reply

    def _refused(self, reply: HopReply, where: str) -> HopError:
        """A hop that refuses the conversation as such: always temporary, since no recipient is at fault (the hop is configured)."""
        said = reply.as_reply()
        error = HopError(Fault.DOWN, temporary("4.4.1", f"The next server answered {where} with {said.code} {said.enhanced} {said.text}"))
        self._fail(error)
        return error

    async def start_tls(self, context: Any, name: str) -> Any:
        """STARTTLS and the handshake; what the hop sent behind its 220 in clear ends the connection. Returns the SSL object.

        Raises HopError, ssl.SSLError, OSError or TimeoutError; EHLO has to be said again.
        """
        reply = await self._ask(b"STARTTLS\r\n")
        if reply.code != 220:
            raise self._refused(reply, "STARTTLS")
        transport = await self._loop.start_tls(
            self.transport, self, context, server_hostname=name, ssl_handshake_timeout=max(self._limits.tls_handshake, 0.01)
        )
        if transport is None or self._error is not None:
            raise self._error or HopError(Fault.LOST, CLOSED)
        self.transport = transport
        self.transport.set_write_buffer_limits(high=2 * BLOCK)
        self._parser = ReplyParser()
        return transport.get_extra_info("ssl_object")

    # --- the end ------------------------------------------------------------------------------------------------------

    def quit(self) -> None:
        """Says QUIT and closes when it is answered, at the latest after ``relay_quit`` seconds. Does not wait."""
        if self._closing or self.transport is None:
            return
        if not self.usable:
            self.transport.abort()
            return
        self._closing = True
        self.transport.write(b"QUIT\r\n")
        self._loop.call_later(self._limits.relay_quit, self.transport.abort)

    def abort(self) -> None:
        """Drops the connection at once."""
        self._fail(HopError(Fault.LOST, CLOSED, possible_duplicate=self._dot))

"""A scriptable next hop on loopback: by default a good server that keeps what it got; each step can be made to misbehave.

``Hop(replies={"RCPT": ...})``: a value for EHLO, MAIL, RCPT, DATA, DOT, RSET, QUIT, STARTTLS or BANNER is bytes to send, ``CLOSE``,
``SILENT``, a ``Slow``, or a callable of the line that returns one of these (None: the default reply).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

CLOSE = object()
SILENT = object()


@dataclass(frozen=True)
class Slow:
    """*data* an octet at a time, *pause* seconds apart."""

    data: bytes
    pause: float = 0.05


@dataclass
class Taken:
    """One transaction that reached its dot, as the hop saw it."""

    mail: str
    rcpts: list[str]
    content: bytes
    stuffed: bytes


OFFER = ("PIPELINING", "SIZE 0", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES", "")


@dataclass
class Hop:
    """Use as ``async with Hop(...) as hop``; ``hop.address`` is what a route names."""

    replies: dict[str, Any] = field(default_factory=dict)
    offer: tuple[str, ...] = OFFER
    tls: ssl.SSLContext | None = None
    path: str = ""
    host: str = "127.0.0.1"
    port: int = 0
    taken: list[Taken] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    most_open: int = 0
    secure: list[bool] = field(default_factory=list)
    after_starttls: bytes = b""

    async def __aenter__(self) -> Hop:
        await self.start()
        return self

    async def start(self) -> None:
        if self.path:
            self.server: Any = await asyncio.start_unix_server(self._serve, self.path)
        else:
            self.server = await asyncio.start_server(self._serve, self.host, self.port)
            self.port = self.server.sockets[0].getsockname()[1]
        self._sessions: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        self.server.close()
        for task in list(self._sessions):
            task.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def address(self) -> str:
        return f"unix:{self.path}" if self.path else f"{self.host}:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._sessions.add(task)
        self.connections += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            await self._talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ssl.SSLError, OSError, asyncio.CancelledError):
            pass
        finally:
            self.open -= 1
            self._sessions.discard(task)
            writer.transport.abort()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not await self._reply(writer, "BANNER", "", b"220 hop ESMTP\r\n"):
            return
        mail, rcpts, secure = "", [], False
        while line := await reader.readline():
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            self.lines.append(text)
            verb = text[:4].upper() if text[:8].upper() != "STARTTLS" else "STARTTLS"
            if verb == "EHLO":
                offer = [*self.offer, "STARTTLS"] if self.tls is not None and not secure else list(self.offer)
                default = b"".join(b"250-" + o.encode() + b"\r\n" for o in ["hop", *offer]) + b"250 HELP\r\n"
            elif verb == "STARTTLS":
                default = b"220 go\r\n" + self.after_starttls
            elif verb == "RCPT" and not mail:
                default = b"503 5.5.1 MAIL first\r\n"
            elif verb == "DATA":
                default = b"354 go\r\n" if rcpts else b"503 5.5.1 no recipients\r\n"
            elif verb == "QUIT":
                default = b"221 2.0.0 bye\r\n"
            else:
                default = b"250 2.1.0 ok\r\n"
            before = len(self.taken)
            answered = await self._reply(writer, verb, text, default)
            if not answered:
                return
            if verb == "QUIT":
                return
            if verb in ("MAIL", "RSET"):
                mail, rcpts = text if verb == "MAIL" and self._said.startswith(b"2") else "", []
            elif verb == "RCPT" and self._said.startswith(b"2"):
                rcpts.append(text)
            elif verb == "STARTTLS" and self._said.startswith(b"220"):
                assert self.tls is not None
                await writer.start_tls(self.tls)
                secure = True
            elif verb == "DATA" and self._said.startswith(b"354"):
                stuffed = await self._data(reader)
                content = stuffed.removesuffix(b".\r\n")
                content = content[1:] if content.startswith(b".") else content
                self.taken.append(Taken(mail, rcpts, content.replace(b"\r\n..", b"\r\n."), stuffed))
                self.secure.append(secure)
                if not await self._reply(writer, "DOT", "", b"250 2.0.0 queued\r\n"):
                    return
                if not self._said.startswith(b"2"):
                    del self.taken[before:]
                mail, rcpts = "", []

    async def _data(self, reader: asyncio.StreamReader) -> bytes:
        """Everything up to and with the final dot."""
        got = [b""]
        while not (got[-1] == b".\r\n" and (len(got) == 2 or got[-2].endswith(b"\r\n"))):
            chunk = await reader.readline()
            if not chunk:
                raise ConnectionError
            got.append(chunk)
        return b"".join(got)

    async def _reply(self, writer: asyncio.StreamWriter, step: str, line: str, default: bytes) -> bool:
        """Sends the scripted reply of *step*; False ends the session."""
        reply: Any = self.replies.get(step)
        if callable(reply):
            reply = reply(line)
        self._said = b""
        if reply is None:
            reply = default
        if reply is CLOSE:
            return False
        if reply is SILENT:
            await asyncio.sleep(3600)
        if isinstance(reply, Slow):
            for octet in reply.data:
                writer.write(bytes((octet,)))
                await writer.drain()
                await asyncio.sleep(reply.pause)
            reply = reply.data
        elif isinstance(reply, tuple):  # bytes, then close
            writer.write(reply[0])
            await writer.drain()
            await asyncio.sleep(0.01)
            return False
        else:
            writer.write(reply)
            await writer.drain()
        self._said = reply
        return True


def per_recipient(replies: dict[str, bytes]) -> Callable[[str], bytes | None]:
    """A script for RCPT: the reply by address; the default for others."""

    def choose(line: str) -> bytes | None:
        return next((reply for address, reply in replies.items() if f"<{address}>" in line), None)

    return choose

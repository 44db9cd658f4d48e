"""A stand-in for the next mail server: takes every message and keeps it in a folder.

Who calls it: ``demo`` and its tests.
Must never: listen beyond loopback, send anything on, or be taken for a mail server.
Source: RFC 5321 (as much of it as a friendly client needs).
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path as FilePath
from typing import Any

_MOST = 60_000_000  # octets of one message


class NextHop:
    """One listener on 127.0.0.1; ``received`` lists sender, recipients and file of each message."""

    def __init__(self, folder: FilePath) -> None:
        self.folder = folder
        self.received: list[dict[str, Any]] = []
        self._server: asyncio.Server | None = None

    async def start(self, port: int = 0) -> int:
        """Listens on *port* (0: any) and returns the port."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._server = await asyncio.start_server(self._session, "127.0.0.1", port, limit=1 << 20)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Ends the listener."""
        if self._server is not None:
            self._server.close()

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            await self._talk(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sender, recipients = "", list[str]()
        writer.write(b"220 stand-in.invalid ESMTP\r\n")
        while True:
            line = (await asyncio.wait_for(reader.readuntil(b"\n"), 600)).decode("utf-8", "replace").strip()
            word = line.upper()
            if word.startswith("EHLO"):
                extensions = ("PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "DSN", f"SIZE {_MOST}")
                writer.write("".join(f"250-{one}\r\n" for one in ("stand-in.invalid", *extensions[:-1])).encode())
                writer.write(f"250 {extensions[-1]}\r\n".encode())
            elif word.startswith("MAIL FROM:"):
                sender, recipients = _address(line), []
                writer.write(b"250 2.1.0 ok\r\n")
            elif word.startswith("RCPT TO:"):
                recipients.append(_address(line))
                writer.write(b"250 2.1.5 ok\r\n")
            elif word == "DATA":
                writer.write(b"354 go on\r\n")
                await self._take(reader, sender, recipients)
                writer.write(b"250 2.0.0 kept\r\n")
                sender, recipients = "", []
            elif word == "QUIT":
                writer.write(b"221 2.0.0 bye\r\n")
                return
            elif word.startswith(("HELO", "RSET", "NOOP")):
                sender, recipients = "", []
                writer.write(b"250 2.0.0 ok\r\n")
            else:
                writer.write(b"502 5.5.1 not here\r\n")
            if not reader.at_eof():
                await writer.drain()

    async def _take(self, reader: asyncio.StreamReader, sender: str, recipients: list[str]) -> None:
        lines, size = [], 0
        while (line := await asyncio.wait_for(reader.readuntil(b"\r\n"), 600)) != b".\r\n":
            size += len(line)
            if size > _MOST:
                raise ConnectionError
            lines.append(line[1:] if line.startswith(b"..") else line)
        file = self.folder / f"{len(self.received) + 1:04d}.eml"
        self.received.append({"sender": sender, "recipients": recipients, "file": file})
        file.write_bytes(b"".join(lines))


def _address(line: str) -> str:
    return line.partition("<")[2].rpartition(">")[0] if "<" in line else ""

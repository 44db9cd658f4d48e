"""A next hop that takes everything, keeps nothing and counts, quick enough not to be what is measured.

What it is: ``SinkProtocol`` (one session), ``taking`` (for a process that the caller forks), and ``Sink``, a process of its own that shares
its two counts in a small file.
Who calls it: the measuring programs of this folder.
Must never: hold a message back, or answer before its last line was seen.
Source: RFC 5321 section 4.1.1 (the order of commands), RFC 2920 (PIPELINING: many lines may come at once).
"""

from __future__ import annotations

import asyncio
import mmap
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

import uvloop

from tests.e2e import leash
from tests.e2e.parts import ROOT, Hop, port_open, wait_for

_COUNTS = struct.Struct("<QQ")


class SinkProtocol(asyncio.Protocol):
    """One session; *taken* is told the recipients of each message."""

    def __init__(self, taken: Callable[[int], None] = lambda recipients: None) -> None:
        self._taken = taken
        self._rest, self._content, self._recipients = b"", False, 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's are none of asyncio's classes
        self._transport.write(b"220 sink ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        data, self._rest, out = self._rest + data, b"", []
        while data:
            if self._content:
                end = data.find(b"\r\n.\r\n")
                if end < 0:
                    self._rest = data[-4:]
                    break
                data, self._content = data[end + 5 :], False
                self._taken(self._recipients)
                self._recipients = 0
                out.append(b"250 2.0.0 taken\r\n")
                continue
            line, found, after = data.partition(b"\r\n")
            if not found:
                self._rest = data
                break
            data, verb = after, line[:4].upper()
            if verb == b"EHLO":
                out.append(b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 0\r\n")
            elif verb == b"DATA":
                out.append(b"354 go on\r\n")
                data, self._content = b"\r\n" + data, True
            elif verb == b"QUIT":
                self._transport.writelines([*out, b"221 2.0.0 bye\r\n"])
                self._transport.close()
                return
            else:
                self._recipients = self._recipients + 1 if verb == b"RCPT" else 0 if verb in (b"MAIL", b"RSET") else self._recipients
                out.append(b"250 2.0.0 ok\r\n")
        if out:
            self._transport.writelines(out)


class Sink(Hop):
    """A sink in a process of its own; it keeps nothing but what ``messages`` and ``recipients`` say."""

    def start(self) -> None:
        """Starts it with its counts at 0."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "count").write_bytes(bytes(_COUNTS.size))
        words = [sys.executable, "-m", "tests.bench.sink", str(self.port), str(self.folder / "count")]
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, cwd=ROOT, preexec_fn=leash.on())
        wait_for(lambda: port_open(self.port), 30, "the sink listens")

    @property
    def messages(self) -> int:
        """Messages that it has taken."""
        return self._counts()[0]

    @property
    def recipients(self) -> int:
        """The recipients of those messages."""
        return self._counts()[1]

    def _counts(self) -> tuple[int, int]:
        messages, recipients = _COUNTS.unpack((self.folder / "count").read_bytes())
        return messages, recipients


async def taking(listening: socket.socket) -> None:
    """Serves on a socket of the caller's, without counting, until its process is ended."""
    server = await asyncio.get_running_loop().create_server(SinkProtocol, sock=listening)
    await server.serve_forever()


async def serve(port: int, file: Path) -> None:
    """The process: serves until it is ended."""
    messages = total = 0
    with file.open("r+b") as opened:
        shared = mmap.mmap(opened.fileno(), _COUNTS.size)

    def taken(recipients: int) -> None:
        nonlocal messages, total
        messages, total = messages + 1, total + recipients
        shared[:] = _COUNTS.pack(messages, total)

    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SinkProtocol(taken), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), Path(sys.argv[2])))

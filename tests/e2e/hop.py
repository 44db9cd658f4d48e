"""A next hop that records: each message is on stable storage, with its time and recipients, before the 250.

usage: python -m tests.e2e.hop PORT FOLDER. Writes FOLDER/<n>.eml and one line a message in FOLDER/received.jsonl.
What misbehaves on request (``prove.sink_server``) is a session with faults at the stages of this one.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path


class Session(asyncio.Protocol):
    """One connection; commands by line, DATA up to CRLF.CRLF."""

    transport: asyncio.Transport

    def __init__(self, record: Record) -> None:
        self.record = record
        self.buffer = b""
        self.in_data = False
        self.sender = ""
        self.path = ""
        """Of the RCPT that is answered now."""
        self.recipients: list[str] = []

    # --- what a hop with faults does otherwise ---------------------------------------------------------------------------

    def wrong(self, stage: str) -> bool:
        """Whether something else was done at *stage* (banner, ehlo, mail, rcpt, data, dot) than what is due."""
        return False

    def say(self, octets: bytes) -> None:
        self.transport.write(octets)

    def go_on(self) -> None:
        """Asks for the content."""
        self.say(b"354 go on\r\n")

    def taken(self, content: bytes) -> None:
        """The dot was read."""
        if not self.wrong("dot"):
            self.record.add(self.sender, self.recipients, content)
            self.say(b"250 2.0.0 taken\r\n")

    def bye(self) -> None:
        """Answers QUIT."""
        self.say(b"221 2.0.0 bye\r\n")
        self.transport.close()

    # --- what it does -----------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        if not self.wrong("banner"):
            self.say(b"220 hop ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while not self.transport.is_closing():
            if self.in_data:
                end = self.buffer.find(b"\r\n.\r\n")
                if end < 0:
                    return
                content, self.buffer = self.buffer[2 : end + 2], self.buffer[end + 5 :]
                self.in_data = False
                self.taken(content.replace(b"\r\n..", b"\r\n."))
                self.sender, self.recipients = "", []
                continue
            line, found, rest = self.buffer.partition(b"\r\n")
            if not found:
                return
            self.buffer = rest
            self.command(line.decode("utf-8", "replace"))

    def command(self, line: str) -> None:
        """Answers one command."""
        verb = line[:4].upper()
        if verb == "EHLO":
            if not self.wrong("ehlo"):
                self.say(b"250-hop\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250 SIZE 0\r\n")
        elif verb == "MAIL":
            self.sender, self.recipients = line[line.index("<") + 1 : line.index(">")], []
            if not self.wrong("mail"):
                self.say(b"250 2.1.0 ok\r\n")
        elif verb == "RCPT":
            self.path = line[line.index("<") + 1 : line.index(">")]
            if not self.wrong("rcpt"):
                self.recipients.append(self.path)
                self.say(b"250 2.1.5 ok\r\n")
        elif verb == "DATA":
            self._data()
        elif verb == "QUIT":
            self.bye()
        else:
            self.say(b"250 2.0.0 ok\r\n")

    def _data(self) -> None:
        if not self.recipients:
            self.say(b"503 5.5.1 no recipients\r\n")
        elif not self.wrong("data"):
            # The octet pair in front lets an empty message end by the same five octets.
            self.in_data, self.buffer = True, b"\r\n" + self.buffer
            self.go_on()


class Record:
    """The durable list of what was taken."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = len(list(folder.glob("*.eml")))
        self.lines = (folder / "received.jsonl").open("a")

    def add(self, sender: str, recipients: list[str], content: bytes, *, answered: bool = True) -> None:
        """One message; returns when it is on the disk. *answered*: whether the client is told that it was taken."""
        self.count += 1
        name = f"{self.count:06}.eml"
        (self.folder / name).write_bytes(content)
        entry = {"time": time.time(), "sender": sender, "recipients": recipients, "file": name, "answered": answered}
        self.lines.write(json.dumps(entry) + "\n")
        self.lines.flush()
        os.fdatasync(self.lines.fileno())


async def main() -> None:
    """Serves until it is ended."""
    record = Record(Path(sys.argv[2]))
    server = await asyncio.get_running_loop().create_server(lambda: Session(record), "127.0.0.1", int(sys.argv[1]), backlog=512)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())

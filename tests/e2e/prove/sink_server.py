"""A next hop that records, and misbehaves on request: the program that ``sink.Sink`` starts.

usage: sink_server.py PORT FOLDER. FOLDER/mode holds the name of a fault of ``MODES``, or ``ok``; it is read again whenever the hop
speaks. What it takes is written as ``hop.py`` does it, with the key ``answered``: false where the 250 was kept back on purpose.
Permanent refusals hold for mail with a sender only: a report of ours that is refused is recorded by the gateway and goes nowhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from pathlib import Path

STAGES = ("banner", "ehlo", "mail", "rcpt", "data", "dot")
REFUSING = ("mail-550", "rcpt-550", "rcpt-mixed", "data-554", "dot-554")
"""The faults by which mail is rightly returned."""
MODES = (
    "refuse", "banner-421", "banner-554", "ehlo-421", "ehlo-550", "mail-421", "mail-451", "rcpt-451", "data-451", "dot-451", *REFUSING,
    *(f"close-{stage}" for stage in STAGES), "taken-close", "slow", "garbage", "endless", "long-line", "nul", "code-999", "354-twice",
    "250-before-dot", "early",
)  # fmt: skip
TICK = 0.05


class Session(asyncio.Protocol):
    """One connection; commands by line, DATA up to CRLF.CRLF."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.buffer = b""
        self.in_data = False
        self.sender = ""
        self.recipients: list[str] = []
        self.path = ""
        self.speaking: asyncio.Task[None] | None = None
        self.said: asyncio.Queue[bytes] = asyncio.Queue()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.speaking = asyncio.get_running_loop().create_task(self.speak())
        if not self.wrong("banner"):
            self.say(b"220 hop ESMTP\r\n")
        if self.sink.mode == "early":  # answers to questions that nobody has asked
            self.say(b"250-hop\r\n250 PIPELINING\r\n250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go on\r\n250 2.0.0 taken\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        if self.speaking is not None:
            self.speaking.cancel()

    def say(self, octets: bytes) -> None:
        self.said.put_nowait(octets)

    async def speak(self) -> None:
        """What is to be said, in its order; one octet a second while the hop is slow."""
        while True:
            octets = await self.said.get()
            while octets and self.sink.mode == "slow":
                self.transport.write(octets[:1])
                octets, until = octets[1:], time.monotonic() + 1
                while self.sink.mode == "slow" and time.monotonic() < until:
                    await asyncio.sleep(TICK)
            self.transport.write(octets)
            if octets.startswith((b"421", b"554 5.3.2", b"221")):
                self.transport.close()

    def wrong(self, stage: str) -> bool:
        """Does at *stage* what the present fault asks for; False: the stage goes as it should."""
        mode = self.sink.mode
        if stage == "mail" and mode in ("garbage", "endless", "long-line", "nul", "code-999"):
            self.talk_nonsense(mode)
            return True
        where, _, what = mode.partition("-")
        if where == "close" and what == stage:
            self.transport.close()
            return True
        if where != stage or (mode in REFUSING and not self.sender):
            return False
        if what == "mixed":
            self.sink.turn += 1
            self.say((b"250 2.1.5 ok\r\n", b"451 4.2.1 later\r\n", b"550 5.1.1 nobody\r\n")[self.sink.turn % 3])
            if self.sink.turn % 3 == 0:
                self.recipients.append(self.path)
            return True
        text = {"421": b"421 4.3.2 closing\r\n", "451": b"451 4.3.0 later\r\n", "550": b"550 5.7.1 no\r\n", "554": b"554 5.7.1 no\r\n"}
        self.say(b"554 5.3.2 no\r\n" if mode == "banner-554" else text[what])
        return True

    def talk_nonsense(self, mode: str) -> None:
        if mode == "garbage":
            self.say(b"\xff\xfe\x00\r\n%s\r\n" % os.urandom(200))
        elif mode == "endless":
            self.say(b"250-and more\r\n" * 20_000)
        elif mode == "long-line":
            self.say(b"250 " + b"x" * 1_000_000 + b"\r\n")
        elif mode == "nul":
            self.say(b"250 2.1.0 o\0k\r\n")
        else:
            self.say(b"999 what\r\n")

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
                continue
            line, found, rest = self.buffer.partition(b"\r\n")
            if not found:
                return
            self.buffer = rest
            self.command(line.decode("utf-8", "replace"))

    def taken(self, content: bytes) -> None:
        """The dot was read."""
        if self.sink.mode == "taken-close":
            self.sink.add(self.sender, self.recipients, content, answered=False)
            self.transport.close()
        elif self.sink.mode != "250-before-dot" and not self.wrong("dot"):
            self.sink.add(self.sender, self.recipients, content, answered=True)
            self.say(b"250 2.0.0 taken\r\n")
        self.sender, self.recipients = "", []

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
            self.data()
        elif verb == "QUIT":
            self.say(b"221 2.0.0 bye\r\n")
        else:
            self.say(b"250 2.0.0 ok\r\n")

    def data(self) -> None:
        if not self.recipients:
            self.say(b"503 5.5.1 no recipients\r\n")
            return
        if self.wrong("data"):
            return
        # The octet pair in front lets an empty message end by the same five octets.
        self.in_data, self.buffer = True, b"\r\n" + self.buffer
        self.say(b"354 go on\r\n")
        if self.sink.mode == "354-twice":
            self.say(b"354 go on\r\n")
        elif self.sink.mode == "250-before-dot":
            self.say(b"250 2.0.0 taken\r\n")


class Sink:
    """The durable list of what was taken, and the present fault."""

    def __init__(self, port: int, folder: Path) -> None:
        self.port = port
        self.folder = folder
        self.count = len(list(folder.glob("*.eml")))
        self.lines = (folder / "received.jsonl").open("a")
        self.mode = "ok"
        self.turn = 0
        """Which answer the next recipient gets while answers are mixed."""

    def add(self, sender: str, recipients: list[str], content: bytes, *, answered: bool) -> None:
        """One message; returns when it is on the disk."""
        self.count += 1
        name = f"{self.count:06}.eml"
        (self.folder / name).write_bytes(content)
        entry = {"time": time.time(), "sender": sender, "recipients": recipients, "file": name, "answered": answered}
        self.lines.write(json.dumps(entry) + "\n")
        self.lines.flush()
        os.fdatasync(self.lines.fileno())

    async def serve(self) -> None:
        """Listens, but while connections are to be refused; reads the mode again every TICK."""
        loop = asyncio.get_running_loop()
        server: asyncio.Server | None = None
        while True:
            with contextlib.suppress(OSError):
                self.mode = (self.folder / "mode").read_text().strip() or "ok"
            if self.mode == "refuse" and server is not None:
                server.close()
                server = None
            elif self.mode != "refuse" and server is None:
                server = await loop.create_server(lambda: Session(self), "127.0.0.1", self.port, backlog=512)
            await asyncio.sleep(TICK)


if __name__ == "__main__":
    asyncio.run(Sink(int(sys.argv[1]), Path(sys.argv[2])).serve())

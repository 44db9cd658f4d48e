"""A next hop that records as ``hop.py`` does, and misbehaves on request: the program that ``site.Sink`` starts.

usage: python -m tests.e2e.prove.sink_server PORT FOLDER. FOLDER/mode holds the name of a fault of ``MODES``, or ``ok``; it is read again
whenever the hop speaks. A message whose 250 was kept back on purpose stands in the record with ``answered`` false.
Permanent refusals hold for mail with a sender only: a report of ours that is refused is recorded by the gateway and goes nowhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from pathlib import Path

from tests.e2e import hop

STAGES = ("banner", "ehlo", "mail", "rcpt", "data", "dot")
REFUSING = ("mail-550", "rcpt-550", "rcpt-mixed", "data-554", "dot-554")
"""The faults by which mail is rightly returned."""
MODES = (
    "refuse", "banner-421", "banner-554", "ehlo-421", "ehlo-550", "mail-421", "mail-451", "rcpt-451", "data-451", "dot-451", *REFUSING,
    *(f"close-{stage}" for stage in STAGES), "taken-close", "slow", "garbage", "endless", "long-line", "nul", "code-999", "354-twice",
    "250-before-dot", "early",
)  # fmt: skip
TICK = 0.05


class Session(hop.Session):
    """One connection, with the present fault at its stage."""

    def __init__(self, record: hop.Record, sink: Sink) -> None:
        super().__init__(record)
        self.sink = sink
        self.speaking: asyncio.Task[None] | None = None
        self.said: asyncio.Queue[bytes] = asyncio.Queue()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.speaking = asyncio.get_running_loop().create_task(self.speak())
        super().connection_made(transport)
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

    def bye(self) -> None:
        self.say(b"221 2.0.0 bye\r\n")  # speak() closes behind it

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

    def go_on(self) -> None:
        super().go_on()
        if self.sink.mode == "354-twice":
            super().go_on()
        elif self.sink.mode == "250-before-dot":
            self.say(b"250 2.0.0 taken\r\n")

    def taken(self, content: bytes) -> None:
        if self.sink.mode == "taken-close":
            self.record.add(self.sender, self.recipients, content, answered=False)
            self.transport.close()
        elif self.sink.mode != "250-before-dot":
            super().taken(content)


class Sink:
    """The present fault, and the listener, which is there but while connections are to be refused."""

    def __init__(self, port: int, folder: Path) -> None:
        self.port = port
        self.folder = folder
        self.record = hop.Record(folder)
        self.mode = "ok"
        self.turn = 0
        """Which answer the next recipient gets while answers are mixed."""

    async def serve(self) -> None:
        """Listens; reads the mode again every TICK."""
        loop = asyncio.get_running_loop()
        server: asyncio.Server | None = None
        while True:
            with contextlib.suppress(OSError):
                self.mode = (self.folder / "mode").read_text().strip() or "ok"
            if self.mode == "refuse" and server is not None:
                server.close()
                server = None
            elif self.mode != "refuse" and server is None:
                server = await loop.create_server(lambda: Session(self.record, self), "127.0.0.1", self.port, backlog=512)
            await asyncio.sleep(TICK)


if __name__ == "__main__":
    asyncio.run(Sink(int(sys.argv[1]), Path(sys.argv[2])).serve())

"""A milter door on loopback with a pipeline that only remembers, and an MTA that speaks packets: for the tests of the milter door."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.config import Config
from gateway.doors.door import Door, Settings
from gateway.doors.entrance import open_listener
from gateway.doors.listen import parse, sockets
from gateway.envelope import Transaction
from gateway.levels import Level
from gateway.pipeline import Outcome
from gateway.reply import Reply
from gateway.requests import Refused
from gateway.verdict import Classification, Direction, Disposition, Edit, Headers, RecipientVerdict, Tier, Verdict

from .smtp_door import OURS, make_config

DELIVER = Reply(250, "2.0.0", "Accepted.")
EVERYTHING = 0x1FFFFF
"""All protocol flags of version 6: replies are due to MAIL, RCPT and the end only."""
_CLASS = Classification(Level.RESTRICTED, None, Level.RESTRICTED, Level.RESTRICTED, False, True)
Decide = Callable[[Transaction, bytes], Outcome]


def milter_config(address: str = "127.0.0.1:0", **more: Any) -> Config:
    """A config with a milter door on *address*."""
    return make_config(**{"listen": [{"door": "milter", "address": address}], **more})


def verdict(*recipients: tuple[str, Direction, tuple[Edit, ...]]) -> Verdict:
    """A verdict on each of *recipients*: address, direction, edits."""
    each = tuple(
        RecipientVerdict(address, Tier.GOVERNMENT, direction, Disposition.DELIVER, "2.0.0", "rule", edits=edits)
        for address, direction, edits in recipients
    )
    return Verdict(_CLASS, each, (), (), Headers(), "v", "e")


def passing(tx: Transaction, content: bytes) -> Outcome:
    """All go on, marked with the subject that the message had."""
    subject = content.partition(b"Subject: ")[2].partition(b"\r\n")[0].decode("ascii", "replace")
    all_of_them = [recipient.path.text for recipient in tx.envelope.recipients]
    edits = (Edit("remove", "X-Gateway-Reference"), Edit("add", "X-Gateway-Reference", tx.reference), Edit("add", "X-For", subject))
    return Outcome(DELIVER, verdict(*((one, Direction.OUTBOUND, edits) for one in all_of_them)), tuple(all_of_them))


@dataclass
class Memory:
    """The pipeline and the keeper in one: keeps what it gets."""

    decide: Decide = passing
    messages: list[tuple[Transaction, bytes]] = field(default_factory=list)
    refusals: list[Refused] = field(default_factory=list)
    fault: Exception | None = None
    hold: asyncio.Event | None = None
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    async def outcome(self, tx: Transaction, content: bytes) -> Outcome:
        self.begun.set()
        if self.hold is not None:
            await self.hold.wait()
        if self.fault is not None:
            raise self.fault
        self.messages.append((tx, content))
        return self.decide(tx, content)

    def refused(self, refusal: Refused) -> None:
        self.refusals.append(refusal)


Packet = tuple[bytes, bytes]


class Mta:
    """One connection to the door."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, command: bytes, data: bytes = b"") -> None:
        self.writer.write(struct.pack(">I", len(data) + 1) + command + data)

    async def packet(self, seconds: float = 10) -> Packet:
        """The next packet; an empty command when the door closed."""
        try:
            head = await asyncio.wait_for(self.reader.readexactly(5), seconds)
            data = await self.reader.readexactly(struct.unpack(">I", head[:4])[0] - 1)
        except (asyncio.IncompleteReadError, ConnectionError):
            return b"", b""
        return head[4:5], data

    async def ask(self, command: bytes, data: bytes = b"") -> Packet:
        """Sends one packet and returns its answer."""
        self.send(command, data)
        return await self.packet()

    async def negotiate(self, protocol: int = EVERYTHING, actions: int = 0x1FF, version: int = 6) -> Packet:
        return await self.ask(b"O", struct.pack(">III", version, actions, protocol))

    def macros(self, command: bytes, **values: str) -> None:
        """Macros for *command*; of names longer than a letter the braces are put here."""
        pairs = ((f"{{{name}}}" if len(name) > 1 else name, value) for name, value in values.items())
        self.send(b"D", command + b"".join(part.encode() + b"\0" for pair in pairs for part in pair))

    def client(self, host: str = "pc1.dept.gov.in", ip: str = "127.0.0.1", port: int = 40_000, helo: str = "pc1.dept.gov.in") -> None:
        """CONNECT and HELO, to which no reply is due."""
        self.send(b"C", host.encode() + b"\0" + (b"6" if ":" in ip else b"4") + struct.pack(">H", port) + ip.encode() + b"\0")
        if helo:
            self.send(b"H", helo.encode() + b"\0")

    async def mail(self, sender: str = f"a@{OURS}", *parameters: str) -> Packet:
        return await self.ask(b"M", b"".join(one.encode() + b"\0" for one in (f"<{sender}>", *parameters)))

    async def rcpt(self, recipient: str = f"b@{OURS}", *parameters: str) -> Packet:
        return await self.ask(b"R", b"".join(one.encode() + b"\0" for one in (f"<{recipient}>", *parameters)))

    async def envelope(self, *recipients: str, sender: str = f"a@{OURS}") -> None:
        """MAIL and RCPT; all must be taken."""
        assert await self.mail(sender) == (b"c", b"")
        for recipient in recipients or (f"b@{OURS}",):
            assert await self.rcpt(recipient) == (b"c", b"")

    def content(self, *fields: str, body: bytes = b"hello\r\n") -> None:
        """DATA, the header fields, the body and its end."""
        self.send(b"T")
        for one in fields or ("Subject: x",):
            name, _, value = one.partition(":")
            self.send(b"L", name.encode() + b"\0" + value.encode() + b"\0")
        self.send(b"N")
        for start in range(0, len(body), 65_534):
            self.send(b"B", body[start : start + 65_534])
        self.send(b"E")

    async def answers(self) -> list[Packet]:
        """All packets up to the final action, progress aside."""
        found: list[Packet] = []
        while True:
            command, data = await self.packet()
            if command != b"p":
                found.append((command, data))
            if command in b"cartdy":  # an empty one too
                return found

    async def message(self, *recipients: str, sender: str = f"a@{OURS}", fields: tuple[str, ...] = ()) -> list[Packet]:
        """A whole message and what is answered to it."""
        await self.envelope(*recipients, sender=sender)
        self.content(*fields)
        return await self.answers()

    async def closed(self) -> bool:
        """Whether the door closes without another word."""
        return await self.packet() == (b"", b"")

    def close(self) -> None:
        self.writer.close()


@dataclass
class Running:
    """A door that listens."""

    door: Door
    memory: Memory
    where: str | tuple[str, int]

    async def connect(self, *, negotiated: bool = True, client: bool = True) -> Mta:
        """A connection, its options agreed and a client of a listed network named."""
        if isinstance(self.where, str):
            mta = Mta(*await asyncio.open_unix_connection(self.where))
        else:
            mta = Mta(*await asyncio.open_connection(*self.where))
        if negotiated:
            assert (await mta.negotiate())[0] == b"O"
            if client:
                mta.client()
        return mta

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits until *condition* holds."""
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def running(
    config: Config | None = None, *, policy: Any = None, path: Path | None = None, **door_options: float
) -> AsyncIterator[Running]:
    """A door with the first milter listener of *config*: on a free port, or on the unix socket *path*."""
    memory = Memory()
    address = f"unix:{path}" if path is not None else "127.0.0.1:0"
    config = config or milter_config(address)
    says = policy or (lambda sender, recipient, peer, /, *, door=None: None)
    door = Door(Settings.make(config, says, None), memory, memory, **{"rate_grace": 0.2, **door_options})  # type: ignore[arg-type]
    (sock,) = sockets(parse(address))
    name = sock.getsockname()
    server = await open_listener(door, config.listen[0].address, sock)
    try:
        yield Running(door, memory, name)
    finally:
        server.close()
        if memory.hold is not None:
            memory.hold.set()
        await door.drain(0.05)

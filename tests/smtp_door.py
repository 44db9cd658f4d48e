"""A door on loopback with a pipeline that only remembers, and a client that speaks octets: for the tests of the SMTP door."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from gateway.config import Config
from gateway.doors.door import Door, Settings
from gateway.doors.relaying import EnvelopePolicy
from gateway.doors.smtp import Session
from gateway.envelope import Transaction
from gateway.reply import Reply
from gateway.requests import Refused

OURS = "dept.gov.in"
HOP = {"domains": [OURS], "local": True, "next_hop": "127.0.0.1:26", "tls": "none"}
OUT = {"domains": ["*"], "next_hop": "127.0.0.1:26", "tls": "none"}


def make_config(
    *, listed: bool = True, limits: dict[str, Any] | None = None, originators: dict[str, Any] | None = None, **more: Any
) -> Config:
    """A config under which 127.0.0.1 and ::1 are (not) in a listed network."""
    networks = ["127.0.0.0/8", "::1/128"] if listed else ["192.0.2.0/24"]
    given = {
        "hostname": "gw.dept.gov.in",
        "contacts": {"postmaster": f"postmaster@{OURS}"},
        "originators": {"domains": [OURS], "networks": networks, **(originators or {})},
        "route": [HOP, OUT],
        "limits": {"greet_delay": 0, **(limits or {})},
    }
    return Config(**{**given, **more})


@dataclass
class Memory:
    """The pipeline and the keeper in one: keeps what it gets."""

    messages: list[tuple[Transaction, bytes]] = field(default_factory=list)
    refusals: list[Refused] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)
    away: bool = False
    fault: Exception | None = None
    hold: asyncio.Event | None = None
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, tx: Transaction, content: bytes) -> Reply:
        self.begun.set()
        if self.hold is not None:
            await self.hold.wait()
        if self.fault is not None:
            raise self.fault
        self.messages.append((tx, content))
        return Reply(250, "2.0.0", f"accepted {tx.reference}")

    async def verify_recipient(self, address: str) -> Reply:
        self.asked.append(address)
        await asyncio.sleep(0)
        if self.away:
            return Reply(451, "4.4.1", "Cannot be asked.")
        return Reply(550, "5.1.1", "No such user.") if address in self.unknown else Reply(250, "2.1.5", "Ok")

    def refused(self, refusal: Refused) -> None:
        self.refusals.append(refusal)


class Client:
    """One connection to the door."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    async def reply(self) -> str:
        """The next whole reply, its lines joined; empty when the door closed."""
        lines: list[str] = []
        while True:
            with contextlib.suppress(ConnectionError):
                line = (await asyncio.wait_for(self.reader.readline(), 10)).decode("ascii")
                if line.endswith("\r\n"):
                    lines.append(line[:-2])
                    if line[3:4] == "-":
                        continue
                    return "\n".join(lines)
            return ""

    async def ask(self, line: str | bytes) -> str:
        """Sends one line and returns its reply."""
        self.write((line.encode() if isinstance(line, str) else line) + b"\r\n")
        return await self.reply()

    async def closed(self) -> bool:
        """Whether the door closes without another word."""
        try:
            return await asyncio.wait_for(self.reader.read(1), 10) == b""
        except ConnectionError:
            return True

    async def start(self, *recipients: str, sender: str = f"a@{OURS}") -> None:
        """EHLO, MAIL, RCPT, DATA; all must be taken."""
        assert (await self.ask("EHLO client.example"))[:3] == "250"
        await self.envelope(*recipients, sender=sender)

    async def envelope(self, *recipients: str, sender: str = f"a@{OURS}") -> None:
        assert (await self.ask(f"MAIL FROM:<{sender}>"))[:3] == "250"
        for recipient in recipients or (f"b@{OURS}",):
            assert (await self.ask(f"RCPT TO:<{recipient}>"))[:3] == "250"
        assert (await self.ask("DATA"))[:3] == "354"

    def close(self) -> None:
        self.writer.close()


@dataclass
class Running:
    """A door that listens."""

    door: Door
    memory: Memory
    port: int
    host: str

    async def connect(self, *, greeted: bool = True) -> Client:
        client = Client(*await asyncio.open_connection(self.host, self.port))
        if greeted:
            assert (await client.reply())[:4] == "220 "
        return client


@contextlib.asynccontextmanager
async def running(
    config: Config | None = None, *, policy: EnvelopePolicy | None = None, tls: Any = None, host: str = "127.0.0.1", **door_options: float
) -> AsyncIterator[Running]:
    """A door with *config* on a free port."""
    memory = Memory()
    door = Door(
        Settings.make(config or make_config(), policy or (lambda sender, recipient, peer: None), tls), memory, memory,
        **{"error_delay": 0.01, "rate_grace": 0.2, **door_options},
    )  # fmt: skip
    server = await asyncio.get_running_loop().create_server(lambda: Session(door), host, 0)
    try:
        yield Running(door, memory, server.sockets[0].getsockname()[1], host)
    finally:
        server.close()
        if memory.hold is not None:
            memory.hold.set()
        await door.drain(0.2)

"""A door on loopback with a pipeline that only remembers, and a client that speaks octets: for the tests of the SMTP door."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.config import Config, Tls
from gateway.doors.door import Door, Settings
from gateway.doors.entrance import open_listener
from gateway.doors.relaying import EnvelopePolicy
from gateway.doors.smtp import Session
from gateway.envelope import Transaction
from gateway.reply import Reply
from gateway.requests import Authenticated, Refused

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


def make_certificate(folder: Path, name: str = "gw.dept.gov.in") -> Tls:
    """A certificate of its own for *name*, with its key, in *folder*."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False).sign(key, hashes.SHA256())
    )  # fmt: skip
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return Tls(certificate=folder / "cert.pem", key=folder / "key.pem")


def any_context() -> ssl.SSLContext:
    """A client that takes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


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
    logins: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    """Password and senders of each login."""
    sign_ins: list[tuple[str, str, str]] = field(default_factory=list)
    """Login, client and door of each question."""
    login_answer: Authenticated | Exception | None = None
    """What every question gets instead."""

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

    async def authenticate(self, login: str, password: str, client_ip: str, door: str) -> Authenticated:
        self.sign_ins.append((login, client_ip, door))
        await asyncio.sleep(0)
        if isinstance(self.login_answer, Exception):
            raise self.login_answer
        if self.login_answer is not None:
            return self.login_answer
        right, senders = self.logins.get(login.lower(), ("", ()))
        if right and password == right:
            return Authenticated(Reply(235, "2.7.0", "Signed in."), login.lower(), senders)
        return Authenticated(Reply(535, "5.7.8", "The login or the password is wrong."))

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

    async def secure(self, context: ssl.SSLContext | None = None) -> None:
        """The TLS handshake, after its 220."""
        await self.writer.start_tls(context or any_context())

    async def converse(self, file: Path, door: Running) -> None:
        """``C:`` sends (with CRLF; ``C\\n:`` with LF), ``S:`` is how the next reply begins; then ``closed`` and ``messages N``."""
        for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
            kind, _, rest = line.partition(": ")
            if line.startswith("#") or not line:
                continue
            if kind in ("C", "C\\n"):
                self.write(rest.replace("\\r\\n", "\r\n").replace("\\n", "\n").encode() + (b"\r\n" if kind == "C" else b"\n"))
            elif kind == "S":
                said = await self.reply()
                assert said.startswith(rest), f"{file.name}:{number}: {said}"
            elif line == "closed":
                assert await self.closed(), f"{file.name}:{number}"
            else:
                assert line.startswith("messages "), f"{file.name}:{number}"
                assert len(door.memory.messages) == int(line.split()[1]), f"{file.name}:{number}"

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

    async def connect(self, *, greeted: bool = True, before: bytes = b"", tls: bool = False, source: str = "") -> Client:
        """A connection, from the address *source*; *before* is sent first, then the handshake of implicit *tls*."""
        client = Client(*await asyncio.open_connection(self.host, self.port, local_addr=(source, 0) if source else None))
        if before:
            client.write(before)
        if tls:
            await client.secure()
        if greeted:
            assert (await client.reply())[:4] == "220 "
        return client


@contextlib.asynccontextmanager
async def running(
    config: Config | None = None,
    *,
    policy: EnvelopePolicy | None = None,
    tls: Any = None,
    host: str = "127.0.0.1",
    address: str = "",
    **door_options: float,
) -> AsyncIterator[Running]:
    """A door with *config* on a free port: the listener that the config has at *address*, or a plain one."""
    memory = Memory()
    door = Door(
        Settings.make(config or make_config(), policy or (lambda sender, recipient, peer: None), tls), memory, memory,
        **{"error_delay": 0.01, "rate_grace": 0.2, **door_options},
    )  # fmt: skip
    server: Any
    if address:
        sock = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        port, server = sock.getsockname()[1], await open_listener(door, address, sock)
    else:
        server = await asyncio.get_running_loop().create_server(lambda: Session(door), host, 0)
        port = server.sockets[0].getsockname()[1]
    try:
        yield Running(door, memory, port, host)
    finally:
        server.close()
        if memory.hold is not None:
            memory.hold.set()
        await door.drain(0.05)

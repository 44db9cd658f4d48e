"""An IMAP door on loopback before a server that does little and remembers all, and a client that speaks octets."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.config import Config, Tls
from gateway.doors.door import Door, Settings
from gateway.doors.entrance import open_listener
from gateway.doors.listen import parse, sockets
from gateway.envelope import Transaction
from gateway.pipeline import Outcome
from gateway.reply import Reply, ReplyError
from gateway.requests import LoggedIn, Permitted, Refused

from .smtp_door import OURS, any_context, make_certificate, make_config

MECHANISMS = b"AUTH=PLAIN AUTH=LOGIN AUTH=CRAM-MD5 AUTH=SCRAM-SHA-256-PLUS"
CAPABILITIES = b"IMAP4rev1 SASL-IR LITERAL+ " + MECHANISMS + b" COMPRESS=DEFLATE CATENATE URLAUTH IDLE"
INSIDE = b"IMAP4rev1 LITERAL+ IDLE UIDPLUS COMPRESS=DEFLATE CATENATE BINARY MULTIAPPEND REPLACE NAMESPACE"
SECRETS = {"so": "pw one", f"us@{OURS}": "pw two"}


class _CancelledError(Exception):
    """The client has sent ``*``."""


@dataclass
class Server:
    """What stands behind the door."""

    capabilities: bytes = CAPABILITIES
    inside: bytes = INSIDE
    greeting: bytes = b""
    context: ssl.SSLContext | None = None
    starttls: bool = False
    behind_starttls: bytes = b""
    """Said in clear behind the OK to STARTTLS."""
    die_after: int = -1
    """Octets of the literal of a FETCH after which the connection breaks; -1: never."""
    big: int = 10_000
    namespaces: bytes = b'* NAMESPACE (("" "/")) NIL NIL\r\n'
    """The answer to NAMESPACE before its OK."""
    no: dict[bytes, bytes] = field(default_factory=dict)
    """What a verb is answered with; empty: not at all."""
    received: list[bytearray] = field(default_factory=list)
    commands: list[bytes] = field(default_factory=list)
    boxes: dict[str, list[bytes]] = field(default_factory=dict)
    port: int = 0
    unread: asyncio.Event = field(default_factory=asyncio.Event)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    @property
    def octets(self) -> bytes:
        """All that came, over all connections."""
        return b"".join(bytes(one) for one in self.received)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            await self._session(reader, writer)
        writer.close()

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        record = bytearray()
        self.received.append(record)
        writer.write(self.greeting or b"* OK [CAPABILITY " + self._offered() + b"] Server ready.\r\n")
        user = ""
        while True:
            command = await self._command(reader, writer, record)
            if not command:
                return
            self.commands.append(command)
            tag, verb, rest = ([*command.removesuffix(b"\r\n").split(b" ", 2), b"", b""])[:3]
            verb = verb.upper()
            if verb in self.no:
                writer.write(tag + b" " + self.no[verb] + b"\r\n" if self.no[verb] else b"")
            elif verb == b"STARTTLS" and self.starttls:
                writer.write(tag + b" OK begin\r\n" + self.behind_starttls)
                await writer.start_tls(self.context)
                self.starttls = False
            elif verb == b"CAPABILITY":
                writer.write(b"* CAPABILITY " + (self.inside if user else self._offered()) + b"\r\n" + tag + b" OK done\r\n")
            elif verb in (b"LOGIN", b"AUTHENTICATE"):
                user = await self._sign_in(reader, writer, record, tag, verb, rest)
            elif verb == b"LOGOUT":
                writer.write(b"* BYE see you\r\n" + tag + b" OK bye\r\n")
                return
            elif verb == b"APPEND":
                self.boxes.setdefault(user, []).append(command)
                writer.write(b"* %d EXISTS\r\n" % len(self.boxes[user]) + tag + b" OK [APPENDUID 1 %d] done\r\n" % len(self.boxes[user]))
            elif verb == b"FETCH":
                await self._fetch(writer, tag)
            elif verb == b"IDLE":
                writer.write(b"+ idling\r\n* 5 EXISTS\r\n")
                record += (line := await reader.readline())
                writer.write(tag + (b" OK done\r\n" if line.strip().upper() == b"DONE" else b" BAD what\r\n"))
            elif verb == b"NAMESPACE":
                writer.write(self.namespaces + tag + b" OK NAMESPACE done\r\n")
            elif verb == b"LIST":
                writer.write(b'* LIST () "." ' + rest + b"\r\n" + tag + b" OK " + user.encode() + b"\r\n")
            else:
                writer.write(tag + b" OK " + verb + b" done\r\n")
            await writer.drain()

    def _offered(self) -> bytes:
        return self.capabilities + (b" STARTTLS LOGINDISABLED" if self.starttls else b"")

    async def _fetch(self, writer: asyncio.StreamWriter, tag: bytes) -> None:
        body = b"x" * self.big
        writer.write(b"* 1 FETCH (UID 7 BODY[] {%d}\r\n" % len(body))
        if self.die_after >= 0:
            writer.write(body[: self.die_after])
            await writer.drain()
            writer.transport.abort()
            return
        writer.write(body + b")\r\n" + tag + b" OK done\r\n")

    async def _command(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, record: bytearray) -> bytes:
        whole = b""
        while True:
            line = await reader.readline()
            record += line
            whole += line
            found = re.search(rb"~?\{(\d+)(\+?)\}\r\n$", line)
            if found is None:
                return whole
            if not found[2]:
                writer.write(b"+ go on\r\n")
            literal = await reader.readexactly(int(found[1]))
            record += literal
            whole += literal

    async def _sign_in(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, record: bytearray, tag: bytes, verb: bytes, rest: bytes
    ) -> str:
        async def line(challenge: bytes) -> bytes:
            writer.write(b"+ " + base64.b64encode(challenge) + b"\r\n")
            found = await reader.readline()
            record.extend(found)
            if found == b"*\r\n":
                raise _CancelledError
            return base64.b64decode(found)

        if verb == b"LOGIN":
            name, secret = (part.decode() for part in _strings(rest)[:2])
        else:
            mechanism, _, initial = rest.partition(b" ")
            try:
                if mechanism.upper() == b"LOGIN":
                    name, secret = (await line(b"Username:")).decode(), (await line(b"Password:")).decode()
                else:
                    payload = base64.b64decode(initial) if initial else await line(b"")
                    _, name, secret = (part.decode() for part in payload.split(b"\0"))
            except _CancelledError:
                writer.write(tag + b" BAD cancelled\r\n")
                return ""
        if SECRETS.get(name.lower()) == secret:
            writer.write(tag + b" OK [CAPABILITY " + self.inside + b"] Logged in\r\n")
            return name.lower()
        writer.write(tag + b" NO [AUTHENTICATIONFAILED] Authentication failed.\r\n")
        return ""


def _strings(rest: bytes) -> list[bytes]:
    """The words of LOGIN in each of their three forms."""
    found = []
    while rest.strip():
        rest = rest.lstrip(b" ")
        literal = re.match(rb"\{(\d+)\+?\}\r\n", rest)
        if literal:
            end = literal.end() + int(literal[1])
            found.append(rest[literal.end() : end])
        elif quoted := re.match(rb'"((?:[^"\\]|\\.)*)"', rest):
            end = quoted.end()
            found.append(re.sub(rb"\\(.)", rb"\1", quoted[1]))
        else:
            end = len(rest.split(b" ")[0].rstrip(b"\r\n")) or len(rest)
            found.append(rest[:end])
        rest = rest[end:]
    return found


@dataclass
class Memory:
    """The pipeline and the keeper in one: keeps what it gets."""

    messages: list[tuple[Transaction, bytes]] = field(default_factory=list)
    refusals: list[Refused] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    told: list[LoggedIn] = field(default_factory=list)
    permitted: Permitted | None = None
    """What every question gets instead."""
    hold: asyncio.Event | None = None
    fault: Exception | None = None
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    async def outcome(self, tx: Transaction, content: bytes) -> Outcome:
        self.begun.set()
        if self.hold is not None:
            await self.hold.wait()
        if self.fault is not None:
            raise self.fault
        self.messages.append((tx, content))
        if b"SECRET" in content:
            return Outcome(Reply(550, "5.7.1", f"Marked secret. Reference {tx.reference}"), None)  # type: ignore[arg-type]
        if b"busy" in content:
            raise ReplyError(Reply(451, "4.3.0", "Not now."), "busy")
        passed = tuple(one.path.text for one in tx.envelope.recipients)
        return Outcome(Reply(250, "2.0.0", f"accepted {tx.reference}"), None, passed)  # type: ignore[arg-type]

    async def may_log_in(self, login: str, client_ip: str) -> Permitted:
        self.asked.append((login, client_ip))
        await asyncio.sleep(0)
        if self.permitted is not None:
            return self.permitted
        name = login.lower()
        return Permitted(Reply(250, "2.0.0", "ok"), name, name if "@" in name else f"{name}@{OURS}")

    def logged_in(self, said: LoggedIn) -> None:
        self.told.append(said)

    def refused(self, refusal: Refused) -> None:
        self.refusals.append(refusal)


class Client:
    """One connection of a mail program."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    async def line(self) -> bytes:
        """The next line; empty when the door closed."""
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            return await asyncio.wait_for(self.reader.readline(), 10)
        return b""

    async def until(self, tag: bytes) -> list[bytes]:
        """The lines up to the tagged reply."""
        lines = []
        while line := await self.line():
            lines.append(line)
            if line.startswith(tag + b" "):
                return lines
        return [*lines, b"closed"]

    async def ask(self, command: bytes) -> bytes:
        """The tagged reply to *command*."""
        self.write(command + b"\r\n")
        return (await self.until(command.partition(b" ")[0]))[-1]

    async def login(self, name: bytes = b"so", secret: bytes = b"pw one") -> Client:
        assert (await self.ask(b'L LOGIN "' + name + b'" "' + secret + b'"')).startswith(b"L OK")
        return self

    async def start_tls(self) -> None:
        await self.writer.start_tls(any_context())

    async def rest(self) -> bytes:
        """All up to the end of the connection."""
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            return await asyncio.wait_for(self.reader.read(), 10)
        return b""


@dataclass
class Running:
    """A door with a server behind."""

    door: Door
    memory: Memory
    server: Server
    port: int
    secure: bool
    clients: list[Client] = field(default_factory=list)

    async def connect(self, *, greeted: bool = True) -> Client:
        context = any_context() if self.secure else None
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port, ssl=context, limit=1 << 24))
        self.clients.append(client)
        if greeted:
            line = await client.line()
            assert line.startswith(b"* OK"), line
        return client


def server_context(tls: Tls) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    assert tls.certificate is not None
    assert tls.key is not None
    made.load_cert_chain(tls.certificate, tls.key)
    return made


def imap_config(
    server: str, tls: Tls, *, starttls: bool = False, networks: tuple[str, ...] = (), listed: bool = True,
    imap: dict[str, Any] | None = None, **limits: Any,
) -> Config:  # fmt: skip
    listen = {"door": "imap", "address": "127.0.0.1:0", "starttls": starttls, "networks": networks}
    return make_config(
        listed=listed, limits=limits, listen=[listen], tls=tls, imap={"server": server, "tls": "none", **(imap or {})},
        max_message_size=1_000_000,
    )  # fmt: skip


@contextlib.asynccontextmanager
async def running(
    folder: Path,
    server: Server | None = None,
    *,
    memory: Memory | None = None,
    error_delay: float = 0.0,
    rate_grace: float = 10.0,
    **more: Any,
) -> AsyncIterator[Running]:
    """A door before *server*, until the end of the block."""
    from gateway.doors import tls as door_tls

    server, memory = server or Server(), memory or Memory()
    certificate = make_certificate(folder)
    behind = await asyncio.start_server(
        server.serve, "127.0.0.1", 0, limit=1 << 24, ssl=server.context if server.context is not None and not server.starttls else None
    )
    server.port = behind.sockets[0].getsockname()[1]
    config = imap_config(f"127.0.0.1:{server.port}", certificate, **more)
    settings = Settings.make(config, lambda *_: None, door_tls.context(certificate))
    door = Door(settings, memory, memory, error_delay=error_delay, rate_grace=rate_grace)  # type: ignore[arg-type]
    (sock,) = sockets(parse("127.0.0.1:0"))
    listener = await open_listener(door, "127.0.0.1:0", sock)
    made = Running(door, memory, server, sock.getsockname()[1], not config.listen[0].starttls)
    try:
        yield made
    finally:
        for client in made.clients:
            client.writer.close()
        listener.close()
        await door.drain(0.5)
        behind.close()
        for writer in server.writers:
            writer.close()

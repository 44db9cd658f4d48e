"""The IMAP server behind the IMAP door: where it is, whom we trust to be it, and a connection that is ready for a login.

What it is: ``Upstream``, made once for each config, and ``Opening``, the first words with the server: its greeting, STARTTLS where the
config says so, and its capabilities.
Who calls it: ``doors.door`` makes the Upstream with the other settings; ``doors.imap`` connects once a session.
Must never: send or believe anything in clear where TLS is asked for; take a session that has already signed in (PREAUTH); take a
certificate that does not verify; look into anything but the greeting and the capabilities.
Sources: RFC 9051 sections 6.2.1, 7.1.4, 7.1.5 and 11.1; RFC 8314; NO STARTTLS (Poddebniak and others, 2021); hostile-inputs catalogue
I01.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import cast

from gateway.config import ConfigError, Imap, Limits

_LINE = 8192  # octets of a greeting or of the capabilities
_FIRST, _SECOND = b"gw1", b"gw2"
_CLOSED = "it closed the connection"


class UpstreamAway(Exception):
    """There is no session with the server. The text is for the log."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """The server of ``[imap]``."""

    host: str
    """Or the path of a unix socket, and *port* is 0."""
    port: int
    context: ssl.SSLContext | None
    """None: in clear, on this machine."""
    starttls: bool
    name: str
    """What the certificate must carry."""

    @classmethod
    def make(cls, imap: Imap) -> Upstream | None:
        """The server that the config names; None where it names none. Raises ConfigError: its authorities cannot be read."""
        if not imap.server:
            return None
        if imap.server.startswith("unix:"):
            return cls(imap.server[5:], 0, None, False, "")
        host, _, port = imap.server.rpartition(":")
        host = host.strip("[]")
        context = None if imap.tls == "none" else _context(imap)
        return cls(host, int(port), context, imap.tls == "starttls", imap.tls_name or host)

    async def connect(self, protocol: asyncio.Protocol, limits: Limits) -> tuple[asyncio.Transport, bytes]:
        """A connection whose octets go to *protocol* from now on, and what the server said first: its greeting, and whatever came with
        it. The transport does not read yet. Raises UpstreamAway."""
        loop = asyncio.get_running_loop()
        opening = Opening(loop)
        direct = None if self.starttls else self.context
        name = self.name if direct is not None else None
        try:
            async with asyncio.timeout(limits.relay_connect + limits.tls_handshake):
                if self.port:
                    # host and port are the config's own
                    await loop.create_connection(lambda: opening, self.host, self.port, ssl=direct, server_hostname=name)
                else:
                    await loop.create_unix_connection(lambda: opening, self.host)
                greeting = await opening.line()
                _check_greeting(greeting)
                if self.starttls and self.context is not None:
                    greeting = await self._start_tls(loop, opening, self.context, limits)
        except BaseException as error:
            opening.abort()
            if isinstance(error, TimeoutError):
                raise UpstreamAway("it did not answer in time") from error
            if isinstance(error, (OSError, ssl.SSLError)):
                raise UpstreamAway(getattr(error, "reason", None) or str(error) or type(error).__name__) from error
            raise
        transport, rest = opening.hand_over(protocol)
        return transport, greeting + b"\r\n" + rest

    async def _start_tls(self, loop: asyncio.AbstractEventLoop, opening: Opening, context: ssl.SSLContext, limits: Limits) -> bytes:
        """The greeting that the server would give under TLS. What it said in clear is forgotten."""
        await opening.ask(_FIRST, b"STARTTLS")
        transport = opening.clear_is_over()
        encrypted = await loop.start_tls(
            transport, opening, context, server_hostname=self.name, ssl_handshake_timeout=max(0.1, limits.tls_handshake)
        )
        if encrypted is None:
            raise UpstreamAway(_CLOSED)
        opening.secured(encrypted)
        said = await opening.ask(_SECOND, b"CAPABILITY")
        for line in said:
            if line[:13].upper() == b"* CAPABILITY ":
                return b"* OK [CAPABILITY " + line[13:] + b"] The mail server is ready"
        raise UpstreamAway("it did not say what it can do")


def _context(imap: Imap) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if imap.tls_ca is None:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        else:
            context.load_verify_locations(cafile=imap.tls_ca)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{imap.tls_ca}: imap.tls_ca: the authorities cannot be read: {error}") from error
    return context


def _check_greeting(line: bytes) -> None:
    word = line[:5].upper()
    if word not in (b"* OK ", b"* OK"):
        # PREAUTH: whose mailbox is it? In clear it is also how somebody between us and the server would keep us from STARTTLS.
        raise UpstreamAway("its greeting is not OK")


class Opening(asyncio.Protocol):
    """The lines before the session."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._octets = b""
        self._waiting: asyncio.Future[None] | None = None
        self._lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Also called anew by some loops when TLS has begun."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Keeps what came."""
        self._octets += data
        if len(self._octets) > _LINE:
            cast("asyncio.Transport", self._transport).pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever waits is told."""
        self._lost = True
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def line(self) -> bytes:
        """The next line without its end. Raises UpstreamAway."""
        while b"\r\n" not in self._octets:
            if self._lost:
                raise UpstreamAway(_CLOSED)
            if len(self._octets) > _LINE:
                raise UpstreamAway("its first line is too long")
            self._waiting = self._loop.create_future()
            await self._waiting
        line, _, self._octets = self._octets.partition(b"\r\n")
        return line

    async def ask(self, tag: bytes, command: bytes) -> list[bytes]:
        """The untagged lines before the server's OK. Raises UpstreamAway for anything else."""
        if self._transport is None or self._lost:
            raise UpstreamAway(_CLOSED)
        self._transport.write(tag + b" " + command + b"\r\n")
        said: list[bytes] = []
        while (line := await self.line()).startswith(b"* "):
            said.append(line)
            if line[:6].upper() == b"* BYE " or len(said) > 20:
                raise UpstreamAway("it does not go on")
        if line.upper()[: len(tag) + 4] != tag.upper() + b" OK ":
            raise UpstreamAway(f"it refused {command.decode('ascii')}")
        return said

    def clear_is_over(self) -> asyncio.Transport:
        """The transport for the handshake. Raises UpstreamAway: the server, or somebody in between, said more in clear."""
        if self._octets or self._transport is None or self._lost:
            raise UpstreamAway("there was more in clear behind STARTTLS" if self._octets else _CLOSED)
        return self._transport

    def secured(self, transport: asyncio.Transport) -> None:
        """TLS has begun."""
        self._transport = transport

    def hand_over(self, protocol: asyncio.Protocol) -> tuple[asyncio.Transport, bytes]:
        """Stops reading and names *protocol* as the one who gets the rest. Raises UpstreamAway."""
        if self._transport is None or self._lost or self._transport.is_closing():
            raise UpstreamAway(_CLOSED)
        self._transport.pause_reading()
        self._transport.set_protocol(protocol)
        rest, self._octets = self._octets, b""
        return self._transport, rest

    def abort(self) -> None:
        """Ends the connection."""
        if self._transport is not None:
            self._transport.abort()

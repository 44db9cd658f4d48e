"""Frames between the four kinds of process, over unix sockets.

What it is: length-capped frames (a typed msgspec header and raw body octets), an asyncio client that pipelines, an asyncio
server that knows its peer's credentials, and the blocking form for the inspector's workers.
Who calls it: every process; the types are in ``requests``.
Must never: use pickle; allocate by a length that was claimed but not allowed; answer a request that its peer may not make.
Source: docs/design.md section 2; unix(7) SO_PEERCRED.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, cast

import msgspec

_PREFIX = struct.Struct("!QII")  # sequence, header length, body length
HEADER_CAP = 16_000_000
BODY_CAP = 600_000_000
_PIECES = 4096
"""Pieces of one frame that are kept apart: each has its own few octets beside its content."""
_encoder = msgspec.msgpack.Encoder()


class ChannelError(Exception):
    """The peer is not there, went away, or broke the protocol."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """The process on the other end of a unix socket, from the kernel."""

    pid: int
    uid: int
    gid: int


def credentials(sock: socket.socket) -> Credentials:
    """SO_PEERCRED of a connected unix socket."""
    return Credentials(*struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)))


@contextlib.contextmanager
def short_path(path: FilePath) -> Iterator[str]:
    """A name for the socket *path* that fits in sun_path (108 octets), also for a deep folder."""
    if len(os.fsencode(path)) < 100:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def listen(path: FilePath, mode: int = 0o660) -> socket.socket:
    """A listening unix socket at *path*, replacing a stale one."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with short_path(path) as name:
        sock.bind(name)
        os.chmod(name, mode)
    sock.listen(1024)
    return sock


def _pack(sequence: int, message: Any, body: bytes | memoryview) -> bytes:
    header = _encoder.encode(message)
    return _PREFIX.pack(sequence, len(header), len(body)) + header


class _Frames(asyncio.Protocol):
    """Cuts a stream into frames. Subclasses take ``frame_received`` and ``closed``."""

    def __init__(self, body_cap: int) -> None:
        self._pieces: list[bytes] = []
        self._have = 0
        self._body_cap = body_cap
        self._need = _PREFIX.size
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, not a check: the transports of uvloop do not derive from asyncio's.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        # Pieces of a large frame are joined once, when it is whole: a buffer that grows copies them several times.
        pieces = self._pieces
        pieces.append(data)
        self._have += len(data)
        if self._have < self._need:
            if len(pieces) > _PIECES:
                pieces[:] = [b"".join(pieces)]
            return
        buffer = data if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        start = 0
        while len(buffer) - start >= self._need:
            sequence, header_length, body_length = _PREFIX.unpack_from(buffer, start)
            if header_length > HEADER_CAP or body_length > self._body_cap:
                self.abort()
                return
            end = start + _PREFIX.size + header_length + body_length
            if len(buffer) < end:
                self._need = end - start
                break
            middle = start + _PREFIX.size + header_length
            header, body = buffer[start + _PREFIX.size : middle], buffer[middle:end]
            start, self._need = end, _PREFIX.size
            self.frame_received(sequence, header, body)
        self._have = len(buffer) - start
        if self._have:
            pieces.append(buffer[start:] if start else buffer)

    def send(self, sequence: int, message: Any, body: bytes | memoryview = b"") -> None:
        """Queues one frame; a connection that is gone swallows it."""
        if self.transport is not None and not self.transport.is_closing():
            head = _pack(sequence, message, body)
            if body:
                self.transport.writelines([head, body])
            else:
                self.transport.write(head)

    def abort(self) -> None:
        """Drops the connection at once."""
        if self.transport is not None:
            self.transport.abort()

    def frame_received(self, sequence: int, header: bytes, body: bytes) -> None:
        raise NotImplementedError


class Channel(_Frames):
    """The asking end: many calls may be under way at once. Make it with ``connect``."""

    def __init__(self, answers: Any, body_cap: int = BODY_CAP) -> None:
        super().__init__(body_cap)
        self._decoder = msgspec.msgpack.Decoder(answers)
        self._waiting: dict[int, asyncio.Future[tuple[Any, bytes]]] = {}
        self._next = 0
        self.open = True
        self.gone = asyncio.Event()
        """Set when it is open no more."""

    @classmethod
    async def connect(cls, path: FilePath, answers: Any, body_cap: int = BODY_CAP) -> Channel:
        """A channel to the socket *path*; its answers are of the union *answers*, with *body_cap* octets. Raises ChannelError."""
        try:
            with short_path(path) as name:
                _, channel = await asyncio.get_running_loop().create_unix_connection(lambda: cls(answers, body_cap), name)
        except OSError as error:
            raise ChannelError(f"{path.name}: {error.strerror}") from error
        return channel

    async def call(self, request: Any, body: bytes | memoryview = b"") -> tuple[Any, bytes]:
        """Sends *request* and waits for its answer. Raises ChannelError when the peer goes away first."""
        if not self.open:
            raise ChannelError("the channel is closed")
        self._next += 1
        sequence = self._next
        future: asyncio.Future[tuple[Any, bytes]] = asyncio.get_running_loop().create_future()
        self._waiting[sequence] = future
        self.send(sequence, request, body)
        try:
            return await future
        finally:
            self._waiting.pop(sequence, None)

    def frame_received(self, sequence: int, header: bytes, body: bytes) -> None:
        future = self._waiting.get(sequence)
        if future is None or future.done():
            return
        try:
            future.set_result((self._decoder.decode(header), body))
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            future.set_exception(ChannelError(f"an answer that is none: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        self.gone.set()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ChannelError("the peer went away"))

    def close(self) -> None:
        """Ends the channel; calls under way fail."""
        self.open = False
        if self.transport is not None:
            self.transport.close()


Handler = Callable[[Any, bytes, Credentials], Awaitable[tuple[Any, bytes]]]


class _Session(_Frames):
    """The answering end of one connection."""

    def __init__(
        self, requests: Any, handler: Handler, allow: Callable[[Credentials], bool], on_fault: Callable[[BaseException], Any]
    ) -> None:
        super().__init__(BODY_CAP)
        self._decoder = msgspec.msgpack.Decoder(requests)
        self._handler = handler
        self._allow = allow
        self._on_fault = on_fault
        self._tasks: set[asyncio.Task[None]] = set()
        self._peer = Credentials(0, -1, -1)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._peer = credentials(transport.get_extra_info("socket"))
        if not self._allow(self._peer):
            self.abort()

    def frame_received(self, sequence: int, header: bytes, body: bytes) -> None:
        try:
            request = self._decoder.decode(header)
        except (msgspec.DecodeError, msgspec.ValidationError):
            self.abort()  # not of the types that this kind of peer may ask
            return
        # The work goes on when the peer leaves: a commit under way must not be half cancelled.
        task = asyncio.get_running_loop().create_task(self._answer(sequence, request, body))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, sequence: int, request: Any, body: bytes) -> None:
        try:
            message, answer = await self._handler(request, body, self._peer)
        except Exception as error:
            self._on_fault(error)
            self.abort()  # the peer sees a closed channel and answers 4xx
            return
        self.send(sequence, message, answer)


async def serve(
    sock: socket.socket,
    requests: Any,
    handler: Handler,
    *,
    allow: Callable[[Credentials], bool],
    on_fault: Callable[[BaseException], Any],
) -> asyncio.AbstractServer:
    """Serves the union *requests* on the listening socket *sock* to the peers that *allow* admits."""
    loop = asyncio.get_running_loop()
    return await loop.create_unix_server(lambda: _Session(requests, handler, allow, on_fault), sock=sock)


# --- the blocking form, for the inspector's workers ----------------------------------------------------------------------


def _read_exactly(sock: socket.socket, length: int) -> bytearray:
    data = bytearray(length)
    view, done = memoryview(data), 0
    while done < length:
        count = sock.recv_into(view[done:])
        if not count:
            raise ChannelError("the peer went away")
        done += count
    return data


def read_frame(sock: socket.socket, decoder: msgspec.msgpack.Decoder[Any], body_cap: int = BODY_CAP) -> tuple[int, Any, bytes]:
    """Sequence, message and body of the next frame of a blocking socket. Raises ChannelError."""
    sequence, header_length, body_length = _PREFIX.unpack(_read_exactly(sock, _PREFIX.size))
    if header_length > HEADER_CAP or body_length > body_cap:
        raise ChannelError("a frame over the limit")
    header, body = _read_exactly(sock, header_length), _read_exactly(sock, body_length)
    try:
        return sequence, decoder.decode(header), bytes(body)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ChannelError(f"a frame that is none: {error}") from error


def write_frame(sock: socket.socket, sequence: int, message: Any, body: bytes = b"") -> None:
    """Sends one frame on a blocking socket."""
    sock.sendall(_pack(sequence, message, body))
    if body:
        sock.sendall(body)

"""The process that runs programs for the inspection workers, and the workers' way to it.

What it is: ``Pool.serve``, the life of that process: it gets one connected socket for each worker from its parent, reads typed questions
from them and runs programs; ``PoolLink``, the worker's end. A worker that dies leaves nothing behind; when the process dies, every
socket closes, the workers say so (``ToolFault``) and their parent starts both anew.
Who calls it: ``inspector.service``, the parent of both.
Must never: read what a program gets or prints; run anything that a worker names; open a file, a socket or a channel for a worker.
Sources: docs/design.md section 2 (a second pool with exec only runs tesseract and unar); unix(7), SCM_RIGHTS.
"""

from __future__ import annotations

import collections
import selectors
import socket
import struct
from dataclasses import dataclass, field, replace
from typing import cast

import msgspec

from gateway import ipc
from gateway.config import Limits
from gateway.extraction.base import ToolFault
from gateway.inspector import tools
from gateway.inspector.runner import Outcome, Runner
from gateway.inspector.tools import Installed, Link, Ran, Requests

_PREFIX = struct.Struct("!QII")  # as in ipc: sequence, header length, body length
_HEADER = 10_000
_UNDER_WAY = 8
"""Questions of one worker at a time; more is no worker of ours."""
_UNREAD = 100_000_000
"""Octets of one answer, and of answers that one worker leaves unread, beside what may be unpacked from a message."""
_CHUNK = 1 << 18
_encoder = msgspec.msgpack.Encoder()


class PoolLink(Link):
    """The worker's end of its socket to the pool."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._decoder = msgspec.msgpack.Decoder(Ran)
        self.broken = False
        """The pool is gone, or does not answer: this worker can ask nothing more."""

    def ask(self, number: int, request: Requests, body: bytes) -> None:
        """Raises ToolFault."""
        if self.broken:
            raise ToolFault("the pool of programs is gone")
        try:
            self._sock.settimeout(request.seconds + 1)
            ipc.write_frame(self._sock, number, request, body)
        except OSError as error:
            self.broken = True
            raise ToolFault("the pool of programs is gone") from error

    def answer(self, seconds: float) -> tuple[int, Ran, bytes]:
        """Raises ToolFault."""
        if self.broken:
            raise ToolFault("the pool of programs is gone")
        try:
            self._sock.settimeout(seconds)
            return ipc.read_frame(self._sock, self._decoder)
        except (OSError, ipc.ChannelError) as error:
            self.broken = True
            raise ToolFault("the pool of programs does not answer") from error


@dataclass(slots=True, eq=False)
class _Worker:
    """One worker, as the pool sees it."""

    sock: socket.socket
    given: bytearray = field(default_factory=bytearray)
    """Octets that came and are no whole question yet."""
    left: collections.deque[memoryview] = field(default_factory=collections.deque)
    """Answers that did not go out yet."""
    under_way: set[int] = field(default_factory=set)


class Pool:
    """Questions in, runs of programs, answers out; for a process of its own, with one thread."""

    def __init__(self, control: socket.socket, has: Installed, limits: Limits, body_cap: int) -> None:
        """*control*: the socket over which the sockets of workers come; *body_cap*: octets of one question's body at most."""
        self._control, self._has, self._body_cap = control, has, body_cap
        self._runner = Runner(limits.inspectors, limits.ocr_memory)
        self._most = limits.archive_bytes
        self._decoder = msgspec.msgpack.Decoder(Requests)
        self._workers: set[_Worker] = set()
        self._open = True

    def serve(self) -> None:
        """Until *control* and the sockets of all workers are closed."""
        self._control.setblocking(False)
        self._runner.selector.register(self._control, selectors.EVENT_READ, None)
        try:
            while self._open or self._workers:
                done, events = self._runner.turn(None)
                for key, outcome in done:
                    worker, number = cast(tuple[_Worker, int], key)
                    self._answer(worker, number, outcome)
                for event, mask in events:
                    if event.data is None:
                        self._admit()
                    elif event.data in self._workers:
                        self._move(event.data, mask)
        finally:
            self._runner.stop()

    def _admit(self) -> None:
        """Sockets of new workers."""
        try:
            octets, files, _, _ = socket.recv_fds(self._control, 16, 8)
        except BlockingIOError:
            return
        except OSError:
            octets, files = b"", []
        for file in files:
            sock = socket.socket(fileno=file)
            sock.setblocking(False)
            worker = _Worker(sock)
            self._workers.add(worker)
            self._runner.selector.register(sock, selectors.EVENT_READ, worker)
        if not octets:
            self._runner.selector.unregister(self._control)
            self._open = False

    def _move(self, worker: _Worker, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            self._send(worker)
        if not mask & selectors.EVENT_READ or worker not in self._workers:
            return
        try:
            data = worker.sock.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(worker)
            return
        worker.given += data
        while worker in self._workers and (question := self._question(worker)):
            self._begin(worker, *question)

    def _question(self, worker: _Worker) -> tuple[int, bytes, bytes] | None:
        """The next whole question of *worker*: number, header, body."""
        given = worker.given
        if len(given) < _PREFIX.size:
            return None
        number, header, body = _PREFIX.unpack_from(given)
        if header > _HEADER or body > self._body_cap:
            self._drop(worker)
            return None
        middle, end = _PREFIX.size + header, _PREFIX.size + header + body
        if len(given) < end:
            return None
        question = number, bytes(given[_PREFIX.size : middle]), bytes(memoryview(given)[middle:end])
        del given[:end]
        return question

    def _begin(self, worker: _Worker, number: int, header: bytes, body: bytes) -> None:
        try:
            request = self._decoder.decode(header)
        except (msgspec.DecodeError, msgspec.ValidationError):
            self._drop(worker)
            return
        if isinstance(request, tools.Drop):
            worker.under_way.discard(number)
            self._runner.forget((worker, number))
            return
        job = tools.job(request, body, self._has)
        if job is None or number in worker.under_way or len(worker.under_way) >= _UNDER_WAY:
            self._drop(worker)
            return
        worker.under_way.add(number)
        self._runner.begin((worker, number), replace(job, most=min(job.most, _UNREAD + self._most)))

    def _answer(self, worker: _Worker, number: int, outcome: Outcome) -> None:
        if worker not in self._workers:
            return
        worker.under_way.discard(number)
        header = _encoder.encode(tools.ran(outcome))
        worker.left.append(memoryview(_PREFIX.pack(number, len(header), len(outcome.output)) + header))
        if outcome.output:
            worker.left.append(memoryview(outcome.output))
        if sum(map(len, worker.left)) > _UNREAD + self._most:
            self._drop(worker)
            return
        self._send(worker)

    def _send(self, worker: _Worker) -> None:
        try:
            while worker.left:
                sent = worker.sock.send(worker.left[0][:_CHUNK])
                worker.left[0] = worker.left[0][sent:]
                if not worker.left[0]:
                    worker.left.popleft()
        except BlockingIOError:
            pass
        except OSError:
            self._drop(worker)
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if worker.left else 0)
        self._runner.selector.modify(worker.sock, events, worker)

    def _drop(self, worker: _Worker) -> None:
        """It is gone, or asked what no worker of ours asks."""
        self._workers.discard(worker)
        self._runner.selector.unregister(worker.sock)
        worker.sock.close()
        for number in worker.under_way:
            self._runner.forget((worker, number))


def hand_over(control: socket.socket) -> socket.socket:
    """A new worker's end of a socket whose other end goes to the pool over *control*. Raises OSError when the pool is gone."""
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            socket.send_fds(control, [b"w"], [theirs.fileno()])
        except OSError:
            ours.close()
            raise
    return ours

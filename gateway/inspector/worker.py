"""An inspection worker: reads one message at a time, in a sandbox, until its parent replaces it.

What it is: ``work``, the life of one worker: its parent hands it a connected socket, it reads one request from it, answers, closes,
and says that it waits for the next.
Who calls it: ``inspector.service`` in a forked child.
Must never: answer for content whose SHA-256 is another; log text of a message; hold a socket that requests come from.
Sources: docs/design.md section 2; docs/inspection.md, worker pool; hostile-inputs catalogue O11, 4.1 rules 5 and 6.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
import signal
import socket

import msgspec

from gateway import content, ipc, logs
from gateway.config import Config
from gateway.extraction.base import ToolFault
from gateway.inspector import authentication, dispatch, sandbox
from gateway.inspector.drawing import Reader
from gateway.inspector.tools import ToolBox
from gateway.message import prescan, views
from gateway.requests import Failed, Inspect, Inspected
from gateway.showing import NotDone, ShowAnswer, ShowRequest
from gateway.text.markings import Scheme
from gateway.verdict import Authentication

GROWTH = 200_000_000
"""Octets of resident memory above its start at which a worker ends before its time."""
PATIENCE = 10.0
"""Seconds that a connected door has for each piece of its request."""
EXIT_RETIRED, EXIT_FAULT = 0, 70

_log = logs.get("gateway.inspector")


def work(config: Config, scheme: Scheme, link: socket.socket, parent: int, box: ToolBox | None) -> None:
    """The life of one worker; never returns. *link*: its socket to its *parent*, who has blocked all signals and closed the rest."""
    code = EXIT_FAULT
    try:
        sandbox.die_with(parent)
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGHUP, signal.SIGALRM, signal.SIGXCPU):
            signal.signal(number, signal.SIG_DFL)
        worker = _Task(config, scheme, link, box)
        signal.signal(signal.SIGTERM, worker.asked_to_end)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        sandbox.enter(config.limits.inspect_memory)
        sandbox.keep_freed_memory()
        worker.serve()
        code = EXIT_RETIRED
    except _Retire:
        code = EXIT_RETIRED
    except sandbox.SandboxError as error:
        _log.error("sandbox.failed", why=str(error))
    except BaseException as error:
        _log.error("worker.fault", kind=type(error).__name__)
    finally:
        os._exit(code)


class _Retire(Exception):
    """SIGTERM came while the worker was waiting."""


class _Task:
    """Is handed a connection, reads, inspects, answers, closes; again and again."""

    def __init__(self, config: Config, scheme: Scheme, link: socket.socket, box: ToolBox | None) -> None:
        self._box = box
        self._limits = config.limits
        self._body_cap = config.max_message_size + 1_000_000
        self._scheme = scheme
        self._link = link
        self._decoders: dict[bytes, msgspec.msgpack.Decoder[Inspect | ShowRequest]] = {
            dispatch.DOORS: msgspec.msgpack.Decoder(Inspect),
            dispatch.KEEPER: msgspec.msgpack.Decoder(ShowRequest),
        }
        self._busy = self._ending = False

    def asked_to_end(self, *_: object) -> None:
        """The handler of SIGTERM."""
        self._ending = True
        if not self._busy:
            raise _Retire

    def serve(self) -> None:
        """Until the parent closes the link, or the worker has grown too large or is asked to end. Raises OSError."""
        start = _resident()
        while not self._ending and _resident() - start <= GROWTH:
            self._link.sendall(dispatch.READY)
            self._busy = False
            octets, files, _, _ = socket.recv_fds(self._link, 1, 1)
            self._busy = True
            if not octets:
                return
            with socket.socket(fileno=files[0]) as connection:
                self._one(connection, self._decoders[octets])
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _one(self, connection: socket.socket, decoder: msgspec.msgpack.Decoder[Inspect | ShowRequest]) -> None:
        connection.settimeout(PATIENCE)
        sequence, request, body = 0, None, b""
        with contextlib.suppress(ipc.ChannelError, OSError):
            sequence, request, body = ipc.read_frame(connection, decoder, self._body_cap)
        self._link.sendall(dispatch.READ)
        if request is None:
            return
        # A library that hangs holds no lock of ours and obeys no deadline: the kernel ends the worker.
        # Three such ends, after which the door calls the message poison, fit into ``limits.pipeline``.
        signal.setitimer(signal.ITIMER_REAL, 1.8 * self._limits.inspect_cpu)
        sandbox.allow_processor_time(self._limits.inspect_cpu * 1.5)
        with contextlib.suppress(OSError):
            if isinstance(request, Inspect):
                ipc.write_frame(connection, sequence, self._answer(request, body))
            else:
                ipc.write_frame(connection, sequence, *self._shown(request, body))

    def _shown(self, request: ShowRequest, body: bytes) -> tuple[ShowAnswer, bytes]:
        answer, octets = Reader(self._limits, self._scheme, self._box).answer(request, body)
        if isinstance(answer, NotDone) and answer.why == "tool":
            _log.error("tools.fault", why="while held mail was shown")
            self._ending = True
        return answer, octets

    def _answer(self, request: Inspect, body: bytes) -> Inspected | Failed:
        if hashlib.sha256(body).hexdigest() != request.sha256:
            return Failed("the content is not what the request says", 2)
        try:
            inspection = content.unpack(
                body, sha256=request.sha256, limits=self._limits, scheme=self._scheme, want_text=request.want_text, tools=self._box
            )
        except ToolFault as fault:
            _log.error("tools.fault", why=str(fault))
            self._ending = True  # what is left of its questions must not answer those of the next message
            return Failed(str(fault), 3)
        if request.keys:
            inspection = msgspec.structs.replace(inspection, authentication=self._authentication(body, dict(request.keys)))
        return Inspected(request.nonce, inspection)

    def _authentication(self, body: bytes, keys: dict[str, str]) -> tuple[Authentication, ...]:
        scan = prescan.prescan(body, self._limits)
        if scan.over_limit:
            return ()
        return authentication.check(body, views.strict(body[: scan.header_end], scan, self._limits).headers, keys)


def _resident() -> int:
    """The largest resident size so far, in octets; /proc is out of reach by now."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

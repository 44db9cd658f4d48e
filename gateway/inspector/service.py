"""The inspector process: a warm parent that forks workers, and workers that read one message at a time.

What it is: ``run``. The parent imports, warms up, listens on ``<run_dir>/inspector.sock`` and keeps ``limits.inspectors`` workers
alive; each worker accepts a connection, reads one request, answers it and closes. Beside them runs one process that starts programs
(``inspector.tool_pool``); each worker has a socket to it from its birth.
Who calls it: ``gateway run --only inspector``.
Must never: let hostile octets meet a process that may open files or sockets; answer for content whose SHA-256 is another;
log text of a message.
Sources: design.md section 2; reference/inspection.md, worker pool; hostile-inputs catalogue O11, 4.1 rules 5 and 6.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import os
import resource
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path as FilePath

import msgspec

from gateway import children, content, ipc, logs, rights, systemd
from gateway import config as config_file
from gateway.config import Config, ConfigError
from gateway.extraction.base import ToolFault
from gateway.inspector import authentication, confined, sandbox, tool_pool, tools, warm
from gateway.inspector.tool_pool import PoolLink
from gateway.inspector.tools import Installed, ToolBox
from gateway.message import prescan, views
from gateway.requests import Failed, Inspect, Inspected
from gateway.text.markings import Scheme
from gateway.verdict import Authentication

TASKS = 500
"""Messages that a worker reads before it is replaced: a fork costs about 10 ms, and leaks of the libraries end here."""
GROWTH = 200_000_000
"""Octets of resident memory above its start at which a worker is replaced before that."""
PATIENCE = 10.0
"""Seconds that a connected door has for each piece of its request."""
_QUICK = 1.0  # seconds; a worker that lives shorter than this counts as a quick death
_FREE_DEATHS = 10
_SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_EXIT_RETIRED, _EXIT_FAULT = 0, 70

_log = logs.get("gateway.inspector")


@dataclass(slots=True)
class _Worker:
    started: float


def run(config: Config, load: Callable[[Config], Scheme], path: FilePath | None = None) -> None:
    """Serves inspections until SIGTERM or SIGINT. *load* gives what texts are searched for, now and at SIGHUP; *path*: the config
    file, read again at SIGHUP. Raises what *load* raises when it fails at the start.
    """
    logs.configure("inspector")
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    scheme = load(config)
    warm.up(scheme, config.limits)
    place = rights.place(config.run_dir, "inspector.sock")
    place.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    sock = ipc.listen(place)
    for line in sandbox.describe():
        if not line.endswith(": on") and "on (" not in line:
            _log.warning("sandbox.incomplete", missing=line)
    gc.collect()
    gc.freeze()  # the workers share these pages; the collector would touch and so copy them
    try:
        _Parent(config, load, scheme, sock, path).keep()
    finally:
        sock.close()


class _Parent:
    """Keeps the workers alive; it never reads a message."""

    def __init__(
        self, config: Config, load: Callable[[Config], Scheme], scheme: Scheme, sock: socket.socket, path: FilePath | None
    ) -> None:
        self._config = config
        self._load = load
        self._path = path
        self._scheme = scheme
        self._sock = sock
        self._workers: dict[int, _Worker] = {}
        self._has = tools.installed(config.limits)
        self._pools: set[int] = set()
        """The processes that start programs: the present one, and those whose workers are still at work."""
        self._control: socket.socket | None = None
        self._quick_deaths = 0
        self._admitted = rights.admitted("inspector", "doors")
        self._next_ping = 0.0

    def keep(self) -> None:
        """Until SIGTERM or SIGINT."""
        try:
            self._fill()
            systemd.ready(f"{len(self._workers)} workers read.")
            while True:
                self._fill()
                self._tell_systemd()
                match signal.sigtimedwait(_SIGNALS, 1.0):
                    case None:
                        self._reap()
                    case event if event.si_signo == signal.SIGCHLD:
                        self._reap()
                    case event if event.si_signo == signal.SIGHUP:
                        self._reload()
                    case _:
                        return
        finally:
            systemd.stopping()
            self._end([*self._workers, *self._pools])

    def _tell_systemd(self) -> None:
        """A sign of life. The workers need none: the kernel's clock ends one that hangs."""
        period, now = systemd.watchdog(), time.monotonic()
        if period and now >= self._next_ping:
            self._next_ping = now + period / 2
            systemd.notify("WATCHDOG=1")

    def _fill(self) -> None:
        while len(self._workers) < self._config.limits.inspectors:
            if self._quick_deaths > _FREE_DEATHS:
                time.sleep(min(1.0, 0.01 * 2 ** (self._quick_deaths - _FREE_DEATHS)))
            channel = self._channel()
            pid = os.fork()
            if pid == 0:
                if self._control is not None:
                    self._control.close()
                box = ToolBox(PoolLink(channel), self._has, self._config.limits.inspectors) if channel is not None else None
                _work(self._config, self._scheme, self._sock, self._admitted, os.getppid(), box)
            if channel is not None:
                channel.close()
            self._workers[pid] = _Worker(time.monotonic())

    def _channel(self) -> socket.socket | None:
        """A new worker's socket to the pool, which is started where it is not there; None without programs. Raises OSError."""
        if not self._has.programs:
            return None
        try:
            return tool_pool.hand_over(self._control or self._start_pool())
        except OSError:  # it has just died
            self._leave_pool()
            return tool_pool.hand_over(self._start_pool())

    def _start_pool(self) -> socket.socket:
        self._control, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            self._control.close()
            _pool(self._config, theirs, self._has, self._sock, os.getppid())
        theirs.close()
        self._pools.add(pid)
        return self._control

    def _leave_pool(self) -> None:
        """The pool ends when its last worker has ended."""
        if self._control is not None:
            self._control.close()
        self._control = None

    def _pool_ended(self, pid: int, code: int) -> None:
        self._pools.discard(pid)
        if code != _EXIT_RETIRED:
            self._quick_deaths += 1
            _log.error("tools.died", pid=pid, code=code)
            self._leave_pool()
            for worker in self._workers:  # each has a socket that leads nowhere now
                os.kill(worker, signal.SIGTERM)

    def _reap(self) -> None:
        for pid, code in children.ended():
            if pid in self._pools:
                self._pool_ended(pid, code)
                continue
            worker = self._workers.pop(pid, None)
            if worker is None or code == _EXIT_RETIRED:
                continue
            quick = time.monotonic() - worker.started < _QUICK
            self._quick_deaths = self._quick_deaths + 1 if quick else 0
            _log.error("worker.died", pid=pid, how=children.how(code))

    def _reload(self) -> None:
        """Workers with the new config and scheme in place of the old ones, each after the message it is reading."""
        systemd.reloading()
        try:
            config = self._config if self._path is None else config_file.load(self._path)
            if config.run_dir != self._config.run_dir:
                raise ConfigError(f"{self._path}: run_dir: cannot change while the inspector runs; stop it and start it again")
            scheme = self._load(config)
        except Exception as error:  # whatever is wrong with the new ones, the old ones stay
            _log.error("rules.reload_failed", why=str(error))
            systemd.ready(f"The reload failed, everything is as before: {error}")
            return
        self._config, self._scheme = config, scheme
        self._has = tools.installed(config.limits)
        self._leave_pool()
        old = list(self._workers)
        self._workers.clear()
        self._fill()
        for pid in old:
            os.kill(pid, signal.SIGTERM)
        _log.info("rules.reloaded", version=self._scheme.version)
        systemd.ready(f"{len(self._workers)} workers read; config and scheme are new.")

    def _end(self, pids: list[int]) -> None:
        """SIGTERM, which an idle worker follows at once and a busy one after its message; SIGKILL after two seconds."""
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 2
        left = set(pids)
        while left and time.monotonic() < deadline:
            left.difference_update(pid for pid, _ in children.ended())
            time.sleep(0.01)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _pool(config: Config, control: socket.socket, has: Installed, listening: socket.socket, parent: int) -> None:
    """The life of the process that starts programs; never returns."""
    code = _EXIT_FAULT
    try:
        sandbox.die_with(parent)
        sandbox.name_process("gateway-tools")
        listening.close()
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        confined.enter_pool(has.programs)
        tool_pool.Pool(control, has, config.limits, config.max_message_size + 1_000_000).serve()
        code = _EXIT_RETIRED
    except sandbox.SandboxError as error:
        _log.error("sandbox.failed", why=str(error))
    except BaseException as error:
        _log.error("tools.fault", kind=type(error).__name__)
    finally:
        os._exit(code)


def _work(
    config: Config, scheme: Scheme, sock: socket.socket, admitted: Callable[[ipc.Credentials], bool], parent: int, box: ToolBox | None
) -> None:
    """The life of one worker; never returns."""
    code = _EXIT_FAULT
    try:
        sandbox.die_with(parent)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGHUP, signal.SIGALRM, signal.SIGXCPU):
            signal.signal(number, signal.SIG_DFL)
        worker = _Task(config, scheme, sock, admitted, box)
        signal.signal(signal.SIGTERM, worker.asked_to_end)
        sandbox.enter(config.limits.inspect_memory)
        sandbox.keep_freed_memory()
        worker.serve()
        code = _EXIT_RETIRED
    except sandbox.SandboxError as error:
        _log.error("sandbox.failed", why=str(error))
    except BaseException as error:
        _log.error("worker.fault", kind=type(error).__name__)
    finally:
        os._exit(code)


class _Retire(Exception):
    """SIGTERM came while the worker was waiting."""


class _Task:
    """Accepts, reads, inspects, answers, closes; again and again."""

    def __init__(
        self, config: Config, scheme: Scheme, sock: socket.socket, admitted: Callable[[ipc.Credentials], bool], box: ToolBox | None
    ) -> None:
        self._admitted = admitted
        self._box = box
        self._limits = config.limits
        self._body_cap = config.max_message_size + 1_000_000
        self._scheme = scheme
        self._sock = sock
        self._decoder = msgspec.msgpack.Decoder(Inspect)
        self._busy = self._ending = False

    def asked_to_end(self, *_: object) -> None:
        """The handler of SIGTERM."""
        self._ending = True
        if not self._busy:
            raise _Retire

    def serve(self) -> None:
        """Until the worker has done its share, has grown too large, or is asked to end."""
        start = _resident()
        for _ in range(TASKS):
            try:
                connection, _address = self._sock.accept()
                self._busy = True
            except _Retire:
                return
            with connection:
                self._one(connection)
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._busy = False
            if self._ending or _resident() - start > GROWTH:
                return

    def _one(self, connection: socket.socket) -> None:
        if not self._admitted(ipc.credentials(connection)):
            return
        connection.settimeout(PATIENCE)
        try:
            sequence, request, body = ipc.read_frame(connection, self._decoder, self._body_cap)
            # A library that hangs holds no lock of ours and obeys no deadline: the kernel ends the worker.
            # Three such ends, after which the door calls the message poison, fit into ``limits.pipeline``.
            signal.setitimer(signal.ITIMER_REAL, 1.8 * self._limits.inspect_cpu)
            sandbox.allow_processor_time(self._limits.inspect_cpu * 1.5)
            ipc.write_frame(connection, sequence, self._answer(request, body))
        except (ipc.ChannelError, OSError):
            return

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

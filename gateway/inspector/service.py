"""The inspector process: a warm parent that forks workers, each of which reads one message at a time.

What it is: ``run``. The parent imports, warms up, listens on ``<run_dir>/inspector.sock`` for the doors and on
``inspector-keeper.sock`` for the keeper, who shows held mail to people, keeps ``limits.inspectors`` workers alive
(``inspector.worker``) and hands them connections (``inspector.dispatch``). Beside them runs one process that starts programs
(``inspector.tool_pool``); each worker has a socket to it from its birth.
Who calls it: ``gateway run --only inspector``.
Must never: let hostile octets meet a process that may open files or sockets; read a request or an answer itself.
Sources: docs/design.md section 2; docs/inspection.md, worker pool; hostile-inputs catalogue O11, 4.1 rules 5 and 6.
"""

from __future__ import annotations

import contextlib
import gc
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path as FilePath

from gateway import children, ipc, logs, rights, systemd
from gateway import config as config_file
from gateway.config import Config, ConfigError
from gateway.inspector import confined, dispatch, sandbox, tool_pool, tools, warm, worker
from gateway.inspector.dispatch import Lanes
from gateway.inspector.tool_pool import PoolLink
from gateway.inspector.tools import Installed, ToolBox
from gateway.inspector.worker import EXIT_FAULT, EXIT_RETIRED
from gateway.text.markings import Scheme

_QUICK = 1.0  # seconds; a worker that lives shorter than this counts as a quick death
_FREE_DEATHS = 10
_SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_log = logs.get("gateway.inspector")


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
    socks = [ipc.listen(place)]
    try:
        socks.append(ipc.listen(rights.place(config.run_dir, "inspector-keeper.sock")))
    except OSError as error:  # mail goes before its display
        _log.error("held mail cannot be shown to anybody: its socket cannot be made", **{"error.message": str(error)})
    for line in sandbox.describe():
        if not line.endswith(": on") and "on (" not in line:
            _log.warning("sandbox.incomplete", missing=line)
    gc.collect()
    gc.freeze()  # the workers share these pages; the collector would touch and so copy them
    try:
        _Parent(config, load, scheme, socks, path).keep()
    finally:
        for sock in socks:
            sock.close()


class _Parent:
    """Keeps the workers alive; it never reads a message."""

    def __init__(
        self, config: Config, load: Callable[[Config], Scheme], scheme: Scheme, socks: list[socket.socket], path: FilePath | None
    ) -> None:
        self._config = config
        self._load = load
        self._path = path
        self._scheme = scheme
        self._lanes = Lanes(socks[0], rights.admitted("inspector", "doors"), config.limits)
        for sock in socks[1:]:
            self._lanes.serve(sock, rights.admitted("inspector", "keeper"), dispatch.KEEPER)
        self._signals = dispatch.signal_file(_SIGNALS)
        self._lanes.selector.register(self._signals, selectors.EVENT_READ, None)
        self._has = tools.installed(config.limits)
        self._pools: set[int] = set()
        """The processes that start programs: the present one, and those whose workers are still at work."""
        self._control: socket.socket | None = None
        self._quick_deaths = 0
        self._next_ping = 0.0

    def keep(self) -> None:
        """Until SIGTERM or SIGINT."""
        try:
            self._fill()
            systemd.ready(f"{self._lanes.at_work} workers read.")
            while True:
                self._fill()
                self._tell_systemd()
                came = dispatch.signals(self._signals) if self._lanes.turn(1.0) else []
                self._reap()
                if signal.SIGTERM in came or signal.SIGINT in came:
                    return
                if signal.SIGHUP in came:
                    self._reload()
        finally:
            systemd.stopping()
            self._end([*self._lanes.pids, *self._pools])

    def _tell_systemd(self) -> None:
        """A sign of life. The workers need none: their own clock ends one that hangs, and ``Lanes`` one that has stopped it."""
        period, now = systemd.watchdog(), time.monotonic()
        if period and now >= self._next_ping:
            self._next_ping = now + period / 2
            systemd.notify("WATCHDOG=1")

    def _fill(self) -> None:
        while self._lanes.at_work < self._config.limits.inspectors:
            if self._quick_deaths > _FREE_DEATHS:
                time.sleep(min(1.0, 0.01 * 2 ** (self._quick_deaths - _FREE_DEATHS)))
            parent, sockets = os.getpid(), []
            try:
                channel = self._channel()  # before the link, which the pool must not inherit
                sockets += [channel] if channel is not None else []
                ours, theirs = socket.socketpair()
                sockets += [ours, theirs]
                pid = os.fork()
            except OSError as error:  # no memory or no process to be had: what is there goes on
                _log.error("worker.not_started", why=str(error))
                self._quick_deaths += 1
                for one in sockets:
                    one.close()
                return
            if pid == 0:
                ours.close()
                self._forget()
                box = ToolBox(PoolLink(channel), self._has, self._config.limits.inspectors) if channel is not None else None
                worker.work(self._config, self._scheme, theirs, parent, box)
            theirs.close()
            if channel is not None:
                channel.close()
            self._lanes.add(pid, ours)

    def _forget(self) -> None:
        """In a forked child: closes what is the parent's."""
        self._lanes.forget()
        os.close(self._signals)
        if self._control is not None:
            self._control.close()

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
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._forget()
            _pool(self._config, theirs, self._has, parent)
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
        if code != EXIT_RETIRED:
            self._quick_deaths += 1
            _log.error("tools.died", pid=pid, code=code)
            self._leave_pool()
            self._lanes.replace(self._lanes.pids)  # each has a socket that leads nowhere now

    def _reap(self) -> None:
        for pid, code in children.ended():
            if pid in self._pools:
                self._pool_ended(pid, code)
                continue
            lived = self._lanes.ended(pid)
            if lived is None or code == EXIT_RETIRED:
                continue
            self._quick_deaths = self._quick_deaths + 1 if lived < _QUICK else 0
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
        self._lanes.limits = config.limits
        self._lanes.replace(self._lanes.pids)
        self._fill()
        _log.info("rules.reloaded", version=self._scheme.version)
        systemd.ready(f"{self._lanes.at_work} workers read; config and scheme are new.")

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


def _pool(config: Config, control: socket.socket, has: Installed, parent: int) -> None:
    """The life of the process that starts programs; never returns."""
    code = EXIT_FAULT
    try:
        sandbox.die_with(parent)
        sandbox.name_process("gateway-tools")
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        confined.enter_pool(has.programs)
        tool_pool.Pool(control, has, config.limits, config.max_message_size + 1_000_000).serve()
        code = EXIT_RETIRED
    except sandbox.SandboxError as error:
        _log.error("sandbox.failed", why=str(error))
    except BaseException as error:
        _log.error("tools.fault", kind=type(error).__name__)
    finally:
        os._exit(code)

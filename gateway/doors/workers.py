"""The parent of the door workers: config, policy and modules are loaded once, and each worker is a fork of that.

What it is: ``run``. The parent keeps ``workers`` door workers alive, replaces one that dies at once, passes SIGTERM and SIGHUP on,
and ends when its workers have ended. Workers share its memory as long as nobody writes to it.
Who calls it: ``gateway run --only doors`` and through it the supervisor.
Must never: read mail, listen, or have a thread or an event loop (a fork would take half of it along); let a worker outlive
it; pass a reload on that did not load here first.
Sources: design.md section 2; contract.md ("a process that dies is replaced within 2 s"); prctl(2) PR_SET_PDEATHSIG; fork(2);
hostile-inputs catalogue O13, O17.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import signal
import time
from dataclasses import dataclass
from typing import NoReturn

from gateway import logs, policy
from gateway.config import Config, ConfigError
from gateway.doors import service, tls
from gateway.policy import Policy, PolicyError

QUICK = 5.0
"""Seconds of life below which a death counts towards a crash loop."""
_FREE_DEATHS = 4
_LONGEST_PAUSE = 30.0  # seconds between two starts of a worker that dies again and again
_LEISURE = 1.5  # seconds after the drain at which a worker counts as hung; the supervisor waits 2
_TICK = 1.0
_PR_SET_PDEATHSIG = 1
_EXIT_CONFIG, _EXIT_FAULT = 2, 70
_SIGNALS = (signal.SIGCHLD, *service.SIGNALS)

_log = logs.get("gateway.doors")


@dataclass(slots=True)
class _Worker:
    """One place for a worker; *number* stays the same through all its processes."""

    number: int
    pid: int = 0
    started: float = 0.0
    due: float = 0.0
    """When it may start again, in seconds of the monotonic clock."""
    quick_deaths: int = 0


def run(config: Config) -> None:
    """Keeps the door workers of *config* alive until SIGTERM or SIGINT, then until they have drained.

    Raises ConfigError or PolicyError when it cannot start, and ConfigError when no worker can use the config.
    """
    logs.configure("doors")
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    _Parent(config, _load(config)).keep()


def _load(config: Config) -> Policy:
    """The policy; the certificate is tried as well. Raises ConfigError or PolicyError."""
    tls.context(config.tls)
    return policy.load(config.rules_dir, config)


def _share() -> None:
    """What is in memory now is left alone by the collector, whose marks would copy the pages that workers share with us."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()


class _Parent:
    """Starts and watches the workers; one thread, which waits for signals."""

    def __init__(self, config: Config, rules: Policy) -> None:
        self._config = config
        self._rules = rules
        self._pid = os.getpid()
        self._libc = ctypes.CDLL(None, use_errno=True)  # here, since a worker has no time to lose
        self._workers = [_Worker(number) for number in range(config.workers)]
        self._kill_at = 0.0
        """When the workers are killed, in seconds of the monotonic clock; 0 while no end is wanted."""
        self._unusable = False

    def keep(self) -> None:
        """Until all workers have ended, after SIGTERM or SIGINT or because none can use the config (ConfigError)."""
        _share()
        try:
            while True:
                self._fill()
                if not self._living() and (self._kill_at or self._unusable):
                    break
                event = signal.sigtimedwait(_SIGNALS, self._patience())
                number = event.si_signo if event is not None else 0
                if number in (signal.SIGTERM, signal.SIGINT):
                    self._stop()
                elif number == signal.SIGHUP and not self._kill_at:
                    self._reload()
                self._reap()
                if self._kill_at and time.monotonic() >= self._kill_at:
                    self._kill()
        finally:
            self._kill()
        if self._unusable and not self._kill_at:
            raise ConfigError("no door worker can start; the reason was logged before this")

    def _living(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.pid]

    def _patience(self) -> float:
        """Seconds until something must be done without a signal."""
        now = time.monotonic()
        due = [worker.due for worker in self._workers if not worker.pid and not self._kill_at]
        return max(0.0, min([now + _TICK, *due, *([self._kill_at] if self._kill_at else [])]) - now)

    def _fill(self) -> None:
        """Starts each worker that is not there and whose time has come."""
        if self._kill_at or (self._unusable and not self._living()):
            return
        for worker in self._workers:
            if worker.pid or time.monotonic() < worker.due:
                continue
            worker.started = time.monotonic()
            try:
                pid = os.fork()
            except OSError as error:
                worker.due = time.monotonic() + _TICK
                _log.error("worker.not_started", worker=worker.number, reason=error.strerror)
                continue
            if pid == 0:
                self._work(worker.number)
            worker.pid = pid
            _log.info("worker.started", worker=worker.number, pid=pid)

    def _reap(self) -> None:
        """Takes note of every worker that has ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for worker in self._workers:
                if worker.pid == pid:
                    self._ended(worker, os.waitstatus_to_exitcode(status))

    def _ended(self, worker: _Worker, code: int) -> None:
        pid, worker.pid = worker.pid, 0
        if self._kill_at:
            return
        now = time.monotonic()
        lived = now - worker.started
        worker.quick_deaths = worker.quick_deaths + 1 if lived < QUICK else 0
        over = worker.quick_deaths - _FREE_DEATHS
        pause = 0.0 if over <= 0 else min(_LONGEST_PAUSE, 2.0**over)
        self._unusable = code == _EXIT_CONFIG
        # What one cannot use the others cannot either, mostly: time for them to find out, and then we end.
        worker.due = now + (max(pause, _TICK) if self._unusable else pause)
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        about = {"worker": worker.number, "pid": pid, "how": how, "lived_s": round(lived, 3)}
        if pause:
            _log.error("worker.crash_loop", **about, deaths=worker.quick_deaths, next_start_in_s=pause)
        else:
            _log.error("worker.died", **about)

    def _stop(self) -> None:
        """Has the workers drain; the first time only, since those who ask twice kill us, and the workers die with us."""
        if self._kill_at:
            return
        self._kill_at = time.monotonic() + self._config.limits.drain + _LEISURE
        self._tell(signal.SIGTERM)

    def _reload(self) -> None:
        """The policy anew, here for the forks to come and then in each worker; a mistake changes nothing anywhere."""
        try:
            self._rules = _load(self._config)
        except (ConfigError, PolicyError) as error:
            _log.error("rules.reload_failed", **{"error.message": str(error)})
            return
        except Exception as error:
            _log.exception("rules.reload_failed", **{"error.message": str(error)})
            return
        self._tell(signal.SIGHUP)
        _share()

    def _tell(self, number: signal.Signals) -> None:
        for worker in self._living():
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, number)

    def _kill(self) -> None:
        """SIGKILL to every worker that is still there, and its end."""
        for worker in self._living():
            _log.error("worker.killed", worker=worker.number, pid=worker.pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(worker.pid, 0)
            worker.pid = 0

    def _work(self, number: int) -> NoReturn:
        """The life of one worker; its signals stay blocked until its event loop can take them."""
        code = _EXIT_FAULT
        try:
            # SIGKILL: whoever kills us means the doors, and no half-drained worker stays behind on the port.
            if self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) == 0 and os.getppid() == self._pid:
                service.run(self._config, number, rules=self._rules)
                code = 0
        except (ConfigError, OSError) as error:
            code = _EXIT_CONFIG
            _log.error("doors.cannot_start", worker=number, **{"error.message": str(error)})
        except BaseException as error:
            _log.error("doors.fault", worker=number, error=type(error).__name__, **{"error.message": str(error)})
        finally:
            os._exit(code)

"""The parent of the door workers: config, policy and modules are loaded once, and each worker is a fork of that.

What it is: ``run``. The parent keeps the listening sockets and a *generation* of ``workers`` door workers alive, replaces one that
dies at once, one whose event loop has stopped after a while, and one that has grown too large, which ends with its last session. At
SIGHUP it loads config, rules and certificate anew and forks a new generation from that; when all of that listen, the old workers get
no new sessions and end with their last one. What is in the queues of the sockets belongs to whoever comes next, so no client is
refused; while nobody comes, as in the pauses of a crash loop, the other workers attend to them. Workers share the parent's memory.
Who calls it: ``gateway run --only doors`` and through it the supervisor; systemd hears from it how the doors are.
Must never: read mail, accept, or have a thread or an event loop (a fork would take half of it along); let a worker outlive
it; change anything when a reload fails.
Sources: docs/design.md section 2 (who dies is replaced); prctl(2) PR_SET_PDEATHSIG; fork(2);
sd_notify(3); hostile-inputs catalogue O13, O17, O25.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import signal
import time
from pathlib import Path as FilePath
from typing import NoReturn

from gateway import children, logs, policy, reloading, systemd
from gateway import config as config_file
from gateway.config import Config, ConfigError
from gateway.doors import listen, service, tls, vacancies
from gateway.doors.generation import QUICK, Generation, Worker
from gateway.doors.vacancies import Vacancies
from gateway.policy import Policy, PolicyError

HUNG = 20.0
"""Seconds without a sign of life after which a worker that had listened is killed: its event loop does not turn any more."""
WEIGHED = 10.0
"""Seconds between two looks at how much memory each worker has."""
_ABSENCE = 5.0  # seconds between two looks at the workers from which on it was we who stood still
_FREE_DEATHS = 4
_LONGEST_PAUSE = 30.0  # seconds between two starts of a worker that dies again and again
_LEISURE = 1.5  # seconds after the drain at which a worker counts as hung; the supervisor waits 2
_PATIENCE = 30.0  # seconds for a new generation to listen
_OLD = 4  # workers of former generations for each place; before there are more, the oldest are drained
_TICK = 1.0
_PR_SET_PDEATHSIG = 1
_EXIT_CONFIG, _EXIT_FAULT = 2, 70
_WORD = signal.SIGUSR1  # a worker has just said something
_SIGNALS = (signal.SIGCHLD, _WORD, *service.SIGNALS)
_FIXED = ("state_dir", "run_dir")

_log = logs.get("gateway.doors")


def run(config: Config, path: FilePath | None = None) -> None:
    """Keeps the door workers of *config* alive until SIGTERM or SIGINT, then until they have drained. *path*: its file, read again
    at SIGHUP.

    Raises ConfigError or PolicyError when it cannot start, and ConfigError when no worker can use the config.
    """
    logs.configure("doors")
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    _Parent(config, path).keep()


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

    def __init__(self, config: Config, path: FilePath | None) -> None:
        self._path = path
        self._listeners = listen.Listeners()
        self._now = self._generation(config)
        self._next: Generation | None = None
        self._again = False
        """SIGHUP came while a new generation was starting."""
        self._old: list[Worker] = []
        """Workers without a place: those of former generations, with the sessions that they still have; the oldest first."""
        self._pid = os.getpid()
        self._libc = ctypes.CDLL(None, use_errno=True)  # here, since a worker has no time to lose
        self._kill_at = 0.0
        """When the workers are killed; 0 while no end is wanted."""
        self._unusable = self._said_ready = False
        self._next_ping = self._next_weighing = 0.0
        self._looked = time.monotonic()

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
                    self._again = True
                self._listen()
                self._reap()
                self._weigh()
                self._turn()
                self._tell_of_vacancies()
                self._tell_systemd()
                if self._kill_at and time.monotonic() >= self._kill_at:
                    self._kill(self._living())
        finally:
            self._kill(self._living())
        if self._unusable and not self._kill_at:
            raise ConfigError("no door worker can start; the reason was logged before this")

    def _generation(self, config: Config) -> Generation:
        """Rules, certificate and sockets of *config*. Raises ConfigError or PolicyError, and then no socket is new."""
        rules = _load(config)
        addresses = tuple(one.address for one in service.served(config))
        named = {one.address.removeprefix("systemd:") for one in config.listen}
        for name in systemd.unnamed(named):
            _log.error("doors.nobody_answers", socket=name, reason=f"no [[listen]] names systemd:{name}; name it, or stop the socket")
        self._listeners.add(addresses, config.workers)
        return Generation(config, rules, addresses)

    def _living(self) -> list[Worker]:
        return [*self._now.living, *(self._next.living if self._next is not None else ()), *self._old]

    def _patience(self) -> float:
        """Seconds until something must be done without a signal."""
        now = time.monotonic()
        if self._again and self._next is None and not self._kill_at:
            return 0.0
        due = [worker.due for worker in self._now.workers if not worker.pid and not self._kill_at]
        return max(0.0, min([now + _TICK, *due, *([self._kill_at] if self._kill_at else [])]) - now)

    # --- processes ----------------------------------------------------------------------------------------------------

    def _fill(self) -> None:
        """Starts each worker that is not there and whose time has come."""
        if self._kill_at or (self._unusable and not self._living()):
            return
        for generation in (self._now, self._next):
            for worker in generation.workers if generation is not None else ():
                if generation is not None and not worker.pid and time.monotonic() >= worker.due:
                    self._start(generation, worker)

    def _start(self, generation: Generation, worker: Worker) -> None:
        worker.started = time.monotonic()
        try:
            ours, its = vacancies.line()
        except OSError as error:
            worker.due = time.monotonic() + _TICK
            _log.error("worker.not_started", worker=worker.number, reason=error.strerror)
            return
        try:
            pid = os.fork()
        except OSError as error:
            os.close(ours)
            os.close(its)
            worker.due = time.monotonic() + _TICK
            _log.error("worker.not_started", worker=worker.number, reason=error.strerror)
            return
        if pid == 0:
            self._work(generation, worker.number, its)
        os.close(its)
        worker.pid, worker.pipe, worker.ready, worker.draining, worker.told = pid, ours, False, False, frozenset()
        _log.info("worker.started", worker=worker.number, pid=pid)

    def _listen(self) -> None:
        """Takes note of every sign of life, and kills who has given none for too long."""
        now = time.monotonic()
        absent, self._looked = now - self._looked > _ABSENCE, now
        for worker in self._living():
            if absent:  # we stood still ourselves, alone or with all of them
                worker.heard = now
            with contextlib.suppress(OSError):  # nothing there
                said = os.read(worker.pipe, 4096)
                worker.ready = worker.ready or service.READY in said
                worker.heard = now if said else worker.heard
            if worker.ready and now - worker.heard > HUNG and not self._kill_at:
                _log.error("worker.hung", worker=worker.number, pid=worker.pid, silent_s=round(now - worker.heard, 1))
                worker.heard = now  # it is said once
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker.pid, signal.SIGKILL)

    def _weigh(self) -> None:
        """Puts a fresh worker in the place of one that has grown over ``limits.worker_memory``: that ends with its last session."""
        now, most = time.monotonic(), self._now.config.limits.worker_memory
        if now < self._next_weighing or not most or self._kill_at or self._next is not None:
            return
        self._next_weighing = now + WEIGHED
        for place, worker in enumerate(self._now.workers):
            if worker.pid and worker.ready and (octets := children.resident(worker.pid)) > most:
                _log.error("worker.heavy", worker=worker.number, pid=worker.pid, octets=octets, limit=most)
                self._now.workers[place] = Worker(worker.number, former=True)
                self._old.append(worker)
                self._tell([worker], service.RETIRE)

    def _reap(self) -> None:
        """Takes note of every worker that has ended."""
        for pid, code in children.ended():
            for worker in self._living():
                if worker.pid == pid:
                    self._ended(worker, code)

    def _ended(self, worker: Worker, code: int) -> None:
        pid, worker.pid, worker.former = worker.pid, 0, True
        os.close(worker.pipe)
        how = children.how(code)
        about = {"worker": worker.number, "pid": pid, "how": how, "lived_s": round(time.monotonic() - worker.started, 3)}
        if worker in self._old:
            self._old.remove(worker)
            if code:
                _log.error("worker.died", **about)
            return
        if self._kill_at:
            return
        if self._next is not None and worker in self._next.workers:
            self._give_up(f"worker {worker.number} ended with {how} before it listened; what it said was logged before this")
            return
        now = time.monotonic()
        worker.quick_deaths = worker.quick_deaths + 1 if now - worker.started < QUICK else 0
        over = worker.quick_deaths - _FREE_DEATHS
        pause = 0.0 if over <= 0 else min(_LONGEST_PAUSE, 2.0**over)
        self._unusable = code == _EXIT_CONFIG
        # What one cannot use the others cannot either, mostly: time for them to find out, and then we end.
        worker.due = now + (max(pause, _TICK) if self._unusable else pause)
        if pause:
            _log.error("worker.crash_loop", **about, deaths=worker.quick_deaths, next_start_in_s=pause)
        else:
            _log.error("worker.died", **about)

    def _stop(self) -> None:
        """Has the workers drain; the first time only, since those who ask twice kill us, and the workers die with us."""
        if self._kill_at:
            return
        systemd.stopping()
        self._kill_at = time.monotonic() + self._now.config.limits.drain + _LEISURE
        self._tell(self._living(), signal.SIGTERM)

    def _tell_of_vacancies(self) -> None:
        """Tells each worker whose sockets nobody attends to, where that is news to it."""
        vacant = self._now.vacant(time.monotonic())
        for worker in self._now.living if not self._kill_at else ():
            if worker.ready and worker.told != vacant:
                with contextlib.suppress(OSError):  # it is about to be reaped, or does not read for now
                    os.write(worker.pipe, vacancies.written(vacant))
                    worker.told = vacant

    def _tell(self, workers: list[Worker], number: signal.Signals) -> None:
        for worker in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, number)

    def _kill(self, workers: list[Worker]) -> None:
        """SIGKILL to every one of *workers* that is still there, and its end."""
        for worker in workers:
            _log.error("worker.killed", worker=worker.number, pid=worker.pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(worker.pid, 0)
            os.close(worker.pipe)
            worker.pid = 0
            if worker in self._old:
                self._old.remove(worker)

    def _work(self, generation: Generation, number: int, pipe: int) -> NoReturn:
        """The life of one worker; its signals stay blocked until its event loop can take them."""
        code = _EXIT_FAULT
        config = generation.config

        def sign(word: bytes) -> None:
            with contextlib.suppress(OSError):  # a full pipe holds enough of them; a parent that went takes us along
                os.write(pipe, word)
                if word == service.READY:
                    os.kill(self._pid, _WORD)

        try:
            # SIGKILL: whoever kills us means the doors, and no half-drained worker stays behind on the port.
            if self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) == 0 and os.getppid() == self._pid:
                for other in self._living():
                    os.close(other.pipe)
                places = self._listeners.take(number, config.workers, generation.addresses)
                service.run(config, number, self._path, generation.rules, places.pop(number), sign, Vacancies(places, pipe))
                code = 0
        except (ConfigError, OSError) as error:
            code = _EXIT_CONFIG
            _log.error("doors.cannot_start", worker=number, **{"error.message": str(error)})
        except BaseException as error:
            _log.error("doors.fault", worker=number, error=type(error).__name__, **{"error.message": str(error)})
        finally:
            os._exit(code)

    # --- generations --------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        """Begins a reload that was asked for, and ends one whose workers listen."""
        if self._kill_at:
            return
        if self._next is not None:
            if self._next.ready:
                self._change()
            elif time.monotonic() - self._next.born > _PATIENCE:
                self._give_up(f"its workers did not listen within {_PATIENCE:.0f} s")
        if self._again and self._next is None:
            self._again = False
            self._reload()

    def _reload(self) -> None:
        """Config, rules and certificate anew, and workers with them; a mistake changes nothing anywhere."""
        systemd.reloading()
        event = "config.reload_failed"
        try:
            config = self._now.config if self._path is None else config_file.load(self._path)
            for name in _FIXED:
                if getattr(config, name) != getattr(self._now.config, name):
                    raise ConfigError(f"{self._path}: {name}: cannot change while the doors run; stop them and start them again")
            event = "rules.reload_failed"
            self._next = self._generation(config)
        except (ConfigError, PolicyError) as error:
            _log.error(event, **{"error.message": str(error)})
            self._reloaded(str(error))
        except Exception as error:
            _log.exception(event, **{"error.message": str(error)})
            self._reloaded("a fault of the program; the log says which")
        else:
            _share()

    def _change(self) -> None:
        """The new workers listen: the old ones keep the sessions they have, and the addresses that are gone are closed."""
        assert self._next is not None
        former, self._now, self._next = self._now, self._next, None
        self._tell(self._old, signal.SIGHUP)  # sessions that outlived a former reload are under the new rules as well
        self._tell(former.living, service.RETIRE)
        self._old += former.living
        self._listeners.remove(self._listeners.addresses - set(self._now.addresses))
        crowd = [worker for worker in self._old[: max(0, len(self._old) - _OLD * self._now.config.workers)] if not worker.draining]
        for worker in crowd:
            worker.draining = True
        self._tell(crowd, signal.SIGTERM)
        _log.info("rules.reloaded", rules_version=self._now.rules.version, workers=len(self._now.workers), retiring=len(self._old))
        self._reloaded()

    def _reloaded(self, problem: str = "") -> None:
        """Says how a reload has ended; another that was asked for meanwhile has the last word."""
        systemd.ready(f"The reload failed, everything is as before: {problem}" if problem else "Config, rules and certificate are new.")
        if not self._again:
            reloading.tell(self._now.config.run_dir, "doors", problem)

    def _give_up(self, reason: str) -> None:
        """Back to the generation that is there."""
        assert self._next is not None
        failed, self._next = self._next, None
        self._kill(failed.living)
        self._listeners.undo()
        _log.error("rules.reload_failed", **{"error.message": reason})
        self._reloaded(reason)

    def _tell_systemd(self) -> None:
        """READY once all workers listen; then a sign of life while each of them gives its own."""
        if not self._said_ready and self._now.ready:
            self._said_ready = True
            systemd.ready(f"{len(self._now.workers)} workers listen.")
        period, now = systemd.watchdog(), time.monotonic()
        # Who is silent for that long is about to be killed and replaced; where one still is, we ourselves are not well.
        silent = [worker for worker in self._now.workers if worker.ready and now - worker.heard > HUNG + 2 * _TICK]
        if period and self._said_ready and now >= self._next_ping and not silent:
            self._next_ping = now + min(period, _TICK)
            systemd.notify("WATCHDOG=1")

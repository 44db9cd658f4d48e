"""Starts the four kinds of process, starts again what dies or hangs, reloads, and stops them in the right order.

What it is: one asyncio program that owns nothing but its children: no mail, no store, no key.
Who calls it: ``gateway run`` without ``--only``.
Must never: end while a child lives and nobody asked it to; put a secret in a child's arguments or environment; pass a reload
on that did not load here first.
Sources: docs/design.md section 2 (who dies is replaced); sd_notify(3); hostile-inputs
catalogue O13, O16, O17, O25.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path as FilePath
from typing import Any

from gateway import children, ipc, logs, reloading, requests, rights, systemd, vitals
from gateway import config as config_file
from gateway.config import Config, ConfigError
from gateway.processes import Child, command, environment, has_terminal, listens, store_in_use
from gateway.systemd import notify

QUICK = 5.0
"""Seconds of life below which a death counts towards a crash loop."""
_FREE_DEATHS = 4
_START_PATIENCE = 40.0  # seconds for the keeper's first answer: a keeper of a killed supervisor may still be ending
_STOP_WEB = 5.0
_STOP_KEEPER = 20.0
_HASTE = 1.0
_TAKEN = 40.0  # seconds for a process to take a reload; the doors give theirs up after 30


class CannotRun(Exception):
    """The gateway cannot start; the text is one plain sentence. *code* is the exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def prepare(config: Config) -> None:
    """Makes the state folder and the folder of the sockets, 0700. Raises CannotRun."""
    try:
        config.state_dir.mkdir(parents=True, mode=0o700, exist_ok=True)
        config.run_dir.mkdir(parents=True, mode=0o700, exist_ok=True)
    except OSError as error:
        raise CannotRun(f"{error.filename}: cannot be made: {error.strerror}", 2) from error
    if not os.access(config.run_dir, os.W_OK | os.X_OK):
        raise CannotRun(f"{config.run_dir}: this user may not write there", 2)


class Supervisor:
    """The running set of processes of one state folder."""

    def __init__(self, path: FilePath, config: Config) -> None:
        self._path = path
        self._config = config
        self._log = logs.get("supervisor")
        self._children: list[Child] = []
        self._stop = asyncio.Event()
        self._hasten = asyncio.Event()
        self._reloading = asyncio.Lock()
        self._described: dict[str, Any] = {}
        self._background: set[asyncio.Task[Any]] = set()
        self._signs = vitals.Signs()

    # --- life ---------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until SIGTERM or SIGINT. Raises CannotRun when the start fails."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_stop)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._spawn(self._reload_by_signal()))
        self._spawn(vitals.watch(self._signs, self._watched))
        start = asyncio.create_task(self._start())
        stop = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({start, stop}, return_when=asyncio.FIRST_COMPLETED)
            if start.done() and start.exception() is None:
                self._log.info("gateway.ready", hostname=self._config.hostname, state_dir=str(self._config.state_dir))
                notify("READY=1\nSTATUS=All processes are up.")
                self._spawn(self._watchdog())
                await stop
            elif start.done():
                start.result()
        finally:
            start.cancel()
            stop.cancel()
            notify("STOPPING=1")
            await self._end_all()
            with contextlib.suppress(asyncio.CancelledError, CannotRun):
                await start

    def _asked_to_stop(self) -> None:
        if self._stop.is_set():
            self._log.warning("gateway.stop_hastened")
            self._hasten.set()
        else:
            self._log.info("gateway.stopping")
        self._stop.set()

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _start(self) -> None:
        self._described = await self._describe()
        await self._control()
        keeper = self._add("keeper")
        await self._until_keeper_answers(keeper)
        # The doors open when what they need is there: a 451 at every start would be noise in the senders' queues.
        inspector = self._add("inspector")
        if any(listen.door == "web" for listen in self._config.listen):
            self._add("web")
        await self._until_listening(inspector)
        self._add("doors")
        await self._until_listening(*self._children)

    async def _until_keeper_answers(self, keeper: Child) -> None:
        """Raises CannotRun when it will not. The keeper of a killed supervisor may still be ending: then its store is waited for."""
        deadline = time.monotonic() + _START_PATIENCE
        tried = 0
        while time.monotonic() < deadline:
            if await self._healthy():
                return
            if keeper.state == "wrong" and not store_in_use(self._config.state_dir):
                tried += 1
                if tried > 1:
                    raise CannotRun("the keeper cannot start; its own message stands above", 2)
                keeper.state = "died"
            await asyncio.sleep(0.05)
        raise CannotRun(f"the keeper did not come up within {_START_PATIENCE:.0f} seconds; its own message stands above")

    async def _healthy(self) -> bool:
        try:
            channel = await ipc.Channel.connect(rights.place(self._config.run_dir, "keeper-admin.sock"), requests.KeeperAnswer)
        except ipc.ChannelError:
            return False
        try:
            answer, _ = await asyncio.wait_for(channel.call(requests.Health()), 5)
        except (ipc.ChannelError, TimeoutError):
            return False
        finally:
            channel.close()
        return not isinstance(answer, requests.Failed)

    async def _watchdog(self) -> None:
        period = int(os.environ.get("WATCHDOG_USEC", "0") or "0") / 2e6
        while period > 0:
            if await self._healthy():
                notify("WATCHDOG=1")
            await asyncio.sleep(period)

    def _watched(self) -> dict[int, str]:
        """Processes that must give signs of life; one whose end is wanted has a time of its own."""
        return {c.process.pid: c.kind for c in self._children if c.alive and c.process is not None and not c.ending}

    # --- children -----------------------------------------------------------------------------------------------------

    def _add(self, kind: str) -> Child:
        child = Child(kind)
        child.task = asyncio.get_running_loop().create_task(self._keep(child))
        self._children.append(child)
        return child

    async def _keep(self, child: Child) -> None:
        """Starts *child* and starts it again whenever it dies, until its end is wanted."""
        while not child.ending:
            await self._launch(child)
            assert child.process is not None
            code = await child.process.wait()
            lived = time.monotonic() - child.started
            if child.ending:
                break
            how = children.how(code)
            child.quick_deaths = child.quick_deaths + 1 if lived < QUICK else 0
            delay = 0.02 if child.quick_deaths <= _FREE_DEATHS else min(30.0, 2.0 ** (child.quick_deaths - _FREE_DEATHS))
            child.state = "wrong" if code == 2 else "died"
            about = {"kind": child.kind, "pid": child.process.pid, "how": how, "lived_s": round(lived, 3)}
            if delay > 1:
                self._log.error("process.crash_loop", **about, deaths=child.quick_deaths, next_start_in_s=delay)
            else:
                self._log.error("process.died", **about)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), delay)
                break
        child.state = "stopped"

    async def _launch(self, child: Child) -> None:
        sockets = child.kind in ("doors", "web")  # only those listen to the world
        child.process = await asyncio.create_subprocess_exec(
            *command(self._path, "run", "--only", child.kind, "--parent", str(os.getpid())),
            stdin=asyncio.subprocess.DEVNULL, env=environment(sockets=sockets) | self._signs.environment(child.kind),
            start_new_session=has_terminal(), pass_fds=tuple(systemd.passed()) if sockets else (),
        )  # fmt: skip
        child.started = time.monotonic()
        child.restarts += 1
        child.state = "running"
        self._log.info("process.started", kind=child.kind, pid=child.process.pid, restarts=child.restarts)

    def _listening(self, child: Child) -> bool:
        """Whether the process holds a listening socket; the kernel's word, no connection is made."""
        return child.alive and child.process is not None and listens(child.process.pid)

    async def _end(self, children: Iterable[Child], grace: float) -> None:
        """SIGTERM, then SIGKILL after *grace* seconds (a second SIGTERM to us shortens it)."""
        ending = [child for child in children if child.task is not None]
        for child in ending:
            child.ending = True
            if child.alive and child.process is not None:
                with contextlib.suppress(ProcessLookupError):
                    child.process.terminate()
        tasks = {child.task for child in ending if child.task is not None}
        if not tasks:
            return
        hurry: asyncio.Future[Any] = asyncio.ensure_future(self._hasten.wait())
        ends: asyncio.Future[Any] = asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.wait({ends, hurry}, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
        if not ends.done() and hurry.done():
            await asyncio.wait({ends}, timeout=min(grace, _HASTE))
        hurry.cancel()
        for child in ending:
            if child.alive and child.process is not None:
                self._log.error("process.killed", kind=child.kind, pid=child.process.pid, after_s=grace)
                with contextlib.suppress(ProcessLookupError):
                    child.process.kill()
        await ends

    async def _end_all(self) -> None:
        self._stop.set()
        by_kind = {kind: [c for c in self._children if c.kind == kind] for kind in ("doors", "inspector", "web", "keeper")}
        await self._end(by_kind["doors"], self._config.limits.drain + 2)
        await self._end(by_kind["inspector"] + by_kind["web"], _STOP_WEB)
        await self._end(by_kind["keeper"], _STOP_KEEPER)
        self._log.info("gateway.stopped")

    # --- reload and control -------------------------------------------------------------------------------------------

    async def _describe(self) -> dict[str, Any]:
        """Config and rules, loaded and tested in a process of their own. Raises CannotRun with file, line and reason."""
        process = await asyncio.create_subprocess_exec(
            *command(self._path, "describe"), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE, env=environment(), start_new_session=has_terminal(),
        )  # fmt: skip
        try:
            out, err = await asyncio.wait_for(process.communicate(), 120)
        except (TimeoutError, asyncio.CancelledError):
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            raise
        if process.returncode:
            lines = err.decode("utf-8", "replace").strip().splitlines() or [f"exit code {process.returncode}"]
            raise CannotRun(lines[-1].removeprefix("gateway: "), 2)
        described: dict[str, Any] = json.loads(out)
        return described

    async def reload(self) -> list[dict[str, Any]]:
        """Takes config and rules anew and passes them on. Raises CannotRun, and then nothing has changed."""
        async with self._reloading:
            try:
                config = config_file.load(self._path)
            except ConfigError as error:
                raise CannotRun(str(error), 2) from error
            for name in ("state_dir", "run_dir", "store"):
                if getattr(config, name) != getattr(self._config, name):
                    raise CannotRun(f"{self._path}: {name}: cannot change while the gateway runs; stop it and start it again", 2)
            described = await self._describe()
            changes = reloading.differences(self._described, described)
            before, self._described, self._config = self._described, described, config
            try:
                if any(change["what"] == "config" for change in changes):
                    await self._renew()
                else:
                    # Without any difference too: certificates and keys are read again.
                    await self._hang_up(*self._children)
            except CannotRun:
                self._described = before  # the next reload names these changes again
                raise
            self._log.info("gateway.reloaded", changes=len(changes), rules_version=described.get("version", ""))
            return changes

    async def _renew(self) -> None:
        """Replaces every process by one with the new config, one after the other; the doors do that among themselves."""
        has_web = any(listen.door == "web" for listen in self._config.listen)
        order = [child for kind in ("keeper", "inspector", "web", "doors") for child in self._children if child.kind == kind]
        for child in order:
            if self._stop.is_set():
                return
            if child.kind == "doors":
                # They take the config themselves: their sockets stay open, and what waits in the queues of those is not lost.
                await self._hang_up(child)
                continue
            await self._end([child], _STOP_KEEPER)
            if self._stop.is_set():
                return
            self._children.remove(child)
            if child.kind != "web" or has_web:
                await self._until_listening(self._add(child.kind))
        if has_web and not any(child.kind == "web" for child in self._children):
            self._add("web")

    async def _hang_up(self, *children: Child) -> None:
        """Tells *children* to reload, and waits for what doors and keeper say. Raises CannotRun with what was not taken."""
        told = []
        for child in children:
            if child.alive and child.process is not None:
                if child.kind in ("doors", "keeper"):
                    reloading.ask(self._config.run_dir, child.kind)
                    told.append(child)
                with contextlib.suppress(ProcessLookupError):
                    child.process.send_signal(signal.SIGHUP)

        def lives(child: Child) -> Callable[[], bool]:
            return lambda: child.alive and not self._stop.is_set()

        waits = (reloading.heard(self._config.run_dir, child.kind, _TAKEN, lives(child)) for child in told)
        for child, problem in zip(told, await asyncio.gather(*waits), strict=True):
            if problem is None:
                raise CannotRun(f"{child.kind}: did not say within {_TAKEN:.0f} s that the reload was taken; the log says more", 2)
            if problem:
                raise CannotRun(f"{child.kind}: the reload was not taken here, the other processes have it: {problem}", 2)

    async def _until_listening(self, *children: Child) -> None:
        """Waits at most 15 s for *children* to listen; says which do not."""
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline and not self._stop.is_set():
            if all(self._listening(child) for child in children):
                return
            await asyncio.sleep(0.05)
        for child in children:
            if not self._listening(child) and not self._stop.is_set():
                self._log.error("process.not_listening", kind=child.kind, state=child.state)

    async def _reload_by_signal(self) -> None:
        try:
            await self.reload()
        except CannotRun as error:
            event = "config.reload_failed" if str(error).startswith(str(self._path)) else "rules.reload_failed"
            self._log.error(event, reason=str(error))

    def status(self) -> tuple[dict[str, Any], ...]:
        """One row a process."""
        now = time.monotonic()
        return tuple(
            {
                "kind": c.kind, "pid": c.process.pid if c.alive and c.process else 0, "state": c.state,
                "running_s": round(now - c.started, 1) if c.alive else 0.0, "restarts": max(c.restarts, 0),
            }
            for c in self._children
        )  # fmt: skip

    async def _control(self) -> None:
        """The socket that ``gateway reload`` speaks to; only root and our own user may."""
        sock = ipc.listen(self._config.run_dir / "supervisor.sock", 0o600)

        async def answer(request: Any, _: bytes, __: ipc.Credentials) -> tuple[Any, bytes]:
            if isinstance(request, requests.Status):
                return requests.Rows(self.status()), b""
            try:
                return requests.Rows(tuple(await self.reload())), b""
            except CannotRun as error:
                self._log.error("rules.reload_failed", reason=str(error))
                return requests.Failed(str(error), error.code), b""

        await ipc.serve(
            sock, requests.SupervisorRequest, answer, allow=lambda peer: peer.uid in (0, os.geteuid()),
            on_fault=lambda error: self._log.error("supervisor.fault", error=type(error).__name__),
        )  # fmt: skip


def run(path: FilePath, config: Config) -> None:
    """Runs the gateway of *config* (loaded from *path*) until it is told to stop. Raises CannotRun."""
    if sys.flags.optimize:
        raise CannotRun("Python runs with -O, which takes the checks out of the code: start it without", 2)
    os.umask(0o077)
    prepare(config)
    logs.configure("supervisor")
    lock = os.open(config.run_dir / "supervisor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        pid = os.pread(lock, 20, 0).decode("ascii", "replace").strip()
        raise CannotRun(f"another gateway (process {pid}) runs on {config.state_dir}; stop it first") from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode("ascii"), 0)
    try:
        asyncio.run(Supervisor(path, config).run())
    finally:
        os.close(lock)

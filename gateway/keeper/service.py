"""The keeper process: the trusted room, one a node.

What it is: start (policy, the parts of ``composition``, sockets), the dispatch of typed requests, reload and drained stop.
Who calls it: the supervisor, or systemd, through ``gateway run --only keeper``.
Must never: listen to the world; parse a hostile format; answer a request that its socket's kind of peer may not make.
Sources: docs/design.md section 2; unix(7) SO_PEERCRED; hostile-inputs catalogue O10, O13, O16, O17.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import time
from pathlib import Path as FilePath
from typing import Any

import uvloop

from gateway import config as config_file
from gateway import ipc, logs, policy, reloading, requests, rights, systemd
from gateway.config import Config, ConfigError
from gateway.keeper import composition
from gateway.keeper.exceptions import Wrong
from gateway.policy import Policy, PolicyError
from gateway.relay.routes import RouteError, Routes
from gateway.relay.signing import Signer, SigningError
from gateway.requests import Done, Failed, Rows
from gateway.stores.base import StoreError, StoreFull

_FULL = 4
_RENEWED = ("rules_dir", "packs", "dkim", "route", "workers", "tls", "listen", "submission", "application")
"""Options that a reload takes here, or that are none of ours."""
_log = logs.get("keeper")


class CannotStart(Exception):
    """The keeper cannot start; the text is one plain sentence."""


class Keeper:
    """Everything that lives in this process."""

    def __init__(self, config: Config, path: FilePath | None = None, sink: logs.Sink | None = None) -> None:
        """*path*: the file of *config*, read again at a reload; *sink*: of the ordinary log."""
        self._config = config
        self._sink = sink
        self._path = path
        self._policy: Policy | None = None
        self._servers: list[asyncio.AbstractServer] = []
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopping = False
        self._reloading = asyncio.Lock()
        self._started = time.monotonic()

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        assert self._policy is not None
        return self._policy

    # --- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Starts all parts; the sockets come last. Raises CannotStart."""
        try:
            self._policy = policy.load(self._config.rules_dir, self._config)
            self._parts = parts = await composition.compose(
                self._config, lambda: self.policy, self.health, lambda: self._stopping, self._sink
            )
        except composition.UNFIT as error:
            raise CannotStart(str(error)) from error
        await parts.relay.start()
        parts.housekeeping.start()
        parts.rotation.start()
        parts.filing.start()
        parts.backups.start()
        parts.sign_ins.start()
        for client, union, handler in (
            ("doors", requests.DoorRequest, self._door),
            ("web", requests.WebRequest, self._web),
            ("admin", requests.AdminRequest, self._admin),
        ):
            sock = ipc.listen(rights.place(self._config.run_dir, f"keeper-{client}.sock"))
            allow = rights.admitted("keeper", client)
            self._servers.append(await ipc.serve(sock, union, self._counted(handler), allow=allow, on_fault=self._fault))
        # What a message leaves behind is freed without the collector, which only looks for rings; it need not look 700 objects on.
        gc.set_threshold(20_000, 20, 20)
        gc.freeze()  # what is here now stays: full collections need not walk it
        _log.info("keeper is ready", **{"gateway.rules_version": self.policy.version, "gateway.chain": parts.chain})

    async def stop(self) -> None:
        """Takes nothing new, finishes what is under way, delivers no more, closes the store."""
        self._stopping = True
        for server in self._servers:
            server.close()
        try:
            async with asyncio.timeout(self._config.limits.drain):
                await self._idle.wait()
        except TimeoutError:
            _log.warning("requests were still under way at the stop", **{"gateway.requests": self._under_way})
        await self._parts.callout.stop()
        await self._parts.sign_ins.stop()
        await self._parts.relay.stop()
        self._parts.backups.stop()
        await self._parts.filing.stop()
        await self._parts.rotation.stop()
        await self._parts.housekeeping.stop()
        await self._parts.store.close()
        _log.info("keeper has stopped")

    async def reload(self) -> None:
        """Takes rules, signing keys and routes anew, all or none; says which other options of the config wait for a restart."""
        async with self._reloading:
            await self._reload()

    async def _reload(self) -> None:
        systemd.reloading()
        event = "config.reload_failed"
        try:
            config = self._config if self._path is None else config_file.load(self._path)
            signer, routes = Signer(config, time.time), Routes(config)  # what is wrong shows here, before anything changes
            event = "rules.reload_failed"
            # In a thread, since mail flows meanwhile.
            loaded = await asyncio.to_thread(policy.load, config.rules_dir, config)
        except (ConfigError, PolicyError, SigningError, RouteError, OSError) as error:
            _log.error(event, **{"error.message": str(error)})
            systemd.ready(f"The reload failed, everything is as before: {error}")
            self._parts.metrics.reloaded(well=False)
            reloading.tell(self._config.run_dir, "keeper", str(error))
            return
        self._policy = loaded
        self._parts.signer.take(signer)
        self._parts.relay.routes.take(routes)
        waiting = sorted(
            name for name in type(config).model_fields if name not in _RENEWED and getattr(config, name) != getattr(self._config, name)
        )
        if waiting:
            _log.warning("config.needs_restart", options=waiting, reason="the keeper reads these at its start only; restart it")
        self._parts.metrics.reloaded(well=True)
        _log.info("rules.reloaded", **{"gateway.rules_version": loaded.version})
        taken = await self._parts.sign_ins.reload(config)
        reloading.tell(self._config.run_dir, "keeper", "" if taken else "the logins could not be taken; its log says why")
        systemd.ready(f"Waits for a restart to take: {', '.join(waiting)}." if waiting else "Rules, signing keys and routes are new.")

    # --- requests -----------------------------------------------------------------------------------------------------

    def _counted(self, handler: ipc.Handler) -> ipc.Handler:
        async def counted(request: Any, body: bytes, peer: ipc.Credentials) -> tuple[Any, bytes]:
            self._under_way += 1
            self._idle.clear()
            try:
                return await handler(request, body, peer)
            except Wrong as error:
                return Failed(str(error), error.code), b""
            except StoreFull as error:
                _log.error("the store is full", **{"error.message": str(error)})
                return Failed(str(error), _FULL), b""
            except StoreError as error:
                _log.error("the store failed", **{"error.message": str(error)})
                return Failed(str(error), 3), b""
            finally:
                self._under_way -= 1
                if not self._under_way:
                    self._idle.set()

        return counted

    async def _door(self, request: Any, body: bytes, peer: ipc.Credentials) -> tuple[Any, bytes]:
        match request:
            case requests.Commit():
                if self._stopping:
                    answer: Any = Failed("the keeper is stopping", 3)
                elif request.until and time.monotonic() > request.until:
                    answer = Failed("the commit came too late: its client has been told to come again", 3)
                    _log.warning("a commit came too late and was not begun; this process, or the store, stood still")
                else:
                    answer = await self._parts.actor.commit(request, body)
                self._parts.metrics.committed(request, answer)
                return answer, b""
            case requests.GetExceptions():
                return self._parts.register.current, b""
            case requests.FirstTimes():
                return requests.FirstTime(await self._parts.correspondents.first_times(request.sender, request.recipients)), b""
            case requests.ThreadLevels():
                return requests.ThreadLevel(await self._parts.threads.levels(request)), b""
            case requests.VerifyRecipient():
                return requests.Verified(await self._parts.callout.verify(request.address)), b""
            case requests.Authenticate():
                return await self._parts.sign_ins.authenticate(request), b""
            case requests.MayLogIn():
                return await self._parts.sign_ins.may_log_in(request), b""
            case requests.LoggedIn():
                await self._parts.sign_ins.logged_in(request)
            case requests.Deferred():
                self._parts.metrics.deferred(request)
                await self._parts.actor.deferred(request)
            case requests.Refused():
                self._parts.metrics.refused(request)
                await self._parts.actor.refused(request)
            case requests.Counters():
                self._parts.metrics.take(request, "doors")
                return self._parts.readiness.room(), b""
            case requests.DoorHello():
                if request.rules_version and request.rules_version != self.policy.version:
                    _log.warning("a door runs other rules than the keeper", **{"gateway.rules_version": request.rules_version})
            case requests.Health():
                return await self.health(), b""
        return Done(), b""

    async def _web(self, request: Any, _: bytes, peer: ipc.Credentials) -> tuple[Any, bytes]:
        match request:
            case requests.Counters():
                self._parts.metrics.take(request, "web")
                return Done(), b""
            case requests.GetMetrics():
                return Rows(({"text": await self._parts.metrics.text()},)), b""
            case requests.Health():
                return await self.health(), b""
        return await self._parts.entrance.answer(request)

    async def _admin(self, request: Any, _: bytes, peer: ipc.Credentials) -> tuple[Any, bytes]:
        if isinstance(request, requests.Authenticate):  # gateway logins test: the same limits and the same record
            return await self._parts.sign_ins.authenticate(request), b""
        if isinstance(request, requests.GetMetrics):
            return Rows(({"text": await self._parts.metrics.text()},)), b""
        if isinstance(request, requests.RotateVault | requests.KeyEvent | requests.MakeBackup):
            return await self._parts.custody.answer(request, peer), b""
        if isinstance(request, requests.VerifyArchive | requests.ListArchived):
            return await self._parts.archives.answer(request, peer), b""
        if isinstance(request, requests.ListUsers | requests.AddUser | requests.ChangeUser | requests.InviteUser):
            return await self._parts.entrance.for_admin(request, peer), b""
        return await self._parts.desk.answer(request, peer)

    async def health(self) -> Rows | Failed:
        """One row of counters and states; ``Failed`` while nothing can be accepted."""
        if self._parts.store.degraded:
            return Failed(f"the store is degraded: {self._parts.store.degraded}", 3)
        lacks = self._parts.readiness.lacks()
        row: dict[str, Any] = {
            "ready": not lacks, "lacks": lacks,
            "state": "stopping" if self._stopping else "ok", "uptime": round(time.monotonic() - self._started, 1),
            "rules_version": self.policy.version, "exceptions_version": self._parts.register.current.version,
            "in_memory": self._parts.relay.queued, "exported": self._parts.housekeeping.exported, **self._parts.store.counters,
        }  # fmt: skip
        return Rows((row,))

    def _fault(self, error: BaseException) -> None:
        self._parts.metrics.fault()
        _log.error("a request failed", exc_info=error)


async def _serve(config: Config, path: FilePath | None, sink: logs.Sink) -> None:
    loop = asyncio.get_running_loop()
    keeper = Keeper(config, path, sink)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await keeper.start()
    reloads: set[asyncio.Task[None]] = set()

    def reload() -> None:
        task = loop.create_task(keeper.reload())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGHUP, reload)
    systemd.ready("The keeper answers.")
    signs = asyncio.create_task(systemd.alive())
    await stop.wait()
    systemd.stopping()
    await keeper.stop()
    signs.cancel()


def run(config: Config, path: FilePath | None = None) -> None:
    """Runs until SIGTERM; SIGHUP takes rules, signing keys and routes from the config file *path* anew.

    Ends the process with 2 when it cannot start.
    """
    sink = logs.configure("keeper")
    # The writer thread needs the interpreter lock between two statements; 5 ms of waiting each time would be its whole day.
    sys.setswitchinterval(0.0005)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(config, path, sink))
    except CannotStart as error:
        _log.critical("the keeper cannot start", **{"error.message": str(error)})
        raise SystemExit(2) from error

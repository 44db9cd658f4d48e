"""The keeper process: the trusted room, one a node.

What it is: start (keys, store, policy, relay, housekeeping, sockets), the dispatch of typed requests, reload and drained stop.
Who calls it: the supervisor, or systemd, through ``gateway run --only keeper``.
Must never: listen to the world; parse a hostile format; answer a request that its socket's kind of peer may not make.
Sources: design.md section 2; unix(7) SO_PEERCRED; hostile-inputs catalogue O10, O13, O16, O17.
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
from gateway.audit import audit
from gateway.config import Config, ConfigError
from gateway.counting import Counts
from gateway.keeper.accounts import Accounts
from gateway.keeper.act import Actor
from gateway.keeper.backup import Backups
from gateway.keeper.copies import Copies
from gateway.keeper.correspondents import Correspondents
from gateway.keeper.custody import Custody
from gateway.keeper.dashboard import Figures
from gateway.keeper.desk import Desk
from gateway.keeper.digests import Digests
from gateway.keeper.entrance import Entrance
from gateway.keeper.exceptions import Register, Wrong
from gateway.keeper.granting import Granting
from gateway.keeper.held import HeldMail
from gateway.keeper.housekeeping import COUNT_EVERY, DIGESTS_EVERY, INDEX_EVERY, Housekeeping
from gateway.keeper.indexing import Indexing
from gateway.keeper.inspecting import InspectorLink
from gateway.keeper.logbook import Logbook
from gateway.keeper.metrics import Metrics, Parts
from gateway.keeper.notify import Notifier
from gateway.keeper.officers import Officers
from gateway.keeper.previews import Previews
from gateway.keeper.quarantine import Quarantine
from gateway.keeper.readiness import Readiness
from gateway.keeper.reception import Table
from gateway.keeper.reviews import Reviews
from gateway.keeper.rotation import Rotation
from gateway.keeper.tallies import Tallies
from gateway.keeper.threads import Threads
from gateway.policy import Policy, PolicyError, contacts
from gateway.relay.callout import Callout
from gateway.relay.notices import Notices
from gateway.relay.queue_actions import QueueActions
from gateway.relay.relay import Relay
from gateway.relay.reports import Reports
from gateway.relay.routes import RouteError, Routes
from gateway.relay.signing import Signer, SigningError
from gateway.requests import Done, Failed, Rows
from gateway.signin.login_file import LoginFileError
from gateway.signin.login_record import LoginRecord
from gateway.signin.logins import SignIns
from gateway.signin.passwords import Checker
from gateway.stores.base import StoreError, StoreFull
from gateway.stores.sqlite import SqliteStore
from gateway.vault import sealing, vault

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
        self._store = SqliteStore(config.state_dir / "gateway.db")
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
        config = self._config
        try:
            self._policy = policy.load(config.rules_dir, config)
            the_vault, made = vault.load(config)
            seal = sealing.load(config.sealed.certificate) if config.sealed.certificate is not None else None
            counts = Counts()
            chain, head_signer = await self._open_store()
            last = await self._store.audit_head(chain.id)  # before anything of this start is written
            self._store.observe(counts.timing("gateway_store_commit_seconds"), counts.timing("gateway_store_group_batches"))
            self._signer = signer = Signer(config, time.time)
            unfit = next(contacts.wrong(config, self.policy), "")
            if unfit:
                raise PolicyError(unfit)
            register = Register(self._store, time.time)
            await register.load()
            notices = Notices(config, the_vault, lambda: self.policy.explanations)
            self._relay = Relay(config, self._store, the_vault, signer, notices, counts=counts)
            hops = (self._relay.routes, self._relay.resolver, self._relay.contexts)
            record, checker = LoginRecord(self._store, config.hostname, time), Checker()
            self._sign_ins = SignIns(config, record, the_vault.words_hash, hops, time, checker)
            self._entrance = Entrance(config, self._store, the_vault, self._sign_ins, record, checker, time)
        except (
            PolicyError, vault.VaultError, sealing.SealingError, StoreError, SigningError, RouteError, LoginFileError, OSError,
        ) as error:  # fmt: skip
            await self._store.close()
            raise CannotStart(str(error)) from error
        if made:
            _log.warning("a vault key was made; keep a copy of state_dir/keys in a safe place")
        reports = Reports(config, the_vault, lambda: self.policy.explanations)
        self._register = register
        parts = (config, self._store, the_vault, register, reports, self._relay, lambda: self.policy)
        copies = Copies(config, lambda: self.policy)
        self._correspondents = Correspondents(self._store, the_vault, lambda: self.policy, time.time)
        self._threads = Threads(self._store, the_vault, time.time)
        notifier = Notifier(config, the_vault, lambda: self.policy, time.time)
        self._actor = Actor(*parts, copies, self._correspondents, self._threads, notifier, seal)
        quarantine = Quarantine(*parts, copies, self._correspondents, time.time)
        self._callout = Callout(config, self._relay.routes, self._relay.resolver, self._relay.contexts)
        queue = QueueActions(self._store, self._relay)
        accounts = Accounts(self._store)
        self._desk = Desk(
            self._store, the_vault, register, quarantine, accounts, self._entrance.logins, queue, self.health, self._purge
        )  # fmt: skip
        officers = Officers(quarantine.mail, self._relay, lambda: self.policy, time.monotonic)
        tables: list[Table] = [
            officers.table(), quarantine.table(), Logbook(self._store).table(), Granting(config, self._store, register).table(),
            Reviews(config, self._store, the_vault, lambda: self.policy, time.time).table(),
            Figures(config, self._store, self._relay, lambda: self.policy, time.time).table(),
            Previews(HeldMail(config, self._store, the_vault, time.time), InspectorLink(config), lambda: self.policy).table(),
        ]  # fmt: skip
        self._entrance.open(accounts, tables, officers.open())
        self._rotation = Rotation(config, self._store, the_vault, time.time)
        self._backups = Backups(config, self._store, time.time)
        self._custody = Custody(self._store, accounts, self._rotation, self._backups, time.time)
        self._housekeeping = Housekeeping(config, self._store, chain, head_signer, register, quarantine, time, notifier, self._relay)
        self._housekeeping.also("counting of decisions", COUNT_EVERY, Tallies(self._store).count)
        self._housekeeping.also("terms of held mail", INDEX_EVERY, Indexing(self._store, the_vault).step)
        digests = Digests(config, self._store, the_vault, self._relay, lambda: self.policy, time.time)
        self._housekeeping.also("mail to reviewers", DIGESTS_EVERY, digests.send, by_clock=True)
        self._housekeeping.hold_clock_against(last.created if last is not None else time.time())
        self._readiness = Readiness(config, self._store, lambda: self._stopping)
        watched = Parts(
            self._store, chain, self._relay, register, self._housekeeping, self._sign_ins, self._backups, lambda: self.policy,
            self._readiness,
        )  # fmt: skip
        self._metrics = Metrics(config, counts, watched, self._sink)
        await self._relay.start()
        self._housekeeping.start()
        self._rotation.start()
        self._backups.start()
        self._sign_ins.start()
        for client, union, handler in (
            ("doors", requests.DoorRequest, self._door),
            ("web", requests.WebRequest, self._web),
            ("admin", requests.AdminRequest, self._admin),
        ):
            sock = ipc.listen(rights.place(config.run_dir, f"keeper-{client}.sock"))
            allow = rights.admitted("keeper", client)
            self._servers.append(await ipc.serve(sock, union, self._counted(handler), allow=allow, on_fault=self._fault))
        # What a message leaves behind is freed without the collector, which only looks for rings; it need not look 700 objects on.
        gc.set_threshold(20_000, 20, 20)
        gc.freeze()  # what is here now stays: full collections need not walk it
        _log.info("keeper is ready", **{"gateway.rules_version": self.policy.version, "gateway.chain": chain.id})

    async def _open_store(self) -> tuple[audit.AuditChain, audit.Signer]:
        """Opens the store with its chain; a store that was put back to an earlier state gets a new chain, and an alarm."""
        config = self._config
        if config.store.url != "sqlite":
            raise StoreError('store.url: this version has the embedded store only; write url = "sqlite"')
        chain, head_signer = audit.load(config)
        await self._store.open(chain)
        heads = [head for head in audit.heads_in(config.state_dir / "log" / "audit-heads.jsonl") if head.chain == chain.id]
        last = max(heads, key=lambda head: head.seq, default=None)
        if last is not None:
            rows = await self._store.audit_rows(chain=chain.id, after=last.seq - 1, limit=1)
            if not rows or rows[0].hash != last.hash:
                _log.critical(
                    "the store is older than the last signed head of its decision log: an old file was put back, or rows were removed",
                    **{"gateway.chain": chain.id, "gateway.seq": chain.head[0], "gateway.signed_seq": last.seq},
                )
                await self._store.close()
                chain = audit.new_chain(config)
                self._store = SqliteStore(config.state_dir / "gateway.db")
                await self._store.open(chain)
        return chain, head_signer

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
        await self._callout.stop()
        await self._sign_ins.stop()
        await self._relay.stop()
        self._backups.stop()
        await self._rotation.stop()
        await self._housekeeping.stop()
        await self._store.close()
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
            self._metrics.reloaded(well=False)
            reloading.tell(self._config.run_dir, "keeper", str(error))
            return
        self._policy = loaded
        self._signer.take(signer)
        self._relay.routes.take(routes)
        waiting = sorted(
            name for name in type(config).model_fields if name not in _RENEWED and getattr(config, name) != getattr(self._config, name)
        )
        if waiting:
            _log.warning("config.needs_restart", options=waiting, reason="the keeper reads these at its start only; restart it")
        self._metrics.reloaded(well=True)
        _log.info("rules.reloaded", **{"gateway.rules_version": loaded.version})
        taken = await self._sign_ins.reload(config)
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
                    answer = await self._actor.commit(request, body)
                self._metrics.committed(request, answer)
                return answer, b""
            case requests.GetExceptions():
                return self._register.current, b""
            case requests.FirstTimes():
                return requests.FirstTime(await self._correspondents.first_times(request.sender, request.recipients)), b""
            case requests.ThreadLevels():
                return requests.ThreadLevel(await self._threads.levels(request)), b""
            case requests.VerifyRecipient():
                return requests.Verified(await self._callout.verify(request.address)), b""
            case requests.Authenticate():
                return await self._sign_ins.authenticate(request), b""
            case requests.Deferred():
                self._metrics.deferred(request)
                await self._actor.deferred(request)
            case requests.Refused():
                self._metrics.refused(request)
                await self._actor.refused(request)
            case requests.Counters():
                self._metrics.take(request, "doors")
            case requests.DoorHello():
                if request.rules_version and request.rules_version != self.policy.version:
                    _log.warning("a door runs other rules than the keeper", **{"gateway.rules_version": request.rules_version})
            case requests.Health():
                return await self.health(), b""
        return Done(), b""

    async def _web(self, request: Any, _: bytes, peer: ipc.Credentials) -> tuple[Any, bytes]:
        match request:
            case requests.Counters():
                self._metrics.take(request, "web")
                return Done(), b""
            case requests.GetMetrics():
                return Rows(({"text": await self._metrics.text()},)), b""
            case requests.Health():
                return await self.health(), b""
        return await self._entrance.answer(request)

    async def _admin(self, request: Any, _: bytes, peer: ipc.Credentials) -> tuple[Any, bytes]:
        if isinstance(request, requests.Authenticate):  # gateway logins test: the same limits and the same record
            return await self._sign_ins.authenticate(request), b""
        if isinstance(request, requests.GetMetrics):
            return Rows(({"text": await self._metrics.text()},)), b""
        if isinstance(request, requests.RotateVault | requests.KeyEvent | requests.MakeBackup):
            return await self._custody.answer(request, peer), b""
        if isinstance(request, requests.ListUsers | requests.AddUser | requests.ChangeUser | requests.InviteUser):
            return await self._entrance.for_admin(request, peer), b""
        return await self._desk.answer(request, peer)

    async def _purge(self, user: str) -> dict[str, Any]:
        return await self._housekeeping.purge(user)

    async def health(self) -> Rows | Failed:
        """One row of counters and states; ``Failed`` while nothing can be accepted."""
        if self._store.degraded:
            return Failed(f"the store is degraded: {self._store.degraded}", 3)
        lacks = self._readiness.lacks()
        row: dict[str, Any] = {
            "ready": not lacks, "lacks": lacks,
            "state": "stopping" if self._stopping else "ok", "uptime": round(time.monotonic() - self._started, 1),
            "rules_version": self.policy.version, "exceptions_version": self._register.current.version,
            "in_memory": self._relay.queued, "exported": self._housekeeping.exported, **self._store.counters,
        }  # fmt: skip
        return Rows((row,))

    def _fault(self, error: BaseException) -> None:
        self._metrics.fault()
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

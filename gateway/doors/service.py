"""One door process: listeners, the pipeline, the links to keeper and inspector, reload and stop.

What it is: ``run``, the composition of what a door process is made of.
Who calls it: ``doors.workers``, in each worker that it forks.
Must never: hold a key of the vault or open the store; keep part of an old policy beside part of a new one; print.
Sources: docs/design.md section 2 (reload); hostile-inputs catalogue
O13, O17.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path as FilePath
from typing import Any

import uvloop

from gateway import config as config_file
from gateway import logs, policy
from gateway.address import Path
from gateway.config import Config, ConfigError, Listen
from gateway.counting import Counts
from gateway.doors import listen, tls
from gateway.doors.door import Door, Settings
from gateway.doors.entrance import Open, open_listener
from gateway.doors.peers import InspectorLink, KeeperLink
from gateway.doors.pressure import Pressure
from gateway.doors.relaying import EnvelopePolicy, Refused
from gateway.doors.reporting import Reporting
from gateway.doors.resolver import Resolver
from gateway.doors.vacancies import Vacancies
from gateway.envelope import Door as DoorName
from gateway.envelope import Peer, new_id, reference_of
from gateway.pipeline import Pipeline
from gateway.policy import Policy, PolicyError, decide
from gateway.reply import Reply
from gateway.verdict import Disposition

RETIRE = signal.SIGUSR2
"""Another process takes the new sessions from now on: this one ends with the last of those it has."""
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, RETIRE)
"""What a door process listens to. They may be blocked at its start, and are open once it can follow them."""
BEAT = 2.0
"""Seconds between two signs of life of a door process."""
_LOOK = 0.5
"""Seconds between two looks of a retired process at the sessions that it still has."""
READY, ALIVE = b"r", b"."
Sign = Callable[[bytes], None]
"""Where a door process sends READY once it listens, and ALIVE again and again while its event loop turns."""
Sockets = Mapping[str, list[socket.socket]]
"""Bound sockets that the parent keeps, by the address of the config that they are for."""

_log = logs.get("gateway.doors")


def run(
    config: Config,
    worker: int,
    path: FilePath | None = None,
    rules: Policy | None = None,
    sockets: Sockets | None = None,
    sign: Sign | None = None,
    vacancies: Vacancies | None = None,
) -> None:
    """Runs door process *worker* until SIGTERM or SIGINT, or until its last session has ended after RETIRE.

    *path*: the config file, read again at SIGHUP; *rules*: the policy to start with, where it is loaded already; *sockets*: what to
    listen on, else it opens its own; *sign*: gets the signs of life; *vacancies*: what else to listen on while another worker is away.
    Raises ConfigError or PolicyError when it cannot start.
    """
    sink = logs.configure("doors")
    uvloop.run(_Service(config, worker, path, rules, sockets, sign, vacancies or Vacancies(), sink).run())


def served(config: Config) -> tuple[Listen, ...]:
    """What a door process of *config* listens for. Raises ConfigError for a door that lacks what it needs."""
    for lack in listen.lacking(config):
        raise ConfigError(lack)
    return tuple(one for one in config.listen if one.door != "web")


def _officers_page(config: Config, sender: Path, peer: Peer) -> str:
    """Where the originator reads of a refusal before DATA, after signing in: a door holds no key to sign a link with."""
    can = config.submission.check == "next-hop" or config.submission.logins is not None
    ours = can and not sender.is_null and decide.verified(sender, peer, config)
    return f"{config.web.public_url.rstrip('/')}/officer" if ours and config.web.public_url else ""


def envelope_policy(rules: Policy, config: Config, keeper: KeeperLink) -> EnvelopePolicy:
    """What the rules say at RCPT, under one policy and one config."""
    silent = config.relay.refuse_with == "bounce"

    def judge(sender: Path, recipient: Path, peer: Peer, /, *, door: DoorName | None = None) -> Refused | None:
        if silent and not sender.is_null and decide.verified(sender, peer, config):
            return None  # gets one report after DATA instead
        door = door or (DoorName.SUBMISSION if peer.user else DoorName.SMTP)  # nobody signs in on port 25, nobody sends on 587 who has not
        verdict = decide.rcpt(sender, recipient, peer, rules, keeper.exceptions, config, door=door, now=time.time())
        if verdict.disposition is not Disposition.REFUSE:
            return None
        reference = reference_of(new_id())
        text = rules.explanations.reply_text(verdict, reference, _officers_page(config, sender, peer))
        code = verdict.status if verdict.status.startswith("5") else "5.7.1"
        return Refused(Reply(550, code, text), verdict.rule, reference)

    return judge


class _Service:
    """The parts of one door process."""

    def __init__(
        self, config: Config, worker: int, path: FilePath | None, rules: Policy | None, sockets: Sockets | None, sign: Sign | None,
        vacancies: Vacancies, sink: logs.Sink,
    ) -> None:  # fmt: skip
        self._config = config
        self._sink = sink
        self._given = sockets
        self._sign = sign
        self._vacancies = vacancies
        self._first_rules = rules
        self._worker = worker
        self._path = path
        self._reloading = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._servers: list[Open] = []
        self._stop = asyncio.Event()
        self._retired = False

    async def run(self) -> None:
        """Until a signal asks for the end."""
        loop = asyncio.get_running_loop()
        stop, config = self._stop, self._config
        rules, self._first_rules = self._first_rules or policy.load(config.rules_dir, config), None
        certificate = tls.context(config.tls)
        counts, self._not_after = Counts(), tls.not_after(config.tls)
        self._keeper = KeeperLink(config, rules.version)
        self._pipeline = Pipeline(rules, config, InspectorLink(config), self._keeper, Resolver(config), counts)
        settings = Settings.make(config, envelope_policy(rules, config, self._keeper), certificate)
        self._door = Door(settings, self._pipeline, self._keeper, counts=counts)
        self._door.pressure = Pressure(lambda: self._door.settings.config, self._door.budget, self._keeper, self._pipeline.places)
        sockets = [(one.address, sock) for one in served(config) for sock in self._sockets(one)]
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._hup)
        loop.add_signal_handler(RETIRE, self._retire)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (*SIGNALS, signal.SIGCHLD))
        await self._keeper.start()
        reporting = Reporting(
            self._door, self._keeper, counts, self._worker, self._sink, lambda: self._pipeline.policy.version, lambda: self._not_after
        )
        self._spawn(reporting.run())
        for address, sock in sockets:
            if not (self._retired or stop.is_set()):  # signals come from the moment they are unblocked
                self._servers.append(await self._open(address, sock))
        if self._retired:
            self._close()
        gc.collect()
        gc.set_threshold(20_000, 20, 20)  # a message makes some hundred objects, and hardly ever a cycle
        gc.freeze()  # what is here now stays: full collections need not walk it
        _log.info("doors.ready", worker=self._worker, listeners=len(self._servers), rules_version=rules.version)
        self._vacancies.watch(self._open)
        if self._sign is not None:
            self._sign(READY)
            self._beat()
        await stop.wait()
        self._close()
        await self._door.drain(self._config.limits.drain)
        await reporting.send()
        await self._keeper.close()
        _log.info("doors.stopped", worker=self._worker, **self._door.counters)

    def _open(self, address: str, sock: socket.socket) -> Coroutine[Any, Any, Open]:
        return open_listener(self._door, address, sock)

    def _sockets(self, one: Listen) -> list[socket.socket]:
        """The listening sockets of *one*: those that the parent keeps for us, else our own."""
        return listen.sockets(listen.parse(one.address)) if self._given is None else self._given.get(one.address, [])

    def _beat(self) -> None:
        if self._sign is not None:
            self._sign(ALIVE)
        asyncio.get_running_loop().call_later(BEAT, self._beat)

    def _hup(self) -> None:
        self._spawn(self._reload())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _retire(self) -> None:
        """Takes no new sessions; what is in the queue of the sockets is for whoever else holds them."""
        self._retired = True
        self._close()
        self._spawn(self._outlive())

    def _close(self) -> None:
        self._vacancies.close()
        for server in self._servers:
            server.close()

    async def _outlive(self) -> None:
        """The sessions that are there go on, under the rules, certificate and config that are in force now, and under those of each later
        reload; then the end. A session of IMAP or of an MTA ends when nothing is under way in it, or we would stay for days."""
        if self._door.busy:
            _log.info("doors.retiring", worker=self._worker, sessions=len(self._door.sessions))
            await self._reload()
        loop = asyncio.get_running_loop()
        since = looked = loop.time()
        while self._door.busy:  # sessions end in many places; none of them knows this one
            if loop.time() - looked >= _LOOK:
                looked = loop.time()
                self._door.retire(since)
            await asyncio.sleep(0.05)
        self._stop.set()

    async def _reload(self) -> None:
        """Takes config, rules and certificate anew, all of them or none. Listening addresses stay until the next start."""
        async with self._reloading:
            event = "config.reload_failed"
            try:
                config = self._config if self._path is None else await asyncio.to_thread(config_file.load, self._path)
                certificate = await asyncio.to_thread(tls.context, config.tls)
                event = "rules.reload_failed"
                rules = await asyncio.to_thread(policy.load, config.rules_dir, config)
                settings = Settings.make(config, envelope_policy(rules, config, self._keeper), certificate)
            except (ConfigError, PolicyError) as error:
                _log.error(event, worker=self._worker, **{"error.message": str(error)})
                return
            except Exception as error:
                _log.exception(event, worker=self._worker, **{"error.message": str(error)})
                return
            # No await between these lines: no session sees half of it.
            self._config = config
            self._pipeline.policy, self._pipeline.config = rules, config
            self._door.settings = settings
            self._not_after = tls.not_after(config.tls)
            with contextlib.suppress(Exception):
                await self._keeper.refresh_exceptions()
            _log.info("rules.reloaded", worker=self._worker, rules_version=rules.version)

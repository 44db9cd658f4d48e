"""One door process: listeners, the pipeline, the links to keeper and inspector, reload and stop.

What it is: ``run``, the composition of what a door process is made of.
Who calls it: ``doors.workers``, in each worker that it forks.
Must never: hold a key of the vault or open the store; keep part of an old policy beside part of a new one; print.
Sources: design.md section 2; contract.md ("A SIGHUP or gateway reload"); hostile-inputs catalogue
O13, O17.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import time
from pathlib import Path as FilePath

import uvloop

from gateway import config as config_file
from gateway import logs, policy
from gateway.address import Path
from gateway.config import Config, ConfigError
from gateway.doors import listen, tls
from gateway.doors.door import Door, Settings
from gateway.doors.peers import InspectorLink, KeeperLink
from gateway.doors.relaying import EnvelopePolicy, Refused
from gateway.doors.resolver import Resolver
from gateway.doors.smtp import Session
from gateway.envelope import Peer, new_id, reference_of
from gateway.pipeline import Pipeline
from gateway.policy import Policy, PolicyError, decide
from gateway.reply import Reply
from gateway.verdict import Disposition

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""What a door process listens to. They may be blocked at its start, and are open once it can follow them."""

_log = logs.get("gateway.doors")


def run(config: Config, worker: int, path: FilePath | None = None, rules: Policy | None = None) -> None:
    """Runs door process *worker* until SIGTERM or SIGINT. *path*: the config file, read again at
    SIGHUP; *rules*: the policy to start with, where it is loaded already.

    Raises ConfigError or PolicyError when it cannot start.
    """
    logs.configure("doors")
    uvloop.run(_Service(config, worker, path, rules).run())


def envelope_policy(rules: Policy, config: Config, keeper: KeeperLink) -> EnvelopePolicy:
    """What the rules say at RCPT, under one policy and one config."""
    silent = config.relay.refuse_with == "bounce"

    def judge(sender: Path, recipient: Path, peer: Peer) -> Refused | None:
        if silent and not sender.is_null and decide.verified(sender, peer, config):
            return None  # gets one report after DATA instead
        verdict = decide.rcpt(sender, recipient, peer, rules, keeper.exceptions, config, now=time.time())
        if verdict.disposition is not Disposition.REFUSE:
            return None
        reference = reference_of(new_id())
        text = rules.explanations.reply_text(verdict, reference, config.web.public_url)
        code = verdict.status if verdict.status.startswith("5") else "5.7.1"
        return Refused(Reply(550, code, text), verdict.rule, reference)

    return judge


class _Service:
    """The parts of one door process."""

    def __init__(self, config: Config, worker: int, path: FilePath | None, rules: Policy | None) -> None:
        self._config = config
        self._first_rules = rules
        self._worker = worker
        self._path = path
        self._reloading = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until a signal asks for the end."""
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        config = self._config
        rules, self._first_rules = self._first_rules or policy.load(config.rules_dir, config), None
        certificate = tls.context(config.tls)
        self._keeper = KeeperLink(config, rules.version)
        self._pipeline = Pipeline(rules, config, InspectorLink(config), self._keeper, Resolver(config))
        self._door = Door(Settings.make(config, envelope_policy(rules, config, self._keeper), certificate), self._pipeline, self._keeper)
        sockets = [sock for address in self._addresses() for sock in listen.sockets(listen.parse(address), self._worker)]
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._hup)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (*SIGNALS, signal.SIGCHLD))
        await self._keeper.start()
        servers = [await loop.create_server(lambda: Session(self._door), sock=sock, backlog=1024) for sock in sockets]
        gc.collect()
        gc.freeze()  # what is here now stays: full collections need not walk it
        _log.info("doors.ready", worker=self._worker, listeners=len(servers), rules_version=rules.version)
        await stop.wait()
        for server in servers:
            server.close()
        await self._door.drain(self._config.limits.drain)
        await self._keeper.close()
        _log.info("doors.stopped", worker=self._worker, **self._door.counters)

    def _addresses(self) -> list[str]:
        """Where the SMTP door listens. Without its PROXY header a client would count as the load balancer: better no door."""
        smtp: list[str] = []
        for one in self._config.listen:
            if one.door == "smtp" and not one.proxy_protocol:
                smtp.append(one.address)
            elif one.door != "web":
                reason = "this version has no PROXY protocol" if one.proxy_protocol else "this version has no such door"
                _log.error("doors.not_there", door=one.door, address=one.address, reason=reason)
        return smtp

    def _hup(self) -> None:
        task = asyncio.get_running_loop().create_task(self._reload())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

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
            with contextlib.suppress(Exception):
                await self._keeper.refresh_exceptions()
            _log.info("rules.reloaded", worker=self._worker, rules_version=rules.version)

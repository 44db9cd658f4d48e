"""The web process: uvicorn over sockets of our own, and the line to the keeper.

What it is: ``run``, started by ``gateway run --only web``.
Who calls it: ``cli.run``.
Must never: hold a key or a store; open a port that the config does not name; log a query string (a login token may be in it).
Sources: docs/design.md section 2; hostile-inputs catalogue 4.5.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import stat
import sys
from pathlib import Path as FilePath
from typing import Any

import uvicorn

from gateway import config as config_file
from gateway import ipc, logs, requests, rights, systemd
from gateway.config import Config, ConfigError
from gateway.counting import EVERY, Counts, Report
from gateway.web.admission import Admission
from gateway.web.application import application
from gateway.web.forwarded import Forwarded

_PATIENCE = 10.0  # seconds for one answer of the keeper


class Keeper:
    """The keeper as the web may ask it: one channel, opened anew when it has broken."""

    def __init__(self, config: Config) -> None:
        self._path = rights.place(config.run_dir, "keeper-web.sock")
        self._channel: ipc.Channel | None = None
        self._opening = asyncio.Lock()

    async def ask(self, request: Any) -> tuple[Any, bytes]:
        """The keeper's answer and its body. Raises ipc.ChannelError when there is none within 10 seconds."""
        async with self._opening:
            if self._channel is None or not self._channel.open:
                self._channel = await ipc.Channel.connect(self._path, requests.KeeperAnswer)
            channel = self._channel
        try:
            return await asyncio.wait_for(channel.call(request), _PATIENCE)
        except TimeoutError as error:
            channel.close()
            raise ipc.ChannelError("the keeper did not answer in time") from error

    def close(self) -> None:
        """Ends the channel."""
        if self._channel is not None:
            self._channel.close()


def listeners(config: Config) -> list[tuple[socket.socket, tuple[str, ...]]]:
    """The listening sockets of the web addresses of the config, each with the networks that may connect there (none: all).

    Raises OSError with the address in its text, or ConfigError.
    """
    found: list[tuple[socket.socket, tuple[str, ...]]] = []
    for listen in config.listen:
        if listen.door == "web" and listen.address.startswith("systemd:"):
            found += [(sock, listen.networks) for sock in systemd.inherited(listen.address.removeprefix("systemd:"))]
        elif listen.door == "web":
            found.append((_bind(listen.address), listen.networks))
    return found


def _bind(address: str) -> socket.socket:
    if address.startswith("unix:"):
        path = address[5:]
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISSOCK(os.lstat(path).st_mode):
                os.unlink(path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        target: Any = path
    else:
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        target = (host, int(port))
    try:
        sock.bind(target)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, error.strerror, f"web listener {address}") from error
    if address.startswith("unix:"):
        os.chmod(target, 0o660)
    sock.listen(128)
    return sock


class _Server(uvicorn.Server):
    """Tells systemd when it listens and when it stops."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        systemd.ready("The page is served.")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        systemd.stopping()
        await super().shutdown(sockets)


async def report(keeper: Keeper, counts: Counts, sink: logs.Sink) -> None:
    """Tells *keeper* every 5 s what was counted, until it is cancelled; what it does not take comes with the next report."""
    reports = Report("web", 0, counts)
    while True:
        with contextlib.suppress(ipc.ChannelError):
            dropped: dict[tuple[str, ...], float] = {("gateway_log_lines_dropped_total", "web"): float(sink.dropped)}
            if isinstance((await keeper.ask(reports.make({}, dropped)))[0], requests.Done):
                reports.taken()
        await asyncio.sleep(EVERY)


def _reloaded(config: Config, path: FilePath | None) -> None:
    """A reload finds nothing to take, since templates and code are all that this process has: it says what waits for a restart."""
    log = logs.get("web")
    try:
        new = config if path is None else config_file.load(path)
    except ConfigError as error:
        log.error("config.reload_failed", **{"error.message": str(error)})
        return
    waiting = [name for name in ("hostname", "run_dir", "state_dir", "web") if getattr(new, name) != getattr(config, name)]
    if [one for one in new.listen if one.door == "web"] != [one for one in config.listen if one.door == "web"]:
        waiting.append("listen")
    if waiting:
        log.warning("config.needs_restart", options=sorted(waiting), reason="the page reads these at its start only; restart it")
    log.info("web.reloaded")


async def _serve(config: Config, sink: logs.Sink, path: FilePath | None) -> None:
    log = logs.get("web")
    keeper, counts = Keeper(config), Counts()
    listening = listeners(config)
    sockets = [sock for sock, _ in listening]
    server = _Server(
        uvicorn.Config(
            Forwarded(application(config, keeper.ask, counts, Admission(listening)), config.web.proxies),
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            date_header=True,
            proxy_headers=False,
            timeout_keep_alive=10,
            timeout_graceful_shutdown=3,
            limit_concurrency=200,
            h11_max_incomplete_event_size=32_768,
            ws="none",
        )
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _reloaded, config, path)
    log.info("web.listening", addresses=[listen.address for listen in config.listen if listen.door == "web"])
    signs, reports = asyncio.create_task(systemd.alive()), asyncio.create_task(report(keeper, counts, sink))
    try:
        await server.serve(sockets=sockets)
    finally:
        signs.cancel()
        reports.cancel()
        keeper.close()
        for sock in sockets:
            sock.close()


def run(config: Config, path: FilePath | None = None) -> None:
    """Serves the web page until SIGTERM. *path*: the file of *config*. Exits 1 where an address cannot be taken."""
    sink = logs.configure("web")
    try:
        asyncio.run(_serve(config, sink, path))
    except KeyboardInterrupt:
        return
    except OSError as error:
        logs.get("web").error("web.cannot_listen", address=str(error.filename or ""), reason=error.strerror)
        sys.exit(1)

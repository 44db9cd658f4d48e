"""Listening sockets from the addresses of the config.

What it is: ``parse`` reads host:port, [v6]:port, unix:/path and systemd:NAME; ``sockets`` opens what it says; ``Listeners`` are
those of all door workers, kept by their parent: what waits in the queue of a listening socket outlives the worker that took from it.
Who calls it: ``doors.workers`` at start and at reload; ``doors.service`` where it has no parent.
Must never: listen anywhere but where the config says; take a port away from another program (SO_REUSEPORT shares it among our
own workers, and the kernel lets only processes of the same user join).
Sources: socket(7), unix(7), sd_listen_fds(3).
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import socket
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path as FilePath

from gateway import systemd
from gateway.config import Config, ConfigError, Listen, is_loopback

BACKLOG = 1024
"""Connections that wait in the kernel for each listening socket."""


@dataclass(frozen=True, slots=True)
class Address:
    """One address of the config. *kind* is ``tcp``, ``unix`` or ``systemd``."""

    kind: str
    host: str = ""
    port: int = 0
    name: str = ""
    """Path of the unix socket, or name of the systemd socket."""

    def __str__(self) -> str:
        if self.kind != "tcp":
            return f"{self.kind}:{self.name}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def lacking(config: Config) -> list[str]:
    """What keeps the listeners of *config* from being what they claim to be: one plain sentence each, with what to write."""
    found: list[str] = []
    for one in config.listen:
        if one.door == "imap":
            if config.tls.certificate is None:
                found.append(f"listen: imap on {one.address} needs [tls] with certificate and key: passwords are taken under TLS only")
            if not config.imap.server:
                found.append(f'listen: imap on {one.address} needs the server behind it: [imap] server = "imap.example.gov.in:993"')
        if one.door == "milter":
            found += _milter(one)
        if one.door not in ("submission", "smtps"):
            continue
        if config.tls.certificate is None:
            found.append(f"listen: {one.door} on {one.address} needs [tls] with certificate and key: passwords are taken under TLS only")
        if config.submission.check == "file" and config.submission.logins is None:
            found.append(
                f"listen: {one.door} on {one.address} lets nobody sign in: name the file of logins, [submission] logins = "
                '"/etc/gateway/logins.toml", or write check = "next-hop"'
            )
    return found


def _milter(one: Listen) -> list[str]:
    """Whoever speaks the milter protocol says who sent a mail and who had signed in: nobody but the MTA may reach it."""
    found = []
    if one.proxy_protocol:
        found.append(f"listen: milter on {one.address}: the MTA connects itself, take proxy_protocol and proxies out")
    address = parse(one.address)
    if address.kind == "tcp" and not one.networks and not is_loopback(one.address):
        found.append(
            f'listen: milter on {one.address} would believe anybody who connects: name the MTA, networks = ["10.0.0.25/32"], or use a '
            'unix socket, address = "unix:/var/spool/postfix/gateway/milter.sock"'
        )
    return found


def parse(text: str) -> Address:
    """The address that *text* writes. Raises ConfigError."""
    kind, _, name = text.partition(":")
    if kind in ("unix", "systemd") and name:
        if kind == "unix" and not name.startswith("/"):
            raise ConfigError(f"listen.address: {text}: a unix socket needs an absolute path")
        return Address(kind, name=name)
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ConfigError(f"listen.address: {text}: an IPv6 address stands in brackets, such as [::1]:25")
    if not colon or not host or not (port.isascii() and port.isdigit()) or not 0 <= int(port) <= 65535:
        raise ConfigError(f"listen.address: {text}: write host:port, [v6]:port, unix:/path or systemd:NAME")
    return Address("tcp", host, int(port))


def sockets(address: Address, worker: int = 0, *, listening: bool = True) -> list[socket.socket]:
    """Sockets for *address*, not blocking; without *listening* they are bound only. Raises ConfigError with the address and the reason.

    A host name with several addresses gives one socket each. A unix path has one listener: worker 0 gets it, the others none.
    """
    if address.kind == "systemd":
        return systemd.inherited(address.name)
    if address.kind == "unix":
        return [_unix(address, listening)] if worker == 0 else []
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ConfigError(f"listen.address: {address}: {error.strerror}") from error
    opened: list[socket.socket] = []
    try:
        for family, kind, protocol, _, where in dict.fromkeys(found):
            opened.append(_tcp(family, kind, protocol, where, listening))
    except OSError as error:
        for sock in opened:
            sock.close()
        raise ConfigError(f"listen.address: {address}: {_reason(error)}") from error
    return opened


class Listeners:
    """The sockets of all workers, as their parent keeps them; it never accepts."""

    def __init__(self) -> None:
        # For each address rounds of sockets. TCP has one round a worker or more, among which the kernel spreads the clients.
        self._open: dict[str, list[list[socket.socket]]] = {}
        self._former: dict[str, int] = {}

    def add(self, addresses: Iterable[str], workers: int) -> None:
        """Binds what is not there yet, for *workers* workers. Raises ConfigError, and then nothing is new."""
        self._former = {text: len(rounds) for text, rounds in self._open.items()}
        try:
            for text in dict.fromkeys(addresses):
                address = parse(text)
                if text not in self._open:
                    self._open[text] = [sockets(address, listening=False)]
                # There are never fewer: to close one would break the connections in its queue.
                while address.kind == "tcp" and len(self._open[text]) < workers:
                    self._open[text].append(sockets(address, listening=False))
        except ConfigError:
            self.undo()
            raise

    def undo(self) -> None:
        """Closes what the last ``add`` has bound: those that it was for do not come, and the others never had it. A socket that has been
        listened on and is kept would collect connections for nobody."""
        self.remove(self.addresses - set(self._former))
        for text, count in self._former.items():
            rounds = self._open.get(text, [])
            for sock in itertools.chain.from_iterable(rounds[count:]):
                sock.close()
            del rounds[count:]

    def remove(self, addresses: Iterable[str]) -> None:
        """Closes the sockets of *addresses*."""
        for text in addresses:
            for sock in itertools.chain.from_iterable(self._open.pop(text, [])):
                sock.close()

    @property
    def addresses(self) -> frozenset[str]:
        """What is bound."""
        return frozenset(self._open)

    def take(self, worker: int, workers: int, addresses: Iterable[str]) -> dict[int, dict[str, list[socket.socket]]]:
        """In the process of worker number *worker* of *workers*: the sockets of each of them by address. All that are for other addresses
        are closed here.

        Each TCP socket is somebody's; from a unix socket and from one of systemd all workers take sessions, so they are *worker*'s here.
        """
        taken: dict[int, dict[str, list[socket.socket]]] = {number: {} for number in range(workers)}
        for text in dict.fromkeys(addresses):
            rounds = self._open.pop(text)
            for number in taken if parse(text).kind == "tcp" else ():
                taken[number][text] = list(itertools.chain.from_iterable(rounds[number::workers]))
            taken[worker].setdefault(text, list(itertools.chain.from_iterable(rounds)))
        self.remove(self.addresses)
        return taken


def _tcp(family: int, kind: int, protocol: int, where: tuple[object, ...], listening: bool) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            # [::]:25 beside 0.0.0.0:25: each says what it means.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(where)
        if listening:
            sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another program listens there"
    if error.errno == errno.EACCES:
        return "not allowed; a port below 1024 needs a systemd socket or CAP_NET_BIND_SERVICE"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine does not have that address"
    return error.strerror or "cannot listen"


def _unix(address: Address, listening: bool) -> socket.socket:
    path = FilePath(address.name)
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ConfigError(f"listen.address: {address}: a file that is no socket stands there")
        path.unlink()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(address.name)
        path.chmod(0o660)
        if listening:
            sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise ConfigError(f"listen.address: {address}: {_reason(error)}") from error
    return sock

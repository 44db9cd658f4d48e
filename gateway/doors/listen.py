"""Listening sockets from the addresses of the config.

What it is: ``parse`` reads host:port, [v6]:port, unix:/path and systemd:NAME; ``sockets`` opens what it says.
Who calls it: ``doors.service`` at start; the milter and IMAP doors the same way.
Must never: listen anywhere but where the config says; take a port away from another program (SO_REUSEPORT shares it among our
own workers, and the kernel lets only processes of the same user join).
Sources: socket(7), unix(7), sd_listen_fds(3).
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path as FilePath

from gateway.config import ConfigError

_BACKLOG = 1024
_FIRST_DESCRIPTOR = 3  # SD_LISTEN_FDS_START


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


def sockets(address: Address, worker: int = 0) -> list[socket.socket]:
    """Listening sockets for *address*, not blocking. Raises ConfigError with the address and the reason.

    A host name with several addresses gives one socket each. A unix path has one listener: worker 0 gets it, the others none.
    """
    if address.kind == "systemd":
        return _inherited(address)
    if address.kind == "unix":
        return [_unix(address)] if worker == 0 else []
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ConfigError(f"listen.address: {address}: {error.strerror}") from error
    opened: list[socket.socket] = []
    try:
        for family, kind, protocol, _, where in dict.fromkeys(found):
            opened.append(_tcp(family, kind, protocol, where))
    except OSError as error:
        for sock in opened:
            sock.close()
        raise ConfigError(f"listen.address: {address}: {_reason(error)}") from error
    return opened


def _tcp(family: int, kind: int, protocol: int, where: tuple[object, ...]) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            # [::]:25 beside 0.0.0.0:25: each says what it means.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(where)
        sock.listen(_BACKLOG)
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


def _unix(address: Address) -> socket.socket:
    path = FilePath(address.name)
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ConfigError(f"listen.address: {address}: a file that is no socket stands there")
        path.unlink()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(address.name)
        path.chmod(0o660)
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise ConfigError(f"listen.address: {address}: {_reason(error)}") from error
    return sock


def _inherited(address: Address) -> list[socket.socket]:
    """The sockets that systemd passed under this name; to us, or to the parent that forked us."""
    try:
        count = int(os.environ.get("LISTEN_FDS", "0"))
        owner = int(os.environ.get("LISTEN_PID", "0"))
    except ValueError:
        count = owner = 0
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    found: list[socket.socket] = []
    if owner in (os.getpid(), os.getppid()):
        for index in range(count):
            if index < len(names) and names[index] == address.name:
                try:
                    sock = socket.socket(fileno=os.dup(_FIRST_DESCRIPTOR + index))
                except OSError as error:
                    raise ConfigError(f"listen.address: {address}: what systemd passed is no socket") from error
                sock.setblocking(False)
                found.append(sock)
    if not found:
        raise ConfigError(f"listen.address: {address}: systemd passed no socket of that name")
    return found

"""The word between a process and systemd: sockets and credentials that it passes, readiness and signs of life that it hears.

What it is: ``notify``, ``watchdog`` (how often a sign of life is due), ``alive`` (an event loop that gives it), ``journal``,
``inherited`` and ``unnamed`` (sockets by name), ``passed`` (their descriptors), ``secret`` (where a ``credential:NAME`` lies).
Who calls it: each process that is a unit by itself, the supervisor, and whoever reads a file that the config names.
Must never: raise where systemd is not there; take a socket that was passed to another process; show what a credential holds.
Sources: sd_notify(3), sd_watchdog_enabled(3), sd_listen_fds(3); systemd.exec(5) "Credentials"; the journal's native protocol;
hostile-inputs catalogue O25.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path as FilePath

from gateway.config import ConfigError

FIRST_DESCRIPTOR = 3
"""SD_LISTEN_FDS_START."""
JOURNAL = "/run/systemd/journal/socket"
"""Where the journal takes entries in its own protocol."""
_CREDENTIAL = "credential:"
_ALIVE = "WATCHDOG=1"
_PATIENCE = 1.0


def notify(message: str) -> None:
    """Tells systemd, or the supervisor in its place, *message*; nothing happens where nobody asked. Who does not listen is not waited for:
    a second for what is said once, not at all for a sign of life, of which another follows."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.settimeout(0.0 if message == _ALIVE else _PATIENCE)
            sock.connect("\0" + address[1:] if address.startswith("@") else address)
            sock.sendall(message.encode("utf-8", "replace"))


def ready(status: str) -> None:
    """The start, or the reload, is done; *status* is one plain sentence."""
    notify(f"READY=1\nSTATUS={status}")


def reloading() -> None:
    """A reload begins; ``ready`` ends it."""
    notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def stopping() -> None:
    """The end begins."""
    notify("STOPPING=1\nSTATUS=Stopping.")


def watchdog() -> float:
    """Seconds between two signs of life of this process: half of what systemd allows; 0 where it wants none."""
    try:
        owner = int(os.environ.get("WATCHDOG_PID") or os.getpid())
        period = int(os.environ.get("WATCHDOG_USEC") or 0) / 2e6
    except ValueError:
        return 0.0
    return period if owner == os.getpid() and period > 0 else 0.0


async def alive(well: Callable[[], bool] = lambda: True) -> None:
    """Gives signs of life as long as this event loop turns and *well* says yes; for ever, or not at all."""
    period = watchdog()
    while period:
        if well():
            notify(_ALIVE)
        await asyncio.sleep(period)


def journal(lines: Iterable[str], identifier: str) -> int:
    """Writes *lines* to the journal under *identifier*, where this process runs under systemd. Returns how many did not get there:
    the journal never makes anybody wait."""
    if not os.environ.get("JOURNAL_STREAM"):
        return 0
    lost = 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as sock:
        for line in lines:
            message = f"MESSAGE={line}\nPRIORITY=6\nSYSLOG_IDENTIFIER={identifier}\n"
            try:
                sock.sendto(message.encode("ascii", "backslashreplace"), JOURNAL)
            except OSError:
                lost += 1
    return lost


# --- sockets --------------------------------------------------------------------------------------------------------------


def passed() -> dict[int, str]:
    """Descriptor and name of each socket that systemd passed to us, or to the supervisor that started us."""
    try:
        count = int(os.environ.get("LISTEN_FDS") or 0)
        owner = int(os.environ.get("LISTEN_PID") or 0)
    except ValueError:
        return {}
    if owner not in (os.getpid(), os.getppid()):
        return {}
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    return {FIRST_DESCRIPTOR + index: names[index] if index < len(names) else "" for index in range(count)}


def inherited(name: str) -> list[socket.socket]:
    """The listening sockets that were passed under *name*, not blocking. Raises ConfigError when there is none."""
    found: list[socket.socket] = []
    for descriptor, given in passed().items():
        if given == name:
            try:
                sock = socket.socket(fileno=os.dup(descriptor))
            except OSError as error:
                raise ConfigError(f"listen.address: systemd:{name}: what systemd passed is no socket") from error
            sock.setblocking(False)
            found.append(sock)
    if not found:
        advice = f"run: systemctl enable --now gateway-{name}.socket"
        raise ConfigError(f"listen.address: systemd:{name}: systemd passed no socket of that name; {advice}")
    return found


def unnamed(names: set[str]) -> list[str]:
    """The names of sockets that were passed, but are none of *names*: who connects there waits for an answer in vain."""
    return sorted(set(passed().values()) - names)


# --- credentials ----------------------------------------------------------------------------------------------------------


def secret(path: FilePath) -> FilePath:
    """Where the file *path* of the config is: itself, or for ``credential:NAME`` the credential that systemd passed.

    Raises ConfigError where no credentials were passed.
    """
    text = str(path)
    if not text.startswith(_CREDENTIAL):
        return path
    name, folder = text.removeprefix(_CREDENTIAL), os.environ.get("CREDENTIALS_DIRECTORY", "")
    if not folder:
        raise ConfigError(f"{text}: no credentials were passed to this process; start it with systemd, see LoadCredential= in its unit")
    if not name or "/" in name or name in (".", ".."):
        raise ConfigError(f"{text}: {name!r} is no name of a credential")
    return FilePath(folder) / name

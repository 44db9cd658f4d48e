"""One process of the gateway: how it is started, whether it listens, what it may know.

What it is: ``Child``, ``command``, ``environment``, ``listens``, ``store_in_use``.
Who calls it: ``supervisor``; ``gateway demo`` for ``command``.
Must never: put a secret in a child's arguments or environment.
Sources: docs/design.md section 2; proc(5); sd_listen_fds(3).
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path as FilePath

import gateway

_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "CREDENTIALS_DIRECTORY", "JOURNAL_STREAM")
_SOCKETS = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


@dataclass(slots=True)
class Child:
    """One process to keep alive."""

    kind: str
    process: asyncio.subprocess.Process | None = None
    started: float = 0.0
    quick_deaths: int = 0
    restarts: int = -1
    ending: bool = False
    """Its end is wanted."""
    state: str = "stopped"
    task: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def alive(self) -> bool:
        """Whether its process is there."""
        return self.process is not None and self.process.returncode is None


def listens(pid: int) -> bool:
    """Whether process *pid* or a process that it forked listens on TCP or a unix socket, from /proc; True where /proc does not say."""
    if _holds_listener(pid):
        return True
    try:
        children = FilePath(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
    except OSError:
        return os.path.exists(f"/proc/{pid}")  # a kernel without this list
    return any(_holds_listener(int(child)) for child in children)


def _holds_listener(pid: int) -> bool:
    try:
        links = {os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd")}
    except OSError:
        return os.path.exists(f"/proc/{pid}") and not os.access(f"/proc/{pid}/fd", os.R_OK)
    inodes = {link[8:-1] for link in links if link.startswith("socket:[")}
    if not inodes:
        return False
    for table, state, column, inode in (("tcp", "0A", 3, 9), ("tcp6", "0A", 3, 9), ("unix", "00010000", 3, 6)):
        try:
            with open(f"/proc/{pid}/net/{table}", encoding="utf-8", errors="replace") as lines:
                for line in lines:
                    words = line.split()
                    if len(words) > inode and words[column] == state and words[inode] in inodes:
                        return True
        except OSError:
            continue
    return False


def command(path: FilePath, *words: str) -> list[str]:
    """The arguments that start this same code as another process, with the config *path*."""
    return [sys.executable, "-P", "-m", "gateway", *words, "--config", str(path)]


def environment(*, sockets: bool = False) -> dict[str, str]:
    """The little that a child may know of our environment, and where this code is; with *sockets* also those that systemd passed."""
    kept = {name: os.environ[name] for name in (_PASSED_ON + _SOCKETS if sockets else _PASSED_ON) if name in os.environ}
    places = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    here = str(FilePath(gateway.__file__).parent.parent)
    return kept | {"PYTHONPATH": os.pathsep.join([*places, *([] if here in places else [here])])}


def has_terminal() -> bool:
    """Whether Ctrl-C would reach our children too: then they get a session of their own, and hear of it from us in order."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def store_in_use(state_dir: FilePath) -> bool:
    """Whether some keeper holds the lock of the store."""
    try:
        lock = os.open(state_dir / "gateway.lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False

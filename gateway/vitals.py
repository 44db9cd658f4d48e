"""Signs of life of the processes that the supervisor started: which of them hangs.

What it is: ``Signs``, the other end of what ``systemd.notify`` writes: a socket that the children are told of as if systemd had made
it, and the moment of each one's last word; ``watch``, which kills who hangs.
Who calls it: ``supervisor``.
Must never: take one process's word for another's (the kernel says who wrote); hold a silence against a process that was never heard,
or against all of them when it was we who did not look.
Sources: sd_notify(3), sd_watchdog_enabled(3); unix(7) SCM_CREDENTIALS, abstract sockets; hostile-inputs catalogue O13, O25.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import secrets
import signal
import socket
import struct
import time
from collections.abc import Callable, Collection, Mapping

from gateway import logs

HUNG = {"keeper": 60.0, "inspector": 30.0, "doors": 60.0, "web": 30.0}
"""Seconds of silence after which a process of each kind is killed, and so replaced; the units of systemd have the same."""
LOOK = 1.0
"""Seconds between two looks."""
_CREDENTIALS = struct.Struct("3i")
_ABSENCE = 5.0
"""Seconds between two looks from which on it was ourselves who stood still, with everybody or alone."""
_LONGEST = 4096

_log = logs.get("supervisor")


async def watch(signs: Signs, living: Callable[[], Mapping[int, str]]) -> None:
    """Kills, for ever, each process of *living* (their kinds by process id) whose event loop does not turn any more."""
    while True:
        there = living()
        signs.listen(there)
        for pid, kind in there.items():
            if silent := signs.silent(kind, pid):
                _log.error("process.hung", kind=kind, pid=pid, silent_s=round(silent, 1))
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(LOOK)


class Signs:
    """Listens for signs of life; *periods*: seconds of silence by kind of process after which it hangs."""

    def __init__(self, periods: Mapping[str, float] | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises OSError."""
        self._periods = HUNG if periods is None else periods
        self._clock = clock
        # Without a file: the folder of our sockets may lie deeper than the address of a socket may be long.
        self._name = f"gateway-{os.getpid()}-{secrets.token_hex(8)}"
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._sock.bind("\0" + self._name)
        self._heard: dict[int, float] = {}
        self._looked = clock()

    def environment(self, kind: str) -> dict[str, str]:
        """What a process of *kind* is told."""
        return {"NOTIFY_SOCKET": "@" + self._name, "WATCHDOG_USEC": str(int(self._periods[kind] * 1e6))}

    def listen(self, pids: Collection[int]) -> None:
        """Takes note of what came from *pids* since the last time; what is known of others is forgotten."""
        now = self._clock()
        said = self._read()
        self._heard = {pid: now if pid in said else when for pid, when in self._heard.items() if pid in pids}
        self._heard |= {pid: now for pid in said if pid in pids}
        if now - self._looked > _ABSENCE:
            self._heard = dict.fromkeys(self._heard, now)
        self._looked = now

    def silent(self, kind: str, pid: int) -> float:
        """Seconds for which *pid*, a process of *kind*, has been silent, if that is too long; else 0."""
        heard = self._heard.get(pid)
        silence = 0.0 if heard is None else self._clock() - heard
        return silence if silence > self._periods[kind] else 0.0

    def close(self) -> None:
        """Listens no more."""
        self._sock.close()

    def _read(self) -> set[int]:
        """The processes that said something."""
        said: set[int] = set()
        while True:
            try:
                # Room for descriptors too, which systemd's protocol knows: those that come are closed, not kept.
                _, ancillary, _, _ = self._sock.recvmsg(_LONGEST, socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(64))
            except (BlockingIOError, InterruptedError):
                return said
            for level, kind, octets in ancillary:
                if level != socket.SOL_SOCKET:
                    continue
                if kind == socket.SCM_RIGHTS:
                    for descriptor in array.array("i", octets[: len(octets) // 4 * 4]):
                        os.close(descriptor)
                elif kind == socket.SCM_CREDENTIALS:
                    said.add(_CREDENTIALS.unpack(octets[: _CREDENTIALS.size])[0])

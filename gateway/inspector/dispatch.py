"""Which worker reads which request: the parent of the inspection workers takes the connections, a worker gets one at a time.

What it is: ``Lanes``: hands each connection to a worker that waits, counts how many a worker was given, and holds it to the clock;
``signal_file``, by which the same loop hears of signals.
Who calls it: ``inspector.service``, the parent.
Must never: read a request or an answer; believe a worker anything but that it waits: one that hostile content has taken over would say
what it likes about the mail of others. It has no socket of its own to take requests from, is given ``TASKS`` of them at most, and
whoever keeps one beyond its time is killed.
Sources: unix(7), SCM_RIGHTS; signalfd(2); docs/design.md section 2; hostile-inputs catalogue O11.
"""

from __future__ import annotations

import collections
import contextlib
import ctypes
import enum
import errno
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from gateway import ipc, logs
from gateway.config import Limits

TASKS = 20
"""Messages that a worker reads before it is replaced, which costs 7 to 20 ms of processor time. It is also how many messages hostile
content can lie about once it has taken a worker over, and where leaks of the libraries end."""
READY, READ = b"r", b"s"
"""A worker says that it waits for a connection; that it has the whole request."""
DOORS, KEEPER = b"r", b"k"
"""With a connection a worker is told whose it is, and so what may be asked over it."""
_TO_START = 30.0  # seconds from fork to the first READY
_TO_LEAVE = 2.0  # seconds in which a worker without its socket has to end
_SIGNAL_INFO = 128  # octets of a struct signalfd_siginfo; the first four are the number
_NONBLOCK, _CLOEXEC = os.O_NONBLOCK, os.O_CLOEXEC

_libc = ctypes.CDLL(None, use_errno=True)
_log = logs.get("gateway.inspector")


class _State(enum.Enum):
    STARTING, WAITING, GIVEN, READING, LEAVING = range(5)


_EXPECTED = {_State.STARTING: (READY,), _State.GIVEN: (READ, READ + READY), _State.READING: (READY,)}
"""What a worker may say."""


@dataclass(slots=True, eq=False)
class Lane:
    """One worker, as its parent sees it."""

    pid: int
    link: socket.socket
    started: float
    until: float
    """Monotonic time at which it is killed."""
    state: _State = _State.STARTING
    given: int = 0
    last: bool = False
    """It is not given another message."""


class Lanes:
    """The workers, and the sockets that doors and the keeper connect to."""

    def __init__(self, sock: socket.socket, admitted: Callable[[ipc.Credentials], bool], limits: Limits) -> None:
        self.selector = selectors.DefaultSelector()
        self.limits = limits
        self._socks: dict[socket.socket, tuple[bytes, Callable[[ipc.Credentials], bool]]] = {}
        self.serve(sock, admitted, DOORS)
        self._lanes: dict[int, Lane] = {}
        self._waiting: collections.deque[Lane] = collections.deque()
        self._listening = False

    def serve(self, sock: socket.socket, admitted: Callable[[ipc.Credentials], bool], kind: bytes) -> None:
        """Takes connections of *kind* from *sock* too; before the first ``turn``."""
        sock.setblocking(False)
        self._socks[sock] = (kind, admitted)

    @property
    def at_work(self) -> int:
        """Workers that have or will get messages; those that are leaving do not count."""
        return sum(not lane.last for lane in self._lanes.values())

    @property
    def pids(self) -> list[int]:
        """All workers, also those that are leaving."""
        return list(self._lanes)

    def add(self, pid: int, link: socket.socket) -> None:
        """The new worker *pid*, which will say READY over *link*."""
        link.setblocking(False)
        now = time.monotonic()
        lane = self._lanes[pid] = Lane(pid, link, now, now + _TO_START)
        self.selector.register(link, selectors.EVENT_READ, lane)

    def ended(self, pid: int) -> float | None:
        """Seconds that the worker *pid*, which has ended, was there; None: it is none."""
        lane = self._lanes.pop(pid, None)
        if lane is None:
            return None
        self._let_go(lane)
        return time.monotonic() - lane.started

    def replace(self, pids: Collection[int]) -> None:
        """Each of *pids* ends, after the message that it is reading."""
        for pid in pids:
            lane = self._lanes[pid]
            lane.last = True
            if lane.state in (_State.WAITING, _State.STARTING):
                self._let_go(lane)

    def forget(self) -> None:
        """In a forked child: closes what is the parent's."""
        self.selector.close()
        for sock in self._socks:
            sock.close()
        for lane in self._lanes.values():
            lane.link.close()

    def turn(self, seconds: float) -> bool:
        """What happens next, within *seconds*; True when a file that somebody else registered has something to say."""
        self._listen(bool(self._waiting))
        foreign = False
        for event, _ in self.selector.select(seconds):
            if isinstance(event.data, Lane):
                if event.data.state is not _State.LEAVING:
                    self._hear(event.data)
            elif isinstance(event.fileobj, socket.socket) and event.fileobj in self._socks:
                self._accept(event.fileobj)
            else:
                foreign = True
        self._expire()
        return foreign

    def _listen(self, wanted: bool) -> None:
        """Connections wait in the socket's backlog while no worker does."""
        if wanted is not self._listening:
            self._listening = wanted
            for sock in self._socks:
                if wanted:
                    self.selector.register(sock, selectors.EVENT_READ, None)
                else:
                    self.selector.unregister(sock)

    def _accept(self, sock: socket.socket) -> None:
        kind, admitted = self._socks[sock]
        while self._waiting:
            try:
                connection, _address = sock.accept()
            except OSError:
                return
            with connection:
                if admitted(ipc.credentials(connection)):
                    self._give(connection, kind)

    def _give(self, connection: socket.socket, kind: bytes) -> None:
        """To the worker that has waited longest; where none is left the connection is closed, which a door takes for a worker's end."""
        while self._waiting:
            lane = self._waiting.popleft()
            try:
                socket.send_fds(lane.link, [kind], [connection.fileno()])
            except OSError:  # it has just died
                self._let_go(lane)
                continue
            lane.given += 1
            lane.state, lane.until = _State.GIVEN, time.monotonic() + self.limits.pipeline  # nobody waits for it any longer
            return

    def _hear(self, lane: Lane) -> None:
        """What a worker says over its link; whatever is not expected ends it."""
        try:
            said = lane.link.recv(16)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        now = time.monotonic()
        if not said:  # it has ended, or wants to
            self._let_go(lane)
        elif said not in _EXPECTED.get(lane.state, ()):
            _log.error("worker.disobeyed", pid=lane.pid)
            self._let_go(lane, 0.0)
        elif said == READ:
            lane.state, lane.until = _State.READING, now + 2 * self.limits.inspect_cpu + 1
        elif lane.last or lane.given >= TASKS:
            self._let_go(lane)
        else:
            lane.state, lane.until = _State.WAITING, float("inf")
            self._waiting.append(lane)

    def _let_go(self, lane: Lane, seconds: float = _TO_LEAVE) -> None:
        """Closes the link of *lane*, which tells the worker to end; it is killed after *seconds*."""
        if lane.state is _State.LEAVING:
            return
        if lane in self._waiting:
            self._waiting.remove(lane)
        lane.last, lane.state, lane.until = True, _State.LEAVING, time.monotonic() + seconds
        self.selector.unregister(lane.link)
        lane.link.close()

    def _expire(self) -> None:
        now = time.monotonic()
        for lane in self._lanes.values():
            if lane.until <= now:
                if lane.state is not _State.LEAVING:
                    _log.error("worker.overtime", pid=lane.pid)
                    self._let_go(lane)
                lane.until = float("inf")
                with contextlib.suppress(ProcessLookupError):
                    os.kill(lane.pid, signal.SIGKILL)


def signal_file(numbers: Collection[int]) -> int:
    """A file that becomes readable when one of the blocked signals *numbers* is there. Raises OSError."""
    words = ctypes.c_ulong * (128 // ctypes.sizeof(ctypes.c_ulong))  # a sigset_t
    width = 8 * ctypes.sizeof(ctypes.c_ulong)
    mask = words()
    for number in numbers:
        mask[(number - 1) // width] |= 1 << ((number - 1) % width)
    file = int(_libc.signalfd(ctypes.c_int(-1), ctypes.byref(mask), ctypes.c_int(_NONBLOCK | _CLOEXEC)))
    if file < 0:
        code = ctypes.get_errno()
        raise OSError(code, errno.errorcode.get(code, str(code)))
    return file


def signals(file: int) -> list[int]:
    """The numbers of the signals that came to ``signal_file``'s *file* since the last time."""
    try:
        octets = os.read(file, 64 * _SIGNAL_INFO)
    except BlockingIOError:
        return []
    return [int.from_bytes(octets[start : start + 4], "little") for start in range(0, len(octets), _SIGNAL_INFO)]

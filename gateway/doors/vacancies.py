"""The listening sockets of workers that are away, and who attends to them meanwhile.

What it is: ``Vacancies``, in a worker: it holds the sockets of all other workers, and takes sessions from those of the places that the
parent calls vacant, for as long as it does. The kernel spreads new connections over all sockets of a port, also over one whose worker
has died or hangs: they would wait there until it is replaced, which a crash loop puts off by up to half a minute.
Who calls it: ``doors.service``; ``line`` and ``written`` are the parent's side, in ``doors.workers``.
Must never: keep a socket open once the worker takes no sessions any more; close the only copy of one.
Sources: socket(7), SO_REUSEPORT; hostile-inputs catalogue O13, O25.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Protocol

from gateway import logs

_log = logs.get("gateway.doors")


class Attended(Protocol):
    """A socket from which sessions are taken."""

    def close(self) -> None:
        """Takes no more."""


Attend = Callable[[str, socket.socket], Awaitable[Attended]]
"""Begins to take sessions from a socket that is for an address of the config."""


def line() -> tuple[int, int]:
    """The two ends of what parent and worker say to each other; neither ever waits for the other."""
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    return ends[0].detach(), ends[1].detach()


def written(places: Iterable[int]) -> bytes:
    """All vacant *places*, as the parent tells them."""
    return " ".join(str(place) for place in sorted(places)).encode("ascii") + b"\n"


class Vacancies:
    """*others*: the sockets of the other workers by their number and by address; *line*: where the parent tells of vacant places."""

    def __init__(self, others: Mapping[int, Mapping[str, list[socket.socket]]] | None = None, line: int = -1) -> None:
        self._others = others or {}
        self._line = line
        self._said = b""
        self._wanted: frozenset[int] = frozenset()
        self._attended: dict[int, list[Attended]] = {}
        self._attend: Attend | None = None
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def watch(self, attend: Attend) -> None:
        """Does what the parent says from now on, until ``close``."""
        self._attend = attend
        if self._others and not self._closed:
            asyncio.get_running_loop().add_reader(self._line, self._told)

    def close(self) -> None:
        """Takes no more sessions from anywhere, and holds nobody's socket. May be called again."""
        if self._closed:
            return
        self._closed = True
        if self._attend is not None and self._others:
            asyncio.get_running_loop().remove_reader(self._line)
        for place in tuple(self._attended):
            self._leave(place)
        for sockets in self._others.values():
            for sock in (one for some in sockets.values() for one in some):
                sock.close()

    def _told(self) -> None:
        try:
            said = os.read(self._line, 65_536)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if not said:  # the parent is gone, and takes us along
            asyncio.get_running_loop().remove_reader(self._line)
            return
        self._said += said
        *lines, self._said = self._said.split(b"\n")
        if lines:  # the last one is how things stand
            self._wanted = frozenset(map(int, lines[-1].split())) & self._others.keys()
            if self._task is None:
                self._task = asyncio.get_running_loop().create_task(self._follow())

    async def _follow(self) -> None:
        """One task at a time, until all is as it was last told."""
        try:
            while not self._closed and self._wanted != self._attended.keys():
                for place in self._attended.keys() - self._wanted:
                    self._leave(place)
                for place in self._wanted - self._attended.keys():
                    await self._enter(place)
        finally:
            self._task = None

    async def _enter(self, place: int) -> None:
        assert self._attend is not None
        servers = self._attended[place] = []
        _log.info("doors.vacancy_attended", place=place)
        for address, sockets in self._others[place].items():
            for sock in sockets:
                with contextlib.suppress(OSError):  # no descriptor is left: the others attend to it
                    # A copy, since its end closes what it was given.
                    server = await self._attend(address, sock.dup())
                    if self._closed:
                        server.close()
                        return
                    servers.append(server)

    def _leave(self, place: int) -> None:
        for server in self._attended.pop(place):
            server.close()
        _log.info("doors.vacancy_left", place=place)

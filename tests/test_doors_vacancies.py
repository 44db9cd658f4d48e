"""Sockets of door workers that are away: the other workers attend to them, in both directions of time. Hostile-inputs O13, O25."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.doors import listen, vacancies
from gateway.doors.generation import QUICK, SILENT, Worker
from gateway.doors.vacancies import Vacancies
from tests.test_doors_workers import ROOT, Doors, wait_for


def test_who_is_away() -> None:
    worker = Worker(1)
    assert not worker.away(0.0), "one that starts for the first time is waited for"
    worker.pid, worker.ready, worker.heard = 7, True, 100.0
    assert not worker.away(100.0 + SILENT)
    assert worker.away(100.1 + SILENT), "it may hang"
    worker.pid, worker.former = 0, True
    assert worker.away(101.0)
    worker.pid, worker.ready, worker.quick_deaths, worker.started, worker.heard = 8, True, 2, 102.0, 102.5
    assert worker.away(102.5), "it may die once more"
    worker.heard = 102.0 + QUICK
    assert not worker.away(102.0 + QUICK)


def test_every_socket_has_its_place_and_what_a_failed_reload_bound_is_closed() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{sock.getsockname()[1]}"
    listeners = listen.Listeners()
    listeners.add([address], 2)
    listeners.add([address], 3)
    (third,) = listeners._open[address][2]
    listeners.undo()
    assert third.fileno() == -1, "nobody would attend to it"
    listeners.add([address], 2)
    places = listeners.take(1, 2, [address])
    assert {number: len(found[address]) for number, found in places.items()} == {0: 1, 1: 1}
    assert not listeners.addresses
    for found in places.values():
        found[address][0].close()


def test_a_unix_socket_is_everybodys(tmp_path: Path) -> None:
    address, dropped = f"unix:{tmp_path}/a", f"unix:{tmp_path}/b"
    listeners = listen.Listeners()
    listeners.add([address, dropped], 3)
    (gone,) = listeners._open[dropped][0]
    places = listeners.take(1, 3, [address])
    assert {number: list(found) for number, found in places.items()} == {0: [], 1: [address], 2: []}
    assert gone.fileno() == -1
    places[1][address][0].close()


class Server:
    """Says its name to whoever connects to the socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.listen()
        asyncio.get_running_loop().add_reader(sock, self.greet)

    def greet(self) -> None:
        client, _ = self.sock.accept()
        client.sendall(b"hello")
        client.close()

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self.sock)
        self.sock.close()


async def attend(address: str, sock: socket.socket) -> Server:
    await asyncio.sleep(0)
    return Server(sock)


async def greeted(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.1):
            return await reader.read()
    writer.close()
    return b""


async def test_sessions_come_from_a_vacant_place_while_it_is_vacant() -> None:
    (sock,) = listen.sockets(listen.parse("127.0.0.1:0"))
    port, kept = sock.getsockname()[1], sock.dup()
    parent, ours = vacancies.line()
    vacant = Vacancies({4: {"here": [sock]}}, ours)
    vacant.watch(attend)
    try:
        assert await greeted(port) == b"", "it is another's"
        os.write(parent, vacancies.written({4, 5}))
        await asyncio.sleep(0.05)
        assert await greeted(port) == b"hello"
        os.write(parent, vacancies.written(()))
        await asyncio.sleep(0.05)
        assert await greeted(port) == b"", "it is the other's again"
        os.write(parent, vacancies.written(()) + vacancies.written({4})[:1])
        os.write(parent, vacancies.written({4})[1:])
        await asyncio.sleep(0.05)
        assert await greeted(port) == b"hello", "what waited meanwhile, too"
    finally:
        vacant.close()
        vacant.close()
    assert sock.fileno() == -1, "a worker that takes no sessions keeps no port"
    assert kept.fileno() >= 0
    kept.close()
    os.close(parent)
    os.close(ours)


async def test_a_worker_that_retires_while_it_enters_a_place_keeps_nothing() -> None:
    (sock,) = listen.sockets(listen.parse("127.0.0.1:0"))
    parent, ours = vacancies.line()
    vacant, opened = Vacancies({0: {"here": [sock]}}, ours), list[Server]()

    async def slow(address: str, given: socket.socket) -> Server:
        await asyncio.sleep(0.02)
        opened.append(Server(given))
        return opened[0]

    vacant.watch(slow)
    os.write(parent, vacancies.written({0}))
    await asyncio.sleep(0.01)
    vacant.close()
    await asyncio.sleep(0.05)
    assert opened[0].sock.fileno() == -1
    os.close(parent)
    os.close(ours)


async def test_a_worker_without_a_parent_has_nobody_to_stand_in_for() -> None:
    alone = Vacancies()
    alone.watch(attend)
    alone.close()


@pytest.fixture
def doors(tmp_path: Path) -> Iterator[Doors]:
    part = Doors(tmp_path)
    yield part
    part.end()


CRASHES = """
import os, pathlib, sys
from gateway import config
from gateway.doors import service, workers
real, path = service.run, pathlib.Path(sys.argv[1])
def run(config, worker, *rest):
    if worker == 1 and (path.parent / "crash").exists():
        os._exit(70)
    real(config, worker, *rest)
service.run = run
workers.run(config.load(path), path)
"""


async def greetings(port: int, count: int, within: float) -> list[float]:
    """How long each of *count* connections, made at once, waited for its greeting."""

    async def one() -> float:
        began = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            async with asyncio.timeout(within):
                assert (await reader.readline()).startswith(b"220")
        finally:
            writer.close()
        return time.monotonic() - began

    return await asyncio.gather(*(one() for _ in range(count)))


@pytest.mark.slow
async def test_O13_while_one_worker_crashes_at_each_start_the_other_answers_its_connections(doors: Doors) -> None:
    with (doors.folder / "log").open("wb") as log:
        doors.process = subprocess.Popen([sys.executable, "-c", CRASHES, str(doors.config)], stderr=log, cwd=ROOT)
    before = await asyncio.to_thread(doors.ready)
    (doors.folder / "crash").touch()
    os.kill(before[1], signal.SIGKILL)
    await asyncio.to_thread(wait_for, lambda: doors.logged("worker.crash_loop"))
    for _ in range(4):
        assert max(await greetings(doors.port, 25, 10)) < 1
        await asyncio.sleep(0.3)
    (doors.folder / "crash").unlink()
    await asyncio.to_thread(wait_for, lambda: doors.pids()[1] != before[1], 40)
    assert doors.pids()[0] == before[0]
    await asyncio.to_thread(wait_for, lambda: doors.logged("doors.vacancy_left"))
    assert max(await greetings(doors.port, 25, 10)) < 1
    assert not doors.logged("doors.fault")


@pytest.mark.slow
async def test_O25_the_connections_of_a_worker_that_hangs_are_answered_before_it_is_replaced(doors: Doors) -> None:
    doors.start()
    before = await asyncio.to_thread(doors.ready)
    os.kill(before[1], signal.SIGSTOP)
    try:
        await asyncio.to_thread(wait_for, lambda: doors.logged("doors.vacancy_attended"))
        assert max(await greetings(doors.port, 25, 10)) < 1
    finally:
        os.kill(before[1], signal.SIGCONT)
    await asyncio.to_thread(wait_for, lambda: doors.logged("doors.vacancy_left"))
    assert doors.pids() == before

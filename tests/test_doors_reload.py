"""A reload of the doors under load: nobody is refused, no session is cut, and memory stays shared. Hostile-inputs O13, O17, O25."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.milter_mta import Mta
from tests.test_doors_workers import Doors, wait_for

pytestmark = pytest.mark.slow  # doors as processes, reloaded under load

ROOT = Path(__file__).resolve().parents[1]
CONNECTIONS, OPEN = 200, 20


async def one_session(port: int, before: bytes = b"") -> None:
    """Connects, says hello, begins a transaction and leaves; any failure of the connection is an error."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(before)
    try:
        for command, code in ((b"", b"220"), (b"EHLO c.dept.gov.in", b"250"), (b"MAIL FROM:<a@dept.gov.in>", b"250"), (b"QUIT", b"221")):
            writer.write(command and command + b"\r\n")
            while (line := await asyncio.wait_for(reader.readline(), 20))[3:4] == b"-":
                pass
            assert line.startswith(code), (command, line)
    finally:
        writer.close()
        await writer.wait_closed()


class Held:
    """A session that stays open over all reloads, in the middle of a message."""

    @classmethod
    async def open(cls, port: int) -> Held:
        held = cls()
        held.reader, held.writer = await asyncio.open_connection("127.0.0.1", port)
        await held.reader.readline()
        await held.say(b"EHLO c.dept.gov.in", b"250")
        await held.begin()
        return held

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def say(self, command: bytes, code: bytes) -> None:
        self.writer.write(command + b"\r\n")
        while (line := await asyncio.wait_for(self.reader.readline(), 20))[3:4] == b"-":
            pass
        assert line.startswith(code), (command, line)

    async def begin(self) -> None:
        await self.say(b"MAIL FROM:<a@dept.gov.in>", b"250")
        await self.say(b"RCPT TO:<b@gov.in>", b"250")
        await self.say(b"DATA", b"354")
        self.writer.write(b"From: <a@dept.gov.in>\r\nSubject: x\r\n\r\n")

    async def finish(self) -> None:
        """The end of the message is answered (4xx, since there is no keeper here), and the session goes on."""
        await self.say(b"text\r\n.", b"451")
        await self.begin()


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def load(doors: Doors, reloads: int) -> None:
    """*reloads* reloads, each with another number of workers, under at least CONNECTIONS connections each."""
    text = doors.config.read_text()
    held = [await Held.open(doors.port) for _ in range(OPEN)]
    for number in range(reloads):
        doors.config.write_text(text.replace("workers = 2", f"workers = {3 - number % 2}"))
        os.kill(doors.pid, signal.SIGHUP)
        sent = 0
        while sent < CONNECTIONS or len(doors.logged("rules.reloaded")) <= number:
            await asyncio.gather(*(one_session(doors.port) for _ in range(10)))
            sent += 10
        await asyncio.gather(*(session.finish() for session in held))
    for session in held:
        session.writer.close()


@pytest.mark.parametrize("reloads", [pytest.param(2, id="two"), pytest.param(5, id="five", marks=pytest.mark.service)])
async def test_O13_O17_reloads_refuse_nobody_and_cut_no_session(doors: Doors, reloads: int) -> None:
    doors.config.write_text(doors.config.read_text().replace("[limits]", "[limits]\ndata_min_rate = 0"))
    doors.start()
    before = set(doors.ready().values())
    await load(doors, reloads)
    assert not doors.logged("worker.died") + doors.logged("worker.killed") + doors.logged("doors.fault")
    last = 3 - (reloads - 1) % 2
    await asyncio.to_thread(wait_for, lambda: len(children(doors.pid)) == last, 10)
    assert not before & set(children(doors.pid)), "the first workers have ended with their last session"


async def test_O13_O17_workers_behind_a_balancer_retire_and_end_in_peace(doors: Doors) -> None:
    """Where we accept by ourselves a socket is closed by the retirement, and again by the end."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    behind = f'[[listen]]\ndoor = "smtp"\naddress = "127.0.0.1:{port}"\nproxy_protocol = true\nproxies = ["127.0.0.0/8"]\n'
    doors.config.write_text(doors.config.read_text() + behind)
    doors.start()
    doors.ready()
    for number in range(3):
        before = set(children(doors.pid))
        os.kill(doors.pid, signal.SIGHUP)
        while len(doors.logged("rules.reloaded")) <= number:
            await asyncio.gather(*(one_session(port, b"PROXY TCP4 10.1.2.3 10.0.0.1 4711 25\r\n") for _ in range(5)))
        await asyncio.to_thread(wait_for, lambda before=before: not before & set(children(doors.pid)), 10)
    assert not doors.logged("worker.died") + doors.logged("worker.killed") + doors.logged("doors.fault")


async def test_O13_an_MTA_that_stays_connected_keeps_no_retired_worker_and_loses_no_message(doors: Doors) -> None:
    """Between messages its connection ends soon; the message that is under way is answered first."""
    path = doors.folder / "milter.sock"
    text = doors.config.read_text().replace("[limits]", "[limits]\nidle_stressed = 1")
    doors.config.write_text(f'{text}[[listen]]\ndoor = "milter"\naddress = "unix:{path}"\n')
    doors.start()
    before = set(doors.ready().values())
    idle, busy = [Mta(*await asyncio.open_unix_connection(str(path))) for _ in range(2)]
    for one in (idle, busy):
        assert (await one.negotiate())[0] == b"O"
        one.client()
    await busy.envelope("b@gov.in", sender="a@dept.gov.in")
    os.kill(doors.pid, signal.SIGHUP)
    await asyncio.to_thread(wait_for, lambda: doors.logged("rules.reloaded"), 20)
    assert await idle.closed()
    await asyncio.sleep(2)
    busy.content()
    command, reply = (await busy.answers())[-1]
    assert (command, reply[:3]) == (b"y", b"451"), "there is no keeper here"
    assert await busy.closed()
    await asyncio.to_thread(wait_for, lambda: not before & set(children(doors.pid)), 10)
    assert not doors.logged("worker.died") + doors.logged("worker.killed") + doors.logged("doors.fault")


def test_O17_a_worker_that_is_retired_before_it_listens_ends(doors: Doors) -> None:
    """One that replaces a dead worker may still be starting when the next generation is there."""
    code = (
        "import asyncio, os, pathlib, sys\nfrom gateway import config\nfrom gateway.doors import service\n"
        "async def start(link):\n    os.kill(os.getpid(), service.RETIRE)\n    await asyncio.sleep(0.1)\n"
        "service.KeeperLink.start = start\nservice.run(config.load(pathlib.Path(sys.argv[1])), 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(doors.config)], timeout=20, cwd=ROOT, capture_output=True, check=False)
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr


@pytest.fixture
def doors(tmp_path: Path):  # type: ignore[no-untyped-def]
    part = Doors(tmp_path)
    yield part
    part.end()


def test_O25_a_worker_whose_event_loop_stopped_is_replaced_and_systemd_hears_from_the_rest(doors: Doors, tmp_path: Path) -> None:
    """With shorter times than in service; WATCHDOG_USEC and NOTIFY_SOCKET as systemd gives them."""
    code = (
        "import pathlib, sys\nfrom gateway import config\nfrom gateway.doors import service, workers\n"
        "workers.HUNG, service.BEAT = 1.0, 0.2\npath = pathlib.Path(sys.argv[1])\nworkers.run(config.load(path), path)\n"
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock, (tmp_path / "log").open("wb") as log:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(20)
        told = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "4000000"}
        doors.process = subprocess.Popen([sys.executable, "-c", code, str(doors.config)], stderr=log, cwd=ROOT, env=os.environ | told)
        before = doors.ready()
        assert sock.recv(200) == b"READY=1\nSTATUS=2 workers listen."
        assert sock.recv(200) == b"WATCHDOG=1"
        os.kill(before[1], signal.SIGSTOP)
        wait_for(lambda: doors.pids()[1] != before[1], 10)
        (hung,) = doors.logged("worker.hung")
        assert hung["pid"] == before[1]
        assert doors.pids()[0] == before[0]
        os.kill(doors.pid, signal.SIGSTOP)  # then the parent itself is silent, and systemd starts all of it again
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while sock.recv(200):
                pass
        time.sleep(2.5)
        with pytest.raises(BlockingIOError):
            sock.recv(200)


def test_O17_a_reload_whose_port_is_taken_keeps_the_old_doors(doors: Doors) -> None:
    doors.start()
    before = doors.ready()
    text = doors.config.read_text()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = f'[[listen]]\ndoor = "smtp"\naddress = "127.0.0.1:{other.getsockname()[1]}"\n'
        doors.config.write_text(text + taken)
        os.kill(doors.pid, signal.SIGHUP)
        (failed,) = wait_for(lambda: doors.logged("rules.reload_failed"))
        assert "another program listens there" in failed["error.message"]
        assert doors.pids() == before
    doors.config.write_text(text + taken)
    os.kill(doors.pid, signal.SIGHUP)
    wait_for(lambda: doors.logged("rules.reloaded"))
    socket.create_connection(other_address(taken), 5).close()
    doors.config.write_text(text)  # and the address goes again: nobody waits there in vain
    os.kill(doors.pid, signal.SIGHUP)
    wait_for(lambda: len(doors.logged("rules.reloaded")) == 2)
    wait_for(lambda: refused(other_address(taken)), 10)
    socket.create_connection(("127.0.0.1", doors.port), 5).close()


def other_address(listen: str) -> tuple[str, int]:
    return "127.0.0.1", int(listen.rpartition(":")[2].strip().strip('"'))


def refused(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, 5).close()
    except ConnectionRefusedError:
        return True
    return False

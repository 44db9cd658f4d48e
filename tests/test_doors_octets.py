"""What a door process keeps in memory: slow sessions with half a message each, idle ones, and many after one another. Hostile-inputs S23.

The process is a real one, and its memory is what the kernel says of it. docs/overload.md has the table that follows from these limits.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.children import resident
from tests.test_doors_reload import children
from tests.test_doors_workers import Doors, wait_for

pytestmark = pytest.mark.slow  # door workers as processes

SESSIONS, HALF = 500, 500_000
INFLIGHT = 64_000_000
READ = 262_144
"""Octets that the event loop reads at most before a session can be told to wait."""


@pytest.fixture
def doors(tmp_path: Path) -> Iterator[Doors]:
    part = Doors(tmp_path)
    limits = (
        f"max_inflight = {INFLIGHT}\nconnections = 600\nconnections_listed = 600\ndata_idle = 15\ndata_min_rate = 0\nidle_stressed = 120"
    )
    text = part.config.read_text().replace("workers = 2", 'workers = 1\nmax_message_size = "2MB"')
    part.config.write_text(text.replace("[limits]", f"[limits]\n{limits}"))
    yield part
    part.end()


class Slow:
    """A session that sends half a message and then nothing."""

    def __init__(self, port: int, number: int) -> None:
        self.port, self.source = port, f"127.0.0.{2 + number % 20}"

    async def say(self, command: bytes, code: bytes) -> None:
        self.writer.write(command + b"\r\n" if command else b"")
        while (line := await asyncio.wait_for(self.reader.readline(), 60))[3:4] == b"-":
            pass
        assert line.startswith(code), line

    async def open(self) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(self.source, 0))
        await self.say(b"", b"220")
        await self.say(b"EHLO c.dept.gov.in", b"250")

    async def begin(self, text: bytes) -> None:
        await self.say(b"MAIL FROM:<a@dept.gov.in>", b"250")
        await self.say(b"RCPT TO:<b@gov.in>", b"250")
        self.writer.write(b"DATA\r\n")
        with contextlib.suppress(TimeoutError):  # for some the 354 has to wait for memory
            async with asyncio.timeout(3):
                assert (await self.reader.readline()).startswith(b"354")
                self.writer.write(text)


async def test_S23_five_hundred_slow_sessions_stay_within_the_limit(doors: Doors) -> None:
    doors.start()
    await asyncio.to_thread(wait_for, lambda: doors.logged("doors.ready"), 60)
    (worker,) = children(doors.pid)
    start = resident(worker)
    slow = [Slow(doors.port, number) for number in range(SESSIONS)]
    for at in range(0, SESSIONS, 50):
        await asyncio.gather(*(one.open() for one in slow[at : at + 50]))
    idle = resident(worker)
    text = b"From: <a@dept.gov.in>\r\nSubject: x\r\n\r\n" + b"half a message, line by line\r\n" * (HALF // 30)
    await asyncio.gather(*(one.begin(text) for one in slow))
    most = 0
    for _ in range(40):
        await asyncio.sleep(0.1)
        most = max(most, resident(worker))
    print(
        f"start {start / 1e6:.0f} MB; {SESSIONS} idle sessions {idle / 1e6:.0f} MB; half of {len(text)} octets in each {most / 1e6:.0f} MB"
    )
    assert idle - start < SESSIONS * 60_000, "a session without a message is small"
    assert most - idle < 2 * INFLIGHT + SESSIONS * READ, "all their messages are the limit, and what each had read when it was paused"
    for one in slow:
        one.writer.close()
    for _ in range(250):
        await asyncio.sleep(0.1)
        if resident(worker) < idle + INFLIGHT // 4:
            break
    print(f"after them {resident(worker) / 1e6:.0f} MB")
    assert os.path.exists(f"/proc/{worker}")
    assert resident(worker) < idle + 3 * INFLIGHT // 4, "what was taken is given back"

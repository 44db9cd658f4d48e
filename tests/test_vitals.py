"""Signs of life that the supervisor hears: whose they are, and what a silence means. Hostile-inputs O13, O25; the clock goes by hand."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

import pytest

from gateway import systemd
from gateway.vitals import Signs

SAY = "import os, sys; sys.path[:0] = {!r}; from gateway import systemd; systemd.notify('WATCHDOG=1'); print(os.getpid())"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def signs(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    part = Signs({"keeper": 10.0}, Clock())
    for name, value in part.environment("keeper").items():
        monkeypatch.setenv(name, value)
    yield part
    part.close()


def pass_time(signs: Signs, seconds: float, *pids: int) -> None:
    """A look each second."""
    for _ in range(int(seconds)):
        signs._clock.now += 1  # type: ignore[attr-defined]
        signs.listen(pids)


def test_O25_a_process_that_was_heard_and_is_silent_hangs(signs: Signs) -> None:
    assert systemd.watchdog() == 5.0, "twice a period"
    me = os.getpid()
    pass_time(signs, 30, me)
    assert signs.silent("keeper", me) == 0.0, "it never gave a sign: nothing can be said of it"
    systemd.notify("WATCHDOG=1")
    pass_time(signs, 10, me)
    assert signs.silent("keeper", me) == 0.0
    pass_time(signs, 2, me)
    assert signs.silent("keeper", me) == 11.0
    systemd.notify("WATCHDOG=1")
    pass_time(signs, 1, me)
    assert signs.silent("keeper", me) == 0.0


def test_O25_nobody_speaks_for_another_process(signs: Signs) -> None:
    done = subprocess.run([sys.executable, "-c", SAY.format(sys.path)], capture_output=True, text=True, check=True)
    other, me = int(done.stdout), os.getpid()
    pass_time(signs, 12, me)
    assert signs.silent("keeper", me) == 0.0
    systemd.notify("WATCHDOG=1")
    pass_time(signs, 1, me, other)
    pass_time(signs, 5, me)
    pass_time(signs, 6, me, other)
    assert signs.silent("keeper", me) == 11.0
    assert signs.silent("keeper", other) == 0.0, "what was gone is a new process"


def test_O13_a_machine_that_stood_still_holds_it_against_nobody(signs: Signs) -> None:
    systemd.notify("WATCHDOG=1")
    me = os.getpid()
    pass_time(signs, 1, me)
    signs._clock.now += 600  # type: ignore[attr-defined]
    signs.listen([me])
    assert signs.silent("keeper", me) == 0.0
    pass_time(signs, 11, me)
    assert signs.silent("keeper", me) == 11.0


def test_O13_a_supervisor_that_stands_still_holds_up_nobody(signs: Signs) -> None:
    began = time.monotonic()
    for _ in range(2000):
        systemd.notify("WATCHDOG=1")  # the queue of the socket is full after a few
    assert time.monotonic() - began < 1.0
    pass_time(signs, 1, os.getpid())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect("\0" + signs.environment("keeper")["NOTIFY_SOCKET"][1:])
        before = len(os.listdir("/proc/self/fd"))
        socket.send_fds(sock, [b"FDSTORE=1"], [0, 1, 2])
        pass_time(signs, 1, os.getpid())
        assert len(os.listdir("/proc/self/fd")) == before, "descriptors that came along are closed"

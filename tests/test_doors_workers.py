"""The parent of the door workers as a real process: replacement, reload, stop, crash loop. Hostile-inputs catalogue O13, O17."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import signal
import smtplib
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway import processes

pytestmark = pytest.mark.slow  # door workers as processes

ROOT = Path(__file__).resolve().parents[1]


def wait_for(condition: Callable[[], Any], seconds: float = 20) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("not in time")


def state(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return "X"


class Doors:
    """``gateway run --only doors`` with two workers, and no keeper."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.config, self.rules = folder, folder / "gateway.toml", folder / "rules"
        shutil.copytree(ROOT / "rules", self.rules)
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port: int = sock.getsockname()[1]
        self.config.write_text(f'''
hostname = "gw.dept.gov.in"
state_dir = "{folder}/state"
rules_dir = "{self.rules}"
workers = 2
[limits]
drain = 2
[[listen]]
door = "smtp"
address = "127.0.0.1:{self.port}"
[originators]
domains = ["dept.gov.in"]
networks = ["127.0.0.0/8"]
[[route]]
domains = ["*"]
next_hop = "127.0.0.1:26"
tls = "none"
''')
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway", "run", "--only", "doors", "--parent", str(os.getpid()), "--config", str(self.config)],
                stderr=log, stdin=subprocess.DEVNULL, cwd=ROOT,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def logged(self, event: str) -> list[dict[str, Any]]:
        lines = (self.folder / "log").read_text().splitlines()
        return [row for row in (json.loads(line) for line in lines if line.startswith("{")) if row["message"] == event]

    def pids(self) -> dict[int, int]:
        """The newest process of each worker that was ready."""
        return {row["worker"]: row["process.pid"] for row in self.logged("doors.ready")}

    def end(self) -> None:
        """Kills it, if it was started."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def ready(self) -> dict[int, int]:
        wait_for(lambda: len(self.pids()) == 2)
        return self.pids()


@pytest.fixture
def doors(tmp_path: Path) -> Iterator[Doors]:
    part = Doors(tmp_path)
    yield part
    part.end()


def test_a_worker_that_dies_is_replaced_at_once_and_keeps_its_number(doors: Doors) -> None:
    doors.start()
    before = doors.ready()
    assert processes.listens(doors.pid)
    assert [entry.name for entry in Path(f"/proc/{doors.pid}/task").iterdir()] == [str(doors.pid)], "the parent has no thread"
    os.kill(before[1], signal.SIGKILL)
    killed = time.monotonic()
    after = wait_for(lambda: doors.pids() if doors.pids()[1] != before[1] else None, 2)
    assert time.monotonic() - killed < 2
    assert after[0] == before[0]
    (died,) = doors.logged("worker.died")
    assert (died["worker"], died["pid"], died["how"]) == (1, before[1], "killed by SIGKILL")
    os.kill(after[0], signal.SIGTERM)  # not what was asked of the whole
    wait_for(lambda: doors.pids()[0] != after[0], 5)
    with smtplib.SMTP("127.0.0.1", doors.port, timeout=10) as client:
        assert client.noop()[0] == 250


def test_O17_a_reload_reaches_all_workers_and_later_ones_or_none(doors: Doors) -> None:
    doors.start()
    pids = doors.ready()
    version = doors.logged("doors.ready")[0]["rules_version"]
    broken = doors.rules / "policy" / "99-broken.toml"
    broken.write_text("[[rule]]\nid = 7\n")
    os.kill(doors.pid, signal.SIGHUP)
    failed = wait_for(lambda: doors.logged("rules.reload_failed"))
    assert "99-broken.toml" in failed[0]["error.message"]
    os.kill(pids[0], signal.SIGKILL)  # while the files are wrong: the replacement has the rules of before
    wait_for(lambda: doors.pids()[0] != pids[0], 5)
    assert {row["rules_version"] for row in doors.logged("doors.ready")} == {version}
    assert {row["process.pid"] for row in failed} == {doors.pid}
    broken.unlink()
    with (doors.rules / "scheme.toml").open("a") as file:
        file.write("\n# a remark\n")
    former = doors.pids()
    os.kill(doors.pid, signal.SIGHUP)
    (reloaded,) = wait_for(lambda: doors.logged("rules.reloaded"))
    renewed = reloaded["rules_version"]
    assert renewed != version
    assert {row["rules_version"] for row in doors.logged("doors.ready")[-2:]} == {renewed}
    assert not set(former.values()) & set(doors.pids().values()), "the workers are forks of what the parent has loaded"
    wait_for(lambda: {state(pid) for pid in former.values()} == {"X"}, 5)
    before = doors.pids()
    os.kill(before[1], signal.SIGKILL)
    wait_for(lambda: doors.pids()[1] != before[1], 5)
    assert doors.logged("doors.ready")[-1]["rules_version"] == renewed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_O13_a_stop_drains_the_workers_and_ends(doors: Doors, number: signal.Signals) -> None:
    doors.start()
    pids = doors.ready()
    with smtplib.SMTP("127.0.0.1", doors.port, timeout=10) as client:
        client.ehlo("client.dept.gov.in")
        os.kill(doors.pid, number)
        assert client.getreply()[0] == 421
    assert doors.process is not None
    assert doors.process.wait(8) == 0
    assert len(doors.logged("doors.stopped")) == 2
    assert not doors.logged("worker.died")
    assert {state(pid) for pid in pids.values()} == {"X"}


def test_O13_a_worker_that_hangs_does_not_keep_the_rest(doors: Doors) -> None:
    doors.start()
    pids = doors.ready()
    os.kill(pids[1], signal.SIGSTOP)
    began = time.monotonic()
    os.kill(doors.pid, signal.SIGTERM)
    assert doors.process is not None
    assert doors.process.wait(10) == 0
    assert 2 <= time.monotonic() - began < 5
    assert [row["pid"] for row in doors.logged("worker.killed")] == [pids[1]]


def test_no_worker_outlives_its_parent(doors: Doors) -> None:
    doors.start()
    pids = doors.ready()
    os.kill(doors.pid, signal.SIGKILL)
    wait_for(lambda: {state(pid) for pid in pids.values()} <= {"X", "Z"}, 5)


def replaced_or_slowed(doors: Doors, pid: int) -> bool:
    return doors.pids()[1] != pid or bool(doors.logged("worker.crash_loop"))


def test_a_worker_that_dies_again_and_again_is_slowed_down(doors: Doors) -> None:
    doors.start()
    doors.ready()
    for _ in range(5):
        pid = doors.pids()[1]
        os.kill(pid, signal.SIGKILL)
        wait_for(functools.partial(replaced_or_slowed, doors, pid), 5)
    (loop,) = doors.logged("worker.crash_loop")
    assert (loop["worker"], loop["deaths"], loop["next_start_in_s"]) == (1, 5, 2.0)
    began = time.monotonic()
    os.kill(doors.pid, signal.SIGTERM)  # the brake does not delay the end
    assert doors.process is not None
    assert doors.process.wait(5) == 0
    assert time.monotonic() - began < 2


def test_a_port_that_is_taken_ends_the_start_with_the_reason(doors: Doors) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", doors.port))
        other.listen()
        doors.start()
        assert doors.process is not None
        assert doors.process.wait(20) == 2
    assert "another program listens there" in (doors.folder / "log").read_text()

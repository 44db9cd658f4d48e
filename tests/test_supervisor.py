"""The supervisor over stand-in processes: start order, restarts, reloads, stops. Hostile-inputs catalogue O13, O16, O17."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway import processes, reloading
from gateway.cli.link import ask
from gateway.cli.options import Stop
from gateway.config import load
from gateway.requests import Reload, Rows, Status

pytestmark = pytest.mark.slow  # whole gateways, started and ended again and again

ROOT = Path(__file__).resolve().parents[1]
DESCRIBED = {"config": {"workers": 2}, "rule": {"a": "1", "b": "1"}, "version": "sha256:1"}


def wait_for(condition: Callable[[], Any], seconds: float = 10) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("not in time")


class Running:
    """One supervisor in *folder*."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "gateway.toml"
        self.process: subprocess.Popen[bytes] | None = None
        self.write()
        self.describe(DESCRIBED)

    def write(self, *, workers: int = 2, drain: int = 5, more: str = "") -> None:
        self.config.write_text(
            f'state_dir = "{self.folder}/state"\nworkers = {workers}\n{more}\n[limits]\ndrain = {drain}\n'
            '[[listen]]\ndoor = "web"\naddress = "127.0.0.1:0"\n'
        )

    def describe(self, described: dict[str, Any]) -> None:
        (self.folder / "describe.json").write_text(json.dumps(described))

    def start(self, environment: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "tests" / "supervised.py"), str(self.config)],
            stdin=subprocess.DEVNULL,
            stderr=(self.folder / "log").open("ab"),
            env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
            start_new_session=True,
        )

    def ready(self) -> None:
        wait_for(lambda: "gateway.ready" in self.log(), 60)

    def events(self, what: str = "") -> list[list[str]]:
        with contextlib.suppress(FileNotFoundError):
            lines = [line.split() for line in (self.folder / "events").read_text().splitlines()]
            return [line for line in lines if not what or line[1] == what]
        return []

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def logged(self, event: str) -> list[dict[str, Any]]:
        return [row for row in map(json.loads, filter(None, self.log().splitlines())) if row["message"] == event]

    def pids(self) -> dict[str, int]:
        return {line[2]: int(line[3]) for line in self.events("start")}

    def send(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def ask(self, request: Any) -> Rows:
        answer, _ = ask(load(self.config), self.config, request, socket="supervisor.sock")
        assert isinstance(answer, Rows)
        return answer


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    part = Running(tmp_path)
    yield part
    if part.process is not None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(part.process.pid, signal.SIGKILL)
        part.process.wait()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_keeper_starts_first_and_every_kind_runs(running: Running) -> None:
    running.start()
    running.ready()
    kinds = [line[2] for line in running.events("start")]
    assert kinds[0] == "keeper"
    assert sorted(kinds) == ["doors", "inspector", "keeper", "web"]
    assert {row["state"] for row in running.ask(Status()).rows} == {"running"}
    mode = (running.folder / "state").stat().st_mode & 0o777
    assert mode == 0o700


def test_a_process_that_is_killed_is_replaced_at_once(running: Running) -> None:
    running.start()
    running.ready()
    for kind in ("keeper", "inspector", "doors", "web"):
        before = running.pids()[kind]
        killed = time.monotonic()
        os.kill(before, signal.SIGKILL)
        wait_for(lambda kind=kind, before=before: running.pids()[kind] != before, 15)
        print(f"{kind[0]} {kind[1]}: replaced after {time.monotonic() - killed:.2f} s")
    died = running.logged("process.died")
    assert {row["how"] for row in died} == {"killed by SIGKILL"}
    assert running.process is not None
    assert running.process.poll() is None


def test_a_crash_loop_is_slowed_down_and_named_while_the_others_live(running: Running) -> None:
    (running.folder / "web-fails").write_text("7")
    running.start()
    loop = wait_for(lambda: running.logged("process.crash_loop"), 60)
    assert (loop[0]["kind"], loop[0]["how"], loop[0]["next_start_in_s"]) == ("web", "exit code 7", 2.0)
    assert running.process is not None
    assert running.process.poll() is None
    assert all(alive(pid) for kind, pid in running.pids().items() if kind != "web")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_O13_a_stop_drains_doors_first_and_the_keeper_last(running: Running, number: int) -> None:
    (running.folder / "doors-is-slow").write_text("0.5")
    running.start()
    running.ready()
    running.send(number)
    assert running.process is not None
    assert running.process.wait(10) == 0
    order = [line[2] for line in running.events("end")]
    assert order[0] == "doors"
    assert order[-1] == "keeper"
    doors_ended = max(float(line[0]) for line in running.events("end") if line[2] == "doors")
    keeper_told = next(float(line[0]) for line in running.events("term") if line[2] == "keeper")
    assert keeper_told >= doors_ended
    assert not any(alive(pid) for pid in running.pids().values())
    assert not running.logged("process.killed")


def test_O13_a_stop_is_bounded(running: Running) -> None:
    running.write(drain=1)
    (running.folder / "doors-is-slow").write_text("60")
    running.start()
    running.ready()
    began = time.monotonic()
    running.send(signal.SIGTERM)
    assert running.process is not None
    running.process.wait(40)
    assert time.monotonic() - began < 25
    assert {row["kind"] for row in running.logged("process.killed")} == {"doors"}
    assert [line[2] for line in running.events("end")][-1] == "keeper"
    assert not any(alive(pid) for pid in running.pids().values())


def test_O13_a_second_sigterm_hastens(running: Running) -> None:
    running.write(drain=30)
    (running.folder / "doors-is-slow").write_text("60")
    running.start()
    running.ready()
    running.send(signal.SIGTERM)
    wait_for(lambda: running.events("term"))
    began = time.monotonic()
    running.send(signal.SIGTERM)
    assert running.process is not None
    running.process.wait(40)
    assert time.monotonic() - began < 20
    assert "end keeper" in " ".join(word for line in running.events("end") for word in line[1:])
    assert not any(alive(pid) for pid in running.pids().values())


def test_O13_a_stop_during_the_start_leaves_nothing(running: Running) -> None:
    (running.folder / "keeper-fails").write_text("1")
    running.start()
    wait_for(lambda: running.events("start"))
    running.send(signal.SIGTERM)
    assert running.process is not None
    assert running.process.wait(10) == 0
    assert not any(alive(pid) for pid in running.pids().values())


def test_when_the_supervisor_is_killed_its_processes_end(running: Running) -> None:
    config = running.folder / "gateway.toml"
    words = ["-m", "gateway", "run", "--only", "web", "--config", str(config), "--parent"]
    script = (
        "import os, subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, *{words!r}, str(os.getpid())])\n"
        "print(child.pid, flush=True); time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    try:
        wait_for(lambda: processes.listens(pid), 20)
        parent.kill()
        parent.wait()
        wait_for(lambda: not alive(pid), 10)
    finally:
        parent.kill()
        parent.wait()
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_O16_a_second_instance_is_refused_in_plain_words(running: Running) -> None:
    running.start()
    running.ready()
    assert running.process is not None
    second = subprocess.run(
        [sys.executable, "-m", "gateway", "run", "--config", str(running.config)], capture_output=True, text=True, cwd=ROOT, timeout=20
    )
    assert second.returncode == 1
    assert second.stderr.strip().splitlines()[-1] == (
        f"gateway: another gateway (process {running.process.pid}) runs on {running.folder}/state; stop it first"
    )
    assert len(running.events("start")) == 4


def test_O17_a_config_that_does_not_load_keeps_it_from_starting(running: Running) -> None:
    (running.folder / "describe-fails").write_text("/rules/policy/00.toml:7: rule.when: unknown fact")
    running.start()
    assert running.process is not None
    assert running.process.wait(20) == 2
    assert "cannot run: /rules/policy/00.toml:7: rule.when: unknown fact" in running.log()
    assert running.events("start") == []


def test_a_keeper_that_cannot_use_its_config_ends_the_start(running: Running) -> None:
    (running.folder / "keeper-fails").write_text("2")
    running.start()
    assert running.process is not None
    assert running.process.wait(20) == 2
    assert {line[2] for line in running.events("start")} == {"keeper"}


def test_a_reload_of_rules_reaches_every_process(running: Running) -> None:
    running.start()
    running.ready()
    running.describe({"config": {"workers": 2}, "rule": {"a": "2", "c": "1"}, "version": "sha256:2"})
    rows = running.ask(Reload()).rows
    changes = [(row["what"], row["name"], row["change"]) for row in rows]
    assert changes == [("rule", "a", "changed"), ("rule", "b", "removed"), ("rule", "c", "added"), ("rules_version", "", "changed")]
    wait_for(lambda: len(running.events("hup")) == 4)
    assert len(running.events("start")) == 4


def test_O17_a_reload_that_fails_changes_nothing_and_says_where(running: Running) -> None:
    running.start()
    running.ready()
    (running.folder / "describe-fails").write_text("/rules/policy/00.toml:9: rule.then: must be one of …")
    with pytest.raises(Stop) as failed:
        running.ask(Reload())
    assert (failed.value.code, str(failed.value)) == (2, "/rules/policy/00.toml:9: rule.then: must be one of …")
    running.send(signal.SIGHUP)
    wait_for(lambda: len(running.logged("rules.reload_failed")) == 2)
    running.config.write_text("workers = 0\n")
    running.send(signal.SIGHUP)
    failed_config = wait_for(lambda: running.logged("config.reload_failed"))
    assert f"{running.config}:1: workers" in failed_config[0]["reason"]
    assert running.events("hup") == []
    assert len(running.events("start")) == 4


@pytest.mark.parametrize("kind", ["doors", "keeper"])
def test_O17_a_reload_ends_with_what_doors_and_keeper_say(running: Running, kind: str) -> None:
    running.start()
    running.ready()
    running.describe({"config": {"workers": 2}, "rule": {"a": "2"}, "version": "sha256:2"})
    (running.folder / f"{kind}-takes-nothing").write_text("127.0.0.1:25: address already in use")
    for _ in range(2):
        with pytest.raises(Stop) as failed:
            running.ask(Reload())
        assert failed.value.code == 2
        assert f"{kind}: the reload was not taken here" in str(failed.value) and "address already in use" in str(failed.value)
    (running.folder / f"{kind}-takes-nothing").unlink()
    assert ("rule", "a", "changed") in [(row["what"], row["name"], row["change"]) for row in running.ask(Reload()).rows]
    assert not list((running.folder / "state/run").glob("*reload-*"))


def test_O17_the_state_folder_cannot_move_under_a_running_gateway(running: Running) -> None:
    running.start()
    running.ready()
    config = load(running.config)
    running.config.write_text(running.config.read_text().replace("/state", "/elsewhere"))
    with pytest.raises(Stop) as failed:
        ask(config, running.config, Reload(), socket="supervisor.sock")
    assert "state_dir: cannot change while the gateway runs" in str(failed.value)


def test_a_reload_of_the_config_replaces_the_processes_one_by_one(running: Running) -> None:
    running.start()
    running.ready()
    old = running.pids()
    running.write(workers=3)
    running.describe(DESCRIBED | {"config": {"workers": 3}})
    rows = running.ask(Reload()).rows
    assert rows == ({"what": "config", "name": "workers", "change": "changed", "before": 2, "after": 3},)
    new = running.pids()
    doors = old.pop("doors")
    assert all(new[kind] != old[kind] for kind in old)
    assert not any(alive(pid) for pid in old.values())
    assert all(alive(pid) for pid in new.values())
    # The doors hold the sockets: they take the config themselves, so that nobody who waits in a queue is lost.
    assert new["doors"] == doors
    assert [line[2] for line in running.events("hup")] == ["doors"]


def test_systemd_is_told(running: Running, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        address = str(tmp_path / "notify")
        sock.bind(address)
        sock.settimeout(20)
        running.start({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "200000"})
        assert sock.recv(200).startswith(b"READY=1")
        assert sock.recv(200) == b"WATCHDOG=1"
        assert sock.recv(200) == b"WATCHDOG=1"
        running.send(signal.SIGTERM)
        while (word := sock.recv(200)) == b"WATCHDOG=1":
            pass
        assert word == b"STOPPING=1"


def test_no_secret_and_little_else_reaches_a_child(running: Running) -> None:
    running.start({"MY_SECRET": "x", "NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "7"})
    running.ready()
    for pid in running.pids().values():
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        assert b"MY_SECRET" not in environment
        assert b"NOTIFY_SOCKET=@gateway-" in environment, "what it says is for the supervisor, not for systemd"
        assert b"WATCHDOG_USEC=7\0" not in environment
        assert str(ROOT).encode() in environment


def test_python_with_o_is_refused() -> None:
    done = subprocess.run([sys.executable, "-O", "-m", "gateway", "run"], capture_output=True, text=True, cwd=ROOT, timeout=20)
    assert done.returncode == 2
    assert "-O" in done.stderr


def test_differences_name_every_change() -> None:
    assert reloading.differences(DESCRIBED, DESCRIBED) == []
    changed = reloading.differences({"config": {"a": 1, "b": None}}, {"config": {"b": None, "c": None}})
    assert [(row["name"], row["change"]) for row in changed] == [("a", "removed"), ("c", "added")]

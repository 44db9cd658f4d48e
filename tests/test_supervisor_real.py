"""The real gateway under its supervisor: each kind of process killed and seen replaced, mail before and after, a clean stop."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from gateway import processes
from tests.e2e.parts import Gateway, Hop, running, wait_for

pytestmark = pytest.mark.slow

SENDER, DESK = "officer@dept.gov.in", "desk@finance.nic.in"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    hop = Hop(tmp_path_factory.mktemp("hop"))
    part = Gateway(tmp_path_factory.mktemp("gw"), hop.port, extra="[limits]\nfree_disk = 0\ndrain = 3\n")
    with running(hop, part):
        yield part


def send(gateway: Gateway) -> bool:
    import smtplib

    with contextlib.suppress(OSError), smtplib.SMTP("127.0.0.1", gateway.port, timeout=10) as client:
        client.sendmail(SENDER, [DESK], b"Subject: note\r\n\r\nText.\r\n")
        return True
    return False


def children(pid: int) -> dict[str, int]:
    """Pids of the supervisor's children by kind, from /proc: no start of an interpreter in what is timed."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (entry / "stat").read_text()
                words = (entry / "cmdline").read_bytes().decode().split("\0")
                if int(stat[stat.rindex(")") + 2 :].split()[1]) == pid and "--only" in words:
                    found[words[words.index("--only") + 1]] = int(entry.name)
    return found


@pytest.mark.parametrize("kind", ["keeper", "inspector", "doors", "web"])
def test_a_killed_process_is_replaced_at_once_and_mail_goes_on(gateway: Gateway, kind: str) -> None:
    assert gateway.process is not None
    supervisor = gateway.process.pid
    wait_for(lambda: len(children(supervisor)) == 4, 30, "all four processes run")
    old = children(supervisor)[kind]
    os.kill(old, signal.SIGKILL)
    killed = time.monotonic()
    wait_for(lambda: children(supervisor).get(kind, old) != old, 15, f"{kind} is replaced")
    print(f"{kind}: replaced after {time.monotonic() - killed:.2f} s")
    new = children(supervisor)[kind]
    wait_for(lambda: processes.listens(new), 30, f"{kind} listens again")
    wait_for(lambda: send(gateway), 30, "mail is taken again")
    assert gateway.process.poll() is None


def test_readiness_follows_the_keeper(gateway: Gateway) -> None:
    def health() -> int:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"http://127.0.0.1:{gateway.web_port}/readyz", timeout=15).status_code
        return 0

    assert gateway.process is not None
    wait_for(lambda: health() == 200, 30, "healthy")
    keeper = children(gateway.process.pid)["keeper"]
    os.kill(keeper, signal.SIGSTOP)
    try:
        assert health() == 503
    finally:
        os.kill(keeper, signal.SIGCONT)
    wait_for(lambda: health() == 200, 30, "healthy again")


def test_O16_a_second_gateway_on_the_same_state_is_refused(gateway: Gateway) -> None:
    done = gateway.cli("run", check=False)
    assert done.returncode == 1
    assert "another gateway (process" in done.stderr
    alone = gateway.cli("run", "--only", "keeper", check=False)
    assert alone.returncode == 2
    assert "in use by another keeper" in alone.stderr
    assert send(gateway)


def test_O17_a_rule_with_a_mistake_is_refused_and_the_old_rules_stay(gateway: Gateway) -> None:
    before = gateway.records("status")
    config = gateway.config.read_text()
    gateway.config.write_text("workers = 0\n" + config)
    try:
        done = gateway.cli("reload", check=False)
    finally:
        gateway.config.write_text(config)
    assert done.returncode == 2
    assert f"{gateway.config}:" in done.stderr
    assert [row["pid"] for row in gateway.records("status")] == [row["pid"] for row in before]
    assert send(gateway)


def test_O17_a_port_that_is_taken_is_said_by_the_reload(gateway: Gateway) -> None:
    config = gateway.config.read_text()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        gateway.config.write_text(f'{config}\n[[listen]]\ndoor = "smtp"\naddress = "127.0.0.1:{port}"\n')
        try:
            done = gateway.cli("reload", check=False)
        finally:
            gateway.config.write_text(config)
    assert done.returncode == 2
    assert "doors: the reload was not taken here" in done.stderr and str(port) in done.stderr
    assert send(gateway)
    assert gateway.cli("reload").returncode == 0


def test_a_change_of_the_config_closes_the_port_at_no_time(gateway: Gateway) -> None:
    assert gateway.process is not None
    supervisor = gateway.process.pid
    old = children(supervisor)["doors"]
    gateway.config.write_text(gateway.config.read_text().replace("workers = 2", "workers = 3"))
    refused, connected, over = list[float](), list[float](), threading.Event()

    def knock() -> None:
        while not over.wait(0.01):
            try:
                socket.create_connection(("127.0.0.1", gateway.port), 5).close()
                connected.append(time.monotonic())
            except (ConnectionRefusedError, ConnectionResetError):
                refused.append(time.monotonic())

    thread = threading.Thread(target=knock)
    thread.start()
    try:
        gateway.cli("reload")
        wait_for(
            lambda: len([line for line in gateway.processes().values() if "--only doors" in line]) == 4,
            30,
            "three workers and their parent",
        )
    finally:
        over.set()
        thread.join()
    assert children(supervisor)["doors"] == old, "the process that holds the sockets stays"
    assert connected
    assert not refused
    assert send(gateway)


def test_O13_sigterm_ends_all_within_the_drain_time(gateway: Gateway) -> None:
    assert gateway.process is not None
    pids = [*gateway.processes()]
    assert len(pids) >= 7  # two of them workers of the doors
    began = time.monotonic()
    gateway.process.terminate()
    assert gateway.process.wait(60) == 0
    assert time.monotonic() - began < 30
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), 5, "no process is left")
    log = (gateway.folder / "gateway.log").read_text()
    assert "process.killed" not in log

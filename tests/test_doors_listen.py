"""Listening addresses, the sharing of sessions and memory, and one whole door process."""

from __future__ import annotations

import os
import signal
import smtplib
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway import systemd
from gateway.config import ConfigError, Limits
from gateway.doors import listen
from gateway.doors.limits import Budget, Callers, Networks, plain_ip


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0.0.0.0:25", listen.Address("tcp", "0.0.0.0", 25)),
        ("localhost:10025", listen.Address("tcp", "localhost", 10025)),
        ("[::1]:25", listen.Address("tcp", "::1", 25)),
        ("unix:/run/x.sock", listen.Address("unix", name="/run/x.sock")),
        ("systemd:smtp", listen.Address("systemd", name="smtp")),
    ],
)
def test_addresses(text: str, address: listen.Address) -> None:
    assert listen.parse(text) == address
    assert str(address) == text


@pytest.mark.parametrize("text", ["", "25", ":25", "host:", "host:x", "host:70000", "::1:25", "unix:", "unix:relative", "systemd:", "h:٢٥"])
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match=r"listen\.address"):
        listen.parse(text)


def test_workers_share_a_port_and_others_do_not_get_it() -> None:
    (first,) = listen.sockets(listen.parse("127.0.0.1:0"))
    port = first.getsockname()[1]
    (second,) = listen.sockets(listen.parse(f"127.0.0.1:{port}"), 1)
    first.close()
    second.close()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(ConfigError, match="another program listens there"):
            listen.sockets(listen.parse(f"127.0.0.1:{other.getsockname()[1]}"))
    with pytest.raises(ConfigError, match="does not have that address"):
        listen.sockets(listen.parse("192.0.2.1:2525"))


def test_unix_sockets(tmp_path: Path) -> None:
    address = listen.parse(f"unix:{tmp_path}/door.sock")
    (first,) = listen.sockets(address)
    first.close()
    (again,) = listen.sockets(address)  # a stale one is replaced
    again.close()
    assert listen.sockets(address, 1) == []
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match="no socket"):
        listen.sockets(listen.parse(f"unix:{tmp_path}/file"))
    assert (tmp_path / "file").read_text() == "mine"


def test_systemd_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.setenv("LISTEN_FDNAMES", "smtp")
    monkeypatch.setenv("LISTEN_PID", "1")
    with pytest.raises(ConfigError, match="no socket of that name"):
        listen.sockets(listen.parse("systemd:smtp"))
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    with pytest.raises(ConfigError, match="no socket of that name"):
        listen.sockets(listen.parse("systemd:other"))
    with socket.socket() as passed:
        passed.bind(("127.0.0.1", 0))
        passed.listen()
        monkeypatch.setattr(systemd, "FIRST_DESCRIPTOR", passed.fileno())
        (sock,) = listen.sockets(listen.parse("systemd:smtp"))
        assert sock.getsockname() == passed.getsockname()
        sock.close()


def test_S23_callers() -> None:
    limits = Limits(connections_per_ip=2, connections_per_minute=3, connections_listed=4)
    callers = Callers()
    assert [bool(callers.enter("192.0.2.1", False, limits, 0.0)) for _ in range(4)] == [False, False, True, True]
    assert not callers.enter("192.0.2.2", False, limits, 0.0)
    callers.leave("192.0.2.1", False)
    assert callers.enter("192.0.2.1", False, limits, 59.0)  # of this minute there were enough
    assert not callers.enter("192.0.2.1", False, limits, 61.0)
    assert not callers.enter("2001:db8::1", False, limits, 61.0)
    assert not callers.enter("2001:db8::2", False, limits, 61.0)
    assert callers.enter("2001:db8:0:0:ffff::3", False, limits, 61.0)  # one /64 is one stranger
    assert not callers.enter("2001:db8:0:1::3", False, limits, 61.0)
    assert [bool(callers.enter("10.0.0.1", True, limits, 0.0)) for _ in range(5)] == [False] * 4 + [True]


def test_networks() -> None:
    networks = Networks(("10.0.0.0/8", "2001:db8::/32"))
    assert "10.1.2.3" in networks
    assert "2001:db8::7" in networks
    assert "11.1.2.3" not in networks
    assert "nonsense" not in networks
    assert plain_ip("::ffff:10.1.2.3") == "10.1.2.3"
    assert plain_ip("fe80::1%eth0") == "fe80::1"


def test_the_budget_serves_in_order() -> None:
    budget, served = Budget(100), list[str]()
    assert budget.take(90)
    assert not budget.take(20)

    def large() -> None:
        served.append("large")

    def small() -> None:
        served.append("small")

    budget.wait(50, large)
    budget.wait(5, small)
    assert not budget.take(1)  # nobody overtakes
    budget.give(30)
    assert served == []
    budget.give(30)
    assert served == ["large", "small"]
    assert budget.used == 85
    budget.wait(50, large)
    budget.wait(10, small)
    budget.stop_waiting(large)
    assert served == ["large", "small", "small"]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.mark.slow
def test_O13_O17_a_door_process_without_its_keeper(tmp_path: Path) -> None:
    """It answers 4xx and keeps running; a reload that fails changes nothing and says why; SIGTERM ends it."""
    port = free_port()
    rules = tmp_path / "rules"
    shipped = Path(__file__).parents[1] / "rules"
    subprocess.run(["cp", "-r", shipped, rules], check=True)
    config = tmp_path / "gateway.toml"
    config.write_text(f'''
hostname = "gw.dept.gov.in"
state_dir = "{tmp_path}/state"
rules_dir = "{rules}"
[[listen]]
door = "smtp"
address = "127.0.0.1:{port}"
[originators]
domains = ["dept.gov.in"]
networks = ["127.0.0.0/8"]
[[route]]
domains = ["*"]
next_hop = "127.0.0.1:26"
tls = "none"
''')
    (tmp_path / "state" / "run").mkdir(parents=True)
    code = (
        "import sys, pathlib\nfrom gateway import config\nfrom gateway.doors import service\n"
        "p = pathlib.Path(sys.argv[1])\nservice.run(config.load(p), 0, p)\n"
    )
    with (tmp_path / "log").open("wb") as log:
        door = subprocess.Popen([sys.executable, "-c", code, str(config)], stderr=log)

    def logged(word: str) -> str:
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline and door.poll() is None:
            found = [line for line in (tmp_path / "log").read_text().splitlines() if word in line]
            if found:
                return found[-1]
            time.sleep(0.05)
        raise AssertionError(f"{word} was not logged: {(tmp_path / 'log').read_text()}")

    try:
        logged("doors.ready")
        with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
            with pytest.raises(smtplib.SMTPDataError) as refused:
                client.sendmail("a@dept.gov.in", ["b@gov.in"], "Subject: x\r\n\r\nhello\r\n")
            assert refused.value.smtp_code == 451
            assert b"keeper" not in refused.value.smtp_error
            assert client.noop()[0] == 250
            config.write_text(config.read_text() + "wrong = 1\n")
            door.send_signal(signal.SIGHUP)
            assert "gateway.toml:" in logged("config.reload_failed")
            config.write_text(config.read_text().replace("wrong = 1\n", ""))
            next(iter(sorted((rules / "policy").glob("*.toml")))).write_text("[[rule]]\nid = 7\n")
            door.send_signal(signal.SIGHUP)
            assert ".toml" in logged("rules.reload_failed")
            assert client.noop()[0] == 250
            door.send_signal(signal.SIGTERM)
            assert client.getreply()[0] == 421
        assert door.wait(10) == 0
        assert "doors.stopped" in (tmp_path / "log").read_text()
    finally:
        door.kill()
        door.wait()

"""Who may connect to which socket, what systemd passes, and what it is told. Hostile-inputs catalogue P24, O25."""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import rights, systemd
from gateway.config import ConfigError
from gateway.ipc import Credentials

IDS = {"gateway-keeper": 901, "gateway-inspect": 902, "gateway-doors": 903, "gateway-web": 904, "alice": 1001, "bob": 1002}


@pytest.fixture
def system_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """The users of the units, and two people of whom alice administrates."""

    def user(name: str) -> pwd.struct_passwd:
        return pwd.struct_passwd((name, "x", IDS[name], IDS[name], "", "/", "/bin/false"))

    def by_number(uid: int) -> pwd.struct_passwd:
        return user(next(name for name, number in IDS.items() if number == uid) if uid in IDS.values() else "nobody")

    monkeypatch.setattr(pwd, "getpwnam", user)
    monkeypatch.setattr(pwd, "getpwuid", by_number)
    monkeypatch.setattr(grp, "getgrnam", lambda name: grp.struct_group((name, "x", 950, ["alice"])))


def admits(server: str, client: str) -> set[int]:
    test = rights.admitted(server, client)
    return {uid for uid in (0, *IDS.values(), 65534) if test(Credentials(1, uid, uid))}


def test_P24_with_own_users_each_socket_admits_exactly_its_client(system_users: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 901)
    assert admits("keeper", "doors") == {903}
    assert admits("keeper", "web") == {904}
    assert admits("keeper", "admin") == {0, 1001}
    monkeypatch.setattr(os, "geteuid", lambda: 902)
    assert admits("inspector", "doors") == {903}
    assert admits("inspector", "keeper") == {901}


def test_P24_with_one_user_only_that_user_and_root_are_admitted(system_users: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the users of the units exist: another gateway of the machine may run as them."""
    monkeypatch.setattr(os, "geteuid", lambda: 1001)
    for server, client in (("keeper", "doors"), ("keeper", "web"), ("keeper", "admin"), ("inspector", "doors")):
        assert admits(server, client) == {0, 1001}


def test_P24_in_a_user_namespace_of_its_own_a_peer_looks_like_nobody(system_users: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 902)
    monkeypatch.setattr(Path, "read_text", lambda *_: "0 0 1\n902 902 1\n")
    assert admits("inspector", "doors") == {65534}


def test_a_system_without_the_client_admits_nobody(system_users: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 901)

    def missing(name: str) -> pwd.struct_passwd:
        if name == "gateway-web":
            raise KeyError(name)
        return pwd.struct_passwd((name, "x", IDS[name], IDS[name], "", "/", "/bin/false"))

    monkeypatch.setattr(pwd, "getpwnam", missing)
    assert admits("keeper", "web") == set()


def test_credentials_have_a_name_and_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert systemd.secret(Path("/etc/key.pem")) == Path("/etc/key.pem")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(ConfigError, match="LoadCredential"):
        systemd.secret(Path("credential:tls-key"))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert systemd.secret(Path("credential:tls-key")) == tmp_path / "tls-key"
    for wrong in ("credential:", "credential:..", "credential:../x", "credential:a/b"):
        with pytest.raises(ConfigError, match="no name of a credential"):
            systemd.secret(Path(wrong))


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield sock


async def test_O25_no_sign_of_life_while_the_event_loop_is_blocked(heard: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    heard.setblocking(False)
    signs = asyncio.create_task(systemd.alive())

    def count() -> int:
        number = 0
        try:
            while heard.recv(100) == b"WATCHDOG=1":
                number += 1
        except BlockingIOError:
            pass
        return number

    await asyncio.sleep(0.4)
    assert count() >= 4
    time.sleep(0.4)  # noqa: ASYNC251 - a loop that does not turn
    assert count() == 0
    await asyncio.sleep(0.12)
    assert count() >= 1
    signs.cancel()


def test_signs_of_life_are_only_for_whom_systemd_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    assert systemd.watchdog() == 0
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    assert systemd.watchdog() == 15
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert systemd.watchdog() == 0
    monkeypatch.setenv("WATCHDOG_USEC", "soon")
    assert systemd.watchdog() == 0


def test_what_is_said_at_a_reload(heard: socket.socket) -> None:
    systemd.reloading()
    systemd.ready("Done – again.")
    systemd.stopping()
    assert heard.recv(200).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
    assert heard.recv(200) == "READY=1\nSTATUS=Done – again.".encode()
    assert heard.recv(200).startswith(b"STOPPING=1")


def test_decisions_go_to_the_journal_as_lines_and_never_wait(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "journal"))
        sock.setblocking(False)
        monkeypatch.setattr(systemd, "JOURNAL", str(tmp_path / "journal"))
        monkeypatch.delenv("JOURNAL_STREAM", raising=False)
        assert systemd.journal(["{}"], "gateway-decision") == 0
        with pytest.raises(BlockingIOError):
            sock.recv(100)  # not under systemd
        monkeypatch.setenv("JOURNAL_STREAM", "8:1")
        assert systemd.journal(['{"a": 1}'], "gateway-decision") == 0
        assert sock.recv(200) == b'MESSAGE={"a": 1}\nPRIORITY=6\nSYSLOG_IDENTIFIER=gateway-decision\n'
        assert systemd.journal(["x"] * 5000, "gateway-decision") > 0  # nobody reads


def test_sockets_that_nobody_names_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("LISTEN_PID", str(os.getpid())), ("LISTEN_FDS", "3"), ("LISTEN_FDNAMES", "smtp:smtps:web")):
        monkeypatch.setenv(name, value)
    assert systemd.passed() == {3: "smtp", 4: "smtps", 5: "web"}
    assert systemd.unnamed({"smtp", "web", "127.0.0.1:25"}) == ["smtps"]
    monkeypatch.setenv("LISTEN_PID", "1")
    assert systemd.passed() == {}


@pytest.mark.parametrize("only", [True, pytest.param(False, marks=pytest.mark.service)], ids=["doors-alone", "under-the-supervisor"])
@pytest.mark.slow
def test_sockets_of_systemd_reach_the_doors(tmp_path: Path, only: bool) -> None:
    """As systemd starts a service: the sockets from descriptor 3 on, LISTEN_PID the process itself."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        (tmp_path / "gateway.toml").write_text(
            f'state_dir = "{tmp_path}/state"\n[[listen]]\ndoor = "smtp"\naddress = "systemd:smtp"\n'
            '[originators]\nnetworks = ["127.0.0.0/8"]\n[limits]\ndrain = 1\n'
        )
        starter = (
            "import os,sys\nos.dup2(int(sys.argv[1]), 3, inheritable=True)\n"
            "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='smtp')\n"
            "os.execv(sys.executable, [sys.executable, '-m', 'gateway', 'run', *sys.argv[2:]])\n"
        )
        words = ["--only", "doors"] if only else []
        with (tmp_path / "log").open("wb") as log:
            gateway = subprocess.Popen(
                [sys.executable, "-c", starter, str(sock.fileno()), "--config", str(tmp_path / "gateway.toml"), *words],
                pass_fds=(sock.fileno(),), stderr=log, cwd=Path(__file__).parents[1],
            )  # fmt: skip
        try:
            with socket.create_connection(sock.getsockname(), 60) as client:
                client.settimeout(60)
                assert client.recv(100).startswith(b"220 "), (tmp_path / "log").read_text()
        finally:
            gateway.terminate()
            gateway.wait(20)

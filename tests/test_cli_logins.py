"""``gateway logins``, and what ``gateway check`` says of sign-in."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gateway import requests
from gateway.cli import invoke, logins
from gateway.cli.options import Stop
from gateway.config import Config, load
from gateway.reply import Reply
from gateway.signin import passwords
from tests.faces import FakeKeeper, config_file
from tests.test_hop_auth import AuthHop, certificates, server_context
from tests.test_logins import FILE, HASH, LOGIN, SECRET, write

__all__ = ["certificates"]
Capture = pytest.CaptureFixture[str]


def piped(monkeypatch: pytest.MonkeyPatch, octets: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(octets)))


def with_logins(tmp_path: Path, text: str = FILE, extra: str = "") -> Path:
    path = write(tmp_path, text)
    return config_file(tmp_path, f'[submission]\nlogins = "{path}"\n{extra}')


@pytest.mark.parametrize("words", ["hash", "check", "list", "test"])
def test_help(words: str, capsys: Capture) -> None:
    assert invoke(["logins", words, "--help"]) == 0
    assert "--config" in capsys.readouterr().out


def test_a_hash_is_made_from_stdin(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    piped(monkeypatch, f"{SECRET}\r\nmore\n".encode())
    assert invoke(["logins", "hash"]) == 0
    out, err = capsys.readouterr()
    assert passwords.verify(out.strip(), SECRET.encode())
    assert SECRET not in out + err


@pytest.mark.parametrize("octets", [b"", b"\n", b"\xff\n", b"x" * 5000])
def test_no_hash_is_made_of_nothing(monkeypatch: pytest.MonkeyPatch, octets: bytes) -> None:
    piped(monkeypatch, octets)
    with pytest.raises(Stop):
        logins.password(twice=True)


def on_a_terminal(first: str, second: str) -> tuple[int, str]:
    """Exit code and everything the terminal showed, echo included."""
    mine, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "logins", "hash"], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        cwd=Path(__file__).parents[1],
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    for prompt, answer in ((b"Password: ", first), (b"Once more: ", second)):
        end = time.monotonic() + 20
        while not shown.endswith(prompt) and time.monotonic() < end:
            shown += os.read(mine, 1000)
        os.write(mine, answer.encode() + b"\n")
    try:
        while chunk := os.read(mine, 1000):
            shown += chunk
    except OSError:
        pass  # the other end is closed
    os.close(mine)
    return process.wait(20), shown.decode()


def test_a_password_is_typed_twice_and_never_seen() -> None:
    code, shown = on_a_terminal("correct horse", "correct horse")
    assert code == 0
    assert "$argon2id$" in shown
    assert "horse" not in shown


def test_two_passwords_that_differ_make_no_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    typed = iter(["correct horse", "correct house"])
    monkeypatch.setattr("getpass.getpass", lambda _: next(typed))
    monkeypatch.setattr(sys, "stdin", type("Terminal", (), {"isatty": lambda _: True})())
    with pytest.raises(Stop, match="not the same"):
        logins.password(twice=True)


def test_check_names_the_line(tmp_path: Path, capsys: Capture) -> None:
    config = with_logins(tmp_path, LOGIN + "colour = 1\n")
    assert invoke(["logins", "check", "--config", str(config)]) == 2
    assert f"{tmp_path}/logins.toml:4: login.0.colour: unknown key" in capsys.readouterr().err
    doors = [one for one in logins.findings(load(config), offline=True) if one.state == "wrong"]
    assert ["toml:4" in one.text for one in doors] == [True]
    assert invoke(["logins", "check", str(tmp_path / "nowhere"), "--config", str(config)]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_check_of_a_good_file(tmp_path: Path, capsys: Capture) -> None:
    config = with_logins(tmp_path, extra='[[application]]\nname = "otp"\nlogins = ["nobody"]\nsenders = ["a@b.in"]\n')
    path = write(tmp_path, FILE.replace('"eoffice"', '"eoffice@dept.gov.in"'))
    assert invoke(["logins", "check", str(path), "--config", str(config)]) == 0
    out = capsys.readouterr().out
    assert "3 logins, 1 mailboxes" in out
    assert "application otp: there is no login nobody" in out
    assert "@cell.dept.gov.in is not of originators.domains" in out


def test_list_says_who_may_send_as_whom(tmp_path: Path, capsys: Capture) -> None:
    boxes = '[[mailbox]]\naddress = "m@dept.gov.in"\nlogins = ["a@dept.gov.in"]\n'
    config = with_logins(tmp_path, LOGIN + 'networks = ["10.0.0.0/8"]\n' + boxes)
    assert invoke(["logins", "list", "--json", "--config", str(config)]) == 0
    out = capsys.readouterr().out
    assert json.loads(out) == {
        "login": "a@dept.gov.in", "senders": ["a@dept.gov.in", "m@dept.gov.in"], "mailboxes": ["m@dept.gov.in"], "applications": [],
        "networks": ["10.0.0.0/8"], "department": "",
    }  # fmt: skip
    assert HASH not in out
    assert invoke(["logins", "list", "--config", str(config)]) == 0
    assert "m@dept.gov.in" in capsys.readouterr().out


@pytest.mark.parametrize(("reply", "code"), [(Reply(235, "2.7.0", "Signed in"), 0), (Reply(535, "5.7.8", "no"), 1)])
def test_test_asks_the_running_gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, reply: Reply, code: int) -> None:
    config = with_logins(tmp_path)
    piped(monkeypatch, SECRET.encode())
    fake = FakeKeeper({requests.Authenticate: requests.Authenticated(reply, "a@dept.gov.in", ("a@dept.gov.in",) if not code else ())})
    words = ["logins", "test", "a@dept.gov.in", "--client-ip", "10.0.0.9", "--config", str(config)]
    with fake.serving((tmp_path / "state" / "run" / "keeper-admin.sock", requests.AdminRequest)):
        assert invoke(words) == code
    (asked,) = fake.asked
    assert (asked.password, asked.client_ip, asked.door) == (SECRET, "10.0.0.9", "test")
    out = capsys.readouterr().out
    assert str(reply) in out
    assert ("may send as: a@dept.gov.in" in out) is (code == 0)
    assert invoke(["logins", "test", "a", "--client-ip", "here", "--config", str(config)]) == 2


def findings(config: Config) -> list[tuple[str, str]]:
    return [(one.state, one.text) for one in logins.findings(config, offline=False)]


async def test_check_says_what_the_next_hop_offers(certificates: Path) -> None:
    import asyncio

    submission: dict[str, Any] = {"check": "next-hop", "tls_ca": certificates / "ca.pem", "tls_name": "hop.test"}

    def config(port: int) -> Config:
        return Config(
            hostname="gw.dept.gov.in", listen=({"door": "submission", "address": "127.0.0.1:1587"},),
            originators={"domains": ("dept.gov.in",)}, submission=submission | {"next_hop": f"127.0.0.1:{port}"},
        )  # fmt: skip

    async with AuthHop(server_context(certificates, "good")) as hop:
        ((state, text),) = await asyncio.to_thread(findings, config(hop.port))
        assert state == "ok"
        assert "AUTH LOGIN PLAIN over TLSv1.3" in text
        hop.mechanisms = "AUTH GSSAPI"
        ((state, text),) = await asyncio.to_thread(findings, config(hop.port))
        assert (state, "offers neither" in text) == ("wrong", True)
    ((state, text),) = await asyncio.to_thread(findings, config(1))
    assert (state, "could not be reached" in text) == ("wrong", True)
    async with AuthHop(server_context(certificates, "self")) as hop:
        ((state, text),) = await asyncio.to_thread(findings, config(hop.port))
        assert (state, "certificate was not accepted" in text) == ("wrong", True)


def test_check_without_any_submission_says_nothing() -> None:
    assert findings(Config()) == []
    door = {"door": "submission", "address": "127.0.0.1:1587"}
    ((state, text),) = findings(Config(listen=(door,)))
    assert (state, "names no file" in text) == ("wrong", True)

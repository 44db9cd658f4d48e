"""The web process itself: what machines ask it, which addresses may come by which listener, and that it serves,
reloads and ends. Ids are those of the catalogue."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway import ipc, requests, review
from gateway.config import Config
from gateway.web import admission
from gateway.web.application import application
from tests.faces import FakeKeeper, config_file, keeper_for_web, signed_in, web_client


@pytest.mark.parametrize(
    ("answer", "code", "reason"),
    [
        (requests.Rows(({"ready": True, "lacks": ""},)), 200, None),
        (requests.Rows(({"ready": False, "lacks": "the queue is nearly full"},)), 503, "the queue is nearly full"),
        (requests.Failed("/var/lib/gateway: disk full", 3), 503, "the store cannot be written"),
        (requests.Rows(({},)), 503, ""),
    ],
)
async def test_the_node_is_ready_when_the_keeper_says_so_and_the_process_lives_all_the_same(
    answer: Any, code: int, reason: str | None
) -> None:
    web = web_client(FakeKeeper({requests.Health: answer}))
    ready = await web.get("/readyz")
    assert ready.status_code == code
    assert ready.json().get("reason") == reason
    assert (await web.get("/healthz")).status_code == 200


async def test_without_a_keeper_the_node_is_not_ready_and_the_pages_say_so() -> None:
    web = signed_in(keeper := keeper_for_web())

    def gone(_: Any) -> Any:
        raise ipc.ChannelError("keeper-web.sock: No such file")

    keeper.answers.update(dict.fromkeys((requests.Health, review.FindHeld, review.WhoAmI, review.SignInWays), gone))
    assert (await web.get("/readyz")).json() == {"status": "not ready", "reason": "the keeper does not answer"}
    for path in ("/", "/login"):
        page = await web.get(path)
        assert page.status_code == 503
        assert "sock" not in page.text


def listening(*hosts: str) -> list[socket.socket]:
    made = []
    for host in hosts:
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        sock.bind((host, 0))
        made.append(sock)
    return made


@pytest.mark.parametrize(
    ("client", "near", "status"),
    [
        (("10.1.2.3", 5), 0, 200),
        (("::ffff:10.1.2.3", 5), 0, 200),
        (("192.0.2.7", 5), 0, 403),
        (("2001:db8::1", 5), 0, 403),
        (("192.0.2.7", 5), 1, 200),  # the other listener is open to all
        (("10.1.2.3", 5), 2, 200),  # all addresses of this machine
        (("192.0.2.7", 5), 2, 403),
        (("10.1.2.3", 5), None, 403),  # a listener that nobody knows
        (None, 0, 403),
    ],
)
async def test_R5_a_listener_with_networks_is_for_those(client: Any, near: int | None, status: int) -> None:
    socks = listening("127.0.0.1", "127.0.0.1", "0.0.0.0")  # noqa: S104
    gate = admission.Admission(zip(socks, (("10.0.0.0/8",), (), ("10.0.0.0/8",)), strict=True))
    here = ("127.0.0.1", 1) if near is None else ("127.0.0.1", socks[near].getsockname()[1])
    app = application(Config(hostname="gw.dept.gov.in"), keeper_for_web().ask, admission=gate)

    async def placed(scope: Any, receive: Any, send: Any) -> None:
        await app(dict(scope) | {"server": here, "client": client}, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=placed), base_url="http://gw") as web:
        answer = await web.get("/login", headers={"x-forwarded-for": "10.1.2.3", "forwarded": "for=10.1.2.3"})
    assert answer.status_code == status
    assert answer.headers["x-frame-options"] == "DENY"
    assert ("Sign in" in answer.text) is (status == 200)
    for sock in socks:
        sock.close()


@pytest.mark.parametrize(("networks", "status"), [('["127.0.0.0/8"]', 200), ('["10.0.0.0/8"]', 403)])
def test_R5_the_process_asks_the_networks_of_its_listener(tmp_path: Path, networks: str, status: int) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    path = config_file(tmp_path, address=f"127.0.0.1:{port}")
    text = path.read_text()
    assert 'door = "web"' in text
    path.write_text(text.replace('door = "web"', f'door = "web"\nnetworks = {networks}'))
    with subprocess.Popen([sys.executable, "-m", "gateway", "run", "--only", "web", "--config", str(path)]) as process:
        try:
            for _ in range(200):
                try:
                    answer = httpx.get(f"http://127.0.0.1:{port}/healthz")
                    break
                except httpx.ConnectError:
                    time.sleep(0.05)
            assert answer.status_code == status
        finally:
            process.kill()


def test_the_process_serves_over_a_socket_and_ends_on_sigterm(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    path = config_file(tmp_path, address=f"127.0.0.1:{port}")
    keeper = keeper_for_web()
    with keeper.serving((tmp_path / "state/run/keeper-web.sock", requests.WebRequest)):
        process = subprocess.Popen([sys.executable, "-m", "gateway", "run", "--only", "web", "--config", str(path)], stderr=subprocess.PIPE)
        try:
            for _ in range(200):
                try:
                    answer = httpx.get(f"http://127.0.0.1:{port}/healthz")
                    break
                except httpx.ConnectError:
                    time.sleep(0.05)
            assert answer.status_code == 200
            process.send_signal(signal.SIGHUP)
            time.sleep(0.2)
            assert httpx.get(f"http://127.0.0.1:{port}/login", params={"token": "secret-token-in-a-query"}).status_code == 200
            path.write_text(
                path.read_text().replace('door = "web"', 'door = "web"\nnetworks = ["10.0.0.0/8"]') + "[limits]\nrecipients = 7\n"
            )
            process.send_signal(signal.SIGHUP)
            time.sleep(0.2)
            os.kill(process.pid, signal.SIGTERM)
            assert process.wait(5) in (0, -signal.SIGTERM)
            said = process.stderr.read() if process.stderr else b""
            assert b"secret-token" not in said
            assert b"config.needs_restart" in said
            assert b'["listen"]' in said, "of the rest it takes nothing"
        finally:
            process.kill()
            process.wait()


def said_to(port: int, octets: bytes) -> bytes:
    """What the process answers to *octets*, until it closes or says no more."""
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.sendall(octets)
        sock.shutdown(socket.SHUT_WR)
        got = b""
        while more := sock.recv(65536):
            got += more
        return got


def test_W11_the_process_refuses_what_two_readers_would_read_in_two_ways(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    path = config_file(tmp_path, '[web]\npublic_url = "https://gateway.dept.gov.in"\n', address=f"127.0.0.1:{port}")
    keeper = keeper_for_web()
    smuggled = b"GET /healthz HTTP/1.1\r\nHost: gateway.dept.gov.in\r\n\r\n"
    post = b"POST /login HTTP/1.1\r\nHost: gateway.dept.gov.in\r\nOrigin: https://gateway.dept.gov.in\r\n"
    with (
        keeper.serving((tmp_path / "state/run/keeper-web.sock", requests.WebRequest)),
        subprocess.Popen([sys.executable, "-m", "gateway", "run", "--only", "web", "--config", str(path)]) as process,
    ):
        try:
            for _ in range(200):
                try:
                    httpx.get(f"http://127.0.0.1:{port}/healthz")
                    break
                except httpx.ConnectError:
                    time.sleep(0.05)
            bad = {
                "two lengths": post + b"Content-Length: 4\r\nContent-Length: 60\r\n\r\nabcd" + smuggled,
                "a length and chunks": post + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled,
                "an unknown coding": post + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + smuggled,
                "a blank before the colon": post + b"Content-Length : 4\r\n\r\nabcd" + smuggled,
                "two names": b"GET /login HTTP/1.1\r\nHost: gateway.dept.gov.in\r\nHost: evil.example\r\n\r\n",
                "no name": b"GET /login HTTP/1.1\r\n\r\n",
                "another name": b"GET /login HTTP/1.1\r\nHost: evil.example\r\n\r\n",
                "a name in the line": b"GET http://evil.example/login HTTP/1.1\r\nHost: evil.example\r\n\r\n",
                "a long field": b"GET /login HTTP/1.1\r\nHost: gateway.dept.gov.in\r\nX-A: " + b"a" * 70_000 + b"\r\n\r\n",
                "a long line": b"GET /login?" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: gateway.dept.gov.in\r\n\r\n",
                "NUL": b"GET /login HTTP/1.1\r\nHost: gateway.dept.gov.in\r\nX-A: a\x00b\r\n\r\n",
                "no HTTP": b"EHLO evil.example\r\n\r\n",
            }
            answers = {name: said_to(port, octets) for name, octets in bad.items()}
        finally:
            process.kill()
    for name, answer in answers.items():
        assert b" 200 " not in answer, name
        assert b'"ok"' not in answer, name
        assert b"Sign in" not in answer, name
        assert not answer or answer.split(b" ")[1] in (b"400", b"403", b"413", b"421", b"431"), name

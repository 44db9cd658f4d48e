"""The web page: sessions, headers, what is shown and what is not."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway import ipc, requests
from gateway.config import Config, Web
from gateway.web import admission, auth, views
from tests.faces import HELD, SEALED, TOKEN, FakeKeeper, config_file, keeper_for_web

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self'; style-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}
ORIGIN = {"origin": "http://gw"}


def client(keeper: FakeKeeper, config: Config | None = None, base: str = "http://gw") -> httpx.AsyncClient:
    app = views.application(config or Config(hostname="gw.dept.gov.in"), keeper.ask)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app, raise_app_exceptions=False), base_url=base)


def routes() -> list[tuple[str, str]]:
    app = views.application(Config(), keeper_for_web().ask)._app
    return [(method, route.path) for route in app.routes for method in sorted(route.methods)]


async def signed_in(keeper: FakeKeeper, **options: Any) -> httpx.AsyncClient:
    web = client(keeper, **options)
    answer = await web.post("/login", data={"token": TOKEN}, headers={"origin": str(web.base_url).rstrip("/")})
    assert answer.status_code == 303
    return web


@pytest.mark.parametrize(("method", "path"), routes())
async def test_W16_every_route_but_the_open_ones_needs_a_session(method: str, path: str) -> None:
    web = client(keeper := keeper_for_web())
    answer = await web.request(method, path.replace("{name}", "gateway.css"), headers=ORIGIN)
    if path in views.OPEN:
        assert answer.status_code in (200, 403, 422)
        assert not any(isinstance(asked, requests.ListHeld) for asked in keeper.asked)
    else:
        assert answer.status_code in (303, 403)
        assert HELD["reference"] not in answer.text
        assert not keeper.asked


def test_W16_the_open_routes_are_these_and_there_is_no_api_page() -> None:
    assert {path for _, path in routes()} == {"/healthz", "/readyz", "/metrics", "/login", "/logout", "/static/{name}", "/"}


@pytest.mark.parametrize(
    "path", ["/", "/login", "/healthz", "/static/gateway.css", "/static/none.css", "/nothing", "/docs", "/openapi.json"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "OPTIONS"])
async def test_every_answer_carries_the_security_headers(method: str, path: str) -> None:
    answer = await client(keeper_for_web()).request(method, path)
    for name, value in HEADERS.items():
        assert answer.headers[name] == value
    assert "server" not in answer.headers


async def test_a_fault_of_ours_says_nothing_private_and_carries_the_headers() -> None:
    def broken(_: Any) -> Any:
        raise RuntimeError("private /var/lib/gateway")

    web = client(FakeKeeper({requests.Health: broken}))
    answer = await web.get("/readyz")
    assert answer.status_code == 500
    assert "private" not in answer.text
    assert answer.headers["x-frame-options"] == "DENY"


async def test_unknown_routes_are_404() -> None:
    web = await signed_in(keeper_for_web())
    for path in ("/nothing", "/docs", "/redoc", "/openapi.json", "/static/../auth.py", "/static/%2e%2e%2fauth.py", "/held/1"):
        assert (await web.get(path)).status_code == 404


async def test_the_link_with_the_token_changes_nothing_until_it_is_sent() -> None:
    web = client(keeper := keeper_for_web())
    for _ in range(3):  # a mail scanner follows the link
        page = await web.get("/login", params={"token": TOKEN})
        assert page.status_code == 200
        assert "set-cookie" not in page.headers
    assert keeper.asked == []
    assert f'value="{TOKEN}"' in page.text
    answer = await web.post("/login", data={"token": TOKEN}, headers=ORIGIN)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert "Secure" not in cookie
    assert TOKEN not in cookie
    assert (await web.get("/")).status_code == 200


async def test_the_token_works_once() -> None:
    keeper = keeper_for_web()
    await signed_in(keeper)
    answer = await client(keeper).post("/login", data={"token": TOKEN}, headers=ORIGIN)
    assert answer.status_code == 403
    assert "not valid" in answer.text
    assert "set-cookie" not in answer.headers


async def test_behind_https_the_cookie_is_secure_and_bound_to_the_host() -> None:
    config = Config(hostname="gw", web=Web(public_url="https://gateway.dept.gov.in"))
    web = client(keeper_for_web(), config, "https://gateway.dept.gov.in")
    answer = await web.post("/login", data={"token": TOKEN}, headers={"origin": "https://gateway.dept.gov.in"})
    assert answer.headers["set-cookie"].startswith("__Host-gateway=")
    assert "Secure" in answer.headers["set-cookie"]
    assert "strict-transport-security" in answer.headers


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "null"},
        {"origin": "http://evil.example"},
        {"origin": "http://gw", "sec-fetch-site": "cross-site"},
        {"origin": "null", "sec-fetch-site": "cross-site"},
        {"origin": "http://gw.evil.example"},
    ],
)
async def test_a_form_of_another_site_cannot_sign_in(headers: dict[str, str]) -> None:
    web = client(keeper := keeper_for_web())
    assert (await web.post("/login", data={"token": TOKEN}, headers=headers)).status_code == 403
    assert keeper.asked == []


async def test_guessing_is_slowed_down() -> None:
    web = client(keeper_for_web())
    codes = [(await web.post("/login", data={"token": "x" * 32}, headers=ORIGIN)).status_code for _ in range(25)]
    assert codes[:20] == [403] * 20
    assert set(codes[20:]) == {429}


async def test_signing_out_needs_the_form_token_and_ends_the_session() -> None:
    web = await signed_in(keeper_for_web())
    page = (await web.get("/")).text
    form_token = re.search(r'name="form_token" value="([^"]+)"', page)
    assert form_token
    assert (await web.post("/logout", data={"form_token": "wrong"}, headers=ORIGIN)).status_code == 403
    assert (await web.get("/")).status_code == 200
    cookies = dict(web.cookies)
    assert (await web.post("/logout", data={"form_token": form_token[1]}, headers=ORIGIN)).status_code == 303
    web.cookies = cookies  # type: ignore[assignment]
    assert (await web.get("/")).status_code == 303


async def test_a_get_of_logout_does_nothing() -> None:
    web = await signed_in(keeper_for_web())
    assert (await web.get("/logout")).status_code == 405
    assert (await web.get("/")).status_code == 200


async def test_the_list_shows_what_is_held() -> None:
    page = (await (await signed_in(keeper_for_web())).get("/")).text
    for text in (HELD["reference"], "CONFIDENTIAL", HELD["rule"], HELD["sender"], "a@nic.in", "b@gov.in", "48.2 kB", "held"):
        assert text in page
    assert HELD["subject"] not in page


async def test_of_a_sealed_item_the_list_shows_only_four_things() -> None:
    keeper = keeper_for_web()
    keeper.answers[requests.ListHeld] = requests.Rows((SEALED,))
    page = (await (await signed_in(keeper)).get("/")).text
    for text in (SEALED["reference"], SEALED["rule"], SEALED["sender"]):
        assert text in page
    for text in ("hidden@nic.in", "48.2", "requested", "Private subject", "SECRET"):
        assert text not in page


async def test_text_of_a_message_is_only_text() -> None:
    keeper = keeper_for_web()
    row = HELD | {
        "sender": "<script>alert(1)</script>@x.in",
        "recipients": ["a\u202egpj.exe@x.in", '"><img src=x onerror=1>@y'],
        "rule": "r\x1b[2J",
    }
    keeper.answers[requests.ListHeld] = requests.Rows((row,))
    page = (await (await signed_in(keeper)).get("/")).text
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "\u202e" not in page
    assert "[U+202E]" in page
    assert "\x1b" not in page


async def test_pages_load_nothing_from_elsewhere_and_hold_no_inline_code() -> None:
    web = await signed_in(keeper_for_web())
    for path in ("/", "/login", "/nothing"):
        page = (await web.get(path)).text
        assert not re.search(r"(?:src|href|action)=\"(?!/)", page)
        assert not re.search(r"<script|<style|\sstyle=|\son\w+=|javascript:", page)
    css = (await web.get("/static/gateway.css")).text
    assert "url(" not in css
    assert "@import" not in css


async def test_a_long_list_is_paged() -> None:
    keeper = keeper_for_web()
    keeper.answers[requests.ListHeld] = lambda request: requests.Rows(tuple(HELD | {"id": f"id-{n}"} for n in range(request.limit)))
    web = await signed_in(keeper)
    assert 'href="/?after=id-199"' in (await web.get("/")).text
    await web.get("/", params={"after": "id-199"})
    assert keeper.asked[-1].after == "id-199"
    await web.get("/", params={"after": "x' OR 1=1"})
    assert keeper.asked[-1].after == ""


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
    web = client(FakeKeeper({requests.Health: answer}))
    ready = await web.get("/readyz")
    assert ready.status_code == code
    assert ready.json().get("reason") == reason
    assert (await web.get("/healthz")).status_code == 200


async def test_without_a_keeper_the_node_is_not_ready_and_the_list_says_so() -> None:
    keeper = keeper_for_web()
    web = await signed_in(keeper)

    def gone(_: Any) -> Any:
        raise ipc.ChannelError("keeper-web.sock: No such file")

    keeper.answers.update({requests.Health: gone, requests.ListHeld: gone})
    assert (await web.get("/readyz")).json() == {"status": "not ready", "reason": "the keeper does not answer"}
    page = await web.get("/")
    assert page.status_code == 503
    assert "sock" not in page.text


def test_sessions_end_when_idle_and_after_their_lifetime(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(auth.time, "monotonic", lambda: now[0])
    sessions = auth.Sessions()
    token = sessions.begin("a")
    now[0] += auth.IDLE - 1
    assert sessions.find(token) is not None
    now[0] += auth.IDLE + 1
    assert sessions.find(token) is None
    token = sessions.begin("a")
    for _ in range(int(auth.LIFETIME // 600) + 1):
        assert sessions.find(token) is not None or now[0] > 1000 + auth.LIFETIME
        now[0] += 600
    assert sessions.find(token) is None


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
    app = views.application(Config(hostname="gw.dept.gov.in"), keeper_for_web().ask, admission=gate)

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

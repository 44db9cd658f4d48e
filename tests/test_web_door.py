"""What stands before every page: who may come, what a change needs, and what is on every answer. Ids are those of the catalogue."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from gateway import requests, review
from gateway.config import Config, Web
from gateway.roles import Role
from gateway.web import rights
from gateway.web.application import application
from gateway.web.hosts import Hosts
from gateway.web.secured import DOWNLOAD_CSP, Secured
from tests.faces import (
    BASE,
    HELD,
    ORIGIN,
    SESSION,
    FakeKeeper,
    OneApplication,
    form,
    keeper_for_web,
    person,
    signed_in,
    web_client,
)

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self'; style-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
PUBLIC = Config(hostname="gw.dept.gov.in", web=Web(public_url="https://gateway.dept.gov.in"))


ONE = OneApplication()


def found(routes: Any) -> Iterator[tuple[str, str]]:
    for route in routes:
        if hasattr(route, "original_router"):
            yield from found(route.original_router.routes)
        else:
            yield from ((method, route.path) for method in route.methods)


ROUTES = sorted(found(application(Config(), keeper_for_web().ask)._app.routes))
PAGES = [(method, path) for method, path in ROUTES if not path.startswith("/api/")]
CHANGES = [(method, path) for method, path in PAGES if method != "GET" and rights.ROUTES.get((method, path)) != rights.OPEN]


def filled(path: str) -> str:
    values = {"id": str(HELD["id"]), "reference": str(HELD["reference"]), "token": "x" * 40, "name": "gateway.css"}
    return re.sub(r"\{(\w+)\}", lambda match: values[match[1]], path)


def everybody() -> dict[str, Any]:
    """A person with every role."""
    return person("reviewer", *Role)


# --- who may come ---------------------------------------------------------------------------------------------------------


def test_W16_every_route_has_a_row_and_every_row_a_route() -> None:
    assert len(ROUTES) > 50
    assert set(ROUTES) == set(rights.ROUTES)


def test_W16_these_routes_are_open_and_no_others() -> None:
    assert {path for (_, path), need in rights.ROUTES.items() if need == rights.OPEN} == {
        "/healthz", "/readyz", "/metrics", "/static/{name}", "/login", "/login/one-time", "/login/oidc", "/login/oidc/callback", "/officer",
    }  # fmt: skip
    assert all("{token}" in path for (_, path), need in rights.ROUTES.items() if need == rights.OFFICER), "a signed link is asked for"


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_W16_every_route_but_the_open_ones_needs_a_session(method: str, path: str) -> None:
    web = web_client(keeper := keeper_for_web(), app=ONE.before(keeper))
    answer = await web.request(method, filled(path), headers=ORIGIN)
    assert str(HELD["reference"]) not in answer.text
    need: str = rights.ROUTES[method, path]
    if need == rights.OPEN or (need == rights.OFFICER and "{token}" in path):
        assert answer.status_code < 600
        assert not keeper.by or set(keeper.by) == {""}, "nothing is asked as a person"
        return
    assert answer.status_code == (401 if path.startswith("/api/") else 303 if method == "GET" or path == "/logout" else 403)
    assert answer.headers.get("location", "/login") in ("/login", "/officer")
    assert keeper.asked == []


@pytest.mark.parametrize(("method", "path"), [one for one in ROUTES if one[1].startswith("/api/")])
async def test_W03_a_cookie_opens_nothing_of_the_api(method: str, path: str) -> None:
    web = signed_in(keeper := keeper_for_web(), everybody(), app=ONE.before(keeper))
    answer = await web.request(method, filled(path), headers=ORIGIN, json={})
    assert answer.status_code == 401
    assert keeper.asked == []


def test_W16_no_route_changes_anything_on_get() -> None:
    # What is asked of the keeper on a GET is seen below; that no GET stands for a change by its name is seen here.
    changing = re.compile(r"/(drop|release|refuse|ask|level|forward|again|exception|expire|invite|confirm|export|download|password)$")
    assert not [path for method, path in ROUTES if method == "GET" and changing.search(path)]


@pytest.mark.parametrize("path", [path for method, path in PAGES if method == "GET" and path != "/login/oidc/callback"])
async def test_W03_a_get_asks_the_keeper_for_nothing_that_changes(path: str) -> None:
    web = signed_in(keeper := keeper_for_web(), everybody(), app=ONE.before(keeper))
    await web.get(filled(path))
    reading = re.compile(
        r"(Find|Count|Show|List|Colleagues|Dashboard|Search|SignInWays|OfficerItem|OfficerWords|MyMail|Health|GetMetrics|BeginOidc)"
    )
    assert [one for one in keeper.asked if not reading.match(type(one).__name__)] == []


# --- forms of other sites -------------------------------------------------------------------------------------------------

FOREIGN: dict[str, dict[str, Any]] = {
    "form": {"headers": {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}, "data": {"reason": "x"}},
    "form of a neighbour": {"headers": {"origin": "http://gw.evil.example", "sec-fetch-site": "same-site"}, "data": {"reason": "x"}},
    "hidden origin": {"headers": {"origin": "null"}, "data": {"reason": "x"}},
    "no origin": {"headers": {}, "data": {"reason": "x"}},
    "fetch": {"headers": {"origin": "https://evil.example", "sec-fetch-mode": "no-cors"}, "content": b"reason=x"},
    "JSON as text": {"headers": {"origin": BASE, "content-type": "text/plain"}, "content": b'{"form_token":"x","reason":"x"}'},
    "JSON": {"headers": {"origin": BASE, "content-type": "application/json"}, "content": b'{"form_token":"x"}'},
    "no token": {"headers": {"origin": BASE}, "data": {"reason": "x"}},
    "a wrong token": {"headers": {"origin": BASE}, "data": {"form_token": "x" * 44}},
    "the token of another session": {"headers": {"origin": BASE, "x-form-token": "x" * 44}, "data": {"reason": "x"}},
    "a token that is a file": {"headers": {"origin": BASE}, "files": {"form_token": ("a", b"x")}},
}


@pytest.mark.parametrize("how", FOREIGN)
@pytest.mark.parametrize(("method", "path"), CHANGES)
async def test_W03_no_change_by_a_page_that_is_not_ours(method: str, path: str, how: str) -> None:
    if "{token}" in path and FOREIGN[how]["headers"].get("origin") == BASE:
        return  # the signed link is the secret, and the page of ours that shows it was opened without a cookie
    web = signed_in(keeper := keeper_for_web(), everybody(), app=ONE.before(keeper))
    answer = await web.request(method, filled(path), **FOREIGN[how])
    assert answer.status_code in (400, 403)
    assert keeper.asked == []


@pytest.mark.parametrize("name", ["x-http-method-override", "x-http-method", "x-method-override"])
async def test_W03_a_get_or_a_post_stays_what_it_is(name: str) -> None:
    web = signed_in(keeper := keeper_for_web(), everybody(), app=ONE.before(keeper))
    for method in ("POST", "PATCH", "DELETE", "PUT"):
        assert (await web.get("/logout", headers={name: method})).status_code == 405
        assert (await web.get("/", headers={name: method}, params={"_method": method})).status_code == 200
    assert not any(isinstance(one, review.SignOut) for one in keeper.asked)
    for path in ("/users/a", "/account/language"):
        answer = await web.post(path, headers=ORIGIN | {name: "GET"}, data={"_method": "GET"})
        assert answer.status_code == 403


async def test_W03_an_image_of_another_site_changes_nothing() -> None:
    web = signed_in(keeper := keeper_for_web(), everybody(), app=ONE.before(keeper))
    shown = [re.compile(re.sub(r"\{\w+\}", "[^/]+", path)) for method, path in ROUTES if method == "GET"]
    only_changes = [path for _, path in CHANGES if not any(page.fullmatch(path) for page in shown)]
    assert len(only_changes) > 15
    for path in only_changes:
        answer = await web.get(filled(path), headers={"sec-fetch-dest": "image", "sec-fetch-site": "cross-site"})
        assert answer.status_code in (404, 405), path
    assert keeper.asked == []


async def test_the_form_token_may_come_as_a_header() -> None:
    web = signed_in(keeper := keeper_for_web())
    keeper.answers[review.SetLanguage] = requests.Done()
    headers = ORIGIN | {"x-form-token": form(web)["form_token"]}
    assert (await web.post("/account/language", data={"language": "hi"}, headers=headers)).status_code == 303


# --- names of the host ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "good"),
    [
        ("gateway.dept.gov.in", True), ("GATEWAY.dept.gov.in:443", True), ("gateway.dept.gov.in.", True), ("localhost:8080", True),
        ("127.0.0.1:8080", True), ("[::1]:8080", True), ("evil.example", False), ("gateway.dept.gov.in.evil.example", False),
        ("gateway.dept.gov.in:8443", False), ("gateway.dept.gov.in@evil.example", False), ("evil.example/gateway.dept.gov.in", False),
        ("10.0.0.1", False), ("", False), ("gateway.dept.gov.in:x", False), ("127.0.0.1.evil.example", False), ("[::1", False),
    ],
)  # fmt: skip
async def test_W11_only_its_own_name_is_answered(host: str, good: bool) -> None:
    scope = {"path": "/", "headers": [(b"host", host.encode())]}
    assert Hosts("https://gateway.dept.gov.in").knows(scope) is good
    if host:
        answer = await web_client(keeper_for_web(), PUBLIC).get("/login", headers={"host": host})
        assert answer.status_code == (200 if good else 421)
        assert answer.headers["x-frame-options"] == "DENY"


def test_W11_two_names_are_none() -> None:
    hosts = Hosts("https://gateway.dept.gov.in")
    assert not hosts.knows({"path": "/", "headers": [(b"host", b"gateway.dept.gov.in"), (b"host", b"gateway.dept.gov.in")]})
    assert not hosts.knows({"path": "/", "headers": []})
    assert Hosts("").knows({"path": "/", "headers": [(b"host", b"anything")]})


async def test_machines_may_ask_by_any_name() -> None:
    web = web_client(keeper_for_web(), PUBLIC)
    for path in ("/healthz", "/readyz"):
        assert (await web.get(path, headers={"host": "10.0.0.1:8080"})).status_code == 200


@pytest.mark.parametrize(
    "name", ["x-forwarded-host", "x-forwarded-for", "x-forwarded-proto", "forwarded", "x-original-url", "x-rewrite-url"]
)
async def test_W11_what_a_proxy_may_add_is_not_believed(name: str) -> None:
    web = web_client(keeper := keeper_for_web())
    keeper.answers[review.SignIn] = requests.Failed("wrong", 1)
    value = {"forwarded": "host=evil.example;for=203.0.113.9", "x-original-url": "/users", "x-rewrite-url": "/users"}.get(
        name, "evil.example"
    )
    answer = await web.get("/", headers={name: value})
    assert answer.headers["location"] == "/login"
    page = await web.post("/login", data={"name": "a", "password": "b"}, headers=ORIGIN | {name: value})
    assert "evil.example" not in page.text
    assert keeper.asked[0].client_ip == "127.0.0.1"
    assert (await web.post("/login", data={}, headers={"origin": "http://evil.example", name: value})).status_code == 403


# --- what is on every answer ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), [*ROUTES, ("GET", "/static/none.css"), ("GET", "/nothing"), ("GET", "/docs")])
async def test_W15_every_answer_carries_the_security_headers(method: str, path: str) -> None:
    keeper = keeper_for_web()
    app = ONE.before(keeper)
    for web in (web_client(keeper, app=app), signed_in(keeper, everybody(), app=app)):
        for verb in (method, "OPTIONS", "TRACE"):
            answer = await web.request(verb, filled(path), headers={"origin": "https://evil.example"})
            if verb != method:
                assert answer.status_code in (404, 405)
            for name, value in HEADERS.items():
                assert answer.headers[name] == value
            assert "server" not in answer.headers
            assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_W15_an_answer_may_only_make_its_policy_stricter() -> None:
    def app(csp: str) -> Secured:
        async def answer(_: Any, __: Any, send: Any) -> None:
            headers = [(b"content-security-policy", csp.encode()), (b"cache-control", b"public"), (b"x-frame-options", b"ALLOW")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b""})

        return Secured(answer, https=True, hosts=Hosts(""))

    for csp, stands in ((DOWNLOAD_CSP, DOWNLOAD_CSP), ("default-src *", HEADERS["content-security-policy"])):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app(csp)), base_url=BASE) as web:
            answer = await web.get("/")
            assert answer.headers["content-security-policy"] == stands
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["x-frame-options"] == "DENY"
            assert "strict-transport-security" in answer.headers


async def test_W15_signing_out_empties_the_browser() -> None:
    web = signed_in(keeper_for_web())
    assert (await web.get("/")).headers["cache-control"] == "no-store"
    answer = await web.post("/logout", data=form(web), headers=ORIGIN)
    assert answer.headers["clear-site-data"] == '"cache"'
    assert (await web.get("/")).status_code == 303


async def test_W15_no_address_carries_a_secret() -> None:
    web = signed_in(keeper_for_web())
    pages = [(await web.get(path)).text for path in ("/", "/account")]
    token = form(web)["form_token"]
    for page in pages:
        assert token in page
        for address in re.findall(r'(?:href|src|action|hx-\w+)="([^"]*)"', page):
            assert token not in address
            assert web.cookies["gateway"] not in address


async def test_pages_load_nothing_from_elsewhere_and_hold_no_inline_code() -> None:
    web = signed_in(keeper_for_web(), everybody())
    for path in ("/", "/login", "/nothing", "/account", "/held/none", "/users"):
        page = (await web.get(path)).text
        assert not re.search(r"(?:src|href|action)=\"(?![/#])", page)
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|<script(?![^>]*\ssrc=\"/static/)", page)
    css = (await web.get("/static/gateway.css")).text
    assert "url(" not in css
    assert "@import" not in css


async def test_a_fault_of_ours_says_nothing_private_and_carries_the_headers() -> None:
    def broken(_: Any) -> Any:
        raise RuntimeError("private /var/lib/gateway")

    answer = await web_client(FakeKeeper({requests.Health: broken})).get("/readyz")
    assert answer.status_code == 500
    assert "private" not in answer.text
    assert answer.headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize(
    "path",
    [
        "/nothing", "/docs", "/redoc", "/openapi.json", "/static/../auth.py", "/static/%2e%2e%2fauth.py", "/static/..%5cauth.py",
        "/static/gateway.css%00.svg", "/static//etc/passwd", "/static/.", "/static/htmx.LICENSE", "/.git/config",
        "/%2e%2e/%2e%2e/etc/passwd",
    ],
)  # fmt: skip
async def test_W14_unknown_routes_are_404(path: str) -> None:
    for web in (signed_in(keeper_for_web(), everybody()), web_client(keeper_for_web())):
        answer = await web.get(path)
        assert answer.status_code == 404
        assert "root:" not in answer.text


async def test_W18_there_is_no_websocket() -> None:
    app = application(Config(), keeper_for_web().ask)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    for path in ("/", "/changes", "/ws"):
        await app({"type": "websocket", "path": path, "headers": [(b"cookie", f"gateway={SESSION}".encode())]}, receive, send)
    assert sent == []
    web = signed_in(keeper_for_web())
    answer = await web.get("/", headers={"upgrade": "websocket", "connection": "upgrade", "origin": "https://evil.example"})
    assert answer.status_code == 200
    assert "upgrade" not in answer.headers


async def test_W13_a_changed_role_holds_at_the_next_request() -> None:
    web = signed_in(keeper := keeper_for_web(), person("reviewer", "administrator"))
    keeper.answers[requests.ListUsers] = requests.Rows(())
    assert (await web.get("/users")).status_code == 200
    keeper.sessions[web.cookies["gateway"]] = person("reviewer", "viewer")
    assert (await web.get("/users")).status_code == 403
    keeper.sessions.clear()
    assert (await web.get("/users")).headers["location"] == "/login"


async def test_what_is_refused_still_shows_where_to_go() -> None:
    web = signed_in(keeper_for_web(), person("reviewer", "viewer"))
    answer = await web.get("/users")
    assert answer.status_code == 403
    assert 'aria-label="Pages"' in answer.text
    assert 'href="/users"' not in answer.text


async def test_a_page_that_is_open_when_the_session_ends_leads_to_the_sign_in() -> None:
    answer = await web_client(keeper_for_web()).get("/", headers={"hx-request": "true"})
    assert (answer.status_code, answer.headers["hx-redirect"]) == (403, "/login")


async def test_W11_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.web.secured.PATIENCE", 0.05)
    app = application(Config(), keeper_for_web().ask)
    sent: list[Any] = []
    first = [{"type": "http.request", "body": b"name=a", "more_body": True}]

    async def receive() -> Any:
        if first:
            return first.pop()
        await asyncio.sleep(60)
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/login", "query_string": b"", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
        "headers": [(b"host", b"gw"), (b"origin", b"http://gw"), (b"content-type", b"application/x-www-form-urlencoded")],
    }  # fmt: skip
    await asyncio.wait_for(app(scope, receive, send), 5)
    assert sent[0]["status"] == 408

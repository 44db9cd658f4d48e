"""Signing in and out on the page: what it says, what it keeps in the browser, and what it never does."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from gateway import requests, review
from gateway.config import Config, Web
from gateway.web.brake import Brake
from tests.faces import ORIGIN, SESSION, TOKEN, FakeKeeper, form, keeper_for_web, person, signed_in, web_client

WRONG = "the name, the password or the code is wrong"
TYPED = {"name": "reviewer", "password": "four words and a river", "code": "123456"}
STATE = "state-of-this-browser-0123456789"


def keeper_with_passwords(row: dict[str, Any] | None = None) -> FakeKeeper:
    keeper = keeper_for_web()

    def sign_in(request: review.SignIn) -> Any:
        if (request.name, request.password, request.code) != tuple(TYPED.values()):
            return requests.Failed(WRONG, 1)
        session = f"{len(keeper.sessions)}-{SESSION}"
        keeper.sessions[session] = row or person()
        return requests.Rows(({"session": session, "user": "reviewer"},))

    keeper.answers[review.SignIn] = sign_in
    return keeper


def keeper_with_oidc() -> FakeKeeper:
    keeper = keeper_with_passwords()
    keeper.answers[review.SignInWays] = requests.Rows(({"password": True, "oidc": "Jan Parichay", "officer": False, "totp": True},))
    keeper.answers[review.BeginOidc] = requests.Rows(({"url": "https://login.example.gov.in/authorize?x=1", "state": STATE},))
    taken: list[str] = []

    def end(request: review.EndOidc) -> Any:
        if request.state != STATE or request.code != "good-code" or taken:
            return requests.Failed("nobody here has this account; ask the gateway's administrator to add your address", 1)
        taken.append(request.code)
        keeper.sessions[SESSION] = person()
        return requests.Rows(({"session": SESSION, "user": "reviewer"},))

    keeper.answers[review.EndOidc] = end
    return keeper


async def test_name_password_and_code_sign_in() -> None:
    web = web_client(keeper := keeper_with_passwords())
    page = (await web.get("/login")).text
    for name, kind in (("name", "username"), ("password", "current-password"), ("code", "one-time-code")):
        assert re.search(rf'<input[^>]*name="{name}"[^>]*autocomplete="{kind}"', page)
    answer = await web.post("/login", data=TYPED, headers=ORIGIN)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert (await web.get("/")).status_code == 200
    asked = next(one for one in keeper.asked if isinstance(one, review.SignIn))
    assert asked.client_ip == "127.0.0.1"
    assert not asked.officer


@pytest.mark.parametrize("wrong", [{"name": "nobody"}, {"password": "x"}, {"code": "000000"}, {"code": ""}, {"name": ""}, {"password": ""}])
async def test_W10_every_failure_gets_the_same_answer(wrong: dict[str, str]) -> None:
    web = web_client(keeper_with_passwords())
    answer = await web.post("/login", data=TYPED | {"name": "same"} | wrong, headers=ORIGIN)
    other = await web.post("/login", data=TYPED | {"name": "other"}, headers=ORIGIN)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    assert "The name, the password or the code is wrong." in answer.text
    blank = re.compile(r'(name="name"[^>]* value=")[^"]*"')
    assert blank.sub(r"\1", answer.text) == blank.sub(r"\1", other.text)


@pytest.mark.parametrize("size", [129, 2000, 200_000])
async def test_W10_a_long_password_is_wrong_like_any_other(size: int) -> None:
    web = web_client(keeper := keeper_with_passwords())
    answer = await web.post("/login", data=TYPED | {"password": "a" * size}, headers=ORIGIN)
    assert answer.status_code == 403
    assert "The name, the password or the code is wrong." in answer.text
    assert len(keeper.asked[0].password) <= 1024


async def test_W10_a_password_of_a_megabyte_is_not_read() -> None:
    web = web_client(keeper := keeper_with_passwords())
    assert (await web.post("/login", data=TYPED | {"password": "a" * 1_000_000}, headers=ORIGIN)).status_code == 413
    assert keeper.asked == []


@pytest.mark.parametrize("path", ["/login", "/login/one-time"])
async def test_W10_guessing_is_slowed_down(path: str) -> None:
    web = web_client(keeper_with_passwords())
    codes = [(await web.post(path, data={"token": "x" * 32}, headers=ORIGIN)).status_code for _ in range(25)]
    assert codes[:20] == [403] * 20
    assert set(codes[20:]) == {429}


def test_W10_one_address_that_guesses_keeps_no_other_one_out() -> None:
    now = [0.0]
    brake = Brake(now=lambda: now[0])
    for _ in range(30):
        brake.failed("2001:db8:1:2::7")
    assert not brake.open("2001:db8:1:2::8"), "64 bits are one customer"
    assert brake.open("2001:db8:1:3::7")
    assert brake.open("192.0.2.1")
    now[0] += 61
    assert brake.open("2001:db8:1:2::7")
    for number in range(10_000):
        brake.failed(f"10.0.{number // 250}.{number % 250}")
    assert len(brake._failures) <= 4096


async def test_when_too_many_sign_in_at_once_it_says_so() -> None:
    keeper = keeper_for_web()
    keeper.answers[review.SignIn] = requests.Failed("too many people sign in at this moment; please try again", 4)
    answer = await web_client(keeper).post("/login", data=TYPED, headers=ORIGIN)
    assert answer.status_code == 503
    assert "Too many people sign in at this moment" in answer.text


async def test_a_fault_of_the_keeper_says_nothing_private() -> None:
    keeper = keeper_for_web()
    keeper.answers[review.SignIn] = requests.Failed("/var/lib/gateway/store.db: disk full", 3)
    answer = await web_client(keeper).post("/login", data=TYPED, headers=ORIGIN)
    assert answer.status_code == 503
    assert "/var" not in answer.text


# --- one-time logins ----------------------------------------------------------------------------------------------------


async def test_the_link_with_the_token_changes_nothing_until_it_is_sent() -> None:
    web = web_client(keeper := keeper_for_web())
    for _ in range(3):  # a mail scanner follows the link
        page = await web.get("/login", params={"token": TOKEN})
        assert page.status_code == 200
        assert "set-cookie" not in page.headers
    assert {type(one) for one in keeper.asked} == {review.SignInWays}
    assert f'value="{TOKEN}"' in page.text
    assert page.text.count("<form") == 1
    answer = await web.post("/login/one-time", data={"token": TOKEN}, headers=ORIGIN)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert "Secure" not in cookie
    assert TOKEN not in cookie
    assert "expires" not in cookie.lower()
    assert (await web.get("/")).status_code == 200


async def test_W13_the_token_works_once() -> None:
    keeper = keeper_for_web()
    assert (await web_client(keeper).post("/login/one-time", data={"token": TOKEN}, headers=ORIGIN)).status_code == 303
    answer = await web_client(keeper).post("/login/one-time", data={"token": TOKEN}, headers=ORIGIN)
    assert answer.status_code == 403
    assert "used already" in answer.text
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("token", ["short", "<script>alert(1)</script>", 'x"' * 20, "a" * 5000, "\u0661" * 32])
async def test_W01_what_is_no_token_does_not_stand_in_the_page(token: str) -> None:
    page = await web_client(keeper_for_web()).get("/login", params={"token": token})
    assert page.status_code == 200
    assert token not in page.text


async def test_after_the_first_sign_in_one_comes_to_the_account() -> None:
    keeper = keeper_for_web()
    new = person("reviewer", "reviewer", fresh=True, password=False, totp=False)

    def redeem(_: review.Redeem) -> Any:
        keeper.sessions[SESSION] = new
        return requests.Rows(({"session": SESSION, "user": "reviewer"},))

    keeper.answers[review.Redeem] = redeem
    web = web_client(keeper)
    answer = await web.post("/login/one-time", data={"token": TOKEN}, headers=ORIGIN)
    assert answer.headers["location"] == "/account"
    assert (await web.get("/")).headers["location"] == "/account", "without a second factor there is nothing else"
    # Where the codes are not required one may go on, and is told what is still to do.
    free = web_client(keeper, Config(hostname="gw.dept.gov.in", web=Web(require_totp=False)))
    free.cookies.set("gateway", SESSION)
    assert (await free.get("/")).status_code == 200
    page = (await free.get("/account")).text
    assert "Set up your sign-in now" in page
    assert "Go on without" in page


@pytest.mark.parametrize(
    ("grants", "to"),
    [(("reviewer",), "/"), (("administrator",), "/users"), (("auditor@a.gov.in",), "/"), (("administrator", "viewer@a.gov.in"), "/")],
)
async def test_everybody_comes_to_a_page_that_is_his(grants: tuple[str, ...], to: str) -> None:
    web = web_client(keeper_with_passwords(person("reviewer", *grants)))
    answer = await web.post("/login", data=TYPED, headers=ORIGIN)
    assert answer.headers["location"] == to
    if to != "/":
        assert (await web.get("/")).headers["location"] == to


# --- sessions -----------------------------------------------------------------------------------------------------------


async def test_W04_signing_in_gives_a_new_session_and_ends_the_one_before() -> None:
    keeper = keeper_with_passwords()
    web = web_client(keeper)
    web.cookies.set("gateway", planted := "planted-by-somebody-else-0123456789")
    answer = await web.post("/login", data=TYPED, headers=ORIGIN)
    given = answer.cookies["gateway"]
    assert given != planted
    web.cookies.clear()
    web.cookies.set("gateway", given)
    again = await web.post("/login", data=TYPED, headers=ORIGIN)
    assert again.cookies["gateway"] != given
    assert given not in keeper.sessions, "the session before has ended at the keeper"


async def test_W04_signing_out_needs_the_form_token_and_ends_the_session_at_the_keeper() -> None:
    web = signed_in(keeper := keeper_for_web())
    page = (await web.get("/")).text
    form_token = re.search(r'name="form_token" value="([^"]+)"', page)
    assert form_token
    assert form_token[1] == form(web)["form_token"]
    assert (await web.post("/logout", data={"form_token": "wrong"}, headers=ORIGIN)).status_code == 403
    assert (await web.post("/logout", headers=ORIGIN)).status_code == 403
    assert (await web.get("/")).status_code == 200
    session = web.cookies["gateway"]
    answer = await web.post("/logout", data=form(web), headers=ORIGIN)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?said=out")
    assert 'gateway=""' in answer.headers["set-cookie"]
    assert session not in keeper.sessions
    kept = web_client(keeper)
    kept.cookies.set("gateway", session)
    assert (await kept.get("/")).headers["location"] == "/login"
    assert (await kept.post("/logout", data=form(kept), headers=ORIGIN)).headers["location"] == "/login", "ended already is ended"


async def test_W04_signing_out_everywhere_is_asked_of_the_keeper() -> None:
    web = signed_in(keeper := keeper_for_web())
    answer = await web.post("/logout", data=form(web, everywhere="1"), headers=ORIGIN)
    assert keeper.asked[-1] == review.SignOut(True)
    assert "every other browser" in (await web.get(answer.headers["location"])).text


async def test_a_get_of_logout_does_nothing() -> None:
    web = signed_in(keeper_for_web())
    assert (await web.get("/logout")).status_code == 405
    assert (await web.get("/")).status_code == 200


async def test_W17_behind_https_the_cookie_is_secure_and_bound_to_the_host() -> None:
    config = Config(hostname="gw", web=Web(public_url="https://gateway.dept.gov.in"))
    web = web_client(keeper_with_passwords(), config, "https://gateway.dept.gov.in")
    answer = await web.post("/login", data=TYPED, headers={"origin": "https://gateway.dept.gov.in"})
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-gateway=")
    assert "Secure" in cookie
    assert "Path=/" in cookie
    assert "domain" not in cookie.lower()
    assert "strict-transport-security" in answer.headers


async def test_W17_a_cookie_that_plain_http_could_have_set_is_not_looked_at() -> None:
    config = Config(hostname="gw", web=Web(public_url="https://gateway.dept.gov.in"))
    keeper = keeper_for_web()
    keeper.sessions[SESSION] = person()
    web = web_client(keeper, config, "https://gateway.dept.gov.in")
    web.cookies.set("gateway", SESSION)
    assert (await web.get("/")).headers["location"] == "/login"
    answer = await web.get("/", headers={"cookie": f"__Host-gateway={SESSION}"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "credential", ["eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.", "none", "null", "../../etc", "a" * 10_000, "\x00", "é"]
)
async def test_W17_what_is_no_session_opens_nothing(credential: str) -> None:
    web = web_client(keeper_for_web())
    answer = await web.get("/", headers={b"cookie": b"gateway=" + credential.encode()})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")


# --- elsewhere ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "/held/1"])
async def test_W11_nothing_leads_anywhere_but_to_a_page_of_ours(to: str) -> None:
    web = web_client(keeper_with_passwords())
    named = {"next": to, "url": to, "return": to, "redirect": to}
    assert to not in (await web.get("/login", params=named)).text
    answer = await web.post("/login", params=named, data=TYPED | named, headers=ORIGIN)
    assert answer.headers["location"] == "/"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "null"},
        {"origin": "http://evil.example"},
        {"origin": "http://gw", "sec-fetch-site": "cross-site"},
        {"origin": "null", "sec-fetch-site": "cross-site"},
        {"origin": "http://gw.evil.example"},
        {"origin": "http://gw:8000"},
        {"referer": "http://gw/login"},
    ],
)
@pytest.mark.parametrize("path", ["/login", "/login/one-time"])
async def test_W03_a_form_of_another_site_cannot_sign_in(headers: dict[str, str], path: str) -> None:
    web = web_client(keeper := keeper_with_passwords())
    assert (await web.post(path, data=TYPED | {"token": TOKEN}, headers=headers)).status_code == 403
    assert keeper.asked == []


async def test_a_form_that_was_opened_from_a_mail_signs_in_although_an_old_cookie_comes_with_it() -> None:
    """A strict cookie is not sent with a link of a mail, so that page holds no form token; the form that it shows sends the cookie."""
    web = web_client(keeper_for_web())
    page = (await web.get("/login", params={"token": TOKEN})).text
    assert "form_token" not in page
    web.cookies.set("gateway", "the-session-of-yesterday-0123456789")
    assert (await web.post("/login/one-time", data={"token": TOKEN}, headers=ORIGIN)).status_code == 303


# --- OpenID Connect -----------------------------------------------------------------------------------------------------


async def begun(web: httpx.AsyncClient) -> httpx.Response:
    return await web.get("/login/oidc")


async def test_the_provider_is_offered_only_where_there_is_one() -> None:
    assert "/login/oidc" not in (await web_client(keeper_for_web()).get("/login")).text
    page = (await web_client(keeper_with_oidc()).get("/login")).text
    assert 'href="/login/oidc"' in page
    assert "Sign in with Jan Parichay" in page


async def test_signing_in_with_the_provider() -> None:
    web = web_client(keeper := keeper_with_oidc())
    there = await begun(web)
    assert (there.status_code, there.headers["location"]) == (303, "https://login.example.gov.in/authorize?x=1")
    cookie = there.headers["set-cookie"].lower()
    for part in ("httponly", "samesite=lax", "max-age=600", "path=/"):
        assert part in cookie
    back = await web.get("/login/oidc/callback", params={"code": "good-code", "state": STATE})
    assert back.status_code == 200, "a strict cookie is not sent with a redirect that began at another site"
    assert '<meta http-equiv="refresh" content="0; url=/">' in back.text
    cookies = back.headers.get_list("set-cookie")
    assert any(one.startswith(f"gateway={SESSION}") and "samesite=strict" in one.lower() for one in cookies)
    assert any(one.startswith('gateway-oidc=""') for one in cookies)
    assert (await web.get("/")).status_code == 200
    assert any(isinstance(one, review.EndOidc) and one.client_ip == "127.0.0.1" for one in keeper.asked)


@pytest.mark.parametrize(
    ("kept", "params"),
    [
        ("", {"code": "good-code", "state": STATE}),
        (STATE, {"code": "good-code", "state": "of-another-browser"}),
        (STATE, {"code": "good-code"}),
        (STATE, {"state": STATE}),
        (STATE, {"error": "access_denied", "state": STATE}),
        ("", {"code": "good-code", "state": ""}),
        ("of-somebody", {"code": "good-code", "state": STATE}),
    ],
)
async def test_W17_an_answer_that_this_browser_did_not_ask_for_signs_nobody_in(kept: str, params: dict[str, str]) -> None:
    web = web_client(keeper := keeper_with_oidc())
    if kept:
        web.cookies.set("gateway-oidc", kept)
    answer = await web.get("/login/oidc/callback", params=params)
    assert answer.status_code == 403
    assert not any(isinstance(one, review.EndOidc) for one in keeper.asked)
    assert not any(one.startswith("gateway=") for one in answer.headers.get_list("set-cookie"))


async def test_an_account_that_nobody_here_has_is_told_so_and_is_not_signed_in() -> None:
    web = web_client(keeper_with_oidc())
    await begun(web)
    answer = await web.get("/login/oidc/callback", params={"code": "bad-code", "state": STATE})
    assert answer.status_code == 403
    assert "Nobody here has this account" in answer.text
    assert not any(one.startswith("gateway=") for one in answer.headers.get_list("set-cookie"))
    assert any(one.startswith('gateway-oidc=""') for one in answer.headers.get_list("set-cookie"))


async def test_behind_https_the_state_is_bound_to_the_host() -> None:
    config = Config(hostname="gw", web=Web(public_url="https://gateway.dept.gov.in"))
    answer = await web_client(keeper_with_oidc(), config, "https://gateway.dept.gov.in").get("/login/oidc")
    assert answer.headers["set-cookie"].startswith("__Host-gateway-oidc=")
    assert "Secure" in answer.headers["set-cookie"]

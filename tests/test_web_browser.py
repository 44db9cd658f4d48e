"""Signing in with a real browser: what it keeps, what it sends back, and what it shows when one has gone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from gateway.config import Oidc, Web
from gateway.requests import AddUser
from tests.people_kit import PASSWORD, Way, cheap_hashes
from tests.test_web_signing_in import Pages

playwright = pytest.importorskip("playwright.async_api")
CHROMIUM = "/usr/bin/chromium"
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="there is no Chromium here")]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.asynccontextmanager
async def serving(app: Any, port: int) -> AsyncIterator[None]:
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, lifespan="off", log_level="error", ws="none"))
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.02)
    try:
        yield
    finally:
        server.should_exit = True
        await task


@contextlib.asynccontextmanager
async def browsing() -> AsyncIterator[Any]:
    async with playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield await browser.new_page()
        finally:
            await browser.close()


@pytest.fixture
def issuer() -> Iterator[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mock = pytest.importorskip("oidc_provider_mock")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    users = [mock.User(sub="sub-chief", claims={"email": "chief@dept.gov.in", "email_verified": True})]
    with mock.run_server_in_thread(require_nonce=True, user_claims=users) as server:
        yield f"http://localhost:{server.server_port}"


async def test_W15_signing_in_by_hand_and_nothing_left_when_one_has_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cheap_hashes(monkeypatch)
    port = free_port()
    here = f"http://127.0.0.1:{port}"
    async with Way(tmp_path) as way:
        await way.root(AddUser("chief", grants=("administrator@*",), email="chief@dept.gov.in"))
        async with serving(Pages(way).app, port), browsing() as page:
            wrong: list[str] = []
            page.on("console", lambda message: wrong.append(message.text))
            page.on("dialog", lambda dialog: wrong.append(dialog.message))
            await page.goto(f"{here}/login?token={way.entrance.logins.make('chief')}")
            await page.click("main button")
            await page.wait_for_url("**/account")
            await page.fill("#new", PASSWORD)
            await page.fill("#again", PASSWORD)
            await page.click("text=Set the password")
            await page.wait_for_url("**/account?said=password")
            await page.click("text=Set up the codes >> nth=-1")
            await page.click("summary")
            secret = re.sub(r"\s", "", await page.inner_text("code.secret"))
            box = await page.locator(".code-picture svg").bounding_box()
            assert box["width"] > 150
            await page.fill("#code", way.code(secret))
            await page.click("text=Put the codes in force")
            await page.wait_for_url("**/account?said=codes")
            way.clocks.advance(60)
            await page.goto(f"{here}/users")
            assert "chief@dept.gov.in" in await page.content()

            # A link of another site: the strict cookie comes with the second step.
            await page.goto("about:blank")
            await page.goto(f"http://localhost:{port}/login")
            await page.evaluate(
                f"() => {{ const a = document.createElement('a'); a.href = '{here}/users'; document.body.append(a); a.click() }}"
            )
            await page.wait_for_url("**/users?again=1")
            assert "chief@dept.gov.in" in await page.content()

            await page.click("text=Sign out")
            await page.wait_for_url("**/login?said=out")
            await page.go_back()
            assert "chief@dept.gov.in" not in await page.content(), "the page before is gone from the browser"
            await page.goto(f"{here}/login")
            await page.fill("#name", "chief")
            await page.fill("#password", PASSWORD)
            await page.fill("#code", way.code(secret))
            await page.keyboard.press("Enter")
            await page.wait_for_url("**/users")
            (cookie,) = [one for one in await page.context.cookies() if one["name"] == "gateway"]
            assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
            assert await page.evaluate("document.cookie") == ""
            assert [text for text in wrong if not text.startswith(("Failed to load", "Clear-Site-Data"))] == []


async def test_signing_in_with_the_provider_in_a_browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, issuer: str) -> None:
    cheap_hashes(monkeypatch)
    port = free_port()
    here = f"http://127.0.0.1:{port}"
    oidc = Oidc(issuer=issuer, client_id="gateway", client_secret_file=tmp_path / "secret", name="Parichay")
    (tmp_path / "secret").touch(mode=0o600)
    (tmp_path / "secret").write_text("s3cret\n")
    async with Way(tmp_path, oidc=oidc, web=Web(public_url=here)) as way:
        await way.root(AddUser("chief", grants=("administrator@*",), email="chief@dept.gov.in"))
        async with serving(Pages(way).app, port), browsing() as page:
            await page.goto(f"{here}/login")
            await page.click("text=Sign in with Parichay")
            await page.wait_for_url(f"{issuer}/**")
            await page.fill("input[name=sub]", "sub-chief")
            await page.click("button[type=submit], input[type=submit]")
            await page.wait_for_url(f"{here}/users")
            assert "chief@dept.gov.in" in await page.content()
            names = {one["name"] for one in await page.context.cookies(here)}
            assert names == {"gateway"}, "the state is gone"


async def test_W03_a_form_of_another_site_is_refused_in_a_browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cheap_hashes(monkeypatch)
    port, other = free_port(), free_port()
    here = f"http://127.0.0.1:{port}"
    async with Way(tmp_path) as way:
        await way.root(AddUser("chief", grants=("administrator@*",)))
        pages = Pages(way)

        async def hostile(_: Any, __: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
            await send({"type": "http.response.body", "body": b"<!doctype html><title>x</title>"})

        async with serving(pages.app, port), serving(hostile, other), browsing() as page:
            await page.goto(f"{here}/login?token={way.entrance.logins.make('chief')}")
            await page.click("main button")
            await page.wait_for_url("**/account")
            answers: list[int] = []
            page.on("response", lambda response: answers.append(response.status) if response.url == f"{here}/logout" else None)
            await page.goto(f"http://localhost:{other}/")
            for kind in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data"):
                await page.goto(f"http://localhost:{other}/")
                async with page.expect_navigation():
                    await page.evaluate(
                        "([to, kind]) => { const form = document.createElement('form'); form.method = 'post'; form.action = to;"
                        "form.enctype = kind; document.body.append(form); form.submit() }",
                        [f"{here}/logout", kind],
                    )
            assert answers == [403, 403, 403]
            await page.goto(f"{here}/account")
            assert await page.inner_text("h1") == "Your account", "still signed in"

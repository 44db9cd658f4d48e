"""The pages before the real way in of the keeper: a person is added, sets up password and codes, signs in, and is changed."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway import requests
from gateway.keeper.exceptions import Wrong
from gateway.requests import AddUser
from gateway.web.application import application
from tests.faces import BASE, ORIGIN, form
from tests.people_kit import PASSWORD, Way, cheap_hashes


class Pages:
    """Browsers before the pages of one gateway."""

    def __init__(self, way: Way) -> None:
        self.way = way
        self.app: Any = application(way.config, self._ask)

    async def _ask(self, request: Any) -> tuple[Any, bytes]:
        try:
            return await self.way.entrance.answer(request)
        except Wrong as error:
            return requests.Failed(str(error), error.code), b""

    def browser(self, ip: str = "10.1.2.3") -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(app=self.app, client=(ip, 1)), base_url=BASE, headers=ORIGIN)

    async def opened(self, name: str) -> httpx.AsyncClient:
        """The browser of somebody who opened a one-time login."""
        web = self.browser()
        answer = await web.post("/login/one-time", data={"token": self.way.entrance.logins.make(name)})
        assert answer.headers["location"] == "/account"
        return web

    async def set_up(self, web: httpx.AsyncClient) -> str:
        """Sets password and codes on the page; the secret."""
        answer = await web.post("/account/password", data=form(web, new=PASSWORD, again=PASSWORD))
        assert answer.status_code == 303, answer.text
        page = (await web.post("/account/totp", data=form(web))).text
        found = re.search(r'<code class="secret">(.*?)</code>', page)
        assert found
        secret = re.sub(r"<[^>]*>|\s", "", found[1])
        answer = await web.post("/account/totp/confirm", data=form(web, code=self.way.code(secret)))
        assert answer.status_code == 303, answer.text
        self.way.clocks.advance(60)
        return secret

    async def sign_in(self, web: httpx.AsyncClient, name: str, secret: str, **typed: str) -> httpx.Response:
        return await web.post("/login", data={"name": name, "password": PASSWORD, "code": self.way.code(secret)} | typed)


@pytest.fixture
async def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pages]:
    cheap_hashes(monkeypatch)
    async with Way(tmp_path) as way:
        await way.root(AddUser("chief", grants=("administrator@*", "auditor@*"), email="chief@dept.gov.in"))
        yield Pages(way)


async def test_W04_W13_a_person_is_added_sets_up_the_sign_in_works_and_is_changed(pages: Pages) -> None:
    chief = await pages.opened("chief")
    assert (await chief.get("/users")).headers["location"] == "/account", "first the second factor"
    secret = await pages.set_up(chief)
    assert (await chief.get("/users")).status_code == 200

    first = chief.cookies["gateway"]
    answer = await pages.sign_in(chief, "chief", secret)
    assert answer.status_code == 303
    assert chief.cookies["gateway"] != first
    old = pages.browser()
    old.cookies.set("gateway", first)
    assert (await old.get("/users")).headers["location"] == "/login", "the session before is at an end"

    fields = form(chief, name="nanda", email="nanda@home.gov.in", department="home.gov.in")
    answer = await chief.post("/users", data=fields | {"department-0": "home.gov.in", "role-0": ["viewer"]})
    assert answer.headers["location"] == "/users?name=nanda&said=added", answer.text
    assert "nanda@home.gov.in" in (await chief.get("/users")).text

    page = (await chief.post("/users/nanda/invite", data=form(chief))).text
    link = re.search(r"/login\?token=([\w-]+)", page)
    assert link
    nanda = pages.browser()
    assert f'value="{link[1]}"' in (await nanda.get("/login", params={"token": link[1]})).text
    assert (await nanda.post("/login/one-time", data={"token": link[1]})).headers["location"] == "/account"
    assert (await pages.browser().post("/login/one-time", data={"token": link[1]})).status_code == 403, "it works once"
    nandas = await pages.set_up(nanda)
    assert (await nanda.get("/users")).status_code == 403

    change = form(chief, act="change", email="nanda@home.gov.in", department="home.gov.in")
    answer = await chief.post("/users/nanda", data=change | {"department-0": "home.gov.in", "role-0": ["administrator"]})
    assert answer.status_code == 303
    page = (await nanda.get("/users")).text
    assert "nanda@home.gov.in" in page, "a changed role holds at the next click"
    assert "chief@dept.gov.in" not in page, "of another department"
    assert (await nanda.get("/users", params={"name": "chief"})).status_code == 404

    assert (await chief.post("/users/nanda", data=form(chief, act="disable"))).status_code == 303
    assert (await nanda.get("/users")).headers["location"] == "/login"
    refused = await pages.sign_in(pages.browser("10.9.9.9"), "nanda", nandas)
    assert refused.status_code == 403
    wrong = await pages.sign_in(pages.browser("10.9.9.8"), "nobody", nandas)
    blank = re.compile(r'(name="name"[^>]* value=")[^"]*"')
    assert blank.sub(r"\1", refused.text) == blank.sub(r"\1", wrong.text), "who is disabled looks like who is not there"


async def test_W13_the_last_administrator_stays(pages: Pages) -> None:
    chief = await pages.opened("chief")
    await pages.set_up(chief)
    answer = await chief.post("/users/chief", data=form(chief, act="disable"))
    assert answer.status_code == 400
    assert "last administrator" in answer.text
    roles = {"department-0": "*", "role-0": ["viewer"]}
    answer = await chief.post("/users/chief", data=form(chief, act="change", email="chief@dept.gov.in") | roles)
    assert answer.status_code == 403
    assert "Nobody changes his own roles" in answer.text
    answer = await chief.post("/users/chief", data=form(chief, act="change", email="c@dept.gov.in"))
    assert answer.status_code == 303, "the address alone may be changed"


async def test_W04_a_new_password_and_signing_out_everywhere_end_the_other_sessions(pages: Pages) -> None:
    here = await pages.opened("chief")
    secret = await pages.set_up(here)
    there = pages.browser()
    assert (await pages.sign_in(there, "chief", secret)).status_code == 303
    new = "river heron lotus 77"
    answer = await here.post("/account/password", data=form(here, old="wrong-old-password", new=new, again=new))
    assert answer.status_code == 400
    assert "The old password is wrong." in answer.text
    answer = await here.post("/account/password", data=form(here, old=PASSWORD, new=new, again=new))
    assert answer.status_code == 303
    assert (await there.get("/account")).headers["location"] == "/login"
    assert (await here.get("/account")).status_code == 200
    pages.way.clocks.advance(60)
    assert (await pages.sign_in(there, "chief", secret, password=new)).status_code == 303
    assert (await there.post("/logout", data=form(there, everywhere="1"))).status_code == 303
    assert (await here.get("/account")).headers["location"] == "/login"


async def test_W10_a_code_is_taken_once_and_guessing_gets_slower(pages: Pages) -> None:
    secret = await pages.set_up(await pages.opened("chief"))
    assert (await pages.sign_in(pages.browser(), "chief", secret)).status_code == 303
    again = await pages.sign_in(pages.browser(), "chief", secret)
    assert again.status_code == 403
    texts = [(await pages.sign_in(pages.browser(), "chief", secret, password=f"guess number {n}")).text for n in range(6)]
    assert "The name, the password or the code is wrong." in texts[0]
    assert "please wait" in texts[-1]
    pages.way.clocks.advance(4000)
    assert (await pages.sign_in(pages.browser(), "chief", secret)).status_code == 303


async def test_a_token_made_on_the_page_is_a_token(pages: Pages) -> None:
    chief = await pages.opened("chief")
    await pages.set_up(chief)
    page = await chief.post("/account/tokens", data=form(chief, name="report", scopes=["audit", "figures"], days="30"))
    found = re.search(r"gwt_[\w-]+", page.text)
    assert found
    row = await pages.way.who(found[0])
    assert set(row["acts"]) == {"audit", "figures"}
    listed = (await chief.get("/account")).text
    assert found[0] not in listed
    drop = re.search(r'action="(/account/tokens/[^"]+/drop)"', listed)
    assert drop
    assert (await chief.post(drop[1], data=form(chief))).status_code == 303
    with pytest.raises(Wrong):
        await pages.way.who(found[0])


async def test_W04_a_session_ends_when_nothing_is_done_and_in_any_case_after_a_day_of_work(pages: Pages) -> None:
    chief = await pages.opened("chief")
    secret = await pages.set_up(chief)
    assert (await chief.get("/account")).status_code == 200
    pages.way.clocks.advance(899)
    assert (await chief.get("/account")).status_code == 200
    pages.way.clocks.advance(901)
    assert (await chief.get("/account")).headers["location"] == "/login"
    await pages.sign_in(chief, "chief", secret)
    for _ in range(8 * 6):
        answer = await chief.get("/account")
        pages.way.clocks.advance(600)
    assert answer.status_code == 200
    assert (await chief.get("/account")).headers["location"] == "/login"

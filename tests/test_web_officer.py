"""The officer's pages: the link of a report, what may be sent from it, and signing in (W03, W06, W14, W15)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway import requests, review
from gateway.config import Config, Contacts, Web
from gateway.envelope import Door
from gateway.keeper.exceptions import Wrong
from gateway.keeper.officers import Officers
from gateway.levels import Level
from gateway.stores.base import HoldState
from gateway.vault.officer_links import OfficerLinks
from gateway.verdict import Disposition
from gateway.web.application import application
from tests.faces import BASE, ORIGIN, FakeKeeper, signed_in, web_client
from tests.held_mail import WHO, held, record, staffed
from tests.keeper_kit import Room, recipient, transaction, verdict

SENDER = "so@dept.gov.in"
WHY = "The court asked for it by tonight."
EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)>\u202egpj\u0007"
WAYS = requests.Rows(({"password": True, "oidc": "", "officer": True, "totp": True},))


class Behind:
    """A browser before the pages, and the keeper's own service of officers behind them."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.mono = 0.0
        self.officers = Officers(room.quarantine.mail, room.relay, lambda: room.policy, self.monotonic)
        self.links = OfficerLinks(room.config, room.vault)
        self.keeper = FakeKeeper({review.SignInWays: WAYS})
        self.web = httpx.AsyncClient(transport=self._transport(), base_url=BASE)

    def monotonic(self) -> float:
        self.mono += 100.0
        return self.mono

    def _transport(self) -> httpx.ASGITransport:
        app = application(Config(hostname="gw1.dept.gov.in"), self.ask)
        return httpx.ASGITransport(app=app, raise_app_exceptions=False)

    async def ask(self, request: Any) -> tuple[Any, bytes]:
        handler = self.officers.open().get(type(request))
        if handler is None:
            return await self.keeper.ask(request)
        try:
            return await handler(request), b""
        except Wrong as error:
            return requests.Failed(str(error), error.code), b""

    def path(self, reference: str, sender: str = SENDER) -> str:
        return f"/officer/{self.links.token(reference, sender, self.room.now)}"

    async def post(self, path: str, data: Any = None, **headers: str) -> httpx.Response:
        return await self.web.post(path, data=data or {"text": WHY, "lang": "en"}, headers=ORIGIN | headers)


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    made = await staffed(tmp_path, web=Web(public_url="https://gateway.dept.gov.in"))
    object.__setattr__(made.config, "contacts", Contacts(postmaster="postmaster@dept.gov.in", security="secops@dept.gov.in"))
    yield made
    await made.close()


@pytest.fixture
def behind(room: Room) -> Behind:
    return Behind(room)


def text_of(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


async def test_the_page_says_what_why_and_next_in_the_language_that_is_asked_for(behind: Behind) -> None:
    path = behind.path(await held(behind.room))
    page = await behind.web.get(path)
    assert page.status_code == 200
    said = text_of(page.text)
    for words in (
        "Your message waits for a reviewer",
        "desk@finance.nic.in",
        "What happened",
        "What to do next",
        "7-Zip",
        "Ask for release",
        SENDER,
    ):
        assert words in said, words
    assert '<html lang="en">' in page.text
    hindi = await behind.web.get(path, params={"lang": "hi"})
    assert '<html lang="hi">' in hindi.text
    assert "अब क्या करें" in hindi.text
    assert "अब क्या करें" in (await behind.web.get(path, headers={"accept-language": "hi-IN,en;q=0.5"})).text
    for lang in ("xx", "../../x", "<b>", "h" * 5000):
        assert '<html lang="en">' in (await behind.web.get(path, params={"lang": lang})).text


async def test_a_mail_scanner_that_follows_links_changes_nothing(behind: Behind) -> None:
    reference = await held(behind.room)
    before = await record(behind.room, reference)
    for path in ("", "/request", "/object", "/answer"):
        for method in ("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE"):
            answer = await behind.web.request(method, behind.path(reference) + path, headers=ORIGIN)
            assert answer.status_code == (200 if not path and method == "GET" else 405), (method, path)
    await behind.web.get(
        behind.path(reference), params={"said": "request", "text": WHY, "_method": "POST"}, headers={"x-http-method-override": "POST"}
    )
    assert await record(behind.room, reference) == before
    assert await behind.room.store.reviewing.remarks(reference) == []


async def test_I06_the_page_of_what_was_not_filed_says_so_and_nothing_of_a_reviewer(behind: Behind) -> None:
    one = recipient(SENDER, Disposition.REFUSE, rule="suspect-content", explain="suspect-content")
    await behind.room.commit(tx := transaction(SENDER, door=Door.IMAP), verdict(behind.room.version, one))
    said = text_of((await behind.web.get(behind.path(tx.reference))).text)
    for words in ("was not filed in the mailbox", f"{SENDER} not filed", "The message is not filed:", "Tell the security team"):
        assert words in said, words
    for words in ("is held", "reviewer", "Ask for release"):
        assert words not in said, words


async def test_release_is_asked_for_and_the_page_follows_it_to_its_end(behind: Behind) -> None:
    reference = await held(behind.room, "desk@finance.nic.in", "b@nic.in", level=Level.CONFIDENTIAL)
    path = behind.path(reference)
    page = (await behind.web.get(path)).text
    assert page.count('name="to"') == 2
    answer = await behind.post(f"{path}/request", {"text": WHY, "lang": "en", "to": ["b@nic.in"]})
    assert (answer.status_code, answer.headers["location"]) == (303, f"{path}?lang=en&said=request")
    assert (await record(behind.room, reference)).state is HoldState.REQUESTED
    page = (await behind.web.get(answer.headers["location"])).text
    assert "Your request was sent." in page
    assert WHY in page
    assert "/request" not in page
    assert (await behind.post(f"{path}/request")).status_code == 409  # W06: replayed
    await behind.room.quarantine.release(reference, "Fine.", (), WHO["rev"])
    assert "One person has agreed" in (await behind.web.get(path)).text
    await behind.room.quarantine.release(reference, "Fine.", (), WHO["app"])
    page = (await behind.web.get(path)).text
    assert "Your message was released and sent on." in page
    assert "rev" not in text_of(page).split()


async def test_a_question_is_answered_and_a_refusal_shows_its_note(behind: Behind) -> None:
    reference = await held(behind.room, level=Level.RESTRICTED)
    path = behind.path(reference)
    await behind.room.quarantine._remarks.ask(reference, f"Why {EVIL}?", WHO["rev"])
    page = (await behind.web.get(path)).text
    assert "A reviewer asks you" in page
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert (await behind.post(f"{path}/answer", {"text": EVIL, "lang": "hi"})).headers["location"] == f"{path}?lang=hi&said=answer"
    page = (await behind.web.get(path)).text
    assert "/answer" not in page
    assert "<img src=x" not in page
    await behind.room.quarantine.refuse(reference, "Send it encrypted.", WHO["rev"])
    page = (await behind.web.get(path)).text
    assert "A reviewer has refused your message" in page
    assert "Send it encrypted." in page
    assert 'action="' + path + "/request" not in page


async def test_a_mistake_is_reported(behind: Behind) -> None:
    path = behind.path(await held(behind.room))
    assert (await behind.post(f"{path}/object")).status_code == 303
    assert "sent to the person who answers for the rule" in (await behind.web.get(f"{path}?said=object")).text
    assert behind.room.relay.offered[-1][0][0].recipient == "secops@dept.gov.in"


async def test_what_was_written_stands_in_its_form_again_when_it_could_not_be_sent(behind: Behind) -> None:
    path = behind.path(await held(behind.room))
    answer = await behind.post(f"{path}/request", {"text": "too <b>", "lang": "hi"})
    assert answer.status_code == 400
    assert "too &lt;b&gt;</textarea>" in answer.text
    assert "10 से 2,000 अक्षर" in answer.text
    assert (await behind.post(f"{path}/answer")).status_code == 409


async def test_W06_every_link_that_opens_nothing_is_one_page_in_two_languages(behind: Behind) -> None:
    reference = await held(behind.room)
    good = behind.path(reference)
    pages = set()
    for path in (
        f"/officer/{reference}", good[:-1], good + "a", good.upper().replace("/OFFICER/", "/officer/"), "/officer/" + "a" * 72,
        behind.path(reference, "other@dept.gov.in"), "/officer/eyJhbGciOiJub25lIn0.e30.", "/officer/%00", "/officer/..%5c..%5cetc",
        "/officer/" + "\u0661" * 72, "/officer/" + "x" * 10_000,
    ):  # fmt: skip
        answer = await behind.web.get(path)
        assert answer.status_code == 404, path
        assert "यह पृष्ठ नहीं खोला जा सकता" in answer.text
        pages.add(re.sub(r'href="/officer[^"]*"', "", answer.text))
        for act in ("request", "object", "answer"):
            assert (await behind.post(f"{path}/{act}")).status_code == 404
    behind.room.now += 31 * 86400
    pages.add(re.sub(r'href="/officer[^"]*"', "", (await behind.web.get(good)).text))
    assert len(pages) == 1
    assert await behind.room.store.reviewing.remarks(reference) == []


@pytest.mark.parametrize(
    "headers", [{}, {"origin": "null"}, {"origin": "http://evil.example"}, {"origin": BASE, "sec-fetch-site": "cross-site"}]
)
async def test_W03_a_form_of_another_site_is_refused(behind: Behind, headers: dict[str, str]) -> None:
    reference = await held(behind.room)
    for act in ("request", "object", "answer"):
        assert (await behind.web.post(f"{behind.path(reference)}/{act}", data={"text": WHY}, headers=headers)).status_code == 403
    assert (await behind.web.post("/officer", data={"name": "a", "password": "b"}, headers=headers)).status_code == 403
    assert await behind.room.store.reviewing.remarks(reference) == []


async def test_W15_the_link_stays_where_it_is(behind: Behind) -> None:
    path = behind.path(await held(behind.room))
    page = await behind.web.get(path)
    for name, value in (
        ("referrer-policy", "same-origin"), ("cache-control", "no-store"), ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
    ):  # fmt: skip
        assert page.headers[name] == value
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert "access-control-allow-origin" not in page.headers
    assert "set-cookie" not in page.headers
    assert not re.search(r"(?:src|href|action)=\"(?!/|#)", page.text)
    assert not re.search(r"<script|<style|\sstyle=|\son\w+=|javascript:", page.text)


async def test_a_fault_does_not_log_the_link(behind: Behind, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(_: Any) -> Any:
        raise RuntimeError("x")

    web = web_client(FakeKeeper({review.OfficerWords: broken}))
    assert (await web.get("/officer/" + "a" * 72)).status_code == 500
    assert "a" * 72 not in "".join(capsys.readouterr())


async def test_hostile_text_is_only_text(behind: Behind) -> None:
    words = (await behind.ask(review.OfficerWords("en")))[0]
    row = {
        "reference": EVIL, "created": 1.8e9, "sender": EVIL, "subject": EVIL, "state": "held", "decided": 0.0, "delivered": 3,
        "released": [],
        "recipients": [{"address": EVIL, "disposition": "hold", "state": "held", "what": EVIL, "why": EVIL, "next": [EVIL], "rule": EVIL,
                        "title": EVIL, "source": EVIL}, {"address": "b@nic.in", "disposition": "hold", "state": "held", "what": EVIL,
                        "why": EVIL, "next": [EVIL], "rule": EVIL, "title": EVIL, "source": EVIL}],
        "remarks": [{"created": 1.8e9, "kind": "note", "author": "reviewer", "text": EVIL}], "way": [{"step": "stopped", "at": 1.8e9}],
        "question": EVIL, "may_ask": True, "may_answer": True, "may_object": True, "deadline": 1.9e9, "language": "en",
        "languages": ["en", "hi"], "expires": 1.9e9,
    }  # fmt: skip
    web = web_client(FakeKeeper({review.OfficerWords: words, review.OfficerItem: requests.Rows((row,))}))
    page = await web.get("/officer/" + "a" * 72)
    assert page.status_code == 200
    assert "<script" not in page.text
    assert "<img src=x" not in page.text
    assert "\u202e" not in re.sub('value="[^"]*"', "", page.text)
    assert "[U+202E]" in page.text


# --- signed in -----------------------------------------------------------------------------------------------------------------------

OFFICER = {
    "name": SENDER, "email": SENDER, "department": "", "language": "", "grants": [], "acts": {}, "kind": "officer", "password": False,
    "totp": False, "fresh": False,
}  # fmt: skip


async def officers_keeper(behind: Behind) -> FakeKeeper:
    words = (await behind.ask(review.OfficerWords("en")))[0]
    mine = {"reference": "01CX5B00000G00G00000000001", "created": 1.8e9, "subject": EVIL, "state": "held", "token": "a" * 72}

    def sign_in(request: review.SignIn) -> Any:
        if not request.officer or (request.name, request.password) != (SENDER, "right"):
            return requests.Failed("the login or the password is wrong", 1)
        keeper.sessions["officers-session-0123456789"] = OFFICER
        return requests.Rows(({"session": "officers-session-0123456789", "user": SENDER},))

    keeper = FakeKeeper({
        review.OfficerWords: words, review.SignInWays: WAYS, review.SignIn: sign_in,
        review.MyMail: requests.Rows((mine, mine | {"subject": "", "state": "stopped"})),
    })  # fmt: skip
    return keeper


async def test_an_officer_signs_in_and_sees_his_mail(behind: Behind) -> None:
    web = web_client(keeper := await officers_keeper(behind))
    page = await web.get("/officer")
    assert page.status_code == 200
    assert 'action="/officer"' in page.text
    assert not any(isinstance(one, review.MyMail) for one in keeper.asked)
    answer = await web.post("/officer", data={"name": SENDER, "password": "right", "lang": "en"}, headers=ORIGIN)
    assert (answer.status_code, answer.headers["location"]) == (303, "/officer?lang=en")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    page = await web.get("/officer")
    assert f'href="/officer/{"a" * 72}?lang=en"' in page.text
    assert "waits for a reviewer" in page.text
    assert "<script" not in page.text


async def test_a_wrong_login_says_no_more_and_is_slowed_down(behind: Behind) -> None:
    web = web_client(await officers_keeper(behind))
    pages = [await web.post("/officer", data={"name": "x", "password": word}, headers=ORIGIN) for word in ("y", "right", "z" * 100_000)]
    assert [page.status_code for page in pages] == [403] * 3
    assert len({page.text for page in pages}) == 1
    assert "y" * 100 not in pages[2].text
    codes = [(await web.post("/officer", data={"name": "x", "password": "y"}, headers=ORIGIN)).status_code for _ in range(20)]
    assert codes[-1] == 429


async def test_a_reviewer_is_no_officer(behind: Behind) -> None:
    keeper = await officers_keeper(behind)
    page = await signed_in(keeper).get("/officer")
    assert page.status_code == 200
    assert 'name="password"' in page.text
    assert not any(isinstance(one, review.MyMail) for one in keeper.asked)


async def test_where_mailboxes_have_no_logins_the_page_says_so(behind: Behind) -> None:
    keeper = await officers_keeper(behind)
    keeper.answers[review.SignInWays] = requests.Rows(({"password": True, "oidc": "", "officer": False, "totp": True},))
    page = (await web_client(keeper).get("/officer")).text
    assert 'name="password"' not in page
    assert "Signing in is not possible here" in page

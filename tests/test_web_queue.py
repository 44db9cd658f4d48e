"""The queue: what it shows, how it is narrowed, searched, kept up to date and saved; acts on many messages at once."""

from __future__ import annotations

import asyncio
import html
import re
import time
from datetime import date
from typing import Any
from urllib.parse import parse_qsl, urlencode

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import inquiries, ipc, requests, review
from gateway.review import Filter
from gateway.web import batch, filters, held_rows
from gateway.web.door import Visitor, form_token
from gateway.web.queue_pages import SAID
from tests.faces import HELD, ORIGIN, SEALED, SESSION, FakeKeeper, person, web_client

OTHER = "session-of-somebody-else-0123456789abcdef"
ROW = HELD | {
    "title": "A classified attachment must be encrypted", "source": "Circular", "tiers": {"a@nic.in": "government", "b@gov.in": "private"},
    "assigned": "meena", "approvals": 1, "needed": 2, "updated": HELD["created"], "requested": 0, "released": [], "reason": "rule",
}  # fmt: skip
COUNTS = {
    "total": 2, "states": {"held": 1, "requested": 1}, "levels": {"CONFIDENTIAL": 1}, "rules": {ROW["rule"]: 1},
    "departments": {"dept.gov.in": 2}, "oldest": 0.0, "due_soon": 1,
}  # fmt: skip


def keeper(*rows: dict[str, Any], who: dict[str, Any] | None = None, **answers: Any) -> FakeKeeper:
    given: dict[type, Any] = {
        review.FindHeld: requests.Rows(rows or (ROW, SEALED)), review.CountHeld: requests.Rows((COUNTS,)),
        review.ListViews: requests.Rows(()), review.ListRules: requests.Rows(({"id": ROW["rule"], "title": ROW["title"]},)),
        review.Colleagues: requests.Rows(({"name": "meena", "email": ""},)),
    }  # fmt: skip
    given |= {getattr(review, name, None) or getattr(inquiries, name): answer for name, answer in answers.items()}
    return FakeKeeper(given, {SESSION: who or person(), OTHER: person("somebody")})


def browser(over: FakeKeeper, session: str = SESSION) -> httpx.AsyncClient:
    web = web_client(over)
    web.cookies.set("gateway", session)
    return web


async def post(web: httpx.AsyncClient, path: str, data: dict[str, Any], session: str = SESSION) -> httpx.Response:
    return await web.post(path, data=data | {"form_token": form_token(session)}, headers=ORIGIN)


def asked(over: FakeKeeper, kind: type) -> list[Any]:
    return [one for one in over.asked if isinstance(one, kind)]


# --- what is shown ----------------------------------------------------------------------------------------------------


async def test_the_list_shows_what_is_held() -> None:
    page = (await browser(keeper()).get("/")).text
    for text in (
        ROW["reference"], "CONFIDENTIAL", ROW["title"], "government", "private", "48.2 kB", ">Held<", "Private subject", "dept.gov.in",
        "1 of 2 approved", "meena", "2 waiting for a decision", "1 near the deadline", f'href="/held/{ROW["id"]}"',
    ):  # fmt: skip
        assert text in page, text
    plain = page.replace("<wbr>", "")
    assert "officer@dept.gov.in" in plain
    assert "a@nic.in" in plain


async def test_of_a_sealed_item_the_list_shows_only_four_things_and_offers_no_mark() -> None:
    page = (await browser(keeper(SEALED | {"title": "What is probably SECRET is sealed"})).get("/")).text
    body = page[page.index("<tbody>") : page.index("</tbody>")].replace("<wbr>", "")
    for text in (SEALED["reference"], "probably SECRET is sealed", SEALED["sender"], "left"):
        assert text in body
    for text in ("hidden@nic.in", "48.2", "Requested", "Private subject", "CONFIDENTIAL", 'name="item"', "state-"):
        assert text not in body, text
    assert 'action="/batch"' not in page or "Do it" not in page


async def test_a_subject_is_for_those_who_may_see_content_even_if_the_keeper_sent_it() -> None:
    page = (await browser(keeper(who=person("v", "viewer", "reviewer@home.gov.in"))).get("/")).text
    assert ROW["reference"] in page
    assert "Private subject" not in page
    assert 'name="item"' not in page, "nothing to decide, nothing to mark"


async def test_W01_text_of_a_message_is_only_text_in_every_field() -> None:
    bad = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>\u202e\x1b[2J{{7*7}}"
    row = {name: bad if isinstance(value, str) and name not in ("id", "reference", "department") else value for name, value in ROW.items()}
    row |= {"recipients": [bad, f"{bad}@x"], "tiers": {bad: bad}, "department": bad}
    views = requests.Rows(({"id": "v1", "name": bad, "filter": {"words": bad, "rules": [bad]}},))
    over = keeper(row, SEALED | {"sender": bad, "reference": bad, "rule": bad}, ListViews=views, Colleagues=requests.Rows(({"name": bad},)),
                  CountHeld=requests.Rows((COUNTS | {"rules": {bad: 1}, "departments": {bad: 1}},)),
                  ListRules=requests.Rows(({"id": bad, "title": bad},)))  # fmt: skip
    web = browser(over)
    for path in ("/", "/?" + urlencode({"q": bad}), f"/changes?since=5&top={ROW['id']}&bottom={ROW['id']}"):
        page = (await web.get(path)).text
        assert not re.search(r"<script(?! src=\"/static/)|<img src=x|\u202e|\x1b|>49<", page), path
        assert not re.search(r"\son\w+=", re.sub(r'"[^"]*"|&#?\w+;[^<]*', "", page))
        # No quote of the text ends an attribute.
        assert 'value=""\'' not in page


async def test_pages_hold_no_inline_code_and_every_form_that_changes_something_has_its_token() -> None:
    over = keeper(ListViews=requests.Rows(({"id": "v1", "name": "Mine", "filter": {"words": "tender"}},)))
    page = (await browser(over).get("/")).text
    assert not re.search(r"(?:src|href|action)=\"(?!/|#)", page)
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|<script(?! src=\"/static/[\w.]+\" defer></script>)", page)
    forms = re.findall(r'<form[^>]*method="post".*?</form>', page, re.S)
    assert len(forms) == 4  # sign out, save, remove, batch
    assert all(f'value="{form_token(SESSION)}"' in form for form in forms)


async def test_a_long_list_is_paged_and_only_one_page_is_asked_for() -> None:
    def find(request: review.FindHeld) -> Any:
        return requests.Rows(tuple(ROW | {"id": f"id-{n:06d}"} for n in range(999_999, 999_999 - request.limit, -1)))

    over = keeper(FindHeld=find, CountHeld=requests.Rows((COUNTS | {"total": 100_000},)))
    web = browser(over)
    page = (await web.get("/?level=SECRET")).text
    assert page.count("<tr id=") == 50
    assert "1 to 50 of 100,000" in page
    older = html.unescape(re.search(r'href="([^"]+)" rel="next"', page)[1])  # type: ignore[index]
    assert older == "/?level=SECRET&before=id-999950&at=51"
    page = (await web.get(older)).text
    assert "51 to 100 of 100,000" in page
    assert 'href="/?level=SECRET" rel="first"' in page
    assert [(one.limit, one.before, one.filter.levels) for one in asked(over, review.FindHeld)] == [
        (51, "", ("SECRET",)), (51, "id-999950", ("SECRET",)),
    ]  # fmt: skip


async def test_the_last_page_leads_no_further() -> None:
    assert 'rel="next"' not in (await browser(keeper()).get("/")).text


async def test_nothing_held_and_nothing_found_are_told_apart() -> None:
    over = keeper(FindHeld=requests.Rows(()), CountHeld=requests.Rows(()))
    assert "No mail is held." in (await browser(over).get("/")).text
    assert "Nothing held is like this." in (await browser(over).get("/?q=heron")).text


@pytest.mark.parametrize(
    ("hours", "soon", "words"), [(47, True, "1 day left"), (49, False, "2 days left"), (-1, True, "past"), (1, True, "59 minutes left")]
)
async def test_a_deadline_under_two_days_is_marked(hours: float, soon: bool, words: str) -> None:
    page = (await browser(keeper(ROW | {"deadline": time.time() + hours * 3600 - 5})).get("/")).text
    assert words in page
    assert ('class="left soon"' in page) is soon


# --- filters ----------------------------------------------------------------------------------------------------------

CHOICES = st.builds(
    filters.Choice,
    states=st.sets(st.sampled_from(filters.STATES)).map(lambda chosen: tuple(s for s in filters.STATES if s in chosen)),
    levels=st.sets(st.sampled_from(filters.LEVELS)).map(lambda chosen: tuple(s for s in filters.LEVELS if s in chosen)),
    rules=st.lists(st.from_regex(r"[a-z][a-z0-9-]{0,30}", fullmatch=True), max_size=5, unique=True).map(tuple),
    departments=st.lists(st.from_regex(r"[a-zअ-ह]{1,10}\.gov\.in", fullmatch=True), max_size=5, unique=True).map(tuple),
    words=st.lists(st.from_regex(r"[\w@.%*?\"'()-]{1,20}", fullmatch=True).filter(str.isprintable), max_size=8).map(" ".join),
    assigned=st.sampled_from(["", "me", "meena"]),
    days=st.integers(0, 3650),
    sealed=st.sampled_from([None, True, False]),
    since=st.dates(min_value=date(1970, 1, 3), max_value=date(2180, 1, 1)).map(str),
    until=st.sampled_from(["", "2026-11-22", "2028-02-29"]),
)


@given(CHOICES)
@settings(max_examples=60, deadline=None)
def test_a_choice_stands_in_its_address_and_in_a_saved_view(choice: filters.Choice) -> None:
    assert filters.read(parse_qsl(choice.query)) == choice
    assert filters.of_filter(choice.filter) == choice


NAMES = ["state", "level", "rule", "department", "q", "assigned", "due", "sealed", "since", "until", "x"]


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.text())))
@settings(max_examples=300, deadline=None)
def test_W12_whatever_an_address_holds_makes_a_bounded_filter(pairs: list[tuple[str, str]]) -> None:
    choice = filters.read(pairs)
    made = choice.filter
    assert set(made.states) <= set(filters.STATES)
    assert set(made.levels) <= set(filters.LEVELS)
    assert len(made.words) <= 200
    assert len(made.words.split()) <= 8
    assert all(len(one) <= 253 for one in (*made.rules, *made.departments))
    assert made.assigned.isprintable()
    assert filters.read(choice.pairs) == choice


def test_dates_are_those_of_india_and_the_last_day_is_in() -> None:
    made = filters.read([("since", "2026-11-22"), ("until", "2026-11-22"), ("due", "2")]).filter
    assert made == Filter(since=1_795_285_800.0, until=1_795_372_200.0, due=172_800.0)


@pytest.mark.parametrize(
    "query",
    ["state=open&level=HIGH&sealed=perhaps&due=-1&since=yesterday", "due=99999&until=2026-02-30&since=20261122",
     "rule=a%20b&department=a%20b", "state=&level=&q=%20", "due=1e3&due=٣", "before=x'%20OR%201=1&at=-3&fresh=nan"],
)  # fmt: skip
async def test_values_of_no_known_form_are_ignored(query: str) -> None:
    over = keeper()
    assert (await browser(over).get(f"/?{query}")).status_code == 200
    assert asked(over, review.FindHeld) == [review.FindHeld(limit=51)]


async def test_the_form_shows_what_is_chosen_and_chips_keep_the_rest() -> None:
    over = keeper()
    page = (await browser(over).get("/?level=SECRET,CONFIDENTIAL&state=held&q=heron&assigned=me&sealed=no&due=2")).text
    for text in (
        'value="SECRET,CONFIDENTIAL" selected', 'value="heron"', 'value="me" selected', 'value="2" selected', 'name="state" value="held"',
        'href="/?level=SECRET%2CCONFIDENTIAL&amp;q=heron&amp;assigned=me&amp;due=2&amp;sealed=no"',
        'href="/?state=released&amp;level=SECRET%2CCONFIDENTIAL&amp;q=heron', '<details class="more" open>',
    ):  # fmt: skip
        assert text in page, text
    assert asked(over, review.FindHeld)[0].filter == Filter(
        ("held",), ("SECRET", "CONFIDENTIAL"), words="heron", assigned="me", sealed=False, due=172_800.0
    )


@pytest.mark.parametrize("words", ["' OR 1=1 --", "%", "_", "*", "a AND (b OR", "(a+)+$", '"unbalanced', "NEAR/1", "reference:*", "\\"])
async def test_W12_a_search_is_words_and_nothing_else(words: str) -> None:
    over = keeper()
    page = await browser(over).get("/", params={"q": words})
    assert page.status_code == 200
    assert asked(over, review.FindHeld)[0].filter.words == words
    assert f'value="{html.escape(words, quote=True)}"' in page.text.replace("&#34;", "&quot;").replace("&#39;", "&#x27;")


async def test_W12_a_search_of_a_megabyte_is_cut_and_says_so() -> None:
    over = keeper()
    web = browser(over)
    app, sent = web._transport.app, []  # type: ignore[attr-defined]

    async def with_megabyte(scope: Any, receive: Any, send: Any) -> None:  # a client of ours would not send it
        sent.append(time.monotonic())
        await app(scope | {"query_string": b"q=" + b"heron%20" * 130_000}, receive, send)

    web._transport.app = with_megabyte  # type: ignore[attr-defined]
    page = await web.get("/")
    assert time.monotonic() - sent[0] < 2
    assert page.status_code == 200
    assert asked(over, review.FindHeld)[0].filter.words == " ".join(["heron"] * 8)
    assert "Only the first words" in page.text


async def test_W12_what_the_keeper_will_not_search_for_is_said_on_the_page() -> None:
    over = keeper(FindHeld=requests.Failed("search: at most 8 words", 2))
    page = await browser(over).get("/?q=a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t.u.v.w.x.y.z")
    assert page.status_code == 200
    assert "This cannot be searched for: search: at most 8 words." in page.text


async def test_other_failures_of_the_keeper_are_no_empty_list() -> None:
    assert (await browser(keeper(FindHeld=requests.Failed("/var/lib: disk", 3))).get("/")).status_code == 503
    over = keeper(ListRules=requests.Failed("none", 3), Colleagues=requests.Failed("none", 1))
    assert (await browser(over).get("/")).status_code == 200, "titles of rules and names are a help, no more"


# --- saved views ------------------------------------------------------------------------------------------------------


async def test_a_view_is_saved_shown_and_removed() -> None:
    kept = {"id": "v-1", "name": "Mine", "filter": {"levels": ["SECRET"], "due": 172800.0}}
    over = keeper(ListViews=requests.Rows((kept, {"id": "v-2", "name": "Broken", "filter": {"levels": 5}})),
                  SaveView=requests.Rows((kept,)), DropView=requests.Done())  # fmt: skip
    web = browser(over)
    answer = await post(web, "/views", {"name": "  Mine  too ", "level": "SECRET", "due": "2", "before": "x"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/?level=SECRET&due=2&said=saved")
    assert asked(over, review.SaveView) == [review.SaveView("Mine too", Filter(levels=("SECRET",), due=172800.0))]
    page = (await web.get(answer.headers["location"])).text
    assert SAID["saved"] in page
    assert 'href="/?level=SECRET&amp;due=2" aria-current="true"><bdi>Mine</bdi>' in page
    assert "Broken" not in page
    assert (await post(web, "/views/v-1/drop", {})).headers["location"] == "/?said=dropped"
    assert asked(over, review.DropView) == [review.DropView("v-1")]


@pytest.mark.parametrize("name", ["", "   ", "x" * 61, "a\x00b"])
async def test_a_view_needs_a_name(name: str) -> None:
    over = keeper()
    answer = await post(browser(over), "/views", {"name": name, "q": "heron"})
    assert answer.headers["location"] == "/?q=heron&said=no-view-name"
    assert not asked(over, review.SaveView)


async def test_W05_a_view_of_somebody_else_is_as_absent_as_none() -> None:
    over = keeper(DropView=requests.Failed("there is no such record", requests.ABSENT))
    web = browser(over)
    answers = [await post(web, f"/views/{id}/drop", {}) for id in ("v-9", "0" * 64, "%00", "x" * 5000, "१२३")]
    assert {answer.status_code for answer in answers} == {404}


@pytest.mark.parametrize("path", ["/views", "/views/v-1/drop", "/batch"])
async def test_W03_nothing_changes_without_the_forms_token(path: str) -> None:
    over = keeper()
    web = browser(over)
    data = {"name": "x", "item": f"{ROW['id']} {ROW['reference']}", "action": "refuse", "reason": "x"}
    assert (await web.post(path, data=data | {"form_token": "x"}, headers=ORIGIN)).status_code == 403
    assert (await web.post(path, data=data | {"form_token": form_token(SESSION)}, headers={"origin": "http://evil"})).status_code == 403
    assert (await web.get(path)).status_code in (404, 405)
    assert over.asked == []


# --- kept up to date --------------------------------------------------------------------------------------------------


def changed(now: float) -> tuple[dict[str, Any], ...]:
    return (
        ROW | {"id": "id-9", "created": now + 1, "updated": now + 1},
        ROW | {"id": "id-5", "state": "released", "created": now - 9, "updated": now + 2},
        ROW | {"id": "id-4", "state": "approved", "created": now - 9, "updated": now + 3},
        SEALED | {"id": "id-3", "state": "refused", "created": now - 9, "updated": now + 3},
        ROW | {"id": "id-1", "state": "refused", "created": now - 9, "updated": now + 3},
    )


async def test_nothing_changed_is_nothing_sent() -> None:
    over = keeper(FindHeld=requests.Rows(()))
    web = browser(over)
    for query in ("since=1795000000.5", "since=", "", "since=x&q=1"):
        answer = await web.get(f"/changes?{query}", headers={"x-passive": "1"})
        assert (answer.status_code, answer.content) == (204, b"")
    assert not asked(over, review.CountHeld)
    assert asked(over, review.FindHeld) == [review.FindHeld(Filter(), 200, "", 1_795_000_000.5)]


async def test_changes_are_told_and_put_in_their_place_without_moving_a_row() -> None:
    now = 1_795_000_000.0
    over = keeper(FindHeld=requests.Rows(changed(now)))
    web = browser(over)
    answer = await web.get(f"/changes?q=heron&since={now:.3f}&top=id-6&bottom=id-2", headers={"x-passive": "1"})
    text = answer.text
    assert "1 new, 2 decided, 2 changed" in text
    assert f'href="/?q=heron&amp;fresh={now:.3f}"' in text
    assert re.findall(r'<template>\s*<td id="state-([^"]+)"', text) == ["id-5", "id-4"], "what the page shows, and nothing sealed"
    assert "<tr" not in text
    assert 'id="count-held" hx-swap-oob="true"' in text
    assert asked(over, review.FindHeld)[0].filter == Filter(words="heron"), "of every state: what left the list is a change"
    # The same again says nothing.
    again = html.unescape(re.search(r'hx-get="([^"]+)"', text)[1])  # type: ignore[index]
    assert "since=1795000000.000" in again
    assert (await web.get(again)).status_code == 204
    over.answers[review.FindHeld] = requests.Rows(())
    assert (await web.get(again)).status_code == 200, "it went back to what it was"


async def test_W04_an_open_page_does_not_keep_a_session_alive() -> None:
    over = keeper()
    plain, passive = over.ask, []

    async def ask(request: Any) -> Any:
        passive.append(request.passive)
        return await plain(request)

    over.ask = ask  # type: ignore[method-assign]
    web = browser(over)
    page = (await web.get("/")).text
    assert set(passive) == {False}
    live = re.search(r'<div id="live"[^>]*hx-get="([^"]+)"[^>]*>', page)
    assert live
    assert 'hx-headers=\'{"X-Passive":"1"}\'' in live[0]
    passive.clear()
    await web.get(html.unescape(live[1]), headers={"x-passive": "1"})
    assert set(passive) == {True}
    passive.clear()
    await web.post("/views", data={"form_token": form_token(SESSION), "name": "x"}, headers=ORIGIN | {"x-passive": "1"})
    assert True not in passive, "a change is a person's act"


async def test_new_rows_are_marked_when_they_are_shown() -> None:
    old = SEALED | {"created": HELD["created"] - 99}
    page = (await browser(keeper(ROW, old)).get(f"/?fresh={HELD['created'] - 1:.3f}")).text
    assert page.count('<span class="new">new</span>') == 1
    assert '<span class="new">' not in (await browser(keeper()).get("/")).text


def test_what_is_new_and_gone_again_is_no_news() -> None:
    rows = [{"state": "released", "created": 9.0}, {"state": "held", "created": 9.0}]
    assert held_rows.news(rows, 5.0, ()) == "1 new"
    assert held_rows.news([], 5.0, ()) == ""
    assert held_rows.news(rows, 5.0, ("released",)) == "1 new"


# --- batches ----------------------------------------------------------------------------------------------------------


def marked(count: int) -> list[str]:
    return [f"id-{n} REF{n}" for n in range(count)]


async def ended(web: httpx.AsyncClient, address: str) -> str:
    for _ in range(200):
        page = (await web.get(address)).text
        if "Ended:" in page:
            return page
        await asyncio.sleep(0.01)
    raise AssertionError("the batch does not end")


async def test_a_batch_goes_on_after_failures_and_says_what_became_of_each() -> None:
    def release(request: inquiries.ReleaseHeld) -> Any:
        match request.id:
            case "id-1":
                return requests.Failed("somebody else has just decided about this message; look at it again", 1)
            case "id-2":
                return requests.Failed("/var/lib/gateway/x: disk full", 3)
            case "id-3":
                raise ipc.ChannelError("keeper-web.sock: gone")
            case "id-4":
                return requests.Failed("there is no such held message", requests.ABSENT)
        return requests.Rows(({"id": request.id, "message": "approved 1 of 2"},))

    over = keeper(ReleaseHeld=release)
    web = browser(over)
    answer = await post(web, "/batch", {"item": marked(6), "action": "release", "reason": " seen  ", "f-q": "heron", "f-level": "SECRET"})
    assert answer.status_code == 303
    assert re.fullmatch(r"/batch/[\w-]{22}\?level=SECRET&q=heron", answer.headers["location"])
    page = await ended(web, answer.headers["location"])
    assert "Ended: 2 done, 4 not done." in page
    for text in ("Approved 1 of 2.", "Somebody else has just decided", "The gateway could not do this now.", "It is not known whether",
                 "There is no such held message.", "REF5", 'href="/?level=SECRET&amp;q=heron"'):  # fmt: skip
        assert text in page, text
    assert "disk full" not in page
    assert "sock" not in page
    assert "hx-trigger" not in page
    assert 'http-equiv="refresh"' not in page
    assert [one.id for one in asked(over, inquiries.ReleaseHeld)] == [f"id-{n}" for n in range(6)], "each once, in their order"
    assert {one.reason for one in asked(over, inquiries.ReleaseHeld)} == {"seen"}


@pytest.mark.parametrize(
    ("form", "request_"),
    [
        ({"action": "refuse"}, inquiries.RefuseHeld("id-0", "why")),
        ({"action": "forward", "to": "meena"}, review.ForwardHeld("id-0", "meena", "why")),
        ({"action": "level", "level": "SECRET"}, review.ReclassifyHeld("id-0", "SECRET", "why")),
    ],
)
async def test_every_act_of_a_batch_asks_its_request(form: dict[str, str], request_: Any) -> None:
    over = keeper(**{type(request_).__name__: requests.Rows(({"id": "id-0", "message": "done"},))})
    web = browser(over)
    answer = await post(web, "/batch", {"item": marked(1), "reason": "why"} | form)
    assert "All 1 done." in await ended(web, answer.headers["location"])
    assert asked(over, type(request_)) == [request_]


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({}, "none-marked"), ({"item": ["x' OR 1=1 y", "../../x y", "id-1", "x" * 5000]}, "none-marked"),
        ({"item": marked(201)}, "too-many"),
        ({"item": marked(1)}, "no-action"), ({"item": marked(1), "action": "destroy", "reason": "x"}, "no-action"),
        ({"item": marked(1), "action": "release", "reason": "  "}, "no-reason"),
        ({"item": marked(1), "action": "forward", "reason": "x"}, "no-person"),
        ({"item": marked(1), "action": "level", "reason": "x", "level": "none"}, "no-level"),
    ],
)  # fmt: skip
async def test_a_form_that_lacks_something_does_nothing_and_says_what(form: dict[str, Any], said: str) -> None:
    over = keeper()
    web = browser(over)
    answer = await post(web, "/batch", form | {"f-q": "heron"})
    assert (answer.status_code, answer.headers["location"]) == (303, f"/?q=heron&said={said}")
    assert over.asked == []
    assert SAID[said] in (await web.get(answer.headers["location"])).text


async def test_W05_a_batch_is_for_the_session_that_began_it() -> None:
    over = keeper(RefuseHeld=requests.Rows(({"id": "x", "message": "refused"},)))
    web, other = browser(over), browser(over, OTHER)
    address = (await post(web, "/batch", {"item": marked(1), "action": "refuse", "reason": "x"})).headers["location"]
    await ended(web, address)
    strangers = await other.get(address)
    none = [await other.get(f"/batch/{id}") for id in ("A" * 22, "1", "%00", "..%2f", "x" * 5000, "१२३")]
    assert {one.status_code for one in (strangers, *none)} == {404}
    token = form_token(OTHER)
    assert {one.text.replace(token, "") for one in (strangers, *none) if "no such batch" in one.text} == {strangers.text.replace(token, "")}
    assert "REF0" not in strangers.text
    # The same person in another session is another session.
    over.sessions["a-second-session-0123456789"] = person()
    assert (await browser(over, "a-second-session-0123456789").get(address)).status_code == 404


async def test_a_running_batch_shows_its_progress_with_and_without_scripts() -> None:
    gate = asyncio.Event()
    over = keeper(RefuseHeld=requests.Rows(({"id": "x", "message": "refused"},)))
    plain = over.ask

    async def ask(request: Any) -> Any:
        if isinstance(getattr(request, "request", None), inquiries.RefuseHeld) and request.request.id == "id-1":
            await gate.wait()
        return await plain(request)

    over.ask = ask  # type: ignore[method-assign]
    web = browser(over)
    address = (await post(web, "/batch", {"item": marked(3), "action": "refuse", "reason": "x"})).headers["location"]
    await asyncio.sleep(0.05)
    page = (await web.get(address)).text
    assert "1 of 3 done" in page
    assert '<noscript><meta http-equiv="refresh" content="2"></noscript>' in page
    assert 'hx-trigger="every 1s"' in page
    assert page.count(">waiting<") == 2
    gate.set()
    assert "All 3 done." in await ended(web, address)


class Slow:
    """A keeper that answers nobody before it is let."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.asked = 0
        self.answer: Any = requests.Done()

    async def __call__(self, request: Any) -> tuple[Any, bytes]:
        self.asked += 1
        await self.gate.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer, b""


def begin(jobs: batch.Batches, ask: Any, credential: str = SESSION, count: int = 3) -> batch.Job:
    targets = [batch.Target(f"id-{n}", f"REF{n}") for n in range(count)]
    return jobs.begin(Visitor(ask, credential), "refuse", targets, lambda held: inquiries.RefuseHeld(held, "x"))


async def settle(job: batch.Job) -> None:
    for _ in range(500):
        if job.ended:
            return
        await asyncio.sleep(0.001)
    raise AssertionError("the job does not end")


async def test_a_session_has_two_batches_at_once_and_others_are_not_kept_waiting() -> None:
    jobs, slow = batch.Batches(), Slow()
    first = [begin(jobs, slow) for _ in range(batch.RUNNING)]
    with pytest.raises(batch.Busy):
        begin(jobs, slow)
    theirs = begin(jobs, slow, OTHER)
    slow.gate.set()
    for job in (*first, theirs):
        await settle(job)
    assert begin(jobs, slow)
    for count in (0, 201):
        with pytest.raises(ValueError, match="1 to 200"):
            begin(jobs, slow, count=count)


async def test_a_session_that_ends_ends_its_batch_and_a_silent_keeper_too() -> None:
    jobs, slow = batch.Batches(), Slow()
    slow.gate.set()
    slow.answer = requests.Failed("your session has ended", requests.SIGNED_OUT)
    await settle(job := begin(jobs, slow))
    assert [one.text for one in job.outcomes] == ["Not tried: your session has ended."] * 3
    assert slow.asked == 1
    slow.answer = ipc.ChannelError("gone")
    await settle(job := begin(jobs, slow, count=10))
    assert [one.text[:6] for one in job.outcomes] == ["It is "] * 3 + ["Not tr"] * 7
    slow.answer = RuntimeError("a fault of ours")
    await settle(job := begin(jobs, slow))
    assert [one.done for one in job.outcomes] == [False] * 3


async def test_old_jobs_are_forgotten_and_there_is_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs, slow = batch.Batches(), Slow()
    slow.gate.set()
    first = begin(jobs, slow)
    await settle(first)
    made = []
    for n in range(batch.KEPT + 5):
        made.append(begin(jobs, slow, f"credential-{n}"))
        await settle(made[-1])
    assert len(jobs._jobs) <= batch.KEPT
    assert jobs.find(first.id, Visitor(slow, SESSION)) is None
    now = time.monotonic() + batch.KEPT_FOR + 1
    monkeypatch.setattr(batch.time, "monotonic", lambda: now)
    assert jobs.find(made[-1].id, Visitor(slow, f"credential-{batch.KEPT + 4}")) is None
    assert jobs._jobs == {}


async def test_no_credential_stays_when_a_job_has_ended() -> None:
    jobs, slow = batch.Batches(), Slow()
    slow.gate.set()
    job = begin(jobs, slow)
    await settle(job)
    await asyncio.sleep(0)
    assert SESSION not in repr(vars(job))
    assert jobs._tasks == set()

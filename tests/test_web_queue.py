"""The queue: what it shows, saves and keeps up to date (hostile-inputs catalogue W01, W03-W05)."""

from __future__ import annotations

import html
import re
import time
from typing import Any
from urllib.parse import urlencode

import pytest

from gateway import requests, review
from gateway.review import Filter
from gateway.web import held_rows
from gateway.web.door import form_token
from gateway.web.queue_pages import SAID
from tests.faces import HELD, ORIGIN, SEALED, SESSION, person
from tests.queue_kit import COUNTS, ROW, asked, browser, keeper, post

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


async def test_where_there_are_more_than_were_counted_the_page_says_so() -> None:
    page = (await browser(keeper(CountHeld=requests.Rows((COUNTS | {"total": 5000, "more": True},)))).get("/?q=budget")).text
    assert "More than 5,000 found" in page
    assert "1 to 2 of more than 5,000" in page


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

"""What part of held mail a page shows: from its address and back, and every search that is none (hostile-inputs catalogue W12)."""

from __future__ import annotations

import html
import time
from datetime import date
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import requests, review
from gateway.review import Filter
from gateway.web import filters
from tests.queue_kit import asked, browser, keeper

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

"""The decision log, the rules and the exceptions on the pages. Ids are those of the catalogue."""

from __future__ import annotations

import csv
import io
import json
import re
import time
from datetime import datetime, timedelta
from typing import Any

import pytest

from gateway import requests
from gateway.inquiries import AddException, ExpireException, ListExceptions, SearchAudit, ShowAudit
from gateway.web import log_rows, log_search
from gateway.web.secured import DOWNLOAD_CSP
from gateway.web.shown import IST
from tests.faces import ORIGIN, form, person, signed_in
from tests.log_kit import ENDED, ENTRY, REFERENCE, RULE, act, decision, keeper_with_log

AUDITOR = person("auditor", "auditor")
HOSTILE = "<script>alert(1)</script>\"'\u202e\x1b[31m{{7*7}}"


def tomorrow() -> str:
    return (datetime.now(IST) + timedelta(days=1)).date().isoformat()


# --- the log --------------------------------------------------------------------------------------------------------------


async def test_the_log_says_in_plain_words_what_happened() -> None:
    web = signed_in(keeper := keeper_with_log(), AUDITOR)
    page = await web.get("/audit")
    assert page.status_code == 200
    for words in ("Released", "Asked and answered", "held", "A classified attachment must be encrypted", "officer@dept.gov.in", "a@nic.in",
                  "CONFIDENTIAL", REFERENCE, "reviewer", "22 Nov 2026, 08:00 IST"):  # fmt: skip
        assert words in page.text, words
    (asked,) = [one for one in keeper.asked if isinstance(one, SearchAudit)]
    assert asked.newest
    assert not asked.taken_as


async def test_a_search_asks_for_every_field_and_days_are_those_of_india() -> None:
    web = signed_in(keeper := keeper_with_log(), AUDITOR)
    page = await web.get("/audit", params={
        "q": "10.0.0.7", "sender": "o@dept.gov.in", "recipient": "a@nic.in", "rule": "r1", "since": "2026-11-01", "until": "2026-11-02",
    })  # fmt: skip
    (asked,) = [one for one in keeper.asked if isinstance(one, SearchAudit)]
    assert (asked.text, asked.sender, asked.recipient, asked.rule) == ("10.0.0.7", "o@dept.gov.in", "a@nic.in", "r1")
    assert datetime.fromtimestamp(asked.since, IST).isoformat() == "2026-11-01T00:00:00+05:30"
    assert datetime.fromtimestamp(asked.until, IST).isoformat() == "2026-11-03T00:00:00+05:30"
    assert 'value="o@dept.gov.in"' in page.text
    assert '<option value="r1" selected>' in page.text


async def test_the_log_is_paged_by_the_row() -> None:
    rows = tuple(decision(seq) for seq in range(200, 99, -1))
    web = signed_in(keeper := keeper_with_log(SearchAudit=requests.Rows(rows)), AUDITOR)
    page = await web.get("/audit?sender=x")
    assert '/audit?sender=x&amp;before=101"' in page.text
    await web.get("/audit?sender=x&before=101")
    assert [one.before for one in keeper.asked if isinstance(one, SearchAudit)] == [0, 101]


@pytest.mark.parametrize("typed", ["' OR 1=1 --", "%", "a" * 1_000_000, 'NEAR("', "\x00\x01", "(((((", "\u202e\ufeff", "-1", "1e999"])
async def test_W12_a_search_is_words_and_no_more(typed: str) -> None:
    search = log_search.read(dict.fromkeys(("q", "sender", "recipient", "rule", "since", "until"), typed))
    assert max(len(value) for _, value in [*search.pairs, ("", "")]) <= log_search.LONGEST
    assert (search.since, search.until) == ("", "")
    asked = search.request(10)
    assert (asked.since, asked.until) == (0, 0)
    assert asked.text.isprintable()
    web = signed_in(keeper_with_log(), AUDITOR)
    # A server takes no longer address than this.
    assert (await web.get("/audit", params={"q": typed[:4000], "since": typed[:40], "before": typed[:40]})).status_code == 200


@pytest.mark.parametrize(
    "day", ["2026-02-30", "2026-1-1", "0001-01-01", "9999-12-31", "\u0662\u0660\u0662\u0666-\u0661\u0661-\u0662\u0662", ""]
)
def test_a_day_that_is_none_asks_for_nothing(day: str) -> None:
    assert log_search.read({"since": day}).request(1).since == 0


async def test_one_message_has_its_story_and_its_place_in_the_chain() -> None:
    web = signed_in(keeper := keeper_with_log(), AUDITOR)
    page = await web.get(f"/audit/{REFERENCE}")
    for words in ("Number in the chain", "Hash of the row before", f"sha256:{7:064x}", f"sha256:{6:064x}", "dept.gov.in", "10.0.0.7",
                  f'href="/held/{REFERENCE}"'):  # fmt: skip
        assert words in page.text, words
    assert ShowAudit(REFERENCE) in keeper.asked


@pytest.mark.parametrize("id", ["..%5c..%5cetc", "a" * 65, "x%00", "\u0661\u0662", "0198f2b0-0000-7000-8000-0000000000ff"])
async def test_W05_an_id_of_another_is_answered_like_none(id: str) -> None:
    web = signed_in(keeper_with_log(ShowAudit=requests.Rows(())), AUDITOR)
    answer, none = await web.get(f"/audit/{id}"), await web.get("/audit/NOTHING")
    assert answer.status_code == none.status_code == 404
    assert answer.text == none.text


async def test_W14_what_the_log_says_is_text() -> None:
    rows = (act(user=HOSTILE, reason=HOSTILE, action=HOSTILE), decision(rule={"id": HOSTILE, "reference": HOSTILE}))
    web = signed_in(keeper_with_log(SearchAudit=requests.Rows(rows), ShowAudit=requests.Rows(rows)), AUDITOR)
    for path in ("/audit", f"/audit/{REFERENCE}"):
        page = (await web.get(path)).text
        assert "<script>alert" not in page
        assert "\u202e" not in page
        assert "\x1b" not in page
        assert "[U+202E]" in page
        assert "49" not in re.sub(r"sha256:\w+", "", page)


def test_a_row_of_no_known_form_is_shown_and_breaks_nothing() -> None:
    rows: tuple[dict[str, Any], ...] = (
        {},
        {"event": None, "gateway": []},
        {"gateway": {"smtp": {"rcpt_to": []}, "act": {"rows": 5}}, "event": {"action": "new-act"}},
    )
    for row in rows:
        told = log_rows.told_row(row, {})
        assert told["what"]
        assert isinstance(log_rows.chained(row), list)


# --- taken out as a file --------------------------------------------------------------------------------------------------


async def test_the_rows_of_a_search_are_taken_out_as_a_table() -> None:
    web = signed_in(keeper := keeper_with_log(), AUDITOR)
    answer = await web.post("/audit/export", headers=ORIGIN, data=form(web, format="csv", sender="officer@dept.gov.in"))
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-security-policy"] == DOWNLOAD_CSP
    assert re.fullmatch(r'attachment; filename="decision-log-\d{4}-\d\d-\d\d\.csv"', answer.headers["content-disposition"])
    heading, first, second = csv.reader(io.StringIO(answer.text))
    assert dict(zip(heading, second, strict=True))["to"] == "a@nic.in"
    assert dict(zip(heading, first, strict=True))["action"] == "held-released"
    (asked,) = [one for one in keeper.asked if isinstance(one, SearchAudit)]
    assert (asked.taken_as, asked.sender) == ("csv", "officer@dept.gov.in"), "the keeper records who takes what"


@pytest.mark.parametrize("cell", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "\uff1d1", "%x"])
async def test_W14_no_cell_of_a_table_is_a_formula(cell: str) -> None:
    web = signed_in(keeper_with_log(SearchAudit=requests.Rows((act(user=cell, reason=cell),))), AUDITOR)
    answer = await web.post("/audit/export", headers=ORIGIN, data=form(web, format="csv"))
    _, row = csv.reader(io.StringIO(answer.text))
    assert not [one for one in row if one.strip()[:1] in tuple("=+-@|%\t\uff1d")]


async def test_W14_lines_of_json_are_one_a_row_whatever_stands_in_them() -> None:
    web = signed_in(keeper_with_log(SearchAudit=requests.Rows((act(reason="a\nb\u2028c\ud800"),))), AUDITOR)
    answer = await web.post("/audit/export", headers=ORIGIN, data=form(web, format="jsonl"))
    (line,) = answer.text.splitlines()
    assert json.loads(line)["event"]["reason"] == "a\nb\u2028c\ud800"


async def test_a_file_has_ten_thousand_rows_at_most_and_says_so() -> None:
    def page(asked: SearchAudit) -> Any:
        last = asked.before or 20_001
        return requests.Rows(tuple(act(seq) for seq in range(last - 1, last - 1 - asked.limit, -1)))

    web = signed_in(keeper := keeper_with_log(SearchAudit=page), AUDITOR)
    answer = await web.post("/audit/export", headers=ORIGIN, data=form(web, format="jsonl"))
    seqs = [json.loads(line)["seq"] for line in answer.text.splitlines()]
    assert seqs == list(range(20_000, 10_000, -1))
    assert "newest-10000" in answer.headers["content-disposition"]
    assert {one.limit for one in keeper.asked if isinstance(one, SearchAudit)} == {1000}


async def test_a_file_of_no_known_kind_is_not_made() -> None:
    web = signed_in(keeper := keeper_with_log(), AUDITOR)
    answer = await web.post("/audit/export", headers=ORIGIN, data=form(web, format="../x", q="a"))
    assert (answer.status_code, answer.headers["location"]) == (303, "/audit?q=a&said=format")
    assert "Choose CSV or JSON lines" in (await web.get(answer.headers["location"])).text
    assert not [one for one in keeper.asked if isinstance(one, SearchAudit) and one.taken_as]


# --- the rules ------------------------------------------------------------------------------------------------------------


async def test_the_rules_stand_with_source_owner_and_explanation() -> None:
    web = signed_in(keeper_with_log())
    page = (await web.get("/rules")).text
    for words in (
        *map(str, (RULE["title"], RULE["source"], RULE["id"], RULE["owner"], RULE["why"])),
        "Encrypt it.",
        "watched only",
        "gujarat",
    ):
        assert words in page, words
    assert "Large attachments" not in (await web.get("/rules?words=unencrypted")).text
    assert 'lang="hi"' in (await web.get("/rules?language=hi")).text
    assert (await web.get("/rules?language=../../etc&words=%00")).status_code == 200


# --- the exceptions -------------------------------------------------------------------------------------------------------


async def test_the_register_shows_who_asked_who_approved_and_until_when() -> None:
    web = signed_in(keeper := keeper_with_log())
    page = (await web.get("/exceptions")).text
    for words in (ENTRY["sender"], ENTRY["recipient"], ENTRY["reason"], "asked by <bdi>reviewer", "approved by <bdi>second", "End it now"):
        assert str(words) in page, words
    assert str(ENDED["reason"]) not in page
    assert str(ENDED["reason"]) in (await web.get("/exceptions?all=1")).text
    assert [one.all for one in keeper.asked if isinstance(one, ListExceptions)] == [False, True]


async def test_an_exception_is_added_in_the_name_of_who_asks() -> None:
    web = signed_in(keeper := keeper_with_log(), person("asha"))
    fields = {"sender": "@dept.gov.in", "recipient": "court@hc.gov.in", "approver": "second", "until": tomorrow(), "reason": "two\nlines"}
    answer = await web.post("/exceptions", headers=ORIGIN, data=form(web, **fields, requester="somebody-else"))
    assert (answer.status_code, answer.headers["location"]) == (303, "/exceptions?said=added")
    (asked,) = [one for one in keeper.asked if isinstance(one, AddException)]
    assert (asked.requester, asked.approver, asked.reason) == ("asha", "second", "two lines")
    assert asked.expires > time.time()
    assert datetime.fromtimestamp(asked.expires, IST).strftime("%H:%M:%S") == "23:59:59"


async def test_the_same_person_twice_is_said_with_what_was_typed() -> None:
    wrong = requests.Failed("the approver of an exception cannot be its requester", 1)
    web = signed_in(keeper_with_log(AddException=wrong))
    fields = {"sender": "a@dept.gov.in", "recipient": "b@x.in", "approver": "reviewer", "until": tomorrow(), "reason": HOSTILE}
    answer = await web.post("/exceptions", headers=ORIGIN, data=form(web, **fields))
    assert answer.status_code == 409
    assert "The approver of an exception cannot be its requester." in answer.text
    assert 'value="a@dept.gov.in"' in answer.text
    assert "<script>alert" not in answer.text


@pytest.mark.parametrize("until", ["", "tomorrow", "2026-02-30", "99999-01-01"])
async def test_an_exception_without_an_end_is_not_asked_for(until: str) -> None:
    web = signed_in(keeper := keeper_with_log())
    answer = await web.post(
        "/exceptions", headers=ORIGIN, data=form(web, sender="a@b.in", recipient="*", approver="x", until=until, reason="y")
    )
    assert answer.status_code == 400
    assert not [one for one in keeper.asked if isinstance(one, AddException)]


async def test_an_exception_is_ended_with_a_reason() -> None:
    web = signed_in(keeper := keeper_with_log())
    path = f"/exceptions/{ENTRY['id']}/expire"
    assert (await web.post(path, headers=ORIGIN, data=form(web, reason=" "))).status_code == 400
    answer = await web.post(path, headers=ORIGIN, data=form(web, reason="No longer needed"))
    assert answer.headers["location"] == "/exceptions?said=ended"
    assert ExpireException(str(ENTRY["id"]), "No longer needed") in keeper.asked
    assert (await web.post("/exceptions/..%2f/expire", headers=ORIGIN, data=form(web, reason="x"))).status_code == 404

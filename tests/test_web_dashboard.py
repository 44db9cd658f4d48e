"""The dashboard: figures that lead to what stands behind them."""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import Any

import pytest

from gateway import requests
from gateway.review import As, Dashboard, ListRules
from gateway.web.shown import IST
from tests.faces import FakeKeeper, person, signed_in
from tests.log_kit import RULE

HOSTILE = "<script>alert(1)</script>\"'\u202e"


def figures(**more: Any) -> dict[str, Any]:
    """As the keeper gives them, of now."""
    now = time.time()
    shape = [
        ("deliver", "delivery", "", 120), ("hold", RULE["id"], "CONFIDENTIAL", 7), ("refuse", "to-private", "RESTRICTED", 3),
        ("defer", "", "", 1),
    ]  # fmt: skip
    series = [
        {"hour": 0, "at": now - 60, "department": "dept.gov.in", "rule": rule, "disposition": disposition, "level": level, "count": count}
        for disposition, rule, level, count in shape
    ]
    return {
        "step": 1, "series": series, "oldest": now - 7 * 86400, "next_deadline": now + 3600, "due_soon": 2,
        "held": {"held": 1200, "requested": 4, "approved": 3}, "now": now,
        "queue": {"scheduled": 5, "leased": 1, "deferred": 2, "on-hold": 0},
        "hops": [
            {"route": "mail.dept.gov.in:25", "state": "well", "since": now - 30, "last_reply": "TLSv1.3", "waiting": 1},
            {"route": "relay.nic.in:25", "state": "away", "since": 0.0, "last_reply": "connection refused", "waiting": 4},
        ],
    } | more  # fmt: skip


def keeper_with_figures(**more: Any) -> FakeKeeper:
    return FakeKeeper({Dashboard: requests.Rows((figures(**more),)), ListRules: requests.Rows((RULE,))})


async def test_the_dashboard_says_what_is_so_now() -> None:
    page = (await signed_in(keeper_with_figures()).get("/dashboard")).text
    for words in ("1,207", "held now", "near the deadline", "requests of senders", "7 days", "relay.nic.in:25", "does not answer",
                  "connection refused", "A classified attachment must be encrypted", "CONFIDENTIAL", "dept.gov.in"):  # fmt: skip
        assert words in page, words
    assert 'href="/?state=requested"' in page
    assert 'href="/?level=CONFIDENTIAL"' in page
    assert f'href="/?rule={RULE["id"]}"' in page
    assert "style=" not in page


async def test_figures_lead_to_the_log_for_who_may_read_it_and_nowhere_for_who_may_not() -> None:
    auditor = (await signed_in(keeper_with_figures(), person("auditor", "auditor")).get("/dashboard")).text
    assert re.search(r'href="/audit\?q=message-held&amp;since=\d{4}-\d\d-\d\d"', auditor)
    administrator = (await signed_in(keeper_with_figures(), person("admin", "administrator")).get("/dashboard")).text
    main = administrator[administrator.index("<main") :]
    assert 'href="/?' not in main
    assert "/audit" not in main


@pytest.mark.parametrize(("days", "columns"), [("1", 1), ("7", 7), ("30", 30), ("90", 90), ("x", 7), ("-1", 7)])
async def test_a_period_begins_at_midnight_in_india(days: str, columns: int) -> None:
    web = signed_in(keeper := keeper_with_figures())
    page = (await web.get("/dashboard", params={"days": days})).text
    (asked,) = [one for one in keeper.asked if isinstance(one, Dashboard)]
    begin = datetime.fromtimestamp(asked.since, IST)
    assert (begin.hour, begin.minute) == (0, 0)
    assert (datetime.now(IST).date() - begin.date()).days == columns - 1
    assert page.count('<th scope="row">') == (datetime.now(IST).hour + 1 if days == "1" else columns)


async def test_the_chart_stands_as_a_table_too() -> None:
    page = (await signed_in(keeper_with_figures()).get("/dashboard")).text
    assert '<title id="chart-title">' in page
    assert "120 delivered, 7 held, 3 refused, 1 put off" in re.sub(r"\s+", " ", page)
    assert '<td class="number">120</td>' in page


async def test_only_the_department_that_was_chosen_is_asked_for() -> None:
    web = signed_in(keeper := keeper_with_figures(), person("r", "reviewer@a.gov.in", "viewer@b.gov.in"))
    page = (await web.get("/dashboard?department=A.gov.in")).text
    assert [one.department for one in keeper.asked if isinstance(one, Dashboard)] == ["a.gov.in"]
    assert '<option value="a.gov.in" selected>' in page
    assert '<option value="b.gov.in">' in page
    assert 'href="/?department=a.gov.in&amp;state=requested"' in page


async def test_what_is_so_now_is_looked_for_by_itself_without_keeping_a_session_alive() -> None:
    passive: list[bool] = []

    class Watched(FakeKeeper):
        def answer(self, request: Any) -> Any:
            if isinstance(request, As):
                passive.append(request.passive)
            return super().answer(request)

    web = signed_in(Watched(keeper_with_figures().answers))
    part = await web.get("/dashboard?part=now&days=30", headers={"x-passive": "1", "hx-request": "true"})
    assert part.status_code == 200
    assert "<html" not in part.text
    assert "days=30" in part.text
    assert passive
    assert all(passive)


async def test_W01_hostile_names_are_text() -> None:
    row = {"at": time.time(), "department": HOSTILE, "rule": HOSTILE, "disposition": "hold", "level": HOSTILE, "count": 1}
    hop = {"route": HOSTILE, "state": HOSTILE, "since": 0, "last_reply": HOSTILE, "waiting": 0}
    page = (await signed_in(keeper_with_figures(series=[row], hops=[hop])).get("/dashboard")).text
    assert "<script>alert" not in page
    assert "\u202e" not in page


@pytest.mark.parametrize("row", [{}, {"series": None, "held": None, "hops": [1], "queue": 5}, {"series": [{}], "oldest": None}])
async def test_a_gateway_without_figures_has_a_dashboard(row: dict[str, Any]) -> None:
    web = signed_in(FakeKeeper({Dashboard: requests.Rows((row,))}))
    assert "Nothing was decided in this period" in (await web.get("/dashboard?department=%00")).text

"""The dashboard: what is held and what waits now, and what was decided over time, by rule, level and department.

What it is: the route ``/dashboard``.
Who calls it: ``application``.
Must never: ask for figures of a department that the visitor did not choose or may not see (the keeper counts none of them); name a message.
Sources: docs/design.md section 10 ("Web"); review.py, ``Dashboard``; WCAG 2.1 (2.2.2: what changes by itself changes numbers alone).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter
from fastapi.responses import Response

from gateway.review import Dashboard
from gateway.roles import Act
from gateway.web import charts
from gateway.web.charts import Layer
from gateway.web.door import Visitor
from gateway.web.rule_titles import titles
from gateway.web.shown import IST
from gateway.web.site import Site

PERIODS = {"1": "Today", "7": "7 days", "30": "30 days", "90": "90 days"}
LIVE = "30s"
DISPOSITIONS = {
    "deliver": ("delivered", "s4", "message-accepted"), "hold": ("held", "s1", "message-held"),
    "refuse": ("refused", "s2", "message-blocked"), "defer": ("put off", "s3", "message-deferred"),
}  # fmt: skip
"""What each is called, its class, and the action in the log."""
QUEUE = {"scheduled": "waiting", "leased": "on the way", "deferred": "tried, to be tried again", "on-hold": "stopped by hand"}
HOPS = {"well": "answers", "away": "does not answer", "not used": "not used yet"}
_DEPARTMENT = re.compile(r"[^\s,<>\"']{1,253}")


def router(site: Site) -> APIRouter:
    """The route."""
    routes, entered, pages = APIRouter(), site.entered, site.pages
    warn_days = max(1, math.ceil(site.config.review.warn_before / 86400))

    @routes.get("/dashboard")
    async def dashboard(visitor: Visitor = entered, days: str = "7", department: str = "", part: str = "") -> Response:
        days = days if days in PERIODS else "7"
        department = department.lower() if _is_department(department) else ""
        now = datetime.now(IST)
        begin = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=int(days) - 1)
        found = await visitor.rows(Dashboard(begin.timestamp(), now.timestamp(), department))
        row: Mapping[str, Any] = found[0] if found else {}
        chosen = {"days": days, "department": department}
        standing = _standing(row, visitor, department, warn_days)
        live = "/dashboard?" + urlencode({**chosen, "part": "now"})
        if part == "now":
            return pages.part("dashboard_now.html", visitor, live=live, every=LIVE, **standing)
        series = [one for one in row.get("series") or () if isinstance(one, dict)]
        columns, layers = _over_time(series, begin, now, days == "1")
        links = _Links(visitor, begin, department)
        named = await titles(visitor)
        return pages.page(
            "dashboard.html", visitor, here="/dashboard", periods=PERIODS, days=days, department=department,
            departments=_departments(visitor, series, department), live=live, every=LIVE, columns=columns, layers=layers,
            chart=charts.stacked(columns, layers), logs={layer.name: links.log(q=DISPOSITIONS[layer.name][2]) for layer in layers},
            hourly=days == "1", total=sum(layer.total for layer in layers), tables=_tables(series, named, links), **standing,
        )  # fmt: skip

    return routes


class _Links:
    """Addresses of what stands behind a figure, as far as the visitor may go there."""

    def __init__(self, visitor: Visitor, begin: datetime, department: str) -> None:
        self._visitor, self._since, self._department = visitor, f"{begin:%Y-%m-%d}", department

    def log(self, **search: str) -> str:
        if not self._visitor.may(Act.AUDIT):
            return ""
        return "/audit?" + urlencode({**search, "since": self._since})

    def queue(self, **choice: str) -> str:
        return queue(self._visitor, {"department": self._department} | choice)

    def rule(self, rule: str) -> str:
        return self.log(rule=rule) or self.queue(rule=rule)


def queue(visitor: Visitor, choice: Mapping[str, str]) -> str:
    """The queue with this choice; empty where the visitor sees none."""
    if not visitor.may(Act.LIST):
        return ""
    query = urlencode({name: value for name, value in choice.items() if value})
    return f"/?{query}" if query else "/"


def _standing(row: Mapping[str, Any], visitor: Visitor, department: str, warn_days: int) -> dict[str, Any]:
    """What is so now: the tiles, the delivery queue and the next hops."""
    held, waiting = _counts(row.get("held")), _counts(row.get("queue"))
    opened = sum(held.get(state, 0) for state in ("held", "requested", "approved"))

    def link(**choice: str) -> str:
        return queue(visitor, {"department": department} | choice)

    soon, sent = _number(row.get("due_soon")), sum(waiting.values())
    tiles = (
        ("held now", opened, link(), False),
        ("near the deadline", soon, link(due=str(warn_days)), bool(soon)),
        ("requests of senders", held.get("requested", 0), link(state="requested"), False),
        ("wait for the second person", held.get("approved", 0), link(state="approved"), False),
        ("in the delivery queue", sent, "", False),
    )
    return {
        "tiles": [{"words": words, "figure": f"{count:,}", "address": to, "urgent": urgent} for words, count, to, urgent in tiles],
        "oldest": row.get("oldest") if opened else 0, "next_deadline": row.get("next_deadline") if opened else 0,
        "queue": [(words, waiting.get(state, 0)) for state, words in QUEUE.items()],
        "hops": [one | {"words": HOPS.get(str(one.get("state")), "")} for one in row.get("hops") or () if isinstance(one, dict)],
        "now": row.get("now") or 0,
    }  # fmt: skip


def _over_time(series: Iterable[Mapping[str, Any]], begin: datetime, now: datetime, hourly: bool) -> tuple[list[str], list[Layer]]:
    """The columns and layers of what was decided, by hour of today or by day."""
    count = now.hour + 1 if hourly else (now.date() - begin.date()).days + 1
    counted: dict[str, list[int]] = {name: [0] * count for name in DISPOSITIONS}
    for row in series:
        at = datetime.fromtimestamp(float(row.get("at") or 0), IST)
        place = (at.date() - begin.date()).days
        if hourly:
            place = place * 24 + at.hour
        if str(row.get("disposition")) in counted and 0 <= place < count:
            counted[str(row["disposition"])][place] += _number(row.get("count"))
    step = timedelta(hours=1) if hourly else timedelta(days=1)
    columns = [f"{begin + step * place:{'%H:%M' if hourly else '%d %b'}}" for place in range(count)]
    return columns, [Layer(name, words, look, tuple(counted[name])) for name, (words, look, _) in DISPOSITIONS.items()]


def _tables(series: list[dict[str, Any]], named: Mapping[str, str], links: _Links) -> list[dict[str, Any]]:
    """The charts of one bar a row."""
    rules, levels, departments = Counter[str](), Counter[str](), Counter[str]()
    for row in series:
        count = _number(row.get("count"))
        if row.get("disposition") != "deliver":
            rules[str(row.get("rule") or "no rule")] += count
        levels[str(row.get("level") or "none")] += count
        departments[str(row.get("department") or "none")] += count
    of_rules = {rule: links.rule(rule) for rule in rules if rule != "no rule"}
    of_levels = {name: links.queue(level=name) for name in levels}
    of_departments = {name: links.queue(department=name) for name in departments if name != "none"}
    nothing = "Nothing was decided."
    kinds = (
        ("rules", "Rules that stopped mail", "Rule", "s1", "No rule stopped any mail.", charts.shares(rules, named, of_rules)),
        ("levels", "Decisions by level", "Level", "s5", nothing, charts.shares(levels, {"none": "no marking"}, of_levels)),
        ("departments", "Decisions by department", "Department", "s0", nothing, charts.shares(departments, {}, of_departments)),
    )
    return [dict(zip(("id", "title", "head", "look", "none", "rows"), kind, strict=True)) for kind in kinds]


def _departments(visitor: Visitor, series: Iterable[Mapping[str, Any]], chosen: str) -> list[str]:
    """Those to choose from: of the visitor's roles, or those that have figures."""
    mine = visitor.row.get("acts", {}).get(str(Act.FIGURES))
    known = set(mine) if mine is not None else {str(row.get("department") or "") for row in series}
    return sorted(name for name in known | {chosen} if _is_department(name))


def _is_department(name: str) -> bool:
    return bool(_DEPARTMENT.fullmatch(name)) and name.isprintable()


def _counts(value: object) -> dict[str, int]:
    return {str(name): _number(count) for name, count in value.items()} if isinstance(value, dict) else {}


def _number(value: object) -> int:
    return int(value) if isinstance(value, (int, float)) and math.isfinite(value) else 0

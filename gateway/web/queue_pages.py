"""The queue: held mail as a list, searched, narrowed and kept up to date; and the views that a person saved of it.

What it is: the routes ``/``, ``/changes`` and ``/views``.
Who calls it: ``application``.
Must never: show of sealed mail more than reference, sender, rule and deadline; ask the keeper for more than one page of a list; put
what somebody typed into an address but as a value of the filter.
Sources: docs/design.md section 10 ("Web"); hostile-inputs catalogue W01, W05, W12; WCAG 2.1 (2.1.4 character key shortcuts).
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from starlette.datastructures import FormData

from gateway import requests
from gateway.review import Colleagues, CountHeld, DropView, Filter, FindHeld, ListRules, ListViews, SaveView
from gateway.roles import Act
from gateway.web import filters, held_rows
from gateway.web.door import Refused, Visitor
from gateway.web.filters import Choice
from gateway.web.site import Site

PAGE = 50
CHANGED = 200
"""Records that one look for changes asks for at most."""
SAID = {
    "saved": "The view is saved.", "dropped": "The view is removed.", "no-view-name": "Give the view a name of at most 60 characters.",
    "none-marked": "Mark at least one message first.", "too-many": "At most 200 messages at once.",
    "no-reason": "Write a reason; it is recorded with each decision.", "no-person": "Say to whom the messages are handed.",
    "no-level": "Say which level the messages get.", "no-action": "Say what is to be done with the marked messages.",
    "busy": "Two of your batches are still running; wait until one of them has ended.",
}  # fmt: skip
"""What a page says after a form was sent, by the code in its address."""
_GOOD = frozenset({"saved", "dropped"})
_TITLES_FOR = 60.0  # seconds
_WHOLE_FOR = 10.0  # seconds for which the numbers beside the choices of a filter may stand
_PEOPLE = 200  # whose numbers are kept
_NOT_UNDERSTOOD = 2  # of Failed: the call is wrong


class Titles:
    """The titles of the rules in force, asked anew when a minute is over."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        self._until = 0.0

    async def of(self, visitor: Visitor) -> dict[str, str]:
        """By rule id; empty where the keeper has none to give."""
        if time.monotonic() >= self._until:
            try:
                self._known = {str(row["id"]): str(row["title"]) for row in await visitor.rows(ListRules())}
            except Refused:
                self._known = {}
            self._until = time.monotonic() + _TITLES_FOR
        return self._known


class Whole:
    """What each person may list in all, counted anew after some seconds: a search counts what it finds, and that is enough to wait for."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[float, dict[str, Any]]] = OrderedDict()

    async def of(self, visitor: Visitor) -> dict[str, Any]:
        """Of the person."""
        until, counts = self._kept.get(visitor.name, (0.0, {}))
        if time.monotonic() >= until:
            counts = await _count(visitor, Filter())
            self._kept[visitor.name] = (time.monotonic() + _WHOLE_FOR, counts)
            self._kept.move_to_end(visitor.name)
            while len(self._kept) > _PEOPLE:
                self._kept.popitem(last=False)
        return counts


def router(site: Site) -> APIRouter:
    """The routes."""
    routes, entered, titles, whole = APIRouter(), site.entered, Titles(), Whole()

    @routes.get("/")
    async def queue(request: Request, visitor: Visitor = entered) -> Response:
        asked = request.query_params
        choice = filters.read(asked.multi_items())
        before, fresh, now = _id(asked.get("before", "")), _moment(asked.get("fresh", "")), time.time()
        wrong, found = "", ()  # type: tuple[str, tuple[dict[str, Any], ...]]
        try:
            found = await visitor.rows(FindHeld(limit=PAGE + 1, filter=choice.filter, before=before))
        except Refused as error:
            if error.failed.code != _NOT_UNDERSTOOD:
                raise
            wrong = error.failed.message
        counts, everything, views, known = await asyncio.gather(
            _count(visitor, None if wrong else choice.filter), whole.of(visitor) if choice != Choice() else _count(visitor, None),
            visitor.rows(ListViews()), titles.of(visitor),
        )  # fmt: skip
        rows = [held_rows.shown(row, visitor, now, fresh) for row in found[:PAGE]]
        markable = next((row["id"] for row in rows if row["markable"]), "")
        colleagues = await _colleagues(visitor, markable) if markable and visitor.may(Act.DECIDE) else []
        first = _place(asked.get("at", "")) if before else 1
        following = rows[-1]["id"] if len(found) > PAGE else ""
        return site.pages.page(
            "queue.html", visitor, here="/", rows=rows, choice=choice, counts=counts, chips=_chips(choice, counts),
            options=_options(choice, everything if choice != Choice() else counts, known), views=_views(views, choice),
            said=SAID.get(asked.get("said", ""), ""), good=asked.get("said", "") in _GOOD, wrong=wrong, first=first,
            older=_address(choice, before=following, at=first + PAGE) if following else "", paged=bool(before),
            newest=_address(choice), colleagues=colleagues, levels=filters.LEVELS[:-1], most=filters.LONGEST,
            live=_live(choice, now, rows), typed=_typed(asked.get("q", ""), choice),
        )  # fmt: skip

    @routes.get("/changes")
    async def changes(request: Request, visitor: Visitor = entered) -> Response:
        asked = request.query_params
        choice, since = filters.read(asked.multi_items()), _moment(asked.get("since", ""))
        if not since:
            return Response(status_code=204)
        # Whatever its state is now: what has left the list is a change of it, too.
        found = await visitor.rows(FindHeld(choice.but(states=()).filter, CHANGED, "", since))
        seen = _digest(found)
        if seen == asked.get("seen", "") or (not found and not asked.get("seen", "")):
            return Response(status_code=204)
        now, top, bottom = time.time(), _id(asked.get("top", "")), _id(asked.get("bottom", ""))
        rows = [held_rows.shown(row, visitor, now) for row in found if bottom <= str(row.get("id", "")) <= top and not row.get("sealed")]
        counts = await _count(visitor, choice.filter)
        return site.pages.part(
            "queue_changes.html", visitor, rows=rows, counts=counts, chips=_chips(choice, counts), choice=choice,
            news=held_rows.news(found, since, choice.states), many=len(found) >= CHANGED, show=_address(choice, fresh=f"{since:.3f}"),
            live="/changes?" + urlencode([*choice.pairs, ("since", f"{since:.3f}"), ("top", top), ("bottom", bottom), ("seen", seen)]),
        )  # fmt: skip

    @routes.post("/views")
    async def save(request: Request, visitor: Visitor = entered) -> Response:
        form = await request.form()
        choice, name = filters.read(_texts(form)), " ".join(str(form.get("name", ""))[:400].split())
        if not 0 < len(name) <= 60 or not name.isprintable():
            return RedirectResponse(_address(choice, said="no-view-name"), 303)
        await visitor.rows(SaveView(name, choice.filter))
        return RedirectResponse(_address(choice, said="saved"), 303)

    @routes.post("/views/{id}/drop")
    async def drop(id: str, visitor: Visitor = entered) -> Response:
        if not _id(id):
            raise Refused(requests.Failed("there is no such view", requests.ABSENT))
        await visitor.rows(DropView(id))
        return RedirectResponse("/?said=dropped", 303)

    return routes


# --- what is asked for ------------------------------------------------------------------------------------------------


async def _count(visitor: Visitor, filter: Filter | None) -> dict[str, Any]:
    empty: dict[str, Any] = {"total": 0, "states": {}, "levels": {}, "rules": {}, "departments": {}, "due_soon": 0, "more": False}
    rows = () if filter is None else await visitor.rows(CountHeld(filter))
    return empty | (rows[0] if rows else {})


async def _colleagues(visitor: Visitor, id: str) -> list[str]:
    """Names to offer for handing mail on: those of the first message. The keeper decides anew for each."""
    try:
        names = [str(row["name"]) for row in await visitor.rows(Colleagues(id))]
        return [name for name in names if name != visitor.name and name.isprintable()]
    except Refused:
        return []


def _id(text: str) -> str:
    """*text* if it has the form of an id or a reference, else empty."""
    return text if re.fullmatch(r"[0-9A-Za-z-]{1,64}", text) else ""


def _moment(text: str) -> float:
    return float(text) if re.fullmatch(r"[0-9]{1,11}(\.[0-9]{1,6})?", text) else 0.0


def _place(text: str) -> int:
    return max(1, int(text)) if re.fullmatch(r"[0-9]{1,9}", text) else 1


def _texts(form: FormData) -> Iterable[tuple[str, str]]:
    return [(name, value) for name, value in form.multi_items() if isinstance(value, str)]


def _typed(text: str, choice: Choice) -> bool:
    """Whether more was typed into the search than is searched for."""
    return len(text) > 10 * filters.LONGEST or len(" ".join(text.split())) > len(choice.words)


def _digest(found: Iterable[dict[str, Any]]) -> str:
    shape = [(row.get("id"), row.get("state"), row.get("updated"), row.get("approvals"), row.get("assigned")) for row in found]
    return hashlib.sha256(repr(shape).encode("utf-8", "replace")).hexdigest()[:16]


# --- what a page shows ------------------------------------------------------------------------------------------------


def _address(choice: Choice, **more: object) -> str:
    """The queue with *choice*; empty values of *more* are left out."""
    query = urlencode([*choice.pairs, *((name, str(value)) for name, value in more.items() if value)])
    return f"/?{query}" if query else "/"


def _live(choice: Choice, now: float, rows: list[dict[str, Any]]) -> str:
    ends = [("top", rows[0]["id"]), ("bottom", rows[-1]["id"])] if rows else []
    return "/changes?" + urlencode([*choice.pairs, ("since", f"{now:.3f}"), *ends])


def _chips(choice: Choice, counts: dict[str, Any]) -> list[dict[str, Any]]:
    """One for all that is open and one a state; a number where it was counted."""
    counted = counts["states"]
    shows_open = not choice.states or set(filters.OPEN) <= set(choice.states)
    chips = [{
        "id": "open", "words": "All open", "address": _address(choice.but(states=())), "here": not choice.states,
        "count": sum(counted.get(state, 0) for state in filters.OPEN) if shows_open else None, "more": counts["more"],
    }]  # fmt: skip
    for state in filters.STATES:
        known = state in choice.states or (not choice.states and state in filters.OPEN)
        chips.append({
            "id": state, "words": held_rows.STATE_WORDS[state], "address": _address(choice.but(states=(state,))),
            "here": choice.states == (state,), "count": counted.get(state, 0) if known else None,
            "more": False,
        })  # fmt: skip
    return chips


def _options(choice: Choice, counts: dict[str, Any], titles: dict[str, str]) -> dict[str, list[tuple[str, str, bool]]]:
    """For each field of the form the value, the words and whether it is chosen; several at once stand as one option."""

    def of(chosen: tuple[str, ...], known: Iterable[str], words: dict[str, str], counted: dict[str, int]) -> list[tuple[str, str, bool]]:
        out = [] if len(chosen) < 2 else [(",".join(chosen), ", ".join(words.get(one, one) for one in chosen), True)]
        for one in dict.fromkeys((*known, *chosen)):
            number = f" ({counted[one]:,})" if counted.get(one) else ""
            out.append((one, f"{words.get(one, one)}{number}", chosen == (one,)))
        return out

    rules = sorted(counts["rules"], key=lambda rule: titles.get(rule, rule))
    departments = [("department", one) for one in sorted(counts["departments"])]
    return {
        "level": of(choice.levels, filters.LEVELS, {"none": "no marking"}, counts["levels"]),
        "rule": of(choice.rules, filters.read([("rule", rule) for rule in rules]).rules, titles, counts["rules"]),
        "department": of(choice.departments, filters.read(departments).departments, {}, counts["departments"]),
    }


def _views(rows: Iterable[dict[str, Any]], choice: Choice) -> list[dict[str, Any]]:
    views = []
    for row in rows:
        try:
            kept = filters.of_filter(msgspec.convert(row["filter"], Filter, strict=False))
        except (msgspec.ValidationError, KeyError):
            continue
        views.append({"id": str(row["id"]), "name": str(row["name"]), "address": _address(kept), "here": kept == choice})
    return views

"""The queue over the keeper's own lists: what the page asks is what they answer."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway import requests, review
from gateway.keeper.access import Who
from gateway.keeper.exceptions import Wrong
from gateway.keeper.reception import Reception
from gateway.keeper.reviews import Reviews
from gateway.levels import Level
from gateway.review import As
from gateway.roles import Grant
from gateway.stores.base import Batch, HoldState, HoldUpdate
from gateway.verdict import Disposition
from tests.faces import ORIGIN, SESSION, FakeKeeper, person, web_client
from tests.keeper_kit import NOW, Room, recipient, transaction, verdict

HOLD = Disposition.HOLD


class Answering(FakeKeeper):
    """Lists and views are answered by the keeper's own code, as the person of the session."""

    def __init__(self, room: Room, *grants: str) -> None:
        super().__init__({review.ListRules: requests.Rows(()), review.Colleagues: requests.Rows(())}, {SESSION: person("asha", *grants)})
        self._who = Who("asha", grants=tuple(Grant.parse(one) for one in grants))
        lists = Reviews(room.config, room.store, room.vault, lambda: room.policy, lambda: room.now)
        self._reception = Reception(self, [lists.table()])

    async def who(self, credential: str, client_ip: str, *, passive: bool = False) -> Who:
        return self._who

    async def ask(self, request: Any) -> tuple[Any, bytes]:
        if isinstance(request, As) and type(request.request) in self._reception.acts:
            try:
                return await self._reception.answer(request)
            except Wrong as error:
                return requests.Failed(str(error), error.code), b""
        return await super().ask(request)


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    made = await Room(tmp_path).open()
    yield made
    await made.close()


def browser(room: Room, *grants: str) -> httpx.AsyncClient:
    web = web_client(Answering(room, *(grants or ("reviewer@*",))))
    web.cookies.set("gateway", SESSION)
    return web


async def held(room: Room, rule: str = "rule-x", level: Level | None = Level.RESTRICTED, sender: str = "so@dept.gov.in") -> tuple[str, str]:
    tx = transaction("desk@finance.nic.in", sender=sender)
    await room.commit(tx, verdict(room.version, recipient("desk@finance.nic.in", HOLD, rule=rule), level=level))
    found = await room.store.hold(tx.reference)
    assert found is not None
    return found.id, tx.reference


async def test_every_filter_finds_what_it_says(room: Room) -> None:
    _, first = await held(room)
    _, second = await held(room, rule="other-rule", level=None, sender="clerk@home.gov.in")
    web = browser(room)
    for query, there in (
        ("", {first, second}), ("q=clerk", {second}), ("q=desk%40finance.nic.in", {first, second}), ("level=none", {second}),
        ("level=RESTRICTED", {first}), ("rule=other-rule", {second}), ("department=home.gov.in", {second}), ("state=released", set()),
        ("assigned=me", set()), ("sealed=no", {first, second}), ("sealed=yes", set()), ("due=1", set()), ("due=3650", {first, second}),
        ("since=2100-01-01", set()), ("until=2100-01-01", {first, second}), (f"q={first.lower()}", {first}),
        ("q=%25", set()), ("q='%20OR%201=1", set()),
    ):  # fmt: skip
        answer = await web.get(f"/?{query}")
        assert answer.status_code == 200, query
        assert {one for one in (first, second) if one in answer.text} == there, query
    assert "at most 8 words" in (await web.get("/?q=a.b.c.d.e.f.g.h+i.j.k.l.m.n.o.p+q.r.s")).text


async def test_W05_of_another_department_nothing_is_listed_counted_or_offered(room: Room) -> None:
    _, mine = await held(room)
    _, other = await held(room, sender="clerk@home.gov.in", rule="their-rule")
    page = (await browser(room, "reviewer@dept.gov.in").get("/")).text
    assert mine in page
    assert "1 waiting for a decision" in page
    for text in (other, "home.gov.in", "their-rule"):
        assert text not in page


async def test_a_view_that_is_saved_comes_back_as_the_same_address(room: Room) -> None:
    web = browser(room)
    token = re.search(r'name="form_token" value="([^"]+)"', (await web.get("/")).text)
    assert token
    data = {"form_token": token[1], "name": "Mine", "level": "SECRET", "due": "2", "assigned": "me", "q": "बैठक"}
    answer = await web.post("/views", data=data, headers=ORIGIN)
    assert answer.status_code == 303
    page = (await web.get(answer.headers["location"])).text
    chip = re.search(r'<a class="chip" href="([^"]+)" aria-current="true"><bdi>Mine', page)
    assert chip
    assert html.unescape(chip[1]) + "&said=saved" == answer.headers["location"]


async def test_what_is_decided_meanwhile_is_told(room: Room) -> None:
    id, _ = await held(room)
    web = browser(room)
    live = html.unescape(re.search(r'id="live"[^>]*hx-get="([^"]+)"', (await web.get("/")).text)[1])  # type: ignore[index]
    live = re.sub(r"since=[\d.]+", f"since={NOW + 50:.3f}", live)  # the room has a clock of its own
    assert (await web.get(live)).status_code == 204
    await room.store.write(Batch(hold_updates=[HoldUpdate(id, (HoldState.HELD,), HoldState.REFUSED, NOW + 60)]))
    answer = await web.get(live)
    assert "1 decided" in answer.text
    assert f'id="state-{id}"' in answer.text
    assert "0 waiting" in answer.text

"""One held message: its page, its content, and a page of one of its documents as a picture.

What it is: the routes ``/held/{id}``, ``/held/{id}/content`` and ``/held/{id}/page``, and ``ItemPage``, which shows the page again after
an act that could not be done.
Who calls it: ``application``; ``item_acts`` and ``downloads`` use ``ItemPage``.
Must never: open the content with the page itself (it is recorded apart); put a word of a message into an address (a part is asked for
by its place); send a part of a message as anything but text or a picture that the inspector drew.
Sources: docs/design.md section 10 ("Web"); hostile-inputs catalogue W01, W02, W05.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from gateway import ipc, requests
from gateway.inquiries import ShowHeld
from gateway.levels import Level
from gateway.review import Colleagues, ShowContent, ShowPage
from gateway.web import told
from gateway.web.door import Refused, Visitor
from gateway.web.item_content import content
from gateway.web.item_record import record
from gateway.web.shown import IST
from gateway.web.site import Site

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9A-Z]{26}", re.ASCII)
PNG = b"\x89PNG\r\n\x1a\n"
SHOWN_AGAIN = {1: 409, 2: 400, requests.FORBIDDEN: 403}
"""What of the keeper's refusals is said on the item's page, with the status of the answer."""
_EXCEPTION_DAYS = 30


def checked(id: str) -> str:
    """*id* where it has the shape of an id or a reference. Raises Refused as for a message that there is not (W05)."""
    if not _ID.fullmatch(id):
        raise Refused(requests.Failed("there is no such held message", requests.ABSENT))
    return id


def sentence(text: str) -> str:
    """A clause of the keeper as a sentence."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")


class ItemPage:
    """The page of one item, for those who show it."""

    def __init__(self, site: Site) -> None:
        self._pages = site.pages

    async def item(self, visitor: Visitor, id: str) -> dict[str, Any]:
        """The record *id* or reference. Raises NeedLogin, Refused, ipc.ChannelError."""
        rows = await visitor.rows(ShowHeld(checked(id)))
        if not rows:
            raise Refused(requests.Failed("there is no such held message", requests.ABSENT))
        return record(rows[0])

    async def page(
        self, visitor: Visitor, id: str, status: int = 200, *, said: str = "", warning: str = "", act: str = "",
        typed: Mapping[str, str] | None = None, chosen: Sequence[str] | None = None, again: Sequence[Mapping[str, Any]] | None = None,
        whole: bool = False,
    ) -> HTMLResponse:  # fmt: skip
        """The page. *said*: a code of ``told.SAID``; *warning*: why *act* was not done, with what was *typed* and whom was *chosen*;
        *again*: what today's rules say; *whole*: nothing folded, for paper. Raises as ``item``."""
        item = await self.item(visitor, id)
        people: Sequence[Mapping[str, Any]] = ()
        if not whole and (item["may"].get("forward") or item["may"].get("exception")):
            people = await self._people(visitor, str(item["id"]))
        today = datetime.now(IST)
        return self._pages.page(
            "item.html", visitor, status, here="/", item=item, told=told, said=told.SAID.get(said) if _fits(said, item) else None,
            warning=warning, act=act, typed=dict(typed or {}), chosen=_chosen(item, chosen), again=again, whole=whole, people=people,
            levels=[one.text for one in Level], panel=_panel(item), now=today.timestamp(),
            until=(today + timedelta(days=_EXCEPTION_DAYS)).date().isoformat(), tomorrow=(today + timedelta(days=1)).date().isoformat(),
        )  # fmt: skip

    async def refused(
        self, visitor: Visitor, id: str, error: Refused, act: str, typed: Mapping[str, str], chosen: Sequence[str] | None = None
    ) -> Response:
        """The page anew with the reason why *act* was not done. Raises *error* where the page cannot say it."""
        status = SHOWN_AGAIN.get(error.failed.code)
        if status is None:
            raise error
        return await self.page(visitor, id, status, warning=sentence(error.failed.message), act=act, typed=typed, chosen=chosen)

    @staticmethod
    async def _people(visitor: Visitor, id: str) -> Sequence[Mapping[str, Any]]:
        try:
            return await visitor.rows(Colleagues(id))
        except Refused:
            return ()


def _fits(said: str, item: Mapping[str, Any]) -> bool:
    """Whether what an address says was done can have been: a link that somebody made up says nothing."""
    if said in ("released", "refused", "refused-silent"):
        return bool(item["state"] == said.partition("-")[0])
    if said in ("released-some", "decided-again"):
        return bool(item["released"])
    return bool(item["approvals"]) if said == "approved" else True


def _chosen(item: Mapping[str, Any], chosen: Sequence[str] | None) -> Sequence[str]:
    """Who is ticked for a release: who was ticked before; where one person has approved, whom he approved; the only one who waits."""
    if chosen is not None:
        return chosen
    if item["first_yes"]:
        first: Mapping[str, Any] = next((one for one in reversed(item["approvals"]) if one.get("user") == item["first_yes"]), {})
        return [str(address) for address in first.get("recipients") or ()]
    return [item["waiting"][0]["address"]] if len(item["waiting"]) == 1 else ()


def _panel(item: Mapping[str, Any]) -> dict[str, Any]:
    """What of the acts is offered (``offered``), and of the others why not (``withheld``: what, why)."""
    may, why = item["may"], item["why_not"]
    names = {
        "release": "Release", "refuse": "Refuse", "ask": "Ask the sender", "level": "Give another level", "forward": "Hand to a colleague",
        "again": "Decide again", "exception": "Add an exception", "content": "See and download the content",
    }  # fmt: skip
    offered = {name: bool(may.get(name)) for name in names}
    offered["release"] = bool(may.get("release") or may.get("approve"))
    reasons = dict(why)
    if may.get("approve") is False and "role" not in str(why.get("approve", "role")):
        reasons["release"] = why["approve"]  # a second approver is told what he waits for
    withheld = [(names[name], sentence(str(reasons.get(name) or "not now"))) for name, given in offered.items() if not given]
    return {"offered": offered, "withheld": withheld, "second": bool(may.get("approve") and item["first_yes"])}


def router(site: Site) -> APIRouter:
    """The routes."""
    routes, entered, shows, pages = APIRouter(), site.entered, ItemPage(site), site.pages

    @routes.get("/held/{id}")
    async def one(id: str, visitor: Visitor = entered, said: str = "", print: str = "") -> Response:
        return await shows.page(visitor, id, said=said, whole=print == "1")

    @routes.get("/held/{id}/content")
    async def read(request: Request, id: str, visitor: Visitor = entered, print: str = "") -> Response:
        inside = request.headers.get("hx-request") == "true"
        try:
            item = await shows.item(visitor, id)
            rows = await visitor.rows(ShowContent(str(item["id"])))
            paths = [leaf["path"] for leaf in item["leaves"]]
            # Two million characters take a while to be made readable: others are answered meanwhile.
            shown = await asyncio.to_thread(content, rows[0] if rows else {}, paths)
        except (Refused, ipc.ChannelError) as error:
            if not inside:
                raise
            text = error.failed.message if isinstance(error, Refused) and error.failed.code in SHOWN_AGAIN else "this cannot be shown now"
            return pages.part("item_failed.html", visitor, text=sentence(text))
        name = "item_content.html" if inside else "item_content_page.html"
        return await asyncio.to_thread(pages.page, name, visitor, here="/", item=item, shown=shown, told=told, whole=print == "1")

    @routes.get("/held/{id}/page")
    async def picture(id: str, visitor: Visitor = entered, part: int = 0, page: int = 1) -> Response:
        item = await shows.item(visitor, id)
        if not 0 <= part < len(item["leaves"]) or not 0 < page < 100_000:
            raise Refused(requests.Failed("there is no such page", requests.ABSENT))
        _, body = await visitor.answer(ShowPage(str(item["id"]), str(item["leaves"][part]["path"]), page))
        if not body.startswith(PNG):
            raise Refused(requests.Failed("this page cannot be drawn", 1))
        return Response(body, media_type="image/png")

    return routes

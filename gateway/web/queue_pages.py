"""The queue: held mail as a list.

What it is: the route ``/``.
Who calls it: ``application``.
Must never: show of sealed mail more than reference, sender, rule and deadline.
Sources: contract.md, "Web"; hostile-inputs catalogue W01, W12.
"""

from __future__ import annotations

import re
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from gateway.review import FindHeld
from gateway.web.door import Visitor
from gateway.web.site import Site

PAGE = 50


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """What the list may show of a held record: of a sealed one only reference, sender, rule and deadline."""
    names: tuple[str, ...] = ("id", "reference", "sender", "rule", "deadline")
    if not row.get("sealed"):
        names += ("level", "recipients", "size", "state")
    return {name: row.get(name) for name in names} | {"sealed": bool(row.get("sealed"))}


def router(site: Site) -> APIRouter:
    """The routes."""
    routes, entered = APIRouter(), site.entered

    @routes.get("/")
    async def queue(visitor: Visitor = entered, before: str = "") -> Response:
        asked = before if re.fullmatch(r"[0-9A-Za-z-]{1,64}", before) else ""
        rows = [shown(row) for row in await visitor.rows(FindHeld(limit=PAGE, before=asked))]
        following = str(rows[-1]["id"]) if len(rows) == PAGE else ""
        return site.pages.page("held.html", visitor, rows=rows, following=following, paged=bool(asked))

    return routes

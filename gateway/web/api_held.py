"""Held mail in the API: listed, shown, decided.

What it is: the routes ``/api/v1/held`` and ``/api/v1/views``.
Who calls it: ``api``.
Must never: release to anybody who was not named; name a file by anything that a message says; put a word of a message into an address.
Sources: docs/design.md section 10 ("Web"); hostile-inputs catalogue W05, W07, W09.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response

from gateway import requests
from gateway.inquiries import RefuseHeld, ReleaseHeld, ShowHeld
from gateway.review import (
    AskOfficer,
    Colleagues,
    CountHeld,
    DecideAgain,
    DownloadLeaf,
    DropView,
    FindHeld,
    ForwardHeld,
    ListViews,
    PersonRequest,
    ReclassifyHeld,
    SaveView,
    ShowContent,
    ShowPage,
)
from gateway.web.api_bodies import (
    AgainBody,
    AskBody,
    DownloadBody,
    FilterBody,
    ForwardBody,
    HeldQuery,
    LevelBody,
    PageQuery,
    ReasonBody,
    ReleaseBody,
    Rows,
    Said,
    ViewBody,
)
from gateway.web.door import Refused, Visitor
from gateway.web.item_pages import PNG, checked
from gateway.web.secured import DOWNLOAD_CSP
from gateway.web.site import Site

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_OCTETS: dict[int | str, dict[str, Any]] = {200: {"content": {"application/octet-stream": _BINARY}, "description": "The octets."}}
_PICTURE: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": _BINARY}, "description": "The page as a picture."}}


def add(routes: APIRouter, site: Site) -> None:
    """Adds them to *routes*, which stands below ``/api/v1``."""
    entered = site.entered

    async def done(visitor: Visitor, request: PersonRequest) -> Said:
        rows = await visitor.rows(request)
        return Said(message=str(rows[0].get("message") or "") if rows else "")

    @routes.get("/held", tags=["held mail"], summary="List held mail")
    async def find(query: Annotated[HeldQuery, Query()], visitor: Visitor = entered) -> Rows:
        """Held records, the newest first. The subject only where your role permits content; of sealed mail only reference, sender, rule
        and deadline."""
        found = await visitor.rows(FindHeld(query.filter(), query.limit, query.before, query.changed_since))
        return Rows(rows=list(found), next=str(found[-1]["id"]) if len(found) >= query.limit else None)

    @routes.get("/held/counts", tags=["held mail"], summary="Count held mail")
    async def count(query: Annotated[FilterBody, Query()], visitor: Visitor = entered) -> dict[str, Any]:
        """How many in all and by state, level, rule and department, the oldest and the next deadline."""
        rows = await visitor.rows(CountHeld(query.filter()))
        return rows[0] if rows else {}

    @routes.get("/held/{id}", tags=["held mail"], summary="Show one held message")
    async def one(id: str, visitor: Visitor = entered) -> dict[str, Any]:
        """By id or reference: envelope, verdict and evidence, history, and what you may do with it (`may`, `why_not`)."""
        return await record(visitor, id)

    @routes.get("/held/{id}/content", tags=["held mail"], summary="Read the content")
    async def content(id: str, visitor: Visitor = entered) -> dict[str, Any]:
        """The text of its parts with the marked words in their places; recorded as content viewed."""
        rows = await visitor.rows(ShowContent(checked(id)))
        return rows[0] if rows else {}

    @routes.get("/held/{id}/page", tags=["held mail"], summary="One page as a picture", response_class=Response, responses=_PICTURE)
    async def page(id: str, query: Annotated[PageQuery, Query()], visitor: Visitor = entered) -> Response:
        """A page of a PDF part as a PNG with the marked words boxed."""
        row = await record(visitor, id)
        _, octets = await visitor.answer(ShowPage(str(row["id"]), path_of(row, query.part), query.page))
        if not octets.startswith(PNG):
            raise Refused(requests.Failed("this page cannot be drawn", 1))
        return Response(octets, media_type="image/png")

    @routes.post("/held/{id}/download", tags=["held mail"], summary="Take content out", response_class=Response, responses=_OCTETS)
    async def download(id: str, body: DownloadBody, visitor: Visitor = entered) -> Response:
        """The octets of one part, or of the whole message; recorded with your reason."""
        row = await record(visitor, id)
        path = "" if body.part is None else path_of(row, body.part)
        _, octets = await visitor.answer(DownloadLeaf(str(row["id"]), path, body.reason))
        plain = re.sub(r"[^0-9A-Za-z]", "", str(row.get("reference")))[:40] or "message"
        name = f"{plain}.eml" if body.part is None else f"{plain}-part-{body.part + 1}.bin"
        return Response(octets, headers={
            "content-type": "application/octet-stream", "content-security-policy": DOWNLOAD_CSP,
            "content-disposition": f'attachment; filename="{name}"',
        })  # fmt: skip

    @routes.post("/held/{id}/release", tags=["held mail"], summary="Release, or approve a release")
    async def release(id: str, body: ReleaseBody, visitor: Visitor = entered) -> Said:
        """To the recipients that are named. Where two people are needed the first is told `approved 1 of 2`."""
        return await done(visitor, ReleaseHeld(checked(id), body.reason, tuple(dict.fromkeys(body.recipients))))

    @routes.post("/held/{id}/refuse", tags=["held mail"], summary="Refuse")
    async def refuse(id: str, body: ReasonBody, visitor: Visitor = entered) -> Said:
        """The sender gets a report with your reason."""
        return await done(visitor, RefuseHeld(checked(id), body.reason))

    @routes.post("/held/{id}/ask", tags=["held mail"], summary="Ask the sender")
    async def ask(id: str, body: AskBody, visitor: Visitor = entered) -> Said:
        """The sender answers on his page."""
        return await done(visitor, AskOfficer(checked(id), body.text))

    @routes.post("/held/{id}/level", tags=["held mail"], summary="Give another level")
    async def level(id: str, body: LevelBody, visitor: Visitor = entered) -> Said:
        """A lower one than was found needs a second person."""
        return await done(visitor, ReclassifyHeld(checked(id), body.level, body.reason))

    @routes.post("/held/{id}/forward", tags=["held mail"], summary="Hand to a colleague")
    async def forward(id: str, body: ForwardBody, visitor: Visitor = entered) -> Said:
        """With a note; the colleague finds it with `assigned=me`."""
        return await done(visitor, ForwardHeld(checked(id), body.to, body.note))

    @routes.get("/held/{id}/colleagues", tags=["held mail"], summary="To whom it may be handed")
    async def colleagues(id: str, visitor: Visitor = entered) -> Rows:
        """Names and addresses."""
        return Rows(rows=list(await visitor.rows(Colleagues(checked(id)))))

    @routes.post("/held/{id}/again", tags=["held mail"], summary="Decide anew under today's rules")
    async def again(id: str, body: AgainBody, visitor: Visitor = entered) -> Rows:
        """For each waiting recipient what the rules say now; with `apply` those whom nothing holds any more are released."""
        return Rows(rows=list(await visitor.rows(DecideAgain(checked(id), body.apply, body.reason))))

    @routes.get("/views", tags=["views"], summary="Your saved views")
    async def views(visitor: Visitor = entered) -> Rows:
        """Names and filters."""
        return Rows(rows=list(await visitor.rows(ListViews())))

    @routes.put("/views", tags=["views"], summary="Save a view")
    async def save(body: ViewBody, visitor: Visitor = entered) -> Said:
        """The same name again replaces it."""
        return await done(visitor, SaveView(body.name, body.filter.filter()))

    @routes.delete("/views/{id}", tags=["views"], summary="Forget a view")
    async def drop(id: str, visitor: Visitor = entered) -> Said:
        """One of yours."""
        return await done(visitor, DropView(id[:64]))

    async def record(visitor: Visitor, id: str) -> dict[str, Any]:
        rows = await visitor.rows(ShowHeld(checked(id)))
        if not rows:
            raise Refused(requests.Failed("there is no such held message", requests.ABSENT))
        return rows[0]


def path_of(row: dict[str, Any], part: int) -> str:
    """The path of the part at that place. Raises Refused where there is none."""
    leaves = row.get("leaves") or ()
    if not 0 <= part < len(leaves):
        raise Refused(requests.Failed("there is no such part in this message", requests.ABSENT))
    return str(leaves[part].get("path") or "")

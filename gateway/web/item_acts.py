"""What is done to one held message: released, refused, asked about, given another level, handed on, decided again, excepted.

What it is: the POST routes of ``/held/{id}``. Each asks the keeper and leads back to the item's page, which says what was done; what
could not be done is said there too, with everything that was typed.
Who calls it: ``application``.
Must never: decide itself who may; release to anybody who was not ticked; put what was typed into an address.
Sources: docs/design.md section 10 ("Web"); docs/design.md section 4 ("Held mail"); hostile-inputs catalogue W03, W07, W08.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Form
from fastapi.responses import RedirectResponse, Response

from gateway.inquiries import AddException, RefuseHeld, ReleaseHeld
from gateway.review import AskOfficer, DecideAgain, ForwardHeld, PersonRequest, ReclassifyHeld
from gateway.web import told
from gateway.web.door import Refused, Visitor
from gateway.web.item_pages import ItemPage, checked
from gateway.web.shown import end_of
from gateway.web.site import Site

LONGEST = 4_000
"""Characters of what is typed that are sent on; the keeper keeps 1,000."""


def router(site: Site) -> APIRouter:
    """The routes."""
    routes, entered, shows = APIRouter(), site.entered, ItemPage(site)

    async def done(
        visitor: Visitor, id: str, act: str, request: PersonRequest, typed: dict[str, str], chosen: list[str] | None = None
    ) -> Response:
        """Asks *request* and goes back to the page with what was done."""
        try:
            rows = await visitor.rows(request)
        except Refused as error:
            return await shows.refused(visitor, id, error, act, typed, chosen)
        message = str(rows[0].get("message") or "") if rows else ""
        return RedirectResponse(f"/held/{id}?said={told.code_of(act, message)}", 303)

    async def lacking(visitor: Visitor, id: str, act: str, text: str, typed: dict[str, str], chosen: list[str] | None = None) -> Response:
        return await shows.page(visitor, id, 400, warning=text, act=act, typed=typed, chosen=chosen)

    @routes.post("/held/{id}/release")
    async def release(id: str, visitor: Visitor = entered, reason: str = Form(""), to: list[str] = Form([])) -> Response:  # noqa: B008
        typed, chosen = {"reason": reason[:LONGEST]}, list(dict.fromkeys(to))
        if not chosen:
            # To the keeper nobody in particular means everybody who waits: that is never meant by an empty form.
            return await lacking(visitor, checked(id), "release", "Choose at least one recipient; nothing was released.", typed, [])
        return await done(visitor, id, "release", ReleaseHeld(checked(id), typed["reason"], tuple(chosen)), typed, chosen)

    @routes.post("/held/{id}/refuse")
    async def refuse(id: str, visitor: Visitor = entered, reason: str = Form("")) -> Response:
        typed = {"reason": reason[:LONGEST]}
        return await done(visitor, id, "refuse", RefuseHeld(checked(id), typed["reason"]), typed)

    @routes.post("/held/{id}/ask")
    async def ask(id: str, visitor: Visitor = entered, text: str = Form("")) -> Response:
        typed = {"text": text[:LONGEST]}
        return await done(visitor, id, "ask", AskOfficer(checked(id), typed["text"]), typed)

    @routes.post("/held/{id}/level")
    async def level(id: str, visitor: Visitor = entered, level: str = Form(""), reason: str = Form("")) -> Response:
        typed = {"level": level[:40], "reason": reason[:LONGEST]}
        return await done(visitor, id, "level", ReclassifyHeld(checked(id), typed["level"], typed["reason"]), typed)

    @routes.post("/held/{id}/forward")
    async def forward(id: str, visitor: Visitor = entered, to: str = Form(""), note: str = Form("")) -> Response:
        typed = {"to": to[:200], "note": note[:LONGEST]}
        if not typed["to"]:
            return await lacking(visitor, checked(id), "forward", "Choose a colleague.", typed)
        return await done(visitor, id, "forward", ForwardHeld(checked(id), typed["to"], typed["note"]), typed)

    @routes.post("/held/{id}/again")
    async def again(id: str, visitor: Visitor = entered, apply: str = Form(""), reason: str = Form("")) -> Response:
        typed = {"reason": reason[:LONGEST]}
        if apply == "yes":
            return await done(visitor, id, "again", DecideAgain(checked(id), True, typed["reason"]), typed)
        try:
            rows = await visitor.rows(DecideAgain(checked(id)))
        except Refused as error:
            return await shows.refused(visitor, id, error, "again", typed)
        return await shows.page(visitor, id, act="again", again=[_outcome(row) for row in rows])

    @routes.post("/held/{id}/exception")
    async def exception(
        id: str, visitor: Visitor = entered, sender: str = Form(""), recipient: str = Form(""), approver: str = Form(""),
        until: str = Form(""), reason: str = Form(""),
    ) -> Response:  # fmt: skip
        typed = {
            "sender": sender[:320], "recipient": recipient[:320], "approver": approver[:200], "until": until[:10],
            "reason": reason[:LONGEST],
        }  # fmt: skip
        checked(id)
        expires = end_of(typed["until"])
        if not expires:
            return await lacking(visitor, id, "exception", "Say until which day the exception holds.", typed)
        request = AddException(
            typed["sender"], typed["recipient"], " ".join(typed["reason"].split()), visitor.name, typed["approver"], expires
        )
        return await done(visitor, id, "exception", request, typed)

    return routes


def _outcome(row: dict[str, Any]) -> dict[str, Any]:
    said = row.get("explanation") or {}
    texts = {name: str(row.get(name) or "") for name in ("address", "disposition", "rule")}
    return texts | {"explanation": str(said.get("en") or "") if isinstance(said, dict) else str(said)}

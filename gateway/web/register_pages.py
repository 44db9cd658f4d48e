"""The rules in force, and the register of exceptions to them.

What it is: the routes ``/rules`` and ``/exceptions``.
Who calls it: ``application``.
Must never: name as the requester anybody but the visitor; end an entry without saying who and why.
Sources: docs/design.md section 10 ("Web"); docs/design.md section 5; rules/README.md, R13 and R31; hostile-inputs catalogue W01, W05.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from fastapi import APIRouter, Form
from fastapi.responses import RedirectResponse, Response

from gateway import requests
from gateway.inquiries import AddException, ExpireException, ListExceptions
from gateway.review import ListRules
from gateway.web.door import Refused, Visitor
from gateway.web.role_words import LANGUAGES
from gateway.web.shown import IST, end_of
from gateway.web.site import Site

PAGE = 100
LONGEST = 1000
"""Characters of one value that are sent on; the keeper takes as many."""
USUAL = 30
"""Days until the end that the form proposes."""
_ID = re.compile(r"[0-9A-Za-z-]{1,64}", re.ASCII)
_ANSWERS = {1: 409, 2: 400, requests.FORBIDDEN: 403}
_SAID = {"added": "The exception is in force now.", "ended": "The exception is ended."}
_STATES = {"active": "in force", "expired": "ended"}
MODES = {"enforce": "acts", "monitor": "watched only"}


def router(site: Site) -> APIRouter:
    """The routes."""
    routes, entered, pages = APIRouter(), site.entered, site.pages

    @routes.get("/rules")
    async def rules(visitor: Visitor = entered, language: str = "", words: str = "") -> Response:
        language = language if language in LANGUAGES else "en"
        rows, wanted = await visitor.rows(ListRules(language)), " ".join(words[:100].split()).casefold()
        fields = ("id", "title", "source", "then", "pack", "what", "why", "owner")
        shown = [row for row in rows if wanted in " ".join(str(row.get(name) or "") for name in fields).casefold()]
        return pages.page(
            "rules.html", visitor, here="/rules", rows=shown, total=len(rows), words=words[:100], chosen=language, languages=LANGUAGES,
            modes=MODES,
        )  # fmt: skip

    async def show(visitor: Visitor, status: int = 200, *, all: bool = False, after: str = "", **words: Any) -> Response:
        found = await visitor.rows(ListExceptions(all, PAGE + 1, after))
        rows = [row | {"state_words": _STATES.get(str(row.get("state")), str(row.get("state")))} for row in found[:PAGE]]
        today = datetime.now(IST).date()
        whole: dict[str, Any] = {
            "rows": rows, "all": all, "following": rows[-1]["id"] if len(found) > PAGE else "", "paged": bool(after), "said": "",
            "wrong": "", "typed": {}, "until": (today + timedelta(days=USUAL)).isoformat(),
            "tomorrow": (today + timedelta(days=1)).isoformat(), "longest": LONGEST,
        }  # fmt: skip
        return pages.page("exceptions.html", visitor, status, here="/exceptions", **(whole | words))

    @routes.get("/exceptions")
    async def register(visitor: Visitor = entered, all: str = "", after: str = "", said: str = "") -> Response:
        return await show(visitor, all=all == "1", after=after if _ID.fullmatch(after) else "", said=_SAID.get(said, ""))

    @routes.post("/exceptions")
    async def add(
        visitor: Visitor = entered, sender: str = Form(""), recipient: str = Form(""), approver: str = Form(""), until: str = Form(""),
        reason: str = Form(""),
    ) -> Response:  # fmt: skip
        typed = {
            "sender": sender[:LONGEST], "recipient": recipient[:LONGEST], "approver": approver[:LONGEST], "until": until[:10],
            "reason": " ".join(reason[: 2 * LONGEST].split()),
        }  # fmt: skip
        expires = end_of(until)
        if not expires:
            return await show(visitor, 400, typed=typed, wrong="Say until which day the exception holds.")
        try:
            await visitor.rows(AddException(typed["sender"], typed["recipient"], typed["reason"], visitor.name, typed["approver"], expires))
        except Refused as error:
            return await show(visitor, _status(error), typed=typed, wrong=_sentence(error))
        return RedirectResponse("/exceptions?said=added", 303)

    @routes.post("/exceptions/{id}/expire")
    async def end(id: str, visitor: Visitor = entered, reason: str = Form("")) -> Response:
        if not _ID.fullmatch(id):
            raise Refused(requests.Failed("there is no such active exception", requests.ABSENT))
        if not reason.strip():
            return await show(visitor, 400, wrong="Say why the exception ends; it is recorded.")
        try:
            await visitor.answer(ExpireException(id, " ".join(reason[: 2 * LONGEST].split())[:LONGEST]))
        except Refused as error:
            return await show(visitor, _status(error), wrong=_sentence(error))
        return RedirectResponse("/exceptions?said=ended", 303)

    return routes


def _status(error: Refused) -> int:
    """The status of the page that is shown again. Raises *error* where it is no answer to what was typed."""
    status = _ANSWERS.get(error.failed.code)
    if status is None:
        raise error
    return status


def _sentence(error: Refused) -> str:
    text = error.failed.message.removeprefix("exceptions: ").strip()
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."

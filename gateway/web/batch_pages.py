"""One act on many held messages: the form of the queue, and the page on which its progress is seen.

What it is: the routes of ``/batch``.
Who calls it: ``application``.
Must never: act inside the request that sent the form; act on what was not marked; show another session's batch (W05).
Sources: docs/design.md section 10 ("Web"); hostile-inputs catalogue W03, W05.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from starlette.datastructures import FormData

from gateway import requests
from gateway.inquiries import RefuseHeld, ReleaseHeld
from gateway.review import ForwardHeld, PersonRequest, ReclassifyHeld
from gateway.web import filters
from gateway.web.batch import MOST, Batches, Busy, Target
from gateway.web.door import Refused, Visitor
from gateway.web.site import Site

ACTS = {"release": "Release", "refuse": "Refuse", "forward": "Hand on", "level": "Another level"}
_REASON = 1000  # characters, as many as the keeper records
_TARGET = re.compile(r"([0-9A-Za-z-]{1,64}) ([0-9A-Za-z-]{1,64})")


def router(site: Site) -> APIRouter:
    """The routes."""
    routes, entered, batches = APIRouter(), site.entered, Batches()

    @routes.post("/batch")
    async def begin(request: Request, visitor: Visitor = entered) -> Response:
        form = await request.form()
        pairs = [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
        back = filters.read([(name.removeprefix("f-"), value) for name, value in pairs if name.startswith("f-")])

        def again(said: str) -> Response:
            return RedirectResponse("/?" + urlencode([*back.pairs, ("said", said)]), 303)

        marked = dict.fromkeys(value for name, value in pairs if name == "item")
        targets = [Target(found[1], found[2]) for value in marked if (found := _TARGET.fullmatch(value))]
        if not targets:
            return again("none-marked")
        if len(targets) > MOST:
            return again("too-many")
        asked, wrong = _request(form)
        if asked is None:
            return again(wrong)
        try:
            job = batches.begin(visitor, str(form.get("action")), targets, asked)
        except Busy:
            return again("busy")
        # The list that he came from stands in the address, so that he finds back to it.
        return RedirectResponse(f"/batch/{job.id}" + (f"?{back.query}" if back.pairs else ""), 303)

    @routes.get("/batch/{id}")
    async def progress(id: str, request: Request, visitor: Visitor = entered) -> Response:
        job = batches.find(id, visitor)
        if job is None:
            raise Refused(requests.Failed("there is no such batch", requests.ABSENT))
        back = filters.read(request.query_params.multi_items()).query
        return site.pages.page(
            "queue_batch.html", visitor, here="/", job=job, act=ACTS.get(job.act, ""), back=f"/?{back}" if back else "/",
            address=f"/batch/{job.id}" + (f"?{back}" if back else ""), done=len(job.outcomes), total=len(job.targets),
        )  # fmt: skip

    return routes


def _request(form: FormData) -> tuple[Callable[[str], PersonRequest] | None, str]:
    """What is asked of each message; or None and the code of what is missing."""
    action, reason, to, level = (_text(form, name) for name in ("action", "reason", "to", "level"))
    if action not in ACTS:
        return None, "no-action"
    if not reason:
        return None, "no-reason"
    if action == "release":
        return lambda held: ReleaseHeld(held, reason), ""
    if action == "refuse":
        return lambda held: RefuseHeld(held, reason), ""
    if action == "forward":
        return (lambda held: ForwardHeld(held, to, reason), "") if to else (None, "no-person")
    if level not in filters.LEVELS[:-1]:
        return None, "no-level"
    return lambda held: ReclassifyHeld(held, level, reason), ""


def _text(form: FormData, name: str) -> str:
    value = form.get(name, "")
    return value.strip()[:_REASON] if isinstance(value, str) else ""

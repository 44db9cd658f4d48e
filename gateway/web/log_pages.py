"""The decision log: searched, one message's story with its place in the chain, and taken out as a file.

What it is: the routes of ``/audit``.
Who calls it: ``application``.
Must never: change the log, but by the record of who took rows out of it; write a cell that a program takes for a formula (W14); put more
than ``MOST`` rows into one file.
Sources: docs/design.md section 10 ("Web", "Decision log"); hostile-inputs catalogue W05, W12, W14.
"""

from __future__ import annotations

import json
import re
import time
from datetime import datetime

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from gateway import logged, requests
from gateway.inquiries import ShowAudit
from gateway.roles import Act
from gateway.web import log_rows, log_search
from gateway.web.door import Refused, Visitor
from gateway.web.log_search import Search
from gateway.web.rule_titles import titles
from gateway.web.secured import DOWNLOAD_CSP
from gateway.web.shown import IST, visible
from gateway.web.site import Site

PAGE = 100
MOST = 10_000
"""Rows of one file."""
TAKEN = 1_000
"""Rows that are asked for at once for a file."""
_REFERENCE = re.compile(r"[0-9A-Za-z-]{1,64}", re.ASCII)
_SAID = {"format": "Choose CSV or JSON lines."}
TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson; charset=utf-8"}


def router(site: Site) -> APIRouter:
    """The routes."""
    routes, entered, pages = APIRouter(), site.entered, site.pages

    @routes.get("/audit")
    async def find(request: Request, visitor: Visitor = entered) -> Response:
        asked = request.query_params
        search, before = log_search.read(asked), log_search.position(asked.get("before", ""))
        found = await visitor.rows(search.request(PAGE + 1, before))
        known = await titles(visitor)
        rows = [log_rows.told_row(row, known) for row in found[:PAGE]]
        following = rows[-1]["seq"] if len(found) > PAGE else 0
        return pages.page(
            "audit.html", visitor, here="/audit", rows=rows, search=search, rules=sorted(known.items(), key=lambda one: one[1]),
            older=search.address(before=following) if following else "", newest=search.address(), paged=bool(before), most=MOST,
            said=_SAID.get(asked.get("said", ""), ""), longest=log_search.LONGEST,
        )  # fmt: skip

    @routes.get("/audit/{reference}")
    async def story(reference: str, visitor: Visitor = entered) -> Response:
        found = await visitor.rows(ShowAudit(checked(reference)))
        if not found:
            raise Refused(requests.Failed("nothing is recorded about it", requests.ABSENT))
        known = await titles(visitor)
        rows = [log_rows.told_row(row, known) | {"chain": log_rows.chained(row)} for row in found]
        shown = next((row["reference"] for row in rows if row["reference"]), reference)
        held = visitor.may(Act.LIST) and any(row["action"] == "message-held" for row in rows)
        return pages.page("audit_story.html", visitor, here="/audit", rows=rows, reference=shown, held=held)

    @routes.post("/audit/export")
    async def export(request: Request, visitor: Visitor = entered) -> Response:
        form = await request.form()
        search, wanted = log_search.read(form), str(form.get("format", ""))
        if wanted not in TYPES:
            return RedirectResponse(search.address(said="format"), 303)
        octets, count = await taken(visitor, search, wanted)
        cut = f"-newest-{MOST}" if count >= MOST else ""
        name = f"decision-log-{datetime.fromtimestamp(time.time(), IST):%Y-%m-%d}{cut}.{wanted}"
        return Response(octets, headers={
            "content-type": TYPES[wanted], "content-security-policy": DOWNLOAD_CSP,
            "content-disposition": f'attachment; filename="{name}"',
        })  # fmt: skip

    return routes


def checked(reference: str) -> str:
    """*reference* where it has the shape of a reference or an id. Raises Refused as for one of which nothing is recorded (W05)."""
    if not _REFERENCE.fullmatch(reference):
        raise Refused(requests.Failed("nothing is recorded about it", requests.ABSENT))
    return reference


async def taken(visitor: Visitor, search: Search, wanted: str) -> tuple[bytes, int]:
    """The rows of *search* as a file, the newest first, and how many. The keeper records each part that it gives."""
    lines = [",".join(heading for _, heading in logged.EXPORTED)] if wanted == "csv" else []
    count, before = 0, 0
    while count < MOST:
        rows = await visitor.rows(search.request(TAKEN, before, wanted))
        for row in rows:
            if wanted == "csv":
                plain = logged.flat(row)
                lines.append(logged.csv_line((plain.get(field) for field, _ in logged.EXPORTED), visible))
            else:
                lines.append(json.dumps(row, separators=(",", ":"), default=str))
        count += len(rows)
        before = int(rows[-1].get("seq") or 0) if rows else 0
        if len(rows) < TAKEN or not before:
            break
    end = "\r\n" if wanted == "csv" else "\n"
    return "".join(line + end for line in lines).encode("utf-8", "backslashreplace"), count

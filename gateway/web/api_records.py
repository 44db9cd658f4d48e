"""Figures, decision log, rules, register and people in the API.

What it is: the routes below ``/api/v1`` beside those of held mail.
Who calls it: ``api``.
Must never: name as requester of an exception anybody but the bearer; hand out a one-time login twice.
Sources: docs/design.md section 10 ("Web"); hostile-inputs catalogue W05, W12-W14.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response

from gateway import requests
from gateway.inquiries import AddException, AddUser, ExpireException, ListExceptions, ListUsers, SearchAudit, ShowAudit
from gateway.review import ChangeUser, Dashboard, InviteUser, ListRules
from gateway.web import log_pages, log_search
from gateway.web.api_bodies import (
    ExceptionBody,
    LanguageQuery,
    LogFileBody,
    LogQuery,
    PeriodQuery,
    PersonBody,
    PersonChanges,
    ReasonBody,
    RegisterQuery,
    Rows,
    Said,
)
from gateway.web.door import Refused, Visitor
from gateway.web.secured import DOWNLOAD_CSP
from gateway.web.site import Site

_FILE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/csv": {}, "application/x-ndjson": {}}, "description": "The rows, the newest first."}
}


def add(routes: APIRouter, site: Site) -> None:
    """Adds them to *routes*, which stands below ``/api/v1``."""
    entered = site.entered

    @routes.get("/me", tags=["you"], summary="Who you are")
    async def me(visitor: Visitor = entered) -> dict[str, Any]:
        """The person of the token, and what the token may do (`acts`; null: in all departments)."""
        return visitor.row

    @routes.get("/dashboard", tags=["figures"], summary="Figures of a period")
    async def dashboard(query: Annotated[PeriodQuery, Query()], visitor: Visitor = entered) -> dict[str, Any]:
        """Decisions by hour (or day), department, rule, disposition and level; what is held; the delivery queue; the next hops."""
        rows = await visitor.rows(Dashboard(query.since, query.until, query.department))
        return rows[0] if rows else {}

    @routes.get("/audit", tags=["decision log"], summary="Search the decision log")
    async def search(query: Annotated[LogQuery, Query()], visitor: Visitor = entered) -> Rows:
        """ECS documents with their chain fields, the newest first."""
        found = await visitor.rows(SearchAudit(
            query.text, query.sender, query.recipient, query.rule, query.since, query.until, query.limit, newest=True, before=query.before
        ))  # fmt: skip
        return Rows(rows=list(found), next=str(found[-1].get("seq") or "") or None if len(found) >= query.limit else None)

    @routes.get("/audit/{reference}", tags=["decision log"], summary="All that is recorded of one message")
    async def story(reference: str, visitor: Visitor = entered) -> Rows:
        """By reference, or by the id of a message, a held record or a delivery; the oldest first."""
        found = await visitor.rows(ShowAudit(log_pages.checked(reference)))
        if not found:
            raise Refused(requests.Failed("nothing is recorded about it", requests.ABSENT))
        return Rows(rows=list(found))

    @routes.post("/audit/export", tags=["decision log"], summary="Rows as a file", response_class=Response, responses=_FILE)
    async def export(body: LogFileBody, visitor: Visitor = entered) -> Response:
        """At most 10,000 rows, the newest first; recorded in the log."""
        given = body.model_dump(exclude={"text", "format"}) | {"q": body.text}
        octets, _ = await log_pages.taken(visitor, log_search.read(given), body.format)
        return Response(octets, headers={
            "content-type": log_pages.TYPES[body.format], "content-security-policy": DOWNLOAD_CSP,
            "content-disposition": f'attachment; filename="decision-log.{body.format}"',
        })  # fmt: skip

    @routes.get("/rules", tags=["rules"], summary="The rules in force")
    async def rules(query: Annotated[LanguageQuery, Query()], visitor: Visitor = entered) -> Rows:
        """In the order in which they are asked, with title, source, mode, owner and explanation."""
        return Rows(rows=list(await visitor.rows(ListRules(query.language))))

    @routes.get("/exceptions", tags=["exceptions"], summary="The register of exceptions")
    async def register(query: Annotated[RegisterQuery, Query()], visitor: Visitor = entered) -> Rows:
        """The entries of your departments."""
        found = await visitor.rows(ListExceptions(query.all, query.limit, query.after))
        return Rows(rows=list(found), next=str(found[-1]["id"]) if len(found) >= query.limit else None)

    @routes.post("/exceptions", tags=["exceptions"], summary="Add an exception")
    async def add(body: ExceptionBody, visitor: Visitor = entered) -> dict[str, Any]:
        """You are its requester; the approver is another person."""
        rows = await visitor.rows(AddException(body.sender, body.recipient, body.reason, visitor.name, body.approver, body.expires))
        return rows[0] if rows else {}

    @routes.post("/exceptions/{id}/expire", tags=["exceptions"], summary="End an exception")
    async def end(id: str, body: ReasonBody, visitor: Visitor = entered) -> Said:
        """Now."""
        await visitor.answer(ExpireException(id[:64], body.reason))
        return Said(message="ended")

    @routes.get("/users", tags=["people"], summary="The people")
    async def people(visitor: Visitor = entered) -> Rows:
        """With their roles, and how each can sign in."""
        return Rows(rows=list(await visitor.rows(ListUsers())))

    @routes.post("/users", tags=["people"], summary="Add a person")
    async def add_person(body: PersonBody, visitor: Visitor = entered) -> dict[str, Any]:
        """With the roles that are named, and no others."""
        rows = await visitor.rows(AddUser(body.name, "", body.email, body.department, tuple(body.grants)))
        return rows[0] if rows else {}

    @routes.patch("/users/{name}", tags=["people"], summary="Change a person")
    async def change(name: str, body: PersonChanges, visitor: Visitor = entered) -> dict[str, Any]:
        """In force from that person's next request on."""
        grants = None if body.grants is None else tuple(body.grants)
        rows = await visitor.rows(ChangeUser(name[:64], body.email, body.department, grants, body.disabled))
        return rows[0] if rows else {}

    @routes.post("/users/{name}/invite", tags=["people"], summary="Make a one-time login")
    async def invite(name: str, visitor: Visitor = entered) -> dict[str, Any]:
        """Its `token` is shown once. The person's sessions and tokens end, password and codes are set up anew."""
        rows = await visitor.rows(InviteUser(name[:64]))
        return rows[0] if rows else {}

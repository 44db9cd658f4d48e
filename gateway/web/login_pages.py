"""Signing in and out.

What it is: the routes of ``/login`` and ``/logout``.
Who calls it: ``application``.
Must never: say whether a name exists (W10); put a session's token anywhere but in its cookie; follow a link to elsewhere (W11).
Sources: hostile-inputs catalogue W03, W04, W10, W17; RFC 6265bis.
"""

from __future__ import annotations

import re

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from gateway import logs, requests
from gateway.review import Redeem, SignOut
from gateway.web.brake import Brake
from gateway.web.door import Visitor
from gateway.web.site import Site


def router(site: Site) -> APIRouter:
    """The routes."""
    routes, brake, log = APIRouter(), Brake(), logs.get("web")
    pages, door = site.pages, site.door
    entered = site.entered

    def begun(session: str, to: str = "/") -> Response:
        response = RedirectResponse(to, 303)
        response.set_cookie(door.cookie, session, path="/", secure=door.https, httponly=True, samesite="strict")
        return response

    @routes.get("/login")
    async def form(visitor: Visitor = entered, token: str = "") -> Response:
        good = token if re.fullmatch(r"[\w-]{16,200}", token, re.ASCII) else ""
        return pages.page("login.html", visitor, token=good, failed=False)

    @routes.post("/login/one-time")
    async def one_time(request: Request, visitor: Visitor = entered, token: str = Form("", max_length=200)) -> Response:
        if not brake.open():
            return pages.said("Too many attempts", "Please wait a minute and try again.", 429)
        client = request.client.host if request.client else ""
        answer, _ = await site.ask(Redeem(token, client)) if token else (None, b"")
        if not isinstance(answer, requests.Rows) or not answer.rows:
            brake.failed()
            log.warning("web.login_failed", client=client)
            return pages.page("login.html", visitor, 403, token="", failed=True)
        log.info("web.login", user=str(answer.rows[0]["user"]), client=client)
        return begun(str(answer.rows[0]["session"]))

    @routes.post("/logout")
    async def logout(visitor: Visitor = entered) -> Response:
        await visitor.rows(SignOut())
        response = RedirectResponse("/login", 303)
        response.delete_cookie(door.cookie, path="/", secure=door.https, httponly=True, samesite="strict")
        return response

    return routes

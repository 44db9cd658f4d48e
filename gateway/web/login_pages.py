"""Signing in and out.

What it is: the routes of ``/login`` and ``/logout``.
Who calls it: ``application``.
Must never: say whether a name exists (W10); put a session's token anywhere but in its cookie; follow a link to elsewhere: there is no
``next`` (W11); sign anybody in by a GET, but for the provider's answer with the state that this browser holds.
Sources: hostile-inputs catalogue W03, W04, W10, W11, W17; RFC 6265bis; OpenID Connect Core 1.0 section 3.1.2.
"""

from __future__ import annotations

import contextlib
import hmac
import re
from typing import Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from gateway import logs, requests
from gateway.review import BeginOidc, EndOidc, Redeem, SignIn, SignInWays, SignOut
from gateway.web.brake import Brake
from gateway.web.door import NeedLogin, Refused, Visitor
from gateway.web.site import Site

STATE_SECONDS = 600
"""How long somebody may take at the OpenID provider."""
_LONGEST = 1024
"""Characters of a field that are passed on: more than any that can be right, so that a longer one is wrong like any other."""
_BUSY = 4
_SAID = {
    "out": "You are signed out.",
    "everywhere": "You are signed out here and in every other browser.",
}


class _Login:
    """What the routes share."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.brake = Brake()
        self.log = logs.get("web")
        self.state_cookie = "__Host-gateway-oidc" if site.door.https else "gateway-oidc"

    async def page(self, status: int = 200, **words: Any) -> Response:
        """The form. Raises ipc.ChannelError."""
        answer, _ = await self._site.ask(SignInWays())
        ways = answer.rows[0] if isinstance(answer, requests.Rows) and answer.rows else {}
        known = {"ways": ways, "token": "", "typed": "", "failed": "", "once": False, "said": ""}
        return self._site.pages.page("login.html", None, status, **(known | words))

    def slow(self) -> Response:
        """To whoever tries too often."""
        return self._site.pages.said("Too many attempts", "Please wait a minute and try again.", 429)

    async def begin(self, visitor: Visitor, row: dict[str, Any], how: str) -> str:
        """Where the person of the new session *row* is to go; the session that this browser had before ends. Raises Refused, NeedLogin."""
        if visitor.credential:
            with contextlib.suppress(NeedLogin, Refused):
                await visitor.rows(SignOut())
        new = await self._site.door.known(Visitor(self._site.ask, str(row["session"]), visitor.client_ip))
        self.log.info("web.login", user=str(row["user"]), client=visitor.client_ip, how=how)
        return "/account" if new.row.get("fresh") else new.home

    async def failed(self, visitor: Visitor, answer: Any, **words: Any) -> Response:
        """The form again, with what the keeper says; it says the same whatever was wrong."""
        failed = answer if isinstance(answer, requests.Failed) else requests.Failed("", 3)
        if failed.code not in (1, _BUSY):
            raise Refused(failed)
        self.brake.failed(visitor.client_ip)
        self.log.warning("web.login_failed", client=visitor.client_ip)
        return await self.page(503 if failed.code == _BUSY else 403, failed=f"{failed.message[:1].upper()}{failed.message[1:]}.", **words)


def router(site: Site) -> APIRouter:
    """The routes."""
    routes, login, entered, door = APIRouter(), _Login(site), site.entered, site.door

    @routes.get("/login")
    async def form(token: str = "", said: str = "") -> Response:
        good = token if re.fullmatch(r"[\w-]{16,200}", token, re.ASCII) else ""
        return await login.page(token=good, said=_SAID.get(said, ""))

    @routes.post("/login")
    async def sign_in(visitor: Visitor = entered, name: str = Form(""), password: str = Form(""), code: str = Form("")) -> Response:
        if not login.brake.open(visitor.client_ip):
            return login.slow()
        answer, _ = await site.ask(SignIn(name[:_LONGEST], password[:_LONGEST], code[:_LONGEST], visitor.client_ip))
        if not isinstance(answer, requests.Rows) or not answer.rows:
            return await login.failed(visitor, answer, typed=name[:320])
        row = answer.rows[0]
        return door.keep(RedirectResponse(await login.begin(visitor, row, "password"), 303), str(row["session"]))

    @routes.post("/login/one-time")
    async def one_time(visitor: Visitor = entered, token: str = Form("")) -> Response:
        if not login.brake.open(visitor.client_ip):
            return login.slow()
        answer, _ = await site.ask(Redeem(token[:_LONGEST].strip(), visitor.client_ip))
        if not isinstance(answer, requests.Rows) or not answer.rows:
            return await login.failed(visitor, answer, once=True)
        row = answer.rows[0]
        return door.keep(RedirectResponse(await login.begin(visitor, row, "one-time"), 303), str(row["session"]))

    @routes.get("/login/oidc")
    async def to_provider() -> Response:
        answer, _ = await site.ask(BeginOidc())
        if not isinstance(answer, requests.Rows) or not answer.rows:
            raise Refused(answer if isinstance(answer, requests.Failed) else requests.Failed("", 3))
        response = RedirectResponse(str(answer.rows[0]["url"]), 303)
        # Lax: the provider sends back from its own site. It opens nothing without the code, and is good once.
        response.set_cookie(
            login.state_cookie, str(answer.rows[0]["state"]), STATE_SECONDS, path="/", secure=door.https, httponly=True, samesite="lax"
        )
        return response

    @routes.get("/login/oidc/callback")
    async def from_provider(request: Request, visitor: Visitor = entered, code: str = "", state: str = "") -> Response:
        """A GET that signs in: only this browser holds the state, and provider and keeper take code and state once."""
        if not login.brake.open(visitor.client_ip):
            return login.slow()
        kept = request.cookies.get(login.state_cookie, "")
        answer: Any = requests.Failed("this sign-in was not begun in this browser, or too long ago; please begin again", 1)
        if code and kept and hmac.compare_digest(kept.encode("utf-8", "replace"), state.encode("utf-8", "replace")):
            answer, _ = await site.ask(EndOidc(code[:4096], state[:_LONGEST], visitor.client_ip))
        if isinstance(answer, requests.Rows) and answer.rows:
            row = answer.rows[0]
            to = await login.begin(visitor, row, "oidc")
            # A strict cookie is not sent with a redirect that began at another site, so a page of ours leads on.
            response = door.keep(site.pages.page("login_done.html", None, to=to, user=str(row["user"])), str(row["session"]))
        else:
            response = await login.failed(visitor, answer)
        response.delete_cookie(login.state_cookie, path="/", secure=door.https, httponly=True, samesite="lax")
        return response

    @routes.post("/logout")
    async def logout(visitor: Visitor = entered, everywhere: str = Form("")) -> Response:
        await visitor.rows(SignOut(bool(everywhere)))
        officer = visitor.row.get("kind") == "officer"
        response = RedirectResponse("/officer" if officer else f"/login?said={'everywhere' if everywhere else 'out'}", 303)
        response.delete_cookie(door.cookie, path="/", secure=door.https, httponly=True, samesite="strict")
        response.headers["clear-site-data"] = '"cache"'
        return response

    return routes

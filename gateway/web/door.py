"""The one door of the pages: who comes with a request, whether the route is open to him, and what he asks of the keeper.

What it is: ``Door.enter``, the dependency of every route, and ``Visitor``, what a route gets of it.
Who calls it: ``application`` puts it before every route.
Must never: let a route pass that has no row in ``rights``; let a request that may change something pass without an origin and a form
token of ours (a token of the API stands for both: no browser sends it by itself); keep a session: the keeper has them.
Sources: hostile-inputs catalogue 4.5, W03-W05, W13, W16, W18; RFC 6265bis (``__Host-``, SameSite); RFC 6750 (bearer tokens).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from fastapi import Request, Response
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from gateway import requests
from gateway.config import Config
from gateway.review import As, PersonRequest, WhoAmI
from gateway.roles import Act
from gateway.web import origin
from gateway.web.rights import OFFICER, OPEN, ROUTES, SIGNED_IN

Ask = Callable[[Any], Awaitable[tuple[Any, bytes]]]
"""Brings a request to the keeper: its answer and the frame's body. Raises ipc.ChannelError."""
_TOKEN = "gwt_"  # noqa: S105 - what every token of the API begins with
_SAFE = frozenset({"GET", "HEAD"})
_HOMES = ((Act.LIST, "/"), (Act.USERS, "/users"), (Act.AUDIT, "/audit"), (Act.FIGURES, "/dashboard"))


class NeedLogin(Exception):
    """There is no session (any more)."""


class Elsewhere(Exception):
    """This page is not for this person, who most likely wants the one at *path*."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class NotOurs(Exception):
    """The request did not come from a page of ours."""


class Refused(Exception):
    """The keeper says no: *failed* in one plain sentence."""

    def __init__(self, failed: requests.Failed) -> None:
        super().__init__(failed.message)
        self.failed = failed


@dataclass(frozen=True, slots=True)
class Visitor:
    """Whoever sent a request, and the way to the keeper as that person."""

    ask: Ask = field(repr=False)
    credential: str = field(default="", repr=False)
    client_ip: str = ""
    row: dict[str, Any] = field(default_factory=dict)
    """What ``WhoAmI`` says; empty for somebody who is not signed in."""
    passive: bool = False
    """Sent by a page that is open, not by a person's hand (header ``X-Passive``): it does not keep the session alive."""
    unfinished: bool = False
    """Has still to set up his second factor; the keeper answers him nothing else."""

    @property
    def name(self) -> str:
        """As whom he is signed in."""
        return str(self.row.get("name", ""))

    @property
    def form_token(self) -> str:
        """What stands in every form of this session."""
        return form_token(self.credential)

    @property
    def home(self) -> str:
        """The first page that is for this person."""
        if self.row.get("kind") == "officer":
            return "/officer"
        if self.unfinished:
            return "/account"
        return next((path for act, path in _HOMES if self.may(act)), "/account" if self.name else "/")

    def may(self, act: Act | str, department: str | None = None) -> bool:
        """Whether the roles permit *act* in *department* (None: in any); what a page shows, not what protects anything."""
        acts = self.row.get("acts", {})
        if str(act) not in acts:
            return False
        within = acts[str(act)]
        return department is None or within is None or department in within

    async def rows(self, request: PersonRequest) -> tuple[dict[str, Any], ...]:
        """The records of the keeper's answer. Raises NeedLogin, Refused, ipc.ChannelError."""
        answer, _ = await self.answer(request)
        return answer.rows if isinstance(answer, requests.Rows) else ()

    async def answer(self, request: PersonRequest) -> tuple[Any, bytes]:
        """The keeper's answer and its body. Raises as ``rows``."""
        answer, body = await self.ask(As(self.credential, request, self.client_ip, self.passive))
        if isinstance(answer, requests.Failed):
            raise NeedLogin if answer.code == requests.SIGNED_OUT else Refused(answer)
        return answer, body


def form_token(credential: str) -> str:
    """Of the session *credential*: nobody can make it who does not know the session, and the session cannot be found from it."""
    return base64.urlsafe_b64encode(hashlib.sha256(b"form " + credential.encode("utf-8", "replace")).digest()).decode()


class Door:
    """Before every route. *ask* brings a request to the keeper."""

    def __init__(self, config: Config, ask: Ask) -> None:
        self._public_url = config.web.public_url
        self._ask = ask
        self._require_totp = config.web.require_totp
        https = config.web.public_url.startswith("https://")
        self.https = https
        self.cookie = "__Host-gateway" if https else "gateway"

    async def enter(self, request: Request) -> Visitor:
        """The visitor of *request*. Raises NeedLogin, NotOurs, Elsewhere, Refused, HTTPException 404."""
        route = request.scope.get("route")
        method = "GET" if request.method == "HEAD" else request.method
        need = ROUTES.get((method, getattr(route, "path", "")))
        if need is None:
            raise HTTPException(404)
        api = request.url.path.startswith("/api/")
        credential = _bearer(request) if api else request.cookies.get(self.cookie, "")[:200]
        passive = method in _SAFE and "x-passive" in request.headers
        visitor = Visitor(self._ask, credential, request.client.host if request.client else "", passive=passive)
        # A signed link is all that is asked for beside: the keeper reads it.
        sessionless = need == OPEN or (need == OFFICER and "token" in request.path_params)
        if not api and method not in _SAFE:
            await self._ours(request, visitor, of_session=not sessionless)
        if sessionless:
            return visitor
        if not credential:
            raise NeedLogin
        visitor = await self.known(visitor)
        request.state.visitor = visitor  # for what is said where something goes wrong from here on
        officer = visitor.row.get("kind") == "officer"
        if isinstance(need, Act) and method == "GET" and not api and (visitor.unfinished or (officer and request.url.path == "/")):
            raise Elsewhere(visitor.home)
        if (need == OFFICER) != officer and need != SIGNED_IN:
            raise Refused(requests.Failed("this page is not for this kind of login", requests.FORBIDDEN))
        if isinstance(need, Act) and not visitor.may(need):
            if request.url.path == "/" and method == "GET":
                raise Elsewhere(visitor.home)
            raise Refused(requests.Failed("your role does not permit this", requests.FORBIDDEN))
        return visitor

    def keep(self, response: Response, session: str) -> Response:
        """*response* with the cookie of *session*; without a lifetime, so that it ends with the browser."""
        response.set_cookie(self.cookie, session, path="/", secure=self.https, httponly=True, samesite="strict")
        return response

    def came_from_elsewhere(self, request: Request) -> bool:
        """Whether *request* opens a page by a link of another site, for which no browser sends the cookie; once only."""
        asked = request.headers.get("sec-fetch-site", ""), request.headers.get("sec-fetch-dest", "")
        return (
            request.method == "GET"
            and asked in (("cross-site", "document"), ("same-site", "document"))
            and self.cookie not in request.cookies
            and "again" not in request.query_params
        )

    async def known(self, visitor: Visitor) -> Visitor:
        """*visitor* with what the keeper says of him. Raises as ``Visitor.rows``."""
        rows = await visitor.rows(WhoAmI())
        row = dict(rows[0]) if rows else {}
        unfinished = self._require_totp and bool(row.get("fresh")) and not row.get("totp")
        return replace(visitor, row=row, unfinished=unfinished)

    async def _ours(self, request: Request, visitor: Visitor, *, of_session: bool) -> None:
        """Raises NotOurs where the request did not come from a form of ours; *of_session*: of a form of this session."""
        if not origin.is_ours(request.headers, self._public_url):
            raise NotOurs
        # What needs no session misuses none: the origin alone is asked then. A page that was opened from a mail could not hold the form
        # token anyhow, since no browser sends a strict cookie with such a link.
        if not of_session:
            return
        given = request.headers.get("x-form-token", "")
        if not given:
            form = await request.form(max_files=0, max_fields=2000)
            value = form.get("form_token", "")
            given = "" if isinstance(value, UploadFile) else value
        if visitor.credential and not hmac.compare_digest(visitor.form_token.encode(), given.encode("utf-8", "replace")):
            raise NotOurs


def _bearer(request: Request) -> str:
    """The token of the API that *request* brings; the session of a browser is none."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    token = token.strip()[:200]
    return token if kind.lower() == "bearer" and token.startswith(_TOKEN) else ""

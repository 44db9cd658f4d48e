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
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request
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
_SAFE = frozenset({"GET", "HEAD"})


class NeedLogin(Exception):
    """There is no session (any more)."""


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

    @property
    def name(self) -> str:
        """As whom he is signed in."""
        return str(self.row.get("name", ""))

    @property
    def form_token(self) -> str:
        """What stands in every form of this session."""
        return form_token(self.credential)

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
        answer, body = await self.ask(As(self.credential, request, self.client_ip))
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
        https = config.web.public_url.startswith("https://")
        self.https = https
        self.cookie = "__Host-gateway" if https else "gateway"

    async def enter(self, request: Request) -> Visitor:
        """The visitor of *request*. Raises NeedLogin, NotOurs, Refused, HTTPException 404."""
        route = request.scope.get("route")
        method = "GET" if request.method == "HEAD" else request.method
        need = ROUTES.get((method, getattr(route, "path", "")))
        if need is None:
            raise HTTPException(404)
        api = request.url.path.startswith("/api/")
        credential = _bearer(request) if api else request.cookies.get(self.cookie, "")[:200]
        visitor = Visitor(self._ask, credential, request.client.host if request.client else "")
        if not api and method not in _SAFE:
            await self._ours(request, visitor)
        if need == OPEN:
            return visitor
        if need == OFFICER and "token" in request.path_params:
            return visitor  # the signed link is all that is asked for; the keeper reads it
        if not credential:
            raise NeedLogin
        rows = await visitor.rows(WhoAmI())
        visitor = Visitor(self._ask, credential, visitor.client_ip, dict(rows[0]) if rows else {})
        officer = visitor.row.get("kind") == "officer"
        if (need == OFFICER) != officer and need != SIGNED_IN:
            raise Refused(requests.Failed("this page is not for this kind of login", requests.FORBIDDEN))
        if isinstance(need, Act) and not visitor.may(need):
            raise Refused(requests.Failed("your role does not permit this", requests.FORBIDDEN))
        return visitor

    async def _ours(self, request: Request, visitor: Visitor) -> None:
        """Raises NotOurs where the request did not come from a form of ours."""
        if not origin.is_ours(request.headers, self._public_url):
            raise NotOurs
        given = request.headers.get("x-form-token", "")
        if not given:
            form = await request.form(max_files=0, max_fields=2000)
            value = form.get("form_token", "")
            given = "" if isinstance(value, UploadFile) else value
        # Before there is a session there is none to misuse: the origin alone is asked then.
        if visitor.credential and not hmac.compare_digest(visitor.form_token.encode(), given.encode("utf-8", "replace")):
            raise NotOurs


def _bearer(request: Request) -> str:
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip()[:200] if kind.lower() == "bearer" else ""

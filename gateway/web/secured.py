"""The outermost layer of the web process: who may come at all, how much he may send, and what stands on every answer.

What it is: ``Secured``, an ASGI application around the real one.
Who calls it: ``application``.
Must never: let an answer leave without its security headers; say a private word in an error of ours; read more of a request than
``MOST`` octets, or wait longer for them than ``PATIENCE``.
Sources: hostile-inputs catalogue 4.5, W11, W15; RFC 9112 section 6.3.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import MutableMapping
from typing import Any

from fastapi.responses import PlainTextResponse

from gateway import logs
from gateway.counting import Counts
from gateway.web import hosts as names
from gateway.web.admission import REFUSAL, Admission
from gateway.web.hosts import Hosts

MOST = 262_144
"""Octets of one request's body: forms and JSON of people, never files."""
CSP = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self'; style-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
DOWNLOAD_CSP = "sandbox; default-src 'none'"
"""Of what somebody takes out of a message (W09)."""
PATIENCE = 30.0
"""Seconds in which a body has to be there."""
Message = MutableMapping[str, Any]


class _Unread(Exception):
    """The body was not read to its end."""


class _Body:
    """What *receive* brings, up to ``MOST`` octets and ``PATIENCE`` seconds."""

    def __init__(self, receive: Any) -> None:
        self._receive = receive
        self._left, self._whole, self._end = MOST, False, 0.0
        self.refusal: tuple[str, int] | None = None
        """Why it was not read to its end, and the status for that."""

    async def read(self) -> Any:
        """The next piece. Raises _Unread."""
        if self._whole:  # what comes now is that the browser has gone
            return await self._receive()
        now = asyncio.get_running_loop().time()
        self._end = self._end or now + PATIENCE
        try:
            message = await asyncio.wait_for(self._receive(), self._end - now)
        except TimeoutError:
            self.refusal = ("The request did not come to its end in time.\n", 408)
            raise _Unread from None
        self._whole = not message.get("more_body", False)
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            self.refusal = ("The request is too long.\n", 413)
            raise _Unread
        return message


class Secured:
    """Wraps *app*. *https*: browsers are told to use nothing else; *hosts*: under which names it answers; *admission*: which addresses may
    come in by which listener."""

    def __init__(
        self, app: Any, *, https: bool, hosts: Hosts, counts: Counts | None = None, admission: Admission | None = None
    ) -> None:  # fmt: skip
        self._app = app
        self._hosts = hosts
        self._admitted = admission or Admission()
        self._counts = counts or Counts()
        self._log = logs.get("web")
        headers = {
            "content-security-policy": CSP,
            "x-content-type-options": "nosniff",
            "x-frame-options": "DENY",
            "referrer-policy": "same-origin",
            "cross-origin-opener-policy": "same-origin",
            "cross-origin-resource-policy": "same-origin",
            "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
            "cache-control": "no-store",
        }
        if https:
            headers["strict-transport-security"] = "max-age=31536000"
        self._headers = [(name.encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        began = saying = False
        body = _Body(receive)

        async def secured(message: Message) -> None:
            nonlocal began
            if body.refusal and not began and not saying:
                return  # whatever the application makes of a body that it could not read to its end
            if message["type"] == "http.response.start":
                began = True
                self._counts.add("gateway_web_requests_total", f"{message['status'] // 100}xx")
                given = list(message.get("headers", ()))
                # A download has a stricter policy of its own; nothing else may change one.
                kept = [pair for pair in given if pair[0].lower() == b"content-security-policy" and pair[1] == DOWNLOAD_CSP.encode()]
                ours = {name for name, _ in self._headers}
                stands = [pair for pair in self._headers if not (kept and pair[0] == b"content-security-policy")]
                message["headers"] = [pair for pair in given if pair[0].lower() not in ours] + stands + kept
            await send(message)

        async def say(text: str, status: int) -> None:
            nonlocal saying
            saying = True
            await PlainTextResponse(text, status, {"connection": "close"})(scope, receive, secured)

        try:
            if not self._admitted(scope):
                self._log.info("web.turned_away", client=(scope.get("client") or ("",))[0])
                await say(REFUSAL, 403)
                return
            if not self._hosts.knows(scope):
                self._log.info("web.other_host", client=(scope.get("client") or ("",))[0])
                await say(names.REFUSAL, 421)
                return
            if {b"content-length", b"transfer-encoding"} <= {name.lower() for name, _ in scope["headers"]}:
                # Two readers in a row may take the one or the other, and the second request then begins in the first one's body.
                await say("The request says two lengths of itself.\n", 400)
                return
            with contextlib.suppress(_Unread):
                await self._app(scope, body.read, secured)
            if body.refusal and not began:
                await say(*body.refusal)
        except Exception as error:
            self._counts.add("gateway_faults_total", "web")
            self._log.error("web.fault", error=type(error).__name__, path=getattr(scope.get("route"), "path", ""))
            if not began:
                await say("The gateway could not do this now. Please try again later.\n", 500)

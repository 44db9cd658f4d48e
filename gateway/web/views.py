"""The pages: login and the list of held mail.

What it is: the ASGI application; every route needs a session but the few named in ``OPEN``.
Who calls it: ``service``.
Must never: change state on GET; show text of a message as anything but escaped text; load anything from elsewhere.
Sources: contract.md, "Web"; hostile-inputs catalogue 4.5 and W16.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path as FilePath
from typing import Any

from fastapi import Depends, FastAPI, Form, Request
from fastapi.responses import FileResponse, HTMLResponse, PlainTextResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException

from gateway import ipc, logs, requests
from gateway.config import Config
from gateway.counting import Counts
from gateway.web import auth, watching
from gateway.web.admission import REFUSAL, Admission

OPEN = frozenset({"/login", "/static/{name}"}) | watching.OPEN
"""The routes without a session."""
PAGE = 200
IST = timezone(timedelta(hours=5, minutes=30))
_HERE = FilePath(__file__).parent
_STATIC = {entry.name: entry for entry in (_HERE / "static").iterdir() if entry.suffix in (".css", ".svg", ".js")}
_TYPES = {".css": "text/css; charset=utf-8", ".svg": "image/svg+xml", ".js": "text/javascript; charset=utf-8"}
_RISKY = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]")
_CSP = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self'; style-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
Ask = Callable[[Any], Awaitable[Any]]
Message = MutableMapping[str, Any]


class NeedLogin(Exception):
    """There is no session."""


def visible(value: object) -> str:
    """*value* with every control and direction character shown as its code point."""
    return _RISKY.sub(lambda match: f"[U+{ord(match[0]):04X}]", "" if value is None else str(value))


def _moment(value: object) -> datetime | None:
    try:
        if isinstance(value, (int, float)) and value:
            return datetime.fromtimestamp(value).astimezone()
        if isinstance(value, str) and value:
            return datetime.fromisoformat(value).astimezone()
    except (ValueError, OverflowError, OSError):
        pass
    return None


def day(value: object) -> str:
    """A time of a record, in Indian Standard Time."""
    when = _moment(value)
    return f"{when.astimezone(IST):%d %b %Y, %H:%M} IST" if when else ""


def left(value: object) -> str:
    """How long it is until *value*, in words."""
    when = _moment(value)
    if when is None:
        return ""
    seconds = (when - datetime.now(UTC)).total_seconds()
    if seconds <= 0:
        return "past"
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count != 1 else ''} left"
    return "under a minute left"


def size(value: object) -> str:
    """Octets for people."""
    if not isinstance(value, (int, float)):
        return ""
    return f"{value:.0f} B" if value < 1000 else f"{value / 1000:.1f} kB" if value < 1e6 else f"{value / 1e6:.1f} MB"


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """What the list may show of a held record: of a sealed one only reference, sender, rule and deadline."""
    names: tuple[str, ...] = ("reference", "sender", "rule", "deadline")
    if not row.get("sealed"):
        names += ("level", "recipients", "size", "state")
    return {name: row.get(name) for name in names} | {"sealed": bool(row.get("sealed"))}


class Secured:
    """The outermost layer: who may come at all, security headers on whatever leaves, and no private word in an error of ours."""

    def __init__(self, app: Any, *, https: bool, counts: Counts | None = None, admission: Admission | None = None) -> None:
        self._app = app
        self._admitted = admission or Admission()
        self._counts = counts or Counts()
        self._log = logs.get("web")
        headers = {
            "content-security-policy": _CSP,
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
        began = False

        async def secured(message: Message) -> None:
            nonlocal began
            if message["type"] == "http.response.start":
                began = True
                self._counts.add("gateway_web_requests_total", f"{message['status'] // 100}xx")
                ours = {name for name, _ in self._headers}
                message["headers"] = [pair for pair in message.get("headers", ()) if pair[0].lower() not in ours] + self._headers
            await send(message)

        try:
            if not self._admitted(scope):
                self._log.info("web.turned_away", client=(scope.get("client") or ("",))[0])
                await PlainTextResponse(REFUSAL, 403, {"connection": "close"})(scope, receive, secured)
                return
            await self._app(scope, receive, secured)
        except Exception as error:
            self._counts.add("gateway_faults_total", "web")
            self._log.error("web.fault", error=type(error).__name__, path=scope.get("path", ""))
            if not began:
                await PlainTextResponse("The gateway could not do this now. Please try again later.\n", 500)(scope, receive, secured)


def application(config: Config, ask: Ask, counts: Counts | None = None, admission: Admission | None = None) -> Secured:
    """The ASGI application; *ask* brings a request to the keeper, *admission* says who may come (None: everybody)."""
    https = config.web.public_url.startswith("https://")
    cookie = "__Host-gateway" if https else "gateway"
    sessions, brake, log = auth.Sessions(), auth.Brake(), logs.get("web")
    pages = Environment(loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    pages.filters.update(visible=visible, day=day, left=left, size=size)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    def page(name: str, status: int = 200, **words: Any) -> HTMLResponse:
        words = {"hostname": config.hostname, "session": None} | words
        return HTMLResponse(pages.get_template(name).render(**words), status)

    def session(request: Request) -> auth.Session:
        found = sessions.find(request.cookies.get(cookie, ""))
        if found is None:
            raise NeedLogin
        return found

    needed = Depends(session)

    @app.exception_handler(NeedLogin)
    async def to_login(request: Request, _: Exception) -> Response:
        if request.method in ("GET", "HEAD"):
            return RedirectResponse("/login", 303)
        return page("message.html", 403, title="Not signed in", text="Your session has ended. Please sign in again.")

    @app.exception_handler(ipc.ChannelError)
    async def no_keeper(_: Request, __: Exception) -> Response:
        return page(
            "message.html", 503, title="Not available", text="The gateway's keeper does not answer now. Please try again in a moment."
        )

    @app.exception_handler(HTTPException)
    async def other(_: Request, error: Exception) -> Response:
        code = error.status_code if isinstance(error, HTTPException) else 500
        title, text = {404: ("Not found", "There is no such page."), 405: ("Not possible", "This page cannot be used in that way.")}.get(
            code, ("Not possible", "The request could not be understood.")
        )
        return page("message.html", code, title=title, text=text)

    watching.add(app, config, ask)

    @app.get("/static/{name}")
    async def static(name: str) -> Response:
        if name not in _STATIC:
            raise HTTPException(404)
        return FileResponse(_STATIC[name], media_type=_TYPES[_STATIC[name].suffix])

    @app.get("/login")
    async def login_form(token: str = "") -> Response:
        return page("login.html", token=token if re.fullmatch(r"[\w-]{16,200}", token, re.ASCII) else "", failed=False)

    @app.post("/login")
    async def login(request: Request, token: str = Form("", max_length=200)) -> Response:
        if not auth.same_origin(request.headers, config.web.public_url):
            return page("message.html", 403, title="Refused", text="This request did not come from this page.")
        if not brake.open():
            return page("message.html", 429, title="Too many attempts", text="Please wait a minute and try again.")
        answer = await ask(requests.OneTimeLogin(token=token)) if token else None
        if not isinstance(answer, requests.Rows) or not answer.rows or not answer.rows[0].get("user"):
            brake.failed()
            log.warning("web.login_failed", client=request.client.host if request.client else "")
            return page("login.html", 403, token="", failed=True)
        user = str(answer.rows[0]["user"])
        sessions.end(request.cookies.get(cookie, ""))
        response = RedirectResponse("/", 303)
        response.set_cookie(cookie, sessions.begin(user), path="/", secure=https, httponly=True, samesite="strict")
        log.info("web.login", user=user, client=request.client.host if request.client else "")
        return response

    @app.post("/logout")
    async def logout(request: Request, who: auth.Session = needed, form_token: str = Form("", max_length=200)) -> Response:
        if not auth.form_token_is(who, form_token) or not auth.same_origin(request.headers, config.web.public_url):
            return page("message.html", 403, title="Refused", text="This request did not come from this page.")
        sessions.end(request.cookies.get(cookie, ""))
        response = RedirectResponse("/login", 303)
        response.delete_cookie(cookie, path="/", secure=https, httponly=True, samesite="strict")
        return response

    @app.get("/")
    async def held(who: auth.Session = needed, after: str = "") -> Response:
        asked = after if re.fullmatch(r"[0-9A-Za-z-]{1,64}", after) else ""
        answer = await ask(requests.ListHeld(limit=PAGE, after=asked))
        if not isinstance(answer, requests.Rows):
            return page("message.html", 503, title="Not available", text="The list cannot be read now. Please try again in a moment.")
        rows = [shown(row) for row in answer.rows]
        following = str(answer.rows[-1].get("id", "")) if len(rows) == PAGE else ""
        return page("held.html", session=who, rows=rows, following=following, paged=bool(asked))

    return Secured(app, https=https, counts=counts, admission=admission)

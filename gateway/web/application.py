"""The web process's application: every route behind one door, and what is said when something is refused.

What it is: ``application``, the ASGI application; a new group of pages is one module and one line here, and a row for each of its
routes in ``rights``.
Who calls it: ``service``.
Must never: have a route that the door is not before; change state on GET.
Sources: docs/design.md section 10 ("Web"); hostile-inputs catalogue 4.5 and W16.
"""

from __future__ import annotations

from pathlib import Path as FilePath

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from gateway import ipc, logs, requests
from gateway.config import Config
from gateway.counting import Counts
from gateway.web import (
    account_pages,
    api,
    batch_pages,
    dashboard_pages,
    downloads,
    item_acts,
    item_pages,
    log_pages,
    login_pages,
    officer_pages,
    people_pages,
    queue_pages,
    register_pages,
    watching,
)
from gateway.web.admission import Admission
from gateway.web.door import Ask, Door, Elsewhere, NeedLogin, NotOurs, Refused
from gateway.web.hosts import Hosts
from gateway.web.pages import Pages
from gateway.web.secured import Secured
from gateway.web.site import Site

GROUPS = (
    login_pages.router,
    account_pages.router,
    people_pages.router,
    queue_pages.router,
    batch_pages.router,
    item_pages.router,
    item_acts.router,
    downloads.router,
    dashboard_pages.router,
    log_pages.router,
    register_pages.router,
    officer_pages.router,
    api.router,
)
"""The modules of pages."""
_HERE = FilePath(__file__).parent
_STATIC = {entry.name: entry for entry in (_HERE / "static").iterdir() if entry.suffix in (".css", ".svg", ".js")}
_TYPES = {".css": "text/css; charset=utf-8", ".svg": "image/svg+xml", ".js": "text/javascript; charset=utf-8"}
_STATUS = {1: 409, 2: 400, 3: 503, 4: 503, requests.SIGNED_OUT: 401, requests.ABSENT: 404, requests.FORBIDDEN: 403}
_TITLES = {400: "Not understood", 403: "Not permitted", 404: "Not found", 405: "Not possible", 409: "Not possible", 503: "Not available"}
_TEXTS = {
    404: "There is no such page.",
    405: "This page cannot be used in that way.",
    415: "A body has to be JSON, with the content type application/json.",
}


def application(config: Config, ask: Ask, counts: Counts | None = None, admission: Admission | None = None) -> Secured:
    """The ASGI application; *ask* brings a request to the keeper, *admission* says who may come (None: everybody)."""
    door, pages = Door(config, ask), Pages(config)
    site = Site(config, ask, door, pages)
    app = FastAPI(redirect_slashes=False, docs_url=None, redoc_url=None, openapi_url=None, dependencies=[Depends(door.enter)])
    log = logs.get("web")

    def said(request: Request, status: int, text: str, title: str = "") -> Response:
        if request.url.path.startswith("/api/"):
            return JSONResponse({"error": text}, status)
        return pages.said(title or _TITLES.get(status, "Not possible"), text, status, getattr(request.state, "visitor", None))

    @app.exception_handler(NeedLogin)
    async def to_login(request: Request, _: Exception) -> Response:
        if request.url.path.startswith("/api/"):
            return JSONResponse({"error": "a valid token is needed"}, 401, {"www-authenticate": "Bearer"})
        if request.headers.get("hx-request"):
            return Response(status_code=403, headers={"hx-redirect": "/login"})
        if door.came_from_elsewhere(request):
            # A link of a mail: the browser kept the strict cookie back. From a page of ours it sends it.
            again = request.url.include_query_params(again="1")
            return pages.page("login_again.html", None, to=f"{again.path}?{again.query}")
        if request.method in ("GET", "HEAD") or request.url.path == "/logout":
            return RedirectResponse("/officer" if request.url.path == "/officer" else "/login", 303)
        return said(request, 403, "Your session has ended. Please sign in again.", "Not signed in")

    @app.exception_handler(Elsewhere)
    async def elsewhere(_: Request, error: Exception) -> Response:
        return RedirectResponse(error.path if isinstance(error, Elsewhere) else "/", 303)

    @app.exception_handler(NotOurs)
    async def not_ours(request: Request, _: Exception) -> Response:
        log.warning("web.foreign_request", client=request.client.host if request.client else "")
        return said(request, 403, "This request did not come from this page.", "Refused")

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Exception) -> Response:
        failed = error.failed if isinstance(error, Refused) else requests.Failed("", 3)
        status = _STATUS.get(failed.code, 409)
        if status == 503:
            log.error("web.keeper_failed", path=getattr(request.scope.get("route"), "path", ""), error=failed.message)
            return said(request, status, "The gateway cannot do this now. Please try again in a moment.")
        text = failed.message[:1].upper() + failed.message[1:]
        return said(request, status, text if text.endswith((".", "?", "!")) else f"{text}.")

    @app.exception_handler(ipc.ChannelError)
    async def no_keeper(request: Request, _: Exception) -> Response:
        return said(request, 503, "The gateway's keeper does not answer now. Please try again in a moment.")

    @app.exception_handler(RequestValidationError)
    async def not_understood(request: Request, error: Exception) -> Response:
        if isinstance(error, RequestValidationError) and request.url.path.startswith("/api/"):
            return said(request, 400, api.misunderstood(error))
        return said(request, 400, "The request could not be understood.")

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: Exception) -> Response:
        code = error.status_code if isinstance(error, HTTPException) else 500
        return said(request, code, _TEXTS.get(code, "The request could not be understood."))

    watching.add(app, config, ask)

    @app.get("/static/{name}")
    async def static(name: str) -> Response:
        if name not in _STATIC:
            raise HTTPException(404)
        return FileResponse(_STATIC[name], media_type=_TYPES[_STATIC[name].suffix])

    for group in GROUPS:
        app.include_router(group(site))
    return Secured(app, https=door.https, hosts=Hosts(config.web.public_url), counts=counts, admission=admission)

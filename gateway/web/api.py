"""The JSON API: everything that the pages do, for programs that carry a token.

What it is: ``router`` of ``/api/v1`` and its OpenAPI document.
Who calls it: ``application``.
Must never: answer a cookie (the door takes the bearer's token alone); take a body that is not JSON (W03); describe a route that is not
there.
Sources: docs/design.md section 10 ("Web"); OpenAPI 3.1; RFC 6750; hostile-inputs catalogue W03, W05, W16.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException

from gateway import __version__
from gateway.roles import Act
from gateway.web import api_held, api_records
from gateway.web.api_bodies import Error
from gateway.web.rights import ROUTES
from gateway.web.role_words import ACTS
from gateway.web.shown import visible
from gateway.web.site import Site

PREFIX = "/api/v1"
_ABOUT = """Everything that the review pages do. Each request carries a token of a person, made on the page of the account:
`Authorization: Bearer gwt_...`. It may do what its scopes and the person's roles both permit, in the departments of those roles.

Times are seconds since 1970 (UTC). A list is one page; its `next` is what to send for the following one. What there is not and what you may
not see are answered alike, with 404. Bodies are JSON; a field that is not known is refused. A request has at most 262,144 octets."""
_ERRORS = {
    400: "The request could not be understood; the error names the field.", 401: "The token is missing, expired or ended.",
    403: "Your roles, or the scopes of the token, do not permit it.", 404: "There is none, or none that you may see.",
    409: "It cannot be done now; the error says why.", 415: "The body is not application/json.",
    503: "The gateway cannot do it now; try again in a moment.",
}  # fmt: skip
_NAMED = 100  # characters of a field's name in an error


async def only_json(request: Request) -> None:
    """Raises HTTPException 415 for a body that is not JSON: no form and no plain text of another page becomes a request."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    empty = not kind and request.headers.get("content-length", "0") == "0" and "transfer-encoding" not in request.headers
    if request.method not in ("GET", "HEAD") and kind != "application/json" and not empty:
        raise HTTPException(415)


def router(site: Site) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix=PREFIX, dependencies=[Depends(only_json)])
    entered = site.entered
    made: list[dict[str, Any]] = []

    @routes.get("/openapi.json", tags=["you"], summary="This document")
    async def openapi(_: Any = entered) -> dict[str, Any]:
        """OpenAPI 3.1 of the API."""
        if not made:  # takes a while, and most who start a gateway never ask for it
            made.append(await asyncio.to_thread(describe, routes))
        return made[0]

    api_records.add(routes, site)
    api_held.add(routes, site)
    return routes


def describe(routes: APIRouter) -> dict[str, Any]:
    """The OpenAPI document of *routes*."""
    made = get_openapi(
        title="Mail gateway", version=__version__, openapi_version="3.1.0", description=_ABOUT, routes=routes.routes,
        separate_input_output_schemas=False,
    )  # fmt: skip
    parts = made.setdefault("components", {})
    parts["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "A token of the API of one person, with scopes and an end."}
    }
    made["security"] = [{"token": []}]
    schemas = parts.setdefault("schemas", {})
    # What is not understood is answered with 400 here.
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Error"] = Error.model_json_schema()
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    for path, methods in made["paths"].items():
        for method, operation in methods.items():
            need = ROUTES[method.upper(), path]
            needs = f"Needs the scope `{need}`: {ACTS[need]}." if isinstance(need, Act) else "Any token may."
            operation["description"] = " ".join(f"{operation.get('description', '')} {needs}".split())
            operation["operationId"] = "-".join([method, *re.findall(r"[a-z]+", path.removeprefix(PREFIX))])
            operation["responses"].pop("422", None)
            operation["responses"] |= {str(code): {"description": text, "content": content} for code, text in _ERRORS.items()}
    return made


def misunderstood(error: RequestValidationError) -> str:
    """What is wrong with a request, in one sentence that quotes nothing of its values."""
    first: Mapping[str, Any] = next(iter(error.errors()), {})
    place = ".".join(str(one) for one in first.get("loc", ()) if one not in ("body", "query", "path"))[:_NAMED]
    said = str(first.get("msg", "")).rstrip(".")[:200]
    return f"{visible(place)}: {visible(said)}." if place and said else "The request could not be understood."

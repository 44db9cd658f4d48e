"""A stand-in keeper with held mail, and a browser before it, for the tests of the queue."""

from __future__ import annotations

from typing import Any

import httpx

from gateway import inquiries, requests, review
from gateway.web.door import form_token
from tests.faces import HELD, ORIGIN, SEALED, SESSION, FakeKeeper, person, web_client

OTHER = "session-of-somebody-else-0123456789abcdef"
ROW = HELD | {
    "title": "A classified attachment must be encrypted", "source": "Circular", "tiers": {"a@nic.in": "government", "b@gov.in": "private"},
    "assigned": "meena", "approvals": 1, "needed": 2, "updated": HELD["created"], "requested": 0, "released": [], "reason": "rule",
}  # fmt: skip
COUNTS = {
    "total": 2, "states": {"held": 1, "requested": 1}, "levels": {"CONFIDENTIAL": 1}, "rules": {ROW["rule"]: 1},
    "departments": {"dept.gov.in": 2}, "oldest": 0.0, "due_soon": 1,
}  # fmt: skip


def keeper(*rows: dict[str, Any], who: dict[str, Any] | None = None, **answers: Any) -> FakeKeeper:
    given: dict[type, Any] = {
        review.FindHeld: requests.Rows(rows or (ROW, SEALED)), review.CountHeld: requests.Rows((COUNTS,)),
        review.ListViews: requests.Rows(()), review.ListRules: requests.Rows(({"id": ROW["rule"], "title": ROW["title"]},)),
        review.Colleagues: requests.Rows(({"name": "meena", "email": ""},)),
    }  # fmt: skip
    given |= {getattr(review, name, None) or getattr(inquiries, name): answer for name, answer in answers.items()}
    return FakeKeeper(given, {SESSION: who or person(), OTHER: person("somebody")})


def browser(over: FakeKeeper, session: str = SESSION) -> httpx.AsyncClient:
    web = web_client(over)
    web.cookies.set("gateway", session)
    return web


def another(web: httpx.AsyncClient, session: str) -> httpx.AsyncClient:
    """A browser of another session before the same process as *web*."""
    made = httpx.AsyncClient(transport=web._transport, base_url=web.base_url)
    made.cookies.set("gateway", session)
    return made


async def post(web: httpx.AsyncClient, path: str, data: dict[str, Any], session: str = SESSION) -> httpx.Response:
    return await web.post(path, data=data | {"form_token": form_token(session)}, headers=ORIGIN)


def asked(over: FakeKeeper, kind: type) -> list[Any]:
    return [one for one in over.asked if isinstance(one, kind)]

"""One's own account: who one is, password, codes of the device, language, tokens of the API, ending sessions.

What it is: the routes of ``/account``.
Who calls it: ``application``.
Must never: put a secret, a token or a password into an address or a log; show a token or a secret a second time.
Sources: hostile-inputs catalogue W03, W04, W13; RFC 6238; Key URI Format (otpauth); docs/design.md section 10 ("Web").
"""

from __future__ import annotations

import re
import time
from typing import Any

import segno
from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response
from markupsafe import Markup

from gateway import requests
from gateway.review import AddToken, BeginTotp, ConfirmTotp, DropToken, ListTokens, SetLanguage, SetPassword
from gateway.roles import Act
from gateway.web.door import Refused, Visitor
from gateway.web.role_words import ACTS, LANGUAGES, in_words
from gateway.web.site import Site

DAYS = (30, 90, 365)
"""How long a token of the API may live."""
_LONGEST = 1024
"""Characters of a secret field that are passed on; more than any that can be right."""
_ANSWERS = frozenset({1, 2, 4, requests.FORBIDDEN})
"""Failures that are an answer to what was typed; the others are ours, or the session's."""
_SAID = {
    "password": "The password is changed. You are signed out in every other browser.",
    "codes": "The codes of your device are set up. You are signed out in every other browser.",
    "language": "The language is changed.",
    "dropped": "The token is ended.",
}


def picture(uri: str) -> Markup:
    """*uri* as a QR code: an SVG element without any style, black on white also where the page is dark."""
    # Made of squares by segno alone: of the address nothing but these stands in it.
    return Markup(segno.make(uri, error="m", micro=False).svg_inline(border=4, dark="#000", light="#fff", omitsize=True, svgclass="qr"))  # noqa: S704


def _sentence(error: Refused) -> str:
    text = error.failed.message
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def answered(error: Refused) -> int:
    """The status for a form that is shown again. Raises *error* where it is no answer to what was typed."""
    if error.failed.code not in _ANSWERS:
        raise error
    return {4: 503, requests.FORBIDDEN: 403}.get(error.failed.code, 400)


def router(site: Site) -> APIRouter:
    """The routes."""
    routes, entered, pages = APIRouter(), site.entered, site.pages

    async def show(visitor: Visitor, status: int = 200, **words: Any) -> Response:
        person = visitor.row.get("kind") != "officer"
        known: dict[str, Any] = {
            "person": person, "roles": in_words(visitor.row.get("grants", ())), "languages": LANGUAGES, "days": DAYS,
            "tokens": await visitor.rows(ListTokens()) if person and not visitor.unfinished else (), "now": time.time(),
            "acts": {act.value: text for act, text in ACTS.items() if visitor.may(act)},
            "said": "", "wrong": {}, "made": None, "chosen": (), "fresh": bool(visitor.row.get("fresh")),
        }  # fmt: skip
        return pages.page("account.html", visitor, status, **(known | words))

    @routes.get("/account")
    async def account(visitor: Visitor = entered, said: str = "") -> Response:
        return await show(visitor, said=_SAID.get(said, ""))

    @routes.post("/account/password")
    async def password(visitor: Visitor = entered, old: str = Form(""), new: str = Form(""), again: str = Form("")) -> Response:
        if new != again:
            return await show(visitor, 400, wrong={"again": "The two are not the same."})
        try:
            await visitor.answer(SetPassword(new[:_LONGEST], old[:_LONGEST]))
        except Refused as error:
            field = "old" if "old password" in error.failed.message else "new"
            return await show(visitor, answered(error), wrong={field: _sentence(error)})
        return RedirectResponse("/account?said=password", 303)

    @routes.post("/account/totp")
    async def codes(visitor: Visitor = entered) -> Response:
        try:
            (row,) = await visitor.rows(BeginTotp())
        except Refused as error:
            return await show(visitor, answered(error), wrong={"codes": _sentence(error)})
        groups = re.findall(".{1,4}", str(row["secret"]))
        return pages.page("account_codes.html", visitor, picture=picture(str(row["uri"])), groups=groups, wrong="")

    @routes.post("/account/totp/confirm")
    async def confirm(visitor: Visitor = entered, code: str = Form("")) -> Response:
        try:
            await visitor.answer(ConfirmTotp(code[:_LONGEST]))
        except Refused as error:
            # The secret is shown once: the device has it already, or one begins anew.
            status = answered(error)
            return pages.page("account_codes.html", visitor, status, picture=None, groups=(), wrong=_sentence(error))
        return RedirectResponse("/account?said=codes", 303)

    @routes.post("/account/language")
    async def language(visitor: Visitor = entered, language: str = Form("")) -> Response:
        if language not in LANGUAGES:
            return await show(visitor, 400, wrong={"language": "Choose one of the list."})
        await visitor.answer(SetLanguage(language))
        return RedirectResponse("/account?said=language", 303)

    @routes.post("/account/tokens")
    async def add_token(request: Request, visitor: Visitor = entered, name: str = Form(""), days: str = Form("")) -> Response:
        wrong: dict[str, str] = {}
        ticked = (await request.form()).getlist("scopes")
        chosen = tuple(act.value for act in Act if act.value in ticked)
        if not name.strip():
            wrong["name"] = "Give it a name, such as the program that uses it."
        if not chosen:
            wrong["scopes"] = "Choose at least one."
        if days not in {str(one) for one in DAYS}:
            wrong["days"] = "Choose one of the list."
        if wrong:
            return await show(visitor, 400, wrong=wrong, chosen=chosen)
        try:
            (row,) = await visitor.rows(AddToken(name.strip()[:_LONGEST], chosen, time.time() + int(days) * 86400))
        except Refused as error:
            return await show(visitor, answered(error), wrong={"token": _sentence(error)}, chosen=chosen)
        return await show(visitor, made=row)

    @routes.post("/account/tokens/{id}/drop")
    async def drop_token(id: str, visitor: Visitor = entered) -> Response:
        await visitor.answer(DropToken(id[:64]))
        return RedirectResponse("/account?said=dropped", 303)

    return routes

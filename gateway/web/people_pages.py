"""The people who work with the gateway: listed, added, changed, invited.

What it is: the routes of ``/users``.
Who calls it: ``application``.
Must never: give a role that nobody ticked; show a one-time login twice, or put it into a log; decide who may manage whom (the keeper does).
Sources: hostile-inputs catalogue W01, W05, W13; docs/design.md section 10 ("Web").
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response
from starlette.datastructures import FormData

from gateway import requests
from gateway.requests import AddUser, ListUsers
from gateway.review import ChangeUser, InviteUser
from gateway.roles import EVERYWHERE, Grant, Role
from gateway.web.account_pages import answered
from gateway.web.door import Refused, Visitor
from gateway.web.role_words import ROLES, departments_of, in_words
from gateway.web.site import Site

LOGIN_MINUTES = 10
"""How long the keeper takes a one-time login."""
_LINES = 50
"""Departments of one person that a form may name."""
_BLANK = 2
"""Empty lines for departments that are still to come."""
_DEPARTMENT = re.compile(r"(?=.{1,253}\Z)[\w-]+(\.[\w-]+)+")
_ADDRESS = re.compile(r"[^\s@]+@[^\s@]+")
_SAID = {
    "added": "The person is added. Make a one-time login for the first sign-in.",
    "changed": "The changes hold from this person's next click on.",
    "disabled": "The person is disabled and signed out everywhere.",
    "enabled": "The person may sign in again.",
}


@dataclass(frozen=True, slots=True)
class Line:
    """Roles in one department, as they stand in a form."""

    department: str = ""
    roles: tuple[str, ...] = ()
    wrong: str = ""


def lines_of(grants: Sequence[str]) -> list[Line]:
    """The lines for a person with *grants*, and some empty ones."""
    found = [Line(name, tuple(role.value for role in Role if role in roles)) for name, roles in departments_of(grants).items()]
    return found + [Line()] * _BLANK


def read_lines(form: FormData) -> list[Line]:
    """What was typed, with what is wrong beside it: ``department-N``, and a ``role-N`` for each box that was ticked."""
    found: list[Line] = []
    for number in range(_LINES):
        if f"department-{number}" not in form:
            break
        department = str(form[f"department-{number}"]).strip().lower()
        ticked = {str(value) for value in form.getlist(f"role-{number}")}
        roles = tuple(role.value for role in Role if role.value in ticked)
        wrong = ""
        if roles and not department:
            wrong = "Write the domain whose mail it is, or * for all departments."
        elif department not in ("", EVERYWHERE) and not _DEPARTMENT.fullmatch(department):
            wrong = "This is no domain such as home.gov.in, and not * for all departments."
        found.append(Line(department[:253], roles, wrong))
    return found


def grants_of(lines: Sequence[Line]) -> tuple[str, ...]:
    """The grants of *lines*, none of which is wrong."""
    return tuple(dict.fromkeys(str(Grant(Role(role), line.department)) for line in lines for role in line.roles))


def _row(row: dict[str, Any]) -> dict[str, Any]:
    """A record of the keeper with what the page says of it."""
    ways = [text for name, text in (("password", "password"), ("totp", "codes"), ("oidc", "OpenID Connect")) if row.get(name)]
    state = "disabled" if row.get("disabled") else "active" if ways else "not signed in yet"
    return row | {"roles": in_words(row.get("grants", ())), "ways": ways, "state": state}


def router(site: Site) -> APIRouter:
    """The routes."""
    routes, entered, pages = APIRouter(), site.entered, site.pages

    async def people(visitor: Visitor) -> list[dict[str, Any]]:
        return sorted((_row(row) for row in await visitor.rows(ListUsers())), key=lambda row: str(row["name"]).casefold())

    async def found(visitor: Visitor, name: str) -> dict[str, Any]:
        row = next((row for row in await people(visitor) if row["name"] == name), None)
        if row is None:
            raise Refused(requests.Failed("there is no such person", requests.ABSENT))
        return row

    def known(rows: Sequence[dict[str, Any]]) -> list[str]:
        """Departments that somebody has, to choose from."""
        return sorted({name for row in rows for name in (row.get("department"), *departments_of(row.get("grants", ()))) if name} - {"*"})

    async def show(visitor: Visitor, status: int = 200, **words: Any) -> Response:
        rows = await people(visitor)
        wanted = str(words.get("words", "")).casefold()
        shown = [row for row in rows if wanted in " ".join(map(str, (row["name"], row.get("email"), *row["roles"]))).casefold()]
        whole: dict[str, Any] = {
            "rows": shown, "total": len(rows), "departments": known(rows), "all_roles": ROLES, "words": "", "said": "", "wrong": {},
            "typed": {}, "lines": [Line(), Line()], "adding": False, "here": "/users",
        }  # fmt: skip
        return pages.page("people.html", visitor, status, **(whole | words))

    async def show_one(visitor: Visitor, row: dict[str, Any], status: int = 200, **words: Any) -> Response:
        rows = await people(visitor)
        typed = {"email": row.get("email", ""), "department": row.get("department", "")}
        whole: dict[str, Any] = {
            "row": row, "departments": known(rows), "all_roles": ROLES, "said": "", "wrong": {}, "typed": typed,
            "lines": lines_of(row.get("grants", ())), "own": row["name"] == visitor.name, "here": "/users",
        }  # fmt: skip
        return pages.page("people_one.html", visitor, status, **(whole | words))

    @routes.get("/users")
    async def users(visitor: Visitor = entered, name: str = "", words: str = "", said: str = "") -> Response:
        if name:
            return await show_one(visitor, await found(visitor, name), said=_SAID.get(said, ""))
        return await show(visitor, words=words[:100], said=_SAID.get(said, ""))

    @routes.post("/users")
    async def add(
        request: Request, visitor: Visitor = entered, name: str = Form(""), email: str = Form(""), department: str = Form("")
    ) -> Response:  # fmt: skip
        typed = {"name": name.strip()[:64], "email": email.strip()[:320], "department": department.strip()[:253]}
        lines = read_lines(await request.form())
        wrong = _mistakes(typed["email"], typed["department"])
        if not typed["name"]:
            wrong["name"] = "Write the name with which the person signs in."
        if not grants_of([line for line in lines if not line.wrong]) and not any(line.wrong for line in lines):
            wrong["roles"] = "Tick at least one role; nobody gets one that was not ticked."
        again = {"typed": typed, "lines": lines, "adding": True}
        if wrong or any(line.wrong for line in lines):
            return await show(visitor, 400, wrong=wrong, **again)
        try:
            (row,) = await visitor.rows(
                AddUser(name.strip(), email=typed["email"], department=typed["department"], grants=grants_of(lines))
            )  # fmt: skip
        except Refused as error:
            return await show(visitor, answered(error), wrong={"form": _plain(error)}, **again)
        return RedirectResponse(f"/users?name={quote(str(row['name']), safe='')}&said=added", 303)

    @routes.post("/users/{name}")
    async def change(
        name: str, request: Request, visitor: Visitor = entered, act: str = Form(""), email: str = Form(""), department: str = Form("")
    ) -> Response:
        row = await found(visitor, name)
        if act in ("disable", "enable"):
            asked, said = ChangeUser(name, disabled=act == "disable"), f"{act}d"
            again: dict[str, Any] = {}
        elif act != "change":
            raise Refused(requests.Failed("the form says not what to do", 2))
        else:
            typed = {"email": email.strip()[:320], "department": department.strip()[:253]}
            lines = read_lines(await request.form())
            again = {"typed": typed, "lines": lines}
            wrong = _mistakes(typed["email"], typed["department"])
            if wrong or any(line.wrong for line in lines):
                return await show_one(visitor, row, 400, wrong=wrong, **again)
            # The same roles in another order are no change: one's own may not be changed at all. A form without lines changes none.
            grants = grants_of(lines)
            same = not lines or set(grants) == {str(Grant.parse(text)) for text in _known(row.get("grants", ()))}
            asked, said = ChangeUser(name, typed["email"], typed["department"], None if same else grants), "changed"
        try:
            await visitor.answer(asked)
        except Refused as error:
            return await show_one(visitor, row, answered(error), wrong={"form": _plain(error)}, **again)
        return RedirectResponse(f"/users?name={quote(name, safe='')}&said={said}", 303)

    @routes.post("/users/{name}/invite")
    async def invite(name: str, request: Request, visitor: Visitor = entered) -> Response:
        row = await found(visitor, name)
        try:
            (made,) = await visitor.rows(InviteUser(name))
        except Refused as error:
            return await show_one(visitor, row, answered(error), wrong={"form": _plain(error)})
        # Without a public address it is the one that this administrator's own browser shows: its origin was compared with it.
        base = site.config.web.public_url.rstrip("/") or f"{urlsplit(str(request.base_url)).scheme}://{request.headers.get('host', '')}"
        link = f"{base}/login?token={made['token']}"
        return pages.page("people_invite.html", visitor, row=row, link=link, minutes=LOGIN_MINUTES, here="/users")

    return routes


def _known(grants: Sequence[str]) -> list[str]:
    """Those of *grants* that this version knows."""
    return [f"{role}@{name}" for name, roles in departments_of(grants).items() for role in roles]


def _mistakes(email: str, department: str) -> dict[str, str]:
    """What is wrong with an address and a department, by field."""
    wrong: dict[str, str] = {}
    if email and not _ADDRESS.fullmatch(email):
        wrong["email"] = "This is no e-mail address."
    if department and not _DEPARTMENT.fullmatch(department):
        wrong["department"] = "This is no domain such as home.gov.in."
    return wrong


def _plain(error: Refused) -> str:
    text = error.failed.message.removeprefix("users: ")
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."

"""The officer's pages: why was my mail stopped, what can I do, how does my request stand.

What it is: the routes below ``/officer``: with the signed link of a report, or signed in with the login of a mailbox.
Who calls it: ``application``.
Must never: change anything on GET, which mail scanners send as well; let a wrong, an ended and a foreign link look different (W06); put
what somebody wrote, or a link's token, into a log or another address.
Sources: docs/design.md section 10 ("Web"); hostile-inputs catalogue W03, W05, W06, W10, W15; Guidelines for Indian Government Websites.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from gateway import logs, requests
from gateway.review import MyMail, OfficerAnswer, OfficerAsk, OfficerItem, OfficerObject, OfficerWords, SignIn, SignInWays, SignOut
from gateway.web.brake import Brake
from gateway.web.door import NeedLogin, Refused, Visitor
from gateway.web.site import Site

_CODE = re.compile(r"[a-z]{2,3}")
_DONE = ("request", "object", "answer")
_LONGEST = 1024  # characters of a login or a password that are passed on: more than any that can be right
_TEXT = 8000
"""Characters of what was written that are passed on; the keeper takes fewer."""
_MOST = 1000  # recipients that may be chosen
_MARKS = {"refused": "ended", "expired": "ended"}
_TOLD = 2
"""Languages in which a link that opens nothing is told."""


@dataclass(frozen=True, slots=True)
class _Words:
    """The phrases of the pages in one language."""

    row: dict[str, Any]

    @property
    def language(self) -> str:
        return str(self.row["language"])

    def __call__(self, key: str, **words: object) -> str:
        """The phrase *key* with *words* in it."""
        text = str(self.row["phrases"].get(key, key))
        for name, value in words.items():
            text = text.replace("{" + name + "}", str(value))
        return text


class _Officer:
    """What the routes share."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.brake = Brake()
        self.log = logs.get("web")

    async def words(self, request: Request, lang: str = "") -> _Words:
        """In the language *lang*, else in the one that the browser asks for. Raises Refused, ipc.ChannelError."""
        given = lang if _CODE.fullmatch(lang) else request.headers.get("accept-language", "")[:3].partition("-")[0].lower()
        return _Words(await self._row(OfficerWords(given if _CODE.fullmatch(given) else "")))

    async def item(self, token: str, words: _Words) -> dict[str, Any] | None:
        """What the link opens; None where it opens nothing. Raises Refused, ipc.ChannelError."""
        try:
            return await self._row(OfficerItem(token, words.language))
        except Refused as refused:
            if refused.failed.code != requests.ABSENT:
                raise
            return None

    async def _row(self, request: Any) -> dict[str, Any]:
        answer, _ = await self._site.ask(request)
        if not isinstance(answer, requests.Rows) or not answer.rows:
            raise Refused(answer if isinstance(answer, requests.Failed) else requests.Failed("", 3))
        return dict(answer.rows[0])

    def page(self, name: str, words: _Words, status: int = 200, visitor: Visitor | None = None, **more: Any) -> Response:
        """A page in the language of *words*."""
        known = {"say": words, "language": words.language, "languages": words.row["languages"], "path": "/officer"}
        return self._site.pages.page(name, visitor, status, **(known | more))

    async def gone(self, words: _Words) -> Response:
        """The one answer to every link that opens nothing."""
        codes = dict.fromkeys((words.language, *(str(one["code"]) for one in words.row["languages"])))
        told = [words] + [_Words(await self._row(OfficerWords(code))) for code in list(codes)[1:_TOLD]]
        return self.page("officer_gone.html", words, 404, told=told, contact=words.row.get("contact", ""))

    def shown(self, row: dict[str, Any], words: _Words, token: str, *, status: int = 200, **more: Any) -> Response:
        """The page of one message."""
        known = {
            "item": row, "groups": _groups(row["recipients"]), "way": _way(row), "contact": words.row.get("contact", ""), "done": "",
            "wrong": "", "about": "", "typed": "", "chosen": (), "path": f"/officer/{token}",
            "waiting": [one["address"] for one in row["recipients"] if one["state"] == "held"],
        }  # fmt: skip
        return self.page("officer.html", words, status, **(known | more))

    async def change(
        self, request: Request, token: str, lang: str, about: str, made: Any, text: str, chosen: Sequence[str] = ()
    ) -> Response:
        """Sends *made*, and leads back; what could not be sent stands in its form again."""
        answer, _ = await self._site.ask(made)
        words = await self.words(request, lang)
        if isinstance(answer, requests.Failed):
            if answer.code not in (1, 2, requests.ABSENT):
                raise Refused(answer)
            row = await self.item(token, words) if answer.code != requests.ABSENT else None
            if row is None:
                return await self.gone(words)
            wrong = "officer-wrong-length" if answer.code == 2 else "officer-wrong-now"
            status = 400 if answer.code == 2 else 409
            return self.shown(row, words, token, status=status, wrong=wrong, about=about, typed=text[:_TEXT], chosen=tuple(chosen))
        # The token has proved to be one: nothing else can stand in it.
        return RedirectResponse(f"/officer/{token}?lang={words.language}&said={about}", 303)


def router(site: Site) -> APIRouter:
    """The routes."""
    routes, officer = APIRouter(), _Officer(site)
    entered = site.entered

    # --- signed in ----------------------------------------------------------------------------------------------------

    async def known(visitor: Visitor) -> Visitor | None:
        """The officer who is signed in; None where nobody is, or somebody else."""
        if not visitor.credential:
            return None
        with contextlib.suppress(NeedLogin, Refused):
            found = await site.door.known(visitor)
            return found if found.row.get("kind") == "officer" else None
        return None

    async def sign_page(words: _Words, status: int = 200, wrong: str = "", typed: str = "") -> Response:
        answer, _ = await site.ask(SignInWays())
        ways = answer.rows[0] if isinstance(answer, requests.Rows) and answer.rows else {}
        return officer.page("officer_sign.html", words, status, wrong=wrong, typed=typed, possible=bool(ways.get("officer")))

    @routes.get("/officer")
    async def mine(request: Request, visitor: Visitor = entered, lang: str = "") -> Response:
        signed = await known(visitor)
        words = await officer.words(request, lang or (str(signed.row.get("language", "")) if signed else ""))
        if signed is None:
            return await sign_page(words)
        return officer.page("officer_list.html", words, visitor=signed, rows=await signed.rows(MyMail()))

    @routes.post("/officer")
    async def sign_in(
        request: Request, visitor: Visitor = entered, name: str = Form(""), password: str = Form(""), lang: str = Form("")
    ) -> Response:
        words = await officer.words(request, lang)
        if not officer.brake.open(visitor.client_ip):
            return await sign_page(words, 429, "officer-sign-slow")
        answer, _ = await site.ask(SignIn(name[:_LONGEST].strip(), password[:_LONGEST], "", visitor.client_ip, officer=True))
        if not isinstance(answer, requests.Rows) or not answer.rows:
            if isinstance(answer, requests.Failed) and answer.code != 1:
                raise Refused(answer)
            officer.brake.failed(visitor.client_ip)
            officer.log.warning("web.login_failed", client=visitor.client_ip)
            return await sign_page(words, 403, "officer-sign-wrong", name[:320])
        if visitor.credential:
            with contextlib.suppress(NeedLogin, Refused):
                await visitor.rows(SignOut())
        row = answer.rows[0]
        officer.log.info("web.login", user=str(row["user"]), client=visitor.client_ip, how="mailbox")
        return site.door.keep(RedirectResponse(f"/officer?lang={words.language}", 303), str(row["session"]))

    # --- with the link of a report ------------------------------------------------------------------------------------

    @routes.get("/officer/{token}")
    async def item(request: Request, token: str, lang: str = "", said: str = "") -> Response:
        words = await officer.words(request, lang)
        row = await officer.item(token, words)
        if row is None:
            return await officer.gone(words)
        return officer.shown(row, words, token, done=f"officer-done-{said}" if said in _DONE else "")

    @routes.post("/officer/{token}/request")
    async def ask(request: Request, token: str, text: str = Form(""), lang: str = Form("")) -> Response:
        form = await request.form(max_files=0, max_fields=2000)
        chosen = [one for one in form.getlist("to") if isinstance(one, str)][:_MOST]
        made = OfficerAsk(token, text[:_TEXT], tuple(chosen))
        return await officer.change(request, token, lang, "request", made, text, chosen)

    @routes.post("/officer/{token}/object")
    async def mistake(request: Request, token: str, text: str = Form(""), lang: str = Form("")) -> Response:
        return await officer.change(request, token, lang, "object", OfficerObject(token, text[:_TEXT]), text)

    @routes.post("/officer/{token}/answer")
    async def answer(request: Request, token: str, text: str = Form(""), lang: str = Form("")) -> Response:
        return await officer.change(request, token, lang, "answer", OfficerAnswer(token, text[:_TEXT]), text)

    return routes


def _groups(recipients: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Recipients that have why, next, rule and source in common, in order, as the report has them."""
    groups: dict[tuple[Any, ...], dict[str, Any]] = {}
    for one in recipients:
        key = (one["why"], tuple(one["next"]), one["rule"], one["source"])
        group = groups.setdefault(
            key, {**{name: one.get(name, "") for name in ("why", "next", "rule", "title", "source")}, "who": [], "what": []}
        )
        group["who"].append({"address": one["address"], "state": one["state"]})
        if one["what"] not in group["what"]:
            group["what"].append(one["what"])
    for group in groups.values():
        group["why"] = group["why"][:1].upper() + group["why"][1:]
    return list(groups.values())


def _way(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The steps of the page: those that were made with their times, then those that are still to come."""
    steps = [{"key": f"officer-step-{one['step']}", "at": one["at"], "mark": _MARKS.get(one["step"], "done")} for one in row["way"]]
    if row["state"] in ("held", "requested", "approved"):
        steps.append({"key": "officer-step-decision", "at": 0, "mark": "now"})
    return steps

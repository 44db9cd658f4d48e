"""The JSON API: everything that the pages do, by token alone. Ids are those of the catalogue."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

import httpx
import pytest

from gateway import __version__, requests, review
from gateway.config import Config
from gateway.inquiries import AddException, AddUser, ExpireException, RefuseHeld, ReleaseHeld, SearchAudit, ShowHeld
from gateway.review import (
    AskOfficer,
    ChangeUser,
    DecideAgain,
    DownloadLeaf,
    DropView,
    Filter,
    FindHeld,
    ForwardHeld,
    InviteUser,
    ReclassifyHeld,
    SaveView,
    ShowPage,
)
from gateway.roles import Role
from gateway.web.application import application
from gateway.web.rights import ROUTES
from tests.faces import HELD, FakeKeeper, person
from tests.log_kit import ENTRY, REFERENCE, keeper_with_log

TOKEN = "gwt_0123456789abcdef0123456789abcdef"  # noqa: S105 - of the stand-in keeper
ID = str(HELD["id"])
BASE = "/api/v1"
API = {(method, path): need for (method, path), need in ROUTES.items() if path.startswith(BASE)}
DONE = requests.Rows(({"id": ID, "message": "approved 1 of 2"},))
RECORD = HELD | {"leaves": [{"path": "1", "name": ""}, {"path": "2:plan/secret name.pdf", "name": "secret name.pdf"}]}


def keeper_with_api() -> FakeKeeper:
    keeper = keeper_with_log()
    keeper.sessions[TOKEN] = person("program", *Role)
    acts = (ReleaseHeld, RefuseHeld, AskOfficer, ReclassifyHeld, ForwardHeld, SaveView, DropView)
    keeper.answers |= dict.fromkeys(acts, DONE) | {
        ShowHeld: requests.Rows((RECORD,)), review.CountHeld: requests.Rows(({"total": 1},)),
        review.ShowContent: requests.Rows(({"subject": "x"},)), ShowPage: (requests.Done(), b"\x89PNG\r\n\x1a\nx"),
        DownloadLeaf: (requests.Done(), b"octets"), DecideAgain: requests.Rows(({"address": "a@nic.in", "disposition": "hold"},)),
        review.Colleagues: requests.Rows(({"name": "b", "email": ""},)), review.ListViews: requests.Rows(()),
        review.Dashboard: requests.Rows(({"step": 1, "series": []},)), requests.ListUsers: requests.Rows(()),
        AddUser: requests.Rows(({"name": "asha"},)), ChangeUser: requests.Rows(({"name": "asha"},)),
        InviteUser: requests.Rows(({"name": "asha", "token": "once"},)),
    }  # fmt: skip
    return keeper


class Behind:
    """Whichever keeper the application talks to: one application serves all tests of this module."""

    keeper: FakeKeeper

    async def ask(self, request: Any) -> tuple[Any, bytes]:
        return await self.keeper.ask(request)


BEHIND = Behind()
APPLICATION = application(Config(hostname="gw.dept.gov.in"), BEHIND.ask)


def browser(keeper: FakeKeeper) -> httpx.AsyncClient:
    BEHIND.keeper = keeper
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=APPLICATION, raise_app_exceptions=False), base_url="http://gw")


def program(keeper: FakeKeeper, token: str = TOKEN) -> httpx.AsyncClient:
    """A program with *token*; it sends no origin and no cookie."""
    web = browser(keeper)
    web.headers["authorization"] = f"Bearer {token}"
    return web


ASKED: list[tuple[str, str, dict[str, Any] | None, Any]] = [
    ("POST", f"/held/{ID}/release", {"recipients": ["a@nic.in", "a@nic.in"], "reason": "ok"}, ReleaseHeld(ID, "ok", ("a@nic.in",))),
    ("POST", f"/held/{ID}/refuse", {"reason": "no"}, RefuseHeld(ID, "no")),
    ("POST", f"/held/{ID}/ask", {"text": "why?"}, AskOfficer(ID, "why?")),
    ("POST", f"/held/{ID}/level", {"level": "RESTRICTED", "reason": "r"}, ReclassifyHeld(ID, "RESTRICTED", "r")),
    ("POST", f"/held/{ID}/forward", {"to": "b", "note": "n"}, ForwardHeld(ID, "b", "n")),
    ("POST", f"/held/{ID}/again", {}, DecideAgain(ID)),
    ("POST", f"/held/{ID}/again", {"apply": True, "reason": "r"}, DecideAgain(ID, True, "r")),
    ("POST", f"/held/{ID}/download", {"part": 1, "reason": "court"}, DownloadLeaf(ID, "2:plan/secret name.pdf", "court")),
    ("POST", f"/held/{ID}/download", {"reason": "court"}, DownloadLeaf(ID, "", "court")),
    ("GET", f"/held/{ID}/page?part=1&page=3", None, ShowPage(ID, "2:plan/secret name.pdf", 3)),
    ("GET", "/held?levels=SECRET&levels=none&words=a+b&limit=10&before=x&due=60&sealed=false", None,
     FindHeld(Filter(levels=("SECRET", "none"), words="a b", due=60, sealed=False), 10, "x")),
    ("PUT", "/views", {"name": "mine", "filter": {"states": ["held"]}}, SaveView("mine", Filter(states=("held",)))),
    ("DELETE", "/views/v1", None, DropView("v1")),
    ("GET", "/dashboard?since=1&until=2&department=d.in", None, review.Dashboard(1, 2, "d.in")),
    ("GET", "/audit?text=x&limit=5&before=9", None, SearchAudit("x", limit=5, newest=True, before=9)),
    ("GET", "/rules?language=hi", None, review.ListRules("hi")),
    ("POST", "/exceptions", {"sender": "@a.in", "recipient": "b@c.in", "reason": "r", "approver": "b", "expires": 4e9},
     AddException("@a.in", "b@c.in", "r", "program", "b", 4e9)),
    ("POST", f"/exceptions/{ENTRY['id']}/expire", {"reason": "r"}, ExpireException(str(ENTRY["id"]), "r")),
    ("POST", "/users", {"name": "asha", "grants": ["viewer@a.in"]}, AddUser("asha", grants=("viewer@a.in",))),
    ("PATCH", "/users/asha", {"disabled": True}, ChangeUser("asha", disabled=True)),
    ("POST", "/users/asha/invite", None, InviteUser("asha")),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body", "asked"), ASKED, ids=lambda one: str(one)[:40])
async def test_each_request_becomes_the_keepers(method: str, path: str, body: dict[str, Any] | None, asked: Any) -> None:
    web = program(keeper := keeper_with_api())
    answer = await web.request(method, BASE + path, json=body)
    assert answer.status_code == 200, answer.text
    assert asked in keeper.asked


async def test_a_list_says_how_it_goes_on() -> None:
    web = program(keeper_with_api())
    assert (await web.get(f"{BASE}/held?limit=1")).json() == {"rows": [HELD], "next": ID}
    assert (await web.get(f"{BASE}/held?limit=2")).json()["next"] is None
    assert (await web.get(f"{BASE}/audit?limit=2")).json()["next"] == "7"
    assert (await web.get(f"{BASE}/exceptions?limit=1&all=true")).json()["next"]


async def test_what_was_done_is_said() -> None:
    answer = await program(keeper_with_api()).post(f"{BASE}/held/{ID}/release", json={"recipients": ["a@nic.in"], "reason": "ok"})
    assert answer.json() == {"message": "approved 1 of 2"}


async def test_rows_of_the_log_come_as_a_file_and_are_recorded() -> None:
    web = program(keeper := keeper_with_api())
    answer = await web.post(f"{BASE}/audit/export", json={"format": "csv", "text": "held", "since": "2026-11-01"})
    assert len(list(csv.reader(io.StringIO(answer.text)))) == 3
    (asked,) = [one for one in keeper.asked if isinstance(one, SearchAudit)]
    assert (asked.taken_as, asked.text, asked.since > 0) == ("csv", "held", True)


async def test_W09_what_is_taken_out_is_named_by_nothing_of_the_message() -> None:
    answer = await program(keeper_with_api()).post(f"{BASE}/held/{ID}/download", json={"part": 1, "reason": "r"})
    assert answer.headers["content-disposition"] == f'attachment; filename="{REFERENCE}-part-2.bin"'
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"


# --- what is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [
    {"reason": "x", "recipients": ["a@nic.in"], "user": "somebody"}, {"reason": "x"}, {"reason": "", "recipients": ["a@nic.in"]},
    {"reason": "x", "recipients": []}, {"reason": "x" * 1001, "recipients": ["a@nic.in"]}, {"reason": 1, "recipients": "a"}, [], "x", None,
    {"reason": "x", "recipients": ["a@nic.in"] * 1001}, {"reason": "x", "recipients": [{"a": 1}]},
])  # fmt: skip
async def test_W03_a_body_of_another_form_is_refused(body: Any) -> None:
    web = program(keeper := keeper_with_api())
    answer = await web.post(f"{BASE}/held/{ID}/release", json=body)
    assert answer.status_code in (400, 415)
    assert list(answer.json()) == ["error"]
    assert not [one for one in keeper.asked if isinstance(one, ReleaseHeld)]


async def test_an_error_names_the_field_and_quotes_no_value() -> None:
    web = program(keeper_with_api())
    answer = await web.post(f"{BASE}/held/{ID}/refuse", json={"reason": "x", "Geheim\u202e<script>": "PRIVATE"})
    assert answer.status_code == 400
    assert "PRIVATE" not in answer.text
    assert "\u202e" not in answer.json()["error"]
    assert (await web.post(f"{BASE}/held/{ID}/refuse", json={})).json()["error"].startswith("reason: ")


@pytest.mark.parametrize(("method", "path"), [one for one in API if one[0] != "GET"])
async def test_W03_only_json_is_a_body(method: str, path: str) -> None:
    web = program(keeper := keeper_with_api())
    path = re.sub(r"\{\w+\}", ID, path)
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "text/json", "application/xml"):
        answer = await web.request(method, path, content=b'{"reason":"x"}', headers={"content-type": kind} if kind else {})
        assert answer.status_code == 415, kind
        assert list(answer.json()) == ["error"]
    assert keeper.asked == []


@pytest.mark.parametrize("query", ["limit=0", "limit=1000", "state=held", "sealed=perhaps", "due=nan", "since=inf", "since=-1",
                                   "levels=TOP",
                                   "words=" + "a" * 201, "order=id;drop"])  # fmt: skip
async def test_W12_a_query_of_another_form_is_refused(query: str) -> None:
    web = program(keeper := keeper_with_api())
    answer = await web.get(f"{BASE}/held?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert keeper.asked == []


@pytest.mark.parametrize("id", ["x", "..%5cx", "%00", "9" * 2000, "\u0661", "0198F2B0-0000-7000-8000-000000000001"])
@pytest.mark.parametrize("path", ["/held/{id}", "/held/{id}/content", "/held/{id}/page?part=0", "/audit/{id}"])
async def test_W05_what_there_is_not_is_answered_like_what_is_not_yours(id: str, path: str) -> None:
    keeper = keeper_with_api()
    held, log = "there is no such held message", "nothing is recorded about it"
    absent = requests.Failed(log if "audit" in path else held, requests.ABSENT)
    keeper.answers |= dict.fromkeys((ShowHeld, review.ShowContent, requests.ShowAudit), absent)
    web = program(keeper)
    other, none = await web.get(BASE + path.replace("{id}", ID)), await web.get(BASE + path.replace("{id}", id))
    assert other.status_code == none.status_code == 404
    assert other.json() == none.json()


@pytest.mark.parametrize(("code", "status"), [(1, 409), (2, 400), (3, 503), (4, 503), (5, 401), (6, 403), (7, 403)])
async def test_each_no_of_the_keeper_has_its_status(code: int, status: int) -> None:
    status = {requests.SIGNED_OUT: 401, requests.ABSENT: 404, requests.FORBIDDEN: 403}.get(code, status)
    keeper = keeper_with_api()
    keeper.answers[RefuseHeld] = requests.Failed("it cannot be done", code)
    answer = await program(keeper).post(f"{BASE}/held/{ID}/refuse", json={"reason": "x"})
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]
    assert ("it cannot be done" in answer.text.lower()) == (status in (400, 403, 404, 409)), "what failed inside is not told"


async def test_W16_without_a_token_there_is_nothing() -> None:
    for header in (
        {},
        {"authorization": "Basic YTpi"},
        {"authorization": f"Bearer x{TOKEN}"},
        {"authorization": "Bearer "},
        {"authorization": f"Bearer {TOKEN.removeprefix('gwt_')}"},  # as the session of a browser looks
        {"cookie": f"gateway={TOKEN}"},
    ):
        web = browser(keeper := keeper_with_api())
        answer = await web.get(f"{BASE}/openapi.json", headers=header)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), header
        assert keeper.asked == []


# --- the description ------------------------------------------------------------------------------------------------------


async def described() -> dict[str, Any]:
    answer = await program(keeper_with_api()).get(f"{BASE}/openapi.json")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


async def test_the_description_lists_exactly_the_routes_of_the_api() -> None:
    found = await described()
    assert found["openapi"].startswith("3.1")
    assert found["info"]["version"] == __version__
    assert {(method.upper(), path) for path, methods in found["paths"].items() for method in methods} == set(API)
    assert found["security"] == [{"token": []}]
    assert found["components"]["securitySchemes"]["token"]["scheme"] == "bearer"


async def test_every_operation_is_described() -> None:
    found = await described()
    operations = [operation for methods in found["paths"].values() for operation in methods.values()]
    assert all(one["summary"] and one["description"] and one["tags"] for one in operations)
    assert len({one["operationId"] for one in operations}) == len(operations)
    assert all({"200", "400", "401", "403", "404"} <= set(one["responses"]) and "422" not in one["responses"] for one in operations)
    text = str(found)
    assert all(name.rpartition("/")[2] in found["components"]["schemas"] for name in re.findall(r"#/components/schemas/\w+", text))
    assert all(
        schema.get("additionalProperties") is False for name, schema in found["components"]["schemas"].items() if name.endswith("Body")
    )


NO_API = {
    "/login", "/login/one-time", "/logout", "/account/password", "/account/totp", "/account/totp/confirm", "/account/language",
    "/account/tokens", "/account/tokens/{id}/drop", "/batch", "/officer", "/officer/{token}/request", "/officer/{token}/object",
    "/officer/{token}/answer",
}  # fmt: skip
"""What a token may not do (a token that makes tokens or passwords would outlive its end), what an officer does by his link, and a batch,
which a program makes of its own requests."""
ELSEWHERE = {
    "/held/{id}/exception": ("POST", "/exceptions"), "/views": ("PUT", "/views"), "/views/{id}/drop": ("DELETE", "/views/{id}"),
    "/users/{name}": ("PATCH", "/users/{name}"),
}  # fmt: skip


def test_every_act_of_the_pages_is_in_the_api() -> None:
    acts = {path for method, path in ROUTES if method == "POST" and not path.startswith(BASE)}
    assert acts >= NO_API
    for path in acts - NO_API:
        method, there = ELSEWHERE.get(path, ("POST", path))
        assert (method, BASE + there) in ROUTES, path
        assert ROUTES[method, BASE + there] == ROUTES["POST", path], f"{path} needs the same there"

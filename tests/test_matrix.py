"""Roles, routes and departments: every cell, before the real keeper's services. A route without a row here fails.

Each person has one role, in dept.gov.in. The id of a route is one of that department (own), of home.gov.in (other), or of none.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from msgspec import structs

from gateway import requests
from gateway.config import Config, Contacts, Limits, Originators, Web
from gateway.envelope import new_id
from gateway.keeper.composition import compose
from gateway.levels import Level
from gateway.policy import decide
from gateway.requests import Commit, ExceptionRow
from gateway.review import AddToken, As, Redeem
from gateway.roles import PERMITS, Act, Role
from gateway.stores.base import Batch, UserRow
from gateway.web import rights
from gateway.web.application import application
from gateway.web.door import form_token
from gateway.web.rights import OFFICER, OPEN, ROUTES, SIGNED_IN
from gateway.web.shown import IST
from tests.keeper_kit import CONTENT, inspection, shipped_policy, transaction

pytestmark = pytest.mark.slow
"""Every route has its row: that is tested in ``test_web_door`` each time."""
OWN, OTHER = "dept.gov.in", "home.gov.in"
WHERE = ("own", "other", "none")
UNTIL = (datetime.now(IST) + timedelta(days=3)).date().isoformat()
REASON = {"reason": "It was asked for"}
HELD_FORMS: dict[str, dict[str, Any]] = {
    "release": REASON | {"to": "desk@finance.nic.in"}, "refuse": REASON, "ask": {"text": "Which one?"},
    "level": REASON | {"level": "SECRET"}, "forward": {"to": "reviewer", "note": "Please look"}, "again": REASON, "download": REASON,
    "exception": REASON | {"sender": "@{department}", "recipient": "x@court.gov.in", "approver": "second-approver", "until": UNTIL},
}  # fmt: skip
HELD_BODIES: dict[str, dict[str, Any]] = {
    "release": REASON | {"recipients": ["desk@finance.nic.in"]}, "refuse": REASON, "ask": {"text": "Which one?"},
    "level": REASON | {"level": "SECRET"}, "forward": {"to": "reviewer", "note": "Please look"}, "again": {}, "download": REASON,
}  # fmt: skip
ENTRY = REASON | {"sender": "@{department}", "recipient": "x@court.gov.in", "approver": "second-approver"}
SENT: dict[tuple[str, str], dict[str, Any]] = {
    **{("POST", f"/held/{{id}}/{name}"): form for name, form in HELD_FORMS.items()},
    **{("POST", f"/api/v1/held/{{id}}/{name}"): body for name, body in HELD_BODIES.items()},
    ("POST", "/logout"): {}, ("POST", "/account/password"): {}, ("POST", "/account/totp"): {}, ("POST", "/account/totp/confirm"): {},
    ("POST", "/account/language"): {"language": "en"}, ("POST", "/account/tokens"): {}, ("POST", "/account/tokens/{id}/drop"): {},
    ("POST", "/views"): {"name": "mine"}, ("POST", "/views/{id}/drop"): {}, ("POST", "/batch"): {},
    ("POST", "/audit/export"): {"format": "csv"},
    ("POST", "/exceptions"): ENTRY | {"until": UNTIL}, ("POST", "/exceptions/{id}/expire"): REASON,
    ("POST", "/users"): {"name": "{new}", "department-0": OWN, "role-0": "viewer", "department": OWN},
    ("POST", "/users/{name}"): {"act": "enable"},
    ("POST", "/users/{name}/invite"): {}, ("PUT", "/api/v1/views"): {"name": "mine", "filter": {}}, ("DELETE", "/api/v1/views/{id}"): {},
    ("POST", "/api/v1/audit/export"): {"format": "jsonl"}, ("POST", "/api/v1/exceptions"): ENTRY | {"expires": time.time() + 86400},
    ("POST", "/api/v1/exceptions/{id}/expire"): REASON,
    ("POST", "/api/v1/users"): {"name": "{new}", "department": OWN, "grants": [f"viewer@{OWN}"]},
    ("PATCH", "/api/v1/users/{name}"): {"disabled": False}, ("POST", "/api/v1/users/{name}/invite"): {},
}  # fmt: skip
"""What is sent to each route that changes something."""
QUERIES = {"/api/v1/dashboard": "?since=1&until=2", "/api/v1/held/{id}/page": "?part=0"}
MORE: dict[str, frozenset[Act]] = {
    "release": frozenset({Act.DECIDE, Act.APPROVE}), "level": frozenset({Act.DECIDE, Act.APPROVE}),
    "colleagues": frozenset({Act.DECIDE, Act.APPROVE}),
}  # fmt: skip
"""What the keeper asks beyond the act of the route, of the record's department: one of these."""
DONE, LATER = {200, 204, 303}, {400, 409, 503}
"""Served; understood and permitted, but not possible here: no inspector draws pages, and no message is at that point."""
CELLS = [one for one, need in ROUTES.items() if need not in (OPEN, OFFICER)]
PRIVATE = {("POST", "/views/{id}/drop"), ("DELETE", "/api/v1/views/{id}"), ("GET", "/batch/{id}"), ("POST", "/account/tokens/{id}/drop")}
"""Of each person alone: no id here is of theirs."""


class House:
    """The real services of one keeper, the application before them, and people of one role each."""

    def __init__(self, folder: Path) -> None:
        self.config = Config(
            state_dir=folder, hostname="gw1.dept.gov.in", originators=Originators(domains=(OWN, OTHER), networks=("10.0.0.0/8",)),
            contacts=Contacts(postmaster="postmaster@dept.gov.in"), limits=Limits(free_disk=0), web=Web(require_totp=False),
        )  # fmt: skip
        self.sessions: dict[str, str] = {}
        self.tokens: dict[str, str] = {}
        self._people = 0
        self._shared: dict[tuple[str, str], dict[str, str]] = {}

    async def open(self) -> House:
        async def health() -> Any:
            return requests.Rows(())

        self.parts = await compose(self.config, shipped_policy, health, lambda: False)
        people = [UserRow(role, "", f"{role}@{OWN}", OWN, time.time(), grants=(f"{role}@{OWN}",)) for role in Role]
        people.append(UserRow("neighbour", "", f"n@{OTHER}", OTHER, time.time(), grants=(f"viewer@{OTHER}",)))
        people.append(UserRow("colleague", "", f"c@{OWN}", OWN, time.time(), grants=(f"viewer@{OWN}",)))
        await self.parts.store.write(Batch(users=people))
        self.application = application(self.config, self.ask)
        for role in Role:
            await self.enter(role)
        return self

    async def enter(self, role: str) -> None:
        """A session and a token of the person of *role*."""
        answer = await self.parts.entrance.answer(Redeem(self.parts.entrance.logins.make(role), "10.0.0.9"))
        self.sessions[role] = str(answer[0].rows[0]["session"])
        scopes = tuple(str(act) for act in PERMITS[Role(role)])
        made, _ = await self.parts.entrance.answer(As(self.sessions[role], AddToken("program", scopes, time.time() + 80_000)))
        self.tokens[role] = str(made.rows[0]["token"])

    async def ask(self, request: Any) -> tuple[Any, bytes]:
        try:
            found: tuple[Any, bytes] = await self.parts.entrance.answer(request)
        except Exception as error:
            if not hasattr(error, "code"):
                raise
            return requests.Failed(str(error), error.code), b""
        return found

    async def held(self, department: str) -> tuple[str, str]:
        """Id and reference of a message that is held for *department*."""
        tx = transaction("desk@finance.nic.in", sender=f"so@{department}")
        made = decide.decide(tx, inspection(attached=Level.RESTRICTED), shipped_policy(), self.parts.register.current, self.config)
        answer = await self.parts.actor.commit(Commit(tx, made), CONTENT)
        assert isinstance(answer, requests.Committed)
        row = await self.parts.store.hold(tx.reference)
        assert row is not None
        return row.id, row.reference

    async def values(self, path: str, where: str) -> dict[str, str]:
        """What stands for the names in *path*."""
        if where == "none":
            return {"id": new_id(), "reference": "01CX5B00000G00G0000000000Z", "name": "nobody"}
        department = OWN if where == "own" else OTHER
        if "exceptions" in path:
            now = time.time()
            row = ExceptionRow(new_id(), f"@{department}", "x@court.gov.in", "r", "a", "b", now, now + 9000)
            await self.parts.store.write(Batch(exceptions=[row]))
            await self.parts.register.load()
            return {"id": row.id}
        if "{name}" in path:
            return {"name": "colleague" if where == "own" else "neighbour"}
        id, reference = await self.held(department)
        return {"id": id, "reference": reference}

    async def send(self, role: str, method: str, path: str, where: str) -> httpx.Response:
        """The answer to the person of *role* (empty: to nobody)."""
        self._people += 1
        need = ROUTES[method, path]
        fresh = method != "GET" and role and isinstance(need, Act) and need in PERMITS[Role(role)]
        shared = (where, re.sub(r"\W.*", "", path.removeprefix("/api/v1/").strip("/")))
        if "{" not in path:
            values: dict[str, str] = {}
        elif fresh or shared not in self._shared:  # what is not changed serves the next cell, too
            values = self._shared[shared] = await self.values(path, where)
        else:
            values = self._shared[shared]
        target = re.sub(r"\{(\w+)\}", lambda match: values[match[1]], path)
        words = {"{department}": OWN if where == "own" else OTHER, "{new}": f"new{self._people}"}
        fields = {} if method == "GET" else SENT[method, path]
        for mark, word in words.items():
            fields = {name: value.replace(mark, word) if isinstance(value, str) else value for name, value in fields.items()}
        web = httpx.AsyncClient(transport=httpx.ASGITransport(app=self.application), base_url="http://gw", headers={"origin": "http://gw"})
        target += QUERIES.get(path, "")
        if path.startswith("/api/"):
            headers = {"authorization": f"Bearer {self.tokens[role]}"} if role else {}
            return await web.request(method, target, headers=headers, json=None if method in ("GET", "DELETE") else fields)
        if role:
            web.cookies.set("gateway", self.sessions[role])
        return await web.request(
            method, target, data=None if method == "GET" else fields | {"form_token": form_token(self.sessions.get(role, ""))}
        )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    made = await House(tmp_path_factory.mktemp("house")).open()
    yield made
    await made.parts.store.close()


def expected(role: Role, method: str, path: str, where: str) -> set[int]:
    """What the person of *role* is answered."""
    need = ROUTES[method, path]
    acts = PERMITS[role]
    if isinstance(need, Act) and need not in acts:
        return {303} if path == "/" else {403}
    if (method, path) in PRIVATE:
        return {404, *DONE}
    named = "{" in path
    if named and where != "own":
        return {404}
    if (method, path.removeprefix("/api/v1")) == ("POST", "/exceptions") and where != "own":
        return {403}
    more = MORE.get(path.rpartition("/")[2])
    if named and more and not more & acts:
        return {404} if path.endswith("/colleagues") else {403}
    if named and path.endswith(("/release", "/level")) and Act.DECIDE not in acts:
        return {403, 409}  # the first yes is a reviewer's
    return DONE | LATER


def test_every_route_that_changes_something_has_a_row_here() -> None:
    assert {one for one in CELLS if one[0] != "GET"} == set(SENT)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(("method", "path"), CELLS)
async def test_W05_W16_every_cell(house: House, role: Role, method: str, path: str) -> None:
    # A list has no department in its address; whose rows it has is tested below.
    places = WHERE if "{" in path or path.endswith("/exceptions") else WHERE[:1]
    answers = {where: await house.send(role, method, path, where) for where in places}
    for where, answer in answers.items():
        assert answer.status_code in expected(role, method, path, where), (where, answer.status_code, answer.text[-900:])
    if "{" in path:
        assert answers["other"].status_code == answers["none"].status_code, "another department's is like none"
        if answers["other"].status_code == 404:
            assert answers["other"].text == answers["none"].text
    if path == "/logout" or "/account/" in path:
        await house.enter(role)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("method", "path"), CELLS)
async def test_W16_nobody_is_served_without_a_credential(house: House, method: str, path: str) -> None:
    answer = await house.send("", method, path, "own")
    assert answer.status_code == (401 if path.startswith("/api/") else 303 if method == "GET" or path == "/logout" else 403)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "path", ["/", "/api/v1/held", "/audit", "/api/v1/audit", "/exceptions", "/api/v1/exceptions", "/users", "/api/v1/users"]
)
async def test_W05_no_list_has_a_row_of_another_department(house: House, path: str) -> None:
    _, mine = await house.held(OWN)
    _, other = await house.held(OTHER)
    now = time.time()
    entries = [ExceptionRow(new_id(), f"@{one}", f"only-{one}@x.in", "r", "a", "b", now, now + 9000) for one in (OWN, OTHER)]
    await house.parts.store.write(Batch(exceptions=entries))
    await house.parts.register.load()
    for role in Role:
        if ROUTES["GET", path] in PERMITS[role]:
            text = (await house.send(role, "GET", path, "own")).text
            assert other not in text
            assert f"only-{OTHER}" not in text
            assert "neighbour" not in text
            assert any(one in text for one in (mine, f"only-{OWN}", "colleague"))


def test_the_words_of_the_rights_are_known() -> None:
    assert {need for need in ROUTES.values() if not isinstance(need, Act)} == {OPEN, OFFICER, SIGNED_IN}
    assert rights.ROUTES is ROUTES
    assert structs.fields(As)[0].name == "credential"

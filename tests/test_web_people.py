"""The people on the page: listed, added, changed, invited. Ids are those of the catalogue."""

from __future__ import annotations

import re
from typing import Any

import pytest
from starlette.datastructures import FormData

from gateway import requests, review
from gateway.config import Config, Web
from gateway.roles import Role
from gateway.web.people_pages import Line, grants_of, lines_of, read_lines
from tests.faces import ORIGIN, FakeKeeper, form, keeper_for_web, person, signed_in, web_client

ASHA = {
    "name": "asha", "system_user": "asha", "email": "asha@home.gov.in", "department": "home.gov.in", "created": 1.7e9,
    "grants": ["reviewer@home.gov.in", "second-approver@home.gov.in", "auditor@nhai.gov.in"], "disabled": False, "language": "hi",
    "password": True, "totp": True, "oidc": False,
}  # fmt: skip
SELF = ASHA | {
    "name": "reviewer",
    "system_user": "",
    "email": "reviewer@dept.gov.in",
    "department": "",
    "grants": ["administrator@*", "viewer@*"],
}
NAUGHTY = "<script>alert(1)</script>\u202e\"'><img src=x onerror=alert(1)>"


def keeper_of_people(*rows: dict[str, Any]) -> FakeKeeper:
    keeper = keeper_for_web()
    keeper.answers |= {
        requests.ListUsers: requests.Rows(rows or (SELF, ASHA)),
        requests.AddUser: lambda request: requests.Rows((ASHA | {"name": request.name},)),
        review.ChangeUser: lambda request: requests.Rows((ASHA | {"name": request.name},)),
        review.InviteUser: lambda request: requests.Rows(({"name": request.name, "token": "one-time-" + "x" * 24},)),
    }  # fmt: skip
    return keeper


def administrator(keeper: FakeKeeper) -> Any:
    return signed_in(keeper, person("reviewer", "administrator"))


def last(keeper: FakeKeeper, kind: type) -> Any:
    return [one for one in keeper.asked if isinstance(one, kind)][-1]


async def test_the_list_says_who_there_is() -> None:
    page = (await administrator(keeper_of_people()).get("/users")).text
    for text in ("asha", "asha@home.gov.in", "Reviewer, Second approver in home.gov.in", "Auditor in nhai.gov.in", "active", "codes"):
        assert text in page
    assert page.index('href="/users?name=asha"') < page.index('href="/users?name=reviewer"')


@pytest.mark.parametrize(
    ("words", "names"),
    [("ASHA", ["asha"]), ("nhai", ["asha"]), ("administrator", ["reviewer"]), ("nobody", []), ("", ["asha", "reviewer"])],
)
async def test_people_are_found_by_what_the_list_says(words: str, names: list[str]) -> None:
    page = (await administrator(keeper_of_people()).get("/users", params={"words": words})).text
    assert re.findall(r'href="/users\?name=(\w+)"', page) == names


async def test_a_person_is_added_with_the_roles_that_were_ticked() -> None:
    web = administrator(keeper := keeper_of_people())
    fields = form(web, name=" nanda ", email="nanda@home.gov.in", department="home.gov.in")
    fields |= {"department-0": "Home.gov.in", "role-0": ["reviewer", "auditor"], "department-1": "*", "role-1": ["viewer"]}
    answer = await web.post("/users", data=fields, headers=ORIGIN)
    assert (answer.status_code, answer.headers["location"]) == (303, "/users?name=nanda&said=added")
    asked = last(keeper, requests.AddUser)
    assert asked == requests.AddUser(
        "nanda", email="nanda@home.gov.in", department="home.gov.in", grants=("reviewer@home.gov.in", "auditor@home.gov.in", "viewer@*")
    )


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"name": ""}, "name"),
        ({"email": "no address"}, "email"),
        ({"department": "home"}, "department"),
        ({"department-0": "", "role-0": []}, "roles"),
        ({"role-0": []}, "roles"),
        ({"role-0": ["root"]}, "roles"),
        ({"department-0": ""}, "line-0"),
        ({"department-0": "home gov in"}, "line-0"),
        ({"department-0": NAUGHTY}, "line-0"),
        ({"department-0": "a." + "b" * 300}, "line-0"),
    ],
)
async def test_what_is_wrong_stands_beside_the_field_and_what_was_typed_stays(typed: dict[str, Any], field: str) -> None:
    web = administrator(keeper := keeper_of_people())
    fields = form(web, name="nanda", email="nanda@home.gov.in", department="home.gov.in") | {
        "department-0": "a.gov.in",
        "role-0": ["viewer"],
    }
    answer = await web.post("/users", data=fields | typed, headers=ORIGIN)
    assert answer.status_code == 400
    assert f'id="{field}-wrong"' in answer.text
    assert f'aria-describedby="{field}-wrong"' in answer.text
    assert not any(isinstance(one, requests.AddUser) for one in keeper.asked)
    assert "<script" not in answer.text
    if "name" not in typed:
        assert 'value="nanda"' in answer.text


async def test_what_the_keeper_says_is_shown_with_the_form() -> None:
    web = administrator(keeper := keeper_of_people())
    keeper.answers[requests.AddUser] = requests.Failed("users: a name has 1 to 64 printable characters", 2)
    fields = form(web, name="a b", **{"department-0": "*", "role-0": "viewer"})
    answer = await web.post("/users", data=fields, headers=ORIGIN)
    assert answer.status_code == 400
    assert "A name has 1 to 64 printable characters." in answer.text
    assert 'value="a b"' in answer.text
    assert re.search(r'value="viewer" checked', answer.text)


async def test_a_person_is_changed() -> None:
    web = administrator(keeper := keeper_of_people())
    page = (await web.get("/users", params={"name": "asha"})).text
    assert re.search(r'name="department-0"[^>]*value="home.gov.in"', page)
    assert len(re.findall(r'name="department-\d"', page)) == 4
    fields = form(web, act="change", email="a@home.gov.in", department="home.gov.in")
    fields |= {"department-0": "home.gov.in", "role-0": ["viewer"], "department-1": "nhai.gov.in", "department-2": "", "department-3": ""}
    answer = await web.post("/users/asha", data=fields, headers=ORIGIN)
    assert answer.headers["location"] == "/users?name=asha&said=changed"
    assert last(keeper, review.ChangeUser) == review.ChangeUser("asha", "a@home.gov.in", "home.gov.in", ("viewer@home.gov.in",))


async def test_W13_ones_own_roles_are_not_sent_when_they_are_as_they_were() -> None:
    web = administrator(keeper := keeper_of_people())
    page = (await web.get("/users", params={"name": "reviewer"})).text
    assert re.search(r'<fieldset class="grants" disabled', page)
    await web.post("/users/reviewer", data=form(web, act="change", email="new@dept.gov.in"), headers=ORIGIN)
    assert last(keeper, review.ChangeUser) == review.ChangeUser("reviewer", "new@dept.gov.in", "", None)
    fields = form(web, act="change", email="", **{"department-0": "*", "role-0": ["viewer", "administrator"]})
    await web.post("/users/reviewer", data=fields, headers=ORIGIN)
    assert last(keeper, review.ChangeUser).grants is None, "the same in another order"


async def test_W13_the_last_administrator_is_told_why_not() -> None:
    web = administrator(keeper := keeper_of_people())
    keeper.answers[review.ChangeUser] = requests.Failed("reviewer is the last administrator; make another one first", 1)
    answer = await web.post("/users/reviewer", data=form(web, act="disable"), headers=ORIGIN)
    assert answer.status_code == 400
    assert "Reviewer is the last administrator; make another one first." in answer.text


@pytest.mark.parametrize("act", ["disable", "enable"])
async def test_a_person_is_disabled_and_enabled(act: str) -> None:
    web = administrator(keeper := keeper_of_people(ASHA | {"disabled": act == "enable"}))
    assert f'value="{act}"' in (await web.get("/users", params={"name": "asha"})).text
    answer = await web.post("/users/asha", data=form(web, act=act), headers=ORIGIN)
    assert answer.headers["location"] == f"/users?name=asha&said={act}d"
    assert last(keeper, review.ChangeUser) == review.ChangeUser("asha", disabled=act == "disable")


@pytest.mark.parametrize("act", ["", "delete", "change,disable"])
async def test_a_form_that_does_not_say_what_to_do_does_nothing(act: str) -> None:
    web = administrator(keeper := keeper_of_people())
    assert (await web.post("/users/asha", data=form(web, act=act), headers=ORIGIN)).status_code == 400
    assert not any(isinstance(one, review.ChangeUser) for one in keeper.asked)


@pytest.mark.parametrize("public", ["", "https://gateway.dept.gov.in"])
async def test_a_one_time_login_is_shown_once_as_a_link(public: str) -> None:
    keeper = keeper_of_people()
    base = public or "http://gw"
    web = web_client(keeper, Config(hostname="gw", web=Web(public_url=public)), base)
    session = "session-of-the-administrator-0123456789"
    keeper.sessions[session] = person("reviewer", "administrator")
    web.cookies.set("__Host-gateway" if public else "gateway", session)
    page = (await web.get("/users", params={"name": "asha"})).text
    token = re.search(r'name="form_token" value="([^"]+)"', page)
    assert token
    answer = await web.post("/users/asha/invite", data={"form_token": token[1]}, headers={"origin": base})
    assert answer.status_code == 200
    assert f"{base}/login?token=one-time-{'x' * 24}" in answer.text
    assert "10 minutes" in answer.text
    assert "x" * 24 not in (await web.get("/users", params={"name": "asha"})).text


async def test_W05_who_is_not_ones_own_is_not_there() -> None:
    web = administrator(keeper := keeper_of_people())
    for answer in (
        await web.get("/users", params={"name": "of-another-department"}),
        await web.post("/users/of-another-department", data=form(web, act="disable"), headers=ORIGIN),
        await web.post("/users/of-another-department/invite", data=form(web), headers=ORIGIN),
        await web.get("/users", params={"name": "../asha"}),
        await web.get("/users", params={"name": "asha\x00"}),
        await web.get("/users", params={"name": "a" * 20_000}),
    ):
        assert answer.status_code == 404
        assert "There is no such person." in answer.text
    assert not any(isinstance(one, review.ChangeUser | review.InviteUser) for one in keeper.asked)


async def test_W01_everything_of_a_person_is_only_text() -> None:
    row = ASHA | {
        "name": NAUGHTY,
        "system_user": NAUGHTY,
        "email": NAUGHTY,
        "department": NAUGHTY,
        "grants": [f"viewer@{'x' * 200}", NAUGHTY],
    }
    web = administrator(keeper_of_people(row))
    for path in ("/users", "/users?words=alert"):
        page = (await web.get(path)).text
        for text in ("<script>", "<img src=x", "\u202e"):
            assert text not in page
        assert "[U+202E]" in page
    page = (await web.get("/users", params={"name": NAUGHTY})).text
    for text in ("<script>", "<img src=x", "\u202e"):
        assert text not in page


def test_lines_and_grants_go_both_ways() -> None:
    grants = ("viewer@*", *(f"{role}@a.gov.in" for role in Role), "auditor@b.gov.in")
    lines = lines_of(grants)
    assert [line.department for line in lines] == ["*", "a.gov.in", "b.gov.in", "", ""]
    assert set(grants_of(lines)) == set(grants)
    assert lines_of(("a role of tomorrow",)) == [Line(), Line()]


def test_a_form_of_endless_lines_is_cut() -> None:
    form_data = FormData([(f"department-{number}", "a.gov.in") for number in range(5000)])
    assert len(read_lines(form_data)) == 50

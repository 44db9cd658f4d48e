"""One's own account on the page: password, codes, language, tokens. Ids are those of the catalogue."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from gateway import requests, review
from gateway.web.account_pages import picture
from tests.faces import ORIGIN, FakeKeeper, form, keeper_for_web, person, signed_in

SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
URI = f"otpauth://totp/gw.dept.gov.in:reviewer?secret={SECRET}&issuer=gw.dept.gov.in"
TOKEN = {"id": "t1", "name": "weekly report", "scopes": ["figures", "list"], "created": 1e9, "expires": 4e9, "used": 0}
NAUGHTY = "<script>alert(1)</script>\u202e\"'><img src=x onerror=alert(1)>"


def keeper_of_accounts() -> FakeKeeper:
    keeper = keeper_for_web()
    keeper.answers |= {
        review.SetPassword: requests.Done(), review.ConfirmTotp: requests.Done(), review.SetLanguage: requests.Done(),
        review.BeginTotp: requests.Rows(({"secret": SECRET, "uri": URI},)), review.DropToken: requests.Done(),
        review.ListTokens: requests.Rows((TOKEN,)),
        review.AddToken: lambda request: requests.Rows(({"id": "t2", "name": request.name, "token": "gwt_secret-of-the-token"},)),
    }  # fmt: skip
    return keeper


def wrong_at(page: str, field: str) -> str:
    """What is said beside *field*; the field names it."""
    found = re.search(rf'<p class="mistake" id="{field}-wrong">([^<]*)</p>', page)
    assert found, field
    assert re.search(rf'aria-describedby="{field}-wrong[^"]*" aria-invalid="true"', page)
    return found[1]


async def test_the_account_says_who_one_is_and_what_one_may() -> None:
    web = signed_in(keeper_of_accounts(), person("asha", "reviewer@home.gov.in", "auditor"))
    page = (await web.get("/account")).text
    for text in ("asha", "asha@dept.gov.in", "Reviewer in home.gov.in", "Auditor in all departments", "weekly report", "figures, list"):
        assert text in page
    assert "read the decision log" in page
    assert "manage people" not in page, "a token may do no more than its person"


async def test_the_password_is_changed() -> None:
    web = signed_in(keeper := keeper_of_accounts())
    page = (await web.get("/account")).text
    for name, kind in (("old", "current-password"), ("new", "new-password"), ("again", "new-password")):
        assert re.search(rf'name="{name}" type="password" autocomplete="{kind}"', page)
    typed = {"old": "the old one, long", "new": "four words and a river", "again": "four words and a river"}
    answer = await web.post("/account/password", data=form(web, **typed), headers=ORIGIN)
    assert (answer.status_code, answer.headers["location"]) == (303, "/account?said=password")
    assert keeper.asked[-1] == review.SetPassword(typed["new"], typed["old"])
    assert "The password is changed" in (await web.get(answer.headers["location"])).text
    assert typed["new"] not in repr(keeper.asked)


@pytest.mark.parametrize(
    ("typed", "failed", "field", "status"),
    [
        ({"new": "a" * 14, "again": "b" * 14}, None, "again", 400),
        ({}, requests.Failed("the old password is wrong", 1), "old", 400),
        ({}, requests.Failed("a password has at least 12 characters", 2), "new", 400),
        ({}, requests.Failed("too many wrong tries; please wait a quarter of an hour", 1), "new", 400),
        ({}, requests.Failed("a token of the API cannot do this", requests.FORBIDDEN), "new", 403),
    ],
)
async def test_what_is_wrong_with_a_password_stands_beside_the_field(
    typed: dict[str, str], failed: Any, field: str, status: int
) -> None:  # fmt: skip
    web = signed_in(keeper := keeper_of_accounts())
    keeper.answers[review.SetPassword] = failed
    new = {"old": "zzz-old-zzz", "new": "four words and a river", "again": "four words and a river"} | typed
    answer = await web.post("/account/password", data=form(web, **new), headers=ORIGIN)
    assert answer.status_code == status
    wrong_at(answer.text, field)
    assert new["new"] not in answer.text
    assert new["old"] not in answer.text


async def test_W10_a_long_password_is_cut_before_it_goes_on() -> None:
    web = signed_in(keeper := keeper_of_accounts())
    await web.post("/account/password", data=form(web, old="o" * 9000, new="n" * 9000, again="n" * 9000), headers=ORIGIN)
    assert len(keeper.asked[-1].new) == len(keeper.asked[-1].old) == 1024


async def test_the_secret_of_the_codes_is_shown_once_as_a_picture_and_in_letters() -> None:
    web = signed_in(keeper_of_accounts())
    page = await web.post("/account/totp", data=form(web), headers=ORIGIN)
    assert page.status_code == 200
    assert "<svg" in page.text
    assert " style=" not in page.text
    letters = re.search(r'<code class="secret">(.*?)</code>', page.text)
    assert letters
    assert re.sub("<[^>]*>", "", letters[1]) == "JBSW Y3DP EHPK 3PXP JBSW Y3DP EHPK 3PXP"
    assert "otpauth" not in page.text
    assert SECRET not in str(page.url)
    answer = await web.post("/account/totp/confirm", data=form(web, code="123 456"), headers=ORIGIN)
    assert answer.headers["location"] == "/account?said=codes"


async def test_a_code_that_does_not_fit_changes_nothing_and_does_not_show_the_secret_again() -> None:
    web = signed_in(keeper := keeper_of_accounts())
    keeper.answers[review.ConfirmTotp] = requests.Failed("this code does not fit", 1)
    answer = await web.post("/account/totp/confirm", data=form(web, code="000000"), headers=ORIGIN)
    assert answer.status_code == 400
    assert "This code does not fit." in answer.text
    assert "<svg" not in answer.text
    assert "Begin anew" in answer.text


async def test_codes_are_not_changed_long_after_the_sign_in() -> None:
    web = signed_in(keeper := keeper_of_accounts())
    keeper.answers[review.BeginTotp] = requests.Failed("sign in again first", requests.FORBIDDEN)
    answer = await web.post("/account/totp", data=form(web), headers=ORIGIN)
    assert answer.status_code == 403
    assert "Sign in again first." in answer.text


def test_a_picture_is_made_of_squares_alone() -> None:
    made = picture(f'otpauth://totp/x?secret={SECRET}&issuer=<script>"')
    assert re.fullmatch(r'<svg viewBox="[\d ]+" class="qr">(<path [^<>]*/>)+</svg>', made)
    assert "style" not in made
    assert "script" not in made


@pytest.mark.parametrize(("language", "good"), [("hi", True), ("en", True), ("xx", False), ("", False), (NAUGHTY, False)])
async def test_the_language_is_one_of_the_list(language: str, good: bool) -> None:
    web = signed_in(keeper := keeper_of_accounts())
    answer = await web.post("/account/language", data=form(web, language=language), headers=ORIGIN)
    assert answer.status_code == (303 if good else 400)
    assert (keeper.asked[-1] == review.SetLanguage(language)) is good
    if not good:
        wrong_at(answer.text, "language")
        assert "<script" not in answer.text


async def test_a_token_is_shown_once() -> None:
    web = signed_in(keeper := keeper_of_accounts())
    fields = form(web, name=" report ", scopes=["list", "figures", "made-up"], days="90")
    answer = await web.post("/account/tokens", data=fields, headers=ORIGIN)
    assert answer.status_code == 200
    assert "gwt_secret-of-the-token" in answer.text
    asked = next(one for one in keeper.asked if isinstance(one, review.AddToken))
    assert (asked.name, set(asked.scopes)) == ("report", {"list", "figures"})
    assert abs(asked.expires - time.time() - 90 * 86400) < 60
    assert "gwt_secret" not in (await web.get("/account")).text


@pytest.mark.parametrize(
    ("fields", "field"), [({"name": " "}, "name"), ({"scopes": []}, "scopes"), ({"days": "9999"}, "days"), ({"days": "x"}, "days")]
)
async def test_what_is_wrong_with_a_token_stands_beside_the_field(fields: dict[str, Any], field: str) -> None:
    web = signed_in(keeper := keeper_of_accounts())
    answer = await web.post("/account/tokens", data=form(web, **({"name": "a", "scopes": ["list"], "days": "30"} | fields)), headers=ORIGIN)
    assert answer.status_code == 400
    wrong_at(answer.text, field)
    assert not any(isinstance(one, review.AddToken) for one in keeper.asked)


async def test_a_token_is_ended() -> None:
    web = signed_in(keeper := keeper_of_accounts())
    assert 'action="/account/tokens/t1/drop"' in (await web.get("/account")).text
    answer = await web.post("/account/tokens/t1/drop", data=form(web), headers=ORIGIN)
    assert answer.headers["location"] == "/account?said=dropped"
    assert keeper.asked[-1] == review.DropToken("t1")
    keeper.answers[review.DropToken] = requests.Failed("there is no such record", requests.ABSENT)
    assert (await web.post("/account/tokens/t9/drop", data=form(web), headers=ORIGIN)).status_code == 404


async def test_W01_names_are_only_text() -> None:
    keeper = keeper_of_accounts()
    keeper.answers[review.ListTokens] = requests.Rows((TOKEN | {"name": NAUGHTY, "scopes": [NAUGHTY]},))
    web = signed_in(keeper, person("reviewer", "reviewer", email=NAUGHTY, department=NAUGHTY))
    keeper.sessions[web.cookies["gateway"]]["name"] = NAUGHTY
    page = (await web.get("/account")).text
    for text in ("<script", "<img src=x", "\u202e"):
        assert text not in page
    assert "[U+202E]" in page


async def test_what_the_address_says_is_one_of_a_list() -> None:
    web = signed_in(keeper_of_accounts())
    for path in ("/account", "/users", "/login"):
        page = (await web.get(path, params={"said": NAUGHTY})).text
        assert 'class="good"' not in page
        assert "alert(1)" not in page


async def test_who_has_the_login_of_a_mailbox_sees_only_that() -> None:
    officer = person("o@home.gov.in", "viewer", kind="officer", grants=[], acts={})
    web = signed_in(keeper := keeper_of_accounts(), officer)
    page = (await web.get("/account")).text
    assert "with the login of your mailbox" in page
    for text in ('name="old"', "/account/totp", "/account/tokens"):
        assert text not in page
    assert not any(isinstance(one, review.ListTokens) for one in keeper.asked)
    assert (await web.get("/")).headers["location"] == "/officer"
    assert (await web.get("/users")).status_code == 403


async def test_who_is_not_finished_sees_what_is_left_to_do_and_nothing_else_is_asked() -> None:
    web = signed_in(keeper := keeper_of_accounts(), person("nanda", "reviewer", fresh=True, password=True, totp=False))
    keeper.answers[review.ListTokens] = requests.Failed("set up your password and the codes of your device first", requests.FORBIDDEN)
    answer = await web.get("/account")
    assert answer.status_code == 200
    assert "Choose a password</a> (done)" in answer.text
    assert "Set up the codes of your device</a></li>" in answer.text
    assert "not needed after a one-time login" in answer.text
    assert 'aria-label="Pages"' not in answer.text
    assert keeper.asked == []

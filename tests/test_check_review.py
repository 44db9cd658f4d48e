"""``gateway check`` about the review page: its address, the OpenID provider, and who is there to decide."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway.audit.audit import AuditChain
from gateway.cli import check_review
from gateway.config import Config, Listen, Oidc, Originators, Relay, Review, Web
from gateway.doctor import Finding
from gateway.signin.identity import OidcError
from gateway.signin.oidc import OidcProvider
from gateway.stores.base import Batch, UserRow
from gateway.stores.sqlite.store import SqliteStore

URL = "https://gateway.dept.gov.in"
PROXY = ("127.0.0.1/32",)


def config(tmp_path: Path, **more: Any) -> Config:
    return Config(
        **{"state_dir": tmp_path, "originators": Originators(domains=["dept.gov.in"]), "web": Web(public_url=URL, proxies=PROXY)} | more
    )


def said(findings: Any) -> list[tuple[str, str]]:
    return [(one.state, one.text) for one in findings]


def person(name: str, *grants: str, email: str | None = None, disabled: bool = False) -> UserRow:
    return UserRow(name, "", f"{name}@dept.gov.in" if email is None else email, "", 1.0, grants, disabled)


def page(tmp_path: Path, **more: Any) -> list[tuple[str, str]]:
    return said(check_review.findings(config(tmp_path, **more), offline=True))


def test_a_page_with_an_address_is_well(tmp_path: Path) -> None:
    assert page(tmp_path) == [("ok", f"the page is {URL}")]


@pytest.mark.parametrize(
    ("more", "state", "words"),
    [
        ({"web": Web()}, "warning", "public_url is absent: reports carry the reference alone, and mail to reviewers has no link"),
        ({"web": Web(), "review": Review(digest="", warn_before=0)}, "warning", "public_url is absent: reports have no link"),
        ({"listen": (Listen(door="smtp", address="127.0.0.1:10025"),)}, "wrong", 'no [[listen]] has door = "web"'),
        ({"web": Web(public_url="http://gateway.dept.gov.in")}, "wrong", "in clear; use https"),
        ({"web": Web(public_url="http://127.0.0.1:18080")}, "ok", "the page is http://127.0.0.1:18080"),
        ({"web": Web(public_url="http://[::1]:18080")}, "ok", "the page is http://[::1]:18080"),
    ],
)
def test_where_the_page_is(tmp_path: Path, more: dict[str, Any], state: str, words: str) -> None:
    [(found, text)] = page(tmp_path, **more)
    assert found == state
    assert words in text


def test_a_page_whose_web_server_is_not_named_is_warned_of(tmp_path: Path) -> None:
    [_, (state, text)] = page(tmp_path, web=Web(public_url=URL))
    assert state == "warning"
    assert "web.proxies is empty" in text


def test_a_password_alone_is_warned_of(tmp_path: Path) -> None:
    assert page(tmp_path, web=Web(public_url=URL, proxies=PROXY, require_totp=False))[1:] == [
        ("warning", "web.require_totp = false: a password alone signs in")
    ]


# --- the provider -------------------------------------------------------------------------------------------------------


def provider_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cause: str, **more: Any) -> Finding:
    async def begin(self: OidcProvider) -> tuple[str, str]:
        if cause:
            raise OidcError(cause)
        return "https://login.dept.gov.in/authorize", "state"

    monkeypatch.setattr(OidcProvider, "begin", begin)
    wanted = config(tmp_path, oidc=Oidc(issuer="https://login.dept.gov.in", client_id="gateway", **more))
    [_, found] = check_review.findings(wanted, offline=False)
    return found


@pytest.mark.parametrize(
    ("cause", "state", "words"),
    [
        ("", "ok", f"it sends people back to {URL}/login/oidc/callback"),
        ("discovery-away", "wrong", "does not answer"),
        ("discovery-404", "wrong", "oidc.issuer is another address"),
        ("issuer", "wrong", "to the last slash"),
        ("discovery-500", "wrong", "cannot be used (discovery-500)"),
    ],
)
def test_the_provider_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cause: str, state: str, words: str) -> None:
    found = provider_says(tmp_path, monkeypatch, cause)
    assert found.state == state
    assert words in found.text


def test_a_provider_that_is_away_is_told_without_a_trace(tmp_path: Path) -> None:
    wanted = config(tmp_path, oidc=Oidc(issuer="http://127.0.0.1:1", client_id="gateway"))
    [_, found] = check_review.findings(wanted, offline=False)
    assert (found.subject, found.state) == ("oidc", "wrong")
    assert said(check_review.findings(wanted, offline=True)) == [("ok", f"the page is {URL}")], "offline asks nobody"


def test_the_secret_of_the_client_has_to_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "oidc.secret"
    wanted = config(tmp_path, oidc=Oidc(issuer="https://login.dept.gov.in", client_id="gateway", client_secret_file=secret))
    assert [one.state for one in check_review.findings(wanted, offline=True)] == ["ok", "wrong"]
    secret.write_text("a secret of the provider")
    secret.chmod(0o600)
    assert [one.state for one in check_review.findings(wanted, offline=True)] == ["ok"]


# --- people -------------------------------------------------------------------------------------------------------------


def of(tmp_path: Path, *users: UserRow, **more: Any) -> list[tuple[str, str]]:
    return said(check_review.people(config(tmp_path, **more), users))


KEEPER = person("carol", "administrator@*")


def test_two_people_and_an_administrator_are_enough(tmp_path: Path) -> None:
    users = (person("asha", "reviewer@*"), person("bina", "second-approver@home.gov.in"), KEEPER)
    assert of(tmp_path, *users) == [("ok", "1 may decide, 1 may give the second yes")]


@pytest.mark.parametrize(
    ("users", "words"),
    [
        ((KEEPER,), "nobody has the role reviewer"),
        ((person("asha", "reviewer@*", disabled=True), KEEPER), "nobody has the role reviewer"),
        ((person("asha", "reviewer@*"), KEEPER), "nobody but the reviewer has the role second-approver"),
        ((person("asha", "reviewer@*", "second-approver@*"), KEEPER), "nobody but the reviewer has the role second-approver"),
        ((person("asha", "reviewer@*"), person("bina", "second-approver@*")), "nobody has the role administrator"),
    ],
)
def test_who_is_missing_is_said(tmp_path: Path, users: tuple[UserRow, ...], words: str) -> None:
    assert [text for state, text in of(tmp_path, *users) if state == "warning" and words in text]


def test_one_person_is_enough_where_the_config_says_so(tmp_path: Path) -> None:
    assert of(tmp_path, person("asha", "reviewer@*"), KEEPER, relay=Relay(two_people_from="never"))[0][0] == "ok"


def test_who_gets_no_mail_is_named(tmp_path: Path) -> None:
    users = (person("asha", "reviewer@*", email=""), person("bina", "second-approver@*", email="bina@gmail.com"), KEEPER)
    assert of(tmp_path, *users)[-1] == (
        "warning", "no mail about held mail goes to asha, bina: no e-mail address inside the organisation is known",
    )  # fmt: skip
    assert len(of(tmp_path, *users, review=Review(digest="", warn_before=0))) == 1


def test_the_people_are_those_of_the_store(tmp_path: Path) -> None:
    async def fill() -> None:
        store = SqliteStore(tmp_path / "gateway.db")
        await store.open(AuditChain("c1"))
        await store.write(Batch(users=[person("asha", "reviewer@*"), person("bina", "second-approver@*"), KEEPER]))
        await store.close()

    asyncio.run(fill())
    assert page(tmp_path) == [("ok", f"the page is {URL}"), ("ok", "1 may decide, 1 may give the second yes")]
    (tmp_path / "gateway.db").write_bytes(b"no database")
    assert page(tmp_path) == [("ok", f"the page is {URL}")], "the line of the store says what is wrong with it"

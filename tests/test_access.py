"""Signing in to the review page, who a credential proves, and tokens of the API."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Limits, Web
from gateway.keeper.access import Absent, Forbidden, NotSignedIn, Who
from gateway.keeper.exceptions import Wrong
from gateway.keeper.sessions import hash_of
from gateway.requests import FORBIDDEN, SIGNED_OUT, ListUsers, Rows
from gateway.review import (
    AddToken,
    BeginOidc,
    BeginTotp,
    ChangeUser,
    ConfirmTotp,
    DropToken,
    EndOidc,
    FindHeld,
    ListTokens,
    MyMail,
    Redeem,
    SetLanguage,
    SetPassword,
    SignIn,
    SignInWays,
    SignOut,
    WhoAmI,
)
from gateway.roles import Act
from gateway.signin import password_rules
from gateway.signin.backoff import Guesses
from tests.people_kit import IP, PASSWORD, Way, cheap_hashes


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    cheap_hashes(monkeypatch)


class Pages:
    """A service that lists held mail; remembers who asked."""

    def __init__(self) -> None:
        self.asked: list[Who] = []

    async def find(self, request: FindHeld, who: Who) -> Rows:
        self.asked.append(who)
        return Rows(())

    async def mine(self, request: MyMail, who: Who) -> Rows:
        self.asked.append(who)
        return Rows(())

    def table(self) -> Any:
        return {FindHeld: (Act.LIST, self.find), MyMail: (None, self.mine)}


# --- password and code ------------------------------------------------------------------------------------------------


async def test_a_person_signs_in_with_password_and_code(tmp_path: Path) -> None:
    pages = Pages()
    async with Way(tmp_path, (pages.table(),)) as way:
        _, secret = await way.person("asha", "reviewer@home.gov.in", email="asha@home.gov.in")
        session = await way.sign_in("Asha", secret)
        who = await way.who(session)
        assert (who["name"], who["kind"], who["password"], who["totp"], who["fresh"]) == ("asha", "person", True, True, False)
        assert who["acts"]["list"] == ["home.gov.in"]
        assert "users" not in who["acts"]
        assert await way.ask(session, FindHeld()) == Rows(())
        (asked,) = pages.asked
        assert (asked.name, asked.via, asked.client_ip, asked.fresh) == ("asha", "web", IP, False)
        assert len(await way.said("login-accepted")) == 2


async def test_W04_the_session_is_new_at_every_sign_in_and_dead_after_signing_out(tmp_path: Path) -> None:
    async with Way(tmp_path) as way:
        first, secret = await way.person("asha", "reviewer")
        second = await way.sign_in("asha", secret)
        assert first != second
        await way.ask(second, SignOut())
        assert (await way.refused(WhoAmI(), second)).code == SIGNED_OUT
        assert (await way.who(first))["name"] == "asha", "only the one that was signed out of"
        way.clocks.advance(60)
        third = await way.sign_in("asha", secret)
        await way.ask(third, SignOut(everywhere=True))
        for session in (first, second, third):
            assert isinstance(await way.refused(WhoAmI(), session), NotSignedIn)


@pytest.mark.parametrize("credential", ["", "x", "gwt_", "gwt_" + "A" * 43, "A" * 43, "A" * 100_000, "é" * 43, "../" * 20, "null" * 10])
async def test_W17_what_proves_nobody(tmp_path: Path, credential: str) -> None:
    async with Way(tmp_path) as way:
        assert isinstance(await way.refused(WhoAmI(), credential or " "), NotSignedIn)


async def test_W04_ends_of_a_session_hold_through_the_reception(tmp_path: Path) -> None:
    async with Way(tmp_path) as way:
        session, _ = await way.person("asha", "reviewer")
        way.clocks.advance(800)
        await way.ask(session, WhoAmI(), passive=True)
        way.clocks.advance(200)
        assert isinstance(await way.refused(WhoAmI(), session), NotSignedIn)


async def test_W10_every_failure_has_the_same_answer_and_the_same_cost(tmp_path: Path) -> None:
    async with Way(tmp_path) as way:
        _, secret = await way.person("asha", "reviewer")
        await way.person("gone", "reviewer")
        await way.root(ChangeUser("gone", disabled=True))
        await way.add("newcomer", "reviewer")
        code = way.code(secret)
        tries = {
            "wrong-password": SignIn("asha", "another-password", code, "10.0.0.1"),
            "wrong-code": SignIn("asha", PASSWORD, "000000" if code != "000000" else "111111", "10.0.0.2"),
            "no code": SignIn("asha", PASSWORD, "", "10.0.0.3"),
            "unknown-login": SignIn("nobody-here", PASSWORD, code, "10.0.0.4"),
            "disabled": SignIn("gone", PASSWORD, code, "10.0.0.5"),
            "no password yet": SignIn("newcomer", "whatever-it-is", code, "10.0.0.6"),
            "empty": SignIn("", "", "", "10.0.0.7"),
            "long": SignIn("asha", "x" * 1_000_000, code, "10.0.0.8"),
            "long name": SignIn("n" * 1_000_000, PASSWORD, code, "10.0.0.9"),
            "odd": SignIn("asha\0", "\ud800", code, "10.0.0.10"),
        }
        answers = set()
        for name, request in tries.items():
            before = way.counted.calls
            error = await way.refused(request)
            answers.add((type(error), str(error), error.code))
            assert way.counted.calls == before + 1, name
        assert answers == {(Wrong, "the name, the password or the code is wrong", 1)}
        reasons = {row["event"]["reason"] for row in await way.said("login-refused")}
        assert {"wrong-password", "wrong-code", "unknown-login", "disabled"} <= reasons
        lines = "".join(row.line for row in await way.store.audit_rows())
        assert PASSWORD not in lines
        assert "nobody-here" not in lines, "a name that is nobody's may be a password"
        assert await way.sign_in("asha", secret)


async def test_W10_a_password_that_is_too_long_is_never_hashed(tmp_path: Path) -> None:
    seen: list[int] = []
    async with Way(tmp_path) as way:
        verify = way.counted.verify
        way.checker._verify = lambda text, octets: seen.append(len(octets)) or verify(text, octets)  # type: ignore[func-returns-value]
        await way.refused(SignIn("asha", "x" * 1_000_000, "", IP))
        assert seen == [0]


async def test_W10_brute_force_waits_longer_each_time_and_then_an_hour(tmp_path: Path) -> None:
    async with Way(tmp_path, limits=Limits(auth_failures_per_login=6)) as way:
        _, secret = await way.person("asha", "reviewer")

        async def guess(name: str, ip: str = "10.9.9.9") -> str:
            return str(await way.refused(SignIn(name, f"guess {way.clocks.mono} at it", "", ip)))

        for name in ("asha", "nobody"):
            waits = []
            for number in range(5):
                assert await guess(name) == "the name, the password or the code is wrong"
                if number >= 3:
                    before = way.counted.calls
                    blocked = str(await way.refused(SignIn(name, PASSWORD, way.code(secret), "10.9.9.9")))
                    assert way.counted.calls == before, "what has to wait is not hashed"
                    waits.append(int(blocked.split("wait ")[1].split()[0]))
                way.clocks.advance(31)
            await guess(name)
            assert waits == [3, 5]
            assert "in an hour" in await guess(name)
        assert await way.sign_in("asha", secret, ip="10.1.1.1"), "its owner elsewhere is not locked out"
        way.clocks.advance(3700)
        assert await way.sign_in("asha", secret, ip="10.9.9.9")


def test_W10_guesses_at_one_name_from_everywhere_meet_a_limit_that_leaves_home_open() -> None:
    now = [0.0]
    guesses = Guesses(Limits(auth_failures_per_login=2), lambda: now[0], lambda _: False)
    guesses.succeeded("asha", "10.1.1.7")
    for number in range(10):
        assert not guesses.blocked("asha", f"10.2.{number}.1")
        guesses.failed("asha", f"10.2.{number}.1", bytes([number]))
    assert guesses.blocked("asha", "10.3.0.1")
    assert not guesses.blocked("asha", "10.1.1.9"), "where she usually signs in"
    now[0] += 3601
    assert not guesses.blocked("asha", "10.3.0.1")


async def test_W10_right_passwords_in_a_burst_meet_the_limit_too(tmp_path: Path) -> None:
    """Hundreds at once: those that waited for their turn are asked again whether they may."""
    async with Way(tmp_path, limits=Limits(auth_failures_per_login=5)) as way:
        await way.person("asha", "reviewer")
        before = way.counted.calls
        burst = [way.web(SignIn("asha", f"guess number {n} is long", "", "10.9.9.9")) for n in range(60)]
        said = await asyncio.gather(*burst, return_exceptions=True)
        assert all(isinstance(one, Wrong) for one in said)
        assert way.counted.calls - before <= 10


async def test_a_code_is_taken_once_even_by_two_at_the_same_time(tmp_path: Path) -> None:
    async with Way(tmp_path) as way:
        _, secret = await way.person("asha", "reviewer")
        request = SignIn("asha", PASSWORD, way.code(secret), IP)
        said = await asyncio.gather(way.web(request), way.web(request), return_exceptions=True)
        assert sorted(type(one).__name__ for one in said) == ["Rows", "Wrong"]


async def test_without_totp_in_the_config_a_password_is_enough_until_codes_are_set_up(tmp_path: Path) -> None:
    async with Way(tmp_path, web=Web(require_totp=False)) as way:
        await way.add("asha", "reviewer")
        session = await way.one_time("asha")
        assert (await way.who(session))["fresh"] is True
        await way.ask(session, SetPassword(PASSWORD))
        assert (await way.who(session))["fresh"] is False
        session = await way.sign_in("asha")
        secret = (await way.row(session, BeginTotp()))["secret"]
        await way.ask(session, ConfirmTotp(way.code(secret)))
        await way.refused(SignIn("asha", PASSWORD, "", IP))


# --- one-time logins, the first sign-in -------------------------------------------------------------------------------


async def test_a_one_time_login_is_good_once_and_then_password_and_codes_have_to_be_set(tmp_path: Path) -> None:
    pages = Pages()
    async with Way(tmp_path, (pages.table(),)) as way:
        await way.add("asha", "reviewer")
        token = way.entrance.logins.make("asha")
        session = await way.session(Redeem(token, IP))
        for again in (token, "", "x" * 32):
            assert (await way.refused(Redeem(again, IP))).code == 1
        who = await way.who(session)
        assert (who["fresh"], who["password"], who["totp"]) == (True, False, False)
        error = await way.refused(FindHeld(), session)
        assert error.code == FORBIDDEN
        assert "set up" in str(error)
        assert not pages.asked
        for request in (AddToken("x", ("list",), 2e9), ListUsers()):
            assert isinstance(await way.refused(request, session), Forbidden)
        await way.ask(session, SetPassword(PASSWORD))
        uri = (await way.row(session, BeginTotp()))["uri"]
        assert uri.startswith("otpauth://totp/gw1.dept.gov.in:asha?")
        assert (await way.refused(ConfirmTotp("000000"), session)).code == 1
        secret = (await way.row(session, BeginTotp()))["secret"]
        await way.ask(session, ConfirmTotp(way.code(secret)))
        assert (await way.who(session))["fresh"] is False
        assert await way.ask(session, FindHeld()) == Rows(())


async def test_W13_a_login_ends_with_the_next_one_and_with_the_person(tmp_path: Path) -> None:
    async with Way(tmp_path) as way:
        await way.add("asha", "reviewer")
        first, second = way.entrance.logins.make("asha"), way.entrance.logins.make("asha")
        await way.refused(Redeem(first, IP))
        await way.root(ChangeUser("asha", disabled=True))
        await way.refused(Redeem(second, IP))
        await way.root(ChangeUser("asha", disabled=False))
        await way.refused(Redeem(second, IP))
        late = way.entrance.logins.make("asha")
        way.clocks.advance(601)
        await way.refused(Redeem(late, IP))


# --- one's own account ------------------------------------------------------------------------------------------------


async def test_a_new_password_needs_the_old_one_and_ends_the_other_sessions(tmp_path: Path) -> None:
    async with Way(tmp_path) as way:
        first, secret = await way.person("asha", "reviewer")
        second = await way.sign_in("asha", secret)
        new = "another-lotus-in-the-pond"
        assert "old password" in str(await way.refused(SetPassword(new), second))
        assert "old password" in str(await way.refused(SetPassword(new, "wrong"), second))
        assert "old password" in str(await way.refused(SetPassword(new), first)), "the one-time login has set one already"
        await way.ask(second, SetPassword(new, PASSWORD))
        assert (await way.who(second))["name"] == "asha"
        assert isinstance(await way.refused(WhoAmI(), first), NotSignedIn)
        way.clocks.advance(60)
        await way.refused(SignIn("asha", PASSWORD, way.code(secret), "10.0.0.9"))
        assert await way.sign_in("asha", secret, new)


async def test_the_old_password_cannot_be_guessed_in_a_session(tmp_path: Path) -> None:
    async with Way(tmp_path) as way:
        _, secret = await way.person("asha", "reviewer")
        session = await way.sign_in("asha", secret)
        for number in range(10):
            await way.refused(SetPassword("another-lotus-in-the-pond", f"guess-{number}"), session)
        assert "too many" in str(await way.refused(SetPassword("another-lotus-in-the-pond", PASSWORD), session))


async def test_codes_are_changed_only_soon_after_a_sign_in(tmp_path: Path) -> None:
    async with Way(tmp_path) as way:
        _, secret = await way.person("asha", "reviewer")
        session = await way.sign_in("asha", secret)
        way.clocks.advance(600)
        await way.who(session)
        way.clocks.advance(600)
        assert isinstance(await way.refused(BeginTotp(), session), Forbidden)
        session = await way.sign_in("asha", secret)
        new = (await way.row(session, BeginTotp()))["secret"]
        way.clocks.advance(60)
        assert await way.sign_in("asha", secret), "the old codes hold until the new ones were shown"
        await way.ask(session, ConfirmTotp(way.code(new)))
        way.clocks.advance(60)
        await way.refused(SignIn("asha", PASSWORD, way.code(secret), "10.0.0.9"))
        assert await way.sign_in("asha", new)


async def test_secrets_are_sealed_in_the_store_and_hidden_in_what_is_logged(tmp_path: Path) -> None:
    async with Way(tmp_path) as way:
        _, secret = await way.person("asha", "reviewer")
        row = await way.store.reviewing.credentials("asha")
        assert row is not None
        assert secret.encode() not in row.totp
        assert row.password.startswith("$argon2id$")
        for request in (SetPassword(PASSWORD, "old-old"), SignIn("asha", PASSWORD, "123456"), Redeem("tok-en"), EndOidc("co-de", "sta-te")):
            assert not any(word in repr(request) for word in (PASSWORD, "old-old", "123456", "tok-en", "co-de", "sta-te")), request


@pytest.mark.parametrize(
    ("password", "good"),
    [
        ("short", False), ("eleven-char", False), ("x" * 129, False), ("a" * 12, False), ("abababababab", False),
        ("123456789012", False), ("qwertyuiopas", False), ("password1234", False), ("Password@1234!", False), ("admin password", False),
        ("asha.verma12", False), ("asha.verma@dept", False), ("tab\tin the middle", False), ("nul\0in the middle", False),
        ("heron-lotus-banyan", True), ("कमल नदी पीपल सारस", True), ("correct horse battery", True), ("X7#kq9!mPz2w", True),
        ("verma goes to the river", True),
    ],
)  # fmt: skip
def test_which_passwords_will_do(password: str, good: bool) -> None:
    assert (password_rules.lacking(password, "asha.verma", "asha.verma@dept.gov.in") == "") is good


async def test_language(tmp_path: Path) -> None:
    async with Way(tmp_path) as way:
        session, _ = await way.person("asha", "reviewer")
        await way.ask(session, SetLanguage("hi"))
        assert (await way.who(session))["language"] == "hi"
        assert (await way.refused(SetLanguage("../../x"), session)).code == 2


# --- the login of a mailbox -------------------------------------------------------------------------------------------


async def test_an_officer_sees_his_own_mail_and_nothing_else(tmp_path: Path) -> None:
    pages = Pages()
    async with Way(tmp_path, (pages.table(),)) as way:
        await way.refused(SignIn("so@dept.gov.in", "wrong", officer=True))
        session = await way.session(SignIn("so@dept.gov.in", "mailbox-password", client_ip=IP, officer=True))
        who = await way.who(session)
        assert (who["kind"], who["name"], who["acts"], who["grants"]) == ("officer", "so@dept.gov.in", {}, [])
        await way.ask(session, MyMail())
        (asked,) = pages.asked
        assert asked.officer
        assert asked.senders == ("so@dept.gov.in", "budget@dept.gov.in")
        for request in (FindHeld(), ListUsers(), AddToken("x", ("list",), 2e9), SetPassword(PASSWORD), BeginTotp(), ListTokens()):
            assert isinstance(await way.refused(request, session), Forbidden), request
        assert [one.door for one in way.mailboxes.asked] == ["web", "web"]
        await way.ask(session, SignOut(everywhere=True))
        assert isinstance(await way.refused(WhoAmI(), session), NotSignedIn)


async def test_an_officer_is_not_the_reviewer_of_the_same_name(tmp_path: Path) -> None:
    async with Way(tmp_path) as way:
        await way.add("so@dept.gov.in", "reviewer", "administrator")
        session = await way.session(SignIn("so@dept.gov.in", "mailbox-password", client_ip=IP, officer=True))
        assert isinstance(await way.refused(ListUsers(), session), Forbidden)


# --- tokens of the API ------------------------------------------------------------------------------------------------


async def test_a_token_does_what_its_scopes_and_its_owner_both_may(tmp_path: Path) -> None:
    pages = Pages()
    async with Way(tmp_path, (pages.table(),)) as way:
        session, _ = await way.person("asha", "reviewer@home.gov.in", "administrator")
        until = way.clocks.wall + 86400
        made = await way.row(session, AddToken("night job", ("list", "figures"), until))
        token = made["token"]
        assert token.startswith("gwt_")
        assert "token" not in (await way.ask(session, ListTokens())).rows[0]
        kept = await way.store.reviewing.tokens("asha")
        assert kept[0].hash == hash_of(token)
        assert await way.ask(token, FindHeld()) == Rows(())
        assert pages.asked[0].via == "api"
        assert pages.asked[0].scope(Act.LIST) == frozenset({"home.gov.in"})
        assert isinstance(await way.refused(ListUsers(), token), Forbidden), "the owner may, the token may not"
        for request in (SetPassword(PASSWORD, PASSWORD), BeginTotp(), AddToken("more", ("list",), until), DropToken(made["id"]), SignOut()):
            assert isinstance(await way.refused(request, token), Forbidden), request
        await way.root(ChangeUser("asha", grants=("administrator",)))
        assert isinstance(await way.refused(FindHeld(), token), Forbidden), "the token may, the owner may not any more"
        await way.add("bina", "administrator")
        await way.root(ChangeUser("asha", disabled=True))
        assert isinstance(await way.refused(FindHeld(), token), NotSignedIn)


async def test_W17_a_token_ends_when_it_was_said_to_and_when_it_is_dropped(tmp_path: Path) -> None:
    async with Way(tmp_path) as way:
        session, _ = await way.person("asha", "reviewer")
        now = way.clocks.wall
        one = await way.row(session, AddToken("one", ("list",), now + 600))
        two = await way.row(session, AddToken("two", ("list",), now + 6000))
        assert (await way.who(one["token"]))["name"] == "asha"
        way.clocks.advance(600)
        assert isinstance(await way.refused(WhoAmI(), one["token"]), NotSignedIn)
        await way.ask(session, DropToken(two["id"]))
        assert isinstance(await way.refused(WhoAmI(), two["token"]), NotSignedIn)
        assert isinstance(await way.refused(DropToken(two["id"]), session), Absent)
        for request, code in (
            (AddToken("", ("list",), now + 9000), 2), (AddToken("x", (), now + 9000), 2), (AddToken("x", ("everything",), now + 9000), 2),
            (AddToken("x", ("list",), now), 2), (AddToken("x", ("list",), now + 800 * 86400), 2),
            (AddToken("x", ("list",), float("nan")), 2), (AddToken("x", ("users",), now + 9000), FORBIDDEN),
        ):  # fmt: skip
            assert (await way.refused(request, session)).code == code, request


async def test_W05_nobody_sees_or_ends_the_tokens_of_another(tmp_path: Path) -> None:
    async with Way(tmp_path) as way:
        asha, _ = await way.person("asha", "reviewer")
        bina, _ = await way.person("bina", "reviewer")
        made = await way.row(asha, AddToken("mine", ("list",), way.clocks.wall + 900))
        assert (await way.ask(bina, ListTokens())).rows == ()
        there, none = await way.refused(DropToken(made["id"]), bina), await way.refused(DropToken("no-such-id"), bina)
        assert (str(there), there.code) == (str(none), none.code)
        assert (await way.who(made["token"]))["name"] == "asha"


async def test_O15_noting_the_use_of_a_token_brings_none_back_that_was_ended(tmp_path: Path) -> None:
    async with Way(tmp_path) as way:
        session, _ = await way.person("asha", "reviewer")
        made = await way.row(session, AddToken("mine", ("list",), way.clocks.wall + 90_000))
        for _ in range(20):
            way.clocks.advance(10)
            await asyncio.gather(way.ask(made["token"], WhoAmI()), way.ask(session, ListTokens()), return_exceptions=True)
        await asyncio.gather(way.ask(session, DropToken(made["id"])), way.ask(made["token"], WhoAmI()), return_exceptions=True)
        assert await way.store.reviewing.tokens("asha") == []


async def test_the_use_of_a_token_is_written_at_most_once_an_hour(tmp_path: Path) -> None:
    async with Way(tmp_path) as way:
        session, _ = await way.person("asha", "reviewer")
        token = (await way.row(session, AddToken("mine", ("list",), way.clocks.wall + 90_000)))["token"]
        used = []
        for _ in range(5):
            await way.who(token)
            used.append((await way.store.reviewing.tokens("asha"))[0].used)
            way.clocks.advance(1500)
        assert len(set(used)) == 2


# --- ways -------------------------------------------------------------------------------------------------------------


async def test_the_ways_of_signing_in(tmp_path: Path) -> None:
    async with Way(tmp_path) as way:
        (row,) = (await way.web(SignInWays())).rows
        assert (row["password"], row["oidc"], row["officer"]) == (True, "", False)
        for request in (BeginOidc(), EndOidc("x", "y", IP)):
            assert (await way.refused(request)).code == 1


def test_a_person_has_no_secret_in_his_text_form() -> None:
    shown = repr(Who("asha", session=hash_of("x")))
    assert "x'" not in shown
    assert {field.name for field in dataclasses.fields(Who)} >= {"name", "grants", "senders"}

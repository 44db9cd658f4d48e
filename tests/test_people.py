"""People as administrators see and change them: within their departments, never themselves, never the last one."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from gateway.ipc import Credentials
from gateway.keeper import accounts
from gateway.keeper.access import Absent, Forbidden, NotSignedIn, Who
from gateway.keeper.accounts import Accounts
from gateway.keeper.exceptions import Wrong
from gateway.requests import AddUser, ListUsers, Rows
from gateway.review import AddToken, BeginTotp, ChangeUser, FindHeld, InviteUser, Redeem, SetPassword, SignIn, WhoAmI
from gateway.roles import Act, Role
from gateway.stores.base import Batch, UserRow
from tests.people_kit import IP, PASSWORD, Way, cheap_hashes


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    cheap_hashes(monkeypatch)


async def listing(_: FindHeld, who: Who) -> Rows:
    scope = who.scope(Act.LIST)
    return Rows(({"within": None if scope is None else sorted(scope)},))


TABLE: Any = {FindHeld: (Act.LIST, listing)}


# --- adding -----------------------------------------------------------------------------------------------------------


async def test_usual_roles_of_a_new_person(tmp_path: Path) -> None:
    async with Way(tmp_path) as way:
        await way.add("asha")
        await way.add("bina", department="Home.gov.in")
        await way.add("chand", "auditor", "viewer@home.gov.in", "auditor@*")
        rows = {row["name"]: row for row in await way.root(ListUsers())}
        assert rows["asha"]["grants"] == ["reviewer@*", "second-approver@*"]
        assert rows["bina"]["grants"] == ["reviewer@home.gov.in", "second-approver@home.gov.in"]
        assert rows["chand"]["grants"] == ["auditor@*", "viewer@home.gov.in"]
        assert not any(rows["asha"][way] for way in ("password", "totp", "oidc", "disabled"))
        (added, *_) = await way.said("user-added")
        assert added["gateway"]["act"]["grants"] == ["reviewer@*", "second-approver@*"]


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (AddUser("two words"), "printable"), (AddUser(""), "printable"), (AddUser("x" * 65), "printable"), (AddUser("a\0b"), "printable"),
        (AddUser("../etc"), "printable"), (AddUser("a<b"), "printable"), (AddUser("ASHA"), "already"), (AddUser("ａｓｈａ"), "already"),
        (AddUser("b", "daemon"), "one person"), (AddUser("b", email="ASHA@dept.gov.in"), "one person"),
        (AddUser("b", grants=("emperor",)), "no role"), (AddUser("b", grants=("reviewer@a b",)), "domain"),
        (AddUser("b", email="x" * 400), "too long"), (AddUser("b", grants=("viewer",) * 51), "at most"),
        (AddUser("b", department="a b"), "domain"),
    ],
)  # fmt: skip
async def test_who_cannot_be_added(tmp_path: Path, request_: AddUser, text: str) -> None:
    async with Way(tmp_path) as way:
        await way.add("asha", system_user="daemon", email="asha@dept.gov.in")
        with pytest.raises(Wrong, match=text):
            await way.root(request_)
        assert len(await way.root(ListUsers())) == 1


# --- changing ---------------------------------------------------------------------------------------------------------


async def test_W13_a_changed_role_holds_at_the_next_request(tmp_path: Path) -> None:
    async with Way(tmp_path, (TABLE,)) as way:
        admin, _ = await way.person("root-admin", "administrator")
        session, _ = await way.person("asha", "reviewer")
        assert await way.row(session, FindHeld()) == {"within": None}
        await way.ask(admin, ChangeUser("asha", grants=("reviewer@home.gov.in",)))
        assert await way.row(session, FindHeld()) == {"within": ["home.gov.in"]}
        await way.ask(admin, ChangeUser("asha", grants=("administrator",)))
        assert isinstance(await way.refused(FindHeld(), session), Forbidden)
        await way.ask(admin, ChangeUser("asha", grants=()))
        assert (await way.who(session))["acts"] == {}
        await way.ask(admin, ChangeUser("asha", disabled=True))
        assert isinstance(await way.refused(WhoAmI(), session), NotSignedIn)
        await way.ask(admin, ChangeUser("asha", disabled=False))
        assert isinstance(await way.refused(WhoAmI(), session), NotSignedIn), "a session that has ended stays ended"
        changes = [row["gateway"]["act"]["changed"] for row in await way.said("user-changed")]
        assert changes[-2:] == [{"disabled": True}, {"disabled": False}]


async def test_W13_a_role_that_is_taken_while_the_people_are_read_is_gone(tmp_path: Path) -> None:
    """A reading that began before a change must not be kept after it."""
    async with Way(tmp_path, (TABLE,)) as way:
        session, _ = await way.person("asha", "reviewer")
        for _ in range(25):
            await asyncio.gather(way.root(ChangeUser("asha", grants=("viewer",))), *(way.ask(session, FindHeld()) for _ in range(5)))
            assert (await way.who(session))["grants"] == ["viewer@*"]
            await way.root(ChangeUser("asha", grants=("reviewer",)))


async def test_W13_nobody_changes_his_own_roles_and_the_last_administrator_stays(tmp_path: Path) -> None:
    async with Way(tmp_path) as way:
        session, _ = await way.person("meera", "administrator", "viewer")
        for grants in (("administrator", "viewer", "reviewer"), ("administrator",), ()):
            assert isinstance(await way.refused(ChangeUser("meera", grants=grants), session), Forbidden)
        assert "last administrator" in str(await way.refused(ChangeUser("meera", disabled=True), session))
        await way.ask(session, ChangeUser("meera", email="meera@dept.gov.in"))
        with pytest.raises(Wrong, match="last administrator"):
            await way.root(ChangeUser("meera", grants=("viewer",)))
        await way.ask(session, AddUser("nila", grants=("administrator@home.gov.in",)))
        still = await way.refused(ChangeUser("meera", disabled=True), session)
        assert "last administrator" in str(still), "one of a department is not one of all"
        await way.ask(session, AddUser("omar", grants=("administrator",)))
        await way.ask(session, ChangeUser("meera", disabled=True))
        assert isinstance(await way.refused(WhoAmI(), session), NotSignedIn)


async def test_W13_two_administrators_who_disable_each_other_at_once_leave_one(tmp_path: Path) -> None:
    async with Way(tmp_path) as way:
        one, _ = await way.person("one", "administrator")
        two, _ = await way.person("two", "administrator")
        said = await asyncio.gather(
            way.ask(one, ChangeUser("two", disabled=True)), way.ask(two, ChangeUser("one", disabled=True)), return_exceptions=True
        )
        assert sorted(type(answer).__name__ for answer in said) == ["Rows", "Wrong"]
        assert sorted(row["disabled"] for row in await way.root(ListUsers())) == [False, True]


async def test_W05_an_administrator_of_one_department_sees_and_changes_no_other(tmp_path: Path) -> None:
    async with Way(tmp_path) as way:
        session, _ = await way.person("ina", "administrator@home.gov.in", department="home.gov.in")
        await way.add("asha", department="home.gov.in")
        await way.add("tax", department="finance.gov.in")
        await way.add("everywhere")
        await way.add("both", "viewer@home.gov.in", "auditor@finance.gov.in", department="home.gov.in")
        assert [row["name"] for row in (await way.ask(session, ListUsers())).rows] == ["asha", "ina"]
        await way.ask(session, ChangeUser("asha", grants=("viewer@home.gov.in",)))
        none = await way.refused(ChangeUser("nobody", disabled=True), session)
        for name in ("tax", "everywhere"):
            for request in (ChangeUser(name, disabled=True), InviteUser(name)):
                there = await way.refused(request, session)
                assert isinstance(there, Absent)
                assert (str(there), there.code) == (str(none), none.code)
        for request in (
            ChangeUser("asha", grants=("viewer",)), ChangeUser("asha", grants=("viewer@finance.gov.in",)),
            ChangeUser("asha", department="finance.gov.in"), ChangeUser("both", disabled=True), InviteUser("both"),
            AddUser("new"), AddUser("new", department="finance.gov.in"), AddUser("new", department="home.gov.in", grants=("viewer",)),
            AddUser("new", "daemon", department="home.gov.in"),
        ):  # fmt: skip
            assert isinstance(await way.refused(request, session), Forbidden), request
        await way.ask(session, AddUser("new", department="home.gov.in"))


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.ADMINISTRATOR])
async def test_W16_no_other_role_sees_or_changes_people(tmp_path: Path, role: Role) -> None:
    async with Way(tmp_path) as way:
        session, _ = await way.person("asha", role)
        for request in (ListUsers(), AddUser("b"), ChangeUser("asha", grants=("administrator",)), InviteUser("asha")):
            assert isinstance(await way.refused(request, session), Forbidden)


# --- inviting ---------------------------------------------------------------------------------------------------------


async def test_W13_an_invitation_ends_all_that_was_before(tmp_path: Path) -> None:
    async with Way(tmp_path) as way:
        admin, _ = await way.person("meera", "administrator")
        session, secret = await way.person("asha", "reviewer")
        token = (await way.row(session, AddToken("mine", ("list",), way.clocks.wall + 9000)))["token"]
        link = (await way.row(admin, InviteUser("asha")))["token"]
        for credential in (session, token):
            assert isinstance(await way.refused(WhoAmI(), credential), NotSignedIn)
        await way.refused(SignIn("asha", PASSWORD, way.code(secret), IP))
        fresh = await way.session(Redeem(link, IP))
        assert (await way.who(fresh))["fresh"] is True
        await way.refused(Redeem(link, IP))
        await way.ask(fresh, SetPassword("a new heron by the lake"))
        assert isinstance(await way.refused(InviteUser("meera"), admin), Forbidden)
        await way.ask(admin, ChangeUser("asha", disabled=True))
        assert "disabled" in str(await way.refused(InviteUser("asha"), admin))
        (said,) = await way.said("user-invited")
        assert link not in str(said)


# --- system users -----------------------------------------------------------------------------------------------------


async def test_who_may_act_as_whom(tmp_path: Path) -> None:
    async with Way(tmp_path) as way:
        people = Accounts(way.store)
        other, name = Credentials(1, 65534, 65534), accounts.system_name(65534)
        rows = [UserRow("asha", name, "", "", 1, ("viewer@*",)), UserRow("bina", "daemon", "", "", 1, ("administrator@*",))]
        await way.store.write(Batch(users=rows))
        for asked in ("", "asha"):
            who = await people.who(other, asked)
            assert (who.name, who.by, who.via, who.trusted) == ("asha", name, "cli", False)
            assert who.may(Act.LIST)
            assert not who.may(Act.CONTENT)
        with pytest.raises(Wrong, match="may not act as bina"):
            await people.who(other, "bina")
        with pytest.raises(Forbidden):
            await way.entrance.for_admin(ListUsers(), other)
        with pytest.raises(Wrong, match="no reviewer is mapped"):
            await people.who(Credentials(1, 1_234_567, 0))
        for uid in (0, os.geteuid()):
            root = await people.who(Credentials(1, uid, 0))
            assert root.trusted
            assert all(root.may(act, "anything") for act in Act)
            as_bina = await people.who(Credentials(1, uid, 0), "bina")
            assert (as_bina.name, as_bina.by, as_bina.trusted) == ("bina", accounts.system_name(uid), False)
            assert not as_bina.may(Act.CONTENT), "as somebody, root has that person's roles"
        with pytest.raises(Wrong, match="no reviewer is mapped"):
            await people.person(Credentials(1, 0, 0), "")
        await way.root(ChangeUser("asha", disabled=True))
        for asked in ("", "asha"):
            with pytest.raises(Wrong):
                await people.who(other, asked)


async def test_a_role_of_a_later_version_gives_nothing(tmp_path: Path) -> None:
    async with Way(tmp_path) as way:
        await way.store.write(Batch(users=[UserRow("asha", "", "", "", 1, ("emperor@*", "viewer@home.gov.in"))]))
        session = await way.one_time("asha")
        assert (await way.who(session))["grants"] == ["viewer@home.gov.in"]


async def test_O22_codes_and_remarks_go_with_the_vault_key_when_it_changes(tmp_path: Path) -> None:
    from gateway.keeper.rotation import Rotation
    from gateway.stores.reviewed import RemarkKind, RemarkRow, ReviewBatch
    from gateway.vault import vault
    from gateway.vault.vault import Vault

    async with Way(tmp_path) as way:
        session, secret = await way.person("asha", "reviewer")
        await way.row(session, BeginTotp())
        both = way.entrance._entry._secrets._vault
        remark = RemarkRow("r1", "h1", "REF", 1.0, "asha", RemarkKind.NOTE, both.seal_field("r1", "a note"), "")
        await way.store.write(Batch(review=ReviewBatch(remarks=(remark,))))
        old = both.current
        assert (await way.store.needing_key(old, vault.field_prefix(old)))[1] == 2
        both.adopt(Vault({"k1": b"\x07" * 32, "k2": b"\x08" * 32}, "k2"))
        rotation = Rotation(way.config, way.store, both, way.clocks.time)
        assert await rotation._pass() == 2
        assert await way.store.needing_key(old, vault.field_prefix(old)) == (0, 0)
        both.adopt(Vault({"k2": b"\x08" * 32}, "k2"))
        assert await way.sign_in("asha", secret)
        (kept,) = await way.store.reviewing.remarks("REF")
        assert both.open_field("r1", kept.text) == b"a note"

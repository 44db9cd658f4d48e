"""Profiles: who may turn one on, for how long, and what is in force while it is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from gateway.keeper.exceptions import LONGEST_PROFILE, Wrong
from gateway.levels import Level
from gateway.policy import decide, register
from gateway.requests import AddException, Committed, EndProfile, Exceptions, ProfileRow, Stale, StartProfile
from gateway.verdict import Disposition
from tests.keeper_kit import NOW, Room, inspection, recipient, transaction, verdict

DAY = 86400.0


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    made = await Room(tmp_path).open()
    yield made
    await made.close()


def asked(**changes: object) -> StartProfile:
    given = {"name": "disaster", "reason": "flood in the valley", "requester": "asha", "approver": "bina", "expires": NOW + 2 * DAY}
    return StartProfile(**(given | changes))  # type: ignore[arg-type]


def on(room: Room, at: float) -> str:
    return register.profile(room.register.current, register.DISASTER, at)


async def test_a_profile_is_on_at_once_and_changes_the_version(room: Room) -> None:
    empty = room.version
    row = await room.register.start(asked(), "root")
    assert room.register.current.profiles == (row,)
    assert room.version != empty
    assert room.store.exceptions_version == room.version
    assert on(room, NOW) == row.id
    line = (await room.lines())[-1]
    assert (line["event"]["action"], line["user"]["name"], line["event"]["reason"]) == ("profile-started", "root", "flood in the valley")
    assert line["gateway"]["act"] == {
        "approver": "bina", "expires": int(NOW + 2 * DAY), "name": "disaster", "profile": row.id, "requester": "asha",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"approver": "asha"}, 1, "approver"),
        ({"approver": " ASHA "}, 1, "approver"),
        ({"approver": "\uff41sha"}, 1, "approver"),
        ({"approver": "\u0430sha"}, 1, "approver"),
        ({"requester": "asha rao", "approver": "asha  rao."}, 1, "approver"),
        ({"requester": ""}, 2, "requester is missing"),
        ({"approver": " "}, 2, "approver is missing"),
        ({"reason": ""}, 2, "reason is missing"),
        ({"reason": "a\nb"}, 2, "printed"),
        ({"name": "holiday"}, 2, "no profile 'holiday'"),
        ({"expires": NOW}, 2, "future"),
        ({"expires": NOW + LONGEST_PROFILE + 1}, 2, "30 days"),
        ({"expires": float("inf")}, 2, "30 days"),
        ({"expires": float("nan")}, 2, "30 days"),
    ],
)
async def test_profiles_that_are_not_started(room: Room, changes: dict[str, object], code: int, words: str) -> None:
    with pytest.raises(Wrong, match=words) as caught:
        await room.register.start(asked(**changes), "root")
    assert caught.value.code == code
    assert room.register.current.profiles == ()
    assert await room.store.profiles(all=True) == []


async def test_a_decision_under_the_version_before_is_stale(room: Room) -> None:
    before = room.version
    await room.register.start(asked(), "root")
    assert isinstance(await room.commit(transaction(), verdict(before, recipient("desk@finance.nic.in"))), Stale)
    tx = transaction()
    assert isinstance(await room.commit(tx, verdict(room.version, recipient("desk@finance.nic.in"))), Committed)
    during = room.version
    await room.register.finish(EndProfile("disaster"), "root")
    assert isinstance(await room.commit(transaction(), verdict(during, recipient("desk@finance.nic.in"))), Stale)


async def test_it_is_over_by_the_clock_with_and_without_a_word_from_the_keeper(room: Room) -> None:
    empty = room.version
    row = await room.register.start(asked(), "root")
    assert room.register.first_end == row.expires
    assert on(room, row.expires - 1) == row.id
    assert on(room, row.expires) == "", "a door that was not told knows it all the same"
    room.now = row.expires
    assert await room.register.expire() == 1
    assert await room.register.expire() == 0
    assert (room.version, room.register.current.profiles) == (empty, ())
    assert [line["event"]["action"] for line in await room.lines()].count("profile-expired") == 1
    assert [one.state for one in await room.store.profiles(all=True)] == ["expired"]


async def test_it_ends_early_by_id_or_all_of_a_name(room: Room) -> None:
    first = await room.register.start(asked(), "root")
    second = await room.register.start(asked(expires=NOW + 5 * DAY), "root")
    assert on(room, NOW) == second.id, "of several the one that ends last"
    assert [row.id for row in await room.register.finish(EndProfile(second.id, "enough"), "asha")] == [second.id]
    assert on(room, NOW) == first.id
    await room.register.start(asked(expires=NOW + 3 * DAY), "root")
    assert len(await room.register.finish(EndProfile("disaster", "all well"), "asha")) == 2
    assert on(room, NOW) == ""
    with pytest.raises(Wrong, match="is on"):
        await room.register.finish(EndProfile("disaster"), "asha")
    line = (await room.lines())[-1]
    assert (line["event"]["action"], line["event"]["reason"], line["user"]["name"]) == ("profile-ended", "all well", "asha")


async def test_profiles_and_exceptions_survive_a_restart_and_end_each_at_its_time(room: Room, tmp_path: Path) -> None:
    row = await room.register.start(asked(), "root")
    entry = await room.register.add(AddException("a@dept.gov.in", "*", "why", "asha", "bina", NOW + 100), "root")
    version = room.version
    await room.close()
    again = await Room(tmp_path).open()
    assert (again.version, again.register.current.profiles, again.register.current.rows) == (version, (row,), (entry,))
    assert again.store.exceptions_version == version
    again.now = NOW + 100
    assert await again.register.expire() == 1
    assert (again.register.current.profiles, again.register.current.rows) == ((row,), ())
    await again.close()
    late = Room(tmp_path)
    late.now = NOW + 3 * DAY
    await late.open()
    assert late.register.current.profiles == (), "its time passed while nobody was there"
    await late.close()


def test_a_profile_is_read_by_name_state_and_time() -> None:
    def row(**changes: object) -> ProfileRow:
        given = {"id": "p", "name": "disaster", "reason": "", "requester": "", "approver": "", "created": 10.0, "expires": 20.0}
        return ProfileRow(**(given | changes))  # type: ignore[arg-type]

    def found(at: float, *rows: ProfileRow) -> str:
        return register.profile(Exceptions("v", (), rows), "disaster", at)

    assert found(15) == ""
    assert found(10, row()) == "p"
    assert found(9.9, row()) == ""
    assert found(20, row()) == ""
    assert found(15, row(state="ended")) == ""
    assert found(15, row(name="other")) == ""


async def test_R31_a_disaster_relaxes_the_rule_for_unclassified_mail_and_for_nothing_classified(room: Room) -> None:
    def decided(level: Level | None) -> Disposition:
        tx = replace(transaction("control.room@whatsapp.com"), received_at=room.now)
        return decide.decide(tx, inspection(attached=level), room.policy, room.register.current, room.config).recipients[0].disposition

    assert decided(None) is Disposition.REFUSE
    await room.register.start(asked(), "root")
    assert decided(None) is Disposition.HOLD, "the baseline leaves it to a rule of a pack"
    for level in (Level.RESTRICTED, Level.CONFIDENTIAL, Level.SECRET, Level.TOP_SECRET):
        assert decided(level) is Disposition.REFUSE
    room.now += 2 * DAY
    assert decided(None) is Disposition.REFUSE, "over by itself"

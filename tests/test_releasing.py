"""Who may release what, two at once, and what the rules of now say of it."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from gateway.config import Relay
from gateway.keeper.access import Absent, Forbidden, Who
from gateway.keeper.exceptions import Wrong
from gateway.levels import Level
from gateway.requests import ExportHeld, RefuseHeld, ReleaseHeld, ShowHeld
from gateway.review import AskOfficer, Colleagues, DecideAgain, ForwardHeld, ReclassifyHeld
from gateway.roles import Act
from gateway.stores.base import Batch, HoldState, HoldUpdate, MessageRow
from gateway.verdict import Disposition
from tests.held_mail import DESK, HEAD, PEOPLE, WHO, held, record, staffed
from tests.keeper_kit import Room, recipient, transaction, verdict


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    made = await staffed(tmp_path)
    yield made
    await made.close()


async def ask(room: Room, request: Any, who: Who) -> Any:
    """The answer to *request*, as reception asks for it."""
    act, handler = room.quarantine.table()[type(request)]
    if act is not None:
        who.need(act)
    return await handler(request, who)


def every(id: str) -> list[Any]:
    """One request of each kind about one record."""
    return [
        ShowHeld(id), ReleaseHeld(id, "x"), RefuseHeld(id, "x"), ExportHeld(id, "x"), AskOfficer(id, "x"),
        ReclassifyHeld(id, "SECRET", "x"), ForwardHeld(id, "asha", "x"), DecideAgain(id), DecideAgain(id, True, "x"), Colleagues(id),
    ]  # fmt: skip


async def test_W05_another_departments_record_is_as_absent_as_none(room: Room) -> None:
    reference = await held(room)
    hold = await record(room, reference)
    strange = ["nothing", "", "../" + reference, reference + "%00", reference + "\x00", "\u0660" * 26, "x" * 1_000_000, reference.lower()]
    for mine, none in itertools.chain(
        zip(every(reference), every("01AAAAAAAAAAAAAAAAAAAAAAAA"), strict=True), zip(every(hold.id), every(hold.id[:-1] + "g"), strict=True)
    ):
        said = []
        for request in (mine, none):
            with pytest.raises(Absent) as caught:
                await ask(room, request, WHO["other"])
            said.append((str(caught.value), caught.value.code))
        assert said[0] == said[1], type(mine)
    for id in strange:
        for who in (WHO["asha"], WHO["other"]):
            for request in every(id):
                with pytest.raises(Absent):
                    await ask(room, request, who)
    assert (await record(room, reference)) == hold


@pytest.mark.parametrize(
    ("name", "permitted"),
    [
        ("rev", {ShowHeld, ReleaseHeld, RefuseHeld, ExportHeld, AskOfficer, ReclassifyHeld, ForwardHeld, DecideAgain, Colleagues}),
        ("app", {ShowHeld, ExportHeld, Colleagues}),
        ("viewer", {ShowHeld}),
        ("auditor", {ShowHeld, ExportHeld}),
        ("admin", set[type]()),
    ],
)
async def test_each_role_does_what_it_may_and_no_more(room: Room, name: str, permitted: set[type]) -> None:
    for request in every("x"):
        # Each record is fresh: an act would change what the next one finds.
        reference = await held(room, level=Level.RESTRICTED)
        asked = structs.replace(request, id=reference)
        try:
            await ask(room, asked, WHO[name])
            done = True
        except (Forbidden, Absent):
            done = False
        except Wrong as error:
            assert "hold this message for everybody" in str(error)
            done = True
        assert done == (type(request) in permitted), (name, request)


async def test_the_first_yes_is_a_reviewers_and_the_second_an_approvers(room: Room) -> None:
    reference = await held(room)
    with pytest.raises(Forbidden, match="a reviewer has to approve first"):
        await room.quarantine.release(reference, "x", (), WHO["app"])
    assert await room.quarantine.release(reference, "seen", (), WHO["rev"]) == "approved 1 of 2"
    with pytest.raises(Forbidden, match="role of second approver"):
        await room.quarantine.release(reference, "me too", (), WHO["rev2"])
    with pytest.raises(Absent):
        await room.quarantine.release(reference, "x", (), WHO["other"])
    with pytest.raises(Forbidden):
        await room.quarantine.release(reference, "x", (), WHO["viewer"])
    assert (await room.quarantine.release(reference, "agreed", (), WHO["app"])).startswith("released")
    assert room.relay.recipients == [DESK]


async def test_a_person_with_both_roles_gives_one_of_the_two_under_whatever_name(room: Room) -> None:
    reference = await held(room)
    await room.quarantine.release(reference, "seen", (), WHO["asha"])
    for same in (WHO["asha"], replace(WHO["bina"], email="ASHA@dept.gov.in")):
        with pytest.raises(Wrong, match="another person"):
            await room.quarantine.release(reference, "again", (), same)
    assert room.relay.offered == []


@pytest.mark.parametrize("act", ["release", "refuse", "expire", "level"])
async def test_W07_nobody_decides_over_what_another_keeper_has_just_done(room: Room, act: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = await held(room, DESK, HEAD, level=Level.RESTRICTED)
    row, find = await record(room, reference), room.store.message

    async def meanwhile(message_id: str) -> MessageRow | None:
        """Another keeper releases to one of two: the state stays what it was."""
        await room.store.write(Batch(hold_updates=[HoldUpdate(row.id, (HoldState.HELD,), HoldState.HELD, room.now + 1, released=(DESK,))]))
        return await find(message_id)

    monkeypatch.setattr(room.store, "message", meanwhile)
    acts: dict[str, Callable[[], Awaitable[object]]] = {
        "release": lambda: room.quarantine.release(reference, "x", (), WHO["rev"]),
        "refuse": lambda: ask(room, RefuseHeld(reference, "x"), WHO["rev"]),
        "expire": lambda: room.quarantine.expire(row),
        "level": lambda: ask(room, ReclassifyHeld(reference, "CONFIDENTIAL", "x"), WHO["rev"]),
    }
    with pytest.raises(Wrong, match="somebody else has just decided"):
        await acts[act]()
    assert room.relay.offered == []
    assert structs.replace(await record(room, reference), updated=0) == structs.replace(row, released=(DESK,), updated=0)


async def test_W13_the_yes_of_somebody_who_lost_his_role_counts_no_more(room: Room) -> None:
    reference = await held(room)
    await room.quarantine.release(reference, "seen", (), WHO["rev"])
    for changed in (structs.replace(PEOPLE["rev"], disabled=True), structs.replace(PEOPLE["rev"], grants=("viewer@*",))):
        await room.store.write(Batch(users=[changed]))
        with pytest.raises(Forbidden, match="a reviewer has to approve first"):
            await room.quarantine.release(reference, "agreed", (), WHO["app"])
    await room.store.write(Batch(users=[PEOPLE["rev"]]))
    assert (await room.quarantine.release(reference, "agreed", (), WHO["app"])).startswith("released")


@pytest.mark.parametrize(
    ("sender", "login", "who"),
    [
        ("so@dept.gov.in", "", Who("x", "so@dept.gov.in")),
        ("so@dept.gov.in", "", Who("x", " SO@Dept.gov.in ")),
        ("so+notes@dept.gov.in", "", Who("x", "so@dept.gov.in")),
        ("so@dept.gov.in", "", Who("so@dept.gov.in")),
        ("desk@dept.gov.in", "so@dept.gov.in", Who("x", "so@dept.gov.in")),
        ("desk@dept.gov.in", "so", Who("x", "so@dept.gov.in")),
        ("desk@dept.gov.in", "so", Who("So")),
        ("desk@dept.gov.in", "so", Who("x", "", "so")),
        ("desk@dept.gov.in", "", Who("x", senders=("desk@dept.gov.in",))),
        ("desk@dept.gov.in", "", Who("x", "so@dept.gov.in")),  # From is so@dept.gov.in
    ],
)
async def test_the_sender_releases_nothing_under_any_of_his_names(room: Room, sender: str, login: str, who: Who) -> None:
    who = replace(who, grants=WHO["asha"].grants)
    peer = structs.replace(transaction().peer, user=login)
    reference = await held(room, level=Level.RESTRICTED, sender=sender, peer=peer, verified=True)
    for attempt in (room.quarantine.release(reference, "mine", (), who), ask(room, ReclassifyHeld(reference, "UNCLASSIFIED", "x"), who)):
        with pytest.raises(Forbidden, match="the sender of a message"):
            await attempt
    assert (await room.quarantine.release(reference, "seen", (), WHO["rev"])).startswith("released")


@pytest.mark.slow
async def test_W07_of_a_release_and_a_refusal_at_once_exactly_one_wins(tmp_path: Path) -> None:
    room = await staffed(tmp_path, relay=Relay(two_people_from="never"))
    for attempt in range(100):
        reference = await held(room)
        acts = [
            room.quarantine.release(reference, "seen", (), WHO["rev"]), room.quarantine.refuse(reference, "no", WHO["asha"]),
            room.quarantine.release(reference, "seen", (), WHO["rev2"]), room.quarantine.refuse(reference, "no", WHO["chand"]),
        ]  # fmt: skip
        order = acts[attempt % 4 :] + acts[: attempt % 4]
        done = await asyncio.gather(*order, return_exceptions=True)
        won = [one for one in done if isinstance(one, str)]
        assert len(won) == 1, done
        assert all(isinstance(one, str | Wrong) for one in done)
        assert room.relay.recipients.count(DESK) == won[0].startswith("released"), "delivered once, or never"
    await room.close()


async def test_W07_two_keepers_on_one_store_release_once(room: Room) -> None:
    """Without the lock of one keeper the states of the store decide."""
    for _ in range(20):
        reference = await held(room, level=Level.RESTRICTED)
        one, two = room.quarantine, (await twin(room))
        done = await asyncio.gather(
            one.release(reference, "a", (), WHO["rev"]), two.release(reference, "b", (), WHO["rev2"]), return_exceptions=True
        )
        assert sum(isinstance(each, str) for each in done) == 1, done
        assert room.relay.recipients == [DESK]


async def twin(room: Room) -> Any:
    """Another Quarantine over the same store."""
    parts = (room.config, room.store, room.vault, room.register, room.reports, room.relay, lambda: room.policy)
    return type(room.quarantine)(*parts, room.copies, room.correspondents, lambda: room.now)


def changed(room: Room, reference: str, old: str, new: str) -> None:
    """Changes what was recorded of the facts of the message: as if the lists had changed."""
    db = sqlite3.connect(room.config.state_dir / "gateway.db", timeout=5)
    db.execute("UPDATE messages SET facts = replace(facts, ?, ?) WHERE reference = ?", (old, new, reference))
    db.commit()
    db.close()


async def test_W08_waived_rules_stay_waived_and_every_other_is_asked_again(room: Room) -> None:
    reference = await held(room, DESK, HEAD)
    await room.quarantine.release(reference, "seen", (), WHO["rev"])
    changed(room, reference, DESK, "desk@gmail.com")
    with pytest.raises(Wrong, match="no reviewer can release it"):
        await room.quarantine.release(reference, "agreed", (DESK,), WHO["app"])
    assert (await room.quarantine.release(reference, "agreed", (HEAD,), WHO["app"])).startswith("released")
    assert room.relay.recipients == [HEAD]
    assert (await record(room, reference)).state is HoldState.HELD


async def test_W08_an_approval_is_one_to_these_octets(room: Room) -> None:
    reference = await held(room)
    await room.quarantine.release(reference, "seen", (), WHO["rev"])
    db = sqlite3.connect(room.config.state_dir / "gateway.db", timeout=5)
    db.execute("UPDATE approvals SET sha256 = ?", ("0" * 64,))
    db.commit()
    db.close()
    with pytest.raises(Forbidden, match="a reviewer has to approve first"):
        await room.quarantine.release(reference, "agreed", (), WHO["app"])
    [row] = await room.quarantine.verify("", WHO["asha"])
    assert row["problem"] == "the approval of rev is one to other content"


async def test_a_decision_anew_says_what_holds_it_and_releases_what_nothing_holds(room: Room) -> None:
    reference = await held(room, DESK, HEAD)
    answer = await ask(room, DecideAgain(reference), WHO["rev"])
    assert [(row["address"], row["disposition"], row["released"]) for row in answer.rows] == [(DESK, "hold", False), (HEAD, "hold", False)]
    assert answer.rows[0]["explanation"]["en"]
    assert answer.rows[0]["explanation"]["hi"]
    with pytest.raises(Wrong, match="for everybody"):
        await ask(room, DecideAgain(reference, True, "the lists changed"), WHO["rev"])
    with pytest.raises(Wrong, match="reason"):
        await ask(room, DecideAgain(reference, True, " "), WHO["rev"])
    # The attachment is encrypted after all, by the rules of today.
    changed(room, reference, '"protection":"none"', '"protection":"strong"')
    with pytest.raises(Forbidden, match="sender"):
        await ask(room, DecideAgain(reference, True, "x"), WHO["so"])
    answer = await ask(room, DecideAgain(reference, True, "the lists changed"), WHO["rev"])
    assert [(row["disposition"], row["released"]) for row in answer.rows] == [("deliver", True)] * 2
    assert sorted(room.relay.recipients) == sorted([DESK, HEAD])
    assert (await record(room, reference)).state is HoldState.RELEASED
    log = [line for line in await room.lines() if line["event"]["action"] == "held-decided-again"]
    assert len(log) == 2
    assert {line["gateway"]["act"]["rules"] == [] for line in log} == {True}


async def test_what_was_acted_on_names_the_person_and_the_system_user(room: Room) -> None:
    reference = await held(room, level=Level.RESTRICTED)
    who = replace(WHO["rev"], by="root", via="cli", client_ip="127.0.0.1")
    await room.quarantine.release(reference, "seen", (), who)
    last = [line for line in await room.lines() if line["event"]["action"] == "held-released"][-1]
    assert last["user"]["name"] == "rev"
    assert last["gateway"]["act"]["system_user"] == "root"
    assert last["gateway"]["act"]["via"] == "cli"


async def test_a_scope_of_a_token_limits_the_person(room: Room) -> None:
    reference = await held(room, level=Level.RESTRICTED)
    token = replace(WHO["rev"], scopes=frozenset({Act.LIST}))
    with pytest.raises(Forbidden):
        await room.quarantine.release(reference, "x", (), token)
    assert (await room.quarantine.show(reference, token))["subject"] == ""


async def test_a_record_of_no_department_is_of_those_with_a_role_everywhere(room: Room) -> None:
    tx = transaction("x@elsewhere.example", sender="a@example.com", verified=False, department="")
    await room.commit(tx, verdict(room.version, recipient("x@elsewhere.example", Disposition.HOLD)))
    with pytest.raises(Absent):
        await room.quarantine.show(tx.reference, WHO["rev"])
    assert (await room.quarantine.show(tx.reference, WHO["asha"]))["department"] == ""

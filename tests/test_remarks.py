"""What reviewers say of held mail without ending it, and what each may see of it."""

from __future__ import annotations

import email
import json
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from gateway.config import Relay, Web
from gateway.keeper.access import Absent, Forbidden, Who
from gateway.keeper.exceptions import Wrong
from gateway.keeper.granting import Granting
from gateway.keeper.logbook import Logbook
from gateway.keeper.quarantine import Quarantine
from gateway.levels import Level
from gateway.policy import relevel
from gateway.requests import AddException, ExpireException, ListExceptions, ListQueue, SearchAudit, ShowAudit, ThreadLevels
from gateway.review import AskOfficer, Colleagues, ForwardHeld, ReclassifyHeld
from gateway.roles import Grant
from gateway.stores.base import Batch, HoldState
from gateway.verdict import Disposition, Edit
from tests.held_mail import DESK, HEAD, PEOPLE, WHO, held, record, staffed
from tests.keeper_kit import CONTENT, Room, hold, message, recipient, shipped_policy, transaction, verdict

UNTIL = 3600.0


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    made = await staffed(tmp_path, web=Web(public_url="https://gw.dept.gov.in"))
    yield made
    await made.close()


async def ask(room: Room, request: Any, who: Who) -> Any:
    """The sentence or the rows that answer *request*."""
    tables = {**room.quarantine.table(), **Logbook(room.store).table(), **Granting(room.config, room.store, room.register).table()}
    act, handler = tables[type(request)]
    if act is not None:
        who.need(act)
    answer = await handler(request, who)
    rows = getattr(answer, "rows", ())
    return rows[0]["message"] if rows and set(rows[0]) == {"id", "message"} else rows


def text_of(content: bytes) -> str:
    payload = email.message_from_bytes(content).get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload.decode()


class Page:
    """Makes links as the officer's page does."""

    def url(self, reference: str, originator: str, now: float) -> str:
        return f"https://gw.dept.gov.in/officer/{reference}.{now:.0f}"


# --- asking -----------------------------------------------------------------------------------------------------------


async def test_the_officer_is_asked_by_mail_and_the_message_waits_on(room: Room) -> None:
    parts = (room.config, room.store, room.vault, room.register, room.reports, room.relay, lambda: room.policy)
    room.quarantine = Quarantine(*parts, room.copies, room.correspondents, lambda: room.now, links=Page())
    reference = await held(room)
    assert await ask(room, AskOfficer(reference, "Which  file is\nthe final one?"), WHO["rev"]) == f"asked so@dept.gov.in about {reference}"
    ((rows, content),) = room.relay.offered
    assert [(row.recipient, row.sender, row.notify, row.require_aes256) for row in rows] == [("so@dept.gov.in", "", ("NEVER",), True)]
    said = text_of(content)
    assert "Which file is the final one?" in said
    assert f"https://gw.dept.gov.in/officer/{reference}.{room.now:.0f}" in said
    assert "प्रश्न" in said
    assert b"Auto-Submitted: auto-generated" in content
    assert b"heron" not in content
    assert "heron" not in said
    assert (await record(room, reference)).state is HoldState.HELD
    [remark] = await room.store.reviewing.remarks(reference)
    assert b"final" not in remark.text
    assert room.vault.open_field(remark.id, remark.text) == b"Which file is the final one?"
    log = [line for line in await room.lines() if line["event"]["action"] == "held-asked"]
    assert log
    assert "final" not in json.dumps(log), "the log says that something was asked, not what"


async def test_without_a_page_the_officer_answers_to_the_postmaster(tmp_path: Path) -> None:
    room = await staffed(tmp_path)
    reference = await held(room)
    await ask(room, AskOfficer(reference, "Why?"), WHO["rev"])
    assert "postmaster@dept.gov.in" in text_of(room.relay.offered[0][1])
    await room.close()


async def test_P10_nobody_outside_is_asked(room: Room) -> None:
    stranger = await held(room, "clerk@dept.gov.in", sender="x@example.com", verified=False, suspect=True)
    forged = transaction("clerk@dept.gov.in", verified=False)
    await room.commit(forged, verdict(room.version, recipient("clerk@dept.gov.in", Disposition.HOLD)))
    for reference in (stranger, forged.reference):
        with pytest.raises(Wrong, match="nobody can be asked"):
            await ask(room, AskOfficer(reference, "Why?"), WHO["rev"])
    assert room.relay.offered == []


# --- handing on -------------------------------------------------------------------------------------------------------


async def test_an_item_is_handed_to_a_person_who_may_decide(room: Room) -> None:
    reference = await held(room)
    names = [row["name"] for row in await ask(room, Colleagues(reference), WHO["rev"])]
    assert names == ["app", "asha", "bina", "chand", "rev2", "so"], "neither viewer, auditor, administrator, nor another department's"
    for name in ("viewer", "other", "nobody", "../etc"):
        with pytest.raises(Wrong, match="nobody who may decide"):
            await ask(room, ForwardHeld(reference, name, "please"), WHO["rev"])
    await room.store.write(Batch(users=[structs.replace(PEOPLE["bina"], disabled=True)]))
    with pytest.raises(Wrong, match="nobody who may decide"):
        await ask(room, ForwardHeld(reference, "bina", "please"), WHO["rev"])
    assert await ask(room, ForwardHeld(reference, "app", "the heron file again"), WHO["rev"]) == f"handed {reference} to app"
    found = await record(room, reference)
    assert (found.assigned, found.state) == ("app", HoldState.HELD)
    ((rows, content),) = room.relay.offered
    assert rows[0].recipient == "app@dept.gov.in"
    said = text_of(content)
    assert f"https://gw.dept.gov.in/held/{found.id}" in said
    assert "rev has handed you" in said
    assert "heron" not in said, "neither the subject nor the note leaves the page"
    shown = await room.quarantine.show(reference, WHO["app"])
    assert [(one["kind"], one["to"], one["text"]) for one in shown["remarks"]] == [("forward", "app", "the heron file again")]


async def test_no_mail_goes_to_a_reviewers_address_outside(room: Room) -> None:
    await room.store.write(Batch(users=[structs.replace(PEOPLE["app"], email="app@gmail.com")]))
    reference = await held(room)
    assert "no mail was sent" in await ask(room, ForwardHeld(reference, "app", "please"), WHO["rev"])
    assert room.relay.offered == []


# --- levels -----------------------------------------------------------------------------------------------------------


def labels(room: Room) -> list[str]:
    """The labels that the last delivery writes."""
    row = room.relay.offered[-1][0][0]
    return [edit.value for edit in row.edits if edit.action == "add" and edit.header == "X-Protective-Marking"]


async def test_one_person_raises_a_level_and_the_copies_carry_it(room: Room) -> None:
    reference = await held(room, level=Level.RESTRICTED)
    assert await ask(room, ReclassifyHeld(reference, "confidential", "it names a source"), WHO["rev"]) == f"{reference} is CONFIDENTIAL now"
    assert (await record(room, reference)).level == Level.CONFIDENTIAL
    asked = ThreadLevels(("a@b",), ())
    assert (await room.threads.levels(asked)).thread is Level.CONFIDENTIAL, "an answer is held to the higher level"
    room.now += 1
    assert await room.quarantine.release(reference, "seen", (), WHO["rev"]) == "approved 1 of 2", "two people now"
    await room.quarantine.release(reference, "agreed", (), WHO["app"])
    [label] = labels(room)
    assert "SEC=CONFIDENTIAL" in label
    edits = room.relay.offered[-1][0][0].edits
    assert [edit.value for edit in edits if edit.header == "Subject"] == []
    assert [edit.action for edit in edits if edit.header == "X-Protective-Marking"] == ["remove", "add"]


async def test_a_level_is_lowered_by_two_people(room: Room) -> None:
    reference = await held(room)
    lower = ReclassifyHeld(reference, "RESTRICTED", "a heading about markings")
    with pytest.raises(Forbidden):
        await ask(room, lower, WHO["app"])
    assert await ask(room, lower, WHO["rev"]) == "level RESTRICTED 1 of 2"
    assert (await record(room, reference)).level == Level.CONFIDENTIAL
    shown = await room.quarantine.show(reference, WHO["app"])
    assert (shown["level_proposed"], shown["level_proposed_by"]) == ("RESTRICTED", "rev")
    with pytest.raises(Wrong, match="another person"):
        await ask(room, lower, WHO["rev"])
    with pytest.raises(Forbidden, match="second person"):
        await ask(room, lower, WHO["rev2"])
    with pytest.raises(Forbidden, match="sender"):
        await ask(room, lower, WHO["so"])
    with pytest.raises(Forbidden):
        await ask(room, ReclassifyHeld(reference, "UNCLASSIFIED", "another one"), WHO["app"])
    assert await ask(room, lower, WHO["app"]) == f"{reference} is RESTRICTED now"
    assert (await room.threads.levels(ThreadLevels(("a@b",), ()))).thread is Level.CONFIDENTIAL, "what threads remember is never lowered"
    assert (await room.quarantine.release(reference, "seen", (), WHO["rev"])).startswith("released")
    [label] = labels(room)
    assert "SEC=RESTRICTED" in label


async def test_a_yes_from_before_another_level_counts_no_more(room: Room) -> None:
    reference = await held(room)
    await room.quarantine.release(reference, "seen", (), WHO["rev"])
    room.now += 1
    for level in ("SECRET", "CONFIDENTIAL"):
        await ask(room, ReclassifyHeld(reference, level, "x"), WHO["rev2"])
    await ask(room, ReclassifyHeld(reference, "CONFIDENTIAL", "x"), WHO["app"])
    room.now += 1
    with pytest.raises(Forbidden, match="has to approve first"):
        await room.quarantine.release(reference, "agreed", (), WHO["app"])


async def test_what_a_person_finds_to_be_secret_is_released_by_nobody(room: Room) -> None:
    reference = await held(room)
    await ask(room, ReclassifyHeld(reference, "SECRET", "it is"), WHO["rev"])
    with pytest.raises(Wrong, match="no reviewer can release it"):
        await room.quarantine.release(reference, "please", (), WHO["rev"])


@pytest.mark.parametrize(("level", "said"), [("GREEN", "no level"), ("CONFIDENTIAL", "already"), ("", "no level")])
async def test_a_level_has_to_be_another_one_of_the_ladder(room: Room, level: str, said: str) -> None:
    with pytest.raises(Wrong, match=said):
        await ask(room, ReclassifyHeld(await held(room), level, "x"), WHO["rev"])


def relabelled(level: Level, *edits: Edit, content: bytes = CONTENT, declared: bool = False, outbound: bool = True) -> list[Edit]:
    config = Room(Path("/nowhere"), relay=Relay(subject_marking=True)).config
    return list(
        relevel.edits_at(
            edits, level, content, "so@dept.gov.in", config, shipped_policy(), 0.0, declared=declared, outbound=outbound, signed=False,
            subject="the heron",
        )
    )  # fmt: skip


def test_other_edits_stay_in_their_order_and_the_label_stands_where_it_stood() -> None:
    others = [Edit("add", "Date", "x"), Edit("remove", "X-Gateway-Reference"), Edit("add", "X-Gateway-Reference", "R")]
    old = [Edit("replace", "Subject", "[SECRET] the heron"), Edit("remove", "SIO-Label"), Edit("add", "SIO-Label", "marking=SECRET")]
    made = relabelled(Level.RESTRICTED, others[0], *old, *others[1:])
    assert [one for one in made if one in others] == others
    assert made[1] == Edit("replace", "Subject", "[RESTRICTED] the heron")
    assert not any("SECRET" in one.value for one in made)
    assert made.index(others[0]) == 0
    assert made[-2:] == others[1:]
    assert all(one.header != "Subject" for one in relabelled(Level.RESTRICTED, *old, outbound=False))


def test_nothing_says_unclassified_that_its_originator_did_not() -> None:
    labelled = b"X-Protective-Marking: VER=2018.4, NS=gov.in, SEC=CONFIDENTIAL\r\n" + CONTENT
    made = relabelled(Level.UNCLASSIFIED, content=labelled)
    assert made
    assert all(one.action == "remove" for one in made)
    assert any("SEC=UNCLASSIFIED" in one.value for one in relabelled(Level.UNCLASSIFIED, content=labelled, declared=True))
    history = [one.value for one in relabelled(Level.RESTRICTED, content=labelled) if one.header == "SIO-Label-History"]
    assert any("X-Protective-Marking was" in one and "SEC=CONFIDEN" in one for one in history), history


def test_a_level_of_a_person_is_inherited_by_every_part() -> None:
    facts = {"message.level": 2, "message.probable": 3, "leaves": [{"level": -1, "state": "x"}, {"level": 2, "state": "x"}]}
    up, down = relevel.facts_at(facts, Level.SECRET), relevel.facts_at(facts, Level.RESTRICTED)
    assert [leaf["level"] for leaf in up["leaves"]] == [3, 3]  # type: ignore[attr-defined]
    assert [leaf["level"] for leaf in down["leaves"]] == [-1, 1]  # type: ignore[attr-defined]
    assert (up["message.level"], up["message.probable"], down["message.level"], down["message.probable"]) == (3, 3, 1, 1)
    assert facts["message.level"] == 2


# --- showing ----------------------------------------------------------------------------------------------------------


async def test_the_page_has_all_that_a_decision_needs(room: Room) -> None:
    reference = await held(room, DESK, HEAD)
    await ask(room, AskOfficer(reference, "Is it final?"), WHO["rev"])
    await room.quarantine.release(reference, "seen", (), WHO["rev"])
    shown = await room.quarantine.show(reference, WHO["rev2"])
    json.dumps(shown)
    first = shown["decisions"][0]
    assert (first["address"], first["tier"], first["direction"], first["disposition"]) == (DESK, "government", "outbound", "hold")
    assert first["title"] == shown["title"] != ""
    assert first["source"] == shown["source"] != ""
    assert first["explanation"]["en"]["what"]
    assert first["explanation"]["hi"]["next"]
    assert {step["hit"] for step in first["trace"]} == {True, False}
    assert all(step["title"] for step in first["trace"])
    assert shown["subject"] == "the heron flies"
    assert shown["authentication"]["client"] == "10.0.0.1"
    assert shown["thread"]["thread_level"] is None
    assert [one["text"] for one in shown["remarks"]] == ["Is it final?"]
    assert [(one["user"], one["reason"]) for one in shown["approvals"]] == [("rev", "seen")]
    assert {"message-held", "held-asked", "held-approved"} <= {one["action"] for one in shown["history"]}
    assert (shown["first_yes"], shown["two_people"]) == ("rev", True)
    assert shown["may"]["approve"] is False
    assert shown["may"]["release"] is False
    assert "second approver" in shown["why_not"]["release"]
    mine = await room.quarantine.show(reference, WHO["rev"])
    assert mine["why_not"]["release"] == "rev has approved this already"
    other = await room.quarantine.show(reference, WHO["app"])
    assert (
        other["may"] | {"approve": True, "content": True, "level": True, "refuse": False, "ask": False, "exception": False} == other["may"]
    )


async def test_without_the_right_to_content_nothing_of_it_is_shown(room: Room) -> None:
    reference = await held(room)
    await ask(room, AskOfficer(reference, "the heron plan?"), WHO["rev"])
    shown = await room.quarantine.show(reference, WHO["viewer"])
    text = json.dumps(shown)
    for hidden in ("heron", "flies", "blake2b", "<a@b>"):
        assert hidden not in text, hidden
    assert shown["decisions"][0]["explanation"]["en"]["what"]
    assert not any(shown["may"].values())
    assert shown["why_not"]["release"] == "your role does not permit this"
    assert "heron" in json.dumps(await room.quarantine.show(reference, WHO["auditor"]))


async def test_of_sealed_mail_only_its_rule_sender_and_deadline_are_shown(room: Room) -> None:
    row = message(details=b"", verdict={}, facts={})
    sealed = hold(row, sealed=True, recipients=("hidden@nic.in",), level=3)
    await room.store.write(Batch(messages=[row], holds=[sealed]))
    shown = await room.quarantine.show(sealed.id, WHO["asha"])
    text = json.dumps(shown)
    assert "hidden@nic.in" not in text
    assert "SECRET" not in text
    assert (shown["reference"], shown["sender"], shown["rule"], shown["deadline"]) == (row.reference, row.sender, "r1", sealed.deadline)
    assert (shown["may"]["refuse"], shown["may"]["release"], shown["may"]["content"]) == (True, False, False)
    for request in (AskOfficer(sealed.id, "x"), ReclassifyHeld(sealed.id, "SECRET", "x")):
        with pytest.raises(Wrong, match="sealed"):
            await ask(room, request, WHO["asha"])


async def test_a_finished_record_says_that_nothing_may_be_done(room: Room) -> None:
    reference = await held(room)
    await room.quarantine.refuse(reference, "no", WHO["rev"])
    shown = await room.quarantine.show(reference, WHO["asha"])
    assert shown["why_not"]["release"] == "this message is refused already"
    assert not shown["may"]["forward"]


# --- what is kept -----------------------------------------------------------------------------------------------------


async def test_what_is_held_is_proved(room: Room) -> None:
    references = [await held(room) for _ in range(25)]
    first = await room.quarantine.verify("", WHO["asha"])
    rest = await room.quarantine.verify(first[-1]["id"], WHO["asha"])
    assert [row["reference"] for row in first + rest] == references
    assert not any(row["problem"] for row in first + rest)
    assert await room.quarantine.verify(rest[-1]["id"], WHO["asha"]) == []
    db = sqlite3.connect(room.config.state_dir / "gateway.db", timeout=5)
    bad = [(await record(room, references[n])).body_id for n in range(3)]
    db.execute("UPDATE bodies SET ciphertext = zeroblob(length(ciphertext)) WHERE id = ?", (bad[0],))
    db.execute("DELETE FROM bodies WHERE id = ?", (bad[1],))
    db.execute("UPDATE holds SET sha256 = ? WHERE reference = ?", ("0" * 64, references[2]))
    db.commit()
    db.close()
    problems = [row["problem"] for row in await room.quarantine.verify("", WHO["asha"])]
    assert "damaged" in problems[0]
    assert problems[1:3] == ["its content is gone", "its content is not that of the record"]
    assert not any(problems[3:])


# --- log, queue and register by department ----------------------------------------------------------------------------


async def test_W05_the_log_and_the_queue_are_those_of_ones_departments(room: Room) -> None:
    mine, theirs = await held(room), transaction(DESK, sender="x@home.gov.in")
    await room.commit(theirs, verdict(room.version, recipient(DESK, Disposition.DELIVER)))
    local = Who("l", grants=(Grant.parse("auditor@dept.gov.in"),))
    everywhere = WHO["auditor"]
    assert {row["gateway"]["department"] for row in await ask(room, SearchAudit(), local)} == {"dept.gov.in"}
    assert {row["gateway"]["department"] for row in await ask(room, SearchAudit(), everywhere)} >= {"dept.gov.in", "home.gov.in"}
    assert await ask(room, ShowAudit(theirs.reference), local) == await ask(room, ShowAudit("01AAAAAAAAAAAAAAAAAAAAAAAA"), local) == ()
    assert await ask(room, ShowAudit(theirs.id), local) == ()
    assert await ask(room, ShowAudit(mine), local)
    assert await ask(room, ShowAudit(theirs.reference), everywhere)
    assert {row["department"] for row in await ask(room, ListQueue(), local)} == {"dept.gov.in"}
    assert theirs.reference in [row["reference"] for row in await ask(room, ListQueue(), everywhere)]
    assert theirs.reference not in [row["reference"] for row in await ask(room, ListQueue(limit=1), local)]
    with pytest.raises(Forbidden):
        await ask(room, SearchAudit(), WHO["rev"])
    with pytest.raises(Forbidden):
        await ask(room, ListQueue(), Who("nobody"))


async def test_the_requester_of_an_exception_is_who_asks_and_another_person_approves(room: Room) -> None:
    entry = AddException("so@dept.gov.in", "x@supplier.example", "a tender", "somebody-else", "app", room.now + UNTIL)
    [made] = await ask(room, entry, WHO["rev"])
    assert (made["requester"], made["approver"]) == ("rev", "app")
    for approver in ("rev", "rev2", "viewer", "nobody", "other"):
        with pytest.raises(Wrong):
            await ask(room, structs.replace(entry, approver=approver), WHO["rev"])
    with pytest.raises(Wrong, match="cannot be its requester"):
        await ask(room, structs.replace(entry, approver="asha"), WHO["asha"])
    with pytest.raises(Wrong, match="cannot be its requester"):
        await ask(room, structs.replace(entry, approver="app"), replace(WHO["rev"], email="APP@dept.gov.in"))
    for sender, to in (("*", "x@supplier.example"), ("@home.gov.in", "x@y.example"), (".gov.in", "x@y.example"), ("x@y.example", "*")):
        with pytest.raises(Forbidden):
            await ask(room, structs.replace(entry, sender=sender, recipient=to), WHO["rev"])
    assert await ask(room, ListExceptions(), WHO["other"]) == ()
    with pytest.raises(Absent):
        await ask(room, ExpireException(made["id"]), WHO["other"])
    assert [row["id"] for row in await ask(room, ListExceptions(), WHO["rev"])] == [made["id"]]
    await ask(room, ExpireException(made["id"], "over"), WHO["rev2"])
    assert await ask(room, ListExceptions(), WHO["rev"]) == ()

"""The commit of mail that came by a milter or is stored by IMAP: what is ours, what stays where it was, and what is answered."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.address import NULL_PATH
from gateway.config import Contacts, Relay
from gateway.envelope import Door, Transaction
from gateway.keeper import recorded
from gateway.keeper.archive import Journal
from gateway.keeper.tallies import Tallies
from gateway.levels import Level
from gateway.message import edits as message_edits
from gateway.options import Archive
from gateway.policy import decide
from gateway.reply import Reply
from gateway.requests import AddException, Committed, Failed, Stale
from gateway.stores.base import DeliveryState, StoreError
from gateway.vault import sealing
from gateway.verdict import Disposition, RuleTrace
from tests.held_mail import WHO, staffed
from tests.keeper_kit import CONTENT, NOW, Room, inspection, recipient, transaction, verdict
from tests.test_act import everything
from tests.test_copies import FILE_RULE, FILED, REGISTRY, with_rules

DELIVER, HOLD, REFUSE, DEFER = Disposition.DELIVER, Disposition.HOLD, Disposition.REFUSE, Disposition.DEFER
DESK, HEAD, OUT, OWN = "desk@finance.nic.in", "head@home.gov.in", "x@gmail.com", "so@dept.gov.in"
REFUSED_STRANGER = (RuleTrace("rule-x", True, "enforce", "refuse"),)


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    made = await Room(tmp_path).open()
    yield made
    await made.close()


@pytest.fixture
async def holding_there(tmp_path: Path) -> AsyncIterator[Room]:
    """A room whose held mail stays in the MTA's own queue."""
    made = await Room(tmp_path, relay=Relay(milter_hold="mta")).open()
    yield made
    await made.close()


def milter(*to: str, **more: Any) -> Transaction:
    return transaction(*to, door=Door.MILTER, **more)


def imap(**more: Any) -> Transaction:
    return transaction(OWN, door=Door.IMAP, **more)


def accepted(tx: Transaction, *passed: str, hold_there: bool = False) -> Committed:
    return Committed(Reply(250, "2.0.0", f"accepted {tx.reference}"), tx.reference, passed, hold_there)


async def kept_by(room: Room) -> dict[str, str]:
    """Who has what, as the decision log says."""
    lines = [line for line in await room.lines() if line["event"]["dataset"] == "gateway.decision"]
    return {line["gateway"]["smtp"]["rcpt_to"][0]["address"]: line["gateway"].get("kept_by", "") for line in lines}


# --- milter -------------------------------------------------------------------------------------------------------------


async def test_passed_mail_is_recorded_with_its_facts_and_nothing_of_it_is_kept_or_sent(room: Room) -> None:
    tx = milter(DESK, HEAD)
    answer = await room.commit(tx, verdict(room.version, recipient(DESK), recipient(HEAD, require_aes256=True), level=Level.RESTRICTED))
    assert answer == accepted(tx, DESK, HEAD)
    assert await everything(room) == (0, 1, 0)
    assert room.relay.offered == []
    message = await room.store.message(tx.id)
    assert message is not None
    assert (message.door, message.facts["recipients"]) == ("milter", [{"recipient.tier": "government"}] * 2)
    assert recorded.read(message).kept_by == {DESK: "mta", HEAD: "mta"}
    for line in await room.lines():
        assert (line["gateway"]["door"], line["gateway"]["kept_by"], line["event"]["action"]) == ("milter", "mta", "message-accepted")
        assert "require_aes256" not in line["gateway"], "nothing of ours sends it, so nothing of ours can ask for that"


async def test_mail_by_SMTP_is_kept_by_nobody_else(room: Room) -> None:
    tx = transaction(DESK)
    assert await room.commit(tx, verdict(room.version, recipient(DESK))) == accepted(tx)
    assert await kept_by(room) == {DESK: ""}


async def test_T10_each_recipient_of_a_mixed_message_is_in_one_place(room: Room) -> None:
    tx = milter(DESK, HEAD, OUT)
    made = verdict(room.version, recipient(DESK), recipient(HEAD, HOLD), recipient(OUT, REFUSE), level=Level.CONFIDENTIAL)
    assert await room.commit(tx, made) == accepted(tx, DESK)
    (held,) = await room.store.holds()
    assert held.recipients == (HEAD,)
    assert room.relay.recipients == [OWN, OWN], "the report of what was refused, and the notice of what is held"
    assert [row.recipient for row in await room.store.deliveries()] == [OWN, OWN]
    body = await room.store.body(held.body_id)
    assert body is not None
    assert room.vault.open(body) == CONTENT
    assert await kept_by(room) == {DESK: "mta", HEAD: "", OUT: ""}


async def test_T10_what_is_held_in_our_store_goes_on_to_nobody_there(room: Room) -> None:
    tx = milter(DESK)
    assert await room.commit(tx, verdict(room.version, recipient(DESK, HOLD))) == accepted(tx)
    assert len(await room.store.holds()) == 1


async def test_T10_an_mta_that_holds_holds_the_whole_message_and_we_hold_nothing(holding_there: Room) -> None:
    room = holding_there
    tx = milter(DESK, HEAD, OUT)
    made = verdict(room.version, recipient(DESK), recipient(HEAD, HOLD), recipient(OUT, REFUSE))
    answer = await room.commit(tx, made)
    assert answer == accepted(tx, DESK, HEAD, hold_there=True), "who is refused is taken off: a hold queue can be let go by anybody there"
    assert await room.store.holds() == []
    assert await room.store.body(tx.id) is None
    assert room.relay.recipients == [OWN], "the report of what was refused; no notice with a deadline that is not ours"
    assert await kept_by(room) == {DESK: "mta-hold", HEAD: "mta-hold", OUT: ""}
    assert [line["event"]["action"] for line in await room.lines()][:2] == ["message-accepted", "message-held"]
    assert await room.commit(tx, made) == answer, "asked twice, done once"
    other = milter(DESK)
    assert await room.commit(other, verdict(room.version, recipient(DESK))) == accepted(other, DESK)


async def test_T10_what_a_rule_refuses_a_stranger_is_never_left_in_the_mtas_queue(holding_there: Room) -> None:
    room = holding_there
    tx = milter(DESK, OUT, HEAD, sender="a@example.com", verified=False)
    made = verdict(room.version, recipient(DESK), recipient(OUT, HOLD, trace=REFUSED_STRANGER), recipient(HEAD, HOLD))
    assert await room.commit(tx, made) == accepted(tx, DESK, HEAD, hold_there=True)
    (listed,) = await room.store.holds()
    assert (listed.recipients, listed.reason) == ((OUT,), "postmaster")


async def test_sealed_mail_is_held_here_wherever_other_mail_is_held(tmp_path: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", tmp_path / "k.pem", "-out", tmp_path / "c.pem",
         "-subj", "/CN=x"], check=True, capture_output=True,
    )  # fmt: skip
    room = await Room(tmp_path, relay=Relay(milter_hold="mta")).open(sealing.load(tmp_path / "c.pem"))
    tx = milter(DESK, HEAD)
    found = replace(verdict(room.version).classification, probable=Level.SECRET)
    answer = await room.commit(tx, verdict(room.version, recipient(DESK, HOLD), recipient(HEAD), sealed=True, classification=found))
    assert answer == accepted(tx)
    (held,) = await room.store.holds()
    assert (held.sealed, held.recipients) == (True, (DESK, HEAD))
    await room.close()


@pytest.mark.parametrize("refuse_with", ["bounce", "reply"])
@pytest.mark.parametrize("sender", [OWN, "a@example.com", ""])
async def test_a_milter_refuses_for_all_in_the_session_and_nobody_gets_a_report(tmp_path: Path, refuse_with: str, sender: str) -> None:
    room = await Room(tmp_path, relay=Relay(refuse_with=refuse_with)).open()
    tx = milter(OUT, "y@gmail.com", sender=sender or OWN, verified=sender != "a@example.com")
    if not sender:
        tx = replace(tx, envelope=replace(tx.envelope, sender=NULL_PATH))
    answer = await room.commit(tx, verdict(room.version, recipient(OUT, REFUSE), recipient("y@gmail.com", REFUSE)))
    assert (answer.reply.code, answer.reply.enhanced, answer.passed, answer.hold_there) == (550, "5.7.1", (), False)
    assert await everything(room) == (0, 0, 0)
    assert room.relay.offered == []
    await room.close()


@pytest.mark.parametrize("door", [Door.MILTER, Door.IMAP])
async def test_certain_secret_is_refused_by_every_door(room: Room, door: Door) -> None:
    made = verdict(room.version, recipient(OWN, REFUSE), level=Level.SECRET, session_refusal=True)
    answer = await room.commit(transaction(OWN, door=door), made)
    assert (answer.reply.code, answer.passed) == (550, ())
    assert await everything(room) == (0, 0, 0)
    assert [line["gateway"]["disposition"] for line in await room.lines()] == ["refuse"]


@pytest.mark.parametrize("door", [Door.MILTER, Door.IMAP])
async def test_what_could_not_be_known_is_deferred_by_every_door(room: Room, door: Door) -> None:
    tx = transaction(OWN, door=door)
    answer = await room.commit(tx, verdict(room.version, recipient(OWN, DEFER)))
    assert (answer.reply.code, answer.passed) == (451, ())
    assert await everything(room) == (0, 0, 0)


async def test_T05_the_same_message_asked_again_is_answered_as_it_was_decided(room: Room) -> None:
    tx = milter(DESK, HEAD)
    first = await room.commit(tx, verdict(room.version, recipient(DESK), recipient(HEAD, HOLD)))
    assert await room.commit(tx, verdict(room.version, recipient(DESK), recipient(HEAD, HOLD))) == first
    old = room.version
    await room.register.add(AddException("so@dept.gov.in", OUT, "why", "a", "b", room.now + 50), "root")
    assert await room.commit(tx, verdict(old, recipient(DESK))) == Stale(room.version)
    # The register changed before the door asked again: what is durable counts, not what would be decided now.
    assert await room.commit(tx, verdict(room.version, recipient(DESK), recipient(HEAD))) == first
    decisions = [line for line in await room.lines() if line["event"]["dataset"] == "gateway.decision"]
    assert len(decisions) == 2, "no double audit"
    assert len(await room.store.holds()) == 1


async def test_P4_nothing_passes_when_the_store_fails(room: Room) -> None:
    async def broken(batch: Any) -> None:
        raise StoreError("disk")

    room.store.write = broken  # type: ignore[method-assign]
    for tx in (milter(OWN), imap()):
        with pytest.raises(StoreError):
            await room.commit(tx, verdict(room.version, recipient(OWN)))


async def test_O19_a_full_queue_stops_a_milter_and_a_full_disk_every_door(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    room.actor._config = room.config.model_copy(update={"limits": room.config.limits.model_copy(update={"queue_messages": 0})})
    full = await room.commit(milter(DESK), verdict(room.version, recipient(DESK)))
    assert isinstance(full, Failed)
    assert full.code == 4
    tx = imap()
    assert await room.commit(tx, verdict(room.version, recipient(OWN))) == accepted(tx, OWN), "a draft needs no place in the queue"
    room.actor._config = room.config

    class Small:
        f_bavail, f_frsize = 1000, 1000

    monkeypatch.setattr(os, "statvfs", lambda _: Small)
    room.actor._disk_looked = -100.0
    for full_disk in (milter(OWN), imap()):
        answer = await room.commit(full_disk, verdict(room.version, recipient(OWN)))
        assert isinstance(answer, Failed)
        assert answer.code == 4


async def test_R32_copies_of_passed_mail_are_deliveries_of_ours_with_a_trace(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.config = room.config.model_copy(update={"contacts": Contacts(registry=REGISTRY, postmaster="pm@dept.gov.in")})
    room.policy = with_rules(FILE_RULE)
    await room.open()
    tx = milter(DESK, HEAD)
    made = verdict(room.version, *(recipient(to, copies=("registry",), trace=(FILED,)) for to in (DESK, HEAD)))
    assert await room.commit(tx, made) == accepted(tx, DESK, HEAD)
    (copy,) = await room.store.deliveries()
    assert (copy.recipient, copy.state) == (REGISTRY, DeliveryState.LEASED)
    assert room.relay.offered == [([copy], CONTENT)]
    sent = message_edits.apply(copy.edits, CONTENT)
    assert sent.startswith(b"Received: from client.dept.gov.in ([10.0.0.1]) by gw1.dept.gov.in")
    assert await room.store.body(copy.body_id) is not None
    await room.close()


async def test_R32_no_copy_is_made_of_what_an_mta_holds(tmp_path: Path) -> None:
    room = Room(tmp_path, relay=Relay(milter_hold="mta"))
    room.config = room.config.model_copy(update={"contacts": Contacts(registry=REGISTRY, postmaster="pm@dept.gov.in")})
    room.policy = with_rules(FILE_RULE)
    await room.open()
    tx = milter(DESK, HEAD)
    made = verdict(room.version, recipient(DESK, copies=("registry",), trace=(FILED,)), recipient(HEAD, HOLD))
    assert (await room.commit(tx, made)).hold_there
    assert await everything(room) == (0, 1, 0)
    await room.close()


@pytest.mark.parametrize(
    ("hold", "mix", "copies"), [("store", (DELIVER, HOLD), 1), ("mta", (DELIVER, HOLD), 0), ("mta", (DELIVER, DELIVER), 1)]
)
async def test_what_passes_is_journaled_with_its_content_and_what_waits_there_is_not(
    tmp_path: Path, hold: str, mix: tuple[Disposition, ...], copies: int
) -> None:
    room = await Room(tmp_path, relay=Relay(milter_hold=hold)).open()
    room.actor._journal = Journal([Archive(kind="store")])
    tx = milter(DESK, HEAD)
    await room.commit(tx, verdict(room.version, *(recipient(to, one) for to, one in zip((DESK, HEAD), mix, strict=True))))
    assert [line["event"]["action"] for line in await room.lines()].count("message-archived") == copies
    assert (await room.store.body(tx.id) is not None) is bool(copies or await room.store.holds())
    draft = imap()
    await room.commit(draft, verdict(room.version, recipient(OWN)))
    assert await room.store.body(draft.id) is None, "what is stored is no sending"
    await room.close()


async def test_passed_mail_counts_as_delivered(room: Room) -> None:
    await room.commit(milter(DESK, HEAD), verdict(room.version, recipient(DESK), recipient(HEAD, HOLD)))
    await room.commit(imap(), verdict(room.version, recipient(OWN)))
    await Tallies(room.store).count()
    rows = await room.store.reviewing.tallies(0, 10**9, None)
    assert sorted((row.disposition, row.count) for row in rows) == [("deliver", 2), ("hold", 1)]


async def test_R9_whom_passed_mail_went_to_is_remembered_and_whom_it_waits_for_is_not(
    holding_there: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = holding_there
    monkeypatch.setattr(type(room.correspondents), "wanted", property(lambda _: True))
    await room.commit(milter(DESK), verdict(room.version, recipient(DESK)))
    await room.commit(milter(HEAD, OUT), verdict(room.version, recipient(HEAD), recipient(OUT, HOLD)))
    await room.commit(imap(), verdict(room.version, recipient(OWN)))
    assert await room.correspondents.first_times(OWN, (DESK, HEAD, OUT, OWN)) == (HEAD, OUT, OWN)


async def test_the_thread_of_passed_mail_is_remembered(room: Room) -> None:
    tx = milter(DESK)
    made = decide.decide(tx, inspection(attached=Level.CONFIDENTIAL), room.policy, room.register.current, room.config)
    assert made.memo is not None
    assert room.threads.rows(tx, made)
    stored = decide.decide(imap(), inspection(attached=Level.CONFIDENTIAL), room.policy, room.register.current, room.config)
    assert room.threads.rows(imap(), stored) == []


async def test_a_record_without_body_or_delivery_breaks_nothing(room: Room) -> None:
    """Retention, the quarantine's own check, the queue and the log."""
    tx, draft = milter(DESK), imap()
    await room.commit(tx, verdict(room.version, recipient(DESK)))
    await room.commit(draft, verdict(room.version, recipient(OWN)))
    assert await room.store.deliveries(all=True) == []
    assert await room.store.open_delivery_count() == 0
    assert [row.reference for row in await room.store.audit_rows(reference=tx.reference)] == [tx.reference]
    assert await room.store.drop_messages(NOW - 1, "", 10) == (0, "")
    assert (await room.store.drop_messages(NOW + 1, "", 10))[0] == 2
    assert await everything(room) == (0, 0, 0)


async def test_content_is_kept_only_where_something_of_ours_needs_it(room: Room) -> None:
    tx = milter(DESK, OUT)
    await room.commit(tx, verdict(room.version, recipient(DESK), recipient(OUT, REFUSE)))
    assert await room.store.body(tx.id) is None, "a report needs no content of the message"
    held = milter(DESK, OUT)
    await room.commit(held, verdict(room.version, recipient(DESK), recipient(OUT, HOLD)))
    assert await room.store.body(held.id) is not None


async def test_what_came_by_a_milter_is_released_by_our_relay(tmp_path: Path) -> None:
    room = await staffed(tmp_path)
    tx = milter(DESK)
    made = decide.decide(tx, inspection(attached=Level.CONFIDENTIAL), room.policy, room.register.current, room.config)
    assert [one.disposition for one in made.recipients] == [HOLD]
    assert (await room.commit(tx, made)).passed == ()
    room.relay.offered.clear()
    said = await room.quarantine.release(tx.reference, "seen", (), WHO["asha"])
    if said.startswith("approved"):
        said = await room.quarantine.release(tx.reference, "agreed", (), WHO["app"])
    assert said.startswith("released")
    ((rows, content),) = room.relay.offered[:1]
    assert (rows[0].recipient, content, rows[0].require_aes256) == (DESK, CONTENT, True)
    sent = message_edits.apply(rows[0].edits, content)
    assert sent.count(b"Received: from client.dept.gov.in") == 1
    assert sent.startswith(b"Received: ")
    await room.close()


# --- IMAP ---------------------------------------------------------------------------------------------------------------


async def test_what_is_stored_is_recorded_and_nothing_else_comes_of_it(room: Room) -> None:
    tx = imap()
    made = verdict(room.version, recipient(OWN, notify=("nodal",), copies=("registry",)), level=Level.CONFIDENTIAL)
    assert await room.commit(tx, made) == accepted(tx, OWN)
    assert await everything(room) == (0, 1, 0)
    assert room.relay.offered == []
    assert await room.store.holds() == []
    message = await room.store.message(tx.id)
    assert message is not None
    assert (message.subject, message.details) == (b"", b""), "of a draft not even the subject is kept"
    (line,) = await room.lines()
    assert (line["gateway"]["door"], line["gateway"]["kept_by"]) == ("imap", "mailbox")
    assert "secret plan" not in str(line), "nor are its files named"


@pytest.mark.parametrize("disposition", [HOLD, REFUSE])
@pytest.mark.parametrize("verified", [True, False])
async def test_what_is_not_stored_is_a_no_and_never_held(room: Room, disposition: Disposition, verified: bool) -> None:
    answer = await room.commit(imap(verified=verified), verdict(room.version, recipient(OWN, disposition)))
    assert (answer.reply.code, answer.passed) == (550, ())
    assert await everything(room) == (0, 0, 0)
    assert room.relay.offered == []


async def test_a_whole_decision_about_a_draft_goes_through(room: Room) -> None:
    tx = imap()
    made = decide.decide(tx, inspection(attached=Level.CONFIDENTIAL), room.policy, room.register.current, room.config)
    assert await room.commit(tx, made) == accepted(tx, OWN)
    (line,) = await room.lines()
    assert (line["gateway"]["tags"], line["gateway"]["disposition"]) == (["imap-recorded"], "deliver")
    assert "classified-attachment-unencrypted" in line["gateway"]["hits"]

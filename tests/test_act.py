"""The commit: what becomes durable for each kind of decision, and what is answered."""

from __future__ import annotations

import email
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.address import NULL_PATH
from gateway.audit.audit import verify
from gateway.config import Relay, Route
from gateway.envelope import Recipient
from gateway.levels import Level
from gateway.policy import decide
from gateway.reply import Reply
from gateway.requests import AddException, Committed, Deferred, Failed, Refused, Stale
from gateway.stores.base import DeliveryState, StoreError
from gateway.vault import sealing
from gateway.verdict import Confidence, Disposition, Headers, RuleTrace
from tests.keeper_kit import CONTENT, Room, inspection, recipient, transaction, verdict

DELIVER, HOLD, REFUSE, DEFER = Disposition.DELIVER, Disposition.HOLD, Disposition.REFUSE, Disposition.DEFER
DESK, HEAD, OUT = "desk@finance.nic.in", "head@home.gov.in", "x@gmail.com"


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    made = await Room(tmp_path).open()
    yield made
    await made.close()


async def everything(room: Room) -> tuple[int, int, int]:
    """Bodies, messages and deliveries in the store."""

    def count(db: Any) -> tuple[int, ...]:
        return tuple(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("bodies", "messages", "deliveries"))

    return await room.store._read(count)  # type: ignore[return-value]


async def test_delivered_mail_is_durable_leased_and_handed_over(room: Room) -> None:
    tx = transaction(DESK, HEAD)
    answer = await room.commit(tx, verdict(room.version, recipient(DESK), recipient(HEAD, require_aes256=True)))
    assert answer == Committed(Reply(250, "2.0.0", f"accepted {tx.reference}"), tx.reference)
    rows = await room.store.deliveries(reference=tx.reference)
    assert [(row.recipient, row.state, row.lease, row.require_aes256) for row in rows] == [
        (DESK, DeliveryState.LEASED, "inc-1", False),
        (HEAD, DeliveryState.LEASED, "inc-1", True),
    ]
    assert [row.header for row in rows[0].edits] == ["X-Gateway-Reference"]
    assert room.relay.offered == [(rows, CONTENT)]
    body = await room.store.body(rows[0].body_id)
    assert body is not None
    assert room.vault.open(body) == CONTENT
    message = await room.store.message(tx.id)
    assert message is not None
    assert message.facts["recipients"] == [{"recipient.tier": "government"}] * 2
    assert room.vault.open_field(message.id, message.subject) == b"the heron flies"
    assert [line["gateway"]["smtp"]["rcpt_to"][0]["address"] for line in await room.lines()] == [DESK, HEAD]


async def test_P7_content_that_is_not_what_was_inspected_is_not_accepted(room: Room) -> None:
    tx = transaction(DESK)
    for content in (CONTENT + b"x", CONTENT[:-1] + b"!"):
        answer = await room.commit(tx, verdict(room.version, recipient(DESK)), content)
        assert isinstance(answer, Failed)
    assert await everything(room) == (0, 0, 0)


async def test_P4_nothing_is_answered_250_when_the_store_fails(room: Room) -> None:
    async def broken(batch: Any) -> None:
        raise StoreError("disk")

    room.store.write = broken  # type: ignore[method-assign]
    with pytest.raises(StoreError):
        await room.commit(transaction(DESK), verdict(room.version, recipient(DESK)))
    assert room.relay.offered == []


async def test_one_report_for_all_refused_and_the_others_get_their_mail(room: Room) -> None:
    tx = transaction(DESK, OUT, "y@gmail.com")
    answer = await room.commit(tx, verdict(room.version, recipient(DESK), recipient(OUT, REFUSE), recipient("y@gmail.com", REFUSE)))
    assert answer.reply.code == 250
    assert room.relay.recipients == [DESK, "so@dept.gov.in"]
    report_rows, report = room.relay.offered[1]
    assert (report_rows[0].sender, report_rows[0].is_report, report_rows[0].notify) == ("", True, ("NEVER",))
    parsed = email.message_from_bytes(report)
    blocks = next(part for part in parsed.walk() if part.get_content_type() == "message/delivery-status").get_payload()
    failed = [str(block["Final-Recipient"]).partition(";")[2].strip() for block in blocks if block.get("Action")]
    assert failed == [OUT, "y@gmail.com"]
    assert b"eagle" not in report, "headers only"
    assert await everything(room) == (2, 2, 2)
    stored = await room.store.body(report_rows[0].body_id)
    assert stored is not None
    assert room.vault.open(stored) == report


async def test_mail_refused_for_all_leaves_no_body_of_it(room: Room) -> None:
    tx = transaction(OUT)
    answer = await room.commit(tx, verdict(room.version, recipient(OUT, REFUSE)))
    assert answer.reply.code == 250
    assert await room.store.body(tx.id) is None
    assert await room.store.message(tx.id) is not None
    assert room.relay.recipients == ["so@dept.gov.in"]


async def test_refuse_with_reply_refuses_in_the_session(tmp_path: Path) -> None:
    room = await Room(tmp_path, relay=Relay(refuse_with="reply")).open()
    answer = await room.commit(transaction(OUT), verdict(room.version, recipient(OUT, REFUSE)))
    assert (answer.reply.code, answer.reply.enhanced) == (550, "5.7.1")
    assert await everything(room) == (0, 0, 0)
    assert len(await room.lines()) == 1
    mixed = await room.commit(transaction(DESK, OUT), verdict(room.version, recipient(DESK), recipient(OUT, REFUSE)))
    assert mixed.reply.code == 250
    assert room.relay.recipients == [DESK, "so@dept.gov.in"], "after DATA one reply cannot refuse some"
    await room.close()


@pytest.mark.parametrize("sender", ["stranger@example.com", ""])
async def test_P10_strangers_and_null_senders_get_550_and_never_a_report(room: Room, sender: str) -> None:
    tx = transaction(OUT, verified=not sender)
    envelope = replace(tx.envelope, sender=NULL_PATH if not sender else tx.envelope.sender)
    tx = replace(tx, envelope=envelope)
    answer = await room.commit(tx, verdict(room.version, recipient(OUT, REFUSE)))
    assert answer.reply.code == 550
    assert await everything(room) == (0, 0, 0)
    tx = replace(transaction(DESK, OUT, verified=not sender), envelope=replace(transaction(DESK, OUT).envelope, sender=envelope.sender))
    kept = recipient(OUT, HOLD, status="4.7.1", trace=(RuleTrace("rule-x", True, "enforce", "refuse"),))
    answer = await room.commit(tx, verdict(room.version, recipient(DESK), kept))
    assert answer.reply.code == 250
    assert room.relay.recipients == [DESK]
    (held,) = await room.store.holds()
    assert (held.recipients, held.reason) == ((OUT,), "postmaster")
    # The same when the refusal itself comes.
    answer = await room.commit(replace(tx, id=transaction().id), verdict(room.version, recipient(DESK), recipient(OUT, REFUSE)))
    assert [hold.reason for hold in await room.store.holds()] == ["postmaster"] * 2
    assert room.relay.recipients == [DESK, DESK]


async def test_L04_notify_never_suppresses_the_report_and_lists_it(room: Room) -> None:
    tx = transaction(OUT, "y@gmail.com", "z@gmail.com")
    asked = tx.envelope.recipients
    never = (replace(asked[0], notify=frozenset({"NEVER"})), replace(asked[1], notify=frozenset({"SUCCESS"})), asked[2])
    tx = replace(tx, envelope=replace(tx.envelope, recipients=never))
    await room.commit(tx, verdict(room.version, *(recipient(one.path.text, REFUSE) for one in asked)))
    (held,) = await room.store.holds()
    assert (held.recipients, held.reason) == ((OUT, "y@gmail.com"), "postmaster")
    assert b"z@gmail.com" in room.relay.offered[0][1]
    assert b"y@gmail.com" not in room.relay.offered[0][1]


async def test_held_mail_is_one_record_with_one_notice(room: Room) -> None:
    tx = transaction(DESK, HEAD, "third@nic.in")
    made = verdict(room.version, recipient(DESK, HOLD), recipient(HEAD, HOLD), recipient("third@nic.in"), level=Level.CONFIDENTIAL)
    assert (await room.commit(tx, made)).reply.code == 250
    (held,) = await room.store.holds()
    assert held.recipients == (DESK, HEAD)
    assert held.deadline == room.now + 15 * 86400
    assert room.relay.recipients == ["third@nic.in", "so@dept.gov.in"]
    notice = room.relay.offered[1][1]
    assert b"Action: delayed" in notice
    assert b"Will-Retry-Until:" in notice


async def test_L04_no_notice_without_delay_nor_to_machines_nor_strangers(room: Room) -> None:
    tx = transaction(DESK)
    quiet = replace(tx.envelope, recipients=(Recipient(tx.envelope.recipients[0].path, frozenset({"FAILURE"})),))
    await room.commit(replace(tx, envelope=quiet), verdict(room.version, recipient(DESK, HOLD)))
    for headers in (Headers(auto_submitted="auto-replied"), Headers(precedence="bulk"), Headers(is_list=True)):
        await room.commit(transaction(DESK), verdict(room.version, recipient(DESK, HOLD), headers=headers))
    await room.commit(transaction(DESK, verified=False), verdict(room.version, recipient(DESK, HOLD)))
    assert len(await room.store.holds()) == 5
    assert room.relay.offered == []
    await room.commit(transaction(DESK), verdict(room.version, recipient(DESK, HOLD), headers=Headers(auto_submitted="no")))
    assert room.relay.recipients == ["so@dept.gov.in"]


@pytest.mark.parametrize("level", [Level.SECRET, Level.TOP_SECRET])
async def test_secret_mail_is_refused_in_the_session_and_nothing_of_it_is_stored(room: Room, tmp_path: Path, level: Level) -> None:
    content = b"Subject: heron\r\n\r\nthe eagle lands on thursday\r\n"
    tx = transaction(DESK, HEAD, content=content)
    made = verdict(room.version, recipient(DESK, REFUSE), recipient(HEAD), level=level, session_refusal=True)
    answer = await room.commit(tx, made, content)
    assert answer.reply.code == 550
    assert await everything(room) == (0, 0, 0)
    assert room.relay.offered == []
    lines = await room.lines()
    assert [line["gateway"]["disposition"] for line in lines] == ["refuse", "refuse"]
    assert lines[0]["gateway"]["label"]["level"] == level.text
    await room.store.close()
    for file in tmp_path.rglob("*"):
        if file.is_file():
            data = file.read_bytes().lower()
            assert b"eagle" not in data
            assert b"heron" not in data
            assert b"plan.docx" not in data, "names of files of such mail are hashed"


async def test_P18_held_mail_leaves_no_plaintext_in_any_file(room: Room, tmp_path: Path) -> None:
    for number in range(30):
        tx = transaction(DESK)
        await room.commit(
            tx, verdict(room.version, recipient(DESK, HOLD), level=Level.CONFIDENTIAL, headers=Headers(subject=f"heron {number}"))
        )
    await room.store.close()
    looked = 0
    for file in tmp_path.rglob("*"):
        if file.is_file():
            data = file.read_bytes().lower()
            looked += len(data)
            for word in (b"eagle", b"heron", b"secret plan", b"confidential heron"):
                assert word not in data, (file, word)
    assert looked > 100_000


async def test_probable_secret_is_sealed_and_goes_to_nobody(tmp_path: Path) -> None:
    import subprocess

    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", tmp_path / "k.pem", "-out", tmp_path / "c.pem",
         "-subj", "/CN=x"], check=True, capture_output=True,
    )  # fmt: skip
    room = await Room(tmp_path).open(sealing.load(tmp_path / "c.pem"))
    found = replace(verdict(room.version).classification, probable=Level.SECRET)
    tx = transaction(DESK, HEAD)
    made = verdict(room.version, recipient(DESK, HOLD), recipient(HEAD), sealed=True, classification=found)
    assert (await room.commit(tx, made)).reply.code == 250
    (held,) = await room.store.holds()
    assert (held.sealed, held.recipients, held.level) == (True, (DESK, HEAD), Level.SECRET)
    body = await room.store.body(held.body_id)
    message = await room.store.message(tx.id)
    assert body is not None
    assert body.sealed
    assert message is not None
    assert (message.subject, message.details) == (b"", b"")
    assert room.relay.recipients == ["so@dept.gov.in"]
    assert b"heron" not in room.relay.offered[0][1], "the notice does not repeat the subject"
    await room.close()


async def test_probable_secret_without_a_certificate_is_refused(room: Room) -> None:
    answer = await room.commit(transaction(DESK), verdict(room.version, recipient(DESK, HOLD), sealed=True))
    assert answer.reply.code == 550
    assert await everything(room) == (0, 0, 0)


async def test_one_unknown_recipient_defers_the_whole_message(room: Room) -> None:
    answer = await room.commit(transaction(DESK, OUT), verdict(room.version, recipient(DESK), recipient(OUT, DEFER)))
    assert answer.reply.code == 451
    assert await everything(room) == (0, 0, 0)
    assert [line["gateway"]["disposition"] for line in await room.lines()] == ["defer", "defer"]
    assert (await room.commit(transaction(DESK), verdict(room.version))).reply.code == 451, "no verdict is no delivery"


async def test_a_changed_register_is_stale(room: Room) -> None:
    old = room.version
    tx = transaction(DESK)
    await room.register.add(AddException("so@dept.gov.in", OUT, "why", "a", "b", room.now + 50), "root")
    assert await room.commit(tx, verdict(old, recipient(DESK))) == Stale(room.version)
    assert await everything(room) == (0, 0, 0)
    assert (await room.commit(tx, verdict(room.version, recipient(DESK)))).reply.code == 250
    again = await room.commit(tx, verdict(room.version, recipient(DESK)))
    assert again.reply.code == 250, "asked twice, done once"
    assert len(await room.store.deliveries()) == 1


async def test_O19_a_full_queue_or_disk_answers_452(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    room.actor._config = room.config.model_copy(update={"limits": room.config.limits.model_copy(update={"queue_messages": 2})})
    for _ in range(2):
        assert (await room.commit(transaction(DESK), verdict(room.version, recipient(DESK)))).reply.code == 250
    full = await room.commit(transaction(DESK), verdict(room.version, recipient(DESK)))
    assert isinstance(full, Failed)
    assert full.code == 4
    room.actor._config = room.config
    real = os.statvfs(room.config.state_dir)

    class Small:
        f_bavail, f_frsize = 1000, 1000

    monkeypatch.setattr(os, "statvfs", lambda _: Small)
    room.actor._disk_looked = -100.0
    assert (await room.commit(transaction(DESK), verdict(room.version, recipient(DESK)))).code == 4
    monkeypatch.setattr(os, "statvfs", lambda _: real)
    room.actor._disk_looked = -100.0
    assert (await room.commit(transaction(DESK), verdict(room.version, recipient(DESK)))).reply.code == 250


async def test_deferrals_and_early_refusals_are_recorded(room: Room) -> None:
    await room.actor.deferred(Deferred(transaction(DESK), Reply(451, "4.3.0", "later"), "inspector away"))
    await room.actor.refused(Refused("smtp", "192.0.2.1", "h\r\nelo", "", "a@b", OUT, Reply(550, "5.7.1", "no"), "relay-denied", "REF"))
    lines = await room.lines()
    assert [line["gateway"]["disposition"] for line in lines] == ["defer", "refuse"]
    assert lines[0]["event"]["reason"] == "inspector away"
    assert lines[1]["rule"]["id"] == "relay-denied"
    assert lines[1]["source"]["ip"] == "192.0.2.1"
    assert (await verify(room.store)).bad is None


async def test_a_real_decision_goes_through(room: Room) -> None:
    tx = transaction(DESK, OUT)
    made = decide.decide(tx, inspection(attached=Level.CONFIDENTIAL), room.policy, room.register.current, room.config)
    assert [one.disposition for one in made.recipients] == [HOLD, REFUSE]
    assert (await room.commit(tx, made)).reply.code == 250
    lines = await room.lines()
    assert lines[0]["gateway"]["label"]["level"] == "CONFIDENTIAL"
    evidence = lines[0]["gateway"]["evidence"][0]
    assert evidence["confidence"] == Confidence.CERTAIN.value
    assert evidence["words"].startswith("blake2b-256:")
    assert "heron" not in str(lines)
    assert (await verify(room.store)).bad is None


async def test_mail_belongs_to_the_department_that_sent_it_or_to_the_first_recipient_inside(tmp_path: Path) -> None:
    route = Route(domains=("home.gov.in",), local=True, next_hop="mail.home.gov.in:25", tls="required")
    room = await Room(tmp_path, route=(route,)).open()
    sent = transaction("x@nic.in", "clerk@home.gov.in")
    came = transaction("x@nic.in", "clerk@home.gov.in", "clerk@dept.gov.in", sender="a@example.com", verified=False, department="")
    forged = transaction("clerk@home.gov.in", sender="so@dept.gov.in", verified=False)
    beyond = transaction("x@nic.in", sender="a@example.com", verified=False, department="")
    for tx, department in ((sent, "dept.gov.in"), (came, "home.gov.in"), (forged, "home.gov.in"), (beyond, "")):
        to = [recipient(one.path.text, Disposition.HOLD) for one in tx.envelope.recipients]
        await room.commit(tx, verdict(room.version, *to))
        held, kept = await room.store.hold(tx.reference), await room.store.message(tx.id)
        assert held is not None
        assert kept is not None
        rows = await room.store.audit_rows(reference=tx.reference)
        assert {held.department, kept.department, *(row.department for row in rows)} == {department}
    reply = Reply(550, "5.7.1", "no")
    await room.actor.refused(Refused("smtp", "192.0.2.1", "x", "", "a@example.com", "clerk@HOME.gov.in", reply, "r", "REF1"))
    assert [row.department for row in await room.store.audit_rows(reference="REF1")] == ["home.gov.in"]
    await room.close()

"""Copies for the registry and notices to contacts: who gets one, once, in the same commit; and what never happens."""

from __future__ import annotations

import base64
import email
import email.policy
from collections.abc import AsyncIterator
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.address import NULL_PATH
from gateway.config import Config, Contacts, Route
from gateway.keeper.access import Who
from gateway.keeper.accounts import ALL
from gateway.keeper.notify import AN_HOUR, HOUR
from gateway.policy import Policy, contacts
from gateway.policy.rules import Rule, RuleSet
from gateway.relay.notices import Notices
from gateway.relay.outcomes import Attempt, Outcomes
from gateway.reply import Reply
from gateway.requests import AddException, Committed, Stale
from gateway.stores.base import DeliveryRow, StoreError
from gateway.verdict import Direction, Disposition, Edit, Headers, RuleTrace
from tests.keeper_kit import NOW, Room, inspection, recipient, shipped_policy, transaction, verdict

DELIVER, HOLD, REFUSE = Disposition.DELIVER, Disposition.HOLD, Disposition.REFUSE
DESK, OUT, REGISTRY = "desk@finance.nic.in", "x@example.com", "registry@dept.gov.in"
NODAL = "nodal@dept.gov.in"
FILED = RuleTrace("file-number", True, then="")
BLOCKED = RuleTrace("blocked", True, then="hold")


def with_rules(*rules: Rule) -> Policy:
    """The shipped policy with *rules* after its own."""
    shipped = shipped_policy()
    return changed(shipped, rules=RuleSet((*shipped.rules.rules, *rules), shipped.version + "+"), version=shipped.version + "+")


FILE_RULE = Rule("file-number", "Mail with a file number", "", "message.size >= 0", None, "", "", copies=("registry",))
TOLD_RULE = Rule("blocked", "Something was blocked", "", "false", HOLD, "", "4.7.1", notify=("nodal",))


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    made = Room(tmp_path)
    made.config = made.config.model_copy(
        update={"contacts": Contacts(registry=REGISTRY, nodal=NODAL, security="SecOps@dept.gov.in", postmaster="pm@elsewhere.example")}
    )
    made.policy = with_rules(FILE_RULE, TOLD_RULE)
    await made.open()
    yield made
    await made.close()


def filed(address: str, disposition: Disposition = DELIVER, **more: Any) -> Any:
    return recipient(address, disposition, **({"copies": ("registry",), "trace": (FILED,)} | more))


async def rows(room: Room, reference: str) -> list[DeliveryRow]:
    return await room.store.deliveries(reference=reference)


# --- copies -----------------------------------------------------------------------------------------------------------


async def test_a_copy_goes_once_however_many_recipients_ask(room: Room) -> None:
    tx = transaction(DESK, OUT)
    marked = (Edit("replace", "Subject", "[CONFIDENTIAL] x"), Edit("add", "X-Gateway-Reference", "R"))
    one = filed(OUT, edits=marked, require_aes256=True, direction=Direction.OUTBOUND)
    await room.commit(tx, verdict(room.version, one, filed(DESK, require_aes256=True)))
    found = await rows(room, tx.reference)
    assert sorted(row.recipient for row in found) == sorted([DESK, OUT, REGISTRY])
    copy = next(row for row in found if row.recipient == REGISTRY)
    assert (copy.notify, copy.orcpt, copy.direction, copy.require_aes256) == (("NEVER",), "", "internal", True)
    assert [edit.action for edit in copy.edits] == ["add"], "the mark before the subject is for outside"
    assert (copy.sender, copy.message_id, copy.sha256) == (tx.envelope.sender.text, tx.id, tx.sha256)
    assert copy.id in {row.id for offered, _ in room.relay.offered for row in offered}
    events = [line for line in await room.lines() if line["event"]["action"] == "message-copied"]
    assert len(events) == 1
    assert events[0]["rule"]["id"] == "file-number"
    assert events[0]["gateway"]["act"] == {"contact": "registry", "copied_for": [OUT, DESK], "delivery": copy.id}
    assert events[0]["gateway"]["reference"] == tx.reference


@pytest.mark.parametrize(
    "verdicts",
    [
        [filed(DESK, HOLD), recipient(OUT)],
        [filed(DESK, REFUSE), recipient(OUT)],
        [filed(DESK, REFUSE)],
        [recipient(DESK), recipient(OUT)],
        [filed(REGISTRY), filed(DESK)],
        [filed("Registry@dept.gov.in"), filed(DESK)],
        [filed(DESK), recipient(REGISTRY, HOLD)],
    ],
    ids=["held", "refused", "all-refused", "nobody-asks", "registry-gets-it", "registry-in-other-case", "registry-waits"],
)
async def test_what_makes_no_copy(room: Room, verdicts: list[Any]) -> None:
    tx = transaction(*(one.address for one in verdicts))
    assert isinstance(await room.commit(tx, verdict(room.version, *verdicts)), Committed)
    assert not [line for line in await room.lines() if line["event"]["action"] == "message-copied"]
    assert [row.recipient for row in await rows(room, tx.reference)].count(REGISTRY) == (verdicts[0].address == REGISTRY)


async def test_sealed_and_session_refused_mail_is_never_copied(room: Room) -> None:
    for changes in ({"sealed": True}, {"session_refusal": True}):
        tx = transaction(DESK)
        await room.commit(tx, replace(verdict(room.version, filed(DESK)), **changes))
        assert await rows(room, tx.reference) == []


async def test_no_copy_goes_where_copies_may_not_go(room: Room) -> None:
    for address in ("", "registry", "registry@gmail.com", "registry@example.com"):
        room.copies._config = room.config.model_copy(update={"contacts": Contacts(registry=address)})
        tx = transaction(DESK)
        await room.commit(tx, verdict(room.version, filed(DESK)))
        assert [row.recipient for row in await rows(room, tx.reference)] == [DESK], address


async def test_a_copy_is_durable_with_the_decision_or_not_at_all(room: Room) -> None:
    version = room.version
    await room.register.add(AddException("a@dept.gov.in", "*", "why", "asha", "bina", NOW + 100), "root")
    tx = transaction(DESK)
    assert isinstance(await room.commit(tx, verdict(version, filed(DESK))), Stale)
    assert await rows(room, tx.reference) == []
    assert room.relay.offered == []


async def released(room: Room, tx: Any, *to: str) -> str:
    hold = await room.store.hold(tx.reference)
    assert hold is not None
    return await room.quarantine.release(hold.id, "looked at it", to, Who("asha", grants=ALL))


async def test_a_release_makes_the_copy_once_a_message(room: Room) -> None:
    tx = transaction(DESK, "head@home.gov.in")
    held = verdict(room.version, filed(DESK, HOLD), filed("head@home.gov.in", HOLD))
    await room.commit(tx, replace(held, recipient_facts=()))
    assert await rows(room, tx.reference) == []
    await released(room, tx, DESK)
    assert sorted(row.recipient for row in await rows(room, tx.reference)) == sorted([DESK, REGISTRY])
    copy = next(row for row in await rows(room, tx.reference) if row.recipient == REGISTRY)
    assert (copy.notify, copy.direction) == (("NEVER",), "internal")
    await released(room, tx)
    assert [row.recipient for row in await rows(room, tx.reference)].count(REGISTRY) == 1, "the first release made it"
    assert [line["event"]["action"] for line in await room.lines()].count("message-copied") == 1


async def test_a_release_after_a_delivery_that_was_copied_makes_none(room: Room) -> None:
    tx = transaction(DESK, "head@home.gov.in")
    mixed = verdict(room.version, filed(DESK), filed("head@home.gov.in", HOLD))
    await room.commit(tx, replace(mixed, recipient_facts=()))
    await released(room, tx)
    assert [row.recipient for row in await rows(room, tx.reference)].count(REGISTRY) == 1


async def test_a_copy_that_fails_is_listed_for_the_postmaster_and_the_officer_is_not_told(room: Room) -> None:
    tx = transaction(DESK)
    await room.commit(tx, verdict(room.version, filed(DESK)))
    copy = next(row for row in await rows(room, tx.reference) if row.recipient == REGISTRY)

    class Still:
        time = staticmethod(lambda: NOW)
        monotonic = staticmethod(lambda: 0.0)

    outcomes = Outcomes(room.config, Notices(room.config, room.vault, lambda: room.policy.explanations), Still(), "inc-1")

    async def header() -> bytes:
        return b""

    record = await outcomes.record([copy], Attempt((Reply(550, "5.1.1", "no such user"),), "hop"), header)
    assert record.reports == []
    assert [(hold.reason, hold.recipients) for hold in record.holds] == [("postmaster", (REGISTRY,))]


# --- notices ----------------------------------------------------------------------------------------------------------


def told(address: str, disposition: Disposition = HOLD, **more: Any) -> Any:
    return recipient(address, disposition, **({"notify": ("nodal",), "trace": (BLOCKED,), "rule": "blocked"} | more))


async def notices(room: Room) -> list[tuple[DeliveryRow, Any]]:
    """Every notice in the queue, opened."""
    out = []
    for row in await room.store.deliveries(all=True):
        message = await room.store.message(row.message_id)
        if message is not None and message.door == "notice":
            sealed = await room.store.body(row.body_id)
            assert sealed is not None
            out.append((row, email.message_from_bytes(room.vault.open(sealed), policy=email.policy.default)))
    return out


async def test_a_notice_says_what_was_done_and_nothing_of_the_message(room: Room) -> None:
    tx = transaction(DESK, OUT, "b@home.gov.in")
    made = verdict(room.version, told(DESK), told(OUT, REFUSE), recipient("b@home.gov.in"), level=None)
    await room.commit(tx, made)
    [(row, mail)] = await notices(room)
    assert (row.recipient, row.sender, row.notify, row.is_report, row.direction) == (NODAL, "", ("NEVER",), True, "internal")
    assert row.id in {one.id for offered, _ in room.relay.offered for one in offered}
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["To"] == NODAL
    text = mail.get_content()
    done = "Recipients: 3 (delivered: 1, held for review: 1, refused: 1)"
    for part in (tx.reference, "blocked", "Something was blocked", "so@dept.gov.in", done):
        assert part in text, part
    assert "प्राप्तकर्ता: 3" in text, "in Hindi too"
    for secret in ("heron", "eagle", "thursday", "secret plan", DESK, OUT):
        assert secret not in text
        assert secret not in str(mail["Subject"])
    event = next(line for line in await room.lines() if line["event"]["action"] == "contact-notified")
    assert (event["gateway"]["act"]["contact"], event["rule"]["id"], event["gateway"]["reference"]) == ("nodal", "blocked", tx.reference)


async def test_R8_a_refusal_in_the_session_is_told_too(room: Room) -> None:
    tx = transaction(DESK)
    await room.commit(tx, verdict(room.version, told(DESK, REFUSE), session_refusal=True))
    [(_, mail)] = await notices(room)
    assert "refused: 1" in mail.get_content()
    assert await room.store.message(tx.id) is None, "nothing of the message is kept"


async def test_one_notice_a_message_and_contact(room: Room) -> None:
    room.notifier._config = room.config.model_copy(update={"contacts": Contacts(nodal=NODAL, security="Nodal@dept.gov.in")})
    await room.commit(transaction(DESK, OUT), verdict(room.version, told(DESK, notify=("nodal", "security")), told(OUT)))
    assert len(await notices(room)) == 1


@pytest.mark.parametrize(
    ("contact", "headers"),
    [
        (("postmaster",), {}),
        (("registry", "nodal"), {"auto_submitted": "auto-generated"}),
        (("nodal",), {"auto_submitted": "Auto-Replied"}),
    ],
    ids=["outside-the-organisation", "a-notice-that-was-forwarded", "a-reply"],
)
async def test_L05_who_is_not_told(room: Room, contact: tuple[str, ...], headers: dict[str, str]) -> None:
    await room.commit(transaction(DESK), verdict(room.version, told(DESK, notify=contact), headers=Headers(**headers)))  # type: ignore[arg-type]
    assert await notices(room) == []


async def test_L05_a_hostile_sender_breaks_no_line_of_a_notice(room: Room) -> None:
    tx = transaction(DESK, verified=False)
    hostile = replace(NULL_PATH, local="a\u202e\r\nBcc: x@y.z\r\n\r\n<script>" + "b" * 500, domain="evil.example")
    tx = replace(tx, envelope=replace(tx.envelope, sender=hostile))
    await room.commit(tx, verdict(room.version, told(DESK)))
    [(row, mail)] = await notices(room)
    sealed = await room.store.body(row.body_id)
    assert sealed is not None
    head, _, body = room.vault.open(sealed).partition(b"\r\n\r\n")
    assert b"Bcc" not in head
    assert head.isascii()
    line = next(one for one in base64.b64decode(body).decode("utf-8").split("\r\n") if one.startswith("Sender:"))
    assert "\u202e" not in line
    assert len(line) < 270
    assert mail["Bcc"] is None


async def test_more_than_twenty_an_hour_are_told_together(room: Room) -> None:
    for _ in range(AN_HOUR + 3):
        await room.commit(transaction(DESK), verdict(room.version, told(DESK)))
    assert len(await notices(room)) == AN_HOUR
    assert room.notifier.summaries("inc-1").reports == [], "the hour is not over"
    room.now += HOUR
    summary = room.notifier.summaries("inc-1")
    [report] = summary.reports
    text = email.message_from_bytes(report.content, policy=email.policy.default).get_content()
    assert "3 more decisions" in text
    assert "blocked (Something was blocked)" in text
    assert summary.audit[0].document["gateway"]["act"]["count"] == 3
    assert len(room.notifier.summaries("inc-1").reports) == 1, "until it is durable"
    room.notifier.forget(summary)
    assert room.notifier.summaries("inc-1").reports == [], "once"
    await room.commit(transaction(DESK), verdict(room.version, told(DESK)))
    assert len(await notices(room)) == AN_HOUR + 1, "a new hour"


async def test_a_notice_that_did_not_become_durable_is_not_counted(room: Room) -> None:
    write = room.store.write

    async def broken(batch: Any) -> None:
        raise StoreError("disk")

    room.store.write = broken  # type: ignore[method-assign]
    for disposition in (HOLD, REFUSE):
        for _ in range(AN_HOUR):
            with pytest.raises(StoreError):
                await room.commit(transaction(DESK), verdict(room.version, told(DESK, disposition), session_refusal=disposition is REFUSE))
    room.store.write = write  # type: ignore[method-assign]
    for _ in range(AN_HOUR):
        await room.commit(transaction(DESK), verdict(room.version, told(DESK)))
    assert len(await notices(room)) == AN_HOUR


# --- the contacts of the config ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("registry", "right"),
    [
        ("", True), ("registry@dept.gov.in", True), ("registry@local.example", True), ("registry@nic.in", True),
        ("registry@gmail.com", False), ("registry@example.com", False), ("registry", False), ("Registry <registry@dept.gov.in>", False),
    ],
)  # fmt: skip
def test_the_registry_is_ours_local_or_government(registry: str, right: bool) -> None:
    routes = (Route(domains=("local.example",), local=True, next_hop="127.0.0.1:25", tls="none"),)
    config = Config(contacts=Contacts(registry=registry), originators={"domains": ("dept.gov.in",)}, route=routes)
    assert (not list(contacts.wrong(config, shipped_policy()))) is right


def test_what_rules_ask_for_and_the_config_lacks_is_said() -> None:
    policy = with_rules(FILE_RULE, TOLD_RULE, changed(TOLD_RULE, id="watched", mode="monitor"))
    config = Config(originators={"domains": ("dept.gov.in",)}, contacts=Contacts(nodal="nodal@elsewhere.nic.in"))
    said = [line for line in contacts.missing(config, policy) if "file-number" in line or "blocked" in line or "watched" in line]
    assert len(said) == 2
    assert "contacts.registry" in said[0]
    assert "nodal@elsewhere.nic.in" in said[1]


async def test_a_rule_that_asks_makes_the_copy_through_the_whole_decision(room: Room) -> None:
    from gateway.policy import decide

    tx = transaction(DESK)
    made = decide.decide(tx, inspection(), room.policy, room.register.current, room.config)
    assert made.recipients[0].copies == ("registry",)
    await room.commit(tx, made)
    assert sorted(row.recipient for row in await rows(room, tx.reference)) == sorted([DESK, REGISTRY])

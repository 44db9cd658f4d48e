"""The officer's side in the keeper: signed links, what is shown, what may be asked (W06, W05, L05)."""

from __future__ import annotations

import base64
import dataclasses
import email
import email.policy
import json
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from gateway import policy
from gateway.config import Config, Contacts, Relay, Web
from gateway.envelope import Door, new_id, reference_of
from gateway.keeper.access import Absent, Who
from gateway.keeper.exceptions import Wrong
from gateway.keeper.officers import Officers
from gateway.levels import Level
from gateway.review import MyMail, OfficerAnswer, OfficerAsk, OfficerItem, OfficerObject, OfficerWords
from gateway.roles import Grant
from gateway.stores.base import Batch, HoldRow, HoldState, UserRow
from gateway.stores.reviewed import RemarkKind
from gateway.vault.officer_links import OfficerLinks
from gateway.vault.vault import Vault, evidence_key
from gateway.verdict import Disposition
from tests.held_mail import PEOPLE
from tests.held_mail import WHO as WHOS
from tests.held_mail import held as really_held
from tests.keeper_kit import NOW, Room, make_vault, recipient, transaction, verdict

HOLD, REFUSE = Disposition.HOLD, Disposition.REFUSE
SENDER = "so@dept.gov.in"
PUBLIC = "https://gateway.dept.gov.in"
WHY = "The court asked for it by tonight."
DAY = 86400.0
FACTS = (("file", "n.docx"), ("level", "RESTRICTED"))
GMAIL = (("recipient", "a@gmail.com"), ("domain", "gmail.com"), ("provider", "Google Gmail"))


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    made = Room(tmp_path)
    made.config = made.config.model_copy(update={
        "web": Web(public_url=PUBLIC), "contacts": Contacts(postmaster="postmaster@dept.gov.in", security="secops@dept.gov.in"),
    })  # fmt: skip
    yield await made.open()
    await made.close()


class Desk:
    """The officers' service of one room, with tokens made the way that reports make them."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.mono = 0.0
        self.officers = Officers(room.quarantine.mail, room.relay, lambda: room.policy, self.monotonic)
        self.links = OfficerLinks(room.config, room.vault)

    def monotonic(self) -> float:
        self.mono += 100.0
        return self.mono

    def token(self, reference: str, sender: str = SENDER) -> str:
        return self.links.token(reference, sender, self.room.now)

    async def held(self, *addresses: str, level: Level | None = Level.RESTRICTED, **changes: Any) -> HoldRow:
        tx = transaction(*(addresses or ("desk@finance.nic.in",)))
        made = verdict(
            self.room.version, *(recipient(one, HOLD, rule="r1", explain="attachment-unencrypted", facts=(("recipient", one), *FACTS))
                                 for one in addresses or ("desk@finance.nic.in",)), level=level,
        )  # fmt: skip
        await self.room.commit(tx, replace(made, headers=replace(made.headers, subject="the heron flies"), **changes))
        found = await self.room.store.hold(tx.reference)
        assert found is not None
        return found

    async def row(self, token: str, language: str = "en") -> dict[str, Any]:
        return dict((await self.officers.item(OfficerItem(token, language))).rows[0])

    async def sent(self) -> list[tuple[str, str]]:
        """To whom mail of ours went, and its text."""
        return [(rows[0].recipient, text_of(content)) for rows, content in self.room.relay.offered]


def text_of(content: bytes) -> str:
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    body = message.get_body(("plain",))
    assert body is not None
    return f"{message['Subject']}\n{body.get_content()}"


@pytest.fixture
def desk(room: Room) -> Desk:
    return Desk(room)


async def staff(room: Room) -> None:
    await room.store.write(Batch(users=list(PEOPLE.values())))


async def add_user(room: Room, name: str, *grants: str, mail: str = "") -> None:
    await room.store.write(Batch(users=[UserRow(name, "", mail or f"{name}@dept.gov.in", "", NOW, grants=grants)]))


# --- links --------------------------------------------------------------------------------------------------------------------------


def links(vault: Vault | None = None, **web: Any) -> OfficerLinks:
    return OfficerLinks(Config(web=Web(public_url=PUBLIC, **web)), vault or make_vault())


REFERENCE = reference_of(new_id())


def test_a_link_names_message_originator_and_end() -> None:
    made = links()
    url = made.url(REFERENCE, SENDER, NOW)
    assert url.startswith(f"{PUBLIC}/officer/")
    token = url.rpartition("/")[2]
    assert len(token) == 72
    assert token.isalnum()
    assert REFERENCE.lower() not in token
    link = made.read(token, NOW)
    assert link is not None
    assert (link.reference, link.expires) == (REFERENCE, NOW + 30 * DAY)
    assert made.is_of(link, "SO@dept.gov.in")
    assert not made.is_of(link, "other@dept.gov.in")
    assert not made.is_of(link, "")


def test_the_end_follows_the_config() -> None:
    assert links(officer_link_days=2).read(links(officer_link_days=2).token(REFERENCE, SENDER, NOW), NOW + 2 * DAY - 1) is not None
    assert links(officer_link_days=2).read(links(officer_link_days=2).token(REFERENCE, SENDER, NOW), NOW + 2 * DAY) is None
    longer = OfficerLinks(Config(relay=Relay(hold_days=20)), make_vault())
    found = longer.read(longer.token(REFERENCE, SENDER, NOW), NOW)
    assert found is not None
    assert found.expires == NOW + 35 * DAY


def test_W06_every_flipped_bit_is_refused() -> None:
    made = links()
    octets = base64.b32decode(made.token(REFERENCE, SENDER, NOW).upper())
    for bit in range(len(octets) * 8):
        changed = bytearray(octets)
        changed[bit // 8] ^= 1 << bit % 8
        assert made.read(base64.b32encode(bytes(changed)).decode().lower(), NOW) is None, bit


def test_W06_every_changed_character_is_refused() -> None:
    made = links()
    token = made.token(REFERENCE, SENDER, NOW)
    for place in range(len(token)):
        other = "b" if token[place] == "a" else "a"
        assert made.read(token[:place] + other + token[place + 1 :], NOW) is None, place


@pytest.mark.parametrize(
    "change",
    [
        lambda t: "", lambda t: t[:-1], lambda t: t[:64], lambda t: t + "a", lambda t: t + "=", lambda t: t.upper(), lambda t: " " + t,
        lambda t: t + "\n", lambda t: t[:71] + "\u0661", lambda t: t * 100_000, lambda t: t[::-1], lambda t: "a" * 72, lambda t: "7" * 72,
        lambda t: "eyJhbGciOiJub25lIn0.eyJyZWYiOiIxIn0.", lambda t: "../" * 24, lambda t: "%00" * 24, lambda t: REFERENCE,
    ],
)  # fmt: skip
def test_W06_truncated_forged_and_none_are_refused(change: Any) -> None:
    made = links()
    assert made.read(change(made.token(REFERENCE, SENDER, NOW)), NOW) is None


def test_W06_a_token_of_another_key_version_or_purpose_is_refused() -> None:
    made, vault = links(), make_vault()
    assert made.read(links(Vault({"k2": b"\x08" * 32}, "k2")).token(REFERENCE, SENDER, NOW), NOW) is None
    octets = base64.b32decode(made.token(REFERENCE, SENDER, NOW).upper())
    for signed, mac in (
        (octets[:29], vault.link_mac(octets[:29])[:16]),  # signed with the key, for nothing
        (octets[:29], vault.link_mac(b"originator\0" + octets[:29])[:16]),
        (b"\x02" + octets[1:29], vault.link_mac(b"page\0\x02" + octets[1:29])[:16]),
        (octets[:29], bytes(16)),
    ):
        assert made.read(base64.b32encode(signed + mac).decode().lower(), NOW) is None


def test_a_link_outlives_the_rotation_of_the_vault_key() -> None:
    old = make_vault()
    token = links(old).token(REFERENCE, SENDER, NOW)
    pinned = evidence_key(b"\x07" * 32)
    assert links(Vault({"k1": b"\x07" * 32, "k2": b"\x09" * 32}, "k2", pinned)).read(token, NOW) is not None


@pytest.mark.parametrize(
    ("reference", "sender"),
    [("", SENDER), ("REF", SENDER), (REFERENCE.lower(), SENDER), ("Z" * 26, SENDER), (REFERENCE, "")],
    ids=["none", "short", "small-letters", "no-reference", "no-sender"],
)
def test_nobody_else_gets_a_link(reference: str, sender: str) -> None:
    assert links().url(reference, sender, NOW) == ""


def test_without_an_address_of_the_page_there_is_no_link() -> None:
    assert OfficerLinks(Config(), make_vault()).url(REFERENCE, SENDER, NOW) == ""


# --- what reports and replies carry --------------------------------------------------------------------------------------------------


async def test_the_notice_of_held_mail_has_a_link_that_opens(desk: Desk) -> None:
    hold = await desk.held()
    ((to, text),) = await desk.sent()
    assert to == SENDER
    token = text.partition("/officer/")[2].split()[0]
    assert (await desk.row(token))["reference"] == hold.reference


async def test_a_refusal_in_the_session_has_a_link_for_the_originator_alone(desk: Desk) -> None:
    made = verdict(
        desk.room.version,
        recipient("a@nic.in", REFUSE, rule="secret", explain="secret-on-the-internet"),
        session_refusal=True,
        level=Level.SECRET,
    )
    answered = await desk.room.commit(tx := transaction("a@nic.in"), made)
    assert answered.reply.code == 550
    token = answered.reply.text.partition("/officer/")[2]
    assert answered.reply.text.isascii()
    row = await desk.row(token)
    assert (row["state"], row["subject"], row["may_ask"]) == ("stopped", "", True)
    assert row["recipients"][0]["what"].startswith("A message with a marking of SECRET")
    assert row["reference"] == tx.reference
    stranger = transaction("a@nic.in", sender="x@example.com", verified=False)
    answered = await desk.room.commit(stranger, made)
    assert "/officer/" not in answered.reply.text
    assert stranger.reference in answered.reply.text
    with pytest.raises(Absent):
        await desk.row(desk.token(stranger.reference, "x@example.com"))


# --- the page ------------------------------------------------------------------------------------------------------------------------


async def test_the_page_says_what_the_report_says(desk: Desk) -> None:
    hold = await desk.held("desk@finance.nic.in", "b@nic.in")
    row = await desk.row(desk.token(hold.reference))
    assert (row["state"], row["subject"], row["sender"]) == ("held", "the heron flies", SENDER)
    assert [one["address"] for one in row["recipients"]] == ["desk@finance.nic.in", "b@nic.in"]
    first = row["recipients"][0]
    assert first["what"] == "The message is held: 'n.docx' is RESTRICTED but is not encrypted."
    assert (first["rule"], first["source"], first["state"]) == ("r1", "J&K Circular", "held")
    assert any("7-Zip" in step for step in first["next"])
    assert [one["step"] for one in row["way"]] == ["stopped"]
    assert (row["may_ask"], row["may_object"], row["may_answer"]) == (True, True, False)
    assert row["deadline"] == hold.deadline
    assert "रोका गया" in (await desk.row(desk.token(hold.reference), "hi"))["recipients"][0]["what"]
    assert (await desk.row(desk.token(hold.reference), "xx"))["language"] == "en"


async def test_refused_mail_is_shown_with_the_words_of_its_report(desk: Desk) -> None:
    tx = transaction("a@gmail.com", "b@nic.in")
    made = verdict(
        desk.room.version,
        recipient("a@gmail.com", REFUSE, rule="r2", explain="outbound-to-private-provider", facts=GMAIL),
        recipient("b@nic.in"),
    )  # fmt: skip
    await desk.room.commit(tx, made)
    row = await desk.row(desk.token(tx.reference))
    assert (row["state"], row["delivered"], row["deadline"]) == ("stopped", 1, 0.0)
    (one,) = row["recipients"]
    assert one["what"] == "The message was not sent to a@gmail.com: Google Gmail is a private e-mail provider."
    message = await desk.room.store.message(tx.id)
    assert message is not None
    assert b"Gmail" not in message.details, "the words are sealed"


FILED = {
    "en": ("'…' could not be inspected.", "is not filed", "is held", "reviewer"),
    "hi": ("'…' की जाँच नहीं हो सकी।", "सहेजा नहीं गया है", "रोका गया", "समीक्षक"),
    "gu": ("'…' ની તપાસ થઈ શકી નથી.", "સાચવવામાં આવ્યો નથી", "રોકવામાં", "સમીક્ષા"),
    "mr": ("'…' ची तपासणी होऊ शकली नाही.", "जतन केलेला नाही", "थांबवला", "तपासणी अधिकारी"),
}


async def test_I06_of_what_was_not_filed_nobody_is_told_that_it_is_held(desk: Desk) -> None:
    """As mail it would wait for a reviewer; a mail program cannot, so it was refused, and nothing of it is here."""
    languages = tuple(FILED)
    desk.room.policy = policy.load(None, desk.room.config.model_copy(update={"languages": languages}))
    tx = transaction("so@dept.gov.in", door=Door.IMAP)
    one = recipient("so@dept.gov.in", REFUSE, rule="suspect-content", explain="suspect-content", facts=FACTS)
    await desk.room.commit(tx, verdict(desk.room.version, one))
    for language, (kept, said, held, waits) in FILED.items():
        row = await desk.row(desk.token(tx.reference), language)
        (shown,) = row["recipients"]
        assert (row["state"], shown["state"], row["may_ask"]) == ("not-filed", "not-filed", True)
        assert kept in shown["what"]
        assert said in shown["what"]
        assert held not in shown["what"]
        assert not [step for step in shown["next"] if waits in step]
        assert shown["next"], "what can be done stays"
        assert desk.room.policy.explanations.phrase("officer-not-filed", language)


async def test_I06_what_would_be_sealed_is_not_said_to_be_where_it_was_not_filed(desk: Desk) -> None:
    desk.room.policy = policy.load(None, desk.room.config)
    tx = transaction("so@dept.gov.in", door=Door.IMAP)
    one = recipient("so@dept.gov.in", REFUSE, rule="probable-secret", explain="probable-secret")
    await desk.room.commit(tx, verdict(desk.room.version, one))
    for language, word in (("en", "sealed"), ("hi", "मुहरबंद")):
        (shown,) = (await desk.row(desk.token(tx.reference), language))["recipients"]
        assert "SECRET" in shown["what"]
        assert word not in shown["what"]


async def test_without_kept_words_the_sentence_is_whole(desk: Desk) -> None:
    made = verdict(
        desk.room.version, recipient("a@gmail.com", REFUSE, rule="r2", explain="outbound-to-private-provider"), session_refusal=True
    )
    await desk.room.commit(tx := transaction("a@gmail.com"), made)
    row = await desk.row(desk.token(tx.reference))
    assert row["recipients"][0]["what"] == "The message was not sent to a@gmail.com: Google Gmail is a private e-mail provider."


async def test_of_mail_that_may_be_secret_no_subject_is_shown(desk: Desk) -> None:
    hold = await desk.held(level=Level.SECRET)
    assert (await desk.row(desk.token(hold.reference)))["subject"] == ""


async def test_W05_wrong_ended_and_foreign_links_are_one_answer(desk: Desk) -> None:
    hold = await desk.held()
    good = desk.token(hold.reference)
    said = set()
    for token in ("", "x", good[:-1], good[:-1] + ("a" if good[-1] != "a" else "b"), desk.token(reference_of(new_id())),
                  desk.token(hold.reference, "other@dept.gov.in"), hold.reference, hold.id):  # fmt: skip
        for asked in (
            desk.officers.item(OfficerItem(token)), desk.officers.ask(OfficerAsk(token, WHY)),
            desk.officers.object(OfficerObject(token, WHY)), desk.officers.answer(OfficerAnswer(token, WHY)),
        ):  # fmt: skip
            with pytest.raises(Absent) as error:
                await asked
            said.add((str(error.value), error.value.code))
    desk.room.now += 31 * DAY
    with pytest.raises(Absent) as error:
        await desk.row(good)
    said.add((str(error.value), error.value.code))
    assert len(said) == 1
    assert await desk.room.store.reviewing.remarks(hold.reference) == []


async def test_looking_changes_nothing(desk: Desk) -> None:
    hold = await desk.held()
    before = await desk.room.lines()
    for _ in range(3):  # a mail scanner follows the link
        await desk.row(desk.token(hold.reference))
    assert await desk.room.lines() == before
    assert await desk.room.store.hold(hold.reference) == hold


# --- asking --------------------------------------------------------------------------------------------------------------------------


async def test_release_is_asked_for_once_and_reviewers_are_told(desk: Desk) -> None:
    await add_user(desk.room, "asha", "reviewer@dept.gov.in")
    await add_user(desk.room, "binu", "second-approver")
    await add_user(desk.room, "chitra", "reviewer@other.gov.in")
    await add_user(desk.room, "dev", "reviewer", mail="dev@example.com")
    await add_user(desk.room, "ela", "auditor")
    hold = await desk.held("desk@finance.nic.in", "b@nic.in")
    token = desk.token(hold.reference)
    desk.room.now += 60
    await desk.officers.ask(OfficerAsk(token, f"  {WHY}\n", ("b@nic.in",)))
    after = await desk.room.store.hold(hold.reference)
    assert after is not None
    assert (after.state, after.requested) == (HoldState.REQUESTED, desk.room.now)
    (remark,) = await desk.room.store.reviewing.remarks(hold.reference)
    assert (remark.kind, remark.author, remark.to, remark.hold_id) == (RemarkKind.REQUEST, SENDER, "b@nic.in", hold.id)
    assert WHY.encode() not in remark.text
    assert desk.room.vault.open_field(remark.id, remark.text).decode() == WHY
    told = (await desk.sent())[1:]
    assert sorted(to for to, _ in told) == ["asha@dept.gov.in", "binu@dept.gov.in"]
    assert all(f"{PUBLIC}/held/{hold.id}" in text and WHY not in text and "heron" not in text for _, text in told)
    last = (await desk.room.lines())[-1]
    assert last["event"]["action"] == "officer-requested"
    assert WHY not in json.dumps(last)
    assert "user" not in last
    row = await desk.row(token)
    assert (row["state"], row["may_ask"], [one["step"] for one in row["way"]]) == ("requested", False, ["stopped", "requested"])
    assert [(one["kind"], one["author"], one["text"]) for one in row["remarks"]] == [("request", "you", WHY)]
    with pytest.raises(Wrong, match="already"):  # W06: replayed
        await desk.officers.ask(OfficerAsk(token, WHY))
    assert len(await desk.sent()) == 3


async def test_with_nobody_to_tell_the_contact_is_told_and_never_anybody_outside(desk: Desk) -> None:
    hold = await desk.held()
    await desk.officers.ask(OfficerAsk(desk.token(hold.reference), WHY))
    assert [to for to, _ in await desk.sent()][1:] == ["secops@dept.gov.in"]


async def test_without_an_address_inside_nobody_is_told_and_it_is_recorded(desk: Desk) -> None:
    object.__setattr__(desk.room.config, "contacts", Contacts(postmaster="x@example.com", security="y@example.com"))
    hold = await desk.held()
    await desk.officers.ask(OfficerAsk(desk.token(hold.reference), WHY))
    assert len(await desk.sent()) == 1
    assert len(await desk.room.store.reviewing.remarks(hold.reference)) == 1


@pytest.mark.parametrize("text", ["", "short", " " * 50, "\u200b" * 50, "a" * 2001, "a" * 200_000, "\x00" * 100])
async def test_what_is_written_has_10_to_2000_characters(desk: Desk, text: str) -> None:
    hold = await desk.held()
    for request in (OfficerAsk, OfficerObject):
        handler = desk.officers.open()[request]
        with pytest.raises(Wrong, match="10 to 2000"):
            await handler(request(desk.token(hold.reference), text))


async def test_of_other_recipients_nothing_can_be_asked(desk: Desk) -> None:
    hold = await desk.held()
    with pytest.raises(Wrong, match="not among"):
        await desk.officers.ask(OfficerAsk(desk.token(hold.reference), WHY, ("hidden@nic.in",)))


async def test_refused_mail_is_asked_for_at_the_contact(desk: Desk) -> None:
    made = verdict(desk.room.version, recipient("a@gmail.com", REFUSE, rule="r2", explain="outbound-to-private-provider"))
    await desk.room.commit(tx := transaction("a@gmail.com"), made)
    token = desk.token(tx.reference)
    await desk.officers.ask(OfficerAsk(token, WHY))
    to, text = (await desk.sent())[-1]
    assert to == "secops@dept.gov.in"
    assert "nothing can be released" in text
    assert WHY in text
    row = await desk.row(token)
    assert (row["may_ask"], [one["step"] for one in row["way"]]) == (False, ["stopped", "requested"])
    with pytest.raises(Wrong, match="already"):
        await desk.officers.ask(OfficerAsk(token, WHY))


async def test_of_secret_mail_what_was_written_does_not_go_by_mail(desk: Desk) -> None:
    made = verdict(
        desk.room.version,
        recipient("a@nic.in", REFUSE, rule="s", explain="secret-on-the-internet"),
        session_refusal=True,
        level=Level.SECRET,
    )
    await desk.room.commit(tx := transaction("a@nic.in"), made)
    await desk.officers.ask(OfficerAsk(desk.token(tx.reference), WHY))
    await desk.officers.object(OfficerObject(desk.token(tx.reference), WHY))
    assert len(await desk.sent()) == 2
    assert all(WHY not in text for _, text in await desk.sent())


async def test_a_mistake_goes_to_whoever_answers_for_the_rule(desk: Desk) -> None:
    hold = await desk.held()
    owned = dataclasses.replace(desk.room.policy.rules.rules[0], id="r1", owner="owner@dept.gov.in")
    desk.room.policy = dataclasses.replace(desk.room.policy, rules=SimpleNamespace(rules=(owned,)))  # type: ignore[arg-type]
    token = desk.token(hold.reference)
    for _ in range(3):
        await desk.officers.object(OfficerObject(token, WHY))
    sent = (await desk.sent())[1:]
    assert [to for to, _ in sent] == ["owner@dept.gov.in"] * 3
    assert WHY in sent[0][1]
    after = await desk.room.store.hold(hold.reference)
    assert after is not None
    assert after.state is HoldState.HELD, "nothing is released or asked for"
    with pytest.raises(Wrong, match="often enough"):
        await desk.officers.object(OfficerObject(token, WHY))
    assert (await desk.row(token))["may_object"] is False


async def test_a_question_is_answered_once(desk: Desk) -> None:
    await add_user(desk.room, "asha", "reviewer")
    await add_user(desk.room, "binu", "reviewer")
    hold = await desk.held()
    token = desk.token(hold.reference)
    with pytest.raises(Wrong, match="no question"):
        await desk.officers.answer(OfficerAnswer(token, WHY))
    asha = Who("asha", "asha@dept.gov.in", grants=(Grant.parse("reviewer"),))
    await desk.room.quarantine._remarks.ask(hold.id, "Is the court's order attached?", asha)
    to, text = (await desk.sent())[-1]
    assert to == SENDER
    assert text.partition("/officer/")[2].split()[0] == token
    row = await desk.row(token)
    assert (row["may_answer"], row["question"]) == (True, "Is the court's order attached?")
    assert "asha" not in json.dumps(row)
    await desk.officers.answer(OfficerAnswer(token, WHY))
    assert (await desk.sent())[-1][0] == "asha@dept.gov.in"
    assert (await desk.row(token))["may_answer"] is False
    with pytest.raises(Wrong, match="no question"):
        await desk.officers.answer(OfficerAnswer(token, WHY))


async def test_no_more_than_a_person_can_write(desk: Desk) -> None:
    hold = await desk.held()
    asha = Who("asha", "asha@dept.gov.in", grants=(Grant.parse("reviewer"),))
    desk.officers._monotonic = lambda: 5.0
    for _ in range(6):
        await desk.room.quarantine._remarks.ask(hold.id, "Is the court's order attached?", asha)
        await desk.officers.answer(OfficerAnswer(desk.token(hold.reference), WHY))
    await desk.room.quarantine._remarks.ask(hold.id, "Is the court's order attached?", asha)
    with pytest.raises(Wrong, match="wait a minute"):
        await desk.officers.answer(OfficerAnswer(desk.token(hold.reference), WHY))


# --- the answer ----------------------------------------------------------------------------------------------------------------------


async def test_whoever_asked_is_told_of_the_release(desk: Desk) -> None:
    await staff(desk.room)
    reference = await really_held(desk.room, "desk@finance.nic.in", "b@nic.in", level=Level.RESTRICTED)
    token = desk.token(reference)
    await desk.officers.ask(OfficerAsk(token, WHY))
    await desk.room.quarantine.release(reference, "It is fine.", ["b@nic.in"], WHOS["rev"])
    to, text = (await desk.sent())[-1]
    assert to == SENDER
    assert "b@nic.in" in text
    assert "desk@finance" not in text
    assert "still waits: 1" in text
    row = await desk.row(text.partition("/officer/")[2].split()[0])
    assert {one["address"]: one["state"] for one in row["recipients"]} == {"desk@finance.nic.in": "held", "b@nic.in": "released"}
    await desk.room.quarantine.release(reference, "It is fine.", [], WHOS["rev"])
    row = await desk.row(token)
    assert (row["state"], [one["step"] for one in row["way"]]) == ("released", ["stopped", "requested", "released"])
    with pytest.raises(Wrong, match="finished"):
        await desk.officers.ask(OfficerAsk(token, WHY))


async def test_the_first_of_two_is_a_step_without_a_name(desk: Desk) -> None:
    await staff(desk.room)
    reference = await really_held(desk.room, level=Level.CONFIDENTIAL)
    await desk.officers.ask(OfficerAsk(desk.token(reference), WHY))
    await desk.room.quarantine.release(reference, "It is fine.", [], WHOS["rev"])
    row = await desk.row(desk.token(reference))
    assert (row["state"], [one["step"] for one in row["way"]]) == ("approved", ["stopped", "requested", "approved"])
    assert "rev" not in json.dumps([row["way"], row["remarks"]])


async def test_whoever_did_not_ask_gets_no_mail_of_the_release(desk: Desk) -> None:
    await staff(desk.room)
    reference = await really_held(desk.room, level=Level.RESTRICTED)
    await desk.room.quarantine.release(reference, "It is fine.", [], WHOS["rev"])
    assert [rows[0].recipient for rows, _ in desk.room.relay.offered] == ["desk@finance.nic.in"]


async def test_a_refusal_shows_the_reviewers_note_and_no_name(desk: Desk) -> None:
    hold = await desk.held()
    asha = Who("asha", "asha@dept.gov.in", grants=(Grant.parse("reviewer"),))
    await desk.room.quarantine.refuse(hold.id, "Send it encrypted.", asha)
    row = await desk.row(desk.token(hold.reference))
    assert (row["state"], row["remarks"][-1]["text"], row["remarks"][-1]["author"]) == ("refused", "Send it encrypted.", "reviewer")
    assert "asha" not in json.dumps(row)
    assert (row["may_ask"], row["deadline"]) == (False, 0.0)


# --- signed in -----------------------------------------------------------------------------------------------------------------------


async def test_an_officer_sees_his_own_stopped_mail(desk: Desk) -> None:
    held = await desk.held()
    made = verdict(desk.room.version, recipient("a@gmail.com", REFUSE, rule="r2", explain="outbound-to-private-provider"))
    await desk.room.commit(refused := transaction("a@gmail.com"), made)
    await desk.room.commit(transaction("a@gmail.com", sender="other@dept.gov.in"), made)
    forged = transaction("a@gmail.com", sender=SENDER, verified=False)
    await desk.room.commit(forged, made)
    mine = (await desk.officers.mine(MyMail(), Who("so", SENDER, officer=True, senders=(SENDER, "@dept.gov.in")))).rows
    assert {one["reference"] for one in mine} == {held.reference, refused.reference}
    for one in mine:
        assert (await desk.row(one["token"]))["reference"] == one["reference"]
    assert (await desk.officers.mine(MyMail(), Who("x", "", officer=True, senders=("@dept.gov.in",)))).rows == ()


async def test_the_words_of_the_page_are_those_of_a_language(desk: Desk) -> None:
    row = (await desk.officers.words(OfficerWords("hi"))).rows[0]
    assert row["language"] == "hi"
    assert row["phrases"]["officer-title"] == "आपका रोका गया संदेश"
    assert [one["code"] for one in row["languages"]][:2] == ["en", "hi"]
    assert (await desk.officers.words(OfficerWords("../x"))).rows[0]["language"] == "en"

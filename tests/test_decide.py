"""Decisions as tables of values: direction, exceptions, answering, edits, release (docs/design.md section 4; A29, L02, L09, L10)."""

from __future__ import annotations

import json
import re
from pathlib import Path as FilePath
from typing import Any

import pytest
from msgspec.structs import replace

from gateway import address, policy
from gateway.address import Path
from gateway.config import Config, Contacts, Originators, Relay, Route, Sealed
from gateway.envelope import Door, Envelope, Peer, Recipient, Transaction
from gateway.levels import Level
from gateway.message import edits as message_edits
from gateway.policy import decide, facts, header_edits, register
from gateway.protection import Protection, ProtectionState
from gateway.requests import ExceptionRow, Exceptions, ProfileRow
from gateway.verdict import (
    Authentication,
    Confidence,
    Direction,
    Disposition,
    Edit,
    Finding,
    Headers,
    Inspection,
    Leaf,
    LeafState,
    RecipientVerdict,
    Tier,
    Verdict,
    Zone,
)  # fmt: skip

RULES = FilePath(__file__).parents[1] / "rules"
NOW = 1_795_000_000.0
CONFIG = Config(
    hostname="gw1.dept.gov.in",
    originators=Originators(domains=("dept.gov.in", "dept-jk.in", "team-external.gov.in"), networks=("10.0.0.0/8",)),
    contacts=Contacts(postmaster="postmaster@dept.gov.in"),
    route=(
        Route(domains=("dept.gov.in", ".dept.gov.in", "lists.dept.in"), local=True, next_hop="127.0.0.1:10026", tls="none"),
        Route(domains=("*",), next_hop="127.0.0.1:10027", tls="none"),
    ),
    sealed=Sealed(certificate=FilePath("/etc/gateway/officer.pem")),
)
POLICY = policy.load(RULES, CONFIG)
NONE = Exceptions("sha256:none", ())
LISTED = Peer("10.0.0.5", helo="pc.dept.gov.in", listed=True)
STRANGER = Peer("192.0.2.7", helo="mail.example.net")
SIGNED_IN = Peer("198.51.100.9", helo="laptop", user="officer", tls_version="TLSv1.3", tls_cipher="TLS_AES_256_GCM_SHA384", tls_bits=256)
BODY = Leaf("1", "", "text/plain", 200, LeafState.INSPECTED, is_attachment=False)
DOCX = Leaf("2:note.docx", "note.docx", "application/x-docx", 9000, LeafState.INSPECTED)
LOCKED = Leaf(
    "2:note.pdf", "note.pdf", "application/pdf", 9000, LeafState.OPAQUE,
    protection=Protection(ProtectionState.STRONG, "pdf", "AES-256-CBC", 256),
)  # fmt: skip
PICTURE = Leaf("2:photo.png", "photo.png", "image/png", 900, LeafState.UNINSPECTABLE)
BROKEN = Leaf("2:plan.dat", "plan.dat", "application/octet-stream", 900, LeafState.SUSPECT, "unknown type")


def path(text: str) -> Path:
    return address.NULL_PATH if text == "" else address.parse(text.encode(), smtputf8=True)


def finding(level: Level, where: str = "1", confidence: Confidence = Confidence.CERTAIN, zone: Zone = Zone.CONTROL_BLOCK) -> Finding:
    return Finding(level, where, zone, level.text, "en", confidence, "test")


def transaction(
    *to: str, sender: str = "officer@dept.gov.in", peer: Peer = LISTED, door: Door = Door.SMTP, config: Config = CONFIG
) -> Transaction:
    source = path(sender)
    envelope = Envelope(source, tuple(Recipient(path(one)) for one in to))
    return Transaction(
        "01999999-9999-7999-8999-999999999999",
        door,
        peer,
        envelope,
        NOW,
        4000,
        "0" * 64,
        decide.verified(source, peer, config),
        "dept.gov.in",
    )


def inspection(*leaves: Leaf, found: tuple[Finding, ...] = (), ambiguity: tuple[str, ...] = (), **headers: Any) -> Inspection:
    given = {
        "subject": "Secret words of the subject",
        "message_id": "<1@dept.gov.in>",
        "from_addresses": ("officer@dept.gov.in",),
    } | headers
    return Inspection("0" * 64, Headers(**given), leaves or (BODY,), found, ambiguity)


def decided(*to: str, seen: Inspection | None = None, exceptions: Exceptions = NONE, config: Config = CONFIG, **tx: Any) -> Verdict:
    return decide.decide(transaction(*to, config=config, **tx), seen or inspection(), POLICY, exceptions, config)


def one(*args: Any, **more: Any) -> RecipientVerdict:
    verdict = decided(*args, **more)
    assert len(verdict.recipients) == 1
    return verdict.recipients[0]


def entry(sender: str, recipient: str, **more: Any) -> ExceptionRow:
    given: dict[str, Any] = {"id": "e1", "reason": "r", "requester": "a", "approver": "b", "created": NOW - 10, "expires": NOW + 10}
    return ExceptionRow(sender=sender, recipient=recipient, **(given | more))


# --- direction and tier -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sender", "peer", "to", "direction"),
    [
        ("officer@dept.gov.in", LISTED, "other@dept.gov.in", Direction.INTERNAL),
        ("officer@dept.gov.in", LISTED, "x@dept-jk.in", Direction.INTERNAL),
        ("officer@dept.gov.in", LISTED, "x@sub.dept.gov.in", Direction.OUTBOUND),
        ("officer@dept.gov.in", SIGNED_IN, "x@ministry.gov.in", Direction.OUTBOUND),
        ("officer@dept.gov.in", LISTED, "postmaster", Direction.INTERNAL),
        ("", LISTED, "x@ministry.gov.in", Direction.OUTBOUND),
        ("", LISTED, "x@dept.gov.in", Direction.INTERNAL),
        ("", STRANGER, "x@dept.gov.in", Direction.INBOUND),
        ("someone@example.net", STRANGER, "x@dept.gov.in", Direction.INBOUND),
        ("officer@dept.gov.in", STRANGER, "x@dept.gov.in", Direction.INBOUND),
        ("someone@example.net", LISTED, "x@dept.gov.in", Direction.INBOUND),
    ],
)
def test_direction_belongs_to_the_recipient(sender: str, peer: Peer, to: str, direction: Direction) -> None:
    assert one(to, sender=sender, peer=peer).direction is direction


@pytest.mark.parametrize(
    ("sender", "peer", "answer"),
    [
        ("officer@dept.gov.in", LISTED, True), ("", LISTED, True), ("x@example.net", LISTED, False),
        ("officer@dept.gov.in", STRANGER, False), ("", STRANGER, False), ("officer@dept.gov.in", SIGNED_IN, True),
        ("x@example.net", SIGNED_IN, True),
    ],
)  # fmt: skip
def test_verified_originators(sender: str, peer: Peer, answer: bool) -> None:
    assert decide.verified(path(sender), peer, CONFIG) is answer


def test_a_listed_network_that_must_sign_in_proves_nothing_alone() -> None:
    config = CONFIG.model_copy(update={"originators": CONFIG.originators.model_copy(update={"require_auth": True})})
    assert decide.verified(path("officer@dept.gov.in"), LISTED, config) is False
    assert decide.verified(path("officer@dept.gov.in"), SIGNED_IN, config) is True


def test_domains_of_the_config_may_be_written_in_their_own_script() -> None:
    config = Config(
        originators=Originators(domains=("विभाग.सरकार.भारत", "Dept.GOV.in."), networks=("10.0.0.0/8",)),
        route=(Route(domains=(".सरकार.भारत",), local=True, next_hop="127.0.0.1:25", tls="none"),),
    )
    sender = address.parse("officer@विभाग.सरकार.भारत".encode(), smtputf8=True)
    assert decide.verified(sender, LISTED, config)
    assert decide.verified(path("officer@dept.gov.in"), LISTED, config)
    other = address.parse("x@अन्य.सरकार.भारत".encode(), smtputf8=True)
    verdict = decide.rcpt(path("a@example.net"), other, STRANGER, POLICY, NONE, config, now=NOW)
    assert (verdict.disposition, verdict.tier) == (Disposition.DEFER, Tier.GOVERNMENT)
    seen = inspection(from_addresses=("officer@विभाग.सरकार.भारत",))
    assert one("x@ministry.gov.in", seen=seen, config=config).rule == "ordinary-mail"


# --- the baseline on whole transactions ---------------------------------------------------------------------------------

CONFIDENTIAL = (finding(Level.CONFIDENTIAL),)
SECRET = (finding(Level.SECRET),)
IN_DOCX = (finding(Level.CONFIDENTIAL, "2:note.docx", zone=Zone.PAGE_HEADER),)
MAYBE = (finding(Level.CONFIDENTIAL, confidence=Confidence.PROBABLE),)
MAYBE_SECRET = (finding(Level.SECRET, confidence=Confidence.PROBABLE),)
MAYBE_DOCX = (finding(Level.CONFIDENTIAL, "2:note.docx", Confidence.PROBABLE, Zone.PAGE_FOOTER),)


@pytest.mark.parametrize(
    ("to", "seen", "disposition", "rule"),
    [
        ("x@ministry.gov.in", inspection(), "deliver", "ordinary-mail"),
        ("x@dept.gov.in", inspection(), "deliver", "ordinary-mail"),
        ("x@meity-external.gov.in", inspection(), "deliver", "ordinary-mail"),
        ("x@cert-in.org.in", inspection(), "deliver", "ordinary-mail"),
        ("x@gmail.com", inspection(), "refuse", "outbound-to-private-provider"),
        ("x@yahoo.co.in", inspection(), "refuse", "outbound-to-private-provider"),
        ("x@example.com", inspection(), "refuse", "outbound-to-non-government"),
        ("x@finance.g0v.in", inspection(), "refuse", "outbound-to-look-alike"),
        ("x@gov.in.example", inspection(), "refuse", "outbound-to-look-alike"),
        ("x@gov.in.com", inspection(), "refuse", "outbound-to-look-alike"),
        ("x@finance.nic.in", inspection(found=CONFIDENTIAL), "deliver", "ordinary-mail"),
        ("x@dept.gov.in", inspection(found=CONFIDENTIAL), "deliver", "ordinary-mail"),
        ("x@dept-jk.in", inspection(found=CONFIDENTIAL), "deliver", "ordinary-mail"),
        ("x@team-external.gov.in", inspection(found=CONFIDENTIAL), "refuse", "classified-to-non-government"),
        ("x@meity-external.gov.in", inspection(found=CONFIDENTIAL), "refuse", "classified-to-non-government"),
        ("x@cert-in.org.in", inspection(found=CONFIDENTIAL), "refuse", "classified-to-non-government"),
        ("x@gmail.com", inspection(found=CONFIDENTIAL), "refuse", "classified-to-non-government"),
        ("x@ministry.gov.in", inspection(found=SECRET), "refuse", "secret-on-the-internet"),
        ("x@gmail.com", inspection(found=SECRET), "refuse", "secret-on-the-internet"),
        ("x@ministry.gov.in", inspection(found=MAYBE_SECRET), "hold", "probable-secret"),
        ("x@ministry.gov.in", inspection(found=MAYBE), "deliver", "ordinary-mail"),
        ("x@cert-in.org.in", inspection(found=MAYBE), "hold", "probable-marking-leaves-government"),
        ("x@ministry.gov.in", inspection(BODY, DOCX, found=MAYBE_DOCX), "hold", "probable-marking-in-attachment"),
        ("x@ministry.gov.in", inspection(BODY, DOCX, found=IN_DOCX), "hold", "classified-attachment-unencrypted"),
        ("x@ministry.gov.in", inspection(BODY, DOCX, found=CONFIDENTIAL), "hold", "classified-attachment-unencrypted"),
        ("x@ministry.gov.in", inspection(BODY, DOCX), "deliver", "ordinary-mail"),
        ("x@ministry.gov.in", inspection(BODY, LOCKED, found=CONFIDENTIAL), "deliver", "ordinary-mail"),
        ("x@ministry.gov.in", inspection(BODY, LOCKED), "hold", "opaque-undeclared"),
        ("x@ministry.gov.in", inspection(BODY, LOCKED, found=(finding(Level.UNCLASSIFIED),)), "deliver", "ordinary-mail"),
        ("x@cert-in.org.in", inspection(BODY, LOCKED, found=(finding(Level.UNCLASSIFIED),)), "hold", "opaque-to-non-government"),
        ("x@ministry.gov.in", inspection(BODY, PICTURE), "deliver", "ordinary-mail"),
        ("x@cert-in.org.in", inspection(BODY, PICTURE), "hold", "uninspectable-to-non-government"),
        ("x@ministry.gov.in", inspection(BODY, BROKEN), "hold", "suspect-content"),
        ("x@ministry.gov.in", inspection(ambiguity=("two Content-Type fields",)), "hold", "ambiguous-message"),
        ("x@gmail.com", inspection(ambiguity=("two Content-Type fields",)), "refuse", "outbound-to-private-provider"),
        ("x@cert-in.org.in", inspection(from_addresses=("me@gmail.com",)), "refuse", "from-not-official"),
        ("x@cert-in.org.in", inspection(from_addresses=("me@gmail.com",), is_list=True), "deliver", "ordinary-mail"),
        ("x@ministry.gov.in", inspection(from_addresses=("me@gmail.com",)), "deliver", "ordinary-mail"),
    ],
)  # fmt: skip
def test_official_mail(to: str, seen: Inspection, disposition: str, rule: str) -> None:
    verdict = one(to, seen=seen)
    assert (verdict.disposition.text, verdict.rule) == (disposition, rule)
    if disposition != "deliver":
        assert verdict.explain in POLICY.explanations.keys("en")
        assert verdict.source
        assert verdict.hits[0] == rule
    assert [step.rule for step in verdict.trace] == [each.id for each in POLICY.rules.rules]


def test_transport_protection_lets_unencrypted_classified_attachments_to_government() -> None:
    config = CONFIG.model_copy(update={"protection_required": "transport"})
    verdict = one("x@ministry.gov.in", seen=inspection(BODY, DOCX, found=IN_DOCX), config=config)
    assert (verdict.disposition, verdict.require_aes256) == (Disposition.DELIVER, True)


@pytest.mark.parametrize(("required", "answer"), [("transport", True), ("both", True), ("object", False)])
def test_a_classified_body_needs_an_aes_256_hop(required: str, answer: bool) -> None:
    config = CONFIG.model_copy(update={"protection_required": required})
    for found in (CONFIDENTIAL, MAYBE):
        assert one("x@ministry.gov.in", seen=inspection(found=found), config=config).require_aes256 is answer
    assert one("x@ministry.gov.in", config=config).require_aes256 is False


@pytest.mark.parametrize(
    ("sender", "peer", "to", "disposition", "rule"),
    [
        ("a@example.net", STRANGER, "x@dept.gov.in", "deliver", "ordinary-mail"),
        ("a@example.net", STRANGER, "x@lists.dept.in", "deliver", "ordinary-mail"),
        ("a@example.net", STRANGER, "x@sub.dept.gov.in", "deliver", "ordinary-mail"),
        ("a@example.net", STRANGER, "postmaster@dept.gov.in", "deliver", "ordinary-mail"),
        ("", STRANGER, "postmaster", "deliver", "ordinary-mail"),
        ("a@example.net", STRANGER, "x@ministry.gov.in", "refuse", "relay-denied"),
        ("", STRANGER, "x@gmail.com", "refuse", "relay-denied"),
        ("officer@dept.gov.in", STRANGER, "x@dept.gov.in", "refuse", "unverified-originator"),
        ("a@example.net", LISTED, "x@dept.gov.in", "refuse", "sender-not-official"),
        ("a@gmail.com", SIGNED_IN, "x@dept.gov.in", "refuse", "sender-not-official"),
        ("", LISTED, "x@ministry.gov.in", "deliver", "ordinary-mail"),
        ("", LISTED, "x@gmail.com", "refuse", "outbound-to-private-provider"),
    ],
)
def test_who_may_relay(sender: str, peer: Peer, to: str, disposition: str, rule: str) -> None:
    seen = inspection(from_addresses=(sender,) if sender else ())
    verdict = one(to, sender=sender, peer=peer, seen=seen)
    assert (verdict.disposition.text, verdict.rule) == (disposition, rule)
    first = decide.rcpt(path(sender), path(to), peer, POLICY, NONE, CONFIG, now=NOW)
    assert (first.disposition is Disposition.REFUSE) is (disposition == "refuse")


def test_inbound_classified_mail_from_strangers_is_delivered_labelled() -> None:
    verdict = one(
        "x@dept.gov.in", sender="a@example.net", peer=STRANGER, seen=inspection(found=CONFIDENTIAL, from_addresses=("a@example.net",))
    )
    assert verdict.disposition is Disposition.DELIVER
    assert any(edit.header == "SIO-Label" and edit.action == "add" for edit in verdict.edits)


def test_look_alike_senders_are_tagged() -> None:
    seen = inspection(from_addresses=("a@finance.g0v.in",))
    assert one("x@dept.gov.in", sender="a@finance.g0v.in", peer=STRANGER, seen=seen).tags == ("look-alike-sender",)


# --- many recipients ----------------------------------------------------------------------------------------------------


def test_A29_each_recipient_has_its_own_verdict() -> None:
    verdict = decided("a@ministry.gov.in", "b@gmail.com", "c@example.com", "d@dept.gov.in")
    assert [one.disposition.text for one in verdict.recipients] == ["deliver", "refuse", "refuse", "deliver"]
    assert [one.tier for one in verdict.recipients] == [Tier.GOVERNMENT, Tier.PRIVATE, Tier.OTHER, Tier.GOVERNMENT]
    assert not verdict.session_refusal
    for own, other in (("a@ministry.gov.in", "gmail"), ("d@dept.gov.in", "gmail")):
        recipient = next(each for each in verdict.recipients if each.address == own)
        assert other not in repr(recipient.edits)
        assert other not in repr(recipient.facts)


def test_recipients_with_equal_facts_are_decided_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real = type(POLICY.rules).evaluate
    monkeypatch.setattr(type(POLICY.rules), "evaluate", lambda self, found, *rest: calls.append(1) or real(self, found, *rest))
    verdict = decided(*(f"u{number}@ministry.gov.in" for number in range(50)), "x@gmail.com")
    assert len(verdict.recipients) == 51
    assert len(calls) == 2


# --- answering ----------------------------------------------------------------------------------------------------------


def reply_mode(config: Config = CONFIG) -> Config:
    return config.model_copy(update={"relay": Relay(refuse_with="reply")})


@pytest.mark.parametrize("peer", [LISTED, STRANGER])
@pytest.mark.parametrize("door", list(Door))
def test_certain_secret_is_refused_in_the_session_for_all(peer: Peer, door: Door) -> None:
    sender = "officer@dept.gov.in" if peer is LISTED else "a@example.net"
    seen = inspection(found=SECRET, from_addresses=(sender,))
    verdict = decided("a@dept.gov.in", "b@gmail.com", peer=peer, sender=sender, seen=seen, door=door)
    assert verdict.session_refusal
    assert not verdict.sealed
    assert {each.disposition for each in verdict.recipients} == {Disposition.REFUSE}
    assert {each.rule for each in verdict.recipients} == {"secret-on-the-internet"}


def test_no_file_is_named_for_secret_mail() -> None:
    verdict = decided("a@ministry.gov.in", seen=inspection(BODY, replace(BROKEN, name="plan-x.docx"), found=MAYBE_SECRET))
    assert "plan-x" not in repr(verdict.recipients[0].facts)


def test_probable_secret_is_sealed_and_without_an_officer_refused() -> None:
    verdict = decided("a@ministry.gov.in", seen=inspection(found=MAYBE_SECRET))
    assert (verdict.sealed, verdict.session_refusal) == (True, False)
    verdict = decided("a@ministry.gov.in", seen=inspection(found=MAYBE_SECRET), config=CONFIG.model_copy(update={"sealed": Sealed()}))
    assert (verdict.sealed, verdict.session_refusal) == (False, True)
    assert verdict.recipients[0].rule == "probable-secret-unsealed"


def test_refused_by_a_verified_originator_is_bounced_by_default() -> None:
    assert not decided("a@gmail.com").session_refusal
    assert decided("a@gmail.com").recipients[0].disposition is Disposition.REFUSE


def test_reply_mode_refuses_whole_messages_in_the_session_and_bounces_parts() -> None:
    assert decided("a@gmail.com", config=reply_mode()).session_refusal
    part = decided("a@gmail.com", "b@ministry.gov.in", config=reply_mode())
    assert not part.session_refusal
    assert [each.disposition.text for each in part.recipients] == ["refuse", "deliver"]


def test_L02_strangers_get_a_reply_or_nothing_but_never_a_report() -> None:
    """All refused: 550. Some refused by content: they are held, with the refusing rule named."""
    both = decided("x@ministry.gov.in", "y@gmail.com", sender="a@example.net", peer=STRANGER)
    assert both.session_refusal
    mixed = decided(
        "x@dept.gov.in", "y@gmail.com", sender="a@example.net", peer=STRANGER, seen=inspection(from_addresses=("a@example.net",))
    )
    assert not mixed.session_refusal
    assert [(each.disposition.text, each.rule) for each in mixed.recipients] == [("deliver", "ordinary-mail"), ("hold", "relay-denied")]


def test_L02_null_senders_of_listed_networks_are_answered_like_strangers() -> None:
    assert decided("x@gmail.com", sender="").session_refusal
    mixed = decided("x@gmail.com", "y@ministry.gov.in", sender="", seen=inspection(from_addresses=()))
    assert [each.disposition.text for each in mixed.recipients] == ["hold", "deliver"]


@pytest.mark.parametrize(
    ("config", "sender", "peer", "to", "refused"),
    [
        (CONFIG, "officer@dept.gov.in", LISTED, "x@gmail.com", False),
        (reply_mode(), "officer@dept.gov.in", LISTED, "x@gmail.com", True),
        (reply_mode(), "officer@dept.gov.in", LISTED, "x@ministry.gov.in", False),
        (CONFIG, "", LISTED, "x@gmail.com", True),
        (CONFIG, "a@example.net", STRANGER, "x@ministry.gov.in", True),
        (CONFIG, "a@example.net", STRANGER, "x@dept.gov.in", False),
        (CONFIG, "officer@dept.gov.in", STRANGER, "x@dept.gov.in", True),
    ],
)
def test_what_rcpt_refuses(config: Config, sender: str, peer: Peer, to: str, refused: bool) -> None:
    verdict = decide.rcpt(path(sender), path(to), peer, POLICY, NONE, config, now=NOW)
    assert verdict.disposition is (Disposition.REFUSE if refused else Disposition.DEFER)
    if refused:
        assert verdict.status == "5.7.1"
        assert POLICY.explanations.reply_text(verdict, "REF").isascii()


def test_rcpt_knows_the_register() -> None:
    allowed = Exceptions("v1", (entry("*", "x@gmail.com"),))
    refused = decide.rcpt(path("officer@dept.gov.in"), path("x@gmail.com"), LISTED, POLICY, NONE, reply_mode(), now=NOW)
    going_on = decide.rcpt(path("officer@dept.gov.in"), path("x@gmail.com"), LISTED, POLICY, allowed, reply_mode(), now=NOW)
    assert (refused.disposition, going_on.disposition) == (Disposition.REFUSE, Disposition.DEFER)


# --- the register -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "covered", "not_covered"),
    [
        ("x@gmail.com", ["x@gmail.com", "X@gmail.com"], ["y@gmail.com", "x@mail.gmail.com"]),
        ("@example.com", ["x@example.com"], ["x@a.example.com", "x@notexample.com"]),
        ("example.com", ["x@example.com"], ["x@a.example.com", "x@example.com.evil.in"]),
        (".example.com", ["x@a.example.com", "x@a.b.example.com"], ["x@example.com", "x@notexample.com"]),
        ("*", ["x@gmail.com", "a@b.example.org"], []),
        ("Example.COM", ["x@example.com"], []),
        ("", [], ["x@example.com"]),
        ("gmail", [], ["x@gmail.com"]),
    ],
)
def test_patterns_of_the_register(pattern: str, covered: list[str], not_covered: list[str]) -> None:
    for text in covered + not_covered:
        exceptions = Exceptions(f"v{pattern}", (entry("*", pattern),))
        assert bool(register.covers(exceptions, path("officer@dept.gov.in"), path(text), NOW)) is (text in covered), (pattern, text)
        assert register.matches(pattern, path(text)) is (text in covered), (pattern, text)


@pytest.mark.parametrize(
    ("row", "active"),
    [
        (entry("*", "*"), True), (entry("dept.gov.in", "gmail.com"), True), (entry("other@dept.gov.in", "gmail.com"), False),
        (entry("*", "*", expires=NOW), False), (entry("*", "*", created=NOW + 1), False), (entry("*", "*", state="expired"), False),
    ],
)  # fmt: skip
def test_entries_hold_for_their_scope_and_time(row: ExceptionRow, active: bool) -> None:
    verdict = one("x@gmail.com", exceptions=Exceptions(f"v-{row}", (row,)))
    assert verdict.disposition is (Disposition.DELIVER if active else Disposition.REFUSE)
    assert verdict.exception == ("e1" if active else "")
    assert ("under-exception" in verdict.tags) is active


def test_the_null_sender_is_covered_by_the_star_alone() -> None:
    assert register.matches("*", address.NULL_PATH)
    assert not register.matches("", address.NULL_PATH)
    assert not register.matches("@", address.NULL_PATH)


def test_a_changed_register_with_the_same_version_is_not_confused() -> None:
    assert register.covers(Exceptions("", (entry("*", "gmail.com"),)), path("a@dept.gov.in"), path("x@gmail.com"), NOW) == "e1"
    assert register.covers(Exceptions("", (entry("*", "yahoo.com"),)), path("a@dept.gov.in"), path("x@gmail.com"), NOW) == ""


def test_a_large_register_is_searched_by_index() -> None:
    rows = tuple(entry("*", f"u{number}@example.com", id=f"{number:06}") for number in range(20_000))
    exceptions = Exceptions("large", rows)
    assert register.covers(exceptions, path("a@dept.gov.in"), path("u19999@example.com"), NOW) == "019999"
    hits = register._index.cache_info().hits
    assert register.covers(exceptions, path("a@dept.gov.in"), path("u7@example.com"), NOW) == "000007"
    assert register._index.cache_info().hits == hits + 1


# --- what is recorded, and release ---------------------------------------------------------------------------------------


def test_snapshots_are_json_and_hold_no_text_of_the_message() -> None:
    seen = inspection(BODY, DOCX, found=(*IN_DOCX, *MAYBE), labels=(("SIO-Label", "marking=x"),))
    verdict = decided("a@ministry.gov.in", "b@gmail.com", seen=seen)
    text = json.dumps([verdict.message_facts, *verdict.recipient_facts])
    for word in ("Secret words", "note.docx", "CONFIDENTIAL", "marking=x", "<1@dept.gov.in>"):
        assert word not in text
    assert set(verdict.message_facts) | set(verdict.recipient_facts[0]) == set(facts.DECLARED) | {"recipient.address", "originator.address"}
    for name, fact in facts.DECLARED.items():
        value = {**verdict.message_facts, **verdict.recipient_facts[0]}[name]
        kinds = {"int": int, "level": int, "string": str, "bool": bool, "list": list}
        assert type(value) is kinds[fact.type], name
    for listed, fields in facts.ELEMENTS.items():
        for element in verdict.message_facts[listed]:  # type: ignore[attr-defined]
            assert list(element) == list(fields)


def test_the_same_facts_from_json_give_the_same_verdict() -> None:
    for seen in (inspection(), inspection(BODY, DOCX, found=IN_DOCX), inspection(BODY, LOCKED), inspection(found=SECRET)):
        for to in ("a@ministry.gov.in", "b@gmail.com", "c@dept.gov.in", "postmaster"):
            verdict = decided(to, seen=seen)
            message, recipient = json.loads(json.dumps([verdict.message_facts, verdict.recipient_facts[0]]))
            repeated = decide.again(message, recipient, POLICY)
            first = verdict.recipients[0]
            for name in ("address", "tier", "direction", "disposition", "rule", "status", "trace", "hits", "tags", "require_aes256"):
                assert getattr(repeated, name) == getattr(first, name), (name, to)


def test_L10_release_waives_what_was_approved_and_nothing_else() -> None:
    verdict = decided("a@ministry.gov.in", seen=inspection(BODY, DOCX, BROKEN, found=IN_DOCX))
    recipient = verdict.recipients[0]
    assert recipient.hits == ("suspect-content", "classified-attachment-unencrypted")
    given = (verdict.message_facts, verdict.recipient_facts[0], POLICY)
    assert decide.again(*given, frozenset(recipient.hits)).disposition is Disposition.DELIVER
    assert decide.again(*given, frozenset({"suspect-content"})).rule == "classified-attachment-unencrypted"
    assert decide.again(*given).disposition is Disposition.HOLD


def test_L10_what_is_refused_cannot_be_released() -> None:
    verdict = decided("b@gmail.com", seen=inspection(BODY, BROKEN))
    given = (verdict.message_facts, verdict.recipient_facts[0], POLICY)
    assert decide.again(*given, frozenset({"outbound-to-private-provider", "suspect-content"})).disposition is Disposition.REFUSE


def test_L10_domain_lists_and_register_are_read_anew_at_release(tmp_path: FilePath) -> None:
    row = entry("*", "x@example.com")
    verdict = decided("x@example.com", seen=inspection(BODY, BROKEN), exceptions=Exceptions("v", (row,)))
    assert verdict.recipients[0].disposition is Disposition.HOLD
    given = (verdict.message_facts, verdict.recipient_facts[0], POLICY, frozenset({"suspect-content"}))
    assert decide.again(*given).disposition is Disposition.DELIVER
    assert decide.again(*given, exceptions=Exceptions("v", (row,)), now=NOW).disposition is Disposition.DELIVER
    assert decide.again(*given, exceptions=Exceptions("v", (row,)), now=NOW + 60).rule == "outbound-to-non-government"


# --- edits --------------------------------------------------------------------------------------------------------------

CONTENT = (
    b"SIO-Label: marking=old\r\nX-Gateway-Reference: FORGED\r\nFrom: officer@dept.gov.in\r\nSubject: Monthly statement\r\n\r\nbody\r\n"
)


def applied(verdict: RecipientVerdict, content: bytes = CONTENT) -> bytes:
    return message_edits.apply(verdict.edits, content)


def test_edits_put_the_trace_on_top_and_replace_what_was_forged() -> None:
    octets = applied(one("a@ministry.gov.in", seen=inspection(found=CONFIDENTIAL, labels=(("SIO-Label", "marking=old"),))))
    names = re.findall(rb"^([A-Za-z-]+):", octets.split(b"\r\n\r\n")[0], re.M)
    assert names[0] == b"Received"
    assert names.count(b"X-Gateway-Reference") == names.count(b"SIO-Label") == names.count(b"X-Protective-Marking") == 1
    assert b"FORGED" not in octets
    assert names.count(b"SIO-Label-History") == 1
    assert b'marking="CONFIDENTIAL"' in octets
    assert b"SEC=CONFIDENTIAL, ORIGIN=officer@dept.gov.in" in octets.replace(b"\r\n ", b" ")
    assert octets.endswith(b"\r\nSubject: Monthly statement\r\n\r\nbody\r\n")


def test_unmarked_mail_gets_no_label() -> None:
    octets = applied(one("a@ministry.gov.in"), b"Subject: x\r\n\r\nbody\r\n")
    assert b"SIO-Label" not in octets
    assert b"UNCLASSIFIED" not in octets


def test_mail_declared_unclassified_is_labelled_so() -> None:
    octets = applied(one("a@ministry.gov.in", seen=inspection(found=(finding(Level.UNCLASSIFIED),))))
    assert b"SEC=UNCLASSIFIED" in octets.replace(b"\r\n ", b" ")


def test_received_names_the_recipient_only_where_there_is_one() -> None:
    tx = transaction("a@ministry.gov.in", peer=SIGNED_IN, door=Door.SUBMISSION)
    edit = decide.received_edit(tx, "gw1.dept.gov.in", NOW)
    assert edit == Edit(
        "add", "Received",
        "from laptop ([198.51.100.9]) (using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256 bits)) by gw1.dept.gov.in"
        f" with ESMTPSA id {tx.reference} for <a@ministry.gov.in>; Wed, 18 Nov 2026 11:06:40 +0000",
    )  # fmt: skip
    assert "for <" not in decide.received_edit(transaction("a@x.gov.in", "b@x.gov.in"), "gw1", NOW).value


@pytest.mark.parametrize(
    ("peer", "protocol", "client"),
    [
        (Peer("10.0.0.1", helo="a", esmtp=False), "SMTP", "from a ([10.0.0.1])"),
        (Peer("2001:db8::1", helo="a"), "ESMTP", "from a ([IPv6:2001:db8::1])"),
        (Peer("10.0.0.1", helo="a)\r\nBcc: x", tls_version="TLSv1.2", tls_cipher="X"), "ESMTPS", "from a???Bcc:?x ([10.0.0.1])"),
        (Peer("10.0.0.1"), "ESMTP", "from unknown ([10.0.0.1])"),
    ],
)
def test_received_is_safe_whatever_the_client_says(peer: Peer, protocol: str, client: str) -> None:
    value = decide.received_edit(transaction("a@ministry.gov.in", peer=peer), "gw1.dept.gov.in", NOW).value
    assert f" with {protocol} id " in value
    assert value.startswith(client)


@pytest.mark.parametrize("door", [Door.MILTER, Door.IMAP])
def test_the_mta_writes_its_own_received(door: Door) -> None:
    assert not any(edit.header == "Received" for edit in one("a@ministry.gov.in", door=door).edits)


def test_authentication_results_say_what_was_checked_here() -> None:
    def value(seen: Inspection, to: str = "a@dept.gov.in", **tx: Any) -> str:
        return next(e.value for e in one(to, seen=seen, **tx).edits if e.header == "Authentication-Results" and e.action == "add")

    assert value(inspection()) == "gw1.dept.gov.in; none"
    assert value(inspection(), peer=SIGNED_IN) == "gw1.dept.gov.in; auth=pass smtp.auth=officer"
    outside = value(inspection(), "a@ministry.gov.in", peer=replace(SIGNED_IN, user="rahul"))
    assert outside == "gw1.dept.gov.in; auth=pass smtp.mailfrom=officer@dept.gov.in", "who wrote for the mailbox is not for others"
    assert value(inspection(), peer=replace(SIGNED_IN, user="अ;b\r\n")) == "gw1.dept.gov.in; auth=pass smtp.mailfrom=officer@dept.gov.in"
    signed = replace(
        inspection(), authentication=(Authentication("dkim", "pass", "example.net"), Authentication("dkim", "fail", "a;b\r\nc"))
    )
    assert (
        value(signed, peer=STRANGER, sender="a@example.net") == "gw1.dept.gov.in; dkim=pass header.d=example.net; dkim=fail header.d=a?b??c"
    )


@pytest.mark.parametrize(
    ("door", "absent", "written"),
    [
        (Door.SUBMISSION, {"undated": True, "unnamed": True}, ["Date", "Message-ID"]),
        (Door.SUBMISSION, {"undated": True}, ["Date"]),
        (Door.SUBMISSION, {}, []),
        (Door.SMTP, {"undated": True, "unnamed": True}, []),
    ],
)
def test_submission_writes_date_and_message_id_where_there_is_none(door: Door, absent: dict[str, bool], written: list[str]) -> None:
    verdict = one("a@ministry.gov.in", seen=inspection(**absent), peer=SIGNED_IN, door=door)
    made = {edit.header: edit.value for edit in verdict.edits if edit.header in ("Date", "Message-ID")}
    assert list(made) == written
    octets = applied(verdict, b"From: officer@dept.gov.in\r\n\r\nbody\r\n")
    assert octets.startswith(b"Received: ")
    if "Date" in written:
        assert made["Date"] == "Wed, 18 Nov 2026 11:06:40 +0000"
    if "Message-ID" in written:
        assert re.fullmatch(r"<[0-9a-z]{26}@gw1\.dept\.gov\.in>", made["Message-ID"])


MARKED = CONFIG.model_copy(update={"relay": Relay(subject_marking=True)})


def test_subjects_are_marked_only_on_unsigned_outbound_mail_of_ours() -> None:
    found = {"found": CONFIDENTIAL, "subject": "Monthly statement"}
    octets = applied(one("a@ministry.gov.in", seen=inspection(**found), config=MARKED))
    assert b"\r\nSubject: [CONFIDENTIAL] Monthly statement\r\n" in octets
    for seen, to, more in (
        (inspection(**found), "a@dept.gov.in", {}),
        (inspection(**found, signed=True), "a@ministry.gov.in", {}),
        (inspection(found=CONFIDENTIAL, subject="[Confidential] statement"), "a@ministry.gov.in", {}),
        (inspection(found=CONFIDENTIAL, subject="x" * 2000), "a@ministry.gov.in", {}),
        (inspection(subject="Monthly statement"), "a@ministry.gov.in", {}),
        (inspection(**found, from_addresses=("a@example.net",)), "a@dept.gov.in", {"peer": STRANGER, "sender": "a@example.net"}),
    ):
        assert not any(edit.header == "Subject" for edit in one(to, seen=seen, config=MARKED, **more).edits)
    assert not any(edit.header == "Subject" for edit in one("a@ministry.gov.in", seen=inspection(**found)).edits)


@pytest.mark.parametrize("subject", ["मासिक विवरण " * 20, "plain", "", "=?utf-8?Q?x?= literally", "w" * 300, "tab\there"])
def test_marked_subjects_read_back_as_they_were(subject: str) -> None:
    from email.header import decode_header, make_header

    value = header_edits.encoded(f"[CONFIDENTIAL] {subject}")
    assert value.isascii()
    assert all(len(word) <= 75 for word in value.split(" "))
    assert str(make_header(decode_header(value))) == " ".join(f"[CONFIDENTIAL] {subject}".split())


def test_international_senders_do_not_break_the_labels() -> None:
    source = path("अधिकारी@dept.gov.in")
    tx = transaction("a@ministry.gov.in")
    tx = replace(tx, envelope=replace(tx.envelope, sender=source, smtputf8=True))
    verdict = decide.decide(tx, inspection(found=CONFIDENTIAL), POLICY, NONE, CONFIG)
    octets = applied(verdict.recipients[0])
    assert b"with UTF8SMTP id" in octets.replace(b"\r\n ", b" ")
    assert b"SEC=CONFIDENTIAL" in octets.replace(b"\r\n ", b" ")


# --- the rules' own messages --------------------------------------------------------------------------------------------


def test_every_example_message_of_the_rules_keeps_its_promise() -> None:
    results = [result for result in POLICY.test() if result.name.endswith(".eml")]
    assert len(results) >= 20
    assert [result for result in results if not result.ok] == []


def test_words_for_the_sentences() -> None:
    words = dict(one("x@ministry.gov.in", seen=inspection(BODY, DOCX, found=IN_DOCX)).facts)
    assert (words["file"], words["level"], words["recipient"]) == ("note.docx", "CONFIDENTIAL", "x@ministry.gov.in")
    assert dict(one("x@gmail.com").facts)["provider"] == "Google Gmail"
    assert dict(one("x@finance.g0v.in").facts)["look_alike"] == "gov.in"
    weak = replace(BROKEN, name="b.zip", protection=Protection(ProtectionState.WEAK, "zip", "ZipCrypto", 96))
    words = dict(one("x@ministry.gov.in", seen=inspection(BODY, BROKEN, weak)).facts)
    assert (words["file"], words["protection"]) == ("b.zip", "ZipCrypto")


def test_the_words_name_the_marked_document_and_not_a_picture_in_it() -> None:
    marked = replace(DOCX, path="3:plan.docx", name="plan.docx", container=True)
    picture = replace(PICTURE, path="3:plan.docx/word/media/image1.png", name="word/media/image1.png")
    seen = inspection(BODY, PICTURE, marked, picture, found=(finding(Level.CONFIDENTIAL, "3:plan.docx"),))
    said = one("x@ministry.gov.in", seen=seen)
    assert (said.rule, dict(said.facts)["file"]) == ("classified-attachment-unencrypted", "plan.docx")
    zipped = replace(DOCX, path="2:a.zip", name="a.zip", media_type="application/zip", container=True)
    member = replace(DOCX, path="2:a.zip/plan.docx", name="plan.docx")
    said = one("x@ministry.gov.in", seen=inspection(BODY, zipped, member, found=(finding(Level.CONFIDENTIAL, member.path),)))
    assert dict(said.facts)["file"] == "plan.docx"


# --- what an MTA sends on by itself ---------------------------------------------------------------------------------------


def noted(expires: float = NOW + 10) -> Exceptions:
    return Exceptions("v2", (), (ProfileRow("p1", register.MTA_PATH, "r", "gateway doctor", "", NOW - 10, expires),))


IN_FILE = inspection(BODY, LOCKED, found=CONFIDENTIAL)


@pytest.mark.parametrize(
    ("door", "exceptions", "seen", "required", "rule"),
    [
        (Door.MILTER, NONE, inspection(found=CONFIDENTIAL), "both", "classified-by-milter-unproved"),
        (Door.MILTER, NONE, inspection(found=CONFIDENTIAL), "transport", "classified-by-milter-unproved"),
        (Door.MILTER, NONE, inspection(found=CONFIDENTIAL), "object", ""),
        (Door.MILTER, noted(), inspection(found=CONFIDENTIAL), "both", ""),
        (Door.MILTER, noted(NOW), inspection(found=CONFIDENTIAL), "both", "classified-by-milter-unproved"),  # its time is over
        (Door.SMTP, NONE, inspection(found=CONFIDENTIAL), "both", ""),
        (Door.MILTER, NONE, IN_FILE, "both", ""),
        (Door.MILTER, NONE, inspection(BODY, LOCKED, DOCX, found=CONFIDENTIAL), "transport", "classified-by-milter-unproved"),
        (Door.MILTER, NONE, inspection(), "both", ""),
    ],
)
def test_classified_mail_by_a_milter_needs_a_proved_path_or_encrypted_files(
    door: Door, exceptions: Exceptions, seen: Inspection, required: str, rule: str
) -> None:
    config = CONFIG.model_copy(update={"protection_required": required})
    answer = one("x@ministry.gov.in", door=door, exceptions=exceptions, seen=seen, config=config)
    assert (answer.disposition, answer.rule) == ((Disposition.HOLD, rule) if rule else (Disposition.DELIVER, "ordinary-mail"))


def test_inbound_classified_mail_by_a_milter_goes_on() -> None:
    seen = inspection(found=CONFIDENTIAL, from_addresses=("a@example.net",))
    answer = one("x@dept.gov.in", door=Door.MILTER, peer=STRANGER, sender="a@example.net", seen=seen)
    assert answer.disposition is Disposition.DELIVER


def test_what_came_by_a_milter_is_released_by_our_own_relay_which_proves_its_hop() -> None:
    verdict = decided("x@ministry.gov.in", door=Door.MILTER, seen=inspection(found=CONFIDENTIAL))
    (about,) = verdict.recipient_facts
    assert verdict.message_facts["mta.protected"] is False
    again = decide.again(verdict.message_facts, about, POLICY, exceptions=NONE, now=NOW)
    assert (again.disposition, again.require_aes256) == (Disposition.DELIVER, True)
    assert decide.again(verdict.message_facts, about, POLICY).disposition is Disposition.HOLD, "without the register: as it was"


def test_at_RCPT_a_milter_is_answered_by_the_same_rules() -> None:
    answer = decide.rcpt(path("a@gmail.com"), path("x@dept.gov.in"), LISTED, POLICY, NONE, CONFIG, door=Door.MILTER)
    assert answer.disposition is Disposition.REFUSE

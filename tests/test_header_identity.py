"""Whose mail it is: the envelope and From decide; what other fields claim, and what mail programs show, is recorded (A23-A27)."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.content import unpack
from gateway.envelope import Peer
from gateway.message import plain
from gateway.policy import decide
from gateway.verdict import Authentication, Disposition, Headers, Inspection, RecipientVerdict, Verdict
from tests.test_decide import BODY, CONFIG, LISTED, NONE, POLICY, STRANGER, transaction

CLAIMS = [
    ("Sender", "minister@dept.gov.in"),
    ("Sender", "someone@gmail.com"),
    ("Reply-To", "minister@dept.gov.in"),
    ("Reply-To", "someone@gmail.com"),
    ("Resent-From", "minister@dept.gov.in"),
    ("Resent-From", "someone@gmail.com"),
    ("Return-Path", "<minister@dept.gov.in>"),
    ("Return-Path", "<someone@gmail.com>"),
    ("X-Original-From", "minister@dept.gov.in"),
]


def read(author: str, *more: tuple[str, str]) -> Inspection:
    fields = "".join(f"{name}: {value}\r\n" for name, value in more)
    content = f"{fields}From: {author}\r\nTo: desk@finance.nic.in\r\nSubject: Note\r\n\r\nPlease see the file.\r\n".encode()
    seen = plain.inspect(content, hashlib.sha256(content).hexdigest(), CONFIG.limits, POLICY.scheme)
    assert seen is not None
    return seen


def without_octets(verdict: Verdict) -> list[RecipientVerdict]:
    """The decisions without what they record: the edits, and the words for explanations."""
    return [replace(one, edits=(), facts=()) for one in verdict.recipients]


@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize("author", ["officer@dept.gov.in", "officer@gmail.com"])
def test_A27_other_origin_fields_change_no_decision(author: str, claim: tuple[str, str]) -> None:
    tx = transaction("desk@finance.nic.in", "incident@cert-in.org.in", "x@gmail.com")
    bare = decide.decide(tx, read(author), POLICY, NONE, CONFIG)
    claimed = decide.decide(tx, read(author, claim), POLICY, NONE, CONFIG)
    assert claimed.message_facts["message.from_official"] is (author == "officer@dept.gov.in")
    assert without_octets(claimed) == without_octets(bare)


@pytest.mark.parametrize("claim", CLAIMS)
def test_A27_a_stranger_does_not_become_ours_by_a_field(claim: tuple[str, str]) -> None:
    tx = transaction("desk@finance.nic.in", sender="someone@example.net", peer=STRANGER)
    verdict = decide.decide(tx, read("someone@example.net", claim), POLICY, NONE, CONFIG)
    assert (verdict.recipients[0].disposition, verdict.recipients[0].rule) == (Disposition.REFUSE, "relay-denied")


def test_A27_the_envelope_decides_who_reports_go_to() -> None:
    tx = transaction("x@gmail.com", peer=LISTED)
    verdict = decide.decide(tx, read("officer@dept.gov.in", ("Return-Path", "<someone@gmail.com>")), POLICY, NONE, CONFIG)
    assert tx.envelope.sender.text == "officer@dept.gov.in"
    assert verdict.recipients[0].disposition is Disposition.REFUSE
    assert not verdict.session_refusal, "a verified originator is told by a report to its envelope address"


# --- what the header section says -------------------------------------------------------------------------------------------


def headers_of(section: str) -> Headers:
    """As the door's own reading, or the inspector's, of a text message with the header fields *section*."""
    content = (section.replace("\n", "\r\n") + "\r\n\r\nPlease see the file.\r\n").encode()
    digest = hashlib.sha256(content).hexdigest()
    unpacked = unpack(content, sha256=digest, limits=CONFIG.limits, scheme=POLICY.scheme)
    seen = plain.inspect(content, digest, CONFIG.limits, POLICY.scheme)
    assert seen is None or seen.headers == unpacked.headers, "door and inspector say the same"
    return unpacked.headers


def about(headers: Headers, *, sender: str = "officer@dept.gov.in", peer: Peer = LISTED, ambiguity: tuple[str, ...] = ()) -> Verdict:
    seen = Inspection("0" * 64, headers, (BODY,), (), ambiguity)
    return decide.decide(transaction("desk@dept.gov.in", sender=sender, peer=peer), seen, POLICY, NONE, CONFIG)


def facts_of(section: str, **more: Any) -> dict[str, Any]:
    return about(headers_of(section), **more).message_facts


ESPOOFER = [
    "From: officer@dept.gov.in, x@evil.example",
    "From: officer@dept.gov.in\nFrom: x@evil.example",
    "From: x@evil.example\nFrom: officer@dept.gov.in",
    "From : officer@dept.gov.in\nFrom: x@evil.example",
    " From: officer@dept.gov.in\nFrom: x@evil.example",
    "From: <officer@dept.gov.in>,<x@evil.example>",
    "From: =?utf-8?B?b2ZmaWNlckBkZXB0Lmdvdi5pbg==?=",
    "From: =?utf-8?B?PG9mZmljZXJAZGVwdC5nb3YuaW4+?=<x@evil.example>, ",
    "From: <officer@dept.gov.in> <x@evil.example>",
    "From: <@evil.example,@x.example:officer@dept.gov.in>",
    "From: officer@dept.gov.in\0@evil.example",
    "From:",
    "From: undisclosed:;",
]


@pytest.mark.parametrize("section", ESPOOFER)
def test_A24_a_doubtful_From_is_nobodys_and_waits(section: str) -> None:
    headers = headers_of(section + "\nSubject: Note")
    assert headers.from_addresses == ()
    content = (section + "\nSubject: Note\n\nPlease see the file.\n").replace("\n", "\r\n").encode()
    seen = unpack(content, sha256=hashlib.sha256(content).hexdigest(), limits=CONFIG.limits, scheme=POLICY.scheme)
    verdict = decide.decide(transaction("incident@cert-in.org.in"), seen, POLICY, NONE, CONFIG)
    assert verdict.message_facts["message.from_ambiguous"] is True
    assert verdict.message_facts["message.from_owned"] is True, "what is nobody's is not the login's either way"
    assert verdict.recipients[0].disposition is Disposition.HOLD
    assert "from-ambiguous" in verdict.recipients[0].hits


def test_A24_a_folded_From_is_one_address() -> None:
    assert headers_of("From:\n officer@dept.gov.in\nSubject: Note").from_addresses == ("officer@dept.gov.in",)


def test_A24_without_From_it_leaves_government_only_after_a_look() -> None:
    content = b"Subject: Note\r\n\r\nPlease see the file.\r\n"
    seen = plain.inspect(content, hashlib.sha256(content).hexdigest(), CONFIG.limits, POLICY.scheme)
    assert seen is not None
    tx = transaction("incident@cert-in.org.in", "desk@finance.nic.in", "clerk@dept.gov.in")
    outside, inside, ours = decide.decide(tx, seen, POLICY, NONE, CONFIG).recipients
    assert (outside.disposition, outside.rule) == (Disposition.HOLD, "from-ambiguous")
    assert (inside.disposition, ours.disposition) == (Disposition.DELIVER, Disposition.DELIVER)
    null = transaction("incident@cert-in.org.in", sender="")
    assert decide.decide(null, seen, POLICY, NONE, CONFIG).recipients[0].disposition is Disposition.DELIVER, "a report may have none"
    peer = Peer("10.1.2.3", 40000, user="clerk@dept.gov.in", listed=True, senders=("clerk@dept.gov.in",))
    login = transaction("incident@cert-in.org.in", sender="", peer=peer)
    assert decide.decide(login, seen, POLICY, NONE, CONFIG).recipients[0].rule == "from-ambiguous", "a null sender is not a way round it"
    for reports in (replace(seen.headers, is_report=True), replace(seen.headers, auto_submitted="auto-replied")):
        assert decide.decide(login, replace(seen, headers=reports), POLICY, NONE, CONFIG).recipients[0].disposition is Disposition.DELIVER


@pytest.mark.parametrize(
    ("fields", "is_own"),
    [
        ("Sender: cs@dept.gov.in", False),
        ("Sender: Chief Secretary cs@dept.gov.in", False),
        ("Sender: clerk@dept.gov.in, cs@dept.gov.in", False),
        ("Sender: Clerk@Dept.gov.in", True),
        ("X-Scanner: 3", True),
        ("From: clerk@dept.gov.in\nSender: cs@dept.gov.in", True),
    ],
)
def test_A27_a_login_without_From_does_not_write_as_another_in_Sender(fields: str, is_own: bool) -> None:
    peer = Peer("10.1.2.3", 40000, user="clerk@dept.gov.in", listed=True, senders=("clerk@dept.gov.in",))
    for sender in ("clerk@dept.gov.in", ""):
        found = about(headers_of(f"{fields}\nSubject: Note"), sender=sender, peer=peer)
        assert found.message_facts["message.from_owned"] is is_own
        assert ("from-not-owned" in found.recipients[0].hits) is not is_own


@pytest.mark.parametrize(
    ("author", "display", "spoofed"),
    [
        ('"ceo@gov.in" <x@evil.example>', "ceo@gov.in", True),
        ("ceo@gov.in <x@evil.example>", "ceo@gov.in", True),
        ("<x@evil.example>(ceo@gov.in)", "ceo@gov.in", True),
        ("x@evil.example (ceo@gov.in)", "ceo@gov.in", True),
        ("=?utf-8?B?Y2VvQGdvdi5pbg==?= <x@evil.example>", "ceo@gov.in", True),
        ("=?utf-8?Q?ceo=40gov.in?= <x@evil.example>", "ceo@gov.in", True),
        ('"ceo\uff20gov.in" <x@evil.example>', "ceo\uff20gov.in", True),
        ('"c\u200beo@g\u200bov.in" <x@evil.example>', "c\u200beo@g\u200bov.in", True),
        ('"Office of the CEO, gov.in" <x@evil.example>', "Office of the CEO, gov.in", True),
        ('"finance.gov.in" <x@evil.example>', "finance.gov.in", True),
        ('"support (gmail.com)" <x@evil.example>', "support (gmail.com)", True),
        ('"ceo@dept.gov.in" <clerk@dept.gov.in>', "ceo@dept.gov.in", True),
        ('"clerk@dept.gov.in" <clerk@dept.gov.in>', "clerk@dept.gov.in", False),
        ('"dept.gov.in, clerk" <clerk@dept.gov.in>', "dept.gov.in, clerk", False),
        ('"gov.in helpdesk" <clerk@dept.gov.in>', "gov.in helpdesk", False),
        ('"Dr. A.K. Sharma" <x@evil.example>', "Dr. A.K. Sharma", False),
        ('"S.Kumar" <x@evil.example>', "S.Kumar", False),
        ("Anil Kumar <x@evil.example>", "Anil Kumar", False),
        ("=?utf-8?B?4KSF4KSo4KS/4KSyIOCkleClgeCkruCkvuCksA==?= <x@evil.example>", "अनिल कुमार", False),
        ("x@evil.example", "", False),
        ("<x@evil.example>", "", False),
    ],
)
def test_A25_a_display_name_that_shows_another_address_is_flagged(author: str, display: str, spoofed: bool) -> None:
    headers = headers_of(f"From: {author}\nSubject: Note")
    assert headers.from_display == display
    assert all(not address.endswith("@gov.in") for address in headers.from_addresses)
    found = about(headers, sender="x@evil.example", peer=STRANGER)
    assert found.message_facts["message.from_spoofed"] is spoofed
    assert ("from-spoofed" in found.recipients[0].tags) is spoofed


@pytest.mark.parametrize("value", ["alice@gov.in)bob@evil.example", "(x)alice@gov.in)bob@evil.example", "alice@gov.in(<bob@evil.example>)"])
def test_A26_such_an_address_is_no_address(value: str) -> None:
    headers = headers_of(f"From: {value}\nSender: {value}\nReply-To: {value}\nSubject: Note")
    assert headers.from_addresses == ()
    assert headers.sender_addresses == ("",) and headers.reply_to_addresses == ("",)
    found = about(headers).message_facts
    assert (found["message.from_ambiguous"], found["message.sender_official"], found["message.reply_to_official"]) == (True, False, False)


def test_A23_an_unsigned_From_of_ours_from_outside_waits() -> None:
    headers = headers_of("From: minister@dept.gov.in\nSubject: Note")
    found = about(headers, sender="x@evil.example", peer=STRANGER)
    assert found.message_facts["message.from_forged"] is True
    assert (found.recipients[0].disposition, found.recipients[0].rule) == (Disposition.HOLD, "from-forged")
    own = about(headers)
    assert own.message_facts["message.from_forged"] is False and own.recipients[0].disposition is Disposition.DELIVER


@pytest.mark.parametrize(
    ("result", "domain", "forged"),
    [("pass", "dept.gov.in", False), ("fail", "dept.gov.in", True), ("pass", "evil.example", True), ("pass", "in", True)],
)
def test_A23_our_own_signature_proves_a_From_of_ours(result: str, domain: str, forged: bool) -> None:
    signed = (Authentication("dkim", result, domain),)
    seen = Inspection("0" * 64, headers_of("From: minister@dept.gov.in\nSubject: Note"), (BODY,), (), authentication=signed)
    tx = transaction("desk@dept.gov.in", sender="x@example.net", peer=STRANGER)
    verdict = decide.decide(tx, seen, POLICY, NONE, CONFIG)
    assert verdict.message_facts["message.from_forged"] is forged
    assert (verdict.recipients[0].disposition is Disposition.HOLD) is forged


@pytest.mark.parametrize("field", ["List-Id: <l.example.net>", "Resent-From: x@example.net", "Content-Type: multipart/report"])
def test_A23_lists_and_what_was_sent_on_are_tagged_only(field: str) -> None:
    name, _, value = field.partition(": ")
    headers = headers_of("From: minister@dept.gov.in\nSubject: Note" + (f"\n{field}" if name != "Content-Type" else ""))
    found = about(replace(headers, is_report=True) if name == "Content-Type" else headers, sender="x@example.net", peer=STRANGER)
    assert (found.recipients[0].disposition, "from-forged" in found.recipients[0].tags) == (Disposition.DELIVER, True)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("Sender: clerk@dept.gov.in", {}),
        ("Sender: clerk@finance.gov.in", {}),
        ("Sender: clerk@gmail.com", {"sender_official": False}),
        ("Sender: not an address", {"sender_official": False}),
        ("Reply-To: clerk@dept.gov.in", {}),
        ("Reply-To: A <a@dept.gov.in>, b@finance.nic.in", {}),
        ("Reply-To: a@dept.gov.in, b@gmail.com", {"reply_to_official": False, "reply_to_private": True}),
        ("Reply-To: group: a@dept.gov.in, b@gmail.com;", {"reply_to_official": False, "reply_to_private": True}),
        ("Reply-To: group: a@dept.gov.in;", {}),
        ("Reply-To: b@example.com", {"reply_to_official": False}),
        ("Reply-To: a@dept.gov.in, b@gmail.com x", {"reply_to_official": False}),
        ("Reply-To: b@team-external.gov.in", {"reply_to_official": False}),
        ("Resent-From: a@dept.gov.in", {"resent": True}),
        ("Resent-From: a@dept.gov.in\nAuto-Submitted: auto-generated", {"resent": True, "auto_forwarded": True}),
    ],
)
def test_A27_what_differs_is_recorded(fields: str, expected: dict[str, bool]) -> None:
    found = facts_of(f"From: officer@dept.gov.in\n{fields}\nSubject: Note")
    ordinary = {"sender_official": True, "reply_to_official": True, "reply_to_private": False, "resent": False, "auto_forwarded": False}
    assert {name: found[f"message.{name}"] for name in ordinary} == ordinary | expected


OTHERS = "From: minister@dept.gov.in\n{}\nSubject: Note"


@pytest.mark.parametrize(
    ("fields", "own"),
    [
        ("Resent-From: officer@dept.gov.in", True),
        ("Resent-From: Officer <OFFICER@dept.gov.in>\nResent-To: x@ministry.gov.in", True),
        ("Resent-From: minister@dept.gov.in\nResent-Sender: officer@dept.gov.in", True),
        ("Resent-From: officer@dept.gov.in\nResent-From: minister@dept.gov.in", True),  # the first to have it sent on stands below
        ("Resent-From: minister@dept.gov.in\nResent-From: officer@dept.gov.in", False),
        ("Resent-From: minister@dept.gov.in", False),
        ("Resent-From: officer@dept.gov.in\nResent-Sender: minister@dept.gov.in", False),
        ("Resent-From: officer@dept.gov.in, minister@dept.gov.in", False),
        ("Resent-From: officer@dept.gov.in <minister@dept.gov.in>", False),
        ("Resent-From:", False),
        ("Resent-To: officer@dept.gov.in", False),
        ("Resent-Date: Sat, 21 Nov 2026 10:00:00 +0530", False),
    ],
)
def test_R14_who_sends_on_what_others_wrote_does_it_in_his_own_name(fields: str, own: bool) -> None:
    peer = Peer("10.1.2.3", user="officer", senders=("officer@dept.gov.in",))
    verdict = about(headers_of(OTHERS.format(fields)), sender="officer@dept.gov.in", peer=peer)
    assert verdict.message_facts["message.resent_owned"] is own
    (one,) = verdict.recipients
    assert (one.disposition, one.rule) == ((Disposition.DELIVER, "ordinary-mail") if own else (Disposition.REFUSE, "from-not-owned"))
    assert ("resent-by-login" in one.tags) is own
    assert about(headers_of(OTHERS.format(fields))).message_facts["message.resent_owned"] is True, "without a login nobody can say"


def test_R17_the_explanation_can_name_the_private_address_of_Reply_To() -> None:
    verdict = about(headers_of("From: officer@dept.gov.in\nReply-To: a@dept.gov.in, b@gmail.com\nSubject: Note"))
    words = dict(verdict.recipients[0].facts)
    assert (words["from"], words["reply_to"]) == ("officer@dept.gov.in", "b@gmail.com")


@pytest.mark.parametrize(
    ("field", "forwarded"),
    [
        ("Auto-Submitted: auto-forwarded", True),
        ("X-Forwarded-To: x@gmail.com", True),
        ("X-Forwarded-For: officer@dept.gov.in x@gmail.com", True),
        ("X-Forwarded-For: 10.1.2.3", False),
        ("X-Autoforward: yes", True),
        ("X-Autoforwarded: no", False),
        ("Autoforwarded: TRUE", True),
        ("Autoforwarded: false", False),
        ("X-Sieve-Redirected-From: officer@dept.gov.in", True),
        ("X-Zimbra-Forwarded: officer@dept.gov.in", True),
        ("X-MS-Exchange-Inbox-Rules-Loop: officer@dept.gov.in", True),
        ("X-MS-Exchange-Inbox-Rules-Loop: officer@dept.gov.in\nAuto-Submitted: auto-replied", False),
        ("X-MS-Exchange-Inbox-Rules-Loop: officer@dept.gov.in\nAuto-Submitted: auto-generated\nX-Auto-Response-Suppress: All", False),
        ("X-MS-Exchange-Generated-Message-Source: Mailbox Rules Agent\nX-Auto-Response-Suppress: DR, OOF, AutoReply", False),
        ("X-MS-Exchange-Inbox-Rules-Loop: officer@dept.gov.in\nX-Auto-Response-Suppress: None", True),
        ("X-MS-Exchange-ForwardingLoop: officer@dept.gov.in;1\nX-Auto-Response-Suppress: All", True),
        ("X-MS-Exchange-Generated-Message-Source: Mailbox Rules Agent", True),
        ("X-MS-Exchange-Generated-Message-Source: Antimalware Agent", False),
        ("X-MS-Exchange-ForwardingLoop: officer@dept.gov.in;1", True),
        ("X-MS-Exchange-Organization-AutoForwarded: true", True),
        ("X-Forwarded-Message-Id: <1@dept.gov.in>", False),
        ("Delivered-To: officer@dept.gov.in", False),
        ("Auto-Submitted: auto-replied", False),
        ("Resent-From: officer@dept.gov.in", False),
    ],
)
def test_R33_traces_of_forwarding_by_a_program(field: str, forwarded: bool) -> None:
    assert headers_of(f"From: officer@dept.gov.in\n{field}\nSubject: Note").auto_forwarded is forwarded


def test_R33_namesakes_in_To_and_Cc() -> None:
    section = (
        "From: Anil Kumar <anil.kumar@dept.gov.in>\nTo: Desk <desk@ministry.gov.in>, =?utf-8?Q?Kumar=2C_Anil?= <golfer@gmail.com>\n"
        'Cc: "Kumar" <not an address>, Meena Patel <m@example.com>\nSubject: Note'
    )
    assert headers_of(section).to_named == (("golfer@gmail.com", "Kumar, Anil"),)
    assert headers_of("From: anil.kumar@dept.gov.in\nTo: Anil Kumar <golfer@gmail.com>\nSubject: Note").to_named == ()


@pytest.mark.parametrize("hostile", ["<" * 3000, "(" * 3000, '"' * 3000, "\\" * 3000, "a.@" * 1000, "a." * 1500, "=?utf-8?q?" * 300])
def test_C03_hostile_names_cost_little_and_break_nothing(hostile: str) -> None:
    begun = time.process_time()
    headers = headers_of(f"From: {hostile} <x@evil.example>\nTo: {hostile} <a@dept.gov.in>, {hostile}\nReply-To: {hostile}\nSubject: N")
    about(headers)
    assert len(headers.from_display) <= 200
    assert time.process_time() - begun < 1.0

"""Whose mail it is: the envelope and From decide, whatever other fields of the header section claim (catalogue A27)."""

from __future__ import annotations

import hashlib

import pytest
from msgspec.structs import replace

from gateway.message import plain
from gateway.policy import decide
from gateway.verdict import Disposition, Inspection, RecipientVerdict, Verdict
from tests.test_decide import CONFIG, LISTED, NONE, POLICY, STRANGER, transaction

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

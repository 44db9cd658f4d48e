"""Reports of the relay as rows and as RFC 3464 messages written by the real report writer."""

from __future__ import annotations

import email
import email.policy
import hashlib
from typing import Any

import pytest

from gateway.config import Config
from gateway.policy import shipped_rules
from gateway.policy.explanations import Explanations, load
from gateway.relay.notices import Notices, is_automatic, make_report, may_tell, postmaster_hold
from gateway.relay.outcomes import DELAYED, EXPIRED, REFUSED, RELAYED, UNPROTECTED
from gateway.reply import Reply
from gateway.stores.base import DeliveryRow, DeliveryState, HoldState
from gateway.vault.vault import Vault

HEADER = b"From: =?utf-8?q?S=C3=A9ction?= <a@dept.gov.in>\r\nSubject: =?utf-8?q?Tour?=\r\n  programme\r\nMessage-ID: <1@dept.gov.in>\r\n"
NOW = 1_780_000_000.0
VAULT = Vault({"k": bytes(32)}, "k")


@pytest.fixture(scope="module")
def explanations() -> Explanations:
    return load(shipped_rules() / "explanations", shipped_rules(), ("en", "hi"))


@pytest.fixture
def notices(explanations: Explanations) -> Notices:
    config = Config(hostname="gw.dept.gov.in", contacts={"postmaster": "postmaster@dept.gov.in"})
    return Notices(config, VAULT, lambda: explanations)


def row(recipient: str = "b@nic.in", **more: Any) -> DeliveryRow:
    base: dict[str, Any] = {
        "id": "d-" + recipient, "message_id": "m", "reference": "01ABC", "body_id": "m", "created": NOW - 60, "department": "dept.gov.in",
        "sender": "a@dept.gov.in", "recipient": recipient, "state": DeliveryState.LEASED, "notify": None, "orcpt": "", "ret": "",
        "envid": "QQ314159", "eight_bit": False, "smtputf8": False, "size": 10, "sha256": "0" * 64, "edits": (), "require_aes256": False,
        "direction": "internal", "verified_originator": True, "route": "mail.nic.in:25",
    }  # fmt: skip
    return DeliveryRow(**{**base, **more})


def read(content: bytes) -> tuple[Any, list[Any]]:
    """The report and its delivery-status blocks, read by the standard library."""
    message = email.message_from_bytes(content, policy=email.policy.default)
    status = next(part for part in message.walk() if part.get_content_type() == "message/delivery-status")
    return message, list(status.get_payload())


def test_failed_report_names_every_recipient(notices: Notices) -> None:
    refused = Reply(550, "5.1.1", "no such user")
    expired = Reply(550, "5.4.7", "The message could not be delivered in time. Last answer: 451 4.3.0 later")
    report = notices.failed([(row(orcpt="rfc822;B@nic.in"), refused, REFUSED), (row("c@nic.in"), expired, EXPIRED)], HEADER, NOW, "me")
    message, blocks = read(report.content)
    assert message["To"] == "a@dept.gov.in"
    assert message["Auto-Submitted"].startswith("auto-")
    assert message.get_content_type() == "multipart/report"
    assert blocks[0]["Original-Envelope-Id"] == "QQ314159"
    assert [(b["Action"], b["Status"], b["Final-Recipient"]) for b in blocks[1:]] == [
        ("failed", "5.1.1", "rfc822; b@nic.in"), ("failed", "5.4.7", "rfc822; c@nic.in")
    ]  # fmt: skip
    assert "no such user" in blocks[1]["Diagnostic-Code"]
    assert b"Tour" in report.content
    assert report.content.endswith(b"\r\n")
    assert report.content.count(b"\n") == report.content.count(b"\r\n")


def test_delayed_and_relayed(notices: Notices) -> None:
    delayed = notices.delayed([(row(), Reply(451, "4.4.1", "away"), DELAYED)], HEADER, NOW, NOW + 1000, "me")
    _, blocks = read(delayed.content)
    assert blocks[1]["Action"] == "delayed"
    assert blocks[1]["Status"].startswith("4.")
    assert "Will-Retry-Until" in blocks[1]
    relayed = notices.relayed([(row(), Reply(250, "2.0.0", "queued"), RELAYED)], HEADER, NOW, "me")
    _, blocks = read(relayed.content)
    assert blocks[1]["Action"] == "relayed"
    assert blocks[1]["Status"].startswith("2.")


def test_a_report_about_unprotected_mail_needs_the_same_path(notices: Notices) -> None:
    report = notices.failed([(row(level=2, require_aes256=True), Reply(550, "5.7.4", "x"), UNPROTECTED)], HEADER, NOW, "me")
    message, _ = read(report.content)
    assert "AES-256" in message.get_body(("plain",)).get_content()
    assert report.delivery.require_aes256, "the report may carry the subject"


def test_every_key_has_its_own_sentences(explanations: Explanations) -> None:
    """A key without sentences would fall back to those of another rule."""
    fallback = explanations.sentence("refused-by-rule", "en", {"recipient": "x"})
    for key in (REFUSED, EXPIRED, DELAYED, RELAYED, UNPROTECTED):
        assert explanations.sentence(key, "en", {"recipient": "x", "level": "SECRET"}) != fallback, key


@pytest.mark.parametrize("text", ["\r\nBcc: x@y", "a\r\n\r\n--boundary", "\x00\x1b[31m", "<script>alert(1)</script>", "x" * 5000])
def test_L05_hostile_words_of_a_hop_break_no_line(notices: Notices, text: str) -> None:
    report = notices.failed([(row(), Reply(550, "5.1.1", text), REFUSED)], b"Subject: " + text.encode()[:900] + b"\r\n", NOW, "me")
    message, blocks = read(report.content)
    assert message["Bcc"] is None
    assert len(blocks) == 2
    assert all(len(line) <= 998 for line in report.content.split(b"\r\n"))
    assert b"\x00" not in report.content
    assert b"<script>" not in report.content.split(b"text/html")[1].split(b"--")[0]


def test_report_rows(notices: Notices) -> None:
    report = notices.failed([(row(), Reply(550, "5.1.1", "x"), REFUSED)], HEADER, NOW, "me")
    assert VAULT.open(report.body) == report.content
    assert report.message.sha256 == report.delivery.sha256 == hashlib.sha256(report.content).hexdigest()
    assert (report.message.sender, report.message.is_report, report.message.door) == ("", True, "report")
    delivery = report.delivery
    assert (delivery.sender, delivery.recipient, delivery.is_report, delivery.notify) == ("", "a@dept.gov.in", True, ("NEVER",))
    assert (delivery.state, delivery.lease) == (DeliveryState.LEASED, "me")
    assert delivery.message_id == report.message.id
    assert delivery.reference == report.message.reference != "01ABC"
    scheduled = make_report(b"x\r\n", row(), VAULT, NOW, "")
    assert (scheduled.delivery.state, scheduled.delivery.next_attempt) == (DeliveryState.SCHEDULED, NOW)


@pytest.mark.parametrize(
    ("more", "event", "allowed"),
    [
        ({}, "FAILURE", True), ({}, "DELAY", True), ({}, "SUCCESS", False), ({"notify": ("NEVER",)}, "FAILURE", False),
        ({"notify": ("FAILURE",)}, "FAILURE", True), ({"notify": ("FAILURE",)}, "DELAY", False),
        ({"notify": ("SUCCESS",)}, "SUCCESS", True),
        ({"sender": ""}, "FAILURE", False), ({"verified_originator": False}, "FAILURE", False), ({"is_report": True}, "FAILURE", False),
        ({"verified_originator": False, "notify": ("SUCCESS",)}, "SUCCESS", False),
    ],
)  # fmt: skip
def test_who_may_be_told(more: dict[str, Any], event: str, allowed: bool) -> None:
    assert may_tell(row(**more), event) is allowed


@pytest.mark.parametrize(
    ("header", "automatic"),
    [
        (b"Subject: x\r\n", False), (b"AUTO-SUBMITTED: Auto-Replied\r\n", True), (b"Auto-Submitted: no\r\n", False),
        (b"Precedence: list\r\n", True), (b"Precedence: first-class\r\n", False), (b"List-Post: <mailto:x>\r\n", True),
        (b"X: y\r\n List-Id: folded\r\n", False), (b"", False),
    ],
)  # fmt: skip
def test_L04_automatic_mail(header: bytes, automatic: bool) -> None:
    assert is_automatic(header) is automatic


def test_postmaster_hold_is_reported_to_nobody() -> None:
    hold = postmaster_hold([row(), row("c@nic.in")], NOW, 15)
    assert hold.recipients == ("b@nic.in", "c@nic.in")
    assert (hold.state, hold.reason, hold.verified_originator) == (HoldState.HELD, "postmaster", False)
    assert hold.deadline == NOW + 15 * 86400

"""Rows of the decision log, rules and exceptions as the keeper gives them."""

from __future__ import annotations

from typing import Any

from gateway import requests, review
from gateway.requests import AddException, ExpireException, ListExceptions, SearchAudit, ShowAudit
from gateway.review import ListRules
from tests.faces import HELD, FakeKeeper

REFERENCE = str(HELD["reference"])
RULE = {
    "id": "classified-attachment-unencrypted", "title": "A classified attachment must be encrypted", "source": "Circular 26 of 2024",
    "then": "hold", "mode": "enforce", "pack": "", "explain": "attachment-unencrypted", "owner": "rules@dept.gov.in",
    "what": "Your message to … was stopped.", "why": "Its attachment … is classified and not encrypted.",
    "next": ["Encrypt it.", "Send it again."],
}  # fmt: skip
WATCHED = RULE | {
    "id": "large-attachment", "title": "Large attachments are watched", "then": "deliver", "mode": "monitor", "pack": "gujarat", "what": "",
    "why": "", "next": [], "owner": "",
}  # fmt: skip
ENTRY = {
    "id": "0198f2b0-0000-7000-8000-0000000000e1", "sender": "@dept.gov.in", "recipient": "court@hc.gov.in", "reason": "Monthly filing",
    "requester": "reviewer", "approver": "second", "created": 1_795_000_000.0, "expires": 4_000_000_000.0, "state": "active",
}  # fmt: skip
ENDED = ENTRY | {"id": "0198f2b0-0000-7000-8000-0000000000e2", "state": "expired", "reason": "Over now"}


def decision(seq: int = 7, action: str = "message-held", disposition: str = "hold", **more: Any) -> dict[str, Any]:
    """A decision for one recipient."""
    return {
        "@timestamp": "2026-11-22T08:00:00.000+05:30", "seq": seq,
        "event": {
            "action": action, "dataset": "gateway.decision", "reason": "attachment-unencrypted", "hash": f"sha256:{seq:064x}",
        },
        "rule": {"id": RULE["id"], "reference": "Circular 26 of 2024"}, "source": {"ip": "10.0.0.7", "port": 4000},
        "gateway": {
            "chain": "c1", "seq": seq, "prev_hash": f"sha256:{seq - 1:064x}", "reference": REFERENCE, "department": "dept.gov.in",
            "disposition": disposition, "sha256": "ab" * 32, "rules_version": "sha256:rules", "label": {"level": "CONFIDENTIAL"},
            "smtp": {"mail_from": "officer@dept.gov.in", "rcpt_to": [{"address": "a@nic.in", "tier": "government", "code": 250}]},
        },
    } | more  # fmt: skip


def act(
    seq: int = 8, action: str = "held-released", user: str = "reviewer", reason: str = "Asked and answered", **more: Any
) -> dict[str, Any]:
    """Something that a person did."""
    return {
        "@timestamp": "2026-11-22T09:00:00.000+05:30", "seq": seq, "user": {"name": user},
        "event": {"action": action, "dataset": "gateway.act", "reason": reason, "hash": f"sha256:{seq:064x}"},
        "gateway": {"chain": "c1", "seq": seq, "prev_hash": f"sha256:{seq - 1:064x}", "reference": REFERENCE, "disposition": action},
    } | more  # fmt: skip


def keeper_with_log(**answers: Any) -> FakeKeeper:
    """Knows a decision, an act, two rules and two entries of the register."""
    return FakeKeeper({
        SearchAudit: requests.Rows((act(), decision())), ShowAudit: requests.Rows((decision(), act())),
        ListRules: requests.Rows((RULE, WATCHED)), ListExceptions: lambda asked: requests.Rows((ENTRY, ENDED) if asked.all else (ENTRY,)),
        AddException: requests.Rows((ENTRY,)), ExpireException: requests.Done(), review.FindHeld: requests.Rows((HELD,)),
        **{getattr(requests, name, None) or getattr(review, name): value for name, value in answers.items()},
    })  # fmt: skip

"""A held message as the keeper shows it, for the tests of its page."""

from __future__ import annotations

import struct
import zlib
from typing import Any

from gateway import requests, review
from tests.faces import HELD, SEALED, FakeKeeper

ID, REFERENCE = str(HELD["id"]), str(HELD["reference"])
ACTS = ("release", "approve", "refuse", "ask", "level", "forward", "again", "exception", "content")
RULE, TITLE = "classified-attachment-unencrypted", "A classified attachment must be encrypted"
SOURCE = "J&K Circular 26-JK(GAD) of 22 November 2024"


def _step(action: str, user: str = "", reason: str = "", recipient: str = "", at: float = 0, rule: str = "") -> dict[str, Any]:
    return {"time": 1_795_000_000.0 + at, "action": action, "user": user, "reason": reason, "recipient": recipient, "rule": rule}


def _decision(address: str, tier: str = "government", disposition: str = "hold", **more: Any) -> dict[str, Any]:
    """As the keeper keeps it: what has its default is left out."""
    held = disposition == "hold"
    return {
        "address": address, "tier": tier, "direction": "internal" if tier == "government" else "outbound", "disposition": disposition,
        "status": "5.7.1" if held else "2.0.0", "rule": RULE if held else "deliver", "title": TITLE if held else "Everything else passes",
        "trace": [
            {"rule": RULE, "title": TITLE, "hit": held, "mode": "enforce", "then": "hold"},
            {"rule": "secret-on-the-internet", "title": "SECRET may not be sent", "hit": False, "mode": "enforce", "then": "refuse"},
            {"rule": "watch-links", "title": "Links to clouds", "hit": True, "mode": "monitor", "then": "hold"},
        ],
        "explanation": {
            "en": {"what": "The attachment is not encrypted.", "why": "It is marked CONFIDENTIAL.", "next": ["Encrypt it."]},
            "hi": {"what": "संलग्नक एन्क्रिप्ट नहीं है।", "why": "उस पर गोपनीय लिखा है।", "next": ["उसे एन्क्रिप्ट करें।"]},
        } if held else {},
    } | more | ({"source": SOURCE, "explain": "attachment", "hits": [RULE], "require_aes256": True} if held else {})  # fmt: skip


def _leaf(path: str, name: str = "", media_type: str = "text/plain", **more: Any) -> dict[str, Any]:
    protection = {"state": "none", "scheme": "", "cipher": "", "bits": 0, "reason": ""}
    return {
        "path": path, "name": name, "media_type": media_type, "size": 1200, "state": "inspected", "reason": "", "is_attachment": bool(name),
        "container": False, "level": "CONFIDENTIAL", "protection": protection, "sha256": "ab" * 32,
    } | more  # fmt: skip


LEAVES = [
    _leaf("1", media_type="multipart/mixed", container=True), _leaf("1.1"),
    _leaf("1.2", "orders.pdf", "application/pdf", size=181_022),
    _leaf("1.3", "annexes.zip", "application/zip", container=True, size=9_300),
    _leaf("1.3:annexes.zip/note.docx", "note.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    _leaf("1.3:annexes.zip/list.xlsx", "list.xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", state="opaque",
          reason="encrypted with a password", protection={"state": "strong", "scheme": "ooxml", "cipher": "AES-256-CBC", "bits": 256,
                                                          "reason": ""}),
]  # fmt: skip
ITEM: dict[str, Any] = HELD | {
    "subject": "Posting orders", "recipients": ["a@nic.in", "b@gov.in", "c@lawfirm.example"], "released": [], "reason": "",
    "title": TITLE, "source": SOURCE, "assigned": "", "requested": 0.0, "two_people": True, "sha256": "cd" * 32, "updated": 1_795_000_000.0,
    "verified_originator": True, "unreadable": "", "message_id": "<1@dept.gov.in>", "from": ["officer@dept.gov.in"],
    "to": ["a@nic.in", "b@gov.in"], "rules_version": "r-1", "exceptions_version": "e-1", "leaves": LEAVES,
    "classification": {"level": "CONFIDENTIAL", "declared": None, "found": "CONFIDENTIAL", "probable": "CONFIDENTIAL", "conflict": True,
                       "complete": False},
    "evidence": [
        {"path": "1.2", "zone": "page-header", "level": "CONFIDENTIAL", "confidence": "certain", "detector": "marking", "language": "en",
         "offset": 0, "length": 12, "words": "h"},
        {"path": "1.2", "zone": "page-header", "level": "CONFIDENTIAL", "confidence": "certain", "detector": "marking", "language": "en",
         "offset": 900, "length": 12, "words": "h"},
        {"path": "header:Subject", "zone": "subject", "level": "RESTRICTED", "confidence": "probable", "detector": "marking",
         "language": "en", "offset": 0, "length": 7, "words": "h"},
    ],
    "ambiguity": [], "decisions": [_decision("a@nic.in"), _decision("b@gov.in"), _decision("c@lawfirm.example", "other")],
    "titles": {RULE: TITLE},
    "authentication": {"client": "10.0.0.7", "helo": "mail.dept.gov.in", "user": "officer", "listed": True, "tls": "TLSv1.3",
                       "cipher": "TLS_AES_256_GCM_SHA384", "bits": 256, "results": "gw; spf=pass", "door": "submission",
                       "verified_originator": True},
    "thread": {"message_id": "<1@dept.gov.in>", "thread_level": "CONFIDENTIAL", "passage_level": None, "thread_conflict": True,
               "conflict": False},
    "approvals": [], "remarks": [
        {"created": 1_795_000_400.0, "kind": "question", "author": "reviewer", "to": "", "text": "Who asked for this?"},
        {"created": 1_795_000_900.0, "kind": "answer", "author": "officer@dept.gov.in", "to": "", "text": "The court.\nBy Monday."},
    ],
    "history": [
        _step("message-held", recipient="a@nic.in", rule=RULE), _step("message-held", recipient="b@gov.in", rule=RULE),
        _step("message-held", recipient="c@lawfirm.example", rule=RULE), _step("held-asked", "reviewer", "", "a@nic.in", 400),
        _step("content-viewed", "reviewer", "", "", 500),
    ],
    "may": dict.fromkeys(ACTS, True) | {"approve": False}, "why_not": {"approve": "your role does not permit this"}, "first_yes": "",
    "level_proposed": "", "level_proposed_by": "",
}  # fmt: skip
"""Held for three recipients, two people needed, everything that a reviewer may do."""
APPROVED = ITEM | {
    "state": "approved", "first_yes": "asha",
    "approvals": [
        {"user": "asha", "created": 1_795_001_000.0, "reason": "Needed by the court", "recipients": ["a@nic.in"], "waived": [RULE]},
    ],
    "may": dict.fromkeys(ACTS, False) | {"approve": True, "level": True, "content": True},
    "why_not": dict.fromkeys(set(ACTS) - {"approve", "level", "content"}, "your role does not permit this"),
}  # fmt: skip
"""The same after the first yes, as the second approver sees it."""
SEALED_ITEM = SEALED | {
    "level": None, "recipients": [], "subject": "", "title": "What is probably SECRET waits", "source": SOURCE, "two_people": False,
    "decisions": [], "leaves": [], "evidence": [], "classification": {}, "remarks": [], "approvals": [], "assigned": "", "requested": 0.0,
    "history": [_step("message-held", rule="probable-secret")], "unreadable": "", "first_yes": "", "level_proposed": "",
    "may": dict.fromkeys(ACTS, False) | {"refuse": True, "forward": True},
    "why_not": dict.fromkeys(set(ACTS) - {"refuse", "forward"}, "this message is sealed to the security officer"),
    "level_proposed_by": "",
}  # fmt: skip
LINES = "Dear Sir,\n\nOrders as under.\n" * 3
CONTENT: dict[str, Any] = {
    "subject": "Posting orders", "subject_marks": [[0, 7, "RESTRICTED", "probable"]],
    "headers": [["Subject", "Posting orders"], ["From", "Officer <officer@dept.gov.in>"], ["To", "a@nic.in, b@gov.in"]],
    "leaves": [
        LEAVES[1] | {"pages": 0, "cut": "", "segments": [
            {"zone": "body-first", "page": 0, "text": "CONFIDENTIAL\n" + LINES, "marks": [[0, 12, "CONFIDENTIAL", "certain"]]},
            {"zone": "body", "page": 0, "text": "A long report. " * 700, "marks": []},
        ]},
        LEAVES[2] | {"pages": 20, "cut": "", "segments": [
            {"zone": "page-header", "page": 14, "text": "गोपनीय / CONFIDENTIAL", "marks": [[0, 6, "CONFIDENTIAL", "certain"],
                                                                                         [9, 21, "CONFIDENTIAL", "certain"]]},
            {"zone": "body", "page": 14, "text": "Movement of units.", "marks": []},
        ]},
        LEAVES[5] | {"pages": 0, "cut": "", "segments": []},
    ],
    "beside": [{"path": "1.2", "zone": "property", "text": "Confidential", "level": "CONFIDENTIAL", "confidence": "certain"}],
}  # fmt: skip


def png(width: int = 91, height: int = 129) -> bytes:
    """A white picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + b"\xff" * width for _ in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def keeper_of(item: dict[str, Any] | None = None, content: dict[str, Any] | None = None, **more: Any) -> FakeKeeper:
    """A keeper with one held message; any other id or reference is absent."""
    row = ITEM if item is None else item

    def show(request: Any) -> Any:
        known = request.id in (row["id"], row["reference"])
        return requests.Rows((row,)) if known else requests.Failed("there is no such held message", requests.ABSENT)

    picture = {"media_type": "image/png", "pages": 20, "width": 91, "height": 129, "boxes": 1}
    return FakeKeeper({
        requests.ShowHeld: show, review.ShowContent: requests.Rows((CONTENT if content is None else content,)),
        review.ShowPage: (requests.Rows((picture,)), png()),
        review.Colleagues: requests.Rows(({"name": "asha", "email": "asha@dept.gov.in"}, {"name": "ravi", "email": ""})),
        review.DownloadLeaf: (requests.Done(), b"<script>alert(1)</script>"),
    } | more)  # fmt: skip

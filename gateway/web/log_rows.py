"""A row of the decision log in plain words: what happened, to whom, by which rule, who did it.

What it is: pure functions: ``told_row`` (one row as a page shows it) and ``chained`` (its place in the chain).
Who calls it: ``log_pages``.
Must never: return markup; leave out that a row stands in the log because it has no words here.
Sources: audit/events.py (the documents); docs/design.md section 10 ("Decision log"); hostile-inputs catalogue W14.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway import logged
from gateway.web import told

ACTIONS = {
    "login-accepted": "Signed in", "login-refused": "Sign-in refused", "login-deferred": "Sign-in put off: too many tries",
    "password-changed": "Password changed", "codes-changed": "Codes of the device set up", "totp-changed": "Codes of the device set up",
    "user-added": "Person added", "user-changed": "Person changed", "user-invited": "One-time login made",
    "token-added": "Token of the API made", "token-ended": "Token of the API ended", "exception-added": "Exception added",
    "exception-ended": "Exception ended", "exception-expired": "Exception expired", "profile-started": "Profile turned on",
    "profile-ended": "Profile turned off", "profile-expired": "Profile over",
    "mta-path-proved": "Mail server proved by its settings", "mta-path-unproved": "Mail server not proved by its settings",
    "audit-exported": "Decision log taken out as a file",
    "digest-sent": "Digest sent to a reviewer", "retention-applied": "Old records removed as the retention says",
    "backup-made": "Backup made", "vault-key-rotated": "New vault key taken", "vault-key-rewrapped": "Vault keys wrapped anew",
    "key-escrow-printed": "Recovery words of a key printed", "key-lost": "Key lost", "key-recovered": "Key recovered",
    "key-retired": "Key retired", "officer-certificate-made": "Certificate of the security officer made",
    "queue-retried": "Delivery tried again at once", "queue-bounced": "Delivery given up, sender told",
    "queue-held": "Delivery stopped", "queue-unheld": "Delivery let go on", "held-requested": "The sender asked for release",
}  # fmt: skip
"""Beside those of ``told``."""
KINDS = {"deliver": "deliver", "hold": "requested", "refuse": "refuse", "defer": ""}
"""The class of the mark of a decision."""
DECISIONS = {"deliver": "delivered", "hold": "held", "refuse": "refused", "defer": "try again later"}
_KEPT = {"mta": "passed to the mail server", "mta-hold": "held by the mail server", "mailbox": "stored"}
"""What became of mail that another keeps, instead."""
_ABOUT = ("reviewer", "name", "key", "format", "rows", "count", "door")


def told_row(row: Mapping[str, Any], titles: Mapping[str, str]) -> dict[str, Any]:
    """*row* for a page; *titles*: of the rules in force by id."""
    plain = logged.flat(row)
    event, gateway = _part(row, "event"), _part(row, "gateway")
    action, disposition = str(plain["action"] or ""), str(plain["disposition"] or "")
    rule = str(plain["rule"] or "")
    act = _part(gateway, "act") | {name: value for name, value in _part(gateway, "login").items() if name == "count" and value != 1}
    about = [f"{name} {act[name]}" if name in ("rows", "count") else str(act[name]) for name in _ABOUT if act.get(name) not in (None, "")]
    return {
        "time": str(plain["time"] or ""), "seq": row.get("seq", 0), "reference": str(plain["reference"] or ""),
        "what": ACTIONS.get(action) or told.action(action) or "Recorded", "action": action,
        "mark": KINDS.get(disposition), "decision": _KEPT.get(str(gateway.get("kept_by"))) or DECISIONS.get(disposition, ""),
        "sender": str(plain["sender"] or ""),
        "recipient": str(plain["recipient"] or ""), "rule": rule, "title": titles.get(rule, ""),
        "source": str(_part(row, "rule").get("reference") or ""), "user": str(plain["user"] or ""),
        "reason": "" if event.get("dataset") == "gateway.decision" else str(plain["reason"] or ""), "level": str(plain["level"] or ""),
        "about": about, "department": str(gateway.get("department") or ""), "address": str(_part(row, "source").get("ip") or ""),
    }  # fmt: skip


def chained(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The fields that prove where *row* stands in its chain: name and value."""
    event, gateway = _part(row, "event"), _part(row, "gateway")
    found = (
        ("Chain", gateway.get("chain")), ("Number in the chain", gateway.get("seq")), ("Hash of the row before", gateway.get("prev_hash")),
        ("Hash of this row", event.get("hash")), ("Rules in force", gateway.get("rules_version")),
        ("Exceptions in force", gateway.get("exceptions_version")), ("Hash of the content", gateway.get("sha256")),
    )  # fmt: skip
    return [(name, str(value)) for name, value in found if value not in (None, "")]


def _part(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = row.get(name)
    return value if isinstance(value, dict) else {}

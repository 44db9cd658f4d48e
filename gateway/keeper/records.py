"""Rows as the records that people and scripts read: the field names of the outside face.

What it is: pure functions from store rows to JSON-ready dicts.
Who calls it: ``service``.
Must never: show a subject, a name or evidence of sealed mail; rename a field without a migration.
Source: docs/design.md section 10 ("Records"). Times are seconds since the epoch.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from gateway.keeper.recorded import Details, Kept
from gateway.levels import Level
from gateway.requests import ExceptionRow, ProfileRow
from gateway.stores.base import ApprovalRow, AuditRow, DeliveryRow, HoldRow


def level_text(level: int | None) -> str | None:
    """``CONFIDENTIAL`` …, or None."""
    return None if level is None else Level(level).text


def held(row: HoldRow, subject: str) -> dict[str, Any]:
    """A held record in a list."""
    return {
        "id": row.id, "reference": row.reference, "created": row.created, "deadline": row.deadline, "state": row.state.value,
        "level": level_text(row.level), "rule": row.rule, "sender": row.sender, "recipients": list(row.recipients),
        "subject": "" if row.sealed else subject, "department": row.department, "sealed": row.sealed, "reason": row.reason,
        "released": list(row.released), "size": row.size,
    }  # fmt: skip


def held_in_full(
    row: HoldRow, subject: str, kept: Kept, details: Details, approvals: Sequence[ApprovalRow], history: Sequence[AuditRow],
    *, content: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """A held record with its verdict and history. Without *content* nothing that its content gave: names of files, keyed hashes of
    words, edits (which may quote a subject), addresses in its header section."""
    if not content:
        details = _plain(details)
    found = kept.classification
    decisions: list[dict[str, Any]] = []
    for place, one in enumerate(kept.recipients):
        decision: dict[str, Any] = msgspec.to_builtins(one)
        if place < len(details.traces):
            decision["trace"] = msgspec.to_builtins(details.traces[place])
        if place < len(details.words):
            decision["words"] = details.words[place]
        if place < len(details.edits):
            decision["edits"] = msgspec.to_builtins(details.edits[place])
        decisions.append(decision)
    return held(row, subject) | {
        "sha256": row.sha256, "updated": row.updated, "verified_originator": row.verified_originator,
        "classification": {
            key: level_text(value) if key in ("level", "declared", "found", "probable") else value for key, value in found.items()
        },
        "decisions": decisions, "leaves": [_leaf(leaf) for leaf in msgspec.to_builtins(details.leaves)], "evidence": list(details.evidence),
        "ambiguity": list(details.ambiguity), "from": list(details.from_addresses), "to": list(details.to_addresses),
        "message_id": details.message_id, "rules_version": kept.rules_version, "exceptions_version": kept.exceptions_version,
        "approvals": [
            {"user": one.user, "created": one.created, "reason": one.reason, "recipients": list(one.recipients), "waived": list(one.waived)}
            for one in approvals
        ],
        "history": [_step(one) for one in history],
    }  # fmt: skip


def _plain(details: Details) -> Details:
    leaves = tuple(replace(leaf, path=leaf.path.partition(":")[0], name="", reason="", sha256="") for leaf in details.leaves)
    evidence = tuple(one | {"path": str(one.get("path", "")).partition(":")[0], "words": ""} for one in details.evidence)
    return Details(words=details.words, traces=details.traces, leaves=leaves, evidence=evidence)


_OF_SEALED = (
    "id", "reference", "created", "deadline", "state", "rule", "sender", "department", "sealed", "subject", "size", "updated", "approvals",
    "history",
)  # fmt: skip


def sealed_in_full(row: dict[str, Any]) -> dict[str, Any]:
    """What may be shown of sealed mail, and what became of it; every other field stands empty."""
    return {name: value if name in _OF_SEALED else type(value)() for name, value in row.items()} | {
        "recipients": [], "released": [], "history": [step | {"recipient": ""} for step in row["history"]],
    }  # fmt: skip


def _leaf(leaf: dict[str, Any]) -> dict[str, Any]:
    return leaf | {"level": level_text(leaf["level"])}


def _step(row: AuditRow) -> dict[str, Any]:
    document = json.loads(row.line)
    event = document.get("event", {})
    return {
        "time": row.created, "action": event.get("action", ""), "user": document.get("user", {}).get("name", ""),
        "reason": event.get("reason", ""), "recipient": row.recipient, "rule": row.rule,
    }  # fmt: skip


def delivery(row: DeliveryRow) -> dict[str, Any]:
    """One delivery."""
    return {
        "id": row.id, "reference": row.reference, "created": row.created, "recipient": row.recipient, "sender": row.sender,
        "state": row.state.value, "attempts": row.attempts, "next_attempt": row.next_attempt, "last_reply": row.last_reply,
        "route": row.route, "department": row.department, "level": level_text(row.level), "size": row.size, "is_report": row.is_report,
    }  # fmt: skip


def audit(row: AuditRow) -> dict[str, Any]:
    """One row of the decision log: its document with ``event.hash``, and ``seq`` to page by."""
    document: dict[str, Any] = json.loads(row.line)
    document["event"]["hash"] = row.hash
    document["seq"] = row.position
    return document


def exception(row: ExceptionRow) -> dict[str, Any]:
    """One entry of the register."""
    built: dict[str, Any] = msgspec.to_builtins(row)
    return built


def profile(row: ProfileRow) -> dict[str, Any]:
    """One time in which a profile is, or was, on."""
    built: dict[str, Any] = msgspec.to_builtins(row)
    return built

"""One held record as a list shows it.

What it is: pure functions: ``shown`` (the fields of one row, ready to be written) and ``news`` (what changed, counted).
Who calls it: ``queue_pages``.
Must never: give more of sealed mail than reference, sender, rule and deadline; give a subject to somebody who may not see content.
Sources: docs/design.md section 4; hostile-inputs catalogue W01; docs/design.md section 10 ("Web").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from gateway.roles import Act
from gateway.web.door import Visitor
from gateway.web.filters import CLOSED, OPEN

SOON = 2 * 86400.0
"""Seconds before a deadline from which it is marked."""
_RECIPIENTS = 3
STATE_WORDS = {
    "held": "Held", "requested": "Requested", "approved": "Approved", "released": "Released", "refused": "Refused", "expired": "Expired",
}  # fmt: skip


_CLASS = re.compile(r"[a-z-]{1,30}")
_REFERENCE = re.compile(r"[0-9A-Za-z-]{1,64}")


def shown(row: Mapping[str, Any], visitor: Visitor, now: float, fresh: float = 0.0) -> dict[str, Any]:
    """What the list shows of a held record. What was made after *fresh* (0: nothing) is marked as new. Times in seconds."""
    deadline, created = _number(row.get("deadline")), _number(row.get("created"))
    rule = str(row.get("rule") or row.get("reason") or "")
    out: dict[str, Any] = {
        "id": str(row.get("id", "")), "reference": str(row.get("reference", "")), "sender": str(row.get("sender") or ""),
        "rule": rule, "title": str(row.get("title") or rule), "deadline": deadline, "sealed": bool(row.get("sealed")),
        "soon": deadline - now < SOON, "fresh": bool(fresh) and created > fresh,
    }  # fmt: skip
    if out["sealed"]:
        return out | {"markable": False}
    department, state = str(row.get("department") or ""), str(row.get("state") or "")
    to, tiers = list(row.get("recipients") or ()), row.get("tiers") or {}
    may_act = visitor.may(Act.DECIDE, department) or visitor.may(Act.APPROVE, department)
    level, marked = str(row.get("level") or ""), bool(_REFERENCE.fullmatch(out["reference"]))
    return out | {
        "level": level, "level_class": _class(level), "department": department, "state": state, "state_class": _class(state),
        "state_words": STATE_WORDS.get(state, state), "opened": state in OPEN, "markable": state in OPEN and may_act and marked,
        "created": created, "updated": _number(row.get("updated")), "readable": visitor.may(Act.CONTENT, department),
        "subject": str(row.get("subject") or "") if visitor.may(Act.CONTENT, department) else "",
        "to": [(one, str(tiers.get(one, "")), _class(str(tiers.get(one, "")))) for one in to[:_RECIPIENTS]],
        "more": max(0, len(to) - _RECIPIENTS), "size": row.get("size"), "gone": _gone(created, deadline, now),
        "approvals": int(_number(row.get("approvals"))), "needed": int(_number(row.get("needed"))),
        "released": len(row.get("released") or ()), "recipients": len(to), "assigned": str(row.get("assigned") or ""),
        "mine": bool(visitor.name) and row.get("assigned") == visitor.name,
    }  # fmt: skip


def news(rows: Iterable[Mapping[str, Any]], since: float, states: tuple[str, ...]) -> str:
    """What changed after *since* (seconds) in words: ``3 new, 1 decided``; *states* are those that the page shows (none: the open
    ones). Empty where nothing of it concerns the page."""
    wanted = states or OPEN
    counts = {"new": 0, "decided": 0, "changed": 0}
    for row in rows:
        state, young = row.get("state"), _number(row.get("created")) > since
        if young and state not in wanted:
            continue
        kind = "new" if young else "decided" if state in CLOSED and not row.get("sealed") else "changed"
        counts[kind] += 1
    return ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)


def _gone(created: float, deadline: float, now: float) -> int:
    """How much of the time until the deadline is over, in percent."""
    if deadline <= created:
        return 100
    return round(100 * min(1.0, max(0.0, (now - created) / (deadline - created))))


def _class(text: str) -> str:
    """*text* as a class of the stylesheet; empty where it is none."""
    name = text.lower().replace(" ", "-")
    return name if _CLASS.fullmatch(name) else ""


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0

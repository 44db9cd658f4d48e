"""A row of the decision log as a line of a table, and as a line of CSV.

What it is: pure functions: ``flat`` (the columns of a row) and ``csv_line``.
Who calls it: ``cli.audit`` and ``web.log_pages``.
Must never: write a cell that a program takes for a formula (W14).
Sources: docs/design.md section 10 ("Decision log"); RFC 4180; hostile-inputs catalogue W14.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

COLUMNS = (
    ("time", "time"), ("reference", "reference"), ("disposition", "decision"), ("rule", "rule"), ("sender", "from"), ("recipient", "to"),
    ("level", "level"),
)  # fmt: skip
"""Fields of ``flat`` and the heading of each."""
EXPORTED = (*COLUMNS, ("action", "action"), ("user", "user"), ("reason", "reason"), ("hash", "hash"))
"""Those of a file."""
_FORMULA = "=+-@|%\t\r\uff1d\uff0b\uff0d\uff20"
"""What makes a spreadsheet take a cell for a formula: also as full-width characters."""


def flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of one row, whether its fields are dotted ECS names or plain ones."""

    def first(*names: str) -> Any:
        for name in names:
            value: Any = row
            for part in (name,) if name in row else tuple(name.split(".")):
                value = value[0] if isinstance(value, list) and value else value
                value = value.get(part) if isinstance(value, Mapping) else None
            if value not in (None, ""):
                return value
        return ""

    return {
        "time": first("@timestamp", "created"), "reference": first("gateway.reference", "reference"),
        "disposition": first("gateway.disposition", "disposition", "event.action"), "rule": first("rule.id", "rule"),
        "sender": first("gateway.smtp.mail_from", "sender"), "recipient": first("gateway.smtp.rcpt_to.address", "recipient"),
        "level": first("gateway.label.level", "level"), "action": first("event.action"), "user": first("user.name"),
        "reason": first("event.reason"), "hash": first("event.hash"),
    }  # fmt: skip


def csv_line(values: Iterable[object], safe: Callable[[object], str]) -> str:
    """*values* as one line of CSV; no cell of it is a formula to a program that opens the table. *safe* writes a value without control
    characters."""
    cells = []
    for value in values:
        text = safe(value)
        if text[:1] and (text[0] in _FORMULA or text.lstrip()[:1] in _FORMULA):
            text = f"'{text}"
        cells.append('"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\n\r') else text)
    return ",".join(cells)

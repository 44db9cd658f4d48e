"""What part of the decision log a page shows: read from an address, written into one, and asked of the keeper.

What it is: ``Search`` and ``read``.
Who calls it: ``log_pages``, ``api_records``.
Must never: raise for what somebody typed; hand on a value that is longer than any that can be right (W12).
Sources: hostile-inputs catalogue W12; docs/design.md section 10 ("Web").
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from urllib.parse import urlencode

from gateway.inquiries import SearchAudit
from gateway.web.shown import IST

LONGEST = 320
"""Characters of one value."""
_DATE = re.compile(r"20\d\d-\d\d-\d\d", re.ASCII)


@dataclass(frozen=True, slots=True)
class Search:
    """What somebody looks for; empty fields ask for nothing. Dates are days of India's clock, *until* is the last one."""

    text: str = ""
    sender: str = ""
    recipient: str = ""
    rule: str = ""
    since: str = ""
    until: str = ""

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """As names and values of an address, only what is given."""
        every = (
            ("q", self.text), ("sender", self.sender), ("recipient", self.recipient), ("rule", self.rule), ("since", self.since),
            ("until", self.until),
        )  # fmt: skip
        return [(name, value) for name, value in every if value]

    def address(self, **more: object) -> str:
        """The page with this search; empty values of *more* are left out."""
        query = urlencode([*self.pairs, *((name, str(value)) for name, value in more.items() if value)])
        return f"/audit?{query}" if query else "/audit"

    def request(self, limit: int, before: int = 0, taken_as: str = "") -> SearchAudit:
        """As the keeper is asked: the newest first, before the row *before*."""
        return SearchAudit(
            self.text, self.sender, self.recipient, self.rule, _midnight(self.since), _midnight(self.until, 1), limit, newest=True,
            before=before, taken_as=taken_as,
        )  # fmt: skip


def read(given: Mapping[str, object]) -> Search:
    """What the fields of an address or a form ask for; a date that is none asks for nothing."""

    def one(name: str) -> str:
        value = given.get(name, "")
        text = value if isinstance(value, str) else ""
        return " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * LONGEST]).split())[:LONGEST]

    since, until = one("since"), one("until")
    return Search(
        one("q"), one("sender"), one("recipient"), one("rule"), since if _midnight(since) else "", until if _midnight(until) else ""
    )


def position(text: str) -> int:
    """A row's number in an address; 0 where it is none."""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else 0


def _midnight(text: str, days: int = 0) -> float:
    """When the day *text* begins in India, *days* later; 0 where it is no day."""
    try:
        day = date.fromisoformat(text) if _DATE.fullmatch(text) else None
    except ValueError:
        return 0.0
    return (datetime(day.year, day.month, day.day, tzinfo=IST) + timedelta(days=days)).timestamp() if day else 0.0

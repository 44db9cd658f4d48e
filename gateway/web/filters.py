"""What part of the held mail a page shows: read from an address, written into one, and asked of the keeper.

What it is: ``Choice`` and the pure functions ``read`` (of a query string) and ``of_filter`` (of a saved view).
Who calls it: ``queue_pages`` and ``batch_pages``.
Must never: raise for what somebody typed; hand on a value of no known form, or one longer than the keeper takes (W12).
Sources: hostile-inputs catalogue W12; docs/design.md section 3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from gateway.levels import Level
from gateway.review import RELATIVE, Filter
from gateway.web.shown import IST

OPEN = ("held", "requested", "approved")
CLOSED = ("released", "refused", "expired")
STATES = OPEN + CLOSED
LEVELS = (*(level.text for level in reversed(Level)), "none")
LONGEST = 200
"""Characters of a search, and words of one: as many as the keeper takes."""
WORDS = 8
_MOST = 50  # values of one field
_DAYS = 3650
_DAY = 86400.0
_RULE = re.compile(r"[A-Za-z0-9][\w.-]{0,99}", re.ASCII)
_DEPARTMENT = re.compile(r"[^\s,<>\"']{1,253}")
_NAME = re.compile(r"[^\s,]{1,64}")
_DATE = re.compile(r"(?:19[7-9]|20\d|21\d)\d-\d\d-\d\d", re.ASCII)


@dataclass(frozen=True, slots=True)
class Choice:
    """What somebody chose. Empty fields choose nothing; no states: the open ones."""

    states: tuple[str, ...] = ()
    levels: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    departments: tuple[str, ...] = ()
    words: str = ""
    assigned: str = ""
    """``me`` or a name."""
    days: int = 0
    """The deadline is within so many days."""
    sealed: bool | None = None
    since: str = ""
    until: str = ""
    """Dates of India's clock as 2026-11-22; *until* is the last day."""

    @property
    def filter(self) -> Filter:
        """As the keeper is asked. The deadline is relative, so that a saved view stays true."""
        end = _midnight(self.until)
        return Filter(
            self.states, self.levels, self.rules, self.departments, self.words, _midnight(self.since), end + _DAY if end else 0,
            self.sealed, self.assigned, self.days * _DAY,
        )  # fmt: skip

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """As names and values of an address, only what is chosen."""
        sealed = "" if self.sealed is None else "yes" if self.sealed else "no"
        every = (
            ("state", ",".join(self.states)), ("level", ",".join(self.levels)), ("rule", ",".join(self.rules)),
            ("department", ",".join(self.departments)), ("q", self.words), ("assigned", self.assigned),
            ("due", str(self.days) if self.days else ""), ("sealed", sealed), ("since", self.since), ("until", self.until),
        )  # fmt: skip
        return [(name, value) for name, value in every if value]

    @property
    def query(self) -> str:
        """``pairs`` as the part of an address after the question mark; empty where nothing is chosen."""
        return urlencode(self.pairs)

    @property
    def narrowed(self) -> bool:
        """Whether anything but the state is chosen."""
        return replace(self, states=()) != Choice()

    def but(self, **changes: Any) -> Choice:
        """The same with these fields changed."""
        return replace(self, **changes)


def read(pairs: Iterable[tuple[str, str]]) -> Choice:
    """What the names and values of an address choose; whatever has no known form chooses nothing."""
    given: dict[str, list[str]] = {}
    for name, value in pairs:
        given.setdefault(name, []).append(value)

    def many(name: str) -> list[str]:
        values = [one.strip() for value in given.get(name, ())[:_MOST] for one in value[:20_000].split(",")]
        return list(dict.fromkeys(values))

    def one(name: str) -> str:
        return given.get(name, [""])[0].strip()

    days = one("due")
    return Choice(
        tuple(state for state in STATES if state in many("state")),
        tuple(level for level in LEVELS if level in {_level(text) for text in many("level")}),
        tuple(rule for rule in many("rule") if _RULE.fullmatch(rule))[:_MOST],
        tuple(dict.fromkeys(name.lower() for name in many("department") if _known(_DEPARTMENT, name)))[:_MOST],
        _words(one("q")),
        one("assigned") if _known(_NAME, one("assigned")) else "",
        int(days) if re.fullmatch(r"[0-9]{1,4}", days) and int(days) <= _DAYS else 0,
        {"yes": True, "no": False}.get(one("sealed")),
        one("since") if _midnight(one("since")) else "",
        one("until") if _midnight(one("until")) else "",
    )


def of_filter(kept: Filter) -> Choice:
    """The choice behind a saved view."""
    return read([
        ("state", ",".join(kept.states)), ("level", ",".join(kept.levels)), ("rule", ",".join(kept.rules)),
        ("department", ",".join(kept.departments)), ("q", kept.words), ("assigned", kept.assigned),
        ("due", f"{kept.due / _DAY:.0f}" if 0 < kept.due < RELATIVE else ""),
        ("sealed", "" if kept.sealed is None else "yes" if kept.sealed else "no"), ("since", _date(kept.since)),
        ("until", _date(kept.until - _DAY)),
    ])  # fmt: skip


def _known(form: re.Pattern[str], text: str) -> bool:
    return bool(form.fullmatch(text)) and text.isprintable()


def _level(text: str) -> str:
    if text.lower() == "none":
        return "none"
    try:
        return Level.parse(text[:40]).text
    except ValueError:
        return ""


def _words(text: str) -> str:
    """*text* without what cannot be seen, at most ``WORDS`` words and ``LONGEST`` characters."""
    seen = "".join(c if c.isprintable() or c in "\u200c\u200d" else " " for c in text[: 10 * LONGEST])
    return " ".join(seen.split()[:WORDS])[:LONGEST].strip()


def _midnight(text: str) -> float:
    """When the day *text* begins in India; 0 where it is no day."""
    if not _DATE.fullmatch(text):
        return 0.0
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return 0.0
    return max(0.0, datetime(day.year, day.month, day.day, tzinfo=IST).timestamp())


def _date(moment: float) -> str:
    if not 0 < moment < 7e9:
        return ""
    return f"{(datetime.fromtimestamp(0, UTC) + timedelta(seconds=moment)).astimezone(IST):%Y-%m-%d}"

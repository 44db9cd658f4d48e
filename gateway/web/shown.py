"""How values are written on the pages: filters of the templates.

What it is: pure functions: ``visible``, ``day``, ``left``, ``ago`` and ``size``; and ``end_of``, the way back from a day that was typed.
Who calls it: the templates, through ``pages``.
Must never: return markup; let a control or direction character through (W01).
Sources: hostile-inputs catalogue W01; Unicode technical report 36 section 2.10.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, timezone

IST = timezone(timedelta(hours=5, minutes=30))
_RISKY = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]")
_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60))


def visible(value: object) -> str:
    """*value* with every control and direction character shown as its code point."""
    return _RISKY.sub(lambda match: f"[U+{ord(match[0]):04X}]", "" if value is None else str(value))


def _moment(value: object) -> datetime | None:
    try:
        if isinstance(value, (int, float)) and value:
            return datetime.fromtimestamp(value).astimezone()
        if isinstance(value, str) and value:
            return datetime.fromisoformat(value).astimezone()
    except (ValueError, OverflowError, OSError):
        pass
    return None


def day(value: object) -> str:
    """A time of a record, in Indian Standard Time."""
    when = _moment(value)
    return f"{when.astimezone(IST):%d %b %Y, %H:%M} IST" if when else ""


def _words(seconds: float) -> str:
    for unit, size in _UNITS:
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count != 1 else ''}"
    return "under a minute"


def left(value: object) -> str:
    """How long it is until *value*, in words."""
    when = _moment(value)
    if when is None:
        return ""
    seconds = (when - datetime.now(UTC)).total_seconds()
    return "past" if seconds <= 0 else f"{_words(seconds)} left"


def ago(value: object) -> str:
    """How long *value* is past, in words."""
    when = _moment(value)
    return f"{_words(max(0.0, (datetime.now(UTC) - when).total_seconds()))} ago" if when is not None else ""


def size(value: object) -> str:
    """Octets for people."""
    if not isinstance(value, (int, float)):
        return ""
    return f"{value:.0f} B" if value < 1000 else f"{value / 1000:.1f} kB" if value < 1e6 else f"{value / 1e6:.1f} MB"


def end_of(typed: str) -> float:
    """The end of the day *typed* (``2027-01-31``) in India, in seconds since the epoch; 0 where it is none."""
    try:
        return datetime.combine(date.fromisoformat(typed), time(23, 59, 59), IST).timestamp()
    except (ValueError, OverflowError):
        return 0.0

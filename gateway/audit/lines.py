"""The one line that a record of the decision log is, and its hash.

What it is: ``canonical``, ``hash_of`` and ``timestamp``.
Who calls it: ``audit``, ``events`` and ``export``.
Must never: give out a line break or a character that is not ASCII; change, since old lines are hashed as they stand.
Sources: docs/design.md section 10 ("Decision log"); hostile-inputs catalogue L06, L07.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

CUT = 1000
"""Characters of one value."""

_sorted = msgspec.json.Encoder(order="sorted")
CAREFUL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
"""Writes what ``cleaned`` gave; for whoever looks at a line anew."""


def canonical(document: Mapping[str, Any]) -> str:
    """*document* as one line: sorted keys, no blanks, ASCII alone, every string cut to 1,000 characters."""
    try:
        line = _sorted.encode(document)
        # What is short, ASCII and without escaped quotes is clean as it is; everything else is looked at value by value.
        if line.isascii() and b'\\"' not in line and b"\x7f" not in line and _short(line):
            return line.decode("ascii")
    except (UnicodeEncodeError, TypeError):
        pass  # a lone surrogate, or a value that is no JSON
    return CAREFUL.encode(cleaned(document))


def _short(line: bytes) -> bool:
    """Whether no two quotes of *line* stand further apart than a string of ``CUT`` characters: a look at every thousandth octet."""
    at, last = -1, len(line) - 1
    while last - at > CUT:
        at = line.rfind(b'"', at + 1, at + CUT + 2)
        if at < 0:
            return False
    return True


def cleaned(value: Any) -> Any:
    """*value* as it may stand in a line: strings cut and printable, numbers in one spelling."""
    if type(value) is str:
        if len(value) > CUT:
            value = value[:CUT] + "..."
        return value if value.isprintable() else value.replace("\x7f", "\\x7f")
    if isinstance(value, Mapping):
        return {str(key)[:CUT]: cleaned(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [cleaned(item) for item in value]
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        # One spelling for a number, whoever writes it: whole or with at most six digits.
        return int(value) if value.is_integer() and abs(value) < 2**53 else repr(round(value, 6))
    return cleaned(str(value))


def columns_hash(*values: str) -> str:
    """Binds what the row is searched by to its line, whatever the document says."""
    return hashlib.sha256("\0".join(values).encode("utf-8", "backslashreplace")).hexdigest()[:32]


def hash_of(line: str) -> str:
    """``sha256:…`` of a canonical line."""
    return "sha256:" + hashlib.sha256(line.encode("ascii", "backslashreplace")).hexdigest()


def timestamp(at: float) -> str:
    """*at* (seconds since the epoch) in UTC with milliseconds; a clock beyond all years gives its nearest one."""
    try:
        return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
    except (OverflowError, ValueError, OSError):
        return "9999-12-31T23:59:59.999Z" if at > 0 else "0001-01-01T00:00:00.000Z"

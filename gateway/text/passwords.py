"""Words of a message that may be the password of something attached to it.

What it is: ``candidates``.
Who calls it: ``content.walk``, when something in the message is closed by a secret.
Must never: do I/O; keep or log what it found; return more than it was asked for.
Sources: contract.md, ``protection.state`` (*weak*: its password stands in the same message); hostile-inputs catalogue E05.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_SAID = re.compile(r"(?i)\b(?:pass(?:word|code|phrase)?|pwd|pw|pin|key)\b\W{0,4}(?:\b(?:is|to open|for)\b\W{0,4})?(\S{1,128})")
_TOKEN = re.compile(r"\S{3,64}")
_MARKS = "\"'`.,;:!?()[]{}<>“”‘’«»"


def candidates(texts: Iterable[str], most: int) -> tuple[str, ...]:
    """At most *most* different words of *texts*, the likeliest first."""
    kept = list(texts)
    found: dict[str, None] = {}
    for text in kept:
        for match in _SAID.finditer(text):
            found.setdefault(match[1].strip(_MARKS))
            found.setdefault(match[1])
    for text in kept:
        for match in _TOKEN.finditer(text):
            if len(found) >= 4 * most:
                break
            found.setdefault(match[0].strip(_MARKS))
    found.pop("", None)
    return tuple(found)[:most]

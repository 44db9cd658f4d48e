"""The header fields that say which messages a message belongs to (RFC 5322 section 3.6.4).

What it is: ``references`` and ``identifier``: Message-IDs without their brackets, as they are compared.
Who calls it: ``plain`` and ``content.walk``; ``policy.threads`` for the message's own.
Must never: raise; give back more than ``MOST`` of them, or longer ones than a line of a header may be.
Sources: RFC 5322 section 3.6.4; Thunderbird's X-Forwarded-Message-Id.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

MOST = 50
_LONGEST = 998
_FIELDS = frozenset(("in-reply-to", "references", "x-forwarded-message-id"))
_IDENTIFIER = re.compile(r"<([^<>]{1,998})>")


def references(headers: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """The messages that the unfolded *headers* name: at most ``MOST``, the root of the thread and the newest."""
    named = [value for name, value in headers if len(name) in (10, 11, 22) and name.lower() in _FIELDS]
    if not named:
        return ()
    found = dict.fromkeys(_compared(match) for value in named for match in _IDENTIFIER.findall(value))
    found.pop("", None)
    all_of_them = list(found)
    return tuple(all_of_them if len(all_of_them) <= MOST else [all_of_them[0], *all_of_them[1 - MOST :]])


def identifier(value: str) -> str:
    """The Message-ID in the unfolded field *value*; all of it where it has no brackets."""
    match = _IDENTIFIER.search(value)
    return _compared(match[1] if match is not None else value[:_LONGEST])


def _compared(text: str) -> str:
    """*text* without the blanks that some programs put into it when they fold a line."""
    return "".join(text.split())

"""Parts of reports that are nothing but fields: what was delivered, what was read, the header section that came back.

What it is: ``rest``, what a reader that takes such a part for a message shows as its text.
Who calls it: ``views.disagreements``; some readers (Python's among them) open every message/* part as a message.
Must never: excuse a part in which such a reader could find anything that must be decoded first.
Sources: RFC 3464 section 2.1, RFC 8098 section 3.1, RFC 5965 section 3, RFC 6522 and RFC 6533 (the international forms).
"""

from __future__ import annotations

import re

TYPES = frozenset((
    "message/delivery-status", "message/disposition-notification", "message/feedback-report", "message/global-delivery-status",
    "message/global-disposition-notification", "message/global-headers", "message/tracking-status",
))  # fmt: skip
"""Media types whose content is groups of fields."""

_GROUP = re.compile(rb"(?:[!-9;-~]++[ \t]*+:[^\r\n]*+\r\n(?:[ \t]++[^\r\n]*+\r\n)*+)++")
_MIME = re.compile(rb"^(?:content-|mime-version)", re.I | re.M)


def rest(media_type: str, data: bytes) -> bytes | None:
    """What stands behind the first group of fields in *data*; None where it is not only groups of fields. Linear.

    Fields of MIME would tell a reader to decode what follows them, so they may stand only where nothing follows.
    """
    if media_type not in TYPES:
        return None
    whole = data.strip(b"\r\n") + b"\r\n"
    at, first_end = 0, -1
    while at < len(whole):
        if whole.startswith(b"\r\n", at):
            at += 2
            continue
        group = _GROUP.match(whole, at)
        if group is None:
            return None
        at = group.end()
        first_end = at if first_end < 0 else first_end
    behind = whole[max(first_end, 0) :].strip(b"\r\n")
    return None if behind and _MIME.search(whole) else behind

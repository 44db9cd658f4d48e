"""Which DKIM signatures a message claims to carry.

What it is: a bounded scanner of DKIM-Signature tag lists that tells which key records a door must fetch.
Who calls it: the pipeline, before it asks the inspector to check them.
Must never: check a signature (that is the inspector's), or believe a name that is no plain domain.
Source: RFC 6376 sections 3.2, 3.5 and 3.6.2.1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_MOST = 5  # signatures looked at; a message with more gets no better for them
_TAG = re.compile(r"(?:^|;)\s*([a-z])\s*=\s*([^;]*)", re.IGNORECASE)
_NAME = re.compile(r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*")


def key_names(headers: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """The DNS names (``selector._domainkey.domain``, lower case) of the first five signatures' keys; "" for a broken one."""
    names: list[str] = []
    for name, value in headers:
        if name.lower() == "dkim-signature":
            tags = {tag.lower(): "".join(text.split()) for tag, text in _TAG.findall(value[:8192])}
            domain, selector = tags.get("d", ""), tags.get("s", "")
            whole = f"{selector}._domainkey.{domain}".lower()
            good = _NAME.fullmatch(domain) and _NAME.fullmatch(selector) and len(whole) <= 253
            names.append(whole if good else "")
            if len(names) == _MOST:
                break
    return tuple(names)

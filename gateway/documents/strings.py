"""Text that stands somewhere in binary data: a second look at what has no grammar of its own here.

What it is: ``sweep``, runs of characters as UTF-16 and as 8-bit text.
Who calls it: the readers of older Office documents, for parts whose text they do not take out by structure.
Must never: be the only reader of a part that people see; take longer than one pass.
Source: reference/inspection.md section 2, Legacy.
"""

from __future__ import annotations

import re

_WIDE = re.compile(rb"(?:[\x20-\x7e\xa0-\xff\t\r\n]\x00|[\x00-\xff][\x09-\x0d]|[\x00-\xff][\x01-\x07]|[\x00-\x6f]\x20){4,}")
_NARROW = re.compile(rb"[\x20-\x7e\t]{5,}")
_INDIC = re.compile("[\u0370-\u07ff\u0900-\u0dff]{3,}")
_CAP = 2_000_000


def sweep(data: bytes, *, narrow: bool = True) -> str:
    """What can be read in *data*, a line a run; of the narrow kind only where *narrow*. At most 2,000,000 characters."""
    lines = []
    for match in _WIDE.finditer(data):
        text = match[0].decode("utf-16-le", "replace")
        if any(character.isascii() and character.isalnum() for character in text[:200]) or _INDIC.search(text):
            lines.append(text)
    if narrow:
        lines += [match[0].decode("ascii") for match in _NARROW.finditer(data)]
    return "\n".join(lines)[:_CAP]

"""Text that stands somewhere in binary data: a second look at what has no grammar of its own here.

What it is: ``sweep``, runs of characters as UTF-16, as UTF-8 of Indian scripts and as 8-bit text; ``packed``, whether such data holds
more than words.
Who calls it: the readers of older Office documents and of pictures, for parts whose text they do not take out by structure.
Must never: be the only reader of a part that people see; take longer than one pass.
Source: docs/inspection.md, Legacy.
"""

from __future__ import annotations

import re

from gateway.extraction import randomness

_WIDE = re.compile(rb"(?:[\x20-\x7e\xa0-\xff\t\r\n]\x00|[\x00-\xff][\x09-\x0d]|[\x00-\xff][\x01-\x07]|[\x00-\x6f]\x20){4,}")
_NARROW = re.compile(rb"[\x20-\x7e\t]{5,}")
_UTF8 = re.compile(rb"(?:[\x20-\x7e\t]|\xe0[\xa4-\xb7][\x80-\xbf]|\xe2\x80[\x80-\xbf]){3,}+")
_INDIC_PAIR = re.compile(rb"\xe0[\xa4-\xb7][\x80-\xbf]\xe0[\xa4-\xb7][\x80-\xbf]")
_FILE = re.compile(
    rb"PK\x03\x04|Rar!\x1a\x07|7z\xbc\xaf\x27\x1c|%PDF-|\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1|\x89PNG\r\n|\xff\xd8\xff[\xe0-\xef\xdb]|GIF8[79]a|"
    rb"\xfd7zXZ\x00|BZh[1-9]1AY|\{\\rtf|\x1f\x8b\x08[\x00-\x1f]"
)
_LEAST_RANDOM = 1024
_SAMPLE = 400_000
_INDIC = re.compile("[\u0370-\u07ff\u0900-\u0dff]{3,}")
_CAP = 2_000_000


def sweep(data: bytes, *, narrow: bool = True) -> str:
    """What can be read in *data*, a line a run; of the narrow kind only where *narrow*. At most 2,000,000 characters."""
    lines = []
    for match in _WIDE.finditer(data):
        text = match[0].decode("utf-16-le", "replace")
        if any(character.isascii() and character.isalnum() for character in text[:200]) or _INDIC.search(text):
            lines.append(text)
    if _INDIC_PAIR.search(data):
        lines += [match[0].decode("utf-8") for match in _UTF8.finditer(data) if _INDIC_PAIR.search(match[0])]
    if narrow:
        lines += [match[0].decode("ascii") for match in _NARROW.finditer(data)]
    return "\n".join(lines)[:_CAP]


def packed(data: bytes) -> bytes:
    """What of *data* is no words: from the first file in it on, or all of it where it looks random; empty where there is nothing."""
    found = _FILE.search(data)
    if found is not None:
        return data[found.start() :]
    return data if len(data) >= _LEAST_RANDOM and not randomness.disproof(data[:_SAMPLE]) else b""

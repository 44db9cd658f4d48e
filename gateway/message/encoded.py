"""Encoded words of RFC 2047.

What it is: ``decode_words`` for unstructured fields and phrases.
Who calls it: ``views`` and ``plain`` for subject and names, ``params`` for file names; ``content`` for the headers of mail in mail.
Must never: look up a codec by a name that a mail supplied; raise; take more than linear time.
Sources: RFC 2047, RFC 2231 section 5 (language suffix); hostile-inputs catalogue C01-C03.
"""

from __future__ import annotations

import binascii
import re

from gateway.message.charsets import readable

_WORD = re.compile(r"=\?([A-Za-z0-9_.:-]{1,40})(?:\*[A-Za-z0-9-]{0,20})?\?([bBqQ])\?([^?\r\n]*)\?=")
_CONTROLS = {code: " " for code in (*range(32), 127) if code != 9}


def decode_words(value: str) -> str:
    """*value* with its encoded words decoded, control characters as spaces. Words that cannot be decoded stay as they are."""
    if "=?" in value:
        value = _decode(value)
    return value if value.isprintable() else value.translate(_CONTROLS)


def _decode(value: str) -> str:
    out: list[str] = []
    held: list[bytes] = []
    held_charset = ""
    end = 0
    for match in _WORD.finditer(value):
        between = value[end : match.start()]
        end = match.end()
        charset = match[1].lower()
        octets = _word_octets(match[2], match[3])
        # White space between two encoded words is not shown, and a character may be split over two of them.
        if held and (between.strip(" \t") or octets is None or charset != held_charset):
            out.append(readable(b"".join(held), held_charset))
            held = []
            if octets is not None and not between.strip(" \t"):
                between = ""
        elif held:
            between = ""
        out.append(between)
        if octets is None:
            out.append(match[0])
        else:
            held.append(octets)
            held_charset = charset
    if held:
        out.append(readable(b"".join(held), held_charset))
    out.append(value[end:])
    return "".join(out)


def _word_octets(encoding: str, text: str) -> bytes | None:
    """The octets of one encoded word, or None when they cannot be had."""
    raw = text.encode("utf-8", "replace")
    if encoding in "qQ":
        return binascii.a2b_qp(raw, header=True)
    try:
        return binascii.a2b_base64(raw + b"=" * (-len(raw) % 4))
    except binascii.Error:
        return None

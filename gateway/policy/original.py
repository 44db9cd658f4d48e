"""The header section of a message as a report may show it.

What it is: splitting, choosing and encoding of the original's fields.
Who calls it: ``bounce``.
Must never: show blind recipients; show the subject, or anything but addresses and dates, of TOP SECRET or SECRET mail.
Sources: RFC 6522 section 4; RFC 3464; docs/officer.md (how a report reads).
"""

from __future__ import annotations

import quopri
import re
from collections.abc import Sequence

from gateway.message.encoded import decode_words

Fields = Sequence[tuple[str, bytes]]

_HIDDEN = frozenset({"bcc", "resent-bcc", "x-bcc"})
_OF_SECRET = frozenset({"from", "to", "cc", "date", "message-id", "received", "mime-version"})
_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,250}>")


def fields(section: bytes) -> Fields:
    """The fields of *section* up to its first empty line: lower-case name, and the octets with folded lines, without the last line end."""
    found: list[tuple[str, bytes]] = []
    for line in section.split(b"\n"):
        line = line.rstrip(b"\r")
        if not line:
            break
        if line[:1] in b" \t":
            if found:
                found[-1] = (found[-1][0], found[-1][1] + b"\n" + line)
            continue
        name, colon, _ = line.partition(b":")
        name = name.rstrip(b" \t")
        if colon and name and all(33 <= octet <= 126 for octet in name):
            found.append((name.decode("ascii").lower(), line))
    return found


def text(found: Fields, name: str) -> str:
    """The value of the first field *name* as text, encoded-words decoded; empty when it is not there."""
    for key, octets in found:
        if key == name:
            value = octets.partition(b":")[2].replace(b"\n", b"")
            return decode_words(value.decode("utf-8", "replace").strip())
    return ""


def message_id(found: Fields) -> str:
    """The Message-ID, only if it is plainly one; else empty."""
    value = text(found, "message-id")
    return value if _MESSAGE_ID.fullmatch(value) else ""


def part(found: Fields, secret: bool, limit: int, international: bool) -> tuple[str, str]:
    """The fields that may be shown, as lines with CRLF, and their transfer encoding (empty: 7bit). At most *limit* octets of them."""
    shown: list[bytes] = []
    size = 0
    for name, octets in found:
        if name in _HIDDEN or (secret and name not in _OF_SECRET):
            continue
        size += len(octets) + 2
        if size > limit:
            break
        shown.append(bytes(octet if octet >= 32 or octet in b"\n\t" else 0x3F for octet in octets))
    section = b"\n".join([*shown, b""])
    if section.isascii() and all(len(line) <= 900 for line in section.split(b"\n")):
        return section.decode("ascii").replace("\n", "\r\n"), ""
    if international and all(len(line) <= 900 for line in section.split(b"\n")):
        return section.decode("utf-8", "replace").replace("\n", "\r\n"), "8bit"
    return quopri.encodestring(section).decode("ascii").replace("\n", "\r\n"), "quoted-printable"

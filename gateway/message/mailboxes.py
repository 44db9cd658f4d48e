"""Addresses in header fields, read strictly: an address or nothing, never a guess.

What it is: ``sender`` for From, ``recipients`` for To and Cc.
Who calls it: ``views.summary`` and ``plain``.
Must never: return an address out of a display name, a comment or a group; use ``email.utils``.
Sources: RFC 5322 section 3.4, RFC 6532; hostile-inputs catalogue A19, A24-A26, C03 (CVE-2023-27043).
"""

from __future__ import annotations

import re

from gateway.address import AddressError, domain_of

LONGEST = 4000
"""Characters of a From value that are looked at; a longer one is nobody's."""
MOST_RECIPIENTS = 2000

_ATOM = r"[^\s()<>@,;:\\\"\[\].\x00-\x1f\x7f]+"
_LOCAL = rf"{_ATOM}(?:\.{_ATOM})*"
_LABEL = r"[0-9A-Za-z\u0080-\U0010ffff](?:[0-9A-Za-z\u0080-\U0010ffff-]*[0-9A-Za-z\u0080-\U0010ffff])?"
_DOMAIN = rf"{_LABEL}(?:\.{_LABEL})*"
_ADDRESS = re.compile(rf"({_LOCAL})@({_DOMAIN})")
_QUOTED = r"\"(?:[^\"\\]|\\.)*+\""
_PHRASE_CHARS = r"[^()<>@,;:\\\"\x00-\x08\x0a-\x1f\x7f]"
_COMMENT = r"\((?:[^()\\@]|\\.)*+\)"
_ANGLE = re.compile(rf"(?:{_QUOTED}|{_PHRASE_CHARS}++|{_COMMENT})*+<([^<>\s]++)>[ \t]*+(?:{_COMMENT})?+[ \t]*+", re.S)
_BARE = re.compile(rf"([^\s()<>\"]++)[ \t]*+(?:{_COMMENT})?+[ \t]*+", re.S)
# What does not end reaches to the end: so each octet is looked at once, however the quotes are broken.
_PIECE = re.compile(r"\"(?:[^\"\\]|\\.)*+\"?|\((?:[^()\\]|\\.)*+\)?|<[^<>]*+>?|[,;:]|[^,;:\"(<]+", re.S)

NOT_ONE_ADDRESS = "a From field that is not one plain address"


def mailbox(value: str) -> str:
    """``local@domain`` (domain in lower case, A-labels) of a value that is exactly one mailbox, else nothing."""
    value = value.strip(" \t")
    if len(value) > LONGEST:
        return ""
    match = _ANGLE.fullmatch(value) or _BARE.fullmatch(value)
    if match is None:
        return ""
    parsed = _ADDRESS.fullmatch(match[1])
    if parsed is None or len(parsed[1]) > 64 or len(parsed[2]) > 255:
        return ""
    domain = parsed[2]
    if domain.isascii():
        return f"{parsed[1]}@{domain.lower()}"
    try:
        return f"{parsed[1]}@{domain_of(domain)}"
    except AddressError:
        return ""


def sender(values: list[str]) -> tuple[str, str]:
    """The address of the one From field, and the reason why readers may see another one. Both may be empty."""
    if not values:
        return "", ""
    if len(values) > 1:
        return "", NOT_ONE_ADDRESS
    address = mailbox(values[0])
    return (address, "") if address else ("", NOT_ONE_ADDRESS)


def recipients(values: list[str]) -> tuple[str, ...]:
    """The plain addresses of address-list *values*, members of groups included, at most ``MOST_RECIPIENTS``."""
    found: dict[str, None] = {}
    for value in values:
        if "," not in value and ";" not in value:
            if address := mailbox(value):
                found[address] = None
            continue
        item: list[str] = []
        for piece in (*_PIECE.findall(value), ","):
            if piece not in (",", ";", ":"):
                item.append(piece)
                continue
            if address := mailbox("".join(item)):
                found[address] = None
            item = []
            if len(found) >= MOST_RECIPIENTS:
                return tuple(found)
    return tuple(found)

"""Addresses in header fields, read strictly: an address or nothing, never a guess.

What it is: ``sender`` for From, ``shown_with`` for what mail programs show beside an address, ``recipients`` for To and Cc,
``everyone`` for Sender and Reply-To.
Who calls it: ``views.summary`` and ``plain``.
Must never: return an address out of a display name, a comment or a group's name; use ``email.utils``.
Sources: RFC 5322 section 3.4, RFC 6532; hostile-inputs catalogue A19, A24-A26, C03 (CVE-2023-27043).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from gateway.address import AddressError, domain_of
from gateway.message.encoded import decode_words

LONGEST = 4000
"""Characters of a From value that are looked at; a longer one is nobody's."""
MOST_RECIPIENTS = 2000
LONGEST_SHOWN = 200
"""Characters of a display name that are kept."""

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

_ANGLES = re.compile(r"<[^<>]*+>?")
_COMMENTS = re.compile(r"\(((?:[^()\\]|\\.)*+)\)", re.S)
_ESCAPED = re.compile(r"\\(.)", re.S)

# What servers call themselves in reports, with or without their domain: nobody's address, and no reader makes a person's out of it.
_SERVERS = re.compile(r"(?:[\w ]{0,60}<(?:mailer-daemon|postmaster)>|(?:mailer-daemon|postmaster)[ \t]*(?:\([\w ]{0,60}\))?)", re.I | re.A)

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
    return (address, "") if address or _SERVERS.fullmatch(values[0].strip(" \t")) else ("", NOT_ONE_ADDRESS)


def shown_with(value: str) -> str:
    """What a mail program shows beside the address of the mailbox *value*: its display name, or a comment, decoded; else nothing.

    Of a value that is not one plain address everything outside of angle brackets is shown, so that what it claims can be seen.
    """
    if "<" not in value:
        phrase = " ".join(_COMMENTS.findall(value)) if "(" in value else ""
    elif value[-1:] == ">":
        phrase = value.partition("<")[0] if value.count("<") == 1 else _ANGLES.sub(" ", value)
    else:
        phrase = _ANGLES.sub(" ", value)
    phrase = phrase.strip(" \t")
    if phrase[:1] + phrase[-1:] in ('""', "()"):
        phrase = phrase[1:-1]
    if "\\" in phrase:
        phrase = _ESCAPED.sub(r"\1", phrase)
    return decode_words(phrase[:LONGEST]).strip()[:LONGEST_SHOWN]


def recipients(values: list[str]) -> tuple[str, ...]:
    """The plain addresses of address-list *values*, members of groups included, at most ``MOST_RECIPIENTS``."""
    found: dict[str, None] = {}
    for item, _ in _items(values):
        if address := mailbox(item):
            found[address] = None
            if len(found) >= MOST_RECIPIENTS:
                break
    return tuple(found)


def everyone(values: list[str]) -> tuple[str, ...]:
    """Like ``recipients``, but what is no plain address is there too, as an empty text: nobody may hide behind an odd form."""
    found: dict[str, None] = {}
    for item, end in _items(values):
        address = mailbox(item)
        if address or (item and end != ":"):
            found[address] = None
            if len(found) >= MOST_RECIPIENTS:
                break
    return tuple(found)


def named(values: list[str], beside: str) -> tuple[tuple[str, str], ...]:
    """Address and display name of those in the address-list *values* whose display name shares a word with *beside*."""
    wanted = set(beside.casefold().split())
    found: dict[tuple[str, str], None] = {}
    for value in values:
        if "<" not in value or ("=?" not in value and not _holds(value.casefold(), wanted)):
            continue
        for item, _ in _items([value]):
            if "<" not in item or wanted.isdisjoint((shown := shown_with(item)).casefold().replace(",", " ").split()):
                continue
            if address := mailbox(item):
                found[address, shown] = None
        if len(found) >= MOST_RECIPIENTS:
            break
    return tuple(found)[:MOST_RECIPIENTS]


def _holds(text: str, words: set[str]) -> bool:
    return any(word in text for word in words)


def _items(values: list[str]) -> Iterator[tuple[str, str]]:
    """Each item of address-list *values*, without the white space around it, with the character that ends it."""
    for value in values:
        if "," not in value and ";" not in value:
            yield value.strip(" \t"), ""
            continue
        item: list[str] = []
        for piece in (*_PIECE.findall(value), ","):
            if piece not in (",", ";", ":"):
                item.append(piece)
                continue
            yield "".join(item).strip(" \t"), piece
            item = []

"""The changes we make to a header section, octet for octet.

What it is: ``apply``, the one function that turns what was inspected into what leaves.
Who calls it: the relay before it signs; ``gateway explain`` and the tests. ``milter_edits`` takes its words from here.
Must never: touch an octet that no edit names; write a line end, a NUL or an 8-bit octet that came in a value.
Sources: RFC 5322 sections 2.1.1, 2.2.3 and 3.6; docs/design.md section 4, "Bytes"; hostile-inputs catalogue T08.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence

from gateway.message.prescan import sections
from gateway.verdict import Edit

FOLD_AT = 78
"""Octets of a line that we write, without CRLF, where the value has white space to fold at."""
LONGEST_LINE = 998

_NAME = re.compile(r"[!-9;-~]{1,76}")
_VALUE = re.compile(r"[\t -~]*")
_FOLD = re.compile(r"(?<=[^ \t])(?=[ \t])")


def apply(edits: Sequence[Edit], content: bytes) -> bytes:
    """*content* after *edits*, which are made in order; all other octets are identical.

    ``add`` puts a field above all others, so the last of several additions is the topmost line. ``remove`` takes every field of
    that name, with its folded lines, out of the message's own header section; with a value only those whose value begins with
    that word (an authserv-id, RFC 8601 section 5). ``replace`` gives the first field of that name a
    new value where it stands, takes others of that name away, and adds it on top when there was none.
    Raises ValueError for an unknown action, a name that is none, and a value that is no printable ASCII or cannot be folded.
    """
    if not edits:
        return content
    header_end, _ = sections(content, 0, len(content))
    section = content[:header_end]
    above = _only_above(edits, section)
    fields = [] if above else _split(section)
    for edit in edits:
        wanted = checked_name(edit.header).lower().encode()
        if edit.action == "add":
            fields.insert(_top(fields), (wanted, written(edit)))
        elif edit.action == "remove":
            fields = [field for field in fields if field[0] != wanted or not speaks_as(field[1], edit.value)]
        elif edit.action == "replace":
            fields = _replaced(fields, wanted, written(edit))
        else:
            raise ValueError(f"not an edit: {edit.action!r}")
    section = b"".join(octets for _, octets in fields)
    if above:
        return section + content
    rest = content[header_end:]
    if header_end == len(content) and not section.endswith(b"\r\n"):
        # A header section without its last line end can only stay as it was; what we wrote stands above it.
        return section + rest
    if header_end == 0 and rest and not rest.startswith(b"\r\n"):
        return section + b"\r\n" + rest
    return section + rest


def _only_above(edits: Sequence[Edit], section: bytes) -> bool:
    """Whether *edits* can do no more to *section* than put fields above it: no line of it begins with a name that is to go."""
    if section[:1] in (b"", b" ", b"\t") or not section.endswith(b"\r\n"):
        return False
    lines = b"\n" + section.lower()
    return not any(b"\n" + checked_name(edit.header).lower().encode() in lines for edit in edits if edit.action != "add")


def _split(section: bytes) -> list[tuple[bytes, bytes]]:
    """The fields of *section* as (lower-case name, all octets with folded lines); lines that are no field have no name."""
    fields: list[tuple[bytes, bytes]] = []
    for line in section.split(b"\r\n"):
        if line[:1] in (b" ", b"\t") and fields:
            name, octets = fields[-1]
            fields[-1] = (name, octets + line + b"\r\n")
        else:
            name, colon, _ = line.partition(b":")
            fields.append((name.rstrip(b" \t").lower() if colon else b"", line + b"\r\n"))
    # The split leaves what follows the last CRLF: nothing, or a line that was cut off.
    name, octets = fields.pop()
    if octets != b"\r\n":
        fields.append((name, octets[:-2]))
    return fields


def speaks_as(octets: bytes, word: str) -> bool:
    """Whether the field *octets* begins its value with *word*, comments and case aside; any does for the empty word."""
    if not word:
        return True
    value = re.sub(rb"\([^()]*\)", b" ", octets.partition(b":")[2]).strip().lower()
    first = re.split(rb"[\s;/]", value, maxsplit=1)[0].strip(b'"')
    return first == word.lower().encode()


def _replaced(fields: Iterable[tuple[bytes, bytes]], wanted: bytes, written: bytes) -> list[tuple[bytes, bytes]]:
    result: list[tuple[bytes, bytes]] = []
    done = False
    for field in fields:
        if field[0] != wanted:
            result.append(field)
        elif not done:
            result.append((wanted, written))
            done = True
    if not done:
        result.insert(_top(result), (wanted, written))
    return result


def _top(fields: Sequence[tuple[bytes, bytes]]) -> int:
    """Where a new field goes: above all others, but below a first line that would be read as its continuation."""
    return 1 if fields and fields[0][1][:1] in (b" ", b"\t") else 0


@functools.lru_cache(maxsize=256)
def checked_name(name: str) -> str:
    """*name*, if it is one of a header field. Raises ValueError."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"not a header field name: {name[:40]!r}")
    return name


def written(edit: Edit) -> bytes:
    """The field of *edit* with CRLF, folded where it can be."""
    value = edit.value
    if not (value.isascii() and value.isprintable()) and not _VALUE.fullmatch(value):
        raise ValueError(f"the value of {edit.header} holds more than printable ASCII")
    whole = f"{edit.header}: {value.strip()}"
    if len(whole) <= FOLD_AT:
        return whole.encode("ascii") + b"\r\n"
    lines = _folded(whole)
    if any(len(line) > LONGEST_LINE for line in lines):
        raise ValueError(f"the value of {edit.header} cannot be folded into lines of {LONGEST_LINE} octets")
    return "\r\n".join(lines).encode("ascii") + b"\r\n"


def _folded(whole: str) -> list[str]:
    """*whole* in lines of at most ``FOLD_AT`` characters where it has white space to begin a line with."""
    if "\t" in whole or "  " in whole:
        return _by_words(_FOLD.split(whole))
    lines: list[str] = []
    start = 0
    while len(whole) - start > FOLD_AT:
        blank = whole.rfind(" ", start + 1, start + FOLD_AT + 1)
        if blank < 0:
            blank = whole.find(" ", start + 1)
        while blank > 0 and whole[blank - 1] == ":":  # a name does not stand alone
            blank = whole.find(" ", blank + 1)
        if blank < 0:
            break
        lines.append(whole[start:blank])
        start = blank
    return [*lines, whole[start:]]


def _by_words(words: Sequence[str]) -> list[str]:
    """The same of words that have their white space before them."""
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + len(word) <= FOLD_AT or not word.strip() or lines[-1].endswith(":"):
            lines[-1] += word
        else:
            lines.append(word)
    return lines

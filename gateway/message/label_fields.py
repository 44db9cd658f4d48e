"""The grammars of label header fields: parameters of RFC 2231, key=value lists, and the binary labels inside.

What it is: ``parameters``, ``quoted``, ``pairs`` and ``ess_level``; each parses one form or says why it cannot.
Who calls it: ``labels`` and ``label_edits``.
Must never: raise anything but LabelError from a parser, take more than linear time, or guess at a broken value.
Sources: RFC 7444 section 3 (SIO-Label), RFC 2231 sections 3 and 4, RFC 2634 section 3.2 (ESS), X.411 (the same numbers).
"""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import quote, unquote_to_bytes

from gateway.levels import Level

LONGEST = 20_000
"""Characters of a label field that are read; longer is broken."""

_NAME = re.compile(r"\s*([A-Za-z][A-Za-z0-9-]*)(?:\*(\d{1,3}))?(\*)?\s*=\s*")
_VALUE = re.compile(r'"((?:[^"\\]|\\.)*)"|([^\s;"(),]+)', re.DOTALL)
_COMMENT = re.compile(r"\((?:[^()\\]|\\.)*\)")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_CODECS = {"utf-8": "utf-8", "us-ascii": "ascii", "ascii": "ascii", "iso-8859-1": "latin-1"}
_PIECE = 60  # octets of one continuation


class LabelError(ValueError):
    """A label field that does not follow its grammar; the text is one clause without the value."""


def parameters(value: str) -> dict[str, str]:
    """The ``name=value`` parameters of *value*, names in small letters, continuations joined and decoded."""
    if len(value) > LONGEST:
        raise LabelError("longer than a label can be")
    plain: dict[str, str] = {}
    pieces: dict[str, dict[int, tuple[str, bool]]] = {}
    place = 0
    while True:
        place = _blanks(value, place)
        if place >= len(value):
            break
        name = _NAME.match(value, place)
        found = _VALUE.match(value, name.end()) if name else None
        if name is None or found is None:
            raise LabelError("a parameter without name or value")
        key = name[1].lower()
        text = re.sub(r"\\(.)", r"\1", found[1], flags=re.DOTALL) if found[1] is not None else found[2]
        if name[2] is None and name[3] is None:
            if key in plain:
                raise LabelError(f"{key} stands in it twice")
            plain[key] = text
        else:
            number = int(name[2] or 0)
            if number in pieces.setdefault(key, {}):
                raise LabelError(f"{key} stands in it twice")
            pieces[key][number] = (text, name[3] is not None)
        place = _blanks(value, found.end())
        if place < len(value):
            if value[place] != ";":
                raise LabelError("parameters are not set off by semicolons")
            place += 1
    for key, numbered in pieces.items():
        if key in plain:
            raise LabelError(f"{key} stands in it twice")
        plain[key] = _join(key, numbered)
    return plain


def _blanks(value: str, place: int) -> int:
    while place < len(value):
        if value[place] in " \t\r\n":
            place += 1
        elif value[place] == "(" and (comment := _COMMENT.match(value, place)):
            place = comment.end()
        else:
            break
    return place


def _join(key: str, numbered: dict[int, tuple[str, bool]]) -> str:
    """The continuations of one parameter in order; the first may name a character set and a language."""
    if sorted(numbered) != list(range(len(numbered))):
        raise LabelError(f"{key} has a continuation missing")
    codec = "ascii"
    data = b""
    for number in range(len(numbered)):
        text, encoded = numbered[number]
        if number == 0 and encoded:
            charset, quote1, rest = text.partition("'")
            _, quote2, text = rest.partition("'")
            if not quote1 or not quote2 or charset.lower() not in _CODECS:
                raise LabelError(f"{key} names no character set that is read")
            codec = _CODECS[charset.lower()]
        if encoded:
            data += unquote_to_bytes(text)
        else:
            data += text.encode(codec if text.isascii() else "utf-8", "replace")
    try:
        return data.decode(codec)
    except UnicodeDecodeError:
        raise LabelError(f"{key} is not valid in its character set") from None


def written(name: str, value: str) -> str:
    """One parameter as it is written: a token or quoted string in ASCII, else RFC 2231 with continuations when long.

    Raises ValueError for line breaks, NUL and other controls.
    """
    if any(char < " " or char == "\x7f" for char in value):
        raise ValueError("a control character in a label")
    if value.isascii():
        if _TOKEN.fullmatch(value) and name != "marking":
            return f"{name}={value}"
        if len(value) <= _PIECE:
            return f"{name}={_quoted(value)}"
        parts = [value[i : i + _PIECE] for i in range(0, len(value), _PIECE)]
        return "; ".join(f"{name}*{i}={_quoted(part)}" for i, part in enumerate(parts))
    encoded = [quote(char, safe="") for char in value]
    lines: list[str] = []
    for piece in encoded:  # never cut inside one character
        if not lines or len(lines[-1]) + len(piece) > _PIECE:
            lines.append("")
        lines[-1] += piece
    if len(lines) == 1:
        return f"{name}*=UTF-8''{lines[0]}"
    return "; ".join(f"{name}*{i}*={'UTF-8' + chr(39) * 2 if i == 0 else ''}{line}" for i, line in enumerate(lines))


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def pairs(value: str) -> list[tuple[str, str]]:
    """The ``KEY=value`` items of an X-Protective-Marking, in order, also repeated ones; a backslash keeps a comma."""
    if len(value) > LONGEST:
        raise LabelError("longer than a label can be")
    items: list[tuple[str, str]] = []
    for item in re.split(r"(?<!\\),", value):
        key, sign, text = item.partition("=")
        if not sign or not key.strip().isascii() or not key.strip().isalpha():
            raise LabelError("an item without key and value")
        items.append((key.strip().upper(), re.sub(r"\\(.)", r"\1", text.strip())))
    return items


def ess_level(label: str) -> Level | None:
    """The level of a base64 ESS or X.411 label (a SET with a policy and a number); None for "unmarked" (0) or no number."""
    data = binary(label)
    tag, body, rest = _tlv(data)
    if tag != 0x31 or rest:
        raise LabelError("the label is not one set")
    while body:
        tag, content, body = _tlv(body)
        if tag == 0x02:
            number = int.from_bytes(content, "big", signed=True) if 0 < len(content) <= 4 else -1
            if not 0 <= number <= 5:
                raise LabelError("the label's classification is none of the standard's")
            return Level(number - 1) if number else None
    return None


def binary(label: str) -> bytes:
    """The octets of a base64 label."""
    try:
        return base64.b64decode("".join(label.split()), validate=True)
    except (binascii.Error, ValueError):
        raise LabelError("the label is not base64") from None


def _tlv(data: bytes) -> tuple[int, bytes, bytes]:
    """Tag, content and what follows of the first BER value in *data*; definite lengths of up to three octets."""
    if len(data) < 2:
        raise LabelError("the label ends too early")
    size, start = data[1], 2
    if size & 0x80:
        count = size & 0x7F
        if not 1 <= count <= 3 or len(data) < 2 + count:
            raise LabelError("the label has a length that cannot be")
        size, start = int.from_bytes(data[2 : 2 + count], "big"), 2 + count
    if len(data) < start + size:
        raise LabelError("the label ends too early")
    return data[0], data[start : start + size], data[start + size :]

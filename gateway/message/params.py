"""Structured MIME field values: ``type/subtype; name=value`` and its many broken forms.

What it is: ``parse`` reads a Content-Type or Content-Disposition value; what is not plainly well-formed becomes a problem, and
still yields the best reading so that the content behind it is looked at.
Who calls it: ``entity``.
Must never: raise; take more than linear time; use a parameter as anything but evidence.
Sources: RFC 2045 section 5.1, RFC 2231, RFC 2183; hostile-inputs catalogue M03, M04, M13, M20, C02.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from gateway.message.charsets import is_known, readable
from gateway.message.encoded import decode_words

_WORD = r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]++"
_VALUE = rf"{_WORD}|\"[^\"\\\x00-\x08\x0a-\x1f\x7f]*+\""
_PLAIN = re.compile(rf"({_WORD}(?:/{_WORD})?)((?:[ \t]*+;[ \t]*+{_WORD}=(?:{_VALUE}))*)[ \t]*+;?+[ \t]*+")
_PARAM = re.compile(rf";[ \t]*+({_WORD})=({_VALUE})")
# What does not end reaches to the end: so each octet is looked at once, however the quotes are broken.
_PIECE = re.compile(r"\"(?:[^\"\\]|\\.)*+\"?|\((?:[^()\\]|\\.)*+\)?|[^;\"(]++|;", re.S)
_CONTINUED = re.compile(r"([^*]+)\*(?:(\d{1,3})(\*)?)?")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

LONGEST = 20_000
"""Characters of a value that are looked at; longer is a problem."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: lower-case name as written (``filename*0*``) and its value without quotes."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Structured:
    """A value and its parameters."""

    value: str
    """``text/plain`` or ``attachment``, lower case; the best reading when there is a problem."""
    params: tuple[Parameter, ...]
    problems: tuple[str, ...]

    def get(self, name: str) -> str:
        """The value of the first plain parameter *name* (lower case), or nothing."""
        return next((param.value for param in self.params if param.name == name), "")


NOTHING = Structured("", (), ())


def parse(value: str, field: str, most: int) -> Structured:
    """Read *value* of the field *field*; more than *most* parameters are over the limit. Never raises."""
    return _parse_cached(value, field, most) if len(value) <= 200 else _parse(value, field, most)


def _parse(value: str, field: str, most: int) -> Structured:
    if match := _PLAIN.fullmatch(value):
        written = [(name.lower(), text[1:-1] if text[0] == '"' else text) for name, text in _PARAM.findall(match[2])]
        problems: list[str] = []
        head = match[1].lower()
    else:
        head, written, problems = _parse_slowly(value[:LONGEST], field)
        if len(value) > LONGEST:
            problems.append(f"over the limit of {LONGEST} octets of {field}")
    if len(written) > most:
        problems.append(f"over the limit of {most} parameters of {field}")
        written = written[:most]
    names = [name for name, _ in written]
    if len(set(names)) != len(names):
        problems.extend(f"the parameter {_shown(name)} given twice" for name in sorted({n for n in names if names.count(n) > 1}))
    return Structured(head, tuple(Parameter(name, text) for name, text in written), tuple(problems))


_parse_cached = lru_cache(maxsize=1024)(_parse)


def _parse_slowly(value: str, field: str) -> tuple[str, list[tuple[str, str]], list[str]]:
    """Split a value that does not follow the grammar; quotes and comments are honoured where they close."""
    problems: dict[str, None] = {}
    pieces: list[str] = [""]
    for match in _PIECE.finditer(value):
        piece = match[0]
        if piece == ";":
            pieces.append("")
        elif piece[0] == "(":
            problems[f"a comment in {field}"] = None
        else:
            if piece[0] == '"' and (len(piece) == 1 or piece[-1] != '"' or piece.endswith('\\"')):
                problems[f"a quote in {field} that may not end"] = None
            pieces[-1] += piece
    if _CONTROL.search(value):
        problems[f"a control character in {field}"] = None
    if not value.strip():
        problems[f"an empty {field}"] = None
    head = _CONTROL.sub("", pieces[0]).strip(' \t"').lower()
    if not re.fullmatch(rf"{_WORD}(/{_WORD})?", head) or '"' in pieces[0]:
        problems[f"a {field} that is not well-formed"] = None
        head = re.sub(r"[^!#-'*+\-./0-9a-z^_`{|}~].*", "", head)
    written: list[tuple[str, str]] = []
    for number, piece in enumerate(pieces[1:], 1):
        name, equals, text = piece.partition("=")
        if not piece.strip():
            if number < len(pieces) - 1:
                problems[f"an empty parameter in {field}"] = None
            continue
        spaced = name[-1:].isspace() or text[:1].isspace()
        name, text = name.strip().lower(), text.strip()
        if spaced and name.startswith("boundary"):
            problems[f"white space around an equals sign in {field}"] = None
        if not equals and head == "text/plain" and re.fullmatch(_WORD, name):
            continue  # a word alone: whoever gives up at it reads the default, which is the same
        if not equals or not re.fullmatch(_WORD, name):
            problems[f"a parameter of {field} that is not well-formed"] = None
            continue
        written.append((name, _value(name, text, problems)))
    return head, written, list(problems)


def _value(name: str, text: str, problems: dict[str, None]) -> str:
    """The value of one parameter that did not follow the grammar. Names may be sloppy, structure may not."""
    is_name = name.partition("*")[0] in ("name", "filename")
    if quoted := re.fullmatch(r'"((?:[^"\\]|\\.)*+)"', text, re.S):
        if "\\" in text and not is_name:
            problems[f"a backslash in the parameter {_shown(name)}"] = None
        return re.sub(r"\\(.)", r"\1", quoted[1], flags=re.S)
    if not re.fullmatch(_WORD, text) and ('"' in text or not is_name):
        problems[f"the parameter {_shown(name)} is not well-formed"] = None
    return text.strip('"')


def file_names(disposition: Structured, content_type: Structured) -> tuple[tuple[str, ...], list[str]]:
    """Every candidate for the file name, the likeliest first, and what readers may disagree about."""
    candidates: dict[str, None] = {}
    problems: list[str] = []
    for structured, wanted in ((disposition, "filename"), (content_type, "name")):
        continued: dict[int, tuple[str, bool]] = {}
        for param in structured.params:
            if param.name == wanted:
                candidates[decode_words(param.value)] = None
                continue
            match = _CONTINUED.fullmatch(param.name)
            if match is None or match[1] != wanted:
                continue
            if match[2] is None:
                candidates[_extended(param.value, problems)] = None
            elif int(match[2]) in continued or (len(match[2]) > 1 and match[2][0] == "0"):
                problems.append("a piece of a file name given twice")
            else:
                continued[int(match[2])] = (param.value, match[3] is not None)
        if continued:
            if sorted(continued) != list(range(len(continued))):
                problems.append("a piece of a file name is missing")
            candidates[_joined([continued[number] for number in sorted(continued)], problems)] = None
    names = tuple(candidates)
    if len({" ".join(name.split()).casefold() for name in names}) > 1:
        problems.append("file names that differ")
    return names, problems


def _extended(value: str, problems: list[str]) -> str:
    """The text of ``charset'language'percent-encoded``."""
    charset, quote, rest = value.partition("'")
    _, second, text = rest.partition("'")
    if not quote or not second:
        problems.append("a file name whose character set is missing")
        return unquote_to_bytes(value).decode("utf-8", "replace")
    return _text(unquote_to_bytes(text), charset, problems)


def _joined(pieces: list[tuple[str, bool]], problems: list[str]) -> str:
    """The text of ``name*0*=…; name*1=…``."""
    if not pieces[0][1]:
        return decode_words("".join(unquote_to_bytes(text).decode("utf-8", "replace") if star else text for text, star in pieces))
    charset, _, rest = pieces[0][0].partition("'")
    _, second, first = rest.partition("'")
    if not second:
        problems.append("a file name whose character set is missing")
        first, charset = pieces[0][0], "utf-8"
    octets = unquote_to_bytes(first) + b"".join(unquote_to_bytes(text) if star else text.encode() for text, star in pieces[1:])
    return _text(octets, charset, problems)


def _text(octets: bytes, charset: str, problems: list[str]) -> str:
    charset = charset or "utf-8"
    if not is_known(charset):
        problems.append("a file name in an unknown character set")
    return readable(octets, charset)


def _shown(name: str) -> str:
    """A parameter's name as a reason may quote it."""
    return name if len(name) <= 30 and name.isascii() and name.isprintable() else "(odd name)"

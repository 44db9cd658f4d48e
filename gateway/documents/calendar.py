"""Calendars and contact cards: properties on folded lines, with texts, pages and files in them.

What it is: the extractor of iCalendar and vCard (2.1 to 4.0): the value of every property as text beside the text as written, files
and pages that are written into them as children, addresses as links.
Who calls it: ``content.walk`` through the table.
Must never: fetch what an ATTACH or PHOTO names; call a file read that could not be decoded.
Sources: RFC 5545 sections 3.1, 3.2 and 3.8.1.1; RFC 6350; RFC 2426; vCard 2.1; hostile-inputs catalogue M30.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.documents import text_plain
from gateway.extraction.base import Budget, Child, Found, Piece, join_reasons
from gateway.message import charsets, transfer
from gateway.text.markings import Segment
from gateway.verdict import LeafState, Zone

_FOLD = re.compile(r"(?:\r\n?|\n)[ \t]")
_FOLD_OCTETS = re.compile(rb"(?:\r\n?|\n)[ \t]")
_BREAK = re.compile(r"\r\n?|\n")
_MARKUP = re.compile(r"(?i)</?(?:html|body|div|p|br|b|i|u|span|font|table|li|h[1-6])\b[^<>]{0,2000}>|&[a-z#][a-z0-9]{1,8};")
_ESCAPE = re.compile(r"\\(.)")
_CARET = re.compile(r"\^([n'^])")
_LINE = re.compile(
    r"[ \t]{0,40}(?:[A-Za-z0-9-]{1,60}\.)?([A-Za-z0-9-]{1,60})[ \t]{0,40}"
    r"((?:;[^:;\"\r\n]{0,400}(?:\"[^\"\r\n]{0,4000}\"[^:;\"\r\n]{0,400}){0,20}){0,400}):(.*)",
    re.S,
)
_PARAMETER = re.compile(r";([^=;\"]{1,60})(?:=((?:\"[^\"]*\"|[^;\"]){0,8000}))?")
_BASE64 = frozenset(("b", "base64"))
_LINKS = frozenset(("attach", "url", "photo", "logo", "sound", "key", "source", "image", "conference", "fburl", "caluri", "caladruri"))
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{1,20}:")


@dataclass(frozen=True, slots=True)
class _Property:
    """One property, its parameters by upper-case name."""

    name: str
    params: dict[str, str]
    value: str


def extract(piece: Piece, budget: Budget) -> Found:
    """The values of all properties as text, the text as written, and what is packed into it."""
    # A fold may stand within a character (RFC 5545 section 3.1): octets are joined before they are characters.
    unfolded = _FOLD_OCTETS.sub(b"", piece.data)
    decoded = text_plain.decode(unfolded, piece.charset)
    segments: list[Segment] = []
    for text in decoded.texts:
        segments += [Segment("\n".join(_texts(text)), Zone.BODY)]
    segments += [Segment(text, Zone.BODY) for text in text_plain.decode(piece.data, piece.charset).texts]
    reading = _Reading(budget)
    for number, one in enumerate(_properties(decoded.texts[0]), 1):
        if not number % 1000:
            budget.check_time()
        reading.property(one)
    segments += reading.segments
    reason = join_reasons(decoded.doubt, *reading.problems)
    hidden = [child for child in text_plain.hidden(piece, decoded.texts[0], budget) if child.data not in reading.contents]
    return Found(
        tuple(segments),
        (*reading.children, *hidden),
        LeafState.SUSPECT if reason else LeafState.INSPECTED,
        reason,
        links=tuple(reading.links),
        active=("program",) if reading.runs else (),
    )


def _properties(text: str) -> Iterator[_Property]:
    """The properties of *text*, its lines unfolded, soft line breaks of quoted-printable joined."""
    lines = iter(_BREAK.split(_FOLD.sub("", text)))
    for line in lines:
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        params = {name.strip().upper(): (value or "").strip('"') for name, value in _PARAMETER.findall(match[2])}
        value = match[3]
        encoding = params.get("ENCODING", "").lower()
        # vCard 2.1 writes the value of a parameter without its name.
        if "QUOTED-PRINTABLE" in params or encoding == "quoted-printable":
            params["ENCODING"] = "quoted-printable"
            while value.rstrip(" \t").endswith("="):
                value = value.rstrip(" \t")[:-1] + next(lines, "")
        elif "BASE64" in params:
            params["ENCODING"] = "base64"
        yield _Property(match[1].lower(), params, value)


def _texts(text: str) -> Iterator[str]:
    """The value of each property as people see it; a line that is none, as it stands."""
    for line in _BREAK.split(_FOLD.sub("", text)):
        match = _LINE.fullmatch(line)
        value = match[3] if match else line
        yield _ESCAPE.sub(lambda one: "\n" if one[1] in "nN" else one[1], value)
        if match and match[2]:
            # Names, labels and kinds are shown too.
            for _, given in _PARAMETER.findall(match[2]):
                yield _CARET.sub(lambda one: {"n": "\n", "'": '"', "^": "^"}[one[1]], given.strip('"'))


class _Reading:
    """What the properties have given so far."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.segments: list[Segment] = []
        self.children: list[Child] = []
        self.contents: set[bytes] = set()
        self.links: dict[str, None] = {}
        self.problems: dict[str, None] = {}
        self.runs = False

    def property(self, one: _Property) -> None:
        """One property: a file, a page, an address, or text in another encoding."""
        encoding = one.params.get("ENCODING", "").lower()
        if one.name == "action":
            self.runs = self.runs or one.value.strip().upper() == "PROCEDURE"
        if one.name == "summary":
            self.segments.append(Segment(self._title(one, encoding), Zone.SUBJECT))
        if encoding in _BASE64:
            self._file(one)
        elif encoding == "quoted-printable":
            octets = transfer.decode(one.value.encode("utf-8", "replace"), "quoted-printable").data
            self.segments.append(Segment(charsets.readable(octets, one.params.get("CHARSET", "utf-8")), Zone.BODY))
        if one.params.get("FMTTYPE", "").lower() == "text/html" or one.name == "x-alt-desc" or _MARKUP.search(one.value):
            page = _ESCAPE.sub(lambda match: "\n" if match[1] in "nN" else match[1], one.value)
            self._child(Child(one.name, page.encode("utf-8", "replace"), "text/html", "utf-8", is_attachment=False))
        for address in (one.value, one.params.get("ALTREP", "")):
            if address[:5].lower() == "data:":
                self.children += self._packed(address)
            elif (one.name in _LINKS or address is not one.value) and _ADDRESS.match(address):
                self.links[address[:4000]] = None

    def _title(self, one: _Property, encoding: str) -> str:
        """The title of an entry, which programs show as the subject of an invitation."""
        if encoding == "quoted-printable":
            octets = transfer.decode(one.value.encode("utf-8", "replace"), "quoted-printable").data
            return charsets.readable(octets, one.params.get("CHARSET", "utf-8"))
        return _ESCAPE.sub(lambda match: "\n" if match[1] in "nN" else match[1], one.value)

    def _file(self, one: _Property) -> None:
        decoded = transfer.decode(one.value.encode("ascii", "replace"), "base64")
        if decoded.problems:
            self.problems["a file in it is written in broken base64"] = None
        name = one.params.get("FILENAME") or one.params.get("X-FILENAME") or one.params.get("X-APPLE-FILENAME") or one.name
        declared = one.params.get("FMTTYPE", "").lower()
        self._child(Child(name, decoded.data, declared))

    def _packed(self, address: str) -> tuple[Child, ...]:
        children = text_plain.packed(address, self._budget)
        self.contents.update(child.data for child in children)
        return children

    def _child(self, child: Child) -> None:
        if child.data:
            self._budget.spend_entries()
            self._budget.spend_bytes(len(child.data))
            self.contents.add(child.data)
            self.children.append(child)

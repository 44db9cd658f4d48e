"""What the parts of an Office document show beside their running text: values of attributes, and the other ways to read a paragraph.

What it is: ``spoken`` (words in attributes of whatever name), ``others`` (the lines as a reader sees them who does not see field codes,
phonetic guides, hidden or tiny letters, one of two alternatives, one side of tracked changes) and ``cells`` (letters written one to a
cell of a sheet).
Who calls it: the OOXML reader, beside ``ooxml_text``, which reads all of it as one text.
Must never: take the place of that reading: what it gives comes in addition.
Sources: ECMA-376 part 1 sections 17.3 (runs), 17.13.5 (revisions), 17.16 (fields), 18.3 (sheets), 18.8.30 (number formats), part 3
(alternate content); hostile-inputs catalogue D11.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from html import unescape

from gateway.documents import formulas
from gateway.documents.ooxml_names import BLOCKS, SHEET_EDGES
from gateway.documents.xml_parsing import parse
from gateway.extraction.base import Unreadable
from gateway.extraction.needle import Needle, Needles
from gateway.text.markings import Segment
from gateway.verdict import Zone

_VALUE = re.compile(rb"=[ \t\r\n]*(?:\"(?=[^\"]{0,2000}?(?:[A-Za-z]{4}|[\x80-\xff]|&|\\))([^\"<]{4,2000})\"|"
                    rb"'(?=[^']{0,2000}?(?:[A-Za-z]{4}|[\x80-\xff]|&|\\))([^'<]{4,2000})')")  # fmt: skip
_ADDRESS = re.compile(rb"(?:https?://(?:schemas\.|purl\.|www\.w3\.)|urn:schemas-|application/vnd\.)")
_FORMAT = re.compile(rb"formatCode[ \t\r\n]*=[ \t\r\n]*(?:\"([^\"<]{2,2000})\"|'([^'<]{2,2000})')")
_FORMAT_CODE = Needle(b"formatCode")
_MOST_VALUES = 20_000
_WORTH = Needles(
    b"instrText", b"<w:rt", b":rt>", b"rPh", b"AlternateContent", b":ins ", b"delText", b"moveFrom", b"anish", b'FFFFF"', b"FFFFF'",
    b'fffff"', b"fffff'", b"bg1", b"egChr", b"<f>", b"<f ", b"eader>&amp;", b"ooter>&amp;", b"rStyle",
)  # fmt: skip
"""What makes a part worth a second look."""
# Both begin with what is sought at the speed of memory.
_TINY = re.compile(rb"sz(?:(?<!\wsz)\s*=\s*[\"'](?:[1-9]\d?|1\d\d|200)[\"']|\s+(?:\w+:)?val\s*=\s*[\"'][1-4][\"'])")
_HIDDEN_STYLE = re.compile(
    rb"<w:style\s[^>]{0,500}?w:styleId=\"([^\"]{1,200})\"[^>]{0,500}>(?:(?!</w:style>)[\s\S]){0,4000}?<w:vanish\s*/>"
)
_VANISH = Needle(b"w:vanish")
_FORMATTING = re.compile(r"&(?:[BIUESXYHO]|\"[^\"]{0,200}\"|\d{1,3}|K[0-9A-F]{6}|K\d{2}[+-]\d{3})")
_PLACE = re.compile(r"&[A-Z]")
_OFF = frozenset(("0", "false", "off"))
_SHARED = re.compile(rb"<c\s[^>]{0,200}>\s*<v>\s*(\d{1,9})\s*</v>")
_PLACE_OF = re.compile(rb"\sr=[\"']([A-Z]{1,3})(\d{1,7})[\"']")
_SHORT = 3
_FEWEST = 2


def spoken(data: bytes, *, formats_only: bool = False) -> tuple[Segment, ...]:
    """The words in the attributes of the part *data*, one a line; *formats_only*: of a part of styles, where only the formats of numbers
    are shown.
    """
    data = _narrow(data)
    if formats_only and not _FORMAT_CODE.within(data):
        return ()
    found: dict[bytes, None] = {}
    for match in (_FORMAT if formats_only else _VALUE).finditer(data):
        value = match[1] or match[2] or b""
        if not _ADDRESS.match(value):
            found[value] = None
            if len(found) > _MOST_VALUES:
                break
    lines: dict[str, None] = {}
    for value in found:
        text = unescape(value.decode("utf-8", "replace"))
        lines[text.replace("\n", " ")] = None
        if '"' in text or "\\" in text:
            lines.update(dict.fromkeys(formulas.shown_for_numbers(text)))
    return (Segment("\n".join(lines), Zone.PROPERTY),) if lines else ()


def _narrow(data: bytes) -> bytes:
    """*data* in an encoding that holds ASCII as it is."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\x00" in data[:4]:
        codec = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-16-le" if data[1:2] == b"\x00" else "utf-16-be"
        return data.decode(codec, "replace").encode("utf-8", "replace")
    return data


def hidden_styles(data: bytes) -> frozenset[str]:
    """The identifiers of the styles in the part *data* that hide what is written in them."""
    return frozenset(match[1].decode("utf-8", "replace") for match in _HIDDEN_STYLE.finditer(data)) if _VANISH.within(data) else frozenset()


def others(data: bytes, read: Iterable[Segment], hidden: frozenset[str]) -> tuple[Segment, ...]:
    """The lines of the part *data* that stand in none of the segments that were *read*; *hidden*: styles of hidden text. For a part that
    was parsed before, so that it is known to be well-formed and not too deep.
    """
    if not _WORTH.any_within(data) and not _TINY.search(data) and data[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        return ()
    reader = _Reader(hidden)
    try:
        parse(data, reader.start, reader.end, reader.text)
    except Unreadable:
        return ()
    known: set[str] = set()
    zone = Zone.BODY
    for number, segment in enumerate(read):
        zone = segment.zone if not number else zone
        known.update(line.strip() for line in segment.text.split("\n"))
    found: list[Segment] = []
    for pieces in (reader.shown, reader.before):
        lines = [line for line in (line.strip() for line in "".join(pieces).split("\n")) if line and line not in known]
        known.update(lines)
        if lines:
            found.append(Segment("\n".join(lines), zone))
    return (*found, *reader.edges)


class _Reader:
    """Handlers of one parse. ``shown``: as a new program shows it; ``before``: as an old one does, with all changes refused."""

    def __init__(self, hidden: frozenset[str]) -> None:
        self.shown: list[str] = []
        self.before: list[str] = []
        self.edges: list[Segment] = []
        self._styles = hidden
        self._names: dict[str, str] = {}
        self._silent = self._choice = self._fallback = self._deleted = self._inserted = 0
        self._hidden = self._style_hidden = False
        self._formula: list[str] | None = None
        self._edge: list[str] | None = None

    def _local(self, qualified: str) -> str:
        name = self._names.get(qualified)
        if name is None:
            name = qualified.rpartition(":")[2]
            if len(self._names) < 10_000:
                self._names[qualified] = name
        return name

    def start(self, qualified: str, attributes: Mapping[str, str]) -> None:
        local = self._local(qualified)
        match local:
            case "r":
                self._hidden = False
            case "p":
                self._style_hidden = False
            case "vanish" | "webHidden" | "specVanish":
                self._hidden = self._hidden or not _OFF.intersection(attributes.values())
            case "color" | "srgbClr" | "schemeClr":
                values = {value.upper()[-6:] for value in attributes.values()}
                self._hidden = self._hidden or "FFFFFF" in values or "BG1" in values
            case "sz":
                self._hidden = self._hidden or any(value in ("1", "2", "3", "4") for value in attributes.values())
            case "rPr":
                size = attributes.get("sz", "")
                self._hidden = self._hidden or (size.isdecimal() and len(size) < 6 and int(size) <= 200)
            case "rStyle" if self._styles.intersection(attributes.values()):
                self._hidden = True
            case "instrText" | "delInstrText" | "rt" | "rPh":
                self._silent += 1
            case "Choice":
                self._choice += 1
            case "Fallback":
                self._fallback += 1
            case "del" | "moveFrom":
                self._deleted += 1
            case "ins" | "moveTo":
                self._inserted += 1
            case "begChr" | "endChr" | "chr" | "sepChr":
                for value in attributes.values():
                    self.text(value)
            case "f":
                self._formula = []
            case _:
                if local in SHEET_EDGES:
                    self._edge = []
        if local in BLOCKS:
            self._line()

    def text(self, data: str) -> None:
        if self._formula is not None:
            self._formula.append(data)
        elif self._edge is not None:
            self._edge.append(data)
        elif not self._silent and not self._hidden:
            if not self._fallback and not self._deleted:
                self.shown.append(data)
            if not self._choice and not self._inserted:
                self.before.append(data)

    def end(self, qualified: str) -> None:
        local = self._local(qualified)
        match local:
            case "r" | "pPr":
                self._hidden = False
            case "instrText" | "delInstrText" | "rt" | "rPh":
                self._silent -= 1
            case "Choice":
                self._choice -= 1
            case "Fallback":
                self._fallback -= 1
            case "del" | "moveFrom":
                self._deleted -= 1
            case "ins" | "moveTo":
                self._inserted -= 1
            case "f" if self._formula is not None:
                self._literals("".join(self._formula))
                self._formula = None
            case _:
                if self._edge is not None and local in SHEET_EDGES:
                    words = _PLACE.sub("\n", _FORMATTING.sub("", "".join(self._edge)))
                    self.edges.append(Segment(words, SHEET_EDGES[local]))
                    self._edge = None
        if local in BLOCKS:
            self._line()

    def _line(self) -> None:
        self.shown.append("\n")
        self.before.append("\n")

    def _literals(self, formula: str) -> None:
        """The words that a formula puts together, for a program that reckons it anew."""
        if words := formulas.put_together(formula):
            self.shown.append(f"\n{words}\n")


def cells(strings: list[str], sheet: bytes) -> tuple[Segment, ...]:
    """Short words of the rows and columns of *sheet*, joined as they stand beside and below one another; *strings*: the shared ones."""
    rows: dict[int, list[tuple[int, bytes, str]]] = {}
    columns: dict[bytes, list[tuple[int, str]]] = {}
    for match in _SHARED.finditer(sheet):
        number = int(match[1])
        if number >= len(strings) or not 0 < len(strings[number].strip()) <= _SHORT or (place := _PLACE_OF.search(match[0])) is None:
            continue
        row, word = int(place[2]), strings[number].strip()
        rows.setdefault(row, []).append((len(place[1]), place[1], word))
        columns.setdefault(place[1], []).append((row, word))
    lines = ["\t".join(word for _, _, word in sorted(line)) for line in rows.values() if len(line) >= _FEWEST]
    lines += ["\t".join(word for _, word in sorted(line)) for line in columns.values() if len(line) >= _FEWEST]
    return tuple(Segment(line, Zone.BODY) for line in dict.fromkeys(lines))


_TEXT = re.compile(rb"<(?:\w+:)?t\b[^>]{0,200}>([^<]{0,400})</")
_SI = re.compile(rb"<(?:\w+:)?si\b")


def shared(data: bytes) -> list[str]:
    """The shared strings in their order, for ``cells``; empty where too few are short. Longer ones are not wanted: they stand empty."""
    out: list[str] = []
    for piece in _SI.split(data)[1:]:
        text = "".join(match[1].decode("utf-8", "replace") for match in _TEXT.finditer(piece[:1000]))
        out.append(unescape(text) if len(text) <= 40 else "")
    return out if sum(0 < len(text.strip()) <= _SHORT for text in out) >= _FEWEST else []

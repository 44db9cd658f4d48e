"""The text of one XML part of an Office document, with the zone it stands in.

What it is: ``read`` on pyexpat, and ``is_silent``, the cheap proof that a style part holds no text at all.
Who calls it: the OOXML reader.
Must never: accept a document type definition or an entity; lose what is hidden, deleted, in a text box or in an attribute.
Sources: ECMA-376 part 1; XML 1.0; docs/inspection.md, OOXML (event order, hidden runs); hostile-inputs catalogue D01.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.documents import run_fonts
from gateway.documents.ooxml_names import ATTRIBUTES, BLOCKS, SHEET_EDGES
from gateway.documents.xml_parsing import parse
from gateway.extraction.base import OverLimit
from gateway.extraction.needle import Needles
from gateway.text.markings import Segment
from gateway.verdict import Zone

DEEPEST = 200
_HEADER_PART = re.compile(r"(?:^|/)header\d*\.xml$", re.I)
_FOOTER_PART = re.compile(r"(?:^|/)footer\d*\.xml$", re.I)
_PROPERTY_PART = re.compile(r"(?:^|/)docProps/|(?:^|/)customXml/|(?:^|/)docMetadata/", re.I)
_CODE = re.compile(r"&(?:[LCRPNDTAFGZSXYEUBIOHK]|\"[^\"]*\"|\d+|K[0-9A-F]{6}|K\d{2}[+-]\d{3})")
# Of the numbers in cells only those are read that may be identifiers of people (12 digits): a double holds no whole number over 2**53.
_LONG, _LEAST, _MOST = 6, 1e11, 2.0**53
_OF_NUMBERS = "0123456789.eE+- \r\n\t"
_SPEAKING = Needles(b"textpath", b"lvlText", b"docVar")
_DINGS = re.compile(r"dings|symbol|^marlett|bookshelf", re.I)
_LOOSE = re.compile(rb">[ \t\r\n]*+[^<]")
_ASCII_SUPERSET = re.compile(
    rb"^(?:\xef\xbb\xbf)?<(?!\?xml[^>]{0,200}encoding\s*=\s*[\"'](?![Uu][Tt][Ff]-8[\"']|[Uu][Ss]-[Aa][Ss][Cc][Ii][Ii][\"']))"
)


def is_silent(data: bytes) -> bool:
    """Whether *data* has no character data at all, and no attribute that is shown: then there is nothing to read.

    Blanks aside, each ``>`` of such a part is followed by the next tag. Style parts are nine tenths of a small document: this
    is what keeps them cheap.
    """
    if not _ASCII_SUPERSET.match(data) or b"!" in data or _SPEAKING.any_within(data):
        return False
    return _LOOSE.search(data) is None


# Nine of ten elements say only how something looks: for them no name is compared with the cases below, which have to stand here.
_ENDS = frozenset((*SHEET_EDGES, "txbxContent", "r", "delText", "delInstrText", "v", "c", "sp", "property"))
_STARTS = _ENDS.union(("vanish", "webHidden", "specVanish", "tab", "noBreakHyphen", "sym", "ph", "label"))


@dataclass(frozen=True, slots=True)
class PartText:
    """Segments and properties of one part."""

    segments: tuple[Segment, ...]
    properties: Mapping[str, str] = field(default_factory=dict)


def read(name: str, data: bytes, font: str = "") -> PartText:
    """All the text of the part *name*; *font*: a legacy font that the document's styles name. Raises Unreadable for broken XML, OverLimit
    for deep nesting.
    """
    reader = _Reader(name, font, follows_fonts=bool(font) or run_fonts.mentioned(data))
    parse(data, reader.start, reader.end, reader.text)
    return reader.result()


class Locals(dict[str, str]):
    """Local names by qualified name."""

    def __missing__(self, qualified: str) -> str:
        local = qualified.rpartition(":")[2]
        if len(self) < 10_000:
            self[qualified] = local
        return local


def tidy(text: str) -> str:
    """*text* without the blanks around its line ends, and without empty lines."""
    lines = (line.strip(" \r") for line in text.split("\n"))
    return "\n".join([line for line in lines if line]).strip()


def edge(text: str, zone: Zone) -> list[Segment]:
    """The words of a header or footer of a sheet, without its codes, and once more by font where that is a legacy one."""
    legacy = (Segment(_CODE.sub("\n", words).strip(), zone, font=font) for font, words in run_fonts.header_runs(text))
    return [Segment(_CODE.sub("\n", text), zone), *legacy]


def identifier(value: str) -> str:
    """The digits of the number *value* of a cell if it is whole and as long as an identifier; else nothing."""
    try:
        number = float(value)
    except ValueError:
        return ""
    return f"{number:.0f}" if _LEAST <= number < _MOST and number.is_integer() else ""


class _Reader:
    """Handlers of one parse. ``main`` is the running text; a text box collects on its own and is put behind."""

    def __init__(self, name: str, font: str, *, follows_fonts: bool) -> None:
        self._locals = Locals()
        self._depth = 0
        self._zone = Zone.BODY
        if _HEADER_PART.search(name):
            self._zone = Zone.PAGE_HEADER
        elif _FOOTER_PART.search(name):
            self._zone = Zone.PAGE_FOOTER
        elif _PROPERTY_PART.search(name):
            self._zone = Zone.PROPERTY
        self._generic = self._zone is Zone.PROPERTY
        self._runs = run_fonts.Runs("" if self._generic else font) if follows_fonts else None
        self._main: list[str] = []
        self._stack: list[list[str]] = []
        self._boxes: list[str] = []
        self._hidden: list[str] = []
        self._in_run = self._run_hidden = self._deleted = False
        self._edge: tuple[Zone, list[str]] | None = None
        self._number_cell = self._is_number = self._skip = False
        self._placeholder: Zone | None = None
        self._others: list[Segment] = []
        self._shape_start = 0
        self._property = ""
        self._element = ""
        self.properties: dict[str, str] = {}

    def start(self, qualified: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise OverLimit("its XML is nested deeper than the limit")
        local = self._element = self._locals[qualified]
        if local in ATTRIBUTES and attributes:
            self._spoken(local, attributes)
        if self._runs is not None:
            self._runs.start(local, attributes)
        if local in _STARTS:
            self._begin(local, attributes)
        if local in BLOCKS:
            self._main.append("\n")
            if self._runs is not None:
                self._runs.line()

    def _begin(self, local: str, attributes: dict[str, str]) -> None:
        """What begins with one of ``_STARTS``."""
        match local:
            case "txbxContent":
                self._stack.append(self._main)
                self._main = []
            case "r":
                self._in_run, self._run_hidden = True, False
            case "vanish" | "webHidden" | "specVanish" if self._in_run:
                self._run_hidden = True
            case "delText" | "delInstrText":
                self._deleted = True
            case "tab":
                self._main.append("\t")
            case "noBreakHyphen":
                self._main.append("-")
            case "sym" if code := self._symbol(attributes):
                self._main.append(code)
            case "c" if "t" not in attributes or attributes["t"] in ("n", "s", "b"):
                self._number_cell, self._is_number = True, attributes.get("t", "n") == "n"
            case "v" if self._number_cell:
                self._skip = True
            case "sp":
                self._placeholder, self._shape_start = None, len(self._main)
            case "ph":
                self._placeholder = {"ftr": Zone.PAGE_FOOTER, "hdr": Zone.PAGE_HEADER}.get(attributes.get("type", ""))
            case "property" if "name" in attributes:
                self._property = attributes["name"]
            case "label" if self._generic and "id" in attributes:
                self._microsoft(attributes)
            case _:
                if zone := SHEET_EDGES.get(local):
                    self._edge = (zone, [])

    def text(self, data: str) -> None:
        if self._skip and not data.strip(_OF_NUMBERS):
            if self._is_number and len(data) >= _LONG and (number := identifier(data)):
                self._main.append(number)
            return
        if self._runs is not None and self._edge is None:
            self._runs.text(data)
        if self._edge is not None:
            self._edge[1].append(data)
        elif self._run_hidden or self._deleted:
            self._hidden.append(data)
        else:
            self._main.append(data)
        if self._generic and data.strip():
            key = self._property or self._element
            self.properties[key] = self.properties.get(key, "") + data

    def end(self, qualified: str) -> None:
        self._depth -= 1
        local = self._locals[qualified]
        if self._runs is not None:
            self._runs.end(local)
        if local in _ENDS:
            self._finish(local)
        if local in BLOCKS or self._generic:
            self._main.append("\n")

    def _finish(self, local: str) -> None:
        """What ends with one of ``_ENDS``."""
        match local:
            case "txbxContent" if self._stack:
                self._boxes.append("".join(self._main))
                self._main = self._stack.pop()
            case "r":
                if self._run_hidden:
                    self._hidden.append("\n")
                self._in_run = self._run_hidden = False
            case "delText" | "delInstrText":
                self._deleted = False
                self._hidden.append("\n")
            case "v":
                self._skip = False
            case "c":
                self._number_cell = False
            case "sp":
                self._end_shape()
            case "property":
                self._property = ""
            case _:
                if self._edge is not None and local in SHEET_EDGES:
                    self._others += edge("".join(self._edge[1]), self._edge[0])
                    self._edge = None

    def _end_shape(self) -> None:
        """A footer or header placeholder of a slide is a page footer or header."""
        if self._placeholder is not None:
            if text := "".join(self._main[self._shape_start :]).strip():
                self._others.append(Segment(text, self._placeholder))
            self._placeholder = None

    def _microsoft(self, attributes: dict[str, str]) -> None:
        """A label of Microsoft in the part that newer programs keep it in, as the property that older ones write."""
        identifier = attributes["id"].strip("{}")
        for name, value in attributes.items():
            if name != "id":
                self.properties[f"MSIP_Label_{identifier}_{name[:1].upper()}{name[1:]}"] = value

    def _symbol(self, attributes: dict[str, str]) -> str:
        """The letter of a symbol; fonts may have theirs in a private range. Signs of fonts that hold nothing else are no letters."""
        named = {self._locals[name]: value for name, value in attributes.items()}
        if _DINGS.search(named.get("font", "")[:100]):
            return ""
        try:
            code = int(named.get("char", "")[:8], 16)
        except ValueError:
            return ""
        code -= 0xF000 if 0xF000 <= code <= 0xF0FF else 0
        return chr(code) if 0x20 <= code < 0xD800 else ""

    def _spoken(self, local: str, attributes: dict[str, str]) -> None:
        wanted = ATTRIBUTES[local]
        for qualified, value in attributes.items():
            name = self._locals[qualified]
            if name in wanted and len(value) > 2:
                zone = Zone.WATERMARK if local == "textpath" else Zone.PROPERTY if local != "lvlText" else Zone.BODY
                self._others.append(Segment(value, zone))
                if local == "textpath" and (font := run_fonts.of_style(attributes.get("style", ""))):
                    self._others.append(Segment(value, zone, font=font))

    def result(self) -> PartText:
        texts = ("".join(self._main), *self._boxes, "".join(self._hidden))
        parts = [Segment(text, self._zone) for text in map(tidy, texts) if text]
        legacy = self._runs.segments(self._zone) if self._runs is not None else []
        return PartText((*parts, *self._others, *legacy), self.properties)

"""The reader of DOCX, XLSX, PPTX and every other Open Packaging file: all parts, not only those that something points to.

What it is: the extractor; each XML part goes through ``ooxml_text``, everything else becomes a child.
Who calls it: ``content.walk`` through the table.
Must never: follow a relationship; read only the parts that a content type names (a part may have any name).
Sources: ECMA-376 parts 1 and 2; docs/inspection.md, OOXML; hostile-inputs catalogue D01-D04.
"""

from __future__ import annotations

import re
from html import unescape

from gateway.archives import zip_directory, zip_protection
from gateway.archives.zip_directory import Entry
from gateway.documents import ooxml_fonts, ooxml_readings, ooxml_text, run_fonts, xlsb
from gateway.documents.xml_charset import as_utf8
from gateway.extraction.base import Budget, Child, Found, OverLimit, Piece, Unreadable, join_reasons
from gateway.extraction.needle import Needle
from gateway.text.markings import Segment
from gateway.verdict import LeafState, Zone

_XML = (".xml", ".rels", ".vml", ".xsd", ".dtd")
_LIST = "[Content_Types].xml"
_XML_CAP = 64_000_000
_SILENT = re.compile(
    r"(?:^|/)(?:styles\w*|stylesWithEffects|theme\d*|fontTable|webSettings|tableStyles|_rels/[^/]*\.rels|\[Content_Types\])(?:\.xml)?$|\.rels$"
)
_EXTERNAL = Needle(b"External")
_OUTSIDE = re.compile(rb"<Relationship\s[^>]{0,4000}TargetMode\s*=\s*[\"']External[\"'][^>]{0,4000}>")
_LOADED = re.compile(rb"/(?:attachedTemplate|oleObject|frame|subDocument|image|externalLinkPath)[\"']")
_TARGET = re.compile(r"\sTarget\s*=\s*[\"']([^\"']{1,4000})[\"']")
_OVERRIDE = re.compile(rb"<(?:\w{1,20}:)?Override\s[^>]{0,4000}>")
_PART_NAME = re.compile(rb"\sPartName\s*=\s*[\"']([^\"']{1,2000})[\"']")
_CONTENT_TYPE = re.compile(rb"\sContentType\s*=\s*[\"']([^\"']{1,2000})[\"']")
_MAIN = re.compile(rb"(?:document|sheet|presentation|template|slideshow|macroEnabled(?:Template)?|addin)\.main\+xml$", re.I)
_MACRO_PART = re.compile(r"(?i)(?:^|/)(?:vbaProject\.bin|vbaData\.xml|macrosheets/[^/]+|intlmacrosheets/[^/]+)$")
_DDE_LINK, _PIPE, _FIELDS = Needle(b"ddeLink"), Needle(b"|"), (Needle(b"instrText"), Needle(b"fldSimple"))
_DDE_FIELD = re.compile(r"(?i)\bDDE(?:AUTO)?\b")
_DDE_FORMULA = re.compile(rb"<(?:\w{1,20}:)?f(?:\s[^>]{0,400})?>[^<|]{0,200}\|[^<!]{0,2000}!")
_FONT = re.compile(r"(?i)\.odttf$|(?:^|/)fonts/[^/]+\.(?:fntdata|ttf|otf)$")
_STYLES = re.compile(r"(?:^|/)(?:fontTable|styles\w*|theme\d*|slideMaster\d*|slideLayout\d*|notesMaster\d*|presentation)\.(?:xml|bin)$")
_SHEET = re.compile(r"(?:^|/)worksheets/[^/]+$")
_CONTROL = re.compile(r"(?i)(?:^|/)activeX/[^/]+$")
_BINARY = "application/vnd.ms-excel.sheet.binary.macroEnabled.12"
_TYPES = (
    (b"wordprocessingml.document.main", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    (b"spreadsheetml.sheet.main", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    (b"presentationml.presentation.main", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    (b"ms-excel.sheet.binary.macroEnabled", _BINARY),
    (b"ms-word.document.macroEnabled", "application/vnd.ms-word.document.macroEnabled.12"),
    (b"ms-excel.sheet.macroEnabled", "application/vnd.ms-excel.sheet.macroEnabled.12"),
    (b"ms-powerpoint.presentation.macroEnabled", "application/vnd.ms-powerpoint.presentation.macroEnabled.12"),
)


def extract(piece: Piece, budget: Budget) -> Found:
    """Text with its zones, properties by name, and every part that is not XML as a child."""
    directory = zip_directory.read(piece.data, budget)
    if any(zip_protection.claimed(entry) for entry in directory.entries):
        raise Unreadable("a document with encrypted parts inside, which no program writes")
    reading = _Reading(budget)
    # The list of parts says what they are, the list of fonts names the keys of fonts, and styles name the fonts of text: these come first.
    for entry in sorted(directory.entries, key=lambda entry: (entry.name != _LIST, _STYLES.search(entry.name) is None)):
        if not entry.is_folder:
            reading.part(piece.data, entry)
    reading.end()
    doubts = (*directory.problems, *_disagreements([entry.name for entry in directory.entries], reading.types))
    problems = ["ambiguous: " + "; ".join(doubts)] if doubts else []
    if _LIST not in reading.names:
        problems.append("a document without its list of parts")
    reason = join_reasons(*problems)
    return Found(
        tuple(reading.segments),
        tuple(reading.children),
        LeafState.SUSPECT if reason else LeafState.INSPECTED,
        join_reasons(reason, *reading.notes),
        properties=reading.properties,
        media_type=reading.media_type,
        links=tuple(reading.links),
        active=tuple(reading.active),
    )


def _disagreements(names: list[str], types: bytes) -> list[str]:
    """Why programs may take different parts for the document."""
    problems: list[str] = []
    folded = [name.lower().replace("\\", "/") for name in names]
    if len(set(folded)) != len(set(names)):
        problems.append("two of its parts differ in case only")
    overrides = [(part[1].lower(), kind[1]) for match in _OVERRIDE.finditer(types)
                 if (part := _PART_NAME.search(match[0])) and (kind := _CONTENT_TYPE.search(match[0]))]  # fmt: skip
    if len({part for part, _ in overrides}) != len(overrides):
        problems.append("its list of parts names a part twice")
    mains = [part for part, kind in overrides if _MAIN.search(kind)]
    if len(mains) > 1:
        problems.append("it has two main parts")
    if any(part.decode("utf-8", "replace").lstrip("/") not in folded for part in mains):
        problems.append("its main part is not where its list of parts says")
    return problems


def _asks_a_program(data: bytes, segments: tuple[Segment, ...]) -> bool:
    """Whether a part holds dynamic data exchange: as a link of a workbook, a field of a text or a formula."""
    if _DDE_LINK.within(data) or (_PIPE.within(data) and _DDE_FORMULA.search(data)):
        return True
    return any(field.within(data) for field in _FIELDS) and any(_DDE_FIELD.search(segment.text) for segment in segments)


class _Reading:
    """What the parts have given so far."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._xml = 0
        self.segments: list[Segment] = []
        self.children: list[Child] = []
        self.properties: dict[str, str] = {}
        self.notes: list[str] = []
        self.links: list[str] = []
        self.names: set[str] = set()
        self.media_type = ""
        self.types = b""
        self.active: dict[str, None] = {}
        self._font_keys: list[bytes] = []
        self._font = ""
        self._hidden_styles: frozenset[str] = frozenset()
        self._shared: list[str] = []
        self._sheets: list[bytes] = []

    def part(self, package: bytes, entry: Entry) -> None:
        """Reads one part, or makes a child of it. One broken part makes the document unreadable, not only the part."""
        name = entry.name
        self.names.add(name)
        data = zip_directory.unpack(package, entry, self._budget)
        if _MACRO_PART.search(name):
            self.active["macro"] = None
        if _CONTROL.search(name):
            self.active["program"] = None
        if _FONT.search(name) and data:
            self.segments += ooxml_fonts.read(data, self._font_keys)
            return
        if not name.lower().endswith(_XML) and not data.lstrip(b"\xef\xbb\xbf\r\n\t ").startswith(b"<?xml"):
            if data and not self._binary(name, data):
                self.children.append(Child(name, data))
            return
        self._xml += len(data)
        if self._xml > _XML_CAP:
            raise OverLimit("it holds more XML than the limit")
        data = as_utf8(data)  # what is sought in it below is sought in the characters that a program shows
        if name.endswith("fontTable.xml"):
            self._font_keys += ooxml_fonts.KEY.findall(data)[:200]
        elif _STYLES.search(name):
            self._font = run_fonts.names(data) or self._font
        if name == _LIST:
            self.types = data
            self.media_type = next((kind for words, kind in _TYPES if words in data), "")
        if _EXTERNAL.within(data):
            self._relationships(data)
        if _STYLES.search(name):
            self._hidden_styles |= ooxml_readings.hidden_styles(data)
        if _SILENT.search(name) and ooxml_text.is_silent(data):
            self.segments += ooxml_readings.spoken(data, formats_only=True)
            return
        text = ooxml_text.read(name, data, self._font)
        if _asks_a_program(data, text.segments):
            self.active["dde"] = None
        self.segments.extend(text.segments)
        self.segments += ooxml_readings.spoken(data)
        self.segments += ooxml_readings.others(data, text.segments, self._hidden_styles)
        self.properties.update(text.properties)
        if name.endswith("sharedStrings.xml"):
            self._shared = ooxml_readings.shared(data)
        elif _SHEET.search(name):
            self._sheets.append(data)

    def _binary(self, name: str, data: bytes) -> bool:
        """Whether the part was read as one of a binary workbook."""
        if self.media_type != _BINARY or not name.lower().endswith(".bin") or (part := xlsb.read(data, self._budget)) is None:
            return False
        self._font = part.font or self._font
        self.segments += part.segments(self._font)
        if part.asks_a_program:
            self.active["dde"] = None
        return True

    def end(self) -> None:
        """What only all parts together say."""
        for sheet in self._sheets if self._shared else ():
            self._budget.check_time()
            self.segments += ooxml_readings.cells(self._shared, sheet)

    def _relationships(self, data: bytes) -> None:
        for match in _OUTSIDE.finditer(data):
            if _LOADED.search(match[0]):
                self.notes.append("it loads a part of itself from outside")
                self.active["external"] = None
            words = match[0].decode("utf-8", "replace")
            # The markings look through all of it; links are taken from its target alone, since its type is written as a link too.
            self.segments.append(Segment(words, Zone.PROPERTY))
            if (target := _TARGET.search(words)) is not None:
                self.links.append(unescape(target[1]))

"""The reader of DOCX, XLSX, PPTX and every other Open Packaging file: all parts, not only those that something points to.

What it is: the extractor; each XML part goes through ``ooxml_text``, everything else becomes a child.
Who calls it: ``content.walk`` through the table.
Must never: follow a relationship; read only the parts that a content type names (a part may have any name).
Sources: ECMA-376 parts 1 and 2; reference/inspection.md, OOXML; hostile-inputs catalogue D01-D04.
"""

from __future__ import annotations

import re
from html import unescape

from gateway.content import ooxml_text, zip_directory, zip_protection
from gateway.content.base import Budget, Child, Found, OverLimit, Piece, Unreadable, join_reasons
from gateway.content.needle import Needle
from gateway.content.zip_directory import Entry
from gateway.text.markings import Segment
from gateway.verdict import LeafState, Zone

_XML = (".xml", ".rels", ".vml", ".xsd", ".dtd")
_XML_CAP = 64_000_000
_SILENT = re.compile(
    r"(?:^|/)(?:styles\w*|stylesWithEffects|theme\d*|fontTable|webSettings|tableStyles|_rels/[^/]*\.rels|\[Content_Types\])(?:\.xml)?$|\.rels$"
)
_EXTERNAL = Needle(b"External")
_OUTSIDE = re.compile(rb"<Relationship\s[^>]{0,4000}TargetMode\s*=\s*[\"']External[\"'][^>]{0,4000}>")
_LOADED = re.compile(rb"/(?:attachedTemplate|oleObject|frame|subDocument|image|externalLinkPath)[\"']")
_TARGET = re.compile(r"\sTarget\s*=\s*[\"']([^\"']{1,4000})[\"']")
_TYPES = (
    (b"wordprocessingml.document.main", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    (b"spreadsheetml.sheet.main", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    (b"presentationml.presentation.main", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
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
    for entry in directory.entries:
        if not entry.is_folder:
            reading.part(piece.data, entry)
    problems = ["ambiguous: " + "; ".join(directory.problems)] if directory.problems else []
    if "[Content_Types].xml" not in reading.names:
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
    )


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

    def part(self, package: bytes, entry: Entry) -> None:
        """Reads one part, or makes a child of it. One broken part makes the document unreadable, not only the part."""
        name = entry.name
        self.names.add(name)
        data = zip_directory.unpack(package, entry, self._budget)
        if not name.lower().endswith(_XML) and not data.lstrip(b"\xef\xbb\xbf\r\n\t ").startswith(b"<?xml"):
            if data:
                self.children.append(Child(name, data))
            return
        self._xml += len(data)
        if self._xml > _XML_CAP:
            raise OverLimit("it holds more XML than the limit")
        if name == "[Content_Types].xml":
            self.media_type = next((kind for words, kind in _TYPES if words in data), "")
        if _EXTERNAL.within(data):
            self._relationships(data)
        if _SILENT.search(name) and ooxml_text.is_silent(data):
            return
        text = ooxml_text.read(name, data)
        self.segments.extend(text.segments)
        self.properties.update(text.properties)

    def _relationships(self, data: bytes) -> None:
        for match in _OUTSIDE.finditer(data):
            if _LOADED.search(match[0]):
                self.notes.append("it loads a part of itself from outside")
            words = match[0].decode("utf-8", "replace")
            # The markings look through all of it; links are taken from its target alone, since its type is written as a link too.
            self.segments.append(Segment(words, Zone.PROPERTY))
            if (target := _TARGET.search(words)) is not None:
                self.links.append(unescape(target[1]))

"""The text of one XML part of an OpenDocument file, with the zone it stands in.

What it is: ``read`` on pyexpat, for the parts of a package and for a flat file.
Who calls it: the ODF reader.
Must never: accept an entity; lose what is hidden, deleted, in a note, a text box, a master page or an attribute; follow a link.
Sources: OpenDocument 1.3 part 3; docs/inspection.md, ODF; hostile-inputs catalogue D01, D02, D11.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.documents import formulas
from gateway.documents.odf_names import ASIDE, ATTRIBUTES, BLOCKS, LOADED, NAMES, PROPERTY_ELEMENTS, ZONES
from gateway.documents.ooxml_text import Locals, identifier, tidy
from gateway.documents.run_fonts import OdfRuns
from gateway.documents.xml_parsing import parse
from gateway.extraction.base import OverLimit, Unreadable
from gateway.text.markings import Segment
from gateway.verdict import Zone

DEEPEST = 400
_WATERMARK = re.compile(r"water\s?mark", re.I)
_FOREIGN = re.compile(r"(?i)(?:[a-z][a-z0-9+.-]{1,20}:|\\\\|//)")
_CODE = re.compile(r"(?i)(?:vnd\.sun\.star\.script|vnd\.sun\.star\.expand|macro|script|javascript|vbscript):")
_LONG = 6
_LETTERS = re.compile(r"[A-Za-z]{4}|[\u0900-\u0dff]{2}")
_NAMESPACE = re.compile(r"urn:oasis:names:tc:opendocument:xmlns:([a-z-]{2,20}):1\.0")
_TITLE = "text:title"
"""The field of that name stands in the line of text; the titles of pictures do not."""
_PREFIXES = {"drawing": "draw", "datastyle": "number", "svg-compatible": "svg", "xsl-fo-compatible": "fo"}
"""What the prefix of a namespace is called where it is not the name in its address."""
_NAMED = ("table:", "draw:", "text:", "office:", "form:")  # of what people see the names: sheets, pictures, sections


@dataclass(frozen=True, slots=True)
class PartText:
    """What one part gave."""

    segments: tuple[Segment, ...]
    properties: Mapping[str, str] = field(default_factory=dict)
    links: tuple[str, ...] = ()
    active: tuple[str, ...] = ()
    binaries: tuple[bytes, ...] = ()
    """Files that stand in the XML itself as base64."""
    kind: str = ""
    """office:mimetype of a flat document."""


def read(data: bytes, *, is_property: bool = False, runs: OdfRuns | None = None) -> PartText:
    """All the text of the part *data*; *is_property*: metadata and settings; *runs*: of a document that names a legacy font. Raises
    Unreadable for broken XML or an entity, OverLimit for deep nesting.
    """
    reader = _Reader(Zone.PROPERTY if is_property else Zone.BODY, None if is_property else runs)
    parse(data, reader.start, reader.end, reader.text, reader.comment, public_types=True)
    return reader.result()


@dataclass(slots=True)
class _Aside:
    """Text that stands apart from the running text around it."""

    element: str
    depth: int
    zone: Zone
    out: list[str]


class _Reader:
    """Handlers of one parse. The last of ``_asides`` collects; the first is the running text of the part."""

    def __init__(self, zone: Zone, runs: OdfRuns | None) -> None:
        self._locals = Locals()
        self._runs = runs
        self._depth = self._paragraphs = 0
        self._root = _Aside("", 0, zone, [])
        self._asides: list[_Aside] = [self._root]
        self._done: list[Segment] = []
        self._spoken: dict[str, None] = {}
        self._values: dict[str, None] = {}
        self._renamed: dict[str, str] = {}
        """Prefixes of the document that are not the usual ones, to these."""
        self._base64: list[str] | None = None
        self._property = ""
        self._value: list[str] = []
        self.properties: dict[str, str] = {}
        self.links: dict[str, None] = {}
        self.active: dict[str, None] = {}
        self.binaries: list[bytes] = []
        self.kind = ""

    def start(self, qualified: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise OverLimit("its XML is nested deeper than the limit")
        if self._depth == 1 or self._renamed:
            qualified, attributes = self._usual(qualified, attributes)
        local = self._locals[qualified]
        if attributes:
            self._attributes(local, qualified, attributes)
            if self._runs is not None:
                self._runs.start(local, self._depth, attributes)
        match local:
            case "p" | "h":
                self._paragraphs += 1
            case "s":
                count = attributes.get("text:c", "1")
                self._asides[-1].out.append(" " * min(int(count) if count.isdecimal() and len(count) < 4 else 1, 100))
            case "tab":
                self._asides[-1].out.append("\t")
            case "line-break" | "soft-page-break":
                self._asides[-1].out.append("\n")
            case "binary-data":
                self._base64 = []
            case "dde-source" | "dde-connection-decl" | "dde-link" | "dde-connection":
                self.active["dde"] = None
            case "plugin" | "applet":
                self.active["program"] = None
            case _:
                pass
        if local in PROPERTY_ELEMENTS and qualified.partition(":")[0] in ("meta", "dc", "config"):
            self._property, self._value = attributes.get("meta:name") or attributes.get("config:name") or local, []
        zone = ZONES.get(local)
        in_line = qualified == _TITLE
        if zone is None and local in ASIDE and not in_line and (self._paragraphs or local == "deletion" or self._is_watermark(attributes)):
            zone = Zone.WATERMARK if self._is_watermark(attributes) else self._asides[-1].zone
        if zone is not None:
            self._asides.append(_Aside(local, self._depth, zone, []))
        elif local in BLOCKS and not in_line:
            self._asides[-1].out.append("\n")

    def _usual(self, qualified: str, attributes: dict[str, str]) -> tuple[str, dict[str, str]]:
        """The names with the prefixes that every program writes, where the document has chosen others."""
        for name, value in attributes.items():
            if name.startswith("xmlns:") and (match := _NAMESPACE.fullmatch(value)):
                usual = _PREFIXES.get(match[1], match[1])
                if name[6:] != usual:
                    self._renamed[name[6:]] = usual
        if not self._renamed:
            return qualified, attributes
        return self._with_usual(qualified), {self._with_usual(name): value for name, value in attributes.items()}

    def _with_usual(self, name: str) -> str:
        prefix, colon, local = name.partition(":")
        return f"{self._renamed.get(prefix, prefix)}:{local}" if colon else name

    @staticmethod
    def _is_watermark(attributes: dict[str, str]) -> bool:
        return bool(_WATERMARK.search(attributes.get("draw:name", "")))

    def _attributes(self, local: str, qualified: str, attributes: dict[str, str]) -> None:
        for name, value in attributes.items():
            key = self._locals[name]
            if key in ATTRIBUTES and len(value) > 2 and (key != "name" or name.startswith(_NAMED)):
                self._speak(key, value)
            elif key == "href" and value:
                self._target(local, value)
            elif key == "mimetype" and local == "document":
                self.kind = value
            elif key == "value" and len(value) >= _LONG and (number := identifier(value)):
                self._spoken[number] = None
            elif value not in self._values and key not in NAMES and not key.endswith("-name") and _LETTERS.search(value):
                self._values[value] = None
        if qualified == "office:script" or (qualified.startswith("script:") and local in ("module", "library-embedded")):
            self.active["macro"] = None
        if qualified == "form:form" and any(self._locals[name] == "href" and value for name, value in attributes.items()):
            self.active["form"] = None

    def _speak(self, key: str, value: str) -> None:
        if key in ("formula", "condition", "expression"):
            if "DDE" in value.upper():
                self.active["dde"] = None
            if words := formulas.put_together(value):
                self._spoken[words] = None
            if '"' not in value and "'" not in value:
                return
        self._spoken[value] = None

    def _target(self, local: str, target: str) -> None:
        if _CODE.match(target):
            self.active["script" if target.lower().startswith(("javascript", "vbscript")) else "macro"] = None
            self._spoken[target] = None
        elif _FOREIGN.match(target):
            self.links[target] = None
            self._spoken[target] = None
            if local in LOADED:
                self.active["external"] = None

    def text(self, data: str) -> None:
        if self._base64 is not None:
            self._base64.append(data)
            return
        if self._property:
            self._value.append(data)
        if self._paragraphs and "\n" in data:
            data = data.replace("\n", " ")
        self._asides[-1].out.append(data)
        if self._runs is not None:
            self._runs.text(data)

    def comment(self, data: str) -> None:
        if len(data.strip()) > 2:
            self._spoken[data] = None

    def end(self, qualified: str) -> None:
        local = self._locals[qualified]
        if self._runs is not None:
            self._runs.end(self._depth)
            if local in BLOCKS:
                self._runs.line()
        aside = self._asides[-1]
        if aside.depth == self._depth and aside.element == local and len(self._asides) > 1:
            self._asides.pop()
            self._emit(aside)
        elif local in BLOCKS and qualified != _TITLE:
            aside.out.append("\n")
        if local in ("p", "h"):
            self._paragraphs -= 1
        elif local == "binary-data" and self._base64 is not None:
            self._binary("".join(self._base64))
            self._base64 = None
        if self._property and local in PROPERTY_ELEMENTS:
            value = "".join(self._value).strip()
            if value:
                before = self.properties.get(self._property)
                self.properties[self._property] = value if before is None else f"{before}; {value}"
            self._property = ""
        self._depth -= 1

    def _binary(self, text: str) -> None:
        try:
            data = base64.b64decode(text, validate=False)
        except (binascii.Error, ValueError):
            raise Unreadable("a document with a broken embedded file") from None
        if data:
            self.binaries.append(data)

    def _emit(self, aside: _Aside) -> None:
        if text := tidy("".join(aside.out)):
            self._done.append(Segment(text, aside.zone))

    def result(self) -> PartText:
        segments: list[Segment] = []
        if text := tidy("".join(self._root.out)):
            segments.append(Segment(text, self._root.zone))
        segments += self._done
        segments += [Segment(value, Zone.PROPERTY) for value in self._spoken]
        if self._values:
            segments.append(Segment("\n".join(value.replace("\n", " ") for value in self._values), Zone.PROPERTY))
        if self._runs is not None:
            segments += self._runs.take(self._root.zone)
        return PartText(tuple(segments), self.properties, tuple(self.links), tuple(self.active), tuple(self.binaries), self.kind)

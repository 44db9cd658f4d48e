"""Text in fonts that show Hindi for Latin letters, as the runs of Office documents name them.

What it is: ``mentioned`` and ``names`` (whether and which such fonts a part names), ``Runs`` (text by font while a part of an OOXML
document is parsed) and ``OdfRuns`` (the same for OpenDocument).
Who calls it: ``ooxml_text``, ``odf_text`` and their readers; only for documents that name such a font at all.
Must never: take text away from the running text: what stands here stands there too, as the letters that are stored.
Sources: ECMA-376 part 1 (17.3.2.26 rFonts, 18.4.5 rFont, 21.1.2.3.7 latin, 18.3.1.39 font codes of headers); OpenDocument 1.3 part 3
(16.29.24 text-properties, 16.24 font-face).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from gateway.extraction.needle import Needles
from gateway.text import legacy_fonts
from gateway.text.markings import Segment
from gateway.verdict import Zone

_SIGNS = Needles(b"Kruti", b"evLys", b"KRUTI", b"EVLYS", b"kruti", b"evlys")
_NAME = re.compile(rb"[\"']([^\"'<>]{0,40}?(?:[Kk][Rr][Uu][Tt][Ii]|[Dd][Ee][Vv][ -]{0,2}[Ll][Yy][Ss])[^\"'<>]{0,40})[\"']")
_HEADER_FONT = re.compile(r"&\"([^\"]{1,100})\"")
_FAMILY = re.compile(r"font-family\s*:\s*([^;]{1,100})", re.I)
_ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "rFonts": ("ascii", "hAnsi", "cs"),
    "rFont": ("val",),
    "latin": ("typeface",),
    "cs": ("typeface",),
    "sym": ("typeface",),
}
"""Elements that name the font of a run, and their attributes. The first one is the font of Latin letters."""
_RUNS = frozenset(("r", "fld"))
_STANDARD = frozenset(("", "Standard", "standard", "Default"))


def mentioned(data: bytes) -> bool:
    """Whether the part *data* names a legacy font, or is written so that it cannot be told."""
    return b"\x00" in data[:64] or _SIGNS.any_within(data)


def names(data: bytes) -> str:
    """A legacy font that an attribute of the part *data* names; empty for none."""
    if not mentioned(data):
        return ""
    found = (match[1].decode("utf-8", "replace") for match in _NAME.finditer(data))
    return next((name for name in found if legacy_fonts.is_legacy(name)), "")


def header_runs(text: str) -> list[tuple[str, str]]:
    """Font and text of the pieces of a header of a sheet that are in a legacy font."""
    pieces = _HEADER_FONT.split(text)
    return [(font, words) for font, words in zip(pieces[1::2], pieces[2::2], strict=True) if legacy_fonts.is_legacy(font)]


def of_style(style: str) -> str:
    """The legacy font that a style of VML names; empty for another one."""
    match = _FAMILY.search(style)
    return match[1].strip("\"' ") if match is not None and legacy_fonts.is_legacy(match[1]) else ""


class _Texts:
    """Text by font, in the order of the document."""

    def __init__(self) -> None:
        self._pieces: dict[str, list[str]] = {}

    def add(self, font: str, text: str) -> None:
        """Adds *text*, which is in *font*."""
        self._pieces.setdefault(font, []).append(text)

    def line(self) -> None:
        """The line ends."""
        for pieces in self._pieces.values():
            if pieces[-1] != "\n":
                pieces.append("\n")

    def segments(self, zone: Zone) -> list[Segment]:
        """One segment for each font."""
        return [Segment(text, zone, font=font) for font, pieces in self._pieces.items() if (text := "".join(pieces).strip("\n"))]


class Runs(_Texts):
    """Follows the elements of one part. *default*: the legacy font that the styles of the document name, if any.

    Which style a text has is not followed: where a style names such a font, all text counts whose run names no other. Latin words read
    as Hindi give no word, so that too much is read does no harm.
    """

    def __init__(self, default: str) -> None:
        super().__init__()
        self._default = default
        self._own: str | None = None
        self._within = False

    def start(self, local: str, attributes: Mapping[str, str]) -> None:
        """An element begins; *attributes* by qualified name."""
        if local in _RUNS:
            self._within, self._own = True, None
        elif (wanted := _ATTRIBUTES.get(local)) is not None and attributes:
            named = {name.rpartition(":")[2]: value for name, value in attributes.items()}
            legacy = next((value for key in wanted if legacy_fonts.is_legacy(value := named.get(key, ""))), "")
            if not self._within:
                self._default = legacy or self._default
            elif legacy:
                self._own = legacy
            elif self._own is None and local != "cs" and not named.get(wanted[0], "+").startswith("+"):
                self._own = ""

    def end(self, local: str) -> None:
        """An element ends."""
        if local in _RUNS:
            self._within, self._own = False, None

    def text(self, data: str) -> None:
        """Text, as it is stored."""
        font = self._default if self._own is None else self._own
        if font:
            self.add(font, data)


class OdfRuns(_Texts):
    """Follows the elements of the parts of one document: styles come first, by their names. One for the whole document."""

    def __init__(self) -> None:
        super().__init__()
        self._faces: dict[str, str] = {}
        self._styles: dict[str, str] = {}
        self._default = ""
        self._style = ""
        self._open: list[tuple[int, str]] = []

    def start(self, local: str, depth: int, attributes: Mapping[str, str]) -> None:
        """An element begins at *depth*."""
        named = {name.rpartition(":")[2]: value for name, value in attributes.items()}
        if local == "font-face":
            self._faces[named.get("name", "")] = named.get("font-family", "")
        elif local in ("style", "default-style"):
            self._style = named.get("name", "")
            inherited = self._styles.get(named.get("parent-style-name", ""))
            if inherited is not None:
                self._set(inherited)
        elif local == "text-properties":
            font = named.get("font-name", "") or named.get("font-family", "")
            if font:
                shown = next((one for one in (font, self._faces.get(font, "")) if legacy_fonts.is_legacy(one)), "")
                self._set(shown)
        elif (style := named.get("style-name") or named.get("text-style-name")) in self._styles:
            self._open.append((depth, self._styles[style or ""]))

    def _set(self, font: str) -> None:
        # Two parts may give one name to two styles: the legacy font counts.
        self._styles[self._style] = font or self._styles.get(self._style, "")
        if self._style in _STANDARD and font:
            self._default = font

    def end(self, depth: int) -> None:
        """The element at *depth* ends."""
        if self._open and self._open[-1][0] == depth:
            self._open.pop()

    def text(self, data: str) -> None:
        """Text, as it is stored."""
        font = self._open[-1][1] if self._open else self._default
        if font:
            self.add(font, data)

    def take(self, zone: Zone) -> list[Segment]:
        """The segments so far; the styles stay."""
        found = self.segments(zone)
        self._pieces.clear()
        self._open.clear()
        return found

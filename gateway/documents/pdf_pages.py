"""The text of the pages of a PDF by pdfium, with the zone it stands in, and which pages have to be looked at as pictures.

What it is: ``read``, page by page: running text, top and bottom of the page, watermarks, text in legacy fonts.
Who calls it: the PDF reader, after the content streams were checked (``pdf_content``).
Must never: call a page read that shows a picture, or whose letters have no meaning; go on beyond its limits.
Sources: pdfium's fpdf_text.h and fpdf_edit.h; ISO 32000-2 sections 9.10 (text extraction) and 9.4; docs/inspection.md.
"""

from __future__ import annotations

import ctypes
import re
from array import array
from collections.abc import Callable
from typing import Any

import pypdfium2 as pdfium
import pypdfium2.raw as raw

from gateway.documents import pdf_render
from gateway.documents.pdf_drawn import Drawn
from gateway.documents.pdf_shapes import Allowance, plain
from gateway.extraction.base import Budget, Child, OverLimit, Scan
from gateway.text import legacy_fonts
from gateway.text.markings import Segment
from gateway.verdict import LeafState, Zone

EDGES = (Zone.PAGE_HEADER, Zone.PAGE_FOOTER)
_EDGE = 0.10  # of the page's height: where headers and footers stand
_PAGES = 20_000
_TEXT_CAP = 64_000_000  # characters
_FORM_DEPTH = 4
_LOOKED_AT = 4_000  # objects of a page that are looked at for watermarks
_LARGE = 48.0  # points from which text is as large as a watermark
_TURNED = 0.2  # sine and cosine from which text stands askew
_SMALL_PART = 0.6
"""Share of a page under which the part of it that holds all its pictures is looked at alone."""
_BOXES = 12
"""Paths of a page without words, such as the frame of a field, that show nothing."""
_FEW = 3  # letters: white ones among black ones make a word another one
_MOST_SIGNS = 3  # different signs without a letter that a page may have
_BLANK_CODES = frozenset((0x09, 0x0A, 0x0D, 0x20, 0xA0))
_SAMPLE = 100  # characters of a page whose mapping to letters is asked for
_WITHOUT_MEANING = re.compile(r"[\x00-\x08\x0e-\x1f\x80-\x9f\ufffd\ufffe\uffff]")
_RUN_WITHOUT_MEANING = re.compile(r"(?:[\x01-\x08\x0e-\x1f\x80-\x9f\ue000-\uf8ff\ufffd][ \r\n]{0,3}){3}")
_PRIVATE = re.compile(r"[\ue000-\uf8ff]")
_MEANINGFUL = bytes((*range(0x09, 0x0E), *range(0x20, 0x80)))
"""The ASCII octets that none of these is about."""


_KIND = plain(raw.FPDFPageObj_GetType, ctypes.c_int, ctypes.c_void_p)
_MATRIX = plain(raw.FPDFPageObj_GetMatrix, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
_BOUNDS = plain(raw.FPDFPageObj_GetBounds, ctypes.c_int, *[ctypes.c_void_p] * 5)
_SIZE = plain(raw.FPDFTextObj_GetFontSize, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
_WORDS = plain(raw.FPDFTextObj_GetText, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_ulong)
_FONT_OF = plain(raw.FPDFTextObj_GetFont, ctypes.c_void_p, ctypes.c_void_p)
_FONT_NAME = plain(raw.FPDFFont_GetBaseFontName, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_ERROR_AT = plain(raw.FPDFText_HasUnicodeMapError, ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
_PAGE = (
    plain(raw.FPDFPage_CountObjects, ctypes.c_int, ctypes.c_void_p),
    plain(raw.FPDFPage_GetObject, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int),
)
_FORM = (
    plain(raw.FPDFFormObj_CountObjects, ctypes.c_int, ctypes.c_void_p),
    plain(raw.FPDFFormObj_GetObject, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_ulong),
)


class _Buffer:
    """Room for the text that the library hands out, used again for each page."""

    def __init__(self) -> None:
        self._units = array("H", bytes(16_384))

    def of(self, units: int) -> tuple[ctypes.Array[ctypes.c_ushort], int]:
        """The buffer and its size, which is *units* of UTF-16 at least."""
        if len(self._units) < units:
            self._units = array("H", bytes(2 * units))
        return (ctypes.c_ushort * len(self._units)).from_buffer(self._units), len(self._units)

    def text(self, units: int) -> str:
        """The first *units* as text."""
        return memoryview(self._units)[: max(0, units)].tobytes().decode("utf-16-le", "replace").replace("\r\n", "\n")


class Pages:
    """What the pages gave."""

    def __init__(self, *, legacy: bool, masks: bool, tableless: bool = False) -> None:
        self.legacy = legacy
        """Whether the file names a legacy font: only then is the font of each piece of text asked for."""
        self.masks = masks
        """Whether pictures may have masks, which are other pictures: only without them does one of one sample show nothing."""
        self.tableless = tableless
        """Whether a font has codes that no table turns into letters: then each letter of a page is asked for."""
        self.allowance = Allowance()
        self.buffer = _Buffer()
        self.parts: list[Segment] = []
        self.pictured: list[int] = []
        self.parts_of: dict[int, pdf_render.Box] = {}
        """Pages whose words are all text but for the pictures in one small part of them."""
        self.garbled: list[int] = []
        self.blank: list[int] = []
        """Pages on which nothing at all was found."""
        self.reason = ""

    @property
    def segments(self) -> tuple[Segment, ...]:
        """All text, in the order of the pages."""
        return tuple(self.parts)

    def pictures(self, data: bytes, total: int, password: str | None = None) -> Child | None:
        """One leaf for all pages that have to be looked at, so that a scan is not called read; *data*: the file to draw them from."""
        numbers = sorted({*self.pictured, *self.garbled})
        if not numbers:
            return None
        first = ", ".join(map(str, numbers[:5])) + (" …" if len(numbers) > 5 else "")
        reason = f"pictures on {len(numbers)} pages ({first}): there is no reader for them"
        if self.garbled:
            reason = f"{len(numbers)} pages ({first}) with pictures, or with letters without a meaning: there is no reader for them"
        scans = tuple(self._scan(data, number, total, password) for number in numbers)
        return Child("pictures", declared="image/*", size=0, state=LeafState.UNINSPECTABLE, reason=reason, scans=scans)

    def _scan(self, data: bytes, number: int, total: int, password: str | None) -> Scan:
        part = self.parts_of.get(number)
        pixels = int(_area(part) * (pdf_render.DPI / 72) ** 2) if part is not None else 0
        return Scan(_drawn(data, number, password, part), number, total, pixels)


def _drawn(data: bytes, number: int, password: str | None, part: pdf_render.Box | None) -> Callable[[Budget], Any]:
    return lambda budget: pdf_render.render(data, number - 1, budget, password, part)


def read(document: pdfium.PdfDocument, budget: Budget, *, legacy: bool = False, masks: bool = True, tableless: bool = False) -> Pages:
    """All pages of *document*; the rest: see ``Pages``. Raises OverLimit for too many pages or too much text."""
    found = Pages(legacy=legacy, masks=masks, tableless=tableless)
    total, characters = len(document), 0
    if total > _PAGES:
        raise OverLimit("it has more pages than the limit")
    for index in range(total):
        budget.check_time()
        page = raw.FPDF_LoadPage(document.raw, index)
        if not page:
            found.reason = "a page could not be read"
            continue
        try:
            characters += _page(page, index + 1, total, found)
        finally:
            raw.FPDF_ClosePage(page)
        if characters > _TEXT_CAP:
            raise OverLimit("it holds more text than the limit")
    return found


def _page(page: ctypes.c_void_p, number: int, total: int, found: Pages) -> int:
    """Adds one page; returns its number of characters."""
    textpage = raw.FPDFText_LoadPage(page)
    if not textpage:
        found.reason = "a page could not be read"
        return 0
    try:
        count = raw.FPDFText_CountChars(textpage)
        text = ""
        if count > 0:
            buffer, _ = found.buffer.of(2 * count + 2)
            text = found.buffer.text(raw.FPDFText_GetText(textpage, 0, count, buffer) - 1)
        words = text.strip()
        if words:
            found.parts.append(Segment(text, Zone.BODY, number, total))
            _edges(page, textpage, number, total, found, 2 * count)
            address = ctypes.cast(textpage, ctypes.c_void_p).value
            if _is_garbled(address, words, count) or (found.tableless and _has_words_without_letters(textpage, address, count)):
                found.garbled.append(number)
        look = _Look(ctypes.cast(textpage, ctypes.c_void_p).value, found)
        has_picture = look.at(ctypes.cast(page, ctypes.c_void_p).value, 0, turned=False)
        found.parts.extend(look.segments(number, total))
    finally:
        raw.FPDFText_ClosePage(textpage)
    if has_picture or (not words and look.other) or look.drawn.word or look.drawn.mixed:
        found.pictured.append(number)
        alone = has_picture and (words or look.paths <= _BOXES) and not (look.drawn.word or look.drawn.mixed or number in found.garbled)
        size = raw.FPDF_GetPageWidthF(page) * raw.FPDF_GetPageHeightF(page)
        if alone and look.box is not None and _area(look.box) < _SMALL_PART * size:
            found.parts_of[number] = look.box
    elif not words:
        found.blank.append(number)
    return int(count)


def _area(box: pdf_render.Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def _is_garbled(textpage: int | None, words: str, count: int) -> bool:
    """Whether the letters of the page are not what it shows, as with fonts that do not say which letters their glyphs are."""
    if not words.isascii() or words.encode("ascii").translate(None, _MEANINGFUL):
        if _RUN_WITHOUT_MEANING.search(words):
            return True
        meaningless = len(_WITHOUT_MEANING.findall(words))
        if meaningless * 30 > len(words) or len(_PRIVATE.findall(words)) * 5 > len(words):
            return True
    step = max(1, count // _SAMPLE)
    asked = range(0, count, step)
    return sum(1 for at in asked if _ERROR_AT(textpage, at) == 1) * 10 > len(asked)


def _has_words_without_letters(textpage: ctypes.c_void_p, address: int | None, count: int) -> bool:
    """Whether more than a few different signs stand on the page for which there is no letter: bullets and boxes are few."""
    without = {
        raw.FPDFText_GetUnicode(textpage, at) for at in range(count) if _ERROR_AT(address, at) == 1
    } - _BLANK_CODES  # fmt: skip
    return len(without) > _MOST_SIGNS


def _edges(page: ctypes.c_void_p, textpage: ctypes.c_void_p, number: int, total: int, found: Pages, most: int) -> None:
    """What stands in the top and bottom tenth of the page; *most*: about the UTF-16 units to expect."""
    width, height = raw.FPDF_GetPageWidthF(page), raw.FPDF_GetPageHeightF(page)
    for zone, top, bottom in (
        (Zone.PAGE_HEADER, height, height * (1 - _EDGE)),
        (Zone.PAGE_FOOTER, height * _EDGE, 0.0),
    ):
        buffer, size = found.buffer.of(most)
        # The library searches the page at each call: it is asked once, unless what it found fills the buffer.
        while (count := raw.FPDFText_GetBoundedText(textpage, 0.0, top, width, bottom, buffer, size)) >= size:
            buffer, size = found.buffer.of(2 * size)
        text = found.buffer.text(count).rstrip("\x00")
        if len(text) > 1 and text.strip():
            found.parts.append(Segment(text, zone, number, total))


class _Look:
    """One look at the objects of a page: pictures, watermarks, text in legacy fonts."""

    def __init__(self, textpage: int | None, found: Pages) -> None:
        self._textpage = textpage
        self._found = found
        self._left = _LOOKED_AT
        self._matrix = (ctypes.c_float * 6)()
        self._size = ctypes.c_float()
        self._where = ctypes.byref(self._size)
        self._units = ctypes.create_string_buffer(4096)
        self.drawn = Drawn(found.allowance)
        self.other = False
        """There is more than a few boxes and lines: on a page without words it may be what it shows."""
        self.box: pdf_render.Box | None = None
        """Where the pictures of the page itself stand; None where there is none, or one stands in a form."""
        self._nested = False
        self._bounds = (ctypes.c_float * 4)()
        self.paths = 0
        self._watermark: list[str] = []
        self._legacy: dict[str, list[str]] = {}

    def at(self, container: int | None, depth: int, *, turned: bool) -> bool:
        """Whether the page or form at the address *container* shows a picture. Forms nested deeper than the limit count as such."""
        if depth > _FORM_DEPTH:
            self._everywhere()
            return True
        count_of, item_of = _FORM if depth else _PAGE
        image, form, text, path = raw.FPDF_PAGEOBJ_IMAGE, raw.FPDF_PAGEOBJ_FORM, raw.FPDF_PAGEOBJ_TEXT, raw.FPDF_PAGEOBJ_PATH
        has_picture = False
        for index in range(count_of(container)):
            item = item_of(container, index)
            kind = _KIND(item)
            if kind == text:
                self._left -= 1
                if self._left > 0:
                    self._text(item, turned=turned)
                self.other = True
            elif kind == path:
                self.paths += 1
                self.other = self.other or self.paths > _BOXES
                self.drawn.path(item)
            elif kind == image:
                if self._found.masks or not self.drawn.sample(item):
                    has_picture = True
                    self._stands(item, depth)
                self.other = self.other or has_picture
            elif kind == form:
                has_picture = self.at(item, depth + 1, turned=turned or self._is_turned(item)) or has_picture
            else:
                self.other = True
            if has_picture and self._left <= 0:
                self._everywhere()
                return True
        return has_picture

    def _stands(self, item: int, depth: int) -> None:
        """Takes the place of the picture at the address *item*. One that stands in a form, or nowhere, is looked for on the whole page."""
        places = tuple(ctypes.addressof(self._bounds) + 4 * index for index in range(4))
        if self._nested or depth or not _BOUNDS(item, *places):
            self._everywhere()
            return
        left, bottom, right, top = self._bounds
        known = self.box or (left, bottom, right, top)
        self.box = (min(known[0], left), min(known[1], bottom), max(known[2], right), max(known[3], top))

    def _everywhere(self) -> None:
        self._nested, self.box = True, None

    def _is_turned(self, item: int) -> bool:
        if not _MATRIX(item, self._matrix) or not self._matrix[1]:
            return False
        across, up = abs(self._matrix[0]), abs(self._matrix[1])
        length = (across * across + up * up) ** 0.5
        return bool(length > 0 and up > _TURNED * length and across > _TURNED * length)

    def _text(self, item: int, *, turned: bool) -> None:
        askew = self._is_turned(item) or turned
        if _SIZE(item, self._where):
            size = self._size.value * max(map(abs, self._matrix[:4]))
            askew = askew or size >= _LARGE
            if self.drawn.hides(item, size) or (self.drawn.pales(item) and len(self._words(item)) <= _FEW):
                self.drawn.unseen = True
        if askew:
            self._watermark.append(self._words(item))
        if self._found.legacy:
            name = self._font(item)
            if name:
                self._legacy.setdefault(name, []).append(self._words(item))

    def _words(self, item: int) -> str:
        length = min(_WORDS(item, self._textpage, self._units, len(self._units)), len(self._units))
        return self._units.raw[:length].decode("utf-16-le", "replace").rstrip("\x00")

    def _font(self, item: int) -> str:
        length = _FONT_NAME(_FONT_OF(item), self._units, len(self._units))
        name = self._units.raw[: min(length, len(self._units))].decode("latin-1").rstrip("\x00").rpartition("+")[2]
        return name if legacy_fonts.is_legacy(name) else ""

    def segments(self, number: int, total: int) -> list[Segment]:
        """What stands askew or very large, as one line, and what is written in legacy fonts."""
        found = [Segment("".join(self._watermark), Zone.WATERMARK, number, total)] if self._watermark else []
        return found + [Segment(" ".join(words), Zone.BODY, number, total, name) for name, words in self._legacy.items()]

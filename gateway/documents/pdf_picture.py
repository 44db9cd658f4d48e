"""A page of a PDF as a coloured picture for people, with the marked words in boxes.

What it is: ``picture``; it draws the page as a reader of the file shows it, finds each marked stretch among the characters of the page
and draws a box of its level's colour around it.
Who calls it: ``inspector.drawing``.
Must never: run or load what the document asks for (pdfium draws without a form environment, so nothing runs); draw more pixels than
``showing.WIDEST`` times ``showing.TALLEST``; box words that are not those that were marked.
Sources: pdfium's fpdf_text.h and fpdfview.h; ISO 32000-2 section 8.3 (coordinates); hostile-inputs catalogue W02, D07.
"""

from __future__ import annotations

import ctypes
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pikepdf
import pypdfium2
import pypdfium2.raw as pdfium
from PIL import Image, ImageColor, ImageDraw

from gateway.documents import pdf_render
from gateway.extraction.base import Budget, OverLimit, Unreadable
from gateway.levels import Level
from gateway.showing import LARGEST_PICTURE, TALLEST, WIDEST
from gateway.text.markings import Segment
from gateway.text.marks import PAGE_ZONES, Stretch, like
from gateway.verdict import Zone

DPI = 110
_SHORTEST = 600  # pixels of the longer side at least
_LINE = 3  # pixels
_MARGIN = 2  # pixels between the words and the box
_TINT = 0.22
_FEW = 4096  # colours of a page up to which it is text rather than a photograph
_BOXES = 500
_CHARACTERS = 200_000  # of a page whose words are looked for
_EDGE = 0.12  # of the page's height: a header or footer, and a little more

Box = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels."""


@dataclass(frozen=True, slots=True)
class Painted:
    """A page as a PNG. *boxes*: how many boxes were drawn; *pages*: how many the document has."""

    png: bytes
    width: int
    height: int
    pages: int
    boxes: int


class NoPage(Unreadable):
    """The document has no such page."""


def picture(
    data: bytes, number: int, marked: Sequence[tuple[Segment, Sequence[Stretch]]], colours: Mapping[Level, tuple[str, str]], budget: Budget
) -> Painted:
    """Page *number* (from 1) of the PDF *data*. *marked*: what was read of it, with the stretches to be boxed; *colours*: foreground
    and background by level. Raises NoPage, Unreadable, OverLimit.
    """
    budget.check_time()
    document = _opened(data, budget)
    try:
        pages = len(document)
        if not 1 <= number <= pages:
            raise NoPage("a page that is not there")
        page = document[number - 1]
        try:
            width, height = _size(*page.get_size())
            drawn = _drawn(page, width, height, budget)
            boxes = list(_boxes(page, width, height, [one for one in marked if one[0].page == number]))[:_BOXES]
        finally:
            page.close()
    except pypdfium2.PdfiumError:
        raise Unreadable("a page that cannot be drawn") from None
    finally:
        document.close()
    _box(drawn, boxes, colours)
    return Painted(_png(drawn, boxes), width, height, pages, len(boxes))


def _opened(data: bytes, budget: Budget) -> pypdfium2.PdfDocument:
    try:
        return pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError:
        pass
    try:  # some encryption without a password only the other library opens
        with pikepdf.open(io.BytesIO(data), suppress_warnings=True) as pdf:
            out = io.BytesIO()
            pdf.save(out, encryption=False)
        budget.spend_bytes(out.tell())
        return pypdfium2.PdfDocument(out.getvalue())
    except (pikepdf.PdfError, pikepdf.PasswordError, pypdfium2.PdfiumError, NotImplementedError):
        raise Unreadable("a PDF that cannot be drawn") from None


def _size(width: float, height: float) -> tuple[int, int]:
    """Pixels across and down of a page of *width* by *height* points."""
    if not (math.isfinite(width) and math.isfinite(height) and width > 0 and height > 0):
        raise Unreadable("a page without a size")
    scale = min(max(DPI / 72, _SHORTEST / max(width, height)), WIDEST / width, TALLEST / height)
    return max(1, int(width * scale)), max(1, int(height * scale))


def _drawn(page: pypdfium2.PdfPage, width: int, height: int, budget: Budget) -> Image.Image:
    bitmap = pypdfium2.PdfBitmap.new_native(width, height, pdfium.FPDFBitmap_BGR)
    try:
        bitmap.fill_rect((255, 255, 255, 255), 0, 0, width, height)
        pdf_render.paint(bitmap, page, (0, 0, width, height), pdfium.FPDF_ANNOT, budget)
        return Image.frombuffer("RGB", (width, height), bytes(bitmap.buffer), "raw", "BGR", bitmap.stride, 1)
    finally:
        bitmap.close()


# --- where the words stand ----------------------------------------------------------------------------------------------


def _boxes(
    page: pypdfium2.PdfPage, width: int, height: int, marked: Sequence[tuple[Segment, Sequence[Stretch]]]
) -> Iterator[tuple[Box, Level]]:
    """Boxes with the level of their words."""
    if not any(stretches for _, stretches in marked):
        return
    textpage = pdfium.FPDFText_LoadPage(page)
    if not textpage:
        return
    try:
        words = _Words(page, textpage, width, height)
        seen: set[Box] = set()
        for segment, stretches in marked:
            for one in stretches:
                for box in words.of(segment, one):
                    if box not in seen:
                        seen.add(box)
                        yield box, one.finding.level
    finally:
        pdfium.FPDFText_ClosePage(textpage)


class _Words:
    """The characters of one page, and the places of stretches of them."""

    def __init__(self, page: pypdfium2.PdfPage, textpage: object, width: int, height: int) -> None:
        self._page, self._textpage, self._size = page, textpage, (width, height)
        count = min(max(0, pdfium.FPDFText_CountChars(textpage)), _CHARACTERS)
        units = (ctypes.c_ushort * (2 * count + 2))()
        length = pdfium.FPDFText_GetText(textpage, 0, count, units)
        raw = memoryview(units).cast("B")[: 2 * max(0, length - 1)].tobytes().decode("utf-16-le", "replace")
        kept = [at for at, character in enumerate(raw) if character != "\r" or raw[at + 1 : at + 2] != "\n"]
        self._raw_places = kept
        self._text = "".join(raw[at] for at in kept)

    def of(self, segment: Segment, stretch: Stretch) -> Iterator[Box]:
        """The boxes of the words of *stretch*, one a line."""
        if segment.zone is Zone.BODY and segment.text == self._text:
            yield from self._joined(self._at(stretch.start, stretch.end))
            return
        words = segment.text[stretch.start : stretch.end]
        found = list(self._like(words, segment.zone))
        if not found and segment.zone in PAGE_ZONES:
            # Words that stand apart on the page (letters of a watermark): the line that holds them.
            start = segment.text.rfind("\n", 0, stretch.start) + 1
            end = segment.text.find("\n", stretch.end)
            found = list(self._like(segment.text[start : end if end >= 0 else len(segment.text)], segment.zone))
        yield from found

    def _like(self, words: str, zone: Zone) -> Iterator[Box]:
        sought = like(words)
        if sought is None or len(words) > 1000:
            return
        for match in sought.finditer(self._text):
            for box in self._joined(self._at(match.start(), match.end())):
                if self._in_zone(box, zone):
                    yield box

    def _in_zone(self, box: Box, zone: Zone) -> bool:
        middle, height = (box[1] + box[3]) / 2, self._size[1]
        if pdfium.FPDFPage_GetRotation(self._page):
            return True  # the edge of the page as it was written is not that of the page as it is shown
        if zone is Zone.PAGE_HEADER:
            return middle <= height * _EDGE
        return middle >= height * (1 - _EDGE) if zone is Zone.PAGE_FOOTER else True

    def _joined(self, boxes: Iterator[Box]) -> list[Box]:
        """*boxes*, those that touch in one line as one: the library tells pieces of a line apart by their fonts and heights."""
        sideways = pdfium.FPDFPage_GetRotation(self._page) % 2
        joined: list[Box] = []
        for box in boxes:
            last = joined[-1] if joined else None
            if last is not None and _touch(last, box, sideways) and _touch(last, box, 1 - sideways, half=True):
                joined[-1] = (min(last[0], box[0]), min(last[1], box[1]), max(last[2], box[2]), max(last[3], box[3]))
            else:
                joined.append(box)
        return joined

    def _at(self, start: int, end: int) -> Iterator[Box]:
        places = self._raw_places
        if not 0 <= start < end <= len(places):
            return
        first = pdfium.FPDFText_GetCharIndexFromTextIndex(self._textpage, places[start])
        last = pdfium.FPDFText_GetCharIndexFromTextIndex(self._textpage, places[end - 1])
        if first < 0 or last < first:
            return
        sides = [ctypes.c_double() for _ in range(4)]
        for index in range(min(max(0, pdfium.FPDFText_CountRects(self._textpage, first, last - first + 1)), _BOXES)):
            if not pdfium.FPDFText_GetRect(self._textpage, index, *(ctypes.byref(side) for side in sides)):
                continue
            if (box := self._on_picture(*(side.value for side in sides))) is not None:
                yield box

    def _on_picture(self, left: float, top: float, right: float, bottom: float) -> Box | None:
        width, height = self._size
        corners = []
        for x, y in ((left, top), (right, bottom)):
            across, down = ctypes.c_int(), ctypes.c_int()
            if not pdfium.FPDF_PageToDevice(self._page, 0, 0, width, height, 0, x, y, ctypes.byref(across), ctypes.byref(down)):
                return None
            corners.append((across.value, down.value))
        (first, last), (upper, lower) = sorted(one[0] for one in corners), sorted(one[1] for one in corners)
        if last < 0 or lower < 0 or first >= width or upper >= height:
            return None
        reach = _LINE + _MARGIN
        return max(0, first - reach), max(0, upper - reach), min(width - 1, last + reach), min(height - 1, lower + reach)


def _touch(one: Box, other: Box, axis: int, *, half: bool = False) -> bool:
    """Whether the two overlap across (axis 0) or down (1); with *half*: by half of the smaller one."""
    common = min(one[axis + 2], other[axis + 2]) - max(one[axis], other[axis])
    return common >= (min(one[axis + 2] - one[axis], other[axis + 2] - other[axis]) / 2 if half else 0)


def _box(drawn: Image.Image, boxes: Sequence[tuple[Box, Level]], colours: Mapping[Level, tuple[str, str]]) -> None:
    """A light tint over the words and a line around them, the higher levels above."""
    pen = ImageDraw.Draw(drawn)
    for box, level in sorted(boxes, key=lambda one: one[1]):
        colour = ImageColor.getrgb(colours[level][1])[:3]
        words = drawn.crop((box[0], box[1], box[2] + 1, box[3] + 1))
        drawn.paste(Image.blend(words, Image.new("RGB", words.size, colour), _TINT), box[:2])
        pen.rectangle(box, outline=colour, width=_LINE)


def _png(drawn: Image.Image, boxes: Sequence[tuple[Box, Level]]) -> bytes:
    """*drawn* as a PNG; a page of text in 256 colours, which is a tenth as large. Raises OverLimit."""
    saved = drawn
    if drawn.getcolors(_FEW) is not None:
        saved = drawn.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        palette = saved.getpalette() or []
        for place in ((0, 0), *(box[:2] for box, _ in boxes)):  # paper and lines have exactly their colours
            index, colour = saved.getpixel(place), drawn.getpixel(place)
            if isinstance(index, int) and isinstance(colour, tuple):
                palette[3 * index : 3 * index + 3] = colour[:3]
        saved.putpalette(palette)
    out = io.BytesIO()
    saved.save(out, "PNG", compress_level=5 if saved.mode == "P" else 2)
    if out.tell() > LARGEST_PICTURE:
        raise OverLimit("a picture that is too large")
    return out.getvalue()

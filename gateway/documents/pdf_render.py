"""A page of a PDF as a grey picture, for the recognition of words.

What it is: ``paint``, and ``render``; it draws the page whole, with its annotations, so that pictures, text drawn as outlines and text
under or over pictures are all seen, as a reader of the page sees them; or the part of it in which all its pictures stand, where nothing
else is in question: a letterhead then costs a tenth of its page.
Who calls it: ``documents.pdf``, through the Scans that it hands out; ``documents.pdf_picture`` for people.
Must never: draw more pixels than ``PIXELS``, go on beyond the budget's time, or draw a page so small that its words cannot be read.
Sources: pdfium's fpdfview.h and fpdf_progressive.h; docs/inspection.md, OCR (150 to 200 dpi); hostile-inputs catalogue D07.
"""

from __future__ import annotations

import ctypes
import math

import pypdfium2
import pypdfium2.raw as pdfium

from gateway.extraction.base import Budget, OverLimit, Picture, Unreadable

DPI = 200
"""Dots to the inch of a page up to A2; Hindi and English are read alike from 150 on, and 300 take half as long again."""
PIXELS = 16_000_000
"""Pixels of a page at most: A2 at 200 dpi, A0 at 100 dpi."""
LEAST_DPI = 100
"""Dots to the inch under which the words of a page are lost."""
_SHORTEST = 600  # pixels of the longer side at least: a page of two by three inches may hold small words
_CONTINUE = 1  # FPDF_RENDER_TOBECONTINUED


Box = tuple[float, float, float, float]
"""Left, bottom, right and top in points of the page."""
_MARGIN = 6  # pixels around a part of a page


def render(data: bytes, index: int, budget: Budget, password: str | None = None, part: Box | None = None) -> Picture:
    """Page *index* (from 0) of the PDF *data*, or its *part*, white where nothing is drawn. Raises Unreadable, OverLimit."""
    budget.check_time()
    try:
        document = pypdfium2.PdfDocument(data, password=password)
    except pypdfium2.PdfiumError:
        raise Unreadable("a PDF that cannot be drawn") from None
    try:
        if not 0 <= index < len(document):
            raise Unreadable("a page that is not there")
        page = document[index]
        try:
            return _draw(page, budget, part)
        finally:
            page.close()
    except pypdfium2.PdfiumError:
        raise Unreadable("a page that cannot be drawn") from None
    finally:
        document.close()


def dimensions(width: float, height: float) -> tuple[int, int, int]:
    """Pixels across and down, and dpi, for a page of *width* by *height* points. Raises OverLimit where it is too large."""
    if not (math.isfinite(width) and math.isfinite(height) and width > 0 and height > 0):
        raise Unreadable("a page without a size")
    scale = max(DPI / 72, _SHORTEST / max(width, height))
    scale = min(scale, math.sqrt(PIXELS / (width * height)))
    if scale * 72 < LEAST_DPI:
        raise OverLimit("a page that is too large to be read")
    return max(1, int(width * scale)), max(1, int(height * scale)), int(scale * 72)


def _within(page: pypdfium2.PdfPage, width: int, height: int, part: Box) -> tuple[int, int, int, int]:
    """Left, top, width and height of *part* in pixels, for the page drawn *width* by *height*, however it is turned."""
    corners = []
    for x, y in ((part[0], part[1]), (part[2], part[3])):
        across, down = ctypes.c_int(), ctypes.c_int()
        if not pdfium.FPDF_PageToDevice(page, 0, 0, width, height, 0, x, y, ctypes.byref(across), ctypes.byref(down)):
            raise Unreadable("a page that cannot be drawn")
        corners.append((across.value, down.value))
    left, right = (min(max(one, 0), width) for one in sorted(corner[0] for corner in corners))
    top, bottom = (min(max(one, 0), height) for one in sorted(corner[1] for corner in corners))
    left, top = max(0, left - _MARGIN), max(0, top - _MARGIN)
    return left, top, max(1, min(width, right + _MARGIN) - left), max(1, min(height, bottom + _MARGIN) - top)


def _draw(page: pypdfium2.PdfPage, budget: Budget, part: Box | None) -> Picture:
    across, down, dpi = dimensions(*page.get_size())
    left, top, width, height = _within(page, across, down, part) if part else (0, 0, across, down)
    bitmap = pypdfium2.PdfBitmap.new_native(width, height, pdfium.FPDFBitmap_Gray)
    try:
        bitmap.fill_rect((255, 255, 255, 255), 0, 0, width, height)
        paint(bitmap, page, (-left, -top, across, down), pdfium.FPDF_ANNOT | pdfium.FPDF_GRAYSCALE, budget)
        octets, stride = bytes(bitmap.buffer), bitmap.stride
    finally:
        bitmap.close()
    if stride != width:
        octets = b"".join(octets[row * stride : row * stride + width] for row in range(height))
    return Picture(width, height, octets, dpi)


def paint(bitmap: pypdfium2.PdfBitmap, page: pypdfium2.PdfPage, place: tuple[int, int, int, int], flags: int, budget: Budget) -> None:
    """Draws *page* onto *bitmap*: left, top, width and height of *place* in pixels. Raises OverLimit, Unreadable."""
    late = False

    def pause(_: object) -> int:
        nonlocal late
        late = budget.seconds_left <= 0
        return late

    asked = pdfium.IFSDK_PAUSE(version=1, NeedToPauseNow=_PAUSE(pause))
    state = pdfium.FPDF_RenderPageBitmap_Start(bitmap, page, *place, 0, flags, ctypes.byref(asked))
    try:
        if late or state == _CONTINUE:
            raise OverLimit("it takes too long to draw")
        if state != pdfium.FPDF_RENDER_DONE:
            raise Unreadable("a page that cannot be drawn")
    finally:
        pdfium.FPDF_RenderPage_Close(page)


_PAUSE = dict(pdfium.IFSDK_PAUSE._fields_)["NeedToPauseNow"]

"""A page of a PDF as a grey picture, for the recognition of words.

What it is: ``render``; it draws the page whole, with its annotations, so that pictures, text drawn as outlines and text under or over
pictures are all seen, as a reader of the page sees them.
Who calls it: ``documents.pdf``, through the Scans that it hands out.
Must never: draw more pixels than ``PIXELS``, go on beyond the budget's time, or draw a page so small that its words cannot be read.
Sources: pdfium's fpdfview.h and fpdf_progressive.h; reference/inspection.md, OCR (150 to 200 dpi); hostile-inputs catalogue D07.
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


def render(data: bytes, index: int, budget: Budget, password: str | None = None) -> Picture:
    """Page *index* (from 0) of the PDF *data*, white where nothing is drawn. Raises Unreadable, OverLimit."""
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
            return _draw(page, budget)
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


def _draw(page: pypdfium2.PdfPage, budget: Budget) -> Picture:
    width, height, dpi = dimensions(*page.get_size())
    bitmap = pypdfium2.PdfBitmap.new_native(width, height, pdfium.FPDFBitmap_Gray)
    try:
        bitmap.fill_rect((255, 255, 255, 255), 0, 0, width, height)
        late = False

        def pause(_: object) -> int:
            nonlocal late
            late = budget.seconds_left <= 0
            return late

        asked = pdfium.IFSDK_PAUSE(version=1, NeedToPauseNow=_PAUSE(pause))
        flags = pdfium.FPDF_ANNOT | pdfium.FPDF_GRAYSCALE
        state = pdfium.FPDF_RenderPageBitmap_Start(bitmap, page, 0, 0, width, height, 0, flags, ctypes.byref(asked))
        try:
            if late or state == _CONTINUE:
                raise OverLimit("it takes too long to draw")
            if state != pdfium.FPDF_RENDER_DONE:
                raise Unreadable("a page that cannot be drawn")
        finally:
            pdfium.FPDF_RenderPage_Close(page)
        octets, stride = bytes(bitmap.buffer), bitmap.stride
    finally:
        bitmap.close()
    if stride != width:
        octets = b"".join(octets[row * stride : row * stride + width] for row in range(height))
    return Picture(width, height, octets, dpi)


_PAUSE = dict(pdfium.IFSDK_PAUSE._fields_)["NeedToPauseNow"]

"""The PDF reader: the text of each page, and everything that is no page text.

What it is: pdfium for the pages (fastest by ten times), pikepdf for annotations, forms, metadata and embedded files.
Who calls it: ``content.walk`` through the table.
Must never: stop at the last revision (older ones stay readable in the file); call a file encrypted because a library says so;
call a page read that shows a picture only.
Sources: ISO 32000-2; reference/inspection.md sections 2 and "Encryption details"; hostile-inputs catalogue D07-D09, E09, E10.
"""

from __future__ import annotations

import ctypes
import io
import re
from array import array
from typing import Any

import pikepdf
import pypdfium2 as pdfium
import pypdfium2.raw as raw

from gateway.content import pdf_objects, pdf_protection
from gateway.content.base import Budget, Child, Found, OverLimit, Piece, Unreadable, join_reasons
from gateway.content.needle import Needle
from gateway.protection import Protection, ProtectionState
from gateway.text.markings import Segment
from gateway.verdict import LeafState, Zone

_EDGE = 0.10  # of the page's height: where headers and footers stand
_PAGES = 20_000
_TEXT_CAP = 64_000_000  # characters
_REVISIONS = 10
_CLAIMS_ENCRYPTION = re.compile(rb"/Encrypt\s*(?:\d+\s+\d+\s+R|<<)")
_ENCRYPT, _END, _STANDARD = Needle(b"/Encrypt"), Needle(b"startxref"), Needle(b"/Standard")
_ENCRYPTION = re.compile(rb"/Filter\s*/Standard\b[^<>]{0,2000}/[OPRUV]\b")
_STARTXREF = re.compile(rb"startxref\s+\d+\s+%%EOF[\r\n]*")
_STATE = {ProtectionState.STRONG: LeafState.OPAQUE}
_FORM_DEPTH = 4


def _plain(function: Any, result: Any, *arguments: Any) -> Any:
    """A function of the library with addresses for its pointers: objects for them cost more than the calls."""
    return ctypes.CFUNCTYPE(result, *arguments)(ctypes.cast(function, ctypes.c_void_p).value or 0)


_KIND = _plain(raw.FPDFPageObj_GetType, ctypes.c_int, ctypes.c_void_p)
_PAGE = (
    _plain(raw.FPDFPage_CountObjects, ctypes.c_int, ctypes.c_void_p),
    _plain(raw.FPDFPage_GetObject, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int),
)
_FORM = (
    _plain(raw.FPDFFormObj_CountObjects, ctypes.c_int, ctypes.c_void_p),
    _plain(raw.FPDFFormObj_GetObject, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_ulong),
)


def extract(piece: Piece, budget: Budget) -> Found:
    """Text, strings and embedded files of the PDF, or its protection when no empty password opens it."""
    data = piece.data
    try:
        pdf = pikepdf.open(io.BytesIO(data), suppress_warnings=True)
    except pikepdf.PasswordError:
        document = _open_pdfium(data)
        return _half_open(data, document, budget) if document else _closed(data, budget)
    except (pikepdf.PdfError, NotImplementedError) as error:
        if _claims_encryption(data):
            return _unproved(data, budget)
        raise Unreadable("a PDF that is broken") from error
    with pdf:
        encrypted = pdf.is_encrypted
        if not encrypted and _claims_encryption(data):
            return _unproved(data, budget)
        objects = pdf_objects.read(pdf, budget)
        document = _open_pdfium(data)
        if document is None:
            document = _open_pdfium(_without_encryption(pdf, budget)) if encrypted else None
            if document is None:
                raise Unreadable("a PDF that is broken")
    pages = _pages(document, budget)
    older = _older_revisions(data, budget)
    protection = Protection(scheme="pdf", reason="it opens without a password") if encrypted else Protection()
    children = objects.children + ((pages.pictures,) if pages.pictures else ())
    return Found(
        pages.segments + older + objects.segments,
        children,
        LeafState.SUSPECT if pages.reason else LeafState.INSPECTED,
        join_reasons(pages.reason, objects.note, protection.reason),
        protection,
        objects.properties,
    )


def _claims_encryption(data: bytes) -> bool:
    """Whether a trailer names an encryption dictionary, or such a dictionary stands in a file that lost its trailer."""
    if _ENCRYPT.within(data) and _CLAIMS_ENCRYPTION.search(data):
        return True
    return _STANDARD.within(data) and _ENCRYPTION.search(data) is not None


def _open_pdfium(data: bytes) -> pdfium.PdfDocument | None:
    try:
        return pdfium.PdfDocument(data, autoclose=True)
    except pdfium.PdfiumError:
        return None


def _without_encryption(pdf: pikepdf.Pdf, budget: Budget) -> bytes:
    out = io.BytesIO()
    pdf.save(out, encryption=False)
    budget.spend_bytes(out.tell())
    return out.getvalue()


def _closed(data: bytes, budget: Budget) -> Found:
    try:
        protection = pdf_protection.assess(data, budget)
    except OverLimit:
        raise
    except Unreadable:
        return _unproved(data, budget)
    state = _STATE.get(protection.state, LeafState.SUSPECT)
    segments = _as_if_plain(data, budget) if protection.state is ProtectionState.UNVERIFIABLE else ()
    return Found(segments, state=state, reason=protection.reason, protection=protection, lock=pdf_protection.lock(data))


def _unproved(data: bytes, budget: Budget) -> Found:
    """A file that claims encryption and that no reader can open for another reason than a missing password."""
    reason = "a PDF whose encryption entry is broken"
    protection = Protection(ProtectionState.UNVERIFIABLE, "pdf", reason=reason)
    return Found(_as_if_plain(data, budget), state=LeafState.SUSPECT, reason=reason, protection=protection)


def _as_if_plain(data: bytes, budget: Budget) -> tuple[Segment, ...]:
    """What stands in the clear in a file that claims encryption: evidence, never a reason to call it read."""
    stripped = _CLAIMS_ENCRYPTION.sub(lambda match: match[0].replace(b"/Encrypt", b"/Enc_ypt"), data)
    try:
        with pikepdf.open(io.BytesIO(stripped), suppress_warnings=True) as pdf:
            segments = pdf_objects.read(pdf, budget).segments
        document = _open_pdfium(stripped)
        return segments if document is None else segments + _pages(document, budget).segments
    except Exception:  # the libraries fail in many ways on such a file; it is suspect whatever comes of it
        return ()


def _half_open(data: bytes, document: pdfium.PdfDocument, budget: Budget) -> Found:
    """The pages open without a password, something else does not: what can be read is evidence, the rest is not clean."""
    pages = _pages(document, budget)
    return Found(
        pages.segments,
        (pages.pictures,) if pages.pictures else (),
        LeafState.SUSPECT,
        "its pages open without a password, but forms and embedded files could not be read",
        Protection(scheme="pdf", reason="its pages open without a password"),
        lock=pdf_protection.lock(data),
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


class _Pages:
    """What the pages gave."""

    def __init__(self) -> None:
        self.buffer = _Buffer()
        self.parts: list[Segment] = []
        self.pictured: list[int] = []
        self.reason = ""

    @property
    def segments(self) -> tuple[Segment, ...]:
        return tuple(self.parts)

    @property
    def pictures(self) -> Child | None:
        """One leaf for all the pictures, so that a scan is not called read."""
        if not self.pictured:
            return None
        first = ", ".join(map(str, self.pictured[:5])) + (" …" if len(self.pictured) > 5 else "")
        reason = f"pictures on {len(self.pictured)} pages ({first}): there is no reader for them"
        return Child("pictures", declared="image/*", size=0, state=LeafState.UNINSPECTABLE, reason=reason)


def _pages(document: pdfium.PdfDocument, budget: Budget) -> _Pages:
    found = _Pages()
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


def _page(page: ctypes.c_void_p, number: int, total: int, found: _Pages) -> int:
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
        if text.strip():
            found.parts.append(Segment(text, Zone.BODY, number, total))
            _edges(page, textpage, number, total, found, 2 * count)
    finally:
        raw.FPDFText_ClosePage(textpage)
    if _has_picture(ctypes.cast(page, ctypes.c_void_p).value, 0) or (not text.strip() and raw.FPDFPage_CountObjects(page) > 0):
        found.pictured.append(number)
    return int(count)


def _edges(page: ctypes.c_void_p, textpage: ctypes.c_void_p, number: int, total: int, found: _Pages, most: int) -> None:
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


def _has_picture(container: int | None, depth: int) -> bool:
    """Whether the page or form at the address *container* shows a picture. Forms nested deeper than the limit count as pictures."""
    if depth > _FORM_DEPTH:
        return True
    count_of, item_of = _FORM if depth else _PAGE
    image, form = raw.FPDF_PAGEOBJ_IMAGE, raw.FPDF_PAGEOBJ_FORM
    for index in range(count_of(container)):
        item = item_of(container, index)
        kind = _KIND(item)
        if kind == image or (kind == form and _has_picture(item, depth + 1)):
            return True
    return False


def _older_revisions(data: bytes, budget: Budget) -> tuple[Segment, ...]:
    """The page text of the file as it was before each incremental update."""
    ends = [match.end() for at in _END.places(data) if (match := _STARTXREF.match(data, at))]
    if data.find(b"/Linearized", 0, 2048) >= 0:
        ends = ends[1:]  # the first end of a linearized file is not a revision
    if len(ends) > _REVISIONS:
        raise OverLimit("it has more revisions than the limit")
    segments: list[Segment] = []
    for end in ends[:-1]:
        older = _open_pdfium(data[:end])
        if older is not None:
            segments.extend(_pages(older, budget).segments)
    return tuple(segments)

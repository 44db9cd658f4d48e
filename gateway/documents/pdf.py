"""The PDF reader: the text of each page, and everything that is no page text.

What it is: pdfium for the pages (fastest by ten times), pikepdf for annotations, forms, metadata and embedded files.
Who calls it: ``content.walk`` through the table.
Must never: stop at the last revision (older ones stay readable in the file); call a file encrypted because a library says so;
call a page read that shows a picture only.
Sources: ISO 32000-2; docs/inspection.md; hostile-inputs catalogue D07-D09, E09, E10.
"""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pikepdf
import pypdfium2 as pdfium

from gateway.documents import pdf_content, pdf_objects, pdf_pages, pdf_protection
from gateway.extraction.base import Budget, Child, Found, OverLimit, Piece, Unreadable, join_reasons
from gateway.extraction.needle import Needle
from gateway.protection import Protection, ProtectionState
from gateway.text.markings import Segment
from gateway.verdict import LeafState

_REVISIONS = 10
_LONG = 2_000_000  # octets from which objects are counted before any library does
_CLAIMS_ENCRYPTION = re.compile(rb"/Encrypt\s*(?:\d+\s+\d+\s+R|<<)")
_ENCRYPT, _END, _STANDARD = Needle(b"/Encrypt"), Needle(b"startxref"), Needle(b"/Standard")
_ENCRYPTION = re.compile(rb"/Filter\s*/Standard\b[^<>]{0,2000}/[OPRUV]\b")
_STARTXREF = re.compile(rb"startxref\s+\d+\s+%%EOF[\r\n]*")
_STATE = {ProtectionState.STRONG: LeafState.OPAQUE}


def extract(piece: Piece, budget: Budget) -> Found:
    """Text, strings and embedded files of the PDF, or its protection when no empty password opens it."""
    data = piece.data
    if len(data) > _LONG and data.count(b" obj") > pdf_objects.MOST:
        raise OverLimit("it holds more objects than the limit")
    try:
        pdf = pikepdf.open(io.BytesIO(data), suppress_warnings=True)
    except pikepdf.PasswordError:
        document = _open_pdfium(data)
        return _half_open(data, document, budget) if document else _closed(data, budget)
    except (pikepdf.PikepdfError, NotImplementedError) as error:
        if _claims_encryption(data):
            return _unproved(data, budget)
        raise Unreadable("a PDF that is broken") from error
    with pdf:
        encrypted = pdf.is_encrypted
        if not encrypted and _claims_encryption(data):
            return _unproved(data, budget)
        objects = pdf_objects.read(pdf, budget)
        document, shown = _open_pdfium(data), data
        if document is None and encrypted:
            shown = _without_encryption(pdf, budget)
            document = _open_pdfium(shown)
        if document is None:
            raise Unreadable("a PDF that is broken")
        elsewhere, drawn = _elsewhere(pdf, objects, budget)
        layers = _hides_layers(pdf)
    pages = pdf_pages.read(document, budget, legacy=objects.legacy, masks=objects.contents.masks, tableless=objects.contents.tableless)
    if pages.blank and objects.contents.damaged:
        pages.reason = pages.reason or "a page whose content is damaged"
    protection = Protection(scheme="pdf", reason="it opens without a password") if encrypted else Protection()
    if layers or objects.contents.unreadable:
        pages.garbled = list(range(1, len(document) + 1))
    pictures = pages.pictures(shown, len(document))
    return Found(
        pages.segments + _older_revisions(data, budget) + objects.segments + elsewhere,
        objects.children + ((pictures,) if pictures else ()) + drawn,
        LeafState.SUSPECT if pages.reason else LeafState.INSPECTED,
        join_reasons(pages.reason, objects.note, protection.reason),
        protection,
        objects.properties,
        active=objects.active,
    )


def _hides_layers(pdf: pikepdf.Pdf) -> bool:
    """Whether layers are off when the file is opened: a word may then lose letters that stand in its text."""
    layers = pdf.Root.get("/OCProperties")
    shown = layers.get("/D") if isinstance(layers, pikepdf.Dictionary) else None
    if not isinstance(shown, pikepdf.Dictionary):
        return False
    off = shown.get("/OFF")
    return (isinstance(off, pikepdf.Array) and len(off) > 0) or shown.get("/BaseState") == "/OFF"


def _elsewhere(pdf: pikepdf.Pdf, objects: pdf_objects.Objects, budget: Budget) -> tuple[tuple[Segment, ...], tuple[Child, ...]]:
    """What is drawn, but not by the pages themselves; and what is drawn where another text is said to stand. Changes *pdf*."""
    segments: list[Segment] = []
    children: tuple[Child, ...] = ()
    if objects.contents.appearances:
        octets, zones = pdf_content.apart(pdf, objects.contents, budget)
        document = _open_pdfium(octets)
        if document is None:
            raise Unreadable("a PDF with a damaged annotation")
        found = pdf_pages.read(document, budget, legacy=objects.legacy, masks=objects.contents.masks)
        segments += [Segment(one.text, zones[one.page - 1], font=one.font)
                     for one in found.segments if one.zone not in pdf_pages.EDGES]  # fmt: skip
        letters = {number for number, place in enumerate(objects.contents.appearances, 1) if place in objects.contents.letters}
        found.pictured, found.garbled = [one for one in found.pictured if one not in letters], []
        if (pictures := found.pictures(octets, len(zones))) is not None:
            children = (replace(pictures, name="pictures apart"),)
    if objects.contents.masked:
        document = _open_pdfium(pdf_content.unmasked(pdf, objects.contents, budget))
        if document is None:
            raise Unreadable("a PDF that is broken")
        segments += pdf_pages.read(document, budget, legacy=objects.legacy, masks=objects.contents.masks).segments
    return tuple(segments), children


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
    try:
        pdf.save(out, encryption=False, fix_metadata_version=False)  # metadata that are broken stay so: they are read as they are
    except (pikepdf.PikepdfError, NotImplementedError) as error:
        raise Unreadable("a PDF that is broken") from error
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
        return segments if document is None else segments + pdf_pages.read(document, budget).segments
    except Exception:  # the libraries fail in many ways on such a file; it is suspect whatever comes of it
        return ()


def _half_open(data: bytes, document: pdfium.PdfDocument, budget: Budget) -> Found:
    """The pages open without a password, something else does not: what can be read is evidence, the rest is not clean."""
    pages = pdf_pages.read(document, budget)
    pictures = pages.pictures(data, len(document))
    return Found(
        pages.segments,
        (pictures,) if pictures else (),
        LeafState.SUSPECT,
        "its pages open without a password, but forms and embedded files could not be read",
        Protection(scheme="pdf", reason="its pages open without a password"),
        lock=pdf_protection.lock(data),
    )


def _older_revisions(data: bytes, budget: Budget) -> tuple[Segment, ...]:
    """The page text and the strings of the file as it was before each incremental update."""
    ends = [match.end() for at in _END.places(data) if (match := _STARTXREF.match(data, at))]
    if data.find(b"/Linearized", 0, 2048) >= 0:
        ends = ends[1:]  # the first end of a linearized file is not a revision
    if len(ends) > _REVISIONS:
        raise OverLimit("it has more revisions than the limit")
    segments: list[Segment] = []
    for end in ends[:-1]:
        octets = data[:end]
        try:
            with pikepdf.open(io.BytesIO(octets), suppress_warnings=True) as pdf:
                objects = pdf_objects.read(pdf, budget)
        except pikepdf.PikepdfError:
            continue  # no file by itself: its objects stand in the whole file too
        segments += objects.segments
        older = _open_pdfium(octets)
        if older is not None:
            segments += pdf_pages.read(older, budget, legacy=objects.legacy, masks=objects.contents.masks).segments
    return tuple(segments)

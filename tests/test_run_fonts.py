"""Hindi in the letters of a legacy font, in documents as programs write them: what the font shows is read, with its zone."""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Callable
from pathlib import Path

import docx
import openpyxl
import pptx
import pytest
from docx.oxml.ns import qn
from openpyxl.cell.rich_text import CellRichText, TextBlock
from openpyxl.cell.text import InlineFont
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen import canvas

from gateway.config import Limits
from gateway.documents import ooxml_text, run_fonts
from gateway.documents.run_fonts import OdfRuns, Runs
from gateway.extraction.base import Budget, Unreadable
from gateway.levels import Level
from gateway.office import doc
from gateway.office.compound import Compound
from gateway.office.ole_parts import Parts
from gateway.verdict import Confidence, Finding, Zone
from tests.content_mail import attached

WORD, SHOWN, FONT = "xksiuh;", "गोपनीय", "Kruti Dev 010"
FIXTURES = Path(__file__).parent / "fixtures" / "documents"
LIBREOFFICE = (
    "legacy.odt", "legacy.fods", "legacy.ods", "legacy.odp", "legacy-style.odt", "legacy.doc", "legacy-style.doc", "legacy.rtf",
    "legacy-style.rtf",
)  # fmt: skip


def told(data: bytes, name: str) -> list[Finding]:
    """What is found in the letters that the font shows."""
    return [one for one in attached(data, name).findings if one.text == SHOWN]


def packed(document: object) -> bytes:
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def _run() -> bytes:
    document = docx.Document()
    document.add_paragraph("an ordinary paragraph")
    document.add_paragraph().add_run(WORD).font.name = FONT
    return packed(document)


def _split_runs() -> bytes:
    document = docx.Document()
    paragraph = document.add_paragraph()
    for piece in (WORD[:3], WORD[3:]):
        paragraph.add_run(piece).font.name = FONT
    return packed(document)


def _default_style() -> bytes:
    document = docx.Document()
    document.styles["Normal"].font.name = FONT
    document.add_paragraph(WORD)
    return packed(document)


def _named_style() -> bytes:
    document = docx.Document()
    document.styles["Heading 1"].font.name = FONT
    document.add_heading(WORD, 1)
    return packed(document)


def _complex_script() -> bytes:
    document = docx.Document()
    run = document.add_paragraph().add_run(WORD)
    run.font.name = None
    fonts = run._r.get_or_add_rPr().get_or_add_rFonts()
    fonts.set(qn("w:cs"), FONT)
    return packed(document)


def _slide() -> bytes:
    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[5])
    run = slide.shapes.title.text_frame.paragraphs[0].add_run()
    run.text, run.font.name = WORD, "DevLys 010"
    return packed(deck)


def _cell() -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet["A1"] = WORD
    sheet["A1"].font = openpyxl.styles.Font(name=FONT)
    return packed(book)


def _rich_cell() -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet["A1"] = CellRichText("ordinary words\n", TextBlock(InlineFont(rFont=FONT), WORD))
    return packed(book)


DOCUMENTS: dict[str, tuple[Callable[[], bytes], str]] = {
    "a run": (_run, "a.docx"), "runs that split a word": (_split_runs, "a.docx"), "the default style": (_default_style, "a.docx"),
    "a named style": (_named_style, "a.docx"), "the font of complex scripts": (_complex_script, "a.docx"), "a slide": (_slide, "a.pptx"),
    "a cell": (_cell, "a.xlsx"), "a rich run of a cell": (_rich_cell, "a.xlsx"),
}  # fmt: skip


@pytest.mark.parametrize("place", sorted(DOCUMENTS))
def test_what_the_font_shows_is_read_in(place: str) -> None:
    make, name = DOCUMENTS[place]
    found = told(make(), name)
    assert found
    assert all((one.level, one.confidence) == (Level.CONFIDENTIAL, Confidence.CERTAIN) for one in found)


def test_a_page_header_stays_one() -> None:
    document = docx.Document()
    document.sections[0].header.paragraphs[0].add_run(WORD).font.name = FONT
    assert [one.zone for one in told(packed(document), "a.docx")] == [Zone.PAGE_HEADER]


def test_a_header_of_a_sheet_names_its_font_in_a_code() -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet["A1"] = "ordinary words"
    sheet.oddHeader.center.text, sheet.oddHeader.center.font, sheet.oddHeader.center.size = WORD, f"{FONT},Bold", 12
    assert [one.zone for one in told(packed(book), "a.xlsx")] == [Zone.PAGE_HEADER]


def test_a_drawn_watermark_names_its_font_in_its_style() -> None:
    part = f"<v:shape xmlns:v='v'><v:textpath style=\"font-family:&quot;{FONT}&quot;;font-size:1pt\" string='{WORD}'/></v:shape>"
    segments = ooxml_text.read("word/header1.xml", part.encode()).segments
    assert [(one.text, one.zone, one.font) for one in segments if one.font] == [(WORD, Zone.WATERMARK, FONT)]


@pytest.mark.parametrize("name", LIBREOFFICE)
def test_what_the_font_shows_is_read_in_opendocument(name: str) -> None:
    assert told((FIXTURES / name).read_bytes(), name)


def test_another_font_is_left_alone() -> None:
    document = docx.Document()
    document.add_paragraph().add_run("fof/k").font.name = FONT
    document.add_paragraph().add_run(WORD).font.name = "Arial"
    found = attached(packed(document), "a.docx")
    assert [one for one in found.findings if one.text == SHOWN] == []


def test_a_document_without_such_a_font_has_no_such_segments() -> None:
    document = docx.Document()
    document.add_paragraph(WORD)
    assert told(packed(document), "a.docx") == []


def test_the_own_font_of_a_run_counts_before_the_default() -> None:
    runs = Runs(FONT)
    for own, text in (("Arial", "one"), (None, "two"), ("+mn-lt", "three"), (FONT, "four")):
        runs.start("r", {})
        if own is not None:
            runs.start("latin", {"typeface": own})
        runs.text(text)
        runs.end("r")
    assert [one.text for one in runs.segments(Zone.BODY)] == ["twothreefour"]


def test_a_style_of_opendocument_inherits_its_font() -> None:
    runs = OdfRuns()
    runs.start("style", 1, {"style:name": "Own"})
    runs.start("text-properties", 2, {"style:font-name": "F1"})
    runs.start("style", 1, {"style:name": "Base"})
    runs.start("text-properties", 2, {"fo:font-family": "'Kruti Dev 010'"})
    runs.start("style", 1, {"style:name": "P1", "style:parent-style-name": "Base"})
    for style, text in (("P1", "shown"), ("Own", "other")):
        runs.start("p", 3, {"text:style-name": style})
        runs.text(text)
        runs.end(3)
    assert [one.text for one in runs.take(Zone.BODY)] == ["shown"]


@pytest.mark.parametrize("name", ["Kruti Dev 010", "KRUTI DEV 010", "KrutiDev010", "DevLys 010", "Devlys", "kruti dev"])
def test_every_spelling_of_the_name_is_seen(name: str) -> None:
    part = f'<w:rFonts w:ascii="{name}"/>'.encode()
    assert run_fonts.mentioned(part)
    assert run_fonts.names(b"x" * 5000 + part) == name


def test_a_part_whose_letters_are_two_octets_is_followed_too() -> None:
    part = f'<?xml version="1.0" encoding="utf-16"?><w:r xmlns:w="w"><w:rFonts w:ascii="{FONT}"/><w:t>{WORD}</w:t></w:r>'
    segments = ooxml_text.read("word/document.xml", part.encode("utf-16")).segments
    assert any(one.font == FONT for one in segments)


@pytest.mark.parametrize(("font", "letters"), [("Wingdings", ""), ("Arial", "S")])
def test_a_symbol_is_a_letter_where_its_font_holds_letters(font: str, letters: str) -> None:
    part = f'<w:p xmlns:w="w"><w:r><w:sym w:font="{font}" w:char="F053"/><w:t>ECRET</w:t></w:r></w:p>'
    assert ooxml_text.read("word/document.xml", part.encode()).segments[0].text == f"{letters}ECRET"


def test_a_page_of_a_PDF_is_read_in_its_font() -> None:
    """The program that makes PDFs subsets any TrueType font under the name it is given."""
    source = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")
    if not source.exists():
        pytest.skip("fonts-dejavu-core is not installed")
    font = TTFont("KrutiDev010", str(source))
    font.face.name = b"KrutiDev010"
    pdfmetrics.registerFont(font)
    out = io.BytesIO()
    sheet = canvas.Canvas(out)
    sheet.setFont("Helvetica", 12)
    sheet.drawString(72, 500, "ordinary words")
    sheet.setFont("KrutiDev010", 12)
    sheet.drawString(72, 700, WORD)
    sheet.save()
    assert told(out.getvalue(), "a.pdf")


# --- Word 97 ------------------------------------------------------------------------------------------------------------


def _legacy_text(data: bytes) -> list[tuple[str, Zone]]:
    """Text and zone of the segments of a Word document that are in a legacy font."""
    budget = Budget(Limits())
    parts = Parts(Compound.parse(data, budget))
    doc.read(Compound.parse(data, budget), parts, budget)
    return [(one.text, one.zone) for one in parts.segments if one.font]


def _patched(change: Callable[[bytearray, bytearray], None]) -> bytes:
    """legacy.doc with *change* made to its main stream and its table stream."""
    compound = Compound.parse((FIXTURES / "legacy.doc").read_bytes(), Budget(Limits()))
    main, table = bytearray(compound.get("WordDocument")), bytearray(compound.get("1Table"))
    change(main, table)
    return compound.cut(instead={("WordDocument",): bytes(main), ("1Table",): bytes(table)})


def _place(main: bytearray, number: int) -> int:
    """Where the offset of the table *number* stands in the header of a Word document."""
    return 154 + 8 * number


@pytest.mark.parametrize("name", ["legacy.doc", "legacy.rtf"])
def test_headers_of_older_formats_keep_their_zone(name: str) -> None:
    zones = {one.zone for one in told((FIXTURES / name).read_bytes(), name)}
    assert zones == {Zone.BODY_FIRST, Zone.PAGE_HEADER}


def test_only_what_is_in_the_font_is_read_so_in_a_word_document() -> None:
    assert _legacy_text((FIXTURES / "legacy.doc").read_bytes()) == [(WORD, Zone.BODY), (WORD, Zone.PAGE_HEADER)]
    assert _legacy_text(_patched(lambda main, table: None)) == [(WORD, Zone.BODY), (WORD, Zone.PAGE_HEADER)]


def test_D01_runs_that_are_broken_hide_nothing() -> None:
    def no_runs(main: bytearray, table: bytearray) -> None:
        main[_place(main, 12) + 4 : _place(main, 12) + 8] = bytes(4)

    def page_beyond_the_end(main: bytearray, table: bytearray) -> None:
        at, length = struct.unpack_from("<II", main, _place(main, 12))
        table[at + length - 4 : at + length] = b"\xff\xff\x3f\0"

    for change in (no_runs, page_beyond_the_end):
        found = _legacy_text(_patched(change))
        assert (f"ordinary words\n{WORD}", Zone.BODY) in found


def test_a_word_document_without_such_a_font_has_no_text_in_one() -> None:
    def another_font(main: bytearray, table: bytearray) -> None:
        name = "Kruti Dev".encode("utf-16-le")
        assert name in table
        table[:] = table.replace(name, "Verdanara".encode("utf-16-le"))

    assert _legacy_text(_patched(another_font)) == []


def test_D01_damaged_formatting_costs_no_more_than_the_document() -> None:
    rng = random.Random(3)

    def damage(main: bytearray, table: bytearray) -> None:
        for stream in (main, table):
            for _ in range(12):
                stream[rng.randrange(512, len(stream))] = rng.randrange(256)

    for _ in range(60):
        data = _patched(damage)
        try:
            _legacy_text(data)
        except (Unreadable, struct.error, IndexError):
            continue  # ``walk`` calls each of them a broken document

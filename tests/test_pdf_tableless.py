"""Pages of a PDF whose glyphs no table turns into letters are not called read; ordinary documents are."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pikepdf
import pytest
from pikepdf import Dictionary, Name
from reportlab.pdfgen import canvas

from gateway.verdict import LeafState
from tests.content_mail import CORPUS, attached

FIXTURES = Path(__file__).parent / "fixtures"
CHROMIUM = FIXTURES / "printed" / "chromium.pdf"
ORDINARY = (
    *sorted((FIXTURES / "printed").glob("*.pdf")),
    *(FIXTURES / "pdf" / name for name in ("plain.pdf", "libreoffice-plain.pdf", "aes128-owner-only.pdf",
                                           "aes256-owner-only.pdf", "pikepdf-r4.pdf", "libreoffice-open.pdf")),
    *(CORPUS / name for name in ("annotated.pdf", "form.pdf", "page.pdf", "pdf-attachment.pdf", "pdf-linearized.pdf",
                                 "pdf-object-streams.pdf", "pdf-owner-only.pdf", "revised.pdf")),
)  # fmt: skip


def undecoded(data: bytes) -> bool:
    """Whether pages are called pictured or without a meaning."""
    return any(leaf.path.endswith("/pictures") and "meaning" in leaf.reason for leaf in attached(data, "a.pdf").leaves)


def _fonts(pdf: pikepdf.Pdf) -> Iterator[pikepdf.Object]:
    for item in pdf.objects:
        if isinstance(item, pikepdf.Dictionary) and item.get("/Subtype") == "/Type0":
            yield item


def _saved(pdf: pikepdf.Pdf) -> bytes:
    out = io.BytesIO()
    pdf.save(out)
    return out.getvalue()


def _without(*, one: bool = False, instead: object = None) -> bytes:
    """What Chromium prints, with the tables of its fonts taken out or made useless."""
    with pikepdf.open(CHROMIUM) as pdf:
        for font in list(_fonts(pdf))[-1 if one else 0 :]:
            if instead is None:
                del font["/ToUnicode"]
            else:
                font.ToUnicode = instead(pdf) if callable(instead) else instead
        return _saved(pdf)


def _line_in_a_font_without_a_table(line: str, words: str = "An ordinary line of an ordinary letter. ") -> bytes:
    """A long page of ordinary text, and *line* by the numbers of its glyphs alone."""
    out = io.BytesIO()
    page = canvas.Canvas(out)
    for number in range(45):
        page.drawString(40, 800 - 16 * number, words * 2)
    page.save()
    with pikepdf.open(CHROMIUM) as source, pikepdf.open(io.BytesIO(out.getvalue())) as pdf:
        font = pdf.copy_foreign(max(_fonts(source), key=lambda font: len(font.DescendantFonts[0].get("/W", ()))))
        del font["/ToUnicode"]
        pdf.pages[0].Resources.Font["/F9"] = font
        glyphs = "".join(f"{ord(letter) - 29:04x}" for letter in line)
        pdf.pages[0].contents_add(f"BT /F9 14 Tf 1 0 0 1 72 50 Tm <{glyphs}> Tj ET".encode())
        return _saved(pdf)


@pytest.mark.parametrize(
    "instead",
    [None, Name("/Identity-H"), lambda pdf: pdf.make_stream(b""), lambda pdf: pdf.make_stream(b"not a table"), Dictionary()],
    ids=["none", "a name", "empty", "no table", "a dictionary"],
)
def test_D07_pages_in_fonts_without_a_table_of_letters_are_not_read(instead: object) -> None:
    assert undecoded(_without(instead=instead))


def test_D07_one_line_among_many_is_enough() -> None:
    for line in ("TOP SECRET", "SECRET"):
        assert undecoded(_line_in_a_font_without_a_table(line)), line


def test_a_bullet_is_not_a_word() -> None:
    for line in ("A", "AAAAAAAA", "A B"):
        assert not undecoded(_line_in_a_font_without_a_table(line)), line


@pytest.mark.parametrize("path", ORDINARY, ids=lambda path: path.name)
def test_an_ordinary_document_is_read(path: Path) -> None:
    assert not undecoded(path.read_bytes())


def test_thirty_ordinary_documents_stand_here() -> None:
    assert len(ORDINARY) >= 30
    for path in sorted((FIXTURES / "printed").glob("*.pdf")):
        assert {leaf.state for leaf in attached(path.read_bytes(), "a.pdf").leaves} == {LeafState.INSPECTED}, path.name

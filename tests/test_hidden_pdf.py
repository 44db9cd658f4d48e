"""Words that a page of a PDF shows, and that its text does not say: drawn, apart from the page, or with letters that nobody sees."""

from __future__ import annotations

import io
from collections.abc import Callable

import pikepdf
import pypdfium2 as pdfium
import pytest
from pikepdf import Array, Dictionary, Name, String
from PIL import Image
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen import canvas

from gateway.config import Limits
from gateway.documents import pdf_pages
from gateway.extraction.base import Budget
from gateway.verdict import Inspection, LeafState
from tests.content_mail import attached, leaf

_WORDS = "the canteen opens at nine and closes at five every day of the week"
_LETTER = "{x} 760 m {x} 774 l {y} 774 l {y} 772 l {z} 772 l {z} 768 l {y} 768 l {y} 766 l {z} 766 l {z} 760 l h f\n"
_DRAWN = "".join(_LETTER.format(x=50 + 12 * at, y=58 + 12 * at, z=52 + 12 * at) for at in range(6)).encode()
_GREY = b"\xff" * 300 * 60


def _page(content: bytes = b"", change: Callable[[pikepdf.Pdf, pikepdf.Page], None] | None = None) -> Inspection:
    """A page of ordinary text, with *content* and what *change* makes of it, sent as an attachment."""
    pdf = pikepdf.new()
    pdf.add_blank_page(page_size=(595, 842))
    page = pdf.pages[0]
    font = Dictionary(Type=Name.Font, Subtype=Name.Type1, BaseFont=Name.Helvetica, Encoding=Name.WinAnsiEncoding)
    page.Resources = Dictionary(Font=Dictionary(F1=pdf.make_indirect(font)))
    lines = b"".join(f"BT /F1 10 Tf 50 {600 - 14 * row} Td ({_WORDS}) Tj ET\n".encode() for row in range(20))
    if change is not None:
        change(pdf, page)
    page.Contents = pdf.make_stream(lines + content)
    out = io.BytesIO()
    pdf.save(out)
    return attached(out.getvalue(), "note.pdf")


def _shown(words: str, x: float = 50, size: float = 12, font: str = "F1") -> bytes:
    return f"BT /{font} {size} Tf {x} 760 Td ({words}) Tj ET\n".encode()


def _not_clean(found: Inspection) -> bool:
    return any(one.state is not LeafState.INSPECTED for one in found.leaves if one.path.startswith("2"))


def _levels(found: Inspection) -> set[str]:
    return {finding.level.name for finding in found.findings}


def test_a_page_of_ordinary_text_is_read() -> None:
    rules = b"50 700 m 500 700 l S 50 600 450 20 re S 1 0 0 rg 60 500 5 5 re f 0 g\n"
    assert not _not_clean(_page(rules))


def _picture(pdf: pikepdf.Pdf) -> pikepdf.Object:
    return pdf.make_stream(
        _GREY, Type=Name.XObject, Subtype=Name.Image, Width=300, Height=60, ColorSpace=Name.DeviceGray, BitsPerComponent=8
    )


def _form(pdf: pikepdf.Pdf, content: bytes, **more: object) -> pikepdf.Object:
    shown = Dictionary(XObject=Dictionary(I=_picture(pdf)))
    return pdf.make_stream(content, Type=Name.XObject, Subtype=Name.Form, BBox=Array([0, 0, 600, 900]), Resources=shown, **more)


_IMAGE = b"q 200 0 0 40 50 760 cm /I Do Q"


def _stamp(content: bytes) -> Callable[[pikepdf.Pdf, pikepdf.Page], None]:
    def change(pdf: pikepdf.Pdf, page: pikepdf.Page) -> None:
        look = Dictionary(N=_form(pdf, content))
        page.Annots = Array([Dictionary(Type=Name.Annot, Subtype=Name.Stamp, Rect=Array([50, 760, 250, 800]), F=4, AP=look)])

    return change


def _pattern(content: bytes) -> Callable[[pikepdf.Pdf, pikepdf.Page], None]:
    def change(pdf: pikepdf.Pdf, page: pikepdf.Page) -> None:
        tile = _form(pdf, content, PatternType=1, PaintType=1, TilingType=1, XStep=600, YStep=900)
        tile.Type = Name.Pattern
        page.Resources.Pattern = Dictionary(P=tile)

    return change


def _mask(content: bytes) -> Callable[[pikepdf.Pdf, pikepdf.Page], None]:
    def change(pdf: pikepdf.Pdf, page: pikepdf.Page) -> None:
        group = _form(pdf, content, Group=Dictionary(S=Name.Transparency, CS=Name.DeviceGray))
        page.Resources.ExtGState = Dictionary(G=Dictionary(SMask=Dictionary(S=Name.Luminosity, G=group)))

    return change


def _type3(glyph: bytes) -> Callable[[pikepdf.Pdf, pikepdf.Page], None]:
    def change(pdf: pikepdf.Pdf, page: pikepdf.Page) -> None:
        page.Resources.Font["/F3"] = Dictionary(
            Type=Name.Font, Subtype=Name.Type3, FontBBox=Array([0, 0, 900, 900]), FontMatrix=Array([0.001, 0, 0, 0.001, 0, 0]),
            CharProcs=Dictionary(a=pdf.make_stream(glyph)), Encoding=Dictionary(Differences=Array([97, Name("/a")])), FirstChar=97,
            LastChar=97, Widths=Array([900])
        )  # fmt: skip

    return change


def _hidden_layer(pdf: pikepdf.Pdf, page: pikepdf.Page) -> None:
    layer = pdf.make_indirect(Dictionary(Type=Name.OCG, Name=String("notes")))
    pdf.Root.OCProperties = Dictionary(OCGs=Array([layer]), D=Dictionary(OFF=Array([layer]), Order=Array([layer])))
    page.Resources.Properties = Dictionary(MC0=layer)


def _ink(pdf: pikepdf.Pdf, page: pikepdf.Page) -> None:
    page.Annots = Array([Dictionary(Type=Name.Annot, Subtype=Name.Ink, Rect=Array([0, 0, 90, 90]), InkList=Array([Array([1, 2, 30, 40])]))])


def _sound(pdf: pikepdf.Pdf, page: pikepdf.Page) -> None:
    sound = pdf.make_stream(b"\x00\x01" * 500, Type=Name.Sound, R=8000)
    page.Annots = Array([Dictionary(Type=Name.Annot, Subtype=Name.Sound, Rect=Array([0, 0, 90, 90]), Sound=sound)])


def _model(pdf: pikepdf.Pdf, page: pikepdf.Page) -> None:
    model = Dictionary(Type=Name.Annot, Subtype=Name("/3D"), Rect=Array([0, 0, 90, 90]))
    model["/3DD"] = pdf.make_stream(b"U3D\x00 model", Type=Name("/3D"), Subtype=Name("/U3D"))
    page.Annots = Array([model])


def _letters(table: dict[str, int]) -> Callable[[pikepdf.Pdf, pikepdf.Page], None]:
    """A font F2 that gives out letters as other characters."""

    def change(pdf: pikepdf.Pdf, page: pikepdf.Page) -> None:
        pairs = " ".join(f"<{ord(letter):02X}> <{character:04X}>" for letter, character in table.items())
        cmap = f"1 begincodespacerange <00> <FF> endcodespacerange {len(table)} beginbfchar {pairs} endbfchar".encode()
        page.Resources.Font["/F2"] = Dictionary(Type=Name.Font, Subtype=Name.Type1, BaseFont=Name.Helvetica, Encoding=Name.WinAnsiEncoding,
                                               ToUnicode=pdf.make_stream(cmap))  # fmt: skip

    return change


_PICTURES: dict[str, tuple[bytes, Callable[[pikepdf.Pdf, pikepdf.Page], None] | None]] = {
    "letters as areas": (_DRAWN, None),
    "a word as one path": (_DRAWN.replace(b"h f\n", b"h\n") + b"f\n", None),
    "letters of dots": ("".join(f"{50 + 2 * x} {760 + 2 * y} 1.5 1.5 re f\n" for x in range(12) for y in range(5)).encode(), None),
    "a picture in a stamp": (b"", _stamp(_IMAGE)),
    "letters as areas in a stamp": (b"", _stamp(_DRAWN)),
    "a picture in a pattern": (b"/Pattern cs /P scn 0 700 500 100 re f", _pattern(_IMAGE)),
    "letters as areas in a pattern": (b"/Pattern cs /P scn 0 700 500 100 re f", _pattern(_DRAWN)),
    "a picture in a mask": (b"/G gs 0 700 500 100 re f", _mask(_IMAGE)),
    "a word as one glyph": (_shown("a", font="F3"), _type3(b"900 0 0 0 900 900 d1\n" + _DRAWN)),
    "a picture of a word as one glyph": (
        _shown("a", font="F3"),
        _type3(b"900 0 0 0 900 900 d1 900 0 0 180 0 0 cm BI /W 80 /H 16 /BPC 1 /IM true ID " + b"\x0f" * 160 + b" EI")),
    "a drawing by hand": (b"", _ink),
    "a sound": (b"", _sound),
    "a model": (b"", _model),
    "a layer that is off": (_shown("SEC") + b"/OC /MC0 BDC " + _shown("xx", 75) + b"EMC " + _shown("RET", 75), _hidden_layer),
    "invisible letters": (b"BT /F1 12 Tf 50 760 Td (SEC) Tj 3 Tr (xx) Tj -13 0 Td 0 Tr ET" + _shown("RET", 75), None),
    "tiny letters": (_shown("SEC") + _shown("xx", 75, 0.5) + _shown("RET", 75), None),
    "letters given out as blanks": (_shown("SECRET", font="F2"), _letters(dict.fromkeys("SECRT", 0x20))),
    "letters given out as private ones": (_shown("SECRET", font="F2"), _letters({letter: 0xE000 + ord(letter) for letter in "SECRT"})),
}  # fmt: skip


@pytest.mark.parametrize("trick", _PICTURES)
def test_what_is_not_text_is_not_called_read(trick: str) -> None:
    content, change = _PICTURES[trick]
    assert _not_clean(_page(content, change))


def test_glyphs_that_are_letters_are_no_pictures() -> None:
    glyph = b"900 0 0 0 900 900 d1 900 0 0 900 0 0 cm BI /W 16 /H 16 /BPC 1 /IM true ID " + b"\x0f" * 32 + b" EI"
    assert leaf(_page(_shown("a", font="F3"), _type3(glyph))).state is LeafState.INSPECTED
    assert not _not_clean(_page(_shown("a", font="F3"), _type3(glyph)))


def test_a_font_that_gives_out_other_letters_than_its_encoding_says() -> None:
    lie = _letters(dict(zip("SECRT", map(ord, "MENUS"), strict=True)))
    assert "SECRET" in _levels(_page(_shown("SECRET", font="F2"), lie))
    honest = _letters({letter: ord(letter) for letter in "menu "})
    assert not _not_clean(_page(_shown("menu", font="F2"), honest))


def _field(pdf: pikepdf.Pdf, page: pikepdf.Page) -> None:
    page.Annots = Array([Dictionary(Type=Name.Annot, Subtype=Name.Widget, FT=Name.Tx, T=String("a"), V=pdf.make_stream(b"TOP SECRET"),
                                    Rect=Array([0, 0, 90, 90]))])  # fmt: skip


def _fields(pdf: pikepdf.Pdf, page: pikepdf.Page) -> None:
    page.Annots = Array([pdf.make_indirect(Dictionary(Type=Name.Annot, Subtype=Name.Widget, FT=Name.Tx, T=String(f"field {at}"),
                         V=String(letter), Rect=Array([12 * at, 0, 12 * at + 10, 12]))) for at, letter in enumerate("SECRET")])  # fmt: skip


def _template(pdf: pikepdf.Pdf, page: pikepdf.Page) -> None:
    hidden = Dictionary(Type=Name.Template, MediaBox=Array([0, 0, 595, 842]), Resources=page.Resources,
                        Contents=pdf.make_stream(_shown("TOP SECRET")))  # fmt: skip
    pdf.Root.Names = Dictionary(Templates=Dictionary(Names=Array([String("t"), pdf.make_indirect(hidden)])))


def _described(pdf: pikepdf.Pdf, page: pikepdf.Page) -> None:
    page.Metadata = pdf.make_stream(b"<x:xmpmeta><r:Description dc:title='TOP SECRET'/></x:xmpmeta>", Type=Name.Metadata, Subtype=Name.XML)


@pytest.mark.parametrize("change", [_field, _fields, _template, _described])
def test_words_that_stand_beside_the_pages(change: Callable[[pikepdf.Pdf, pikepdf.Page], None]) -> None:
    assert _levels(_page(change=change)) & {"SECRET", "TOP_SECRET"}


def _forms(shown: dict[str, bytes]) -> Callable[[pikepdf.Pdf, pikepdf.Page], None]:
    """Forms that have one list of resources, with all of them in it, as LibreOffice writes it."""

    def change(pdf: pikepdf.Pdf, page: pikepdf.Page) -> None:
        every = pdf.make_indirect(Dictionary(XObject=Dictionary(), Font=page.Resources.Font))
        for name, content in shown.items():
            every.XObject[f"/{name}"] = pdf.make_stream(
                content, Type=Name.XObject, Subtype=Name.Form, BBox=Array([0, 0, 600, 900]), Resources=every
            )
        page.Resources = every

    return change


def test_forms_with_the_resources_of_the_whole_file_do_not_hold_themselves() -> None:
    assert not _not_clean(_page(b"/A Do /B Do", _forms({"A": b"/B Do", "B": _shown("menu")})))
    for loop in ({"A": b"/B Do", "B": b"/A Do"}, {"A": b"/A Do"}, {"A": b"/#41 Do"}, {"A": b"/A%\nDo"}):
        assert _not_clean(_page(b"/A Do", _forms(loop)))


_PIE = "".join(
    f"300 300 m {300 + 70 * a} {300 + 70 * b} l "
    f"{300 + 70 * (a + c) / 1.6} {300 + 70 * (b + d) / 1.6} l {300 + 70 * c} {300 + 70 * d} l h f\n"
    for a, b, c, d in ((1, 0, 0.6, 0.8), (0.6, 0.8, -0.6, 0.8), (-0.6, 0.8, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0), (1, 0, 0.7, 0.7))
).encode()
_BARS = (
    "".join(f"{50 + 20 * at} 100 m {60 + 20 * at} 100 l {60 + 20 * at} 190 l {50 + 20 * at} 190 l h " for at in range(20)).encode() + b"f\n"
)
_CURVE = b"50 300 m " + "".join(f"{54 + 4 * at} {300 + at * 37 % 50} l " for at in range(100)).encode() + b"S\n"
_RULES = b"q 400 0 0 0.5 50 %d cm BI /W 1 /H 1 /BPC 1 /IM true ID \x00 EI Q\n"


def _sample(*, mask: bool) -> Callable[[pikepdf.Pdf, pikepdf.Page], None]:
    def change(pdf: pikepdf.Pdf, page: pikepdf.Page) -> None:
        one = pdf.make_stream(
            b"\x00", Type=Name.XObject, Subtype=Name.Image, Width=1, Height=1, ColorSpace=Name.DeviceGray, BitsPerComponent=8
        )
        if mask:
            one.SMask = _picture(pdf)
        page.Resources.XObject = Dictionary(I=one)

    return change


def test_charts_and_rules_are_no_letters() -> None:
    rules = b"".join(_RULES % (700 - 20 * row) for row in range(8))
    for drawing in (_PIE, _BARS, _CURVE, _PIE + _BARS + _CURVE, rules):
        assert not _not_clean(_page(drawing))
    assert not _not_clean(_page(_IMAGE, _sample(mask=False)))
    assert _not_clean(_page(_IMAGE, _sample(mask=True)))


@pytest.mark.parametrize(
    "drawing",
    [
        _DRAWN.replace(b"h f\n", b"h\n") + b"S\n",
        b"50 300 m " + "".join(f"{54 + 4 * at + at % 3 * 9} {300 + at * 37 % 50} l " for at in range(100)).encode() + b"S\n",
        "".join(f"{x} 760 m {x} 774 l {x} 774 m {x + 8} 774 l " for x in range(50, 134, 12)).encode() + b"S\n",
        "".join(f"q 1.5 0 0 1.5 {50 + 2 * x} {760 + 2 * y} cm BI /W 1 /H 1 /BPC 1 /IM true ID \x00 EI Q\n"
                for x in range(12) for y in range(5)).encode(),
        b"50 300 m 450 300 l 450 500 l 50 500 l 50 400 l "
        + "".join(f"{60 + 20 * at} {400 + at % 2 * 20} l " for at in range(18)).encode()
        + "".join(f"{400 - 20 * at} {400 + at % 2 * 20} l " for at in range(18)).encode() + b"50 400 l h S\n",
        b"q 0.1 0 0 0.1 0 0 cm " + _PIE + b"Q " + _DRAWN,
    ],
    ids=["outlined letters", "a word in one line", "letters of lines", "dots of single samples", "a line into a box and back",
         "small letters beside large ones"],
)  # fmt: skip
def test_letters_among_drawings_are_seen(drawing: bytes) -> None:
    assert _not_clean(_page(_PIE + _BARS + drawing))


def test_pictures_in_a_small_part_of_a_page_are_looked_at_there() -> None:
    """A letterhead costs what it shows; a second picture, or one in a form, widens the look. What is drawn is the part itself."""
    picture = Image.new("L", (60, 40), 255)
    picture.paste(0, (0, 0, 30, 40))
    looks = []
    for places in (((72.0, 700.0),), ((72.0, 700.0), (400.0, 100.0))):
        out = io.BytesIO()
        sheet = canvas.Canvas(out, pagesize=(595, 842))
        sheet.drawString(72, 600, "Minutes of the meeting of the stores section.")
        for x, y in places:
            sheet.drawImage(ImageReader(picture), x, y, 120, 80)
        sheet.save()
        budget = Budget(Limits())
        found = pdf_pages.read(pdfium.PdfDocument(out.getvalue()), budget)
        (scan,) = found.pictures(out.getvalue(), 1).scans  # type: ignore[union-attr]
        looks.append(scan.render(budget))
    part, whole = looks
    assert (whole.width, whole.height) == (1652, 2338)
    assert part.width < 360
    assert part.height < 250
    row = part.grey[part.height // 2 * part.width :][: part.width]
    assert row[part.width // 4] < 100
    assert row[3 * part.width // 4] > 200

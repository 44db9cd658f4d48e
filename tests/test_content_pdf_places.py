"""Every place of a PDF where words may stand, and what it costs to look there (hostile-inputs catalogue D07, D08, D09, E05)."""

from __future__ import annotations

import base64
import io
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pikepdf
import pytest
from pikepdf import Array, Dictionary, Name, Page, Pdf, String

from gateway.documents import pdf_filters, pdf_pages
from gateway.extraction.base import OverLimit, Piece
from gateway.levels import Level
from gateway.protection import ProtectionState
from gateway.verdict import Inspection, LeafState, Zone
from tests.content_mail import attached, inspect, leaf, mail, text, zipped
from tests.fixtures.makers.pdf import PASSWORD

FIXTURES = Path(__file__).parent / "fixtures" / "pdf"


def blank() -> tuple[Pdf, Page]:
    """A page with a font F1."""
    pdf = pikepdf.new()
    page = pdf.add_blank_page(page_size=(595, 842))
    font = pdf.make_indirect(Dictionary(Type=Name.Font, Subtype=Name.Type1, BaseFont=Name.Helvetica))
    page.Resources = Dictionary(Font=Dictionary(F1=font))
    page.Contents = pdf.make_stream(b"BT /F1 12 Tf 72 400 Td (body of the page) Tj ET")
    return pdf, page


def saved(pdf: Pdf) -> bytes:
    out = io.BytesIO()
    pdf.save(out)
    return out.getvalue()


def read(pdf: Pdf) -> Inspection:
    return attached(saved(pdf), "a.pdf")


def words(line: str, *, font: str = "F1") -> bytes:
    return f"BT /{font} 12 Tf 72 700 Td ({line}) Tj ET".encode()


def drawn(pdf: Pdf, page: Page, line: str) -> pikepdf.Object:
    """A form that shows *line*."""
    box = Array([0, 0, 200, 50])
    return pdf.make_stream(words(line), Type=Name.XObject, Subtype=Name.Form, BBox=box, Resources=Dictionary(Font=page.Resources.Font))


def annotation(pdf: Pdf, page: Page, **more: object) -> None:
    page.Annots = Array([pdf.make_indirect(Dictionary(Type=Name.Annot, Rect=Array([0, 0, 50, 50]), **more))])  # type: ignore[arg-type]


def _appearance(pdf: Pdf, page: Page) -> None:
    form = drawn(pdf, page, "planted-word")
    annotation(pdf, page, Subtype=Name.FreeText, Contents=String("something else"), AP=Dictionary(N=form))


def _state_of_a_field(pdf: Pdf, page: Page) -> None:
    form = drawn(pdf, page, "planted-word")
    annotation(pdf, page, Subtype=Name.Widget, AP=Dictionary(N=Dictionary(On=form, Off=drawn(pdf, page, "no"))))


def _pattern(pdf: Pdf, page: Page) -> None:
    cell = pdf.make_stream(words("planted-word"), Type=Name.Pattern, PatternType=1, PaintType=1, TilingType=1,
                           BBox=Array([0, 0, 99, 99]), XStep=99, YStep=99, Resources=Dictionary(Font=page.Resources.Font))  # fmt: skip
    page.Resources.Pattern = Dictionary(P1=cell)
    page.Contents = pdf.make_stream(b"/Pattern cs /P1 scn 0 0 500 500 re f")


def _type3(pdf: Pdf, page: Page) -> None:
    glyph = pdf.make_stream(b"1000 0 d0 " + words("planted-word"))
    page.Resources.Font.T3 = pdf.make_indirect(
        Dictionary(Type=Name.Font, Subtype=Name.Type3, FontBBox=Array([0, 0, 9, 9]), FontMatrix=Array([1, 0, 0, 1, 0, 0]),
                   CharProcs=Dictionary(a=glyph), Encoding=Dictionary(Type=Name.Encoding, Differences=Array([97, Name.a])),
                   FirstChar=97, LastChar=97, Widths=Array([9]), Resources=Dictionary(Font=Dictionary(F1=page.Resources.Font.F1)))
    )  # fmt: skip
    page.Contents = pdf.make_stream(words("a", font="T3"))


def _mask(pdf: Pdf, page: Page) -> None:
    group = drawn(pdf, page, "planted-word")
    group.Group = Dictionary(S=Name.Transparency, CS=Name.DeviceGray)
    page.Resources.ExtGState = Dictionary(G1=Dictionary(SMask=Dictionary(Type=Name.Mask, S=Name.Luminosity, G=group)))
    page.Contents = pdf.make_stream(b"/G1 gs 0 0 99 99 re f " + words("shown"))


def _hidden_layer(pdf: Pdf, page: Page) -> None:
    layer = pdf.make_indirect(Dictionary(Type=Name.OCG, Name=String("layer")))
    page.Resources.Properties = Dictionary(O1=layer)
    pdf.Root.OCProperties = Dictionary(OCGs=Array([layer]), D=Dictionary(OFF=Array([layer])))
    page.Contents = pdf.make_stream(b"/OC /O1 BDC " + words("planted-word") + b" EMC")


def _masked(pdf: Pdf, page: Page) -> None:
    page.Contents = pdf.make_stream(b"/Span <</ActualText (harmless)>> BDC " + words("planted-word") + b" EMC")


def _masked_by_a_property_list(pdf: Pdf, page: Page) -> None:
    page.Resources.Properties = Dictionary(P1=Dictionary(ActualText=String("harmless")))
    page.Contents = pdf.make_stream(b"/Span /P1 BDC " + words("planted-word") + b" EMC")


def _structure(key: str) -> Callable[[Pdf, Page], None]:
    def put(pdf: Pdf, page: Page) -> None:
        element = pdf.make_indirect(Dictionary({"/Type": Name.StructElem, "/S": Name.Figure, key: String("planted-word")}))
        pdf.Root.StructTreeRoot = Dictionary(Type=Name.StructTreeRoot, K=element)

    return put


def _outline(pdf: Pdf, page: Page) -> None:
    with pdf.open_outline() as outline:
        outline.root.append(pikepdf.OutlineItem("planted-word", 0))


def _page_labels(pdf: Pdf, page: Page) -> None:
    pdf.Root.PageLabels = Dictionary(Nums=Array([0, Dictionary(S=Name.D, P=String("planted-word "))]))


def _field(key: str) -> Callable[[Pdf, Page], None]:
    def put(pdf: Pdf, page: Page) -> None:
        field = pdf.make_indirect(Dictionary({"/FT": Name.Tx, "/T": String("f"), key: String("planted-word")}))
        pdf.Root.AcroForm = Dictionary(Fields=Array([field]))

    return put


def _xfa(pdf: Pdf, page: Page) -> None:
    pdf.Root.AcroForm = Dictionary(Fields=Array([]), XFA=pdf.make_stream(b"<xdp><template><text>planted-word</text></template></xdp>"))


def _rich_text(pdf: Pdf, page: Page) -> None:
    annotation(pdf, page, Subtype=Name.Text, RC=String("<body><p>planted-word</p></body>"))


def _invisible(pdf: Pdf, page: Page) -> None:
    page.Contents = pdf.make_stream(b"BT 3 Tr /F1 12 Tf 72 700 Td (planted-word) Tj ET " + words("shown"))


def _outside_of_the_page(pdf: Pdf, page: Page) -> None:
    page.Contents = pdf.make_stream(b"BT /F1 12 Tf 7200 7000 Td (planted-word) Tj ET " + words("shown"))


def _in_forms(pdf: Pdf, page: Page) -> None:
    outer = drawn(pdf, page, "outer")
    outer.write(b"/F Do")
    outer.Resources = Dictionary(XObject=Dictionary(F=drawn(pdf, page, "planted-word")))
    page.Resources.XObject = Dictionary(F=outer)
    page.Contents = pdf.make_stream(b"/F Do")


def _xmp(pdf: Pdf, page: Page) -> None:
    with pdf.open_metadata() as metadata:
        metadata["dc:description"] = "planted-word"


def _custom_property(pdf: Pdf, page: Page) -> None:
    pdf.docinfo["/Own"] = "planted-word"


def _attached_to_an_annotation(pdf: Pdf, page: Page) -> None:
    file = pdf.make_stream(b"planted-word in a file", Type=Name.EmbeddedFile)
    annotation(pdf, page, Subtype=Name.FileAttachment, FS=Dictionary(Type=Name.Filespec, F=String("a.txt"), EF=Dictionary(F=file)))


def _associated(pdf: Pdf, page: Page) -> None:
    file = pdf.make_stream(b"planted-word in a file", Type=Name.EmbeddedFile)
    pdf.Root.AF = Array([pdf.make_indirect(Dictionary(Type=Name.Filespec, UF=String("a.txt"), EF=Dictionary(UF=file)))])


PLACES = {
    "an appearance": _appearance, "a state of a field": _state_of_a_field, "a pattern": _pattern, "a Type 3 glyph": _type3, "a mask": _mask,
    "a hidden layer": _hidden_layer, "under a replacement": _masked, "under a named replacement": _masked_by_a_property_list,
    "an alternative text": _structure("/Alt"), "an actual text": _structure("/ActualText"), "an expansion": _structure("/E"),
    "an outline": _outline, "page labels": _page_labels, "a value": _field("/V"), "a default": _field("/DV"), "a hint": _field("/TU"),
    "an XFA form": _xfa, "rich text": _rich_text, "invisible text": _invisible, "outside of the page": _outside_of_the_page,
    "nested forms": _in_forms, "XMP": _xmp, "a custom property": _custom_property, "a file of an annotation": _attached_to_an_annotation,
    "an associated file": _associated,
}  # fmt: skip


@pytest.mark.parametrize("place", sorted(PLACES))
def test_a_word_is_found_in(place: str) -> None:
    pdf, page = blank()
    PLACES[place](pdf, page)
    found = read(pdf)
    assert "planted-word" in text(found)


def test_D07_a_mask_of_harmless_words_does_not_hide_a_marking() -> None:
    pdf, page = blank()
    page.Contents = pdf.make_stream(b"/Span <</ActualText (holiday list)>> BDC " + words("TOP SECRET") + b" EMC")
    assert any(one.level is Level.TOP_SECRET for one in read(pdf).findings)


@pytest.mark.parametrize(
    "content",
    [
        b"BT 0.7 0.7 -0.7 0.7 150 300 Tm /F1 40 Tf (CONFIDENTIAL) Tj ET",
        b"BT 1 0 0 1 60 400 Tm /F1 72 Tf (CONFIDENTIAL) Tj ET",
        b"q 0.7 0.7 -0.7 0.7 150 300 cm /X0 Do Q",
    ],
)
def test_text_askew_or_very_large_is_a_watermark(content: bytes) -> None:
    pdf, page = blank()
    form = drawn(pdf, page, "CONFIDENTIAL")
    page.Resources.XObject = Dictionary(X0=form)
    page.Contents = pdf.make_stream(content + b" " + words("ordinary words"))
    found = read(pdf)
    assert any(one.level is Level.CONFIDENTIAL and one.zone is Zone.WATERMARK for one in found.findings)


def test_a_watermark_annotation_is_a_watermark() -> None:
    pdf, page = blank()
    annotation(pdf, page, Subtype=Name.Watermark, AP=Dictionary(N=drawn(pdf, page, "RESTRICTED")))
    assert any(one.level is Level.RESTRICTED and one.zone is Zone.WATERMARK for one in read(pdf).findings)


@pytest.mark.parametrize(
    ("action", "name"),
    [
        (Dictionary(S=Name.JavaScript, JS=String("app.alert(1)")), "script"),
        (Dictionary(S=Name.Launch, F=String("cmd.exe")), "launch"),
        (Dictionary(S=Name.SubmitForm, F=String("https://collect.example/")), "form"),
        (Dictionary(S=Name.GoToR, F=String("\\\\server\\share\\a.pdf")), "external"),
    ],
)
def test_D07_actions_are_told(action: pikepdf.Object, name: str) -> None:
    pdf, _ = blank()
    pdf.Root.OpenAction = action
    found = read(pdf)
    assert [one.name for one in found.observations if one.kind == "active"] == [name]


def test_D07_a_script_of_an_XFA_form_is_told() -> None:
    pdf, _ = blank()
    form = b'<template><script contentType="application/x-javascript">x</script></template>'
    pdf.Root.AcroForm = Dictionary(Fields=Array([]), XFA=pdf.make_stream(form))
    assert any(one.kind == "active" and one.name == "script" for one in read(pdf).observations)


def test_letters_without_a_meaning_are_not_called_read() -> None:
    pdf, page = blank()
    font = pdf.make_indirect(
        Dictionary(Type=Name.Font, Subtype=Name.Type0, BaseFont=Name.Nameless, Encoding=Name("/Identity-H"),
                   DescendantFonts=Array([Dictionary(Type=Name.Font, Subtype=Name.CIDFontType2, BaseFont=Name.Nameless,
                                                     CIDSystemInfo=Dictionary(Registry=String("Adobe"), Ordering=String("Identity"),
                                                                              Supplement=0))]))
    )  # fmt: skip
    page.Resources.Font.F2 = font
    glyphs = "".join(f"{number:04x}" for number in range(3, 90))
    page.Contents = pdf.make_stream(f"BT /F2 12 Tf 72 700 Td <{glyphs}> Tj ET".encode())
    found = read(pdf)
    assert leaf(found, "pictures").state is LeafState.UNINSPECTABLE
    assert "meaning" in leaf(found, "pictures").reason


def test_a_pictured_page_hands_out_a_scan() -> None:
    import pypdfium2

    from gateway.config import Limits
    from gateway.extraction.base import Budget
    from tests.content_mail import CORPUS

    data = (CORPUS / "picture.pdf").read_bytes()
    document = pypdfium2.PdfDocument(data)
    budget = Budget(Limits())
    child = pdf_pages.read(document, budget).pictures(data, len(document))
    assert child is not None
    scan = child.scans[0]
    assert (scan.page, scan.pages) == (1, len(document))
    picture = scan.render(budget)
    assert len(picture.grey) == picture.width * picture.height
    # The picture fills a stamp's place of the page: that place is drawn, with a margin, and not the page.
    assert 20 / 72 * picture.dpi < picture.width < 30 / 72 * picture.dpi
    assert Piece(data).data == data


class TestBombs:
    """Ten seconds and half a gigabyte at most, and never clean."""

    def never_clean(self, data: bytes) -> None:
        start = time.process_time()
        found = attached(data, "bomb.pdf")
        assert leaf(found).state is LeafState.SUSPECT
        assert time.process_time() - start < 10

    def forms(self, wide: int, deep: int) -> bytes:
        pdf, page = blank()
        inner = drawn(pdf, page, "x")
        for _ in range(deep):
            outer = drawn(pdf, page, "y")
            outer.write(b"/F Do " * wide)
            outer.Resources = Dictionary(XObject=Dictionary(F=inner))
            inner = outer
        page.Resources.XObject = Dictionary(F=inner)
        page.Contents = pdf.make_stream(b"/F Do")
        return saved(pdf)

    @pytest.mark.parametrize(("wide", "deep"), [(10, 10), (1, 200), (100, 3)])
    def test_D07_nested_forms(self, wide: int, deep: int) -> None:
        self.never_clean(self.forms(wide, deep))

    def test_D07_a_form_that_holds_itself(self) -> None:
        pdf, page = blank()
        form = drawn(pdf, page, "x")
        form.write(b"/F Do /F Do")
        form.Resources = Dictionary(XObject=Dictionary(F=form))
        page.Resources.XObject = Dictionary(F=form)
        self.never_clean(saved(pdf))

    def packed(self, pdf: Pdf, megabytes: int) -> pikepdf.Object:
        engine = zlib.compressobj(9)
        stream = pdf.make_stream(b"")
        data = b"".join(engine.compress(bytes(1_000_000)) for _ in range(megabytes)) + engine.flush()
        stream.write(data, filter=Name.FlateDecode)
        return stream

    def test_D07_a_page_that_unpacks_without_end(self) -> None:
        pdf, page = blank()
        page.Contents = self.packed(pdf, 200)
        self.never_clean(saved(pdf))

    def test_D07_one_stream_a_thousand_times(self) -> None:
        pdf, page = blank()
        stream = self.packed(pdf, 2)
        page.Contents = Array([stream] * 1000)
        self.never_clean(saved(pdf))

    def test_D07_a_chain_of_a_thousand_filters(self) -> None:
        pdf, page = blank()
        stream = pdf.make_stream(b"")
        stream.write(b"00", filter=Array([Name.ASCIIHexDecode] * 1000))
        page.Contents = stream
        self.never_clean(saved(pdf))

    def test_D07_pages_that_hold_themselves(self) -> None:
        self.never_clean(
            b"%PDF-1.4\n1 0 obj\n<</Type/Catalog/Pages 2 0 R>>\nendobj\n2 0 obj\n<</Type/Pages/Kids[2 0 R 2 0 R]/Count 1000000000>>\n"
            b"endobj\ntrailer\n<</Root 1 0 R/Size 3>>\nstartxref\n0\n%%EOF\n"
        )

    def test_D07_a_table_that_points_to_itself(self) -> None:
        body = b"%PDF-1.4\n1 0 obj\n<</Type/Catalog/Pages 2 0 R>>\nendobj\n2 0 obj\n<</Type/Pages/Kids[]/Count 0>>\nendobj\n"
        at = len(body)
        tail = b"xref\n0 1\n0000000000 65535 f \ntrailer\n<</Root 1 0 R/Size 3/Prev %d>>\nstartxref\n%d\n%%%%EOF\n" % (at, at)
        self.never_clean(body + tail)

    def test_D07_a_million_objects(self) -> None:
        objects = b"".join(b"%d 0 obj\n1\nendobj\n" % number for number in range(3, 1_000_003))
        head = b"%PDF-1.4\n1 0 obj\n<</Type/Catalog/Pages 2 0 R>>\nendobj\n2 0 obj\n<</Type/Pages/Kids[]/Count 0>>\nendobj\n"
        self.never_clean(head + objects + b"trailer\n<</Root 1 0 R/Size 1000003>>\n%%EOF\n")

    def test_D07_deep_arrays(self) -> None:
        pdf, _ = blank()
        data = saved(pdf).replace(b"/MediaBox", b"/X " + b"[" * 200_000 + b"]" * 200_000 + b"/MediaBox", 1)
        self.never_clean(data)


def test_D08_a_header_far_behind_the_start() -> None:
    pdf, page = blank()
    page.Contents = pdf.make_stream(words("TOP SECRET"))
    found = attached(b" " * 1000 + b"\r\n" + saved(pdf), "late.pdf")
    assert any(one.level is Level.TOP_SECRET for one in found.findings) or leaf(found).state is LeafState.SUSPECT


def test_D08_an_update_does_not_hide_strings() -> None:
    pdf, page = blank()
    annotation(pdf, page, Subtype=Name.Text, Contents=String("older-note-word"))
    first = saved(pdf)
    number = page.Annots[0].objgen[0]
    at = len(first)
    update = b"%d 0 obj\n<< /Type /Annot /Subtype /Text /Rect [0 0 9 9] /Contents (new) >>\nendobj\n" % number
    start = int(first[first.rindex(b"startxref") :].split()[1])
    table = b"xref\n%d 1\n%010d 00000 n \ntrailer\n<< /Size %d /Root %d 0 R /Prev %d >>\nstartxref\n%d\n%%%%EOF\n" % (
        number, at, len(pdf.objects) + 5, pdf.Root.objgen[0], start, at + len(update),
    )  # fmt: skip
    found = attached(first + update + table, "updated.pdf")
    assert "older-note-word" in text(found)


def test_D09_both_kinds_of_a_polyglot_are_read() -> None:
    pdf, page = blank()
    page.Contents = pdf.make_stream(words("page-words"))
    found = attached(saved(pdf) + zipped(("a.txt", b"zip-words")), "both.pdf")
    assert leaf(found).state is LeafState.SUSPECT
    assert "page-words" in text(found)


class TestPasswordOfTheMessage:
    @pytest.mark.parametrize("name", ["aes256.pdf", "rc4-40.pdf", "aes128-object-streams.pdf", "libreoffice-open.pdf"])
    def test_E05_it_opens_and_is_read(self, name: str) -> None:
        found = inspect(mail((FIXTURES / name).read_bytes(), name, body=f"Password: {PASSWORD}"))
        assert leaf(found).protection.state is ProtectionState.WEAK
        assert "same message" in leaf(found).reason
        assert "paragraph 3" in text(found)

    def test_E22_another_word_does_not(self) -> None:
        found = inspect(mail((FIXTURES / "aes256.pdf").read_bytes(), "aes256.pdf", body="It comes by telephone."))
        assert leaf(found).state is LeafState.OPAQUE


@pytest.mark.parametrize("name", ["fake-aes256-over-plain.pdf", "fake-aes256-identity.pdf"])
def test_E10_what_only_claims_encryption_is_read_as_evidence(name: str) -> None:
    found = attached((FIXTURES / name).read_bytes(), name)
    assert leaf(found).state is LeafState.SUSPECT
    if "over-plain" in name:
        assert "plant-page-text" in text(found)


def runs(data: bytes) -> bytes:
    return b"".join(bytes((len(data[at : at + 100]) - 1,)) + data[at : at + 100] for at in range(0, len(data), 100)) + b"\x80"


class TestFilters:
    WORDS = words("planted-word")

    @pytest.mark.parametrize(
        ("filters", "packed"),
        [
            (["/ASCII85Decode", "/FlateDecode"], base64.a85encode(zlib.compress(WORDS)) + b"~>"),
            (["/ASCIIHexDecode"], WORDS.hex().encode() + b">"),
            (["/RunLengthDecode"], runs(WORDS)),
            (["/FlateDecode", "/FlateDecode"], zlib.compress(zlib.compress(WORDS))),
        ],
    )
    def test_every_filter_of_text_is_read(self, filters: list[str], packed: bytes) -> None:
        assert pdf_filters.unpacked(packed, filters, 1000) == self.WORDS
        pdf, page = blank()
        stream = pdf.make_stream(b"")
        stream.write(packed, filter=Array([Name(name) for name in filters]))
        page.Contents = stream
        found = attached(saved(pdf), "a.pdf")
        assert "planted-word" in text(found)
        assert leaf(found).state is LeafState.INSPECTED

    def test_lzw_agrees_with_the_picture_library(self) -> None:
        from PIL import Image

        rows = bytes((x * y // 7) % 251 for y in range(60) for x in range(60))
        out = io.BytesIO()
        Image.frombytes("L", (60, 60), rows).save(out, "TIFF", compression="tiff_lzw")
        with Image.open(io.BytesIO(out.getvalue())) as picture:
            offset, count = picture.tag_v2[273][0], picture.tag_v2[279][0]  # type: ignore[attr-defined]
        packed = out.getvalue()[offset : offset + count]
        assert pdf_filters.unpacked(packed, ["/LZWDecode"], 10_000) == rows

    @pytest.mark.parametrize(
        ("name", "packed"),
        [("/FlateDecode", zlib.compress(bytes(5000))), ("/RunLengthDecode", b"\x81x" * 100), ("/ASCII85Decode", b"z" * 1000 + b"~>")],
    )
    def test_D07_no_filter_goes_beyond_its_limit(self, name: str, packed: bytes) -> None:
        with pytest.raises(OverLimit):
            pdf_filters.unpacked(packed, [name], 1000)

    def test_damaged_data_is_told(self) -> None:
        assert pdf_filters.unpacked(b"no such data", ["/FlateDecode"], 1000) is None

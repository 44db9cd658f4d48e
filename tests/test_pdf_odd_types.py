"""Objects of another type than the standard wants, everywhere in a PDF: it is read or refused in words."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator

import pikepdf
import pytest
from pikepdf import Array, Dictionary, Name, String

from gateway.config import Limits
from gateway.documents import pdf as pdf_reader
from gateway.extraction.base import Budget, OverLimit, Piece, Unreadable

_CMAP = b"beginbfrange <41> <5A> <0041> endbfrange 1 beginbfchar <61> <0062> endbfchar"


def rich() -> pikepdf.Pdf:
    """A page with fonts of three kinds, a form, an annotation, an attachment and a layer."""
    pdf = pikepdf.new()
    page = pdf.add_blank_page(page_size=(300, 300))
    descriptor = pdf.make_indirect(Dictionary(Type=Name.FontDescriptor, FontName=Name.Own, FontFile2=pdf.make_stream(b"\0\1\0\0")))
    table = pdf.make_stream(_CMAP)
    simple = Dictionary(Type=Name.Font, Subtype=Name.TrueType, BaseFont=Name.Own, FontDescriptor=descriptor, ToUnicode=table, FirstChar=65,
                        LastChar=66, Widths=Array([500, 500]), Encoding=Dictionary(Differences=Array([65, Name.A, Name.B])))  # fmt: skip
    inner = Dictionary(Type=Name.Font, Subtype=Name.CIDFontType2, BaseFont=Name.Own, FontDescriptor=descriptor, CIDToGIDMap=Name.Identity,
                       CIDSystemInfo=Dictionary(Registry=String("Adobe"), Ordering=String("Identity"), Supplement=0))  # fmt: skip
    whole = Dictionary(Type=Name.Font, Subtype=Name.Type0, BaseFont=Name.Own, Encoding=Name("/Identity-H"), DescendantFonts=Array([inner]),
                       ToUnicode=table)  # fmt: skip
    drawn = Dictionary(Type=Name.Font, Subtype=Name.Type3, FontBBox=Array([0, 0, 9, 9]), FontMatrix=Array([1, 0, 0, 1, 0, 0]),
                       CharProcs=Dictionary(a=pdf.make_stream(b"0 0 5 5 re f")), Encoding=Dictionary(Differences=Array([97, Name.a])),
                       FirstChar=97, LastChar=97, Widths=Array([9]))  # fmt: skip
    form = pdf.make_stream(b"BT /F1 9 Tf (AB) Tj ET", Type=Name.XObject, Subtype=Name.Form, BBox=Array([0, 0, 90, 90]))
    form.Resources = Dictionary(Font=Dictionary(F1=simple))
    layer = pdf.make_indirect(Dictionary(Type=Name.OCG, Name=String("notes")))
    pdf.Root.OCProperties = Dictionary(OCGs=Array([layer]), D=Dictionary(OFF=Array([layer]), Order=Array([layer])))
    page.Resources = Dictionary(
        Font=Dictionary(F1=pdf.make_indirect(simple), F2=pdf.make_indirect(whole), F3=pdf.make_indirect(drawn)), XObject=Dictionary(X=form)
    )
    page.Contents = pdf.make_stream(b"BT /F1 12 Tf 20 200 Td (AB) Tj /F2 12 Tf <0041> Tj /F3 12 Tf (a) Tj ET /X Do")
    note = Dictionary(Type=Name.Annot, Subtype=Name.FreeText, Rect=Array([0, 0, 90, 90]), Contents=String("note"), AP=Dictionary(N=form))
    page.Annots = Array([pdf.make_indirect(note)])
    pdf.attachments["a.txt"] = b"plain"
    return pdf


def places(pdf: pikepdf.Pdf) -> Iterator[tuple[int, tuple[str | int, ...]]]:
    """Where a value stands: the number of its object, and the way from there."""

    def below(value: object, way: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
        keys: list[str | int] = []
        if isinstance(value, pikepdf.Dictionary | pikepdf.Stream):
            keys = [key for key in value.keys() if key != "/Length"]  # noqa: SIM118 - pikepdf's are no mappings
        elif isinstance(value, pikepdf.Array):
            keys = list(range(len(value)))
        for key in keys:
            yield (*way, key)
            held = value[key]  # type: ignore[index]
            if isinstance(held, pikepdf.Object) and not held.is_indirect:
                yield from below(held, (*way, key))

    for number, item in enumerate(pdf.objects):
        for way in below(item, ()):
            yield number, way


ODD = {"number": 5, "name": Name.Odd, "text": String("odd"), "list": Array([5, Name.Odd, Array([])]), "dictionary": Dictionary(Odd=5)}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ODD)
def test_a_value_of_another_type_is_read_or_refused(kind: str) -> None:
    out = io.BytesIO()
    rich().save(out)
    data = out.getvalue()
    with pikepdf.open(io.BytesIO(data)) as pdf:
        every = list(places(pdf))
    assert len(every) > 100
    for number, way in every:
        with pikepdf.open(io.BytesIO(data)) as pdf:
            holder = pdf.objects[number]
            for key in way[:-1]:
                holder = holder[key]  # type: ignore[index]
            changed = io.BytesIO()
            try:
                holder[way[-1]] = ODD[kind]  # type: ignore[index]
                pdf.save(changed)
            except (ValueError, TypeError, KeyError, pikepdf.PikepdfError):
                continue  # pikepdf does not write it
        with contextlib.suppress(Unreadable, OverLimit):
            pdf_reader.extract(Piece(changed.getvalue(), "a.pdf"), Budget(Limits()))


def test_what_is_changed_is_read() -> None:
    out = io.BytesIO()
    rich().save(out)
    found = pdf_reader.extract(Piece(out.getvalue(), "a.pdf"), Budget(Limits()))
    assert "AB" in "".join(one.text for one in found.segments)
    assert "a.txt" in {child.name for child in found.children}

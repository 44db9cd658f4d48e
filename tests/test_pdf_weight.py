"""What a page of a PDF would cost is weighed before it is drawn: hostile-inputs catalogue D07."""

from __future__ import annotations

import io
import zlib

import pikepdf
import pytest
from pikepdf import Array, Dictionary, Name

from gateway.config import Limits
from gateway.documents import pdf
from gateway.documents.pdf_weight import weight
from gateway.extraction.base import Budget, OverLimit, Piece

PICTURE = b"q 80 0 0 80 0 0 cm BI /W 800 /H 800 /BPC 8 /CS /RGB /F [/A85 /Fl] ID " + b"Gb\"0'(<Tj)" * 100_000 + b"~> EI Q "


def page(*streams: bytes) -> bytes:
    """A PDF with one page of *streams*."""
    file = pikepdf.new()
    sheet = file.add_blank_page()
    font = file.make_indirect(Dictionary(Type=Name.Font, Subtype=Name.Type1, BaseFont=Name.Helvetica))
    sheet.Resources = Dictionary(Font=Dictionary(F1=font))
    parts = []
    for data in streams:
        stream = file.make_stream(b"")
        stream.write(zlib.compress(data), filter=Name.FlateDecode)
        parts.append(stream)
    sheet.Contents = parts[0] if len(parts) == 1 else Array(parts)
    out = io.BytesIO()
    file.save(out)
    return out.getvalue()


TEXT = b"BT /F1 9 Tf "


@pytest.mark.parametrize(
    "streams",
    [
        (TEXT + b"(a)Tj " * 700_000,),
        (TEXT + (b"(" + b"a" * 2000 + b")Tj ") * 1_500,),
        (TEXT + (b"<" + b"61" * 2000 + b">Tj ") * 1_500,),
        (TEXT + b"(a)' " * 700_000,),
        (b"BI /W 1 /H 1 /BPC 8 /CS /G ID x EI " * 300_000,),
        tuple(TEXT + b"(a)Tj " * 15_000 for _ in range(50)),
    ],
    ids=["strings", "letters", "hexadecimal", "quotes", "pictures", "several streams"],
)
def test_D07_a_dense_page_is_refused_before_it_is_drawn(streams: tuple[bytes, ...]) -> None:
    with pytest.raises(OverLimit, match="draws more"):
        pdf.extract(Piece(page(*streams)), Budget(Limits()))


@pytest.mark.parametrize(
    "stream",
    [TEXT + (b"(" + b"a line of ordinary words in a letter" * 2 + b")Tj T* ") * 500 + b"ET", PICTURE, b"0 0 m 9 9 l S " * 500_000],
    ids=["a page of text", "a picture of a megabyte", "a drawing"],
)
def test_ordinary_pages_are_far_below(stream: bytes) -> None:
    assert len(stream) <= weight(stream) < 10_000_000


def test_the_data_of_a_picture_is_no_text() -> None:
    assert weight(PICTURE) < 2 * len(PICTURE)


def test_words_behind_a_picture_weigh_what_they_weigh() -> None:
    words = b"(" + b"a" * 1000 + b")Tj "
    assert weight(PICTURE + words) - weight(PICTURE) >= 8 * 1000


def test_a_backslash_does_not_hide_letters() -> None:
    assert weight(b"(\\)" + b"a" * 10_000 + b")Tj") > 80_000

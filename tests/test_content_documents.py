"""Whole documents of today's Office formats, made by real programs: a word in each place, and each is found in its zone."""

from __future__ import annotations

import functools
import io
import re
import struct
import tomllib
import zipfile
from pathlib import Path

import pytest
import python_calamine

from gateway.config import Limits
from gateway.documents import xlsb
from gateway.extraction.base import Budget, OverLimit, Unreadable
from gateway.levels import Level
from gateway.verdict import Inspection, LeafState, Zone
from tests.content_mail import attached, leaf, text
from tests.fixtures.makers.documents_xlsb import record, string

FIXTURES = Path(__file__).parent / "fixtures" / "documents"
PLANTED = tomllib.loads((FIXTURES / "planted.toml").read_text("utf-8"))
PLACES = [(name, word) for name, words in PLANTED.items() for word in words]


@functools.cache
def planted(name: str) -> Inspection:
    return attached((FIXTURES / name).read_bytes(), name)


@pytest.mark.parametrize(("name", "word"), PLACES)
def test_a_planted_word_is_found_in_its_zone(name: str, word: str) -> None:
    zone, found, whole = PLANTED[name][word], planted(name), re.compile(rf"(?<![\w-])plant-{word}(?![\w-])")
    assert whole.search(text(found))
    if zone:
        assert any(where is Zone(zone) and whole.search(words) for _, where, _, words in found.segments)


@pytest.mark.parametrize(("name", "least"), [("planted.docx", 45), ("planted.xlsx", 28), ("planted.pptx", 19), ("planted.xlsb", 22)])
def test_the_planted_documents_are_inspected_and_hold_many_words(name: str, least: int) -> None:
    assert leaf(planted(name)).state is LeafState.INSPECTED, leaf(planted(name)).reason
    assert len(PLANTED[name]) >= least


def package(*parts: tuple[str, bytes]) -> bytes:
    """The planted binary workbook with other *parts*."""
    out = io.BytesIO()
    with zipfile.ZipFile(FIXTURES / "planted.xlsb") as source, zipfile.ZipFile(out, "w") as target:
        new = dict(parts)
        for name in source.namelist():
            target.writestr(name, new.pop(name, None) or source.read(name))
        for name, data in new.items():
            target.writestr(name, data)
    return out.getvalue()


def sheet(*records: bytes) -> bytes:
    return record(129, b"") + b"".join(records) + record(130, b"")


def cell(text: str) -> bytes:
    return record(6, bytes(8) + string(text))


class TestBinaryWorkbooks:
    SHEET = "xl/worksheets/sheet1.bin"

    @pytest.mark.parametrize("name", ["planted.xlsb", "inline.xlsb"])
    def test_it_agrees_with_another_reader(self, name: str) -> None:
        book = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO((FIXTURES / name).read_bytes()))
        words = text(planted(name))
        cells = [cell for one in book.sheet_names for row in book.get_sheet_by_name(one).to_python() for cell in row]
        seen = [cell for cell in cells if isinstance(cell, str) and cell]
        assert len(seen) >= 5
        assert [cell for cell in (*seen, *book.sheet_names) if cell not in words] == []

    def test_a_number_that_may_be_an_identifier_is_read(self) -> None:
        assert "234123412346" in text(planted("planted.xlsb"))

    def test_a_marking_in_a_page_header_is_one(self) -> None:
        edges = record(479, b"\0\0" + string('&C&"Arial,Bold"&12CONFIDENTIAL') + string(None) * 5)
        found = attached(package((self.SHEET, sheet(cell("words"), edges))), "a.xlsb")
        assert any(one.level is Level.CONFIDENTIAL and one.zone is Zone.PAGE_HEADER for one in found.findings)

    def test_a_kind_of_record_that_nobody_knows_is_read(self) -> None:
        found = attached(package((self.SHEET, sheet(record(5000, bytes(7) + "TOP SECRET".encode("utf-16-le"))))), "a.xlsb")
        assert any(one.level is Level.TOP_SECRET for one in found.findings)

    def test_what_a_legacy_font_of_its_cells_shows_is_read(self) -> None:
        fonts = record(278, b"") + record(43, bytes(21) + string("Kruti Dev 010")) + record(279, b"")
        found = attached(package(("xl/styles.bin", fonts), (self.SHEET, sheet(cell("xksiuh;")))), "a.xlsb")
        assert any(one.text == "गोपनीय" for one in found.findings)

    @pytest.mark.parametrize(
        "part",
        [
            sheet(cell("words"))[:-9],  # cut off
            sheet(cell("words")) + b"\x81",
            sheet(record(6, bytes(8) + struct.pack("<I", 5_000) + b"x")),  # a string that is longer than its record
            sheet(record(6, bytes(3))),
            sheet(record(4000, bytes(70_000))),
            b"\x00\x19" + bytes(25),
        ],
        ids=["cut", "half a record", "long string", "no string", "large unknown", "no beginning"],
    )
    def test_D04_a_part_that_is_not_understood_is_not_called_read(self, part: bytes) -> None:
        found = attached(package((self.SHEET, part)), "a.xlsb")
        assert any(one.state is LeafState.SUSPECT for one in found.leaves)

    def test_a_binary_part_of_another_document_is_not_taken_for_one(self) -> None:
        with zipfile.ZipFile(FIXTURES / "planted.xlsb") as source:
            part = source.read(self.SHEET)
        out = io.BytesIO((FIXTURES / "planted.xlsx").read_bytes())
        with zipfile.ZipFile(out, "a") as target:
            target.writestr("xl/other.bin", part)
        assert any(one.state is LeafState.SUSPECT for one in attached(out.getvalue(), "a.xlsx").leaves)

    def test_D11_a_link_to_a_program_is_told(self) -> None:
        link = record(360, struct.pack("<H", 1) + string("cmd") + string("/c calc")) + record(588, b"")
        found = attached(package(("xl/externalLinks/externalLink1.bin", link)), "a.xlsb")
        assert any(one.kind == "active" and one.name == "dde" for one in found.observations)

    def test_D01_records_without_end_are_bounded(self) -> None:
        budget = Budget(Limits())
        with pytest.raises(OverLimit):
            xlsb.read(sheet(*[record(4000, b"text" * 16_000)] * 300), budget)

    def test_a_broken_string_is_one_named_error(self) -> None:
        with pytest.raises(Unreadable):
            xlsb.read(sheet(record(156, bytes(8) + b"\x10\0\0\0x")), Budget(Limits()))

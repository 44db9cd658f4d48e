"""Older Office documents, compound files, macros, Outlook items and winmail.dat: what is found where, and what a broken file says."""

from __future__ import annotations

import functools
import random
import re
import struct
import time
from pathlib import Path
from typing import ClassVar

import pytest

from gateway.config import Limits
from gateway.extraction.base import Budget, Piece, Unreadable
from gateway.office import compound, ole, rtf_compressed, vba
from gateway.verdict import Inspection, LeafState
from tests.content_mail import attached, leaf, text

FIXTURES = Path(__file__).parent / "fixtures" / "office"


def budget() -> Budget:
    return Budget(Limits())


@functools.cache
def found(name: str) -> Inspection:
    return attached((FIXTURES / name).read_bytes(), name)


def words(name: str) -> set[str]:
    return set(re.findall(r"[^\s\"]{1,30}-word\b", text(found(name))))


def parsed(name: str) -> compound.Compound:
    return compound.Compound.parse((FIXTURES / name).read_bytes(), budget())


def active(inspection: Inspection) -> set[str]:
    return {one.name for one in inspection.observations if one.kind == "active"}


@pytest.mark.parametrize(
    ("name", "planted"),
    [
        (
            "word.doc",
            "author body box cell endnote firstheader footnote hidden keyword lastcell property split title हिन्दी",
        ),
        ("remarked.doc", "author body box cell comment commentauthor footer header hidden keyword lastcell split title हिन्दी"),
        (
            "plain-long.xls",
            "behindlong cell comment farcell footer formula header hiddenrow hiddensheet inhidden inveryhidden long sheetname title "
            "veryhidden हिन्दी",
        ),
        ("sheet-protected.xls", "cell comment footer formula header hiddenrow inhidden inveryhidden veryhidden"),
        ("velvet-capi.ppt", "body cell notes title हिन्दी hiddenslide"),
        ("velvet-capi.doc", "body box cell endnote footnote hidden"),
        ("slides.ppt", "body cell notes title हिन्दी hiddenslide"),
    ],
)
def test_every_planted_word_is_found(name: str, planted: str) -> None:
    assert leaf(found(name)).state is LeafState.INSPECTED
    assert {f"{word}-word" for word in planted.split()} - words(name) == set()


def test_numbers_in_cells_are_text_too() -> None:
    lines = text(found("plain-long.xls")).split("\n")
    assert {"234123412346", "1234.5"} <= set(lines)


def test_a_microsoft_label_in_a_word_document_is_evidence() -> None:
    assert any(one.level.text == "CONFIDENTIAL" and one.zone == "property" for one in found("word.doc").findings)


@pytest.mark.parametrize("name", ["told-agile-xlsx", "told-rc4-doc", "told-rc4-xls", "told-xor-xls", "told-rc4-ppt", "told-standard-xlsx"])
def test_E05_what_a_password_of_the_message_opens_is_read(name: str) -> None:
    from tests.content_mail import inspect

    inspection = inspect((FIXTURES / f"{name}.eml").read_bytes())
    assert "body-word" in text(inspection) or "inveryhidden-word" in text(inspection)
    assert leaf(inspection).reason.startswith("its password stands in the same message")


class TestMacros:
    DATA = FIXTURES / "vbaProject.bin"

    def test_D03_source_is_read_and_flagged(self) -> None:
        inspection = found("vbaProject.bin")
        assert "Hello from Python" in text(inspection)
        assert active(inspection) == {"macro"}
        assert any("Sub say_hello" in source for source in vba.modules(self.DATA.read_bytes(), budget()))

    def test_D03_a_stomped_module_is_suspect(self) -> None:
        project = compound.Compound.parse(self.DATA.read_bytes(), budget())
        module = project.get("VBA", "Module1")
        source = module.rindex(b"\x01", 0, module.index(b"\x00Attribut"))
        bare = b'Attribute VB_Name = "Module1"\r\n'
        stomped = module[:source] + b"\x01" + struct.pack("<H", 0x3000 | len(bare) - 1) + bare
        inspection = attached(project.cut(instead={("VBA", "Module1"): stomped}))
        assert active(inspection) == {"macro"}
        assert leaf(inspection).state is LeafState.SUSPECT
        assert "only compiled code is left" in leaf(inspection).reason
        assert "Hello from Python" in text(inspection)

    def test_D03_a_module_that_cannot_be_unpacked_is_suspect(self) -> None:
        project = compound.Compound.parse(self.DATA.read_bytes(), budget())
        module = project.get("VBA", "Module1")
        assert leaf(attached(project.cut(instead={("VBA", "Module1"): module[:-20] + b"\xff" * 20}))).state is LeafState.SUSPECT

    def test_D03_macros_within_a_word_document(self) -> None:
        project = compound.Compound.parse(self.DATA.read_bytes(), budget())
        streams = {("Macros", *path): project.get(*path) for path in project.names()}
        inspection = attached(parsed("word.doc").cut(beside=streams), "a.doc")
        assert active(inspection) == {"macro"}
        assert "Hello from Python" in text(inspection)
        assert leaf(inspection).state is LeafState.INSPECTED

    def test_D03_an_excel_4_macro_sheet_is_flagged(self) -> None:
        book = bytearray(parsed("plain-long.xls").get("Workbook"))
        at = 0
        while struct.unpack_from("<H", book, at)[0] != 0x85:
            at += 4 + struct.unpack_from("<H", book, at + 2)[0]
        book[at + 9] = 1
        data = parsed("plain-long.xls").cut(instead={("Workbook",): bytes(book)})
        assert "macro" in active(attached(data, "a.xls"))

    def test_packed_text_that_points_before_its_start_is_refused(self) -> None:
        with pytest.raises(Unreadable):
            vba.decompress(b"\x01" + struct.pack("<H", 0xB000 | 2) + b"\x01\xff\xff", budget())


class TestCompound:
    def test_what_is_built_is_read_again(self) -> None:
        streams = {("a",): b"x" * 10, ("s", "b"): b"y" * 5_000, ("s", "t", "c"): random.Random(1).randbytes(70_000), ("e",): b""}
        again = compound.Compound.parse(compound.build(streams), budget())
        assert {path: again.get(*path) for path in again.names()} == streams

    def test_a_file_beyond_seven_megabytes(self) -> None:
        data = bytes(8_000_000)
        assert compound.Compound.parse(compound.build({("a",): data}), budget()).get("a") == data

    @pytest.mark.parametrize("at", [28, 30, 32, 48, 60])
    def test_D05_header_fields_that_lie(self, at: int) -> None:
        data = bytearray((FIXTURES / "word.doc").read_bytes())
        data[at : at + 2] = b"\xf7\x7f"
        assert leaf(attached(bytes(data), "a.doc")).state is LeafState.SUSPECT

    def test_D05_a_chain_of_sectors_that_bites_its_tail(self) -> None:
        data = bytearray(compound.build({("WordDocument",): bytes(9_000)}))
        fat = 512 + 512 * struct.unpack_from("<I", data, 76)[0]
        struct.pack_into("<I", data, fat + 4, 0)
        assert leaf(attached(bytes(data), "a.doc")).state is LeafState.SUSPECT

    SMALL: ClassVar = {("WordDocument",): b"w" * 130, ("a",): b"x" * 200, ("b",): b"TOP SECRET plans. " * 6}

    def small(self) -> tuple[bytearray, int]:
        """A file of small streams (three, four and two small sectors), and where their table stands."""
        data = bytearray(compound.build(self.SMALL))
        return data, 512 + 512 * struct.unpack_from("<I", data, 60)[0]

    def chains(self, data: bytes, table: int) -> list[int]:
        """The table of small sectors, as far as it is used."""
        return list(struct.unpack_from("<9I", data, table))

    @pytest.mark.parametrize("to", ["itself", "its start", "another", "beyond", "free"])
    def test_D05_chains_of_small_sectors_that_are_tangled(self, to: str) -> None:
        data, table = self.small()
        starts = [
            number for number, _ in enumerate(self.chains(data, table)) if number == 0 or self.chains(data, table)[number - 1] == 0xFFFFFFFE
        ]
        first, other = starts[0], starts[1]
        wanted = {"itself": first + 1, "its start": first, "another": other, "beyond": 5_000, "free": 0xFFFFFFFF}[to]
        struct.pack_into("<I", data, table + 4 * (first + 1), wanted)
        with pytest.raises(Unreadable, match="sectors belong"):
            compound.Compound.parse(bytes(data), budget())
        assert leaf(attached(bytes(data), "a.doc")).state is LeafState.SUSPECT

    def test_D05_a_stream_that_begins_within_another_one(self) -> None:
        data, _ = self.small()
        entry = data.index(b"b\0\0\0", 512)
        while data[entry + 66] != 2:
            entry = data.index(b"b\0\0\0", entry + 1)
        struct.pack_into("<I", data, entry + 116, 1)
        with pytest.raises(Unreadable, match="sectors belong"):
            compound.Compound.parse(bytes(data), budget())

    def test_D05_small_sectors_of_no_stream_are_read(self) -> None:
        data, _ = self.small()
        entry = data.index(b"b\0\0\0", 512)
        while data[entry + 66] != 2:
            entry = data.index(b"b\0\0\0", entry + 1)
        struct.pack_into("<I", data, entry + 120, 10)  # the chain goes on behind the end of the stream
        again = compound.Compound.parse(bytes(data), budget())
        assert len(again.get("b")) == 10
        assert b"SECRET plans" in again.unallocated()
        assert compound.Compound.parse(compound.build(self.SMALL), budget()).unallocated() == b""

    def test_D05_a_stream_that_claims_two_gigabytes(self) -> None:
        data = bytearray((FIXTURES / "word.doc").read_bytes())
        entry = data.index("WordDocument".encode("utf-16-le"))
        struct.pack_into("<I", data, entry + 120, 2_000_000_000)
        start = time.process_time()
        assert leaf(attached(bytes(data), "a.doc")).state is LeafState.SUSPECT
        assert time.process_time() - start < 2

    def test_D05_a_package_is_flagged_and_read(self) -> None:
        inner = b"The SECRET annexure.\r\n"
        body = (
            b"\x02\x00note.txt\x00C:\\note.txt\x00\x00\x00\x03\x00"
            + struct.pack("<I", 4)
            + b"C:\\\x00"
            + struct.pack("<I", len(inner))
            + inner
        )
        native = struct.pack("<I", len(body)) + body
        data = parsed("word.doc").cut(beside={("ObjectPool", "_1", "\x01Ole10Native"): native, ("ObjectPool", "_1", "\x01Ole"): bytes(20)})
        inspection = attached(data, "a.doc")
        assert "program" in active(inspection)
        assert any(one.path.endswith("/note.txt") and one.state is LeafState.INSPECTED for one in inspection.leaves)
        assert "SECRET annexure" in text(inspection)

    def test_D05_an_equation_is_flagged(self) -> None:
        data = parsed("word.doc").cut(beside={("ObjectPool", "_1", "Equation Native"): bytes(60)})
        assert "program" in active(attached(data, "a.doc"))

    def test_D05_an_embedded_workbook_is_read(self) -> None:
        book = {("ObjectPool", "_2", *path): parsed("plain-long.xls").get(*path) for path in parsed("plain-long.xls").names()}
        inspection = attached(parsed("word.doc").cut(beside=book), "a.doc")
        assert "inveryhidden-word" in text(inspection)

    def test_a_stream_nobody_knows_makes_a_member(self) -> None:
        inspection = attached(parsed("word.doc").cut(beside={("Strange",): bytes(range(256)) * 9}), "a.doc")
        assert any(one.path.endswith("/Strange") and one.state is LeafState.SUSPECT for one in inspection.leaves)

    def test_a_file_behind_the_end_is_ambiguous(self) -> None:
        from tests.content_mail import zipped

        data = (FIXTURES / "word.doc").read_bytes() + zipped(("a.txt", b"TOP SECRET"))
        assert leaf(attached(data, "a.doc")).state is LeafState.SUSPECT

    @pytest.mark.parametrize("name", ["VisioDocument", "PP97_DUALSTORAGE", "MatOST"])
    def test_a_format_without_a_reader_says_so(self, name: str) -> None:
        one = leaf(attached(compound.build({(name,): b"some words of it" * 300})))
        assert one.state is LeafState.SUSPECT
        assert "there is no reader for it" in one.reason

    def test_word_95_says_so(self) -> None:
        main = struct.pack("<HH", 0xA5DC, 0x65) + bytes(5_000)
        assert "Word 95" in leaf(attached(compound.build({("WordDocument",): main}))).reason


class TestPieces:
    """Word documents whose pieces are not what they say."""

    def changed(self, change: bytes, offset: int) -> Inspection:
        main = bytearray(parsed("word.doc").get("WordDocument"))
        main[offset : offset + len(change)] = change
        return attached(parsed("word.doc").cut(instead={("WordDocument",): bytes(main)}), "a.doc")

    def test_more_text_stated_than_there_is(self) -> None:
        assert leaf(self.changed(struct.pack("<I", 900_000), 0x4C)).state is LeafState.SUSPECT

    def test_no_table_of_pieces(self) -> None:
        assert leaf(self.changed(bytes(8), 0x1A2)).state is LeafState.SUSPECT

    def test_deleted_text_is_still_evidence(self) -> None:
        main = parsed("word.doc").get("WordDocument") + "left from an older draft".encode("utf-16-le")
        assert "left from an older draft" in text(attached(parsed("word.doc").cut(instead={("WordDocument",): main}), "a.doc"))


class TestOutlook:
    def test_D13_messages_within_messages_are_read(self) -> None:
        inspection = found("outer.msg")
        assert [one.state for one in inspection.leaves if one.path.startswith("2")] == [
            LeafState.INSPECTED
        ] * 8  # with two themes that Outlook keeps as properties
        assert any(one.path.count(".msg") == 2 for one in inspection.leaves)

    def test_a_message_with_the_text_of_its_code_page(self) -> None:
        cyrillic = "Секретно".encode("cp1251")
        table = bytes(32) + struct.pack("<HHII4x", 3, 0x3FFD, 6, 1251) + struct.pack("<HHII4x", 0x1E, 0x1000, 6, len(cyrillic) + 1)
        data = compound.build({("__properties_version1.0",): table, ("__substg1.0_1000001E",): cyrillic})
        assert "Секретно" in text(attached(data, "a.msg"))

    def test_an_attachment_without_content_is_suspect(self) -> None:
        table = bytes(8) + struct.pack("<HHII4x", 3, 0x3705, 6, 1)
        data = compound.build({
            ("__properties_version1.0",): bytes(32), ("__attach_version1.0_#00000000", "__properties_version1.0"): table,
            ("__attach_version1.0_#00000000", "__substg1.0_3707001F"): "a.pdf".encode("utf-16-le"),
        })  # fmt: skip
        inspection = attached(data, "a.msg")
        assert any(one.path.endswith("a.pdf") and one.state is LeafState.SUSPECT for one in inspection.leaves)

    def test_a_body_that_a_property_promises_and_the_file_lacks(self) -> None:
        table = bytes(32) + struct.pack("<HHII4x", 0x1F, 0x1000, 6, 90)
        assert leaf(attached(compound.build({("__properties_version1.0",): table}), "a.msg")).state is LeafState.SUSPECT


def attribute(level: int, number: int, value: bytes) -> bytes:
    return struct.pack("<BII", level, number, len(value)) + value + struct.pack("<H", sum(value) & 0xFFFF)


def winmail(*attributes: bytes) -> bytes:
    return b"\x78\x9f\x3e\x22\x01\x00" + b"".join(attributes)


RENDERING = attribute(2, 0x00069002, bytes(14))


class TestWinmail:
    def test_M27_texts_and_attachments_are_read(self) -> None:
        data = winmail(
            attribute(1, 0x00018004, b"subject-word\x00"), attribute(1, 0x0002800C, b"body-word\x00"), RENDERING,
            attribute(2, 0x00018010, b"note.txt\x00"), attribute(2, 0x0006800F, b"The annexure is SECRET."),
        )  # fmt: skip
        inspection = attached(data, "winmail.dat", "application/ms-tnef")
        assert {"subject-word", "body-word"} <= set(text(inspection).split())
        assert [one.state for one in inspection.leaves[-2:]] == [LeafState.INSPECTED] * 2
        assert inspection.leaves[-1].path.endswith("/note.txt")

    def test_M27_data_before_its_attachment_begins(self) -> None:
        data = winmail(attribute(2, 0x0006800F, b"The annexure."), attribute(2, 0x00018010, b"note.txt\x00"), RENDERING)
        inspection = attached(data, "winmail.dat")
        assert "The annexure." in text(inspection)

    @pytest.mark.parametrize(
        "data",
        [
            winmail(RENDERING, attribute(2, 0x00018010, b"note.txt\x00")),
            winmail(RENDERING, attribute(2, 0x0006800F, b"")),
            winmail(attribute(1, 0x0002800C, b"body-word\x00")[:-4]),
            winmail(attribute(1, 0x0002800C, b"body-word\x00")[:-2] + b"\x00\x00"),
            winmail(attribute(1, 0x0002800C, b"body\x00")) + b"behind the end",
            winmail(attribute(1, 0x00069003, struct.pack("<IHHI", 1, 0x1E, 0x1000, 9_000_000))),
        ],
        ids=["no data", "empty", "cut off", "checksum", "tail", "properties"],
    )
    def test_M27_broken_ones_fail_closed(self, data: bytes) -> None:
        inspection = attached(data, "winmail.dat")
        assert LeafState.SUSPECT in {one.state for one in inspection.leaves}

    def test_M27_a_message_within(self) -> None:
        inner = winmail(attribute(1, 0x0002800C, b"inner-word\x00"))
        value = bytes(16) + inner
        properties = struct.pack("<IHHII", 1, 0x0D, 0x3701, 1, len(value)) + value + bytes(-len(value) % 4)
        inspection = attached(winmail(RENDERING, attribute(2, 0x00069005, properties)), "winmail.dat")
        assert "inner-word" in text(inspection)


def test_compressed_rtf_with_a_wrong_checksum_is_refused() -> None:
    body = b"\x00" + b"{\\rtf1 a" + b"\x01" + b"\x00\x00"
    good = struct.pack("<IIII", len(body) + 12, 8, 0x75465A4C, rtf_compressed.crc(body)) + body
    assert rtf_compressed.unpack(good, budget()).startswith(b"{\\rtf1 a")
    with pytest.raises(Unreadable):
        rtf_compressed.unpack(good[:12] + bytes(4) + body, budget())
    with pytest.raises(Unreadable):
        rtf_compressed.unpack(good[:20], budget())


def flipped(name: str, count: int) -> None:
    """No hang, no exception; a file whose text is gone is never clean."""
    data = (FIXTURES / name).read_bytes()
    whole = words(name)
    chance = random.Random(name)
    for _ in range(count):
        at = chance.randrange(len(data))
        broken = data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
        start = time.process_time()
        try:
            read = ole.extract(Piece(broken), budget())
        except (Unreadable, OSError):
            continue  # what the walk calls suspect
        assert time.process_time() - start < 2
        if read.state is LeafState.INSPECTED and all(child.data.startswith(b"{\\rtf") for child in read.children):
            seen = "\n".join(segment.text for segment in read.segments)
            lost = whole - set(re.findall(r"[^\s\"]{1,30}-word\b", seen))
            assert len(lost) <= 2, (at, lost)


FLIPPED = ["word.doc", "remarked.doc", "plain-long.xls", "slides.ppt", "outer.msg", "vbaProject.bin"]


@pytest.mark.parametrize("name", FLIPPED)
def test_Z13_some_flipped_octets(name: str) -> None:
    flipped(name, 8)


@pytest.mark.slow
@pytest.mark.parametrize("name", FLIPPED)
def test_Z13_a_thousand_flipped_octets(name: str) -> None:
    flipped(name, 1_000)

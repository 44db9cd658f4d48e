"""Older Office documents as real programs write them, where a strict reader might take them for broken."""

from __future__ import annotations

import struct

import pytest

from gateway.extraction.base import Unreadable
from gateway.office import compound, property_set, vba
from gateway.verdict import LeafState
from tests.content_mail import attached, leaf, text, zipped
from tests.test_office import budget, parsed


def test_lists_of_strings_stand_close_together() -> None:
    value = struct.pack("<II", 0x101E, 2) + struct.pack("<I", 5) + b"abcd\0" + struct.pack("<I", 3) + b"ef\0"
    body = struct.pack("<II", 16 + len(value), 1) + struct.pack("<II", 13, 16) + value
    data = struct.pack("<HHI16sI", 0xFFFE, 0, 0, bytes(16), 1)
    data += bytes.fromhex("02d5cdd59c2e1b10939708002b2cf9ae") + struct.pack("<I", 48) + body
    assert property_set.read(data, budget()).texts == (("property 13", "abcd\nef"),)


def test_a_table_of_sectors_that_ends_a_chain() -> None:
    data = bytearray(compound.build({("a",): bytes(5_000)}))
    table = struct.unpack_from("<I", data, 76)[0]
    struct.pack_into("<I", data, 512 + 512 * table + 4 * table, 0xFFFFFFFE)
    assert compound.Compound.parse(bytes(data), budget()).get("a") == bytes(5_000)


def test_D05_another_sector_in_no_chain_is_ambiguous() -> None:
    data = bytearray(compound.build({("a",): bytes(5_000)})) + b"hidden".ljust(512)
    table = struct.unpack_from("<I", data, 76)[0]
    struct.pack_into("<I", data, 512 + 512 * table + 4 * (len(data) // 512 - 2), 0xFFFFFFFE)
    with pytest.raises(Unreadable, match="belong to no stream"):
        compound.Compound.parse(bytes(data), budget())


def test_a_field_of_a_form_in_a_word_document() -> None:
    words_of = b"\xff\xff\xff\xff" + bytes(6) + "field-word".encode("utf-16-le") + bytes(20)
    data = struct.pack("<IH", 0x44 + len(words_of), 0x44).ljust(0x44, b"\0") + words_of
    inspection = attached(parsed("word.doc").cut(instead={("Data",): data}), "a.doc")
    assert leaf(inspection).state is LeafState.INSPECTED
    assert "field-word" in text(inspection)


def test_a_drawing_over_several_records_of_a_workbook() -> None:
    options = "drawn-word\0".encode("utf-16-le")
    shape = struct.pack("<HHI", 1 << 4 | 3, 0xF00B, 6 + len(options)) + struct.pack("<HI", 0x80C0, len(options)) + options
    whole = struct.pack("<HHI", 0x0F, 0xF000, len(shape)) + shape
    parts = [struct.pack("<HH", kind, len(part)) + part for kind, part in ((0xEB, whole[:20]), (0xEB, whole[20:30]), (0x3C, whole[30:]))]
    book = parsed("plain-long.xls").get("Workbook")
    first = 4 + struct.unpack_from("<H", book, 2)[0]
    changed = bytearray(book[:first] + b"".join(parts) + book[first:])
    at = 0
    while at + 4 <= len(changed):
        kind, length = struct.unpack_from("<HH", changed, at)
        if kind == 0x85:
            struct.pack_into("<I", changed, at + 4, struct.unpack_from("<I", changed, at + 4)[0] + len(b"".join(parts)))
        at += 4 + length
    inspection = attached(parsed("plain-long.xls").cut(instead={("Workbook",): bytes(changed)}), "a.xls")
    assert leaf(inspection).state is LeafState.INSPECTED
    assert "drawn-word" in text(inspection)


def test_D03_a_module_of_nothing_but_blank_lines_hides_nothing() -> None:
    blank = b"\x00\x80\x09\x00" + bytes(4) + b"\xff" * 4
    table = b"\xfe\xca\x01\x00\x02\x00" + 2 * blank + b"\xff\xff\xff\xff\x01\x01"
    assert not vba._has_code(table + struct.pack("<I", 8) + bytes(8))
    assert vba._has_code(table + struct.pack("<I", 40) + bytes(40))
    assert vba._has_code(table.replace(b"\x09" + bytes(5), b"\x09\x00\x08\x00\x00\x00", 1) + struct.pack("<I", 8))


def test_D05_a_package_in_a_presentation_is_read() -> None:
    show = parsed("slides.ppt").get("PowerPoint Document")
    package = zipped(("theme.txt", b"theme-word and some more text"))
    show += struct.pack("<HHI", 0, 0x040E, len(package)) + package
    inspection = attached(parsed("slides.ppt").cut(instead={("PowerPoint Document",): show}), "a.ppt")
    assert "theme-word" in text(inspection)

"""What fuzzing, and reading with its eyes, found: each input did something that it may not do, and does it no longer."""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Callable

import pytest

from gateway.archives import decoders
from gateway.config import Limits
from gateway.content import TABLE
from gateway.documents import html
from gateway.extraction.base import Budget, Found, OverLimit, Piece, Unreadable
from gateway.office import compound, officeart, property_set, tnef_properties, vba


def read(kind: str, data: bytes) -> Found | Unreadable:
    """What the reader of *kind* says; it has four seconds of processor time for it."""
    began = time.process_time()
    try:
        return TABLE[kind](Piece(data, "a.bin"), Budget(Limits()))
    except Unreadable as error:
        return error
    finally:
        assert time.process_time() - began < 4


def test_Z06_a_length_beyond_the_end_is_no_loop() -> None:
    assert isinstance(read("image/webp", b"RIFF\xff\xff\xff\xffWEBP" + bytes(20)), Unreadable)


def test_Z06_entries_of_a_picture_are_counted() -> None:
    directories, entries = 8, 65535
    block = struct.pack("<H", entries) + struct.pack("<HHII", 270, 2, 5, 8) * entries
    data, at = b"II*\0" + struct.pack("<I", 8), 8
    for number in range(directories):
        at += len(block) + 4
        data += block + struct.pack("<I", at if number + 1 < directories else 0)
    assert isinstance(read("image/tiff", data), OverLimit)


def test_Z01_comments_of_a_picture_are_counted_as_they_unpack() -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    packed = chunk(b"zTXt", b"c\0\0" + zlib.compress(bytes(1_000_000), 9))
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)) + packed * 5000 + chunk(b"IEND", b"")
    assert isinstance(read("image/png", data), OverLimit)


def test_fill_octets_before_a_marker_are_passed_over_at_once() -> None:
    data = b"\xff\xd8\xff\xda\x00\x02" + b"\xff\x00" * 2_000_000 + b"\xff" * 2_000_000 + b"\xff\xd9"
    assert isinstance(read("image/jpeg", data), Found)


@pytest.mark.parametrize(
    "section", ["<![CDA[SECRET]]>", "<![SECRET[ x", "<![ ![SECRET", "<![CDATA[SECRET]]>", "<![if !mso]>SECRET<![endif]>"]
)
def test_E04_sections_without_a_known_name_are_read(section: str) -> None:
    page = html.read("<p>" + "<div>" * 300 + section + "</p>")
    assert any("SECRET" in segment.text for segment in page.segments) or any("SECRET" in link for link in page.links)
    page = html.read(f"<![CDATA[a]]>{section}")
    assert any("SECRET" in segment.text for segment in page.segments)


def test_Z06_folders_of_a_cabinet_are_entries() -> None:
    count = 60_000
    data = struct.pack("<4s5L2B5H", b"MSCF", 0, 0, 0, 36 + 8 * count, 0, 3, 1, count, 1, 0, 0, 0)
    data += struct.pack("<LHH", 36, 0, 0) * count + bytes(5_000_000)
    data = data[:8] + struct.pack("<L", len(data) - 1) + data[12:]
    found = read("cab", data)
    assert isinstance(found, OverLimit)


def budgeted(call: Callable[[Budget], object], seconds: float = 4) -> object:
    """What *call* gives or refuses; it has so many seconds of processor time."""
    began = time.process_time()
    try:
        return call(Budget(Limits(inspect_cpu=0.3)))
    except Unreadable as error:
        return error
    finally:
        assert time.process_time() - began < seconds


def test_Z06_many_store_entries_for_one_place_cost_what_they_cost() -> None:
    delayed = struct.pack("<HHI", 0, 0xF00B, 12) + bytes(8_000_000)
    entry = struct.pack("<20xIII2x", len(delayed), 1, 0).ljust(36, b"\0")
    data = (struct.pack("<HHI", 2, 0xF007, len(entry)) + entry) * 20_000
    assert isinstance(budgeted(lambda budget: officeart.walk(data, budget, officeart.Drawing(), delayed)), OverLimit)


def test_Z08_a_store_entry_in_a_store_entry_is_broken() -> None:
    data = b""
    for _ in range(3):
        body = bytes(36) + data
        data = struct.pack("<HHI", 2, 0xF007, len(body)) + body
    drawing = officeart.Drawing()
    officeart.walk(data, Budget(Limits()), drawing)
    assert drawing.broken


def test_Z06_many_properties_at_one_place_are_paid_for() -> None:
    count, text = 4000, b"A" * 1_000_000
    head = struct.pack("<HHI16sI", 0xFFFE, 0, 0, bytes(16), 1) + struct.pack("<16sI", bytes.fromhex("e0859ff2f94f6810ab9108002b27b3d9"), 48)
    start = 8 + 8 * count
    places = b"".join(struct.pack("<II", 100 + number, start) for number in range(count))
    data = head + struct.pack("<II", start, count) + places + struct.pack("<II", 30, len(text)) + text
    assert isinstance(budgeted(lambda budget: property_set.read(data, budget)), OverLimit)


def test_many_values_of_one_property_are_joined_once() -> None:
    values = 20_000
    data = struct.pack("<IHHI", 1, 0x1102, 0x1234, values) + (struct.pack("<I", 1000) + bytes(1000)) * values
    (item,) = tnef_properties.rows(data, 1, "cp1252", Budget(Limits()))
    assert len(item.raw[0x1234]) == 1001 * values - 1
    budgeted(lambda budget: list(tnef_properties.rows(data, 1, "cp1252", budget)), seconds=2)


def test_Z06_modules_of_a_project_are_entries() -> None:
    name, place = struct.pack("<HI", 0x1A, 1) + b"M", struct.pack("<HII", 0x31, 4, 0)
    listing = b"".join(_chunk((name + place) * 200) for _ in range(200))
    data = compound.build({("VBA", "dir"): b"\x01" + listing, ("VBA", "M"): b"\0" + b"word " * 100_000})
    assert isinstance(budgeted(lambda budget: vba.modules(data, budget)), OverLimit)


def _chunk(plain: bytes) -> bytes:
    """Octets as a compressed chunk of [MS-OVBA] 2.4.1.3 that copies nothing."""
    packed = b"".join(b"\0" + plain[at : at + 8] for at in range(0, len(plain), 8))
    return struct.pack("<H", 0xB000 | len(packed) - 1) + packed


def test_parameters_that_the_library_does_not_take_are_refused() -> None:
    with pytest.raises(Unreadable, match="damaged"):
        list(decoders.lzma1(b"\0" * 20, bytes((8 + 9 * 4,)) + b"\0\0\1\0", 10))

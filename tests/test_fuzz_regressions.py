"""What fuzzing, and reading with its eyes, found: each input did something that it may not do, and does it no longer."""

from __future__ import annotations

import struct
import time
import zlib

import pytest

from gateway.config import Limits
from gateway.content import TABLE, html
from gateway.content.base import Budget, Found, OverLimit, Piece, Unreadable


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
    directories, entries = 20, 65535
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

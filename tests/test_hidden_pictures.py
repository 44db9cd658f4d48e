"""Words that a gallery shows beside a picture: EXIF, XMP, comments and chunks, in any of their forms."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from PIL import Image

from tests.content_mail import attached

WORD, HINDI = b"CONFIDENTIAL", "गोपनीय"
WIDE = (HINDI + "\x00").encode("utf-16-le")
XMP = b"http://ns.adobe.com/xap/1.0/\x00"


def picture(kind: str) -> bytes:
    out = io.BytesIO()
    Image.new("L", (64, 64), 255).save(out, kind)
    return out.getvalue()


def exif(tag: int, kind: int, data: bytes) -> bytes:
    return b"II*\x00" + struct.pack("<IHHHII", 8, 1, tag, kind, len(data), 26) + bytes(4) + data


def segment(marker: int, body: bytes) -> bytes:
    whole = picture("JPEG")
    return whole[:2] + b"\xff" + bytes((marker,)) + struct.pack(">H", len(body) + 2) + body + whole[2:]


def chunk(kind: bytes, body: bytes) -> bytes:
    whole = picture("PNG")
    return whole[:33] + struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) + whole[33:]


@pytest.mark.parametrize(
    "data",
    [
        segment(0xE1, b"Exif\x00\x00" + exif(40091, 1, WIDE)),
        segment(0xE1, b"Exif\x00\x00" + exif(37510, 7, b"UNICODE\x00" + WIDE)),
        segment(0xE1, b"Exif\x00\x00" + exif(270, 2, HINDI.encode() + b"\x00Jos\xe9")),
        segment(0xE1, XMP + b'<x><rdf:Description dc:title="CONFIDENTIAL"/></x>'),
        segment(0xE1, XMP + b"<x><d>" + b"".join(b"&#%d;" % letter for letter in WORD) + b"</d></x>"),
        segment(0xEC, b"Ducky\x00\x01\x00\x04" + WORD.decode().encode("utf-16-be")),
        segment(0xFE, WIDE),
        chunk(b"iTXt", b"Comment\x00\x01\x00\x00\x00" + zlib.compress(HINDI.encode())),
        chunk(b"eXIf", exif(40091, 1, WIDE)),
        chunk(b"prVt", WORD),
        picture("GIF")[:-1] + b"\x21\x01\x0c" + bytes(12) + b"\x0c" + WORD + b"\x00;",
        picture("GIF")[:-1] + b"\x21\xff\x0bXMP DataXMP\x0c" + WORD + b"\x00;",
    ],
)
def test_D12_words_beside_a_picture(data: bytes) -> None:
    assert attached(data, "a.bin").findings


@pytest.mark.parametrize(("tag", "kind", "data"), [(269, 2, WORD + b"\x00"), (40091, 1, WIDE), (65000, 7, WORD)])
def test_D12_words_in_a_field_of_tiff(tag: int, kind: int, data: bytes) -> None:
    whole = exif(tag, kind, data)
    assert attached(whole, "a.tif").findings


def test_M30_a_card_behind_another_line() -> None:
    note = "".join(f"={octet:02X}" for octet in HINDI.encode())
    card = f"hello\r\nBEGIN:VCARD\r\nNOTE;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:{note}\r\nEND:VCARD\r\n"
    assert attached(card.encode(), "a.vcf").findings


def test_M30_letters_behind_backslashes() -> None:
    card = "BEGIN:VCARD\r\nVERSION:3.0\r\nNOTE:" + "".join(f"\\{letter}" for letter in "SECRET") + "\r\nEND:VCARD\r\n"
    assert attached(card.encode(), "a.vcf").findings

"""The raw scan: what it finds in text, what it leaves alone, and that it stays linear. Ids are those of the catalogue."""

from __future__ import annotations

import base64
import binascii
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config import Limits
from gateway.message import rawscan, views
from gateway.message.prescan import prescan

LIMITS = Limits()
NOTE = b"SECRET\r\nThe payload of this test is a short note that nobody may read.\r\n"
ZIP = b"PK\x03\x04" + bytes(range(256))
B64 = base64.encodebytes(NOTE).replace(b"\n", b"\r\n")
PROSE = b"The committee met on Monday and went through the minutes of the last meeting, as is usual.\r\n" * 20


def found(data: bytes) -> list[tuple[str, bytes]]:
    return [(blob.kind, blob.data) for blob in rawscan.find(data, "1")]


def uuencoded(data: bytes) -> bytes:
    lines = [binascii.b2a_uu(data[n : n + 45]).rstrip(b"\n") for n in range(0, len(data), 45)]
    return b"begin 644 note.txt\r\n" + b"\r\n".join(lines) + b"\r\n`\r\nend\r\n"


def xxencoded(data: bytes) -> bytes:
    alphabet = bytes.maketrans(bytes(range(32, 97)), b"+-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz+")
    lines = [binascii.b2a_uu(data[n : n + 45]).rstrip(b"\n").translate(alphabet) for n in range(0, len(data), 45)]
    return b"begin 644 note.txt\r\n" + b"\r\n".join(lines) + b"\r\n+\r\nend\r\n"


HQX = "!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr"
BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def binhexed(data: bytes) -> bytes:
    header = b"\x04note\0TEXTTEXT\0\0" + len(data).to_bytes(4, "big") + b"\0\0\0\0"
    flat = (header + b"\0\0" + data + b"\0\0").replace(b"\x90", b"\x90\x00")
    body = base64.b64encode(flat + b"\0" * (-len(flat) % 3)).decode().translate(str.maketrans(BASE64, HQX)).encode()
    return (
        b"(This file must be converted with BinHex 4.0)\r\n\r\n:"
        + b"\r\n".join(body[n : n + 64] for n in range(0, len(body), 64))
        + b":\r\n"
    )


CASES = {
    "base64 lines": (B64, "base64", NOTE),
    "base64 in prose": (PROSE + b"\r\n" + B64 + b"\r\n" + PROSE, "base64", NOTE),
    "base64 in one long line": (b"see: " + base64.b64encode(NOTE) + b" thanks\r\n", "base64", NOTE),
    "base64 of a file": (base64.encodebytes(ZIP).replace(b"\n", b"\r\n"), "base64", ZIP),
    "base64 in lines of 20": (b"\r\n".join(base64.b64encode(NOTE)[n : n + 20] for n in range(0, 100, 20)) + b"\r\n", "base64", NOTE[:75]),
    "base64, one character a line": (b"\r\n".join(bytes([o]) for o in base64.b64encode(NOTE)) + b"\r\n", "base64", NOTE),
    "base64 after a short first line": (
        b"\r\n" + base64.b64encode(NOTE)[:24] + b"\r\n" + base64.b64encode(NOTE)[24:] + b"\r\n",
        "base64",
        NOTE,
    ),
    "quoted-printable": (b"see\r\n=53=45=43=52=45=54=20=6E=6F=\r\n=74=65\r\n", "quoted-printable", b"see\r\nSECRET note\r\n"),
    "base64 glued to a word": (b"payload" + base64.b64encode(NOTE) + b"\r\n", "base64", None),
    "uuencode": (PROSE + uuencoded(NOTE), "uuencode", NOTE),
    "xxencode": (b"see\r\n" + xxencoded(NOTE), "xxencode", NOTE),
    "base64 behind a line that is a word": (b"base64\r\n" + B64, "base64", NOTE),
    "uuencode, base64 variant": (b"begin-base64 644 note\r\n" + B64 + b"====\r\n", "uuencode", NOTE),
    "yEnc": (
        b"=ybegin line=128 size=70 name=x\r\n" + bytes((o + 42) & 255 for o in NOTE).replace(b"=", b"=}") + b"\r\n=yend size=70\r\n",
        "yenc",
        NOTE,
    ),
    "BinHex": (binhexed(NOTE), "binhex", NOTE),
    "data address": (b'<a href="data:text/plain;charset=utf-8;base64,' + base64.b64encode(NOTE) + b'">x</a>\r\n', "data", NOTE),
    "data address, percent": (b"DATA:text/plain,%53ECRET%20note \r\n", "data", b"SECRET note"),
    "armour": (
        b"-----BEGIN PGP MESSAGE-----\r\n\r\nhQEM\r\n-----END PGP MESSAGE-----\r\nrest\r\n",
        "armour",
        b"-----BEGIN PGP MESSAGE-----\r\n\r\nhQEM\r\n-----END PGP MESSAGE-----\r\n",
    ),
    "pasted entity": (
        b"Hello\r\n\r\nSubject: x\r\nContent-Type: text/plain\r\n\r\nSECRET\r\n",
        "mime",
        b"Subject: x\r\nContent-Type: text/plain\r\n\r\nSECRET\r\n",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_M26_content_in_text_is_found_and_decoded(case: str) -> None:
    data, kind, content = CASES[case]
    assert rawscan.suspicious(data)
    if content is None:
        assert any(name == kind and NOTE.strip()[10:] in blob for name, blob in found(data))
    else:
        assert (kind, content) in found(data)


@pytest.mark.parametrize(
    "data",
    [
        PROSE,
        b"https://example.gov.in/" + b"a1B2c3D4e5F6g7H8" * 8 + b"/page?id=" + b"0123456789abcdefABCDEF" * 4 + b"\r\n",
        b"Message-ID: <" + b"CAF1xYz9+QpLmN0oPqRsTuVwXyZ" * 3 + b"@mail.example>\r\n",
        b"=" * 76 + b"\r\n" + b"/" * 76 + b"\r\n" + b"x" * 76 + b"\r\n",
        b"0123456789" * 8 + b"\r\n" + b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" + b"\r\n",
        b"Alpha\r\nBravo\r\nCharlie\r\nDelta\r\nEcho\r\nFoxtrot\r\nGolf\r\nHotel\r\nIndia\r\nJuliett\r\nKilo\r\nLima\r\nMike\r\n",
        b"the data: three, four\r\nbegin 10 minutes early\r\nContent-wise it is fine\r\n",
        b"-----BEGIN PGP SIGNATURE-----\r\nVersion: GnuPG v1.4-x (GNU/Linux)\r\n\r\n"
        + base64.encodebytes(b"\x88\x3f" + bytes((n * 73 + 11) % 256 for n in range(300))).replace(b"\n", b"\r\n")
        + b"=abcd\r\n-----END PGP SIGNATURE-----\r\n",
        b"-----BEGIN CERTIFICATE-----\r\n"
        + base64.encodebytes(b"\x30\x82\x04\x00" + bytes((n * 37) % 256 for n in range(1024))).replace(b"\n", b"\r\n")
        + b"-----END CERTIFICATE-----\r\n",
        "गोपनीय टिप्पणी यह है\r\n".encode() * 50,
    ],
)
def test_ordinary_text_is_left_alone(data: bytes) -> None:
    assert not rawscan.suspicious(data)
    assert found(data) == []


def test_text_in_the_armour_of_a_signature_is_found_all_the_same() -> None:
    assert ("base64", NOTE) in found(b"-----BEGIN PGP SIGNATURE-----\r\n\r\n" + B64 + b"-----END PGP SIGNATURE-----\r\n")


def test_much_base64_counts_whatever_it_says() -> None:
    noise = bytes((n * n * 31 + n * 7) % 251 for n in range(3000))
    assert ("base64", noise) in found(base64.encodebytes(noise).replace(b"\n", b"\r\n"))


def look(content: bytes) -> tuple[rawscan.Blob, ...]:
    return rawscan.hidden(content, views.strict(content, prescan(content, LIMITS), LIMITS))


def test_hidden_names_the_part_and_leaves_decoded_parts_alone() -> None:
    head = b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=B\r\n\r\n"
    attachment = b"--B\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(
        ZIP * 20
    ).replace(b"\n", b"\r\n")
    blobs = look(head + b"--B\r\n\r\nsee\r\n" + B64 + attachment + b"--B--\r\n")
    assert [(blob.path.partition("@")[0], blob.kind, blob.data) for blob in blobs] == [("1", "base64", NOTE)]


def test_hidden_looks_between_the_parts_of_an_ambiguous_message() -> None:
    content = b"A: b\r\nno field: x\r\n" + B64 + b"\r\nbody\r\n"
    assert any(blob.path.startswith("-@") and blob.data == NOTE for blob in look(content))


@pytest.mark.parametrize(
    "data",
    [
        b"begin 644 x\r\n" * 100_000,
        b"=ybegin \r\n" * 100_000,
        b"Content-Type: x\r\n" * 80_000,
        b"Content-Type: x\r\n\r\n" * 60_000,
        b"data:a/b;c" * 100_000,
        b"data:" * 200_000,
        b"data:a/b,x " * 90_000,
        b"-----BEGIN PGP SIGNATURE-----\r\n" * 30_000,
        b"-----BEGIN PGP MESSAGE-----\r\n" * 30_000,
        b"(This file must be converted with BinHex\r\n" * 20_000,
        b"A" * 1_000_000,
        b"aB3" * 330_000,
        b"A\r\n" * 300_000,
        (b"A" * 47 + b"\r\n") * 20_000,
        (b"A" * 47 + b"\r\n\r\n") * 20_000,
        (b"aB3+" * 13 + b" ") * 20_000,
        b"Zz9\r\n" * 200_000,
    ],
)
def test_a_megabyte_of_anything_is_scanned_in_linear_time(data: bytes) -> None:
    start = time.process_time()
    rawscan.suspicious(data)
    for count, _ in enumerate(rawscan.find(data, "1")):
        if count > rawscan.MOST_BLOBS:
            break
    assert time.process_time() - start < 8


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.binary(min_size=60, max_size=200))
def test_what_is_found_was_suspicious(before: bytes, hidden: bytes) -> None:
    data = before + b"\r\n" + base64.encodebytes(hidden).replace(b"\n", b"\r\n")
    assert bool(found(data)) == rawscan.suspicious(data)


@settings(max_examples=100, deadline=None)
@given(
    st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "Zs")), min_size=60, max_size=200),
    st.sampled_from([16, 40, 60, 64, 76]),
)
def test_text_in_base64_lines_is_found(text: str, width: int) -> None:
    encoded = base64.b64encode(text.encode())
    lines = b"\r\n".join(encoded[n : n + width] for n in range(0, len(encoded), width))
    if len(set(encoded)) >= 12:
        assert ("base64", text.encode()) in found(b"Dear Sir,\r\n\r\n" + lines + b"\r\n\r\nYours\r\n")

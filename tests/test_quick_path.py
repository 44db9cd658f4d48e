"""The quick reading of a door and the whole inspection: the same answer, or none. Ids of the catalogue stand in the names.

``plain.inspect`` answers for plain text mail where it is. What it says must be what the inspector would say, for every message of the
corpora and for bodies that are made to fool it; where it cannot know, it must give no answer.
"""

from __future__ import annotations

import base64
import binascii
import quopri
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config import Limits
from gateway.content import TABLE, signatures
from gateway.content.walk import read_message
from gateway.message import plain, rawscan
from gateway.text import iscii
from gateway.verdict import Inspection
from tests import mime_shapes
from tests.content_mail import ROOT, scheme

LIMITS = Limits()
NOTE = b"SECRET\r\n\r\nThe neutral payload of this test is a short note about nothing at all.\r\n"
WORDS = "Papers are enclosed for the meeting. Kindly acknowledge receipt of this letter by return of post.\r\n"


def mail(body: bytes, charset: str = "utf-8", encoding: str = "8bit", extra: str = "") -> bytes:
    """A message that is nothing but the text *body*, as it is written in *encoding*."""
    if encoding == "base64":
        body = base64.encodebytes(body).replace(b"\n", b"\r\n")
    elif encoding == "quoted-printable":
        body = quopri.encodestring(body.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")
    declared = f"; charset={charset}" if charset else ""
    return (
        "From: a@dept.gov.in\r\nTo: b@ministry.gov.in\r\nSubject: papers\r\nMessage-ID: <1@dept.gov.in>\r\n"
        f"Date: Mon, 5 Oct 2026 10:00:00 +0530\r\nMIME-Version: 1.0\r\n{extra}Content-Type: text/plain{declared}\r\n"
        f"Content-Transfer-Encoding: {encoding}\r\n\r\n"
    ).encode() + body


def differs(content: bytes) -> str:
    """In what the quick answer on *content* differs from the whole one; empty where it does not, or where there is no quick answer."""
    quick = plain.inspect(content, "00", LIMITS, scheme(), want_text=True)
    if quick is None:
        return ""
    whole = read_message(content, "00", LIMITS, scheme(), TABLE, want_text=True)
    return ", ".join(name for name in Inspection.__struct_fields__ if getattr(quick, name) != getattr(whole, name))


def answered(content: bytes) -> bool:
    return plain.inspect(content, "00", LIMITS, scheme()) is not None


def test_an_ordinary_letter_is_answered_quickly_and_alike() -> None:
    for charset, encoding, text in (
        ("utf-8", "8bit", WORDS), ("us-ascii", "7bit", WORDS), ("utf-8", "base64", "गोपनीय\r\n\r\nपत्र संलग्न है।\r\n"),
        ("iso-8859-1", "quoted-printable", "Café\r\n" + WORDS), ("", "7bit", "SECRET\r\n" + WORDS),
    ):  # fmt: skip
        content = mail(text.encode("utf-8" if charset == "utf-8" else "cp1252"), charset, encoding)
        assert answered(content), (charset, encoding)
        assert not differs(content), (charset, encoding)


def stored() -> list[Path]:
    return sorted(path for path in (ROOT / "tests" / "corpus").rglob("*.eml")) + sorted(
        (ROOT / "rules" / "policy" / "examples").rglob("*.eml")
    )


def test_C01_M24_every_stored_message_is_read_alike() -> None:
    paths = stored()
    assert len(paths) > 100
    quick = 0
    for path in paths:
        content = path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        quick += answered(content)
        assert not differs(content), (path.name, differs(content))
    assert quick > 20


def test_M24_every_published_shape_is_read_alike() -> None:
    for name, content in mime_shapes.messages().items():
        assert not differs(content), name


# --- what stands in text and is more than text -------------------------------------------------------------------------


ARMOURS = (
    "PGP MESSAGE", "PGP SIGNATURE", "PGP PUBLIC KEY BLOCK", "PGP PRIVATE KEY BLOCK", "PGP SECRET KEY BLOCK", "PGP MESSAGE, PART 1/2",
    "PGP ARMORED FILE", "AGE ENCRYPTED FILE", "PKCS7", "PKCS #7 SIGNED DATA", "CMS", "ENCRYPTED PRIVATE KEY", "ENCRYPTED MESSAGE",
    "PRIVACY-ENHANCED MESSAGE",
)  # fmt: skip


def packet(kind: int, body: bytes) -> bytes:
    """An OpenPGP packet of the new form."""
    return bytes((0xC0 | kind, 0xFF)) + len(body).to_bytes(4, "big") + body


def compressed(text: bytes) -> bytes:
    """A compressed OpenPGP message: no secret is needed to read it."""
    literal = packet(11, b"t\x00\x00\x00\x00\x00" + text)
    return packet(8, b"\x01" + zlib.compress(literal)[2:-4])


def armour(kind: str, data: bytes, width: int = 64) -> bytes:
    written = base64.b64encode(data)
    lines = [written[at : at + width] for at in range(0, len(written), width)]
    return b"\r\n".join((f"-----BEGIN {kind}-----".encode(), b"", *lines, f"-----END {kind}-----".encode(), b""))


@pytest.mark.parametrize("kind", ARMOURS)
def test_E14_M26_no_armour_is_answered_quickly(kind: str) -> None:
    block = armour(kind, compressed(NOTE * 3))
    for body in (block, WORDS.encode() + block, WORDS.encode() + b"> " + block.replace(b"\n", b"\n> "), b"  " + block, b"\t" + block):
        assert not answered(mail(body)), body[:80]


@pytest.mark.parametrize("kind", [kind for kind in ARMOURS if kind.startswith("PGP")])
def test_E14_M26_a_compressed_message_is_read_under_every_name(kind: str) -> None:
    content = mail(WORDS.encode() + armour(kind, compressed(NOTE)))
    whole = read_message(content, "00", LIMITS, scheme(), TABLE, want_text=True)
    assert any(finding.level.name == "SECRET" for finding in whole.findings), [leaf.path for leaf in whole.leaves]


def xxencoded(data: bytes) -> bytes:
    table = bytes.maketrans(bytes(range(0x20, 0x60)) + b"`", b"+-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz+")
    return b"".join((
        b"begin 644 note.txt\r\n",
        *(binascii.b2a_uu(data[at : at + 45]).rstrip(b"\n").translate(table) + b"\r\n" for at in range(0, len(data), 45)),
        b"+\r\nend\r\n",
    ))  # fmt: skip


def uuencoded(data: bytes) -> bytes:
    lines = [binascii.b2a_uu(data[at : at + 45]).rstrip(b"\n") + b"\r\n" for at in range(0, len(data), 45)]
    return b"begin 644 note.txt\r\n" + b"".join(lines) + b"`\r\nend\r\n"


def yencoded(data: bytes) -> bytes:
    body = bytes((octet + 42) % 256 for octet in data)
    return b"=ybegin line=256 size=%d name=n.txt\r\n" % len(data) + body + b"\r\n=yend size=%d\r\n" % len(data)


def packings() -> dict[str, bytes]:
    """NOTE as text carries other content, by name."""
    lines = base64.encodebytes(NOTE).replace(b"\n", b"\r\n")
    return {
        "base64": lines,
        "base64 in short lines": b"\r\n".join(base64.b64encode(NOTE)[at : at + 16] for at in range(0, 120, 16)) + b"\r\n",
        "uuencode": uuencoded(NOTE),
        "uuencode in base64": b"begin-base64 644 note.txt\r\n" + lines + b"====\r\n",
        "xxencode": xxencoded(NOTE),
        "yenc": yencoded(NOTE),
        "binhex": b"(This file must be converted with BinHex 4.0)\r\n\r\n:" + b'$f*TEQKPH#jdH8&4F`!N!3' * 3 + b":\r\n",
        "data address": b"See data:text/plain;base64," + base64.b64encode(NOTE) + b" here.\r\n",
        "data address in percents": b"data:text/html,%3Cp%3ESECRET%3C/p%3E\r\n",
        "quoted-printable": b"".join(b"=%02X" % octet for octet in NOTE[:60]) + b"\r\n",
        "pasted entity": b"Content-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\n" + lines,
        "utf-7": "गोपनीय".encode("utf-7") + b"\r\n" + WORDS.encode(),
        "utf-16 without a mark": NOTE.decode().encode("utf-16-le"),
        "iso-2022-jp": "秘密の文書".encode("iso-2022-jp") + b"\r\n",
        "html": b"<p>SECRET</p>\r\n",
        "html behind blanks": b" " * 100 + b"\r\n" * 20 + b"<html><body><p>SECRET</p></body></html>\r\n",
        "html behind a mark": b"\xef\xbb\xbf<html><body><p>SECRET</p></body></html>\r\n",
        "calendar": b"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nSUMMARY:SEC\r\n RET\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
        "card behind blanks": b"\r\n" * 60 + b"BEGIN:VCARD\r\nVERSION:3.0\r\nNOTE:SEC\r\n RET\r\nEND:VCARD\r\n",
        "rtf behind blanks": b" " * 80 + b"{\\rtf1\\ansi SEC{\\b RET}}",
        "postscript": b"%!PS-Adobe-3.0\r\n(SEC) show (RET) show\r\n",
        "drawing": b"<?xml version='1.0'?><svg><text>SECRET</text></svg>",
        "salted": base64.encodebytes(b"Salted__" + bytes(range(64))).replace(b"\n", b"\r\n"),
        "pdf behind words": b"x " * 200 + b"%PDF-1.4\r\n",
        "a mark": b"\xef\xbb\xbfSECRET\r\n" + WORDS.encode(),
    }  # fmt: skip


@pytest.mark.parametrize("name", packings())
def test_M26_C01_nothing_packed_into_text_is_answered_quickly(name: str) -> None:
    packed = packings()[name]
    for body in (packed, packed + WORDS.encode()):
        assert not answered(mail(body)), name
        assert not answered(mail(body, encoding="base64")), name
    assert not differs(mail(WORDS.encode() + b"\r\n" + packed)), name


def test_Z10_no_signature_of_a_file_is_answered_quickly() -> None:
    rows = [(0, row[0]) for rows in signatures.SIGNATURES.values() for row in rows]
    rows += [(offset, octets) for offset, octets, _, _ in signatures.OFFSETS]
    filler = b"abc def ghi\r\n" * 3000
    for offset, octets in rows:
        body = filler[:offset] + octets + filler[: 600 + offset]
        for charset in ("utf-8", "windows-1252", "us-ascii"):
            for encoding in ("8bit", "base64"):
                content = mail(body, charset, encoding)
                assert not differs(content), (octets, charset, encoding)


def test_E14_no_armour_that_the_inspector_knows_is_answered_quickly() -> None:
    for mark, _ in signatures.ARMOUR:
        for before in (b"", b"> ", b"x", WORDS.encode()):
            assert not answered(mail(before + mark + b"-----\r\n\r\n" + WORDS.encode())), (before, mark)


def test_C01_letters_in_other_codes_are_read_alike() -> None:
    hindi = "कार्यालय ज्ञापन विषय गोपनीय पत्र महोदय को सूचित किया जाता है कि बैठक दिनांक को होगी। "
    table = {iscii.decode(bytes((octet,))): octet for octet in range(0xA1, 0xEB) if len(iscii.decode(bytes((octet,)))) == 1}
    old = b"".join(bytes((table[letter],)) if letter in table else letter.encode("ascii", "replace") for letter in hindi) * 3
    assert iscii.plainly(old)
    for charset in ("windows-1252", "iso-8859-1", "utf-8", "", "us-ascii", "x-unknown"):
        content = mail(old + b"\r\n", charset)
        assert not answered(content), charset
        whole = read_message(content, "00", LIMITS, scheme(), TABLE, want_text=True)
        assert any("कार्यालय" in text for _, text in whole.texts), charset
    for text in ('Hkkjr ljdkj\r\nxksiuh;\r\nfo"k; cSBd ds laca/k esa\r\n', "dk;kZy; vkns'k vkSj lwpuk gS\r\n"):
        for charset in ("windows-1252", "us-ascii", "utf-8"):
            assert not differs(mail(text.encode("ascii"), charset)), (text, charset)


@pytest.mark.parametrize("largest", [2_500, pytest.param(40_000, marks=pytest.mark.slow)])
def test_text_of_the_fixtures_is_read_alike(largest: int) -> None:
    paths = [
        path
        for folder in (ROOT / "tests" / "fixtures", ROOT / "tests" / "corpus", ROOT / "rules", ROOT / "docs")
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".asc", ".txt", ".toml", ".md", ".tsv", ".pem", ".age", ".enc", ".sig", ".json", ".csv", ".html", ".ics", ".rtf")
        and path.stat().st_size < largest
    ]
    assert len(paths) > 25
    for path in paths:
        body = path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        forms = (("utf-8", "8bit"), ("windows-1252", "base64"), ("us-ascii", "7bit"))
        for charset, encoding in forms if b"-----BEGIN" not in body else forms[:1]:
            content = mail(body, charset, encoding)
            assert not differs(content), (path.name, charset, encoding, differs(content))


# --- bodies that are put together ---------------------------------------------------------------------------------------


PIECES: tuple[bytes, ...] = (
    WORDS.encode(),
    b"SECRET\r\n",
    b"Classification: CONFIDENTIAL\r\n",
    "गोपनीय\r\n".encode(),
    b"> quoted words\r\n",
    b"-- \r\nA. Verma\r\n",
    b"\r\n",
    b" ",
    b"\t",
    b"=",
    b"=\r\n",
    b"=3D",
    b"%",
    b"&#83;ECRET",
    b"<",
    b"<b>",
    b"a<b and c>d\r\n",
    b"+AFM-",
    b"~{",
    b"\x0c",
    b"\x0b",
    b"\x7f",
    b"\x85",
    b"\xa0",
    b"\xe9",
    b"\xc3\xa9",
    b"\xe2\x80\x8b",
    b"\xef\xbb\xbf",
    b"\x00",
    b"\x01",
    b"\x1f",
    b"-----BEGIN ",
    b"PGP SIGNATURE-----\r\n",
    b"-----BEGIN PGP SIGNED MESSAGE-----\r\n",
    b"From a@b.example Mon Oct  5 10:00:00 2026\r\n",
    b"From: x@y.example\r\nTo: z@y.example\r\n\r\n",
    b"Content-Type: text/plain\r\n\r\n",
    b"begin 644 x\r\n",
    b"data:,x",
    b"http://drive.google.com/file/d/abc\r\n",
    b"4111 1111 1111 1111\r\n",
    b"PAN ABCPV1234D\r\n",
    b"Aadhaar 2341 2341 2346\r\n",
    b"QWxhZGRpbjpvcGVuIHNlc2FtZQ",
    base64.b64encode(NOTE)[:60],
    b"U2FsdGVkX1",
    b"#!",
    b"%!",
    b"{\\rtf",
    b"BEGIN:VCARD\r\n",
    b'ds dh esa gS fo"k; ljdkj\r\n',
    b"[InternetShortcut]\r\nURL=x\r\n",
    b"ustar",
    b"0000644",
    b"MZ",
    b"BM",
    b"PK",
)


def bodies() -> st.SearchStrategy[bytes]:
    return st.lists(st.sampled_from(PIECES) | st.binary(max_size=12) | st.text(max_size=20).map(str.encode), max_size=8).map(b"".join)


FORMS = st.sampled_from([
    (charset, encoding)
    for charset in ("utf-8", "us-ascii", "iso-8859-1", "windows-1252", "", "utf-7", "iso-2022-jp", "x-nothing")
    for encoding in ("8bit", "7bit", "base64", "quoted-printable", "binary")
])  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(bodies(), FORMS)
def test_C01_M24_M26_what_is_answered_quickly_is_what_the_inspector_says(body: bytes, form: tuple[str, str]) -> None:
    assert not differs(mail(body, *form))


def test_C04_text_that_some_reader_decodes_otherwise_is_not_answered_quickly() -> None:
    for body in (b"hello\x07\t\xc2\x80", b"\x0b\t\xe0\xa4\x85 and more", b"caf\xc3\xa9\t\xe0\xa4\x85"):
        content = mail(body, "utf-8", "quoted-printable")
        assert not answered(content), body
        assert not differs(content), body


@pytest.mark.slow
@settings(max_examples=4000, deadline=None)
@given(bodies(), FORMS)
def test_C01_M24_M26_the_same_at_length(body: bytes, form: tuple[str, str]) -> None:
    assert not differs(mail(body, *form))


def test_M26_the_scan_names_every_armour() -> None:
    for mark, _ in signatures.ARMOUR:
        line = mark + (b"" if mark.endswith(b"-----") else b"-----")
        for before in (b"", WORDS.encode(), WORDS.encode() + b"> ", b"\t"):
            text = before + line + b"\r\n\r\nyP8AAABd\r\n" + line.replace(b"BEGIN", b"END") + b"\r\n"
            assert rawscan.suspicious(text), line
            assert [blob.kind for blob in rawscan.find(text, "1")] == ["armour"], line


def test_M26_a_signature_that_is_one_is_not_named() -> None:
    for kind, first in (("SIGNATURE", "iQEz"), ("SIGNATURE", "wsBc"), ("PUBLIC KEY BLOCK", "mQEN"), ("PUBLIC KEY BLOCK", "xsBN")):
        text = f"Hello.\r\n-----BEGIN PGP {kind}-----\r\nVersion: 2\r\n\r\n{first}AAAA\r\n-----END PGP {kind}-----\r\n".encode()
        assert not list(rawscan.find(text, "1"))
    for kind, first in (("SIGNATURE", "yP8A"), ("SIGNATURE", "xsBN"), ("SIGNATURE", "wcBM"), ("PUBLIC KEY BLOCK", "iQEz")):
        text = f"-----BEGIN PGP {kind}-----\r\n\r\n{first}AAAA\r\n-----END PGP {kind}-----\r\n".encode()
        assert [blob.kind for blob in rawscan.find(text, "1")] == ["armour"]

"""Characters: every charset of the allow-list, escapes that hide, and names that are none. Ids are those of the catalogue."""

from __future__ import annotations

import base64
import codecs
import time

import pytest

from gateway.documents import text_plain
from gateway.extraction.base import Unreadable
from gateway.levels import Level
from gateway.message import charsets
from gateway.message.encoded import decode_words
from gateway.text import iscii
from gateway.verdict import Inspection, LeafState
from tests.content_mail import attached, inspect, leaf

HINDI = "गोपनीय\n\nयह एक टिप्पणी है।\n"
ENGLISH = "SECRET\n\nA note about nothing at all.\n"


def body(octets: bytes, charset: str, *, encoding: str = "base64") -> Inspection:
    coded = base64.encodebytes(octets).replace(b"\n", b"\r\n") if encoding == "base64" else octets
    head = "From: a@example.gov.in\r\nTo: b@example.gov.in\r\nSubject: x\r\nMIME-Version: 1.0\r\n"
    head += f"Content-Type: text/plain; charset={charset}\r\n"
    return inspect(head.encode("latin-1") + f"Content-Transfer-Encoding: {encoding}\r\n\r\n".encode() + coded)


def secret(found: Inspection) -> bool:
    return any(one.level is Level.SECRET for one in found.findings)


def utf7(text: str) -> bytes:
    """Every character in base64, as no honest program writes it."""
    return b"+" + base64.b64encode(text.encode("utf-16-be")).rstrip(b"=") + b"-"


@pytest.mark.parametrize("charset", ["utf-16", "utf-16le", "utf-16be", "utf-32", "utf-8", "utf-7"])
@pytest.mark.parametrize("text", [HINDI, ENGLISH])
def test_C01_unicode_as_declared(charset: str, text: str) -> None:
    found = body(text.encode(charset), charset)
    assert text in text_plain.decode(text.encode(charset), charset).texts
    assert secret(found) or text is HINDI
    assert found.findings
    assert found.leaves[0].state is LeafState.INSPECTED


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("text", [HINDI, ENGLISH])
def test_C01_unicode_by_its_mark_or_its_pattern(codec: str, text: str) -> None:
    found = attached(text.encode(codec), "note.txt", "text/plain")
    assert leaf(found).state is LeafState.INSPECTED
    assert found.findings


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-32", "utf-32-be"])
def test_C01_half_a_character_at_the_end_is_in_doubt_and_the_rest_is_read(codec: str) -> None:
    found = attached(ENGLISH.encode(codec) + b"x", "note.txt", "text/plain")
    assert secret(found)
    assert (leaf(found).state, leaf(found).reason) == (LeafState.SUSPECT, text_plain.CUT)


@pytest.mark.parametrize("charset", ["", "us-ascii", "utf-8", "iso-8859-1", "utf-7"])
def test_C01_UTF_7_is_a_second_reading_whatever_is_declared(charset: str) -> None:
    octets = b"Hello\n" + utf7("SECRET") + b"\nwords +91-11-2338 C++ a+b\n"
    readings = text_plain.decode(octets, charset).texts
    assert octets.decode() in readings
    assert any("\nSECRET\n" in reading for reading in readings)
    assert secret(body(octets, charset or "us-ascii"))
    assert secret(body(octets.replace(b"\n", b"\r\n"), charset or "us-ascii", encoding="7bit"))


@pytest.mark.parametrize("text", ["call +919876543210", "C++11 and g++-12", "a+b=c+d", "+abc+def-ghi", "1+1-", "+AAAA-", ""])
def test_C01_what_stands_behind_a_plus_sign_in_ordinary_text_is_no_UTF_7(text: str) -> None:
    assert charsets.utf7(text) is None


@pytest.mark.parametrize(
    ("octets", "charset", "text"),
    [
        ("日本語 SECRET".encode("iso2022_jp"), "iso-2022-jp", "日本語 SECRET"),
        ("日本語".encode("iso2022_jp"), "", "日本語"),
        (b"SEC\x1b(BRET", "us-ascii", "SECRET"),
        ("한국어".encode("iso2022_kr"), "iso-2022-kr", "한국어"),
        ("己所不欲".encode("hz"), "hz-gb-2312", "己所不欲"),
        ("己所不欲".encode("hz"), "", "己所不欲"),
        ("SECRET".encode("cp037"), "ibm037", "SECRET"),
        ("SECRET".encode("cp500"), "IBM500", "SECRET"),
        ("SECRET".encode("cp1140"), "ebcdic-cp-1140", "SECRET"),
        ("Совершенно".encode("koi8-r"), "KOI8-R", "Совершенно"),
        ("Совершенно".encode("cp866"), "ibm866", "Совершенно"),
        ("秘密".encode("gb18030"), "gb2312", "秘密"),
        ("秘密".encode("big5"), '"Big5"', "秘密"),
        ("秘密".encode("cp932"), "Shift_JIS", "秘密"),
        ("비밀".encode("cp949"), "ks_c_5601-1987", "비밀"),
        ("ลับ".encode("cp874"), "windows-874", "ลับ"),
        ("سر".encode("cp1256"), "windows-1256", "سر"),
        ("naïve".encode("cp1252"), "iso-8859-1", "naïve"),
    ],
)
def test_C01_declared_charsets_and_escapes(octets: bytes, charset: str, text: str) -> None:
    assert text in text_plain.decode(octets, charset).texts


def test_C01_ISCII_by_name_and_by_its_spelling() -> None:
    word = bytes((0xB5, 0xE4, 0xC8, 0xC6, 0xDC, 0xCD))
    assert iscii.decode(word) in text_plain.decode(word, "x-iscii-de").texts
    assert charsets.is_known("x-iscii-ta")
    assert text_plain.decode(word, "x-iscii-de").doubt == ""


@pytest.mark.parametrize("charset", ["tscii", "x-tam", "tab", "iso-2022-cn", "x-kruti", "klingon", "x-user-defined"])
def test_C01_an_unknown_charset_is_never_inspected(charset: str) -> None:
    for octets in (ENGLISH.encode(), b"\xab\xcd\xef words \xe1\xe2"):
        found = body(octets, charset)
        assert any(one.state is LeafState.SUSPECT for one in found.leaves)


@pytest.mark.parametrize(
    "charset",
    [
        "zlib",
        "rot13",
        "rot_13",
        "idna",
        "punycode",
        "unicode_escape",
        "raw_unicode_escape",
        "base64",
        "hex",
        "undefined",
        "mbcs",
        "string-escape",
        "bz2",
        "quopri",
        "uu",
    ],
)
def test_C01_no_codec_of_Python_is_asked_for_by_a_name_from_the_mail(charset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = codecs.lookup
    monkeypatch.setattr(codecs, "lookup", lambda name: asked.append(name) or real(name))
    assert charsets.codec_of(charset) == ""
    assert decode_words(f"=?{charset}?q?SECRET?=") == "SECRET"
    assert text_plain.decode(b"words", charset).doubt == text_plain.UNKNOWN
    found = body(b"words", charset)
    assert charset not in asked
    assert found.leaves[0].state is LeafState.SUSPECT


@pytest.mark.parametrize("charset", ["../../x", "x" * 1_000, "x" * 1_000_000, "utf-8\x00", "%s%n", "é"])
def test_C02_a_charset_that_is_no_name_is_ambiguous_and_costs_nothing(charset: str) -> None:
    start = time.process_time()
    found = body(ENGLISH.encode(), f'"{charset}"')
    assert time.process_time() - start < 1
    assert found.ambiguity


def test_C03_encoded_words_in_every_deviation() -> None:
    assert decode_words("=?x-none?q?SECRET?=") == "SECRET"
    assert decode_words("=?utf-8?b?4KSX?= =?utf-8?q?=E0=A5=8B?=") == "गो"
    assert decode_words("=?utf-8?q?=3D=3Futf-8=3Fq=3Fa=3F=3D?=") == "=?utf-8?q?a?="
    assert decode_words("=?utf-8?x?a?= =?utf-8?q?b") == "=?utf-8?x?a?= =?utf-8?q?b"
    assert decode_words("=?x-iscii-de?b?" + base64.b64encode(bytes((0xB3,))).decode() + "?=") == "क"
    assert decode_words("=?utf-8?q?a=00=0Ab?=") == "a  b"


def test_C03_five_thousand_encoded_words_take_no_time() -> None:
    for word in ("=?utf-8?q?a?=", "=?x-none?b?YQ==?=", "=?utf-8?b?4KSX", "=?=?=?"):
        start = time.process_time()
        decode_words(" ".join([word] * 5000))
        assert time.process_time() - start < 0.2


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (b"\xc1\x93\xc1\x85\xc1\x83\xc1\x92\xc1\x85\xc1\x94", "SECRET"),
        (b"\xe0\x81\x93ECRET", "SECRET"),
        (b"\xf0\x80\x81\x93ECRET", "SECRET"),
    ],
)
def test_C07_overlong_UTF_8_is_read_as_careless_readers_do_and_suspect(octets: bytes, text: str) -> None:
    found = attached(octets + b"\n\nwords of a note\n", "note.txt", "text/plain")
    assert secret(found)
    assert (leaf(found).state, leaf(found).reason) == (LeafState.SUSPECT, text_plain.FORBIDDEN)
    assert charsets.overlong(text.encode() + "é गो 😀".encode()) is None


def test_C07_one_stray_octet_makes_no_mojibake_of_a_Hindi_text() -> None:
    octets = HINDI.encode() * 3 + b"\xff end\n"
    assert any("गोपनीय" in reading for reading in text_plain.decode(octets, "utf-8").texts)
    assert attached(octets, "note.txt", "text/plain").findings


@pytest.mark.parametrize("octets", [bytes(range(256)) * 8, b"\x00\x01" * 999])
def test_what_is_no_text_is_not_called_text(octets: bytes) -> None:
    with pytest.raises(Unreadable):
        text_plain.decode(octets, "utf-8")

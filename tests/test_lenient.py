"""The second reader of mail meets no codec but those of the list, whatever a mail calls its charset."""

from __future__ import annotations

import codecs
import encodings
import time
from collections.abc import Iterator

import pytest

from gateway.message.charsets import codecs_in_use
from gateway.message.lenient import lenient

NAMES = (
    "idna", "unicode_escape", "rot13", "rot_13", "zlib", "bz2", "hex", "uu", "punycode", "mbcs", "undefined", "no-such",
    "raw_unicode_escape", "base64_codec", "quopri", "../../x", "x" * 1_000_000, "utf-8\0zlib", "\0", "", " ", "'", "\u0437lib",
)  # fmt: skip
"""Names of codecs that are no character sets, and of nothing."""

PLACES = {
    "of the body": 'Content-Type: text/plain; charset="{0}"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\u00e9t\u00e9 x\r\n',
    "of the body, extended": "Content-Type: text/plain; charset*={0}''utf-8\r\n\r\n\u00e9t\u00e9 x\r\n",
    "of a file name": "Content-Disposition: attachment; filename*={0}''a%C3%A9.txt\r\n\r\n\u00e9t\u00e9 x\r\n",
    "of a file name in pieces": "Content-Disposition: attachment; filename*0*={0}''a%C3; filename*1*=%A9.txt\r\n\r\n\u00e9t\u00e9 x\r\n",
    "of a name": "Content-Type: text/plain; name*={0}''a%C3%A9.txt\r\n\r\n\u00e9t\u00e9 x\r\n",
    "of a boundary": "Content-Type: multipart/mixed; boundary*={0}''bo\r\n\r\n--bo\r\n\r\n\u00e9t\u00e9 x\r\n--bo--\r\n",
    "of an encoded word": 'Subject: =?{0}?q?=C3=A9?=\r\nContent-Type: text/plain; name="=?{0}?q?=C3=A9?="\r\n\r\n\u00e9t\u00e9 x\r\n',
}


@pytest.fixture
def asked() -> Iterator[list[str]]:
    """Every name that a codec is looked up by, while the test runs."""
    names: list[str] = []

    def search(name: str) -> codecs.CodecInfo | None:
        names.append(name)
        return encodings.search_function(name)

    codecs.unregister(encodings.search_function)
    codecs.register(search)
    try:
        yield names
    finally:
        codecs.unregister(search)
        codecs.register(encodings.search_function)


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name[:20]))
@pytest.mark.parametrize("place", PLACES)
def test_C01_C02_the_name_of_a_charset_is_looked_up_nowhere(asked: list[str], place: str, name: str) -> None:
    began = time.process_time()
    view = lenient(PLACES[place].format(name).encode())
    assert time.process_time() - began < 2
    allowed = {codec.replace("-", "_") for codec in codecs_in_use()}
    assert {name for name in (one.lower().replace("-", "_") for one in asked) if name not in allowed} == set()
    assert len(view.parts) == 1
    assert b"\xc3\xa9t\xc3\xa9 x" in bytes(view.parts[0].data or b"")
    assert len(view.parts[0].charset) <= 100


def test_C01_the_recorder_of_this_test_sees_what_the_package_itself_looks_up(asked: list[str]) -> None:
    import email

    mail = email.message_from_bytes(PLACES["of a file name"].format("rot13").encode())
    mail.get_filename()
    assert "rot13" in asked


@pytest.mark.parametrize(
    ("charset", "octets", "name"),
    [
        ("utf-8", "a%C3%A9.txt", "a\u00e9.txt"),
        ("ISO-8859-1", "a%E9.txt", "a\u00e9.txt"),
        ("koi8-r", "%C1.txt", "\u0430.txt"),
        ("", "a.txt", "a.txt"),
    ],
)
def test_file_names_in_charsets_of_the_list_are_read(charset: str, octets: str, name: str) -> None:
    (part,) = lenient(f"Content-Disposition: attachment; filename*={charset}''{octets}\r\n\r\nx\r\n".encode()).parts
    assert part.names == (name,)


def test_a_boundary_that_is_an_extended_value_is_the_boundary() -> None:
    view = lenient(b"Content-Type: multipart/mixed; boundary*=koi8-r''%C2\r\n\r\n--\xc3\xa9\r\n\r\nno\r\n")
    assert len(view.parts) == 1
    view = lenient(b"Content-Type: multipart/mixed; boundary*=utf-8'en'b%2Dx\r\n\r\n--b-x\r\n\r\none\r\n--b-x\r\n\r\ntwo\r\n--b-x--\r\n")
    assert [bytes(part.data or b"") for part in view.parts] == [b"one", b"two"]


def test_the_declared_charset_is_kept_as_it_was_written() -> None:
    (part,) = lenient(b"Content-Type: text/plain; charset=Rot13\r\n\r\nx\r\n").parts
    assert part.charset == "rot13"

"""What the strict reader says of one part: file names, transfer encodings, character sets. Catalogue groups M and C."""

from __future__ import annotations

import base64

import pytest

from tests.mime_messages import B64, PAYLOAD, PDF, TEXT, look, multipart, payload_seen, reasons, single


@pytest.mark.parametrize(
    ("disposition", "name", "reason"),
    [
        (b'attachment; filename="a.pdf"; filename="a.exe"', b"a.pdf", "the parameter filename given twice"),
        (b"attachment; filename=\"a.pdf\"; filename*=utf-8''a.exe", b"a.pdf", "file names that differ"),
        (b'attachment; filename*0*=utf-8\'\'a; filename*1=".exe"; filename="a.pdf"', b"a.pdf", "file names that differ"),
        (b'attachment; filename*0="a"; filename*2=".exe"', b"", "a piece of a file name is missing"),
        (b'attachment; filename="a.exe"', b"a.pdf", "file names that differ"),
        (b"attachment; filename*=x-none''a.exe", b"", "a file name in an unknown character set"),
        (b"attachment; filename*=a.exe", b"", "a file name whose character set is missing"),
    ],
)
def test_M20_file_names_that_conflict(disposition: bytes, name: bytes, reason: str) -> None:
    kind = b'application/octet-stream; name="' + name + b'"' if name else b"application/octet-stream"
    content = multipart(TEXT, b"Content-Type: " + kind + b"\r\nContent-Disposition: " + disposition + b"\r\n\r\nx\r\n")
    assert reason in reasons(content)
    if b".exe" in disposition and "missing" not in reason:
        assert any(candidate.endswith(".exe") for candidate in look(content).parts[1].names)


@pytest.mark.parametrize(
    ("disposition", "names"),
    [
        (b'attachment; filename="plain.docx"', ("plain.docx",)),
        (b'attachment; filename*0="long"; filename*1="name.docx"', ("longname.docx",)),
        (b"attachment; filename*0*=utf-8''%E0%A4%A8; filename*1*=%E0%A5%8B; filename*2=\"t.docx\"", ("नोt.docx",)),
        (b'attachment; filename="=?utf-8?B?4KSo4KWL4KSfLmRvY3g=?="', ("नोट.docx",)),
        (b"attachment; filename=two words.docx", ("two words.docx",)),
        (b'attachment; filename="\xe0\xa4\xa8.docx"', ("न.docx",)),
    ],
)
def test_M20_file_names_that_are_plain(disposition: bytes, names: tuple[str, ...]) -> None:
    view = look(multipart(TEXT, b"Content-Type: application/octet-stream\r\nContent-Disposition: " + disposition + b"\r\n\r\nx\r\n"))
    assert view.parts[1].names == names
    assert view.parts[1].is_attachment


def test_M29_disposition_does_not_make_a_body_of_an_attachment() -> None:
    for disposition in (b"inline", b"attachment", b"x-unknown"):
        view = look(multipart(TEXT, PDF.replace(b"Content-Transfer", b"Content-Disposition: " + disposition + b"\r\nContent-Transfer")))
        assert view.parts[1].is_attachment


# --- C: transfer encodings ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (B64[:20] + b"!!" + B64[20:], "base64 with other octets in it"),
        (B64.replace(b"=", b"") + b"====\r\n" + B64, "base64 that goes on after its padding"),
        (base64.b64encode(b"x" * 10) + b"\r\n" + B64, "base64 that goes on after its padding"),
        (base64.b64encode(b"x" * 10).rstrip(b"=") + b"\r\n", "base64 that is cut short"),
        (base64.urlsafe_b64encode(b"\xfb\xef\xff" * 30) + b"\r\n", "base64 with other octets in it"),
        (B64 + b"\r\n-- \r\nA list footer.\r\n", "base64"),
    ],
)
def test_C04_base64_that_readers_take_differently(body: bytes, reason: str) -> None:
    assert reason in reasons(single(b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n", body))


def test_C04_both_sides_of_a_pad_are_read() -> None:
    content = single(b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n", base64.b64encode(b"x" * 10) + b"\r\n" + B64)
    (part,) = look(content).parts
    assert part.decoded() == b"x" * 10 + PAYLOAD
    assert part.others == (b"x" * 10,)


def test_C04_one_character_a_line_is_plain_base64() -> None:
    dense = base64.b64encode(PAYLOAD)
    body = b"".join(dense[n : n + 1] + b"\r\n" for n in range(len(dense)))
    view = look(single(b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n", body))
    assert view.ambiguity == ()
    assert view.parts[0].decoded() == PAYLOAD


@pytest.mark.parametrize(
    ("body", "reason", "data"),
    [
        (b"a=3db=\r\nc\r\n", "", b"a=bc\r\n"),
        (b"a=ZZ\r\n", "broken quoted-printable", b"a=ZZ\r\n"),
        (b"a= \r\nb\r\n", "broken quoted-printable", b"ab\r\n"),
        (b"end=", "", b"end"),
    ],
)
def test_C05_quoted_printable(body: bytes, reason: str, data: bytes) -> None:
    view = look(single(b"Content-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n", body))
    assert " | ".join(view.ambiguity) == reason
    (part,) = view.parts
    assert data in (part.decoded(), *part.others)


@pytest.mark.parametrize(
    "value",
    [b"(x)base64", b"base64 (x)", b'"base64"', b"base64;", b"x-base64", b"base 64", b"base64, 7bit", b"base64\0", b"", b"=?q?base64?="],
)
def test_C06_transfer_encodings_in_disguise(value: bytes) -> None:
    content = single(b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: " + value + b"\r\n")
    assert "unknown transfer encoding" in reasons(content)
    assert payload_seen(content)


def test_C06_two_transfer_encodings() -> None:
    content = single(b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: base64\r\n")
    assert "two Content-Transfer-Encoding fields" in reasons(content)
    assert payload_seen(content)


@pytest.mark.parametrize("value", [b'"../../x"', b"x" * 5000, b'"a b"'])
def test_C02_a_character_set_that_is_no_name(value: bytes) -> None:
    view = look(single(b"Content-Type: text/plain; charset=" + value + b"\r\n", b"x\r\n"))
    assert any("a character set that is no name" in reason for reason in view.ambiguity)
    assert view.parts[0].charset == "unknown"


def test_C02_a_character_set_given_twice() -> None:
    assert "the parameter charset given twice" in reasons(single(b"Content-Type: text/plain; charset=utf-8; charset=utf-7\r\n", b"x\r\n"))


@pytest.mark.parametrize(
    "value", [b'text/plain; charset = "utf-8"', b"text/plain; Windows-1252", b"text/plain; format = flowed; charset=utf-8"]
)
def test_sloppy_parameters_of_real_mail_are_not_ambiguous(value: bytes) -> None:
    assert reasons(single(b"Content-Type: " + value + b"\r\n", b"words\r\n")) == ""


@pytest.mark.parametrize("value", [b"multipart/mixed; boundary = B", b"multipart/mixed; B; boundary=B", b"text/html; Windows-1252"])
def test_M13_sloppy_parameters_that_change_the_reading_are_ambiguous(value: bytes) -> None:
    assert reasons(single(b"Content-Type: " + value + b"\r\n", b"--B\r\n\r\nwords\r\n--B--\r\n"))

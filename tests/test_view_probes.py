"""Shapes that made other readers miss content, endless input, the second reader, and any octets at all.

Source: hostile-inputs catalogue 0.2 and M17-M19.
"""

from __future__ import annotations

import base64
import binascii
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.message import rawscan, views
from gateway.message.prescan import prescan
from gateway.message.views import View
from tests.mime_messages import B64, LIMITS, PAYLOAD, PDF, TEXT, TOP, look, multipart, payload_seen, single


def quick(content: bytes) -> View:
    start = time.process_time()
    view = look(content)
    rawscan.hidden(content, view)
    views.lenient(content, view.parts)
    assert time.process_time() - start < 1.0  # processor seconds; about 0.1 is usual
    return view


@pytest.mark.parametrize("depth", [100, 1000, 10_000])
def test_M17_deep_nesting_stops_at_the_limit(depth: int) -> None:
    head = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(depth))
    content = TOP + head + b"\r\nx\r\n" + b"".join(b"--b%d--\r\n" % n for n in reversed(range(depth)))
    assert any(reason.startswith("over the limit") for reason in quick(content).ambiguity)


def test_M18_a_hundred_thousand_empty_parts() -> None:
    for part in (b"--B\r\n", b"--B\r\n\r\n"):
        content = TOP + b"Content-Type: multipart/mixed; boundary=B\r\n\r\n" + part * 100_000 + b"--B--\r\n"
        view = quick(content)
        assert any(reason.startswith("over the limit") for reason in view.ambiguity)
        assert len(view.parts) <= LIMITS.mime_parts
    content = TOP + b"Content-Type: multipart/mixed; boundary=B\r\n\r\n" + b"--B\r\n\r\n" * 5000 + b"--B--\r\n"
    assert "over the limit of 1000 parts" in quick(content).ambiguity


def test_M19_endless_headers() -> None:
    for head in (b"X: y\r\n" * 500_000, b"X: " + b"y" * 1_000_000 + b"\r\n", b"To: " + b"a@b.in,\r\n " * 100_000 + b"c@d.in\r\n"):
        view = quick(head + TOP + b"\r\nbody\r\n")
        assert view.parts == ()
        assert view.ambiguity[0].startswith("over the limit")


def test_M19_a_part_with_an_endless_header() -> None:
    view = quick(multipart(TEXT, b"X: y\r\n" * 200_000 + PDF))
    assert "over the limit of octets or lines of a part's header" in view.ambiguity
    parameters = b"Content-Type: text/plain" + b"".join(b"; a%d=b" % n for n in range(9000)) + b"\r\n\r\nx\r\n"
    assert any("over the limit" in reason for reason in quick(multipart(TEXT, parameters)).ambiguity)


# --- all that the probe of section 0.2 lists, and more: none may come out clean -----------------------------------------

PROBES = {
    "second Content-Type": multipart(TEXT, PDF, head=b"Content-Type: text/plain\r\nContent-Type: multipart/mixed; boundary=B\r\n"),
    "NUL in type": single(b"Content-Type: appli\0cation/pdf\r\nContent-Transfer-Encoding: base64\r\n"),
    "attachment in epilogue": multipart(TEXT) + b"\r\n--B\r\n" + PDF,
    "attachment in epilogue, other boundary": multipart(TEXT) + b"\r\n--C\r\n" + PDF + b"--C--\r\n",
    "bare base64 in epilogue": multipart(TEXT) + b"\r\n" + B64,
    "attachment in preamble": multipart(TEXT).replace(b"--B", b"--C\r\n" + PDF + b"--C--\r\n\r\n--B", 1),
    "boundary prefix": multipart(TEXT, PDF).replace(b"--B\r\nContent-Type: app", b"--Bxyz\r\nContent-Type: app"),
    "(x)base64": single(b"Content-Transfer-Encoding: (x)base64\r\n"),
    '"base64"': single(b'Content-Transfer-Encoding: "base64"\r\n'),
    "base64;": single(b"Content-Transfer-Encoding: base64;\r\n"),
    "x-base64": single(b"Content-Transfer-Encoding: x-base64\r\n"),
    "base64 in text": single(b"", B64),
    "uuencode in text": single(
        b"",
        b"begin 644 a.pdf\r\n"
        + b"".join(binascii.b2a_uu(PAYLOAD[n : n + 45]).replace(b"\n", b"\r\n") for n in range(0, len(PAYLOAD), 45))
        + b"`\r\nend\r\n",
    ),
    "yEnc in text": single(
        b"",
        b"=ybegin line=128 size=78 name=a.pdf\r\n" + bytes((o + 42) & 255 for o in PAYLOAD).replace(b"=", b"=}") + b"\r\n=yend size=78\r\n",
    ),
    "leading CRLF": b"\r\n" + multipart(TEXT, PDF),
    "second header block in body": TOP + b"\r\nContent-Type: multipart/mixed; boundary=B\r\n\r\n--B\r\n" + PDF + b"--B--\r\n",
    "two encodings": single(b"Content-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: base64\r\n"),
    "encoding in the wrong case": single(b"Content-Transfer-Encoding: BaSe64\r\n"),
    "encoding folded": single(b"Content-Transfer-Encoding:\r\n base64\r\n"),
    "encoding folded twice": single(b"Content-Transfer-Encoding:\r\n \r\n base64\r\n"),
    "no MIME-Version": multipart(TEXT, PDF).replace(b"MIME-Version: 1.0\r\n", b""),
    "MIME-Version 2.0": multipart(TEXT, PDF).replace(b"1.0", b"2.0", 1),
    "no closing boundary": multipart(TEXT, PDF).removesuffix(b"--B--\r\n"),
    "boundary quoted and not": multipart(TEXT, PDF, head=b'Content-Type: multipart/mixed; boundary="B"; boundary=C\r\n'),
    "boundary in RFC 2231 form": multipart(TEXT, PDF, head=b"Content-Type: multipart/mixed; boundary*=utf-8''B\r\n"),
    "empty boundary": multipart(TEXT, PDF, boundary=b"", head=b'Content-Type: multipart/mixed; boundary=""\r\n'),
    "comment in type": multipart(TEXT, PDF, head=b"Content-Type: multipart/mixed (x); boundary=B\r\n"),
    "comma for semicolon": multipart(TEXT, PDF, head=b"Content-Type: multipart/mixed, boundary=B\r\n"),
    "multipart in base64": TOP
    + b"Content-Type: multipart/mixed; boundary=B\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    + base64.encodebytes(b"--B\r\n" + PDF + b"--B--\r\n").replace(b"\n", b"\r\n"),
    "same boundary nested": multipart(TEXT, b"Content-Type: multipart/mixed; boundary=B\r\n\r\n--B\r\n" + PDF + b"--B--\r\n"),
    "text type with parts": multipart(TEXT, PDF, head=b"Content-Type: text/plain\r\n"),
    "no type at all, with parts": multipart(TEXT, PDF, head=b"X: y\r\n"),
    "message/partial": single(b'Content-Type: message/partial; id="x"; number=1; total=1\r\n', TOP + PDF),
    "junk in base64": single(b"Content-Transfer-Encoding: base64\r\n", B64[:30] + b"*" + B64[30:]),
    "pad, then more": single(b"Content-Transfer-Encoding: base64\r\n", b"eA==\r\n" + B64),
    "field without a colon first": multipart(TEXT, PDF).replace(b"MIME-Version", b"junk\r\nMIME-Version", 1),
    "part header without an empty line": multipart(TEXT, PDF).replace(b"base64\r\n\r\n", b"base64\r\n", 1),
    "white line before the body": multipart(TEXT, PDF).replace(b"base64\r\n\r\n", b"base64\r\n \r\n", 1),
    "data address in HTML": single(
        b"Content-Type: text/html\r\n", b'<a href="data:application/pdf;base64,' + base64.b64encode(PAYLOAD) + b'">x</a>\r\n'
    ),
    "enclosed message": TOP + b"Content-Type: message/rfc822\r\n\r\n" + multipart(TEXT, PDF),
}


@pytest.mark.parametrize("shape", PROBES)
def test_M01_no_shape_of_the_probe_is_clean(shape: str) -> None:
    assert payload_seen(PROBES[shape]) or look(PROBES[shape]).ambiguity


# --- the second reader --------------------------------------------------------------------------------------------------


def test_the_second_reader_agrees_about_plain_mail_and_never_reads_the_long_base64() -> None:
    big = base64.encodebytes(b"%PDF-1.4" + bytes(range(256)) * 500).replace(b"\n", b"\r\n")
    content = multipart(TEXT, PDF, b"Content-Type: application/zip\r\nContent-Transfer-Encoding: base64\r\n\r\n" + big)
    view = look(content)
    second = views.lenient(content, view.parts)
    assert views.disagreements(view, second) == ()
    assert second.parts[2].data is view.parts[2].data


def test_the_second_reader_tells_of_a_part_that_the_first_does_not_see() -> None:
    content = multipart(TEXT, PDF)
    view = look(content)
    fewer = View(view.headers, view.parts[:1], ())
    assert views.disagreements(fewer, view) == ("another reader sees a part of type application/pdf that we do not",)
    assert views.disagreements(view, fewer) == ("part 2: another reader does not see it as we do",)


# --- never an error -----------------------------------------------------------------------------------------------------

FRAGMENTS = st.sampled_from(
    [
        b"\r\n",
        b"--B",
        b"--B--",
        b"--",
        b"Content-Type: ",
        b"multipart/mixed; boundary=B",
        b"text/plain",
        b"; charset=",
        b'"',
        b"(",
        b"\\",
        b"=?utf-8?B?",
        b"Content-Transfer-Encoding: ",
        b"base64",
        b"quoted-printable",
        b"x-uuencode",
        b"message/rfc822",
        b"begin 644 x",
        b"end",
        b"=ybegin ",
        b"=yend",
        b"From: ",
        b"a@b.in",
        b"; filename*0*=utf-8''%41",
        b"name=",
        b"data:text/html;base64,",
        b" ",
        b"\t",
        b":",
        b";",
        b"=",
        b"\0",
        b"\xe0\xa4\x97",
        b"\xff",
        b"QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0NTY3ODk",
        b"-----BEGIN PGP MESSAGE-----",
        b"(This file must be converted with BinHex 4.0)\r\n\r\n:",
        b"\x90",
        b"!",
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(FRAGMENTS, st.binary(max_size=12)), max_size=60))
def test_any_octets_are_read_without_an_error(pieces: list[bytes]) -> None:
    content = b"".join(pieces)
    scan = prescan(content, LIMITS)
    view = views.strict(content, scan, LIMITS)
    views.summary(view, scan)
    blobs = rawscan.hidden(content, view)
    views.disagreements(view, views.lenient(content, view.parts))
    for part in view.parts:
        if part.media_type.startswith("text/") and any(blob.path.startswith(part.number + "@") for blob in blobs):
            assert rawscan.suspicious(part.decoded())

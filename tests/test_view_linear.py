"""Every field and the body, filled with what makes careless parsers quadratic: the time must not run away.

Sources: hostile-inputs catalogue P8, C03, M17-M19; 100 kB is the limit of a header section.
"""

from __future__ import annotations

import time

import pytest

from gateway.message import edits, rawscan, views
from gateway.message.prescan import prescan
from gateway.verdict import Edit
from tests.mime_messages import LIMITS

PIECES = [
    b"a",
    b" ",
    b"\t",
    b'"',
    b'\\"',
    b"(",
    b"()",
    b")",
    b"<",
    b"<a@b.in>,",
    b"a@b.in,",
    b";",
    b"; a=b",
    b"; a=",
    b'; a="b',
    b"=?utf-8?q?a?= ",
    b"=?utf-8?b?",
    b"?",
    b"=",
    b"a.",
    b"a@",
    b"\\",
    b"; name*0=a",
    b"; filename*0*=%",
    b"; boundary=B",
    b"multipart/",
    b"\r\n ",
    b"\r\n x",
    b"\r\n \t",
    b"-",
    b"\xe0\xa4\x97",
    b"\xff",
    b"%41",
    b'"a" ',
    b"'",
]
HEADS = [
    b"Content-Type: ",
    b"Content-Type: multipart/mixed; boundary=B",
    b"Content-Type: text/plain; name=",
    b"Content-Transfer-Encoding: ",
    b"Content-Disposition: attachment; filename=",
    b"From: ",
    b"To: ",
    b"Subject: ",
    b"MIME-Version: 1.0",
    b"X-Long",
    b"",
]


@pytest.mark.parametrize("head", HEADS)
def test_P8_a_header_section_full_of_one_thing(head: bytes) -> None:
    for piece in PIECES:
        fill = piece * (95_000 // len(piece) if b"\r\n" not in piece else 990)
        for content in (
            head + fill + b"\r\n\r\nbody\r\n",
            b"Content-Type: multipart/mixed; boundary=B\r\n\r\n--B\r\n" + head + fill + b"x\r\n\r\nbody\r\n--B--\r\n",
        ):
            start = time.process_time()
            scan = prescan(content, LIMITS)
            view = views.strict(content, scan, LIMITS)
            views.summary(view, scan)
            edits.apply((Edit("remove", "X"),), content)
            assert time.process_time() - start < 3, (head, piece)


BODIES = [
    b"--",
    b"--B",
    b"--B\r\n",
    b"\r\n--B",
    b"\r\n--Bx\r\n",
    b"--B--\r\n",
    b"\r\n",
    b"=",
    b"= \r\n",
    b"=4",
    b"A",
    b"A=",
    b"=A",
    b"==",
    b"A\r\n",
    b"-----BEGIN PGP SIGNATURE-----\r\nx\r\n",
    b"X:",
    b"begin 644 x\r\n",
    b"\r\n\r\n",
    b"Content-Type: message/rfc822\r\n\r\n",
    b"data:a/b;",
    b"\t",
    b"<",
    b"M",
    b"#",
]


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Type: multipart/mixed; boundary=B\r\n\r\n--B\r\n",
        b"Content-Type: multipart/mixed; boundary=B\r\n\r\n--B--\r\n",
        b"Content-Type: message/rfc822\r\n\r\n",
        b"Content-Transfer-Encoding: base64\r\n\r\n",
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n",
        b"Content-Transfer-Encoding: x-uuencode\r\n\r\nbegin 644 x\r\n",
        b"\r\n",
    ],
)
def test_P8_a_body_full_of_one_thing(head: bytes) -> None:
    for piece in BODIES:
        content = b"From: a@b.in\r\n" + head + piece * (400_000 // len(piece))
        start = time.process_time()
        view = views.strict(content, prescan(content, LIMITS), LIMITS)
        rawscan.hidden(content, view)
        assert time.process_time() - start < 8, (head, piece)

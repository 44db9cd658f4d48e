"""Random damage to the structure of a message with an attachment: found or ambiguous, never clean and unseen.

A stand-in for the 201 published shapes of "Inbox Invasion" (hostile-inputs catalogue M01): the same kinds of damage, drawn from a
fixed seed, with a base64 and a quoted-printable payload.
"""

from __future__ import annotations

import base64
import random

import pytest

from gateway.message import rawscan, views
from gateway.message.prescan import prescan
from tests.mime_messages import LIMITS

PAYLOAD = b"%PDF-1.4 neutral payload: the quick brown fox jumps over the lazy dog, twice and again\n"
BODIES = {
    "base64": base64.encodebytes(PAYLOAD).splitlines(),
    "quoted-printable": [
        b"".join(b"=%02X" % octet for octet in PAYLOAD[at : at + 22]) + b"=" * (at + 22 < len(PAYLOAD)) for at in range(0, len(PAYLOAD), 22)
    ],
}
INSERTED = [
    b" ",
    b"\t",
    b"\r\n",
    b"\r\n ",
    b'"',
    b"'",
    b"(x)",
    b";",
    b";;",
    b",",
    b"\\",
    b"=",
    b":",
    b"\0",
    b"\x80",
    b"=?utf-8?q?x?=",
    b"--",
    b"-",
    b"x",
    b"\r",
    b"\n",
    b"*",
    b"*0",
    b"%",
    b"<",
    b">",
    b"/",
    b"[",
    b"charset=x;",
    b"boundary=Z;",
    b"\x0b",
    b"\x0c",
    b"\xa0",
    b"\xc2\xa0",
    b"7bit",
]
CHANGES = [
    bytes.upper,
    bytes.lower,
    bytes.swapcase,
    lambda line: line.replace(b": ", b":"),
    lambda line: line.replace(b": ", b":\r\n "),
    lambda line: line.replace(b";", b" ; "),
    lambda line: line.replace(b"64", b"-64"),
    lambda line: line.replace(b"BOUND", b"bound"),
    lambda line: line + b" ",
    lambda line: line + b"x",
]


def whole(encoding: str) -> tuple[list[bytes], int, int]:
    """The lines of an undamaged message, and the first and last line of its payload, which stay."""
    lines = [
        b"From: a@b.in",
        b"To: c@d.in",
        b"Subject: x",
        b"MIME-Version: 1.0",
        b'Content-Type: multipart/mixed; boundary="BOUND"',
        b"",
        b"--BOUND",
        b"Content-Type: text/plain; charset=utf-8",
        b"",
        b"hello there",
        b"--BOUND",
        b'Content-Type: application/pdf; name="a.pdf"',
        b"Content-Disposition: attachment; filename=a.pdf",
        b"Content-Transfer-Encoding: " + encoding.encode(),
        b"",
    ]
    body = BODIES[encoding]
    return [*lines, *body, b"--BOUND--", b""], len(lines), len(lines) + len(body)


def damaged(rng: random.Random, encoding: str) -> bytes:
    lines, first, last = whole(encoding)
    body = lines[first:last]
    lines = [*lines[:first], b"\xffBODY", *lines[last:]]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = [at for at, line in enumerate(lines) if line != b"\xffBODY"]
        at, kind = rng.choice(places), rng.randrange(8)
        line = lines[at]
        cut = rng.randrange(len(line) + 1)
        if kind <= 2:
            lines[at] = line[:cut] + rng.choice(INSERTED) + line[cut:]
        elif kind == 3:
            lines[at] = line[:cut] + line[cut + 1 :]
        elif kind == 4:
            lines.insert(rng.choice(places), line)
        elif kind == 5:
            del lines[at]
        elif kind == 6:
            other = rng.choice(places)
            lines[at], lines[other] = lines[other], lines[at]
        else:
            lines[at] = rng.choice(CHANGES)(line)
    return b"\r\n".join(lines).replace(b"\xffBODY", b"\r\n".join(body))


@pytest.mark.parametrize("encoding", BODIES)
@pytest.mark.parametrize("seed", range(4))
def test_M01_damaged_structure_never_hides_a_part(seed: int, encoding: str) -> None:
    rng = random.Random(seed)
    clean = 0
    for _ in range(750):
        content = damaged(rng, encoding)
        view = views.strict(content, prescan(content, LIMITS), LIMITS)
        if view.ambiguity:
            continue
        clean += 1
        blobs = rawscan.hidden(content, view)
        readings = [reading for part in view.parts for reading in (part.decoded(), *part.others)] + [blob.data for blob in blobs]
        seen = any(PAYLOAD.strip() in reading.replace(b"\r\n", b"\n") for reading in readings)
        # A pasted entity goes back through the reader as a message of its own.
        assert seen or any(blob.kind == "mime" for blob in blobs), content
    assert clean > 50  # else everything is called ambiguous, and the test says nothing


@pytest.mark.parametrize("encoding", BODIES)
def test_the_undamaged_message_is_clean_and_seen(encoding: str) -> None:
    content = b"\r\n".join(whole(encoding)[0])
    view = views.strict(content, prescan(content, LIMITS), LIMITS)
    assert view.ambiguity == ()
    assert view.parts[1].decoded().replace(b"\r\n", b"\n").strip() == PAYLOAD.strip()

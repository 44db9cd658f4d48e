"""Stretches of base64 lines: what is told of them is true, and nobody reads a message otherwise because of them."""

from __future__ import annotations

import base64
import random
import time

import pytest

from gateway.config import Limits
from gateway.message import dense, prescan, rawscan, views
from gateway.message.dense import stretches

LIMITS = Limits()
HEAD = (
    b"From: a@example.org\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=bb\r\n\r\n"
    b"--bb\r\nContent-Type: text/plain\r\n\r\nhello\r\n--bb\r\nContent-Type: application/pdf; name=a.pdf\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\n"
)


def encoded(data: bytes) -> bytes:
    return base64.encodebytes(data).replace(b"\n", b"\r\n")


def octets(count: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(count)


@pytest.mark.parametrize("count", [12_000, 57 * 400, 57 * 400 + 1, 57 * 400 + 2, 300_000])
def test_an_attachment_is_one_stretch_and_decodes_whole(count: int) -> None:
    data = octets(count)
    content = HEAD + encoded(data) + b"--bb--\r\n"
    (found,) = stretches(content)
    assert found.start == len(HEAD)
    assert base64.b64decode(content[found.start : found.end]) == found.data
    assert len(found.data) > count - 3 * 57
    scan = prescan.prescan(content, LIMITS)
    view = views.strict(content, scan, LIMITS)
    assert not view.ambiguity
    assert [part.decoded() for part in view.parts] == [b"hello", data]
    assert view.parts[1].dense == found.end - found.start
    assert not views.disagreements(view, views.lenient(content, view.parts))


FOREIGN = [bytes([octet]) for octet in range(256) if octet not in base64.b64encode(bytes(range(256))) + b"+/"]


@pytest.mark.parametrize("foreign", [*FOREIGN, b"="])
@pytest.mark.parametrize("line", [0, 60, 200])
def test_a_foreign_octet_is_in_no_stretch(foreign: bytes, line: int) -> None:
    body = bytearray(encoded(octets(20_000)))
    for column in (0, 31, 75):
        spoilt = bytearray(body)
        spoilt[line * 78 + column : line * 78 + column + 1] = foreign
        for found in stretches(HEAD + bytes(spoilt)):
            assert not found.start <= len(HEAD) + line * 78 + column < found.end


def test_a_pad_at_the_end_of_a_line_ends_no_stretch() -> None:
    first, second = encoded(octets(57 * 300 - 1)), encoded(octets(57 * 300, 2))
    content = HEAD + first + second + b"--bb--\r\n"
    assert stretches(content) == ()
    view = views.strict(content, prescan.prescan(content, LIMITS), LIMITS)
    assert any("padding" in reason for reason in view.ambiguity)


def pieces(rng: random.Random) -> bytes:
    """Octets that are all but a stretch, in many ways."""
    body = bytearray(encoded(rng.randbytes(rng.choice((9000, 12_000, 40_000)) + rng.randrange(100))))
    for _ in range(rng.choice((0, 0, 1, 2))):
        at = rng.randrange(len(body))
        body[at : at + rng.randrange(3)] = rng.choice(
            (b"", b"\r", b"\n", b"\0", b"\r\n", b"=", b"-", b"\r\n\r\n", b"\r\n--bb\r\n", b"\r\n--bb--\r\n", b"\xff", b" ", b"A", b"AAAA")
        )
    return bytes(body)


def messages() -> list[bytes]:
    rng = random.Random(7)
    found = []
    for _ in range(300):
        content = HEAD + pieces(rng)
        for _ in range(rng.randrange(3)):
            content += rng.choice((b"--bb\r\n", b"\r\n--bb\r\n", b"--bb \r\n", b"--bbb\r\n", b"--bb--\r\n", b"\r\n", b"A\r\n"))
            content += rng.choice((b"Content-Transfer-Encoding: base64\r\n\r\n", b"\r\n", b"Content-Type: text/plain\r\n\r\n"))
            content += pieces(rng)
        found.append(content + rng.choice((b"--bb--\r\n", b"", b"--bb--", b"--bb--\r\ntext\r\n")))
    return found


@pytest.mark.slow
def test_nothing_reads_otherwise_than_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(content: bytes) -> tuple[object, ...]:
        scan = prescan.prescan(content, LIMITS)
        view = views.strict(content, scan, LIMITS)
        second = views.lenient(content, view.parts)
        lines = (scan.header_end, scan.body_start, scan.header_lines, scan.received, scan.problems, scan.over_limit)
        parts = [(part.number, part.headers, part.encoding, bytes(part.raw), part.decoded(), part.others) for part in view.parts]
        theirs = [part.decoded() for part in second.parts]
        return lines, view.headers, parts, view.ambiguity, theirs, second.ambiguity, rawscan.hidden(content, view)

    with_them = [(read(content), len(stretches(content))) for content in messages()]
    monkeypatch.setattr(prescan, "stretches", lambda content: ())
    for content, (seen, _) in zip(messages(), with_them, strict=True):
        assert read(content) == seen
    assert sum(count for _, count in with_them) > 100


def test_hops_are_those_of_the_prescan() -> None:
    for head in (b"", b"Received: a\r\n" * 3, b"received:a\r\n" * 70, b"X: " + b"y" * 3_000_000 + b"\r\nReceived: a\r\n"):
        content = head + b"From: a@example.org\r\n\r\nReceived: none\r\n"
        assert prescan.hops(content, LIMITS) == prescan.prescan(content, LIMITS).received


@pytest.mark.slow
def test_many_beginnings_take_linear_time() -> None:
    line = b"A" * 56 + b"\r\n"
    for unit in (b"\r\n", b"\r\n" + line * 2, b"\r\n" + line * 130, b"\r\n" + line * 150, line * 160 + b"B\r\n\r\n"):
        content = b"From: a\r\n\r\n" + unit * (6_000_000 // len(unit))
        began = time.process_time()
        stretches(content)
        assert time.process_time() - began < 10


def test_short_ones_are_left_alone() -> None:
    content = HEAD + encoded(octets(4000)) + b"--bb--\r\n"
    assert stretches(content) == () and dense.LEAST > 4000

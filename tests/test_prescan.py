"""The prescan: offsets, counts, limits, and files with LF line ends. Ids are those of the hostile-inputs catalogue."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import Limits
from gateway.message.prescan import Prescan, canonical, prescan

LIMITS = Limits()


def scan(content: bytes) -> Prescan:
    return prescan(content, LIMITS)


def test_offsets_of_header_and_body() -> None:
    content = b"A: b\r\nC: d\r\n e\r\n\r\nbody\r\n"
    result = scan(content)
    assert content[: result.header_end] == b"A: b\r\nC: d\r\n e\r\n"
    assert content[result.body_start :] == b"body\r\n"
    assert (result.header_lines, result.problems, result.over_limit) == (3, (), "")


@pytest.mark.parametrize(
    ("content", "header_end", "body_start"),
    [(b"", 0, 0), (b"\r\n", 0, 2), (b"\r\nbody\r\n", 0, 2), (b"A: b\r\n", 6, 6), (b"A: b", 4, 4), (b"A: b\r\n\r\n", 6, 8)],
)
def test_messages_without_header_or_body(content: bytes, header_end: int, body_start: int) -> None:
    result = scan(content)
    assert (result.header_end, result.body_start) == (header_end, body_start)


def test_received_fields_are_counted_whatever_their_case() -> None:
    assert scan(b"Received: a\r\nRECEIVED: b\r\nreceived : c\r\nX-Received: d\r\nY: e\r\n Received: f\r\n\r\nReceived: g\r\n").received == 3


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"A: b\n\r\n", "a bare CR or LF"), (b"A: b\r\n\r\nx\ry\r\n", "a bare CR or LF"), (b"A: b\r\n\r\n\0\r\n", "a NUL octet")],
)
def test_S01_S04_line_ends_and_NUL_are_told(content: bytes, problem: str) -> None:
    assert scan(content).problems == (problem,)


@pytest.mark.parametrize(
    ("content", "limit"),
    [
        (b"X: " + b"y" * 100_001 + b"\r\n\r\n", "over the limit of 100000 octets of header"),
        (b"X: y\r\n" * 1001 + b"\r\n", "over the limit of 1000 lines of header"),
        (b"Received: x\r\n" * 51 + b"\r\n", "over the limit of 50 Received fields"),
        (
            b"Content-Type: multipart/mixed; boundary=B\r\n\r\n" + b"--B\r\n" * 20_001,
            "over the limit of 20000 lines that look like a boundary",
        ),
        (b"X: y\r\n" * 1000 + b"\r\n", ""),
        (b"Received: x\r\n" * 50 + b"\r\n", ""),
        (b"Subject: a patch\r\n\r\n" + b"--- a/file\r\n" * 20_001, ""),
    ],
)
def test_limits(content: bytes, limit: str) -> None:
    assert scan(content).over_limit == limit


def test_M19_endless_headers_take_no_time() -> None:
    for content in (b"X: y\r\n" * 500_000, b"X: " + b"y" * 1_000_000, b"Received: x\r\n" * 300_000):
        start = time.process_time()
        assert scan(content + b"\r\n\r\nbody").over_limit
        assert time.process_time() - start < 3


def test_files_with_LF_become_CRLF_and_nothing_else_changes() -> None:
    assert canonical(b"A: b\n\nbody\n") == b"A: b\r\n\r\nbody\r\n"
    for content in (b"A: b\r\n\r\nbody\r\n", b"mixed\r\nends\n", b"old\rmac", b"none", b""):
        assert canonical(content) is content


@given(st.binary(max_size=400))
def test_any_octets_have_a_prescan(content: bytes) -> None:
    result = scan(content)
    assert 0 <= result.header_end <= result.body_start <= len(content)
    assert content[result.header_end : result.body_start] in (b"", b"\r\n")

"""The scanner's short cut for lines of equal length finds what the long way finds (hostile-inputs catalogue S01-S05)."""

from __future__ import annotations

import hashlib

import pytest

from gateway.wire.smtp_data import Scanner

LINE = b"A" * 76 + b"\r\n"
BODY = LINE * 300


def scanned(data: bytes, chunk: int, line: int = 1000) -> Scanner:
    scanner = Scanner(1_000_000, line)
    for at in range(0, len(data), chunk):
        scanner.feed(data[at : at + chunk])
        if scanner.done or scanner.offence:
            break
    return scanner


@pytest.mark.parametrize("chunk", [77, 78, 1000, 4096, 1_000_000])
@pytest.mark.parametrize("column", [0, 1, 40, 75])
@pytest.mark.parametrize(("octets", "offence"), [(b"\r", "bare CR"), (b"\n", "bare LF"), (b"\0", "NUL"), (b"\rA\n", "bare CR")])
def test_S01_S04_inside_of_an_equal_line(chunk: int, column: int, octets: bytes, offence: str) -> None:
    at = 150 * len(LINE) + column
    spoilt = BODY[:at] + octets + BODY[at + len(octets) :]
    assert scanned(spoilt + b".\r\n", chunk).offence == offence


@pytest.mark.parametrize("chunk", [77, 78, 1000, 4096, 1_000_000])
def test_an_end_of_line_that_is_split_among_equal_lines(chunk: int) -> None:
    spoilt = BODY[: 150 * len(LINE) - 2] + b"\n\r" + BODY[150 * len(LINE) :]
    assert scanned(spoilt + b".\r\n", chunk).offence in ("bare LF", "bare CR")


@pytest.mark.parametrize("chunk", [77, 78, 1000, 4096, 1_000_000])
def test_more_ends_between_equal_lines_are_no_offence(chunk: int) -> None:
    mixed = LINE * 2 + (b"A" * 36 + b"\r\n" + b"A" * 38 + b"\r\n") * 100 + LINE * 20
    scanner = scanned(mixed + b".\r\n", chunk)
    assert scanner.done and not scanner.too_long
    assert scanner.content() == (mixed, hashlib.sha256(mixed).hexdigest())


@pytest.mark.parametrize("chunk", [77, 1000, 1_000_000])
@pytest.mark.parametrize(("limit", "too_long"), [(77, True), (78, False), (1000, False)])
def test_equal_lines_over_the_limit_are_told(chunk: int, limit: int, too_long: bool) -> None:
    assert scanned(b"x\r\n" + BODY + b".\r\n", chunk, limit).too_long is too_long


@pytest.mark.parametrize("long", [999, 1001])
def test_a_long_line_before_or_behind_equal_ones(long: int) -> None:
    for data in (b"B" * (long - 2) + b"\r\n" + BODY, BODY + b"B" * (long - 2) + b"\r\n"):
        for chunk in (900, 30_000):
            assert scanned(data + b".\r\n", chunk).too_long is (long > 1000)

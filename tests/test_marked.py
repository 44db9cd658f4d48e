"""Text cut at its marks: every character once, nothing invisible, whatever the marks are."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.levels import Level
from gateway.web.marked import Counter, Piece, pieces, readable


def cut(text: str, *marks: Any) -> list[tuple[str, str]]:
    return [(one.text, one.level) for one in pieces(text, marks, Counter())]


def test_marks_stand_in_their_places() -> None:
    found = pieces("a SECRET b", [[2, 8, "SECRET", "certain"]], Counter())
    assert found == [Piece("a "), Piece("SECRET", 1, "SECRET", "certain"), Piece(" b")]


@pytest.mark.parametrize(
    ("marks", "expected"),
    [
        ([[0, 6, 2, "certain"], [3, 9, 3, "certain"]], [("abc", "CONFIDENTIAL"), ("defghi", "SECRET"), ("j", "")]),
        ([[0, 9, 3, "certain"], [3, 5, 1, "certain"]], [("abcdefghi", "SECRET"), ("j", "")]),
        ([[0, 9, 1, "certain"], [3, 5, 3, "certain"]], [("abc", "RESTRICTED"), ("de", "SECRET"), ("fghi", "RESTRICTED"), ("j", "")]),
        ([[0, 5, 2, "certain"], [3, 8, 2, "certain"]], [("abcdefgh", "CONFIDENTIAL"), ("ij", "")]),
        ([[0, 2, 2, "certain"], [2, 4, 2, "certain"]], [("ab", "CONFIDENTIAL"), ("cd", "CONFIDENTIAL"), ("efghij", "")]),
        ([[-5, 2, 2, "certain"], [8, 900, 2, "certain"]], [("ab", "CONFIDENTIAL"), ("cdefgh", ""), ("ij", "CONFIDENTIAL")]),
        ([[3, 3, 2, "certain"], [5, 4, 2, "certain"], [100, 200, 2, "x"], [1, 2, 9, "x"], [1, 2, "NONE", "x"], "ab", None, [1], {}],
         [("abcdefghij", "")]),
        ([[0, 10, "TOP SECRET", "<script>"]], [("abcdefghij", "TOP SECRET")]),
    ],
)  # fmt: skip
def test_marks_that_overlap_or_are_out_of_range(marks: list[Any], expected: list[tuple[str, str]]) -> None:
    assert cut("abcdefghij", *marks) == expected


MARK = st.tuples(st.integers(-5, 60), st.integers(-5, 60), st.integers(-1, 6), st.sampled_from(["certain", "probable", "possible", "?"]))


@settings(max_examples=300, deadline=None)
@given(st.text("abcdefgh", max_size=50), st.lists(MARK, max_size=12))
def test_no_character_is_lost_and_the_highest_mark_stands(text: str, marks: list[tuple[int, int, int, str]]) -> None:
    found = pieces(text, marks, Counter())
    assert "".join(one.text for one in found) == text
    levels = [one.level for one in found for _ in one.text]
    for place, level in enumerate(levels):
        over = [Level(one[2]) for one in marks if one[0] <= place < one[1] and 0 <= one[2] <= 4]
        assert level == (max(over).text if over else "")
    numbers = [one.number for one in found if one.number]
    assert numbers == list(range(1, len(numbers) + 1))


def test_ten_thousand_marks_take_no_time() -> None:
    text, began = "x" * 400_000, time.perf_counter()
    nested = [[place, 400_000 - place, place % 5, "certain"] for place in range(10_000)]
    row = [[place * 40, place * 40 + 12, 2, "certain"] for place in range(10_000)]
    assert len(pieces(text, row, Counter())) == 20_000
    assert "".join(one.text for one in pieces(text, nested, Counter())) == text
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\r\nb\rc\u2028d\x85e", "a\nb\nc\nd\ne"), ("a\tb", "a\tb"), ("\x00\x1b[31m", "[U+0000][U+001B][31m"),
        ("\u202egnp", "[U+202E]gnp"), ("क्\u200dष", "क्\u200dष"), ("a\u200db", "a[U+200D]b"), ("SEC\u200bRET", "SEC[U+200B]RET"), (None, ""),
        ("क\u200d\u200d", "क\u200d[U+200D]"),
    ],
)  # fmt: skip
def test_what_cannot_be_seen_is_shown(text: Any, expected: str) -> None:
    assert readable(text) == expected

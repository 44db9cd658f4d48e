"""Words that may be a password: the likely ones first, a bounded number, always the same."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.text import passwords


def found(text: str, *names: str) -> tuple[str, ...]:
    return passwords.candidates([text], [], names)


@pytest.mark.parametrize(
    ("text", "password"),
    [
        ("The password is Budget@2025.", "Budget@2025"),
        ("Password: Budget@2025", "Budget@2025"),
        ("PWD=Budget@2025;", "Budget@2025"),
        ("pw - 'Budget@2025'", "Budget@2025"),
        ("passcode for the attachment: 4711", "4711"),
        ("PIN 4711, thanks", "4711"),
        ("The password to open the attached file is Budget@2025", "Budget@2025"),
        ("Please use Budget@2025 as the password to open the file.", "Budget@2025"),
        ("Budget@2025 is the password.", "Budget@2025"),
        ("The password is given below.\r\n\r\nBudget@2025\r\n", "Budget@2025"),
        ("Password (case sensitive): Budget@2025", "Budget@2025"),
        ("password:“Budget@2025”", "Budget@2025"),
        ("password is: three blind mice", "three blind mice"),
        ("Passphrase: three blind mice. Regards, X", "three blind mice"),
        ("password - Bud get 20 25", "Budget2025"),
        ("Password = Budget + 2025", "Budget2025"),
        ("Password:Budget!", "Budget!"),
        ("फाइल का पासवर्ड Budget@2025 है", "Budget@2025"),
        ("कूटशब्द: १२३४५६", "123456"),
        ("પાસવર્ડ: Budget@2025", "Budget@2025"),
        ("पास वर्ड - Budget@2025", "Budget@2025"),
        ("access code AB12CD", "AB12CD"),
    ],
)
def test_E05_what_is_said_to_be_the_password_comes_first(text: str, password: str) -> None:
    assert password in found(f"Dear Sir,\n\n{text}\n\nYours faithfully,\nOfficer")[:24]


def test_E05_words_without_a_sign_are_tried_as_well() -> None:
    text = "Dear Sir, as agreed: Tulip7Jhelum. Date of birth 05.08.1990, room 4711. «secret phrase»"
    words = found(text, "Annexure (Rose-12).pdf.gpg")
    for password in (
        "Tulip7Jhelum",
        "05081990",
        "050890",
        "05-08-1990",
        "4711",
        "secret phrase",
        "Annexure (Rose-12)",
        "Rose-12",
        "agreed",
    ):
        assert password in words, password


def test_E05_a_long_text_does_not_hide_a_likely_word() -> None:
    prose = "the quarterly report of the division was discussed at length with all the sections concerned " * 500
    assert "Tulip-7-Jhelum" in found(f"{prose}\nTulip-7-Jhelum\n{prose}")
    assert "Tulip-7-Jhelum" in passwords.candidates([prose], [prose + " password: Tulip-7-Jhelum " + prose])


def test_they_are_bounded_and_the_same_each_time() -> None:
    text = " ".join(f"Word{number}x password is Pw{number}" for number in range(5_000))
    first = found(text)
    assert len(first) <= passwords.MOST
    assert first == found(text)
    assert len(set(first)) == len(first)
    assert passwords.candidates(["a b c"], most=1) == ()


@pytest.mark.parametrize("unit", ["password ", "password: ", '"', "'", "[", "<", "1.1.", "pass\n", "x" * 99 + " ", "पासवर्ड "])
def test_it_is_linear(unit: str) -> None:
    text = unit * (2_000_000 // len(unit))
    start = time.process_time()
    found(text)
    assert time.process_time() - start < 3


@settings(max_examples=80, deadline=None)
@given(st.lists(st.text(max_size=200), max_size=5), st.lists(st.text(max_size=40), max_size=3))
def test_it_never_raises(texts: list[str], names: list[str]) -> None:
    assert all(2 <= len(word) <= 100 for word in passwords.candidates(texts, texts, names))

"""text.normalise: one comparable form, and the way back."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.text import normalise as module
from gateway.text.normalise import fold, is_word_char, normalise


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("SECRET", "secret"),
        ("ＳＥＣＲＥＴ", "secret"),
        ("ЅЕСRЕТ", "secret"),
        ("ΤΟΡ", "top"),
        ("τνт", "tvt"),
        ("Ϲ", "c"),
        ("𝐒𝓔𝕮𝖱𝙴𝚃", "secret"),
        ("ꜱᴇᴄʀᴇᴛ", "secret"),
        ("🅂🄴🅲🅡🇪🇹", "secret"),
        ("SÉCRÈT", "secret"),
        ("S\u0301E\u0336C", "sec"),
        ("s\u00ade\u200bc\u2060r\ufeffe\u202et", "secret"),
        ("se\U000e0041cret", "secret"),
        ("a\x00b\x1bc\x7f", "abc"),
        ("ﬁle", "file"),
        ("a\u00a0b\u3000c", "a b c"),
        ("a\u2028b\u0085c", "a\nb\nc"),
        ("straße İ", "strasse i"),
        ("गोप\u200dनी\u093cय", "गोपनीय"),
        ("প\u09ccর", "প\u09c7\u09d7র"),
    ],
)
def test_C08_fold(text: str, folded: str) -> None:
    assert fold(text) == folded


def test_words_in_a_font_of_symbols() -> None:
    assert fold("".join(chr(0xF000 + ord(letter)) for letter in "SECRET")) == "secret"
    assert fold("\uf076 roads") == "\uf076 roads"  # a bullet


def test_bengali_ya_has_one_form() -> None:
    assert fold("গোপনী\u09df") == fold("গোপনী\u09af\u09bc") == fold("গোপনী\u09af")


def test_the_fold_is_a_fixed_point_for_each_character() -> None:
    assert not {char for folded in module._FOLD.values() for char in folded} & module._FOLD.keys()


def test_plain_text_of_other_scripts_stays() -> None:
    for text in ("यह एक पत्र है", "இது ஒரு கடிதம்", "這是一封信"):
        assert len(fold(text)) == len(text)


@pytest.mark.parametrize("text", ["\u200bab\u00adﬁ\u200bcd", "ﬁﬂ\u200b\u200bx", "a\U000e0041b", "plain"])
def test_places_lead_back(text: str) -> None:
    normal = normalise(text)
    for place, char in enumerate(normal.text):
        assert char in fold(normal.original[normal.source(place)])


@given(st.text(max_size=60))
def test_C07_any_text_folds_and_places_stay_inside(text: str) -> None:
    normal = normalise(text)
    assert normal.slice(0, len(normal.text)) in text
    places = [normal.source(place) for place in range(len(normal.text) + 1)]
    assert places == sorted(places)
    assert all(0 <= place <= len(text) for place in places)
    assert fold(normal.text) == normal.text


def test_word_borders_follow_the_unicode_category() -> None:
    assert all(is_word_char(char) for char in "aZ9_यि्é")
    assert not any(is_word_char(char) for char in " -.।/\u200b“")


def test_many_different_odd_characters_take_one_pass() -> None:
    text = "".join(module._FOLD)[:4000] * 100
    start = time.process_time()
    normalise(text)
    assert time.process_time() - start < 10

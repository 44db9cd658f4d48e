"""The ladder and its numbers in other schemes."""

from __future__ import annotations

import pytest

from gateway.levels import Level, highest


def test_the_ladder_is_ordered_and_absence_is_no_level() -> None:
    assert Level.UNCLASSIFIED < Level.RESTRICTED < Level.CONFIDENTIAL < Level.SECRET < Level.TOP_SECRET
    assert highest([]) is None
    assert highest([None, None]) is None
    assert highest([None, Level.UNCLASSIFIED, Level.SECRET]) is Level.SECRET


@pytest.mark.parametrize("text", ["TOP SECRET", "top-secret", "TOP_SECRET", " Top  Secret "])
def test_a_level_is_read_as_people_write_it(text: str) -> None:
    assert Level.parse(text) is Level.TOP_SECRET


@pytest.mark.parametrize("text", ["", "OFFICIAL", "TOPSECRETS"])
def test_other_words_are_no_level(text: str) -> None:
    with pytest.raises(ValueError, match="not a classification level"):
        Level.parse(text)


def test_numbers_of_other_schemes() -> None:
    # RFC 2634: unclassified 1, restricted 2, confidential 3, secret 4, top-secret 5; OCSF: 1, 6, 2, 3, 4.
    assert [level.ess for level in Level] == [1, 2, 3, 4, 5]
    assert [level.ocsf for level in Level] == [1, 6, 2, 3, 4]
    assert [level.epms for level in Level][-1] == "TOP-SECRET"

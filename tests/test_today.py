"""What was written today already: one day, the highest level, a bound."""

from __future__ import annotations

from gateway.keeper.today import Today


def test_only_the_same_day_counts_and_only_up_to_its_level() -> None:
    today = Today()
    assert not today.has(b"a", 5)
    today.add(b"a", 5, 2)
    assert today.has(b"a", 5)
    assert today.has(b"a", 5, 2)
    assert not today.has(b"a", 5, 3)
    assert not today.has(b"a", 4)
    assert not today.has(b"a", 6)
    today.add(b"a", 5, 1)
    assert today.has(b"a", 5, 2), "a lower one lowers nothing"
    today.add(b"b", 6)
    assert not today.has(b"a", 6)
    today.add(b"c", 5)
    assert not today.has(b"b", 5), "a clock that went back begins anew"


def test_of_too_many_the_oldest_are_forgotten() -> None:
    today = Today(3)
    for key in (b"a", b"b", b"c", b"a", b"d"):
        today.add(key, 1)
    assert [today.has(key, 1) for key in (b"a", b"b", b"c", b"d")] == [True, False, True, True]

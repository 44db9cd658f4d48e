"""Where the bars of a chart stand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.web import charts
from gateway.web.charts import HEIGHT, WIDTH, Layer


@pytest.mark.parametrize(
    ("most", "top"), [(0, 4), (1, 4), (4, 4), (5, 8), (9, 20), (11, 20), (21, 40), (100, 100), (101, 200), (850, 1000)]
)
def test_a_scale_ends_at_a_round_number(most: int, top: int) -> None:
    assert charts.ceiling(most) == top


@given(st.integers(0, 10**9))
def test_every_scale_has_room_and_four_whole_steps(most: int) -> None:
    top = charts.ceiling(most)
    assert top >= most
    assert top % 4 == 0
    assert top <= max(4, 3 * most)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), max_size=100))
def test_no_bar_leaves_the_chart(counts: list[tuple[int, int]]) -> None:
    layers = [Layer(name, name, f"s{place}", tuple(one[place] for one in counts)) for place, name in enumerate("ab")]
    drawn = charts.stacked([str(place) for place in range(len(counts))], layers)
    assert all(0 <= box.x <= box.x + box.width <= WIDTH and box.y >= -2 and box.y + box.height <= HEIGHT for box in drawn.boxes)
    assert len(drawn.labels) <= 9
    assert len(drawn.boxes) == sum(count > 0 for one in counts for count in one)


def test_layers_stand_on_each_other_and_say_their_numbers() -> None:
    drawn = charts.stacked(["Mon", "Tue"], [Layer("a", "delivered", "s4", (3, 0)), Layer("b", "held", "s1", (1, 2))])
    low, high, other = drawn.boxes
    assert low.y == pytest.approx(high.y + high.height)
    assert low.height == pytest.approx(3 * high.height, rel=0.01)
    assert [box.words for box in drawn.boxes] == ["Mon: 3 delivered", "Mon: 1 held", "Tue: 2 held"]
    assert other.x > low.x


def test_the_rest_of_many_is_summed_up() -> None:
    rows = charts.shares({f"r{number:02}": 100 - number for number in range(30)}, {"r00": "First"}, {"r00": "/x"}, most=5)
    assert [row.count for row in rows] == [100, 99, 98, 97, 96, sum(100 - number for number in range(5, 30))]
    assert (rows[0].words, rows[0].address, rows[0].part) == ("First", "/x", 100)
    assert rows[-1].words == "25 others"
    assert rows[-1].part == 100
    assert charts.shares({}, {}, {}) == ()
    assert charts.shares({"a": 0}, {}, {}) == ()

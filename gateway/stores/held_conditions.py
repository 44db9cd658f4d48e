"""What a search of held mail means, in every store: which records are looked for, and how their counts are added up.

What it is: ``condition_of``, the conditions in the columns of ``ix_holds_review`` as SQL whose few differences between the stores are given
to it; ``states_of``; ``summed``; and the bounds that both stores keep.
Who calls it: the ``search`` of each store.
Must never: build SQL from anything but constants of ours and positional parameters (W12).
Source: docs/design.md section 6.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from gateway.levels import Level
from gateway.stores.base import HoldState
from gateway.stores.reviewed import Counted, Sought

OPEN = (HoldState.HELD, HoldState.REQUESTED, HoldState.APPROVED)
FEW = 4000
"""Records with a word up to which their rows are fetched one by one rather than the whole index walked."""
COMMON = 25_000
"""Records with a word from which they are no longer all counted."""
COUNTED = 2_000
"""How many of such records are counted."""
Condition: TypeAlias = tuple[str, list[object]]
"""SQL of ours, and its parameters."""
Among: TypeAlias = Callable[[str, Sequence[str] | Sequence[int]], tuple[str, object]]
"""That a column has one of some values: SQL of ours, and its one parameter."""


def states_of(sought: Sought) -> list[HoldState]:
    """The states that are looked for."""
    if sought.filter.states:
        return [state for state in HoldState if state.value in sought.filter.states]
    return list(HoldState if sought.changed_since else OPEN)


def condition_of(sought: Sought, among: Among, mark: str) -> Condition:
    """All but states and words; *mark* stands for a parameter."""
    filter = sought.filter
    conditions: list[str] = ["1 = 1"]
    values: list[object] = []

    def one_of(column: str, wanted: Sequence[str] | Sequence[int], beside: str = "") -> None:
        sql, value = among(column, wanted)
        conditions.append(f"({sql}{beside})" if beside else sql)
        values.append(value)

    if filter.levels:
        unmarked = " OR h.level IS NULL" if "none" in filter.levels else ""
        one_of("h.level", [int(level) for level in Level if level.text in filter.levels], unmarked)
    if filter.rules:
        one_of("h.rule", filter.rules)
    if filter.departments:
        one_of("h.department", filter.departments)
    if sought.within is not None:
        one_of("h.department", sorted(sought.within))
    if filter.sealed is not None:
        conditions.append(f"h.sealed = {mark}")
        values.append(filter.sealed)
    for column, sign, value in (
        ("assigned", "=", filter.assigned), ("created", ">=", filter.since), ("created", "<", filter.until), ("deadline", "<", filter.due),
        ("updated", ">", sought.changed_since),
    ):  # fmt: skip
        if value:
            conditions.append(f"h.{column} {sign} {mark}")
            values.append(value)
    return " AND ".join(conditions), values


def summed(groups: Sequence[tuple[Any, ...]]) -> Counted:
    """The counts of groups of (state, level, rule, department, count, oldest, first deadline, due soon)."""
    states: dict[str, int] = {}
    levels: dict[str, int] = {}
    by_rule: dict[str, int] = {}
    departments: dict[str, int] = {}
    for state, level, rule, department, count, *_ in groups:
        for into, key in ((states, state), (levels, str(-1 if level is None else level)), (by_rule, rule), (departments, department)):
            into[key] = into.get(key, 0) + count
    oldest = min((row[5] for row in groups), default=0.0)
    first = min((row[6] for row in groups), default=0.0)
    return Counted(sum(states.values()), states, levels, by_rule, departments, oldest, first, sum(row[7] for row in groups))

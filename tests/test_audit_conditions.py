"""A search of the decision log as SQL: each thing that is asked is one condition with one parameter, in that order."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.stores import rows
from gateway.stores.audit_conditions import LogSearch, Ways, statement

_WAYS = Ways("?", "same({})".format, "holds({})".format, lambda column, wanted: (f"{column} among", tuple(wanted)), "settled")
_NOTHING: dict[str, Any] = {
    "text": "", "sender": "", "recipient": "", "rule": "", "since": 0, "until": 0, "limit": 9, "after": 0, "before": 0, "within": None,
}  # fmt: skip


def made(**asked: Any) -> tuple[str, list[object]]:
    sql, values = statement(LogSearch(**{**_NOTHING, **asked}), _WAYS)
    return sql.removeprefix(rows.SELECT_AUDIT), values


@pytest.mark.parametrize(
    ("asked", "where", "values"),
    [
        ({}, "position > ? AND settled", [0]),
        ({"after": 5}, "position > ? AND settled", [5]),
        ({"before": 5, "after": 3}, "position < ?", [5]),
        ({"sender": "a"}, "position > ? AND settled AND same(sender)", [0, "a"]),
        ({"recipient": "b", "rule": "c"}, "position > ? AND settled AND same(recipient) AND same(rule)", [0, "b", "c"]),
        ({"since": 1.5, "until": 2.5}, "position > ? AND settled AND created >= ? AND created < ?", [0, 1.5, 2.5]),
        ({"text": "%'--"}, "position > ? AND settled AND holds(line)", [0, "%'--"]),
        ({"within": frozenset()}, "position > ? AND settled AND department among", [0, ()]),
        ({"within": frozenset({"b", "a"})}, "position > ? AND settled AND department among", [0, ("a", "b")]),
    ],
)
def test_what_is_asked_is_a_condition_with_its_parameter(asked: dict[str, Any], where: str, values: list[object]) -> None:
    order = "DESC" if asked.get("before") else "ASC"
    assert made(**asked) == (f" WHERE {where} ORDER BY position {order} LIMIT ?", [*values, 9])


def test_nothing_that_is_asked_stands_in_the_statement() -> None:
    sign = "x' OR 1=1 --"
    sql, values = made(text=sign, sender=sign, recipient=sign, rule=sign, within=frozenset({sign}))
    assert sign not in sql
    assert values.count(sign) == 4

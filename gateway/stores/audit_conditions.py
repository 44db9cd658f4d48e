"""What a search of the decision log means, in every store: which rows are looked for, and in which order.

What it is: ``LogSearch``, what is asked; ``Ways``, how a store says it; ``statement``, which makes the one of the other.
Who calls it: ``sqlite.store`` and ``postgres.audit``.
Must never: build SQL from anything but constants of ours and positional parameters (W12).
Source: docs/design.md section 6.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from gateway.stores import rows
from gateway.stores.held_conditions import Among, Condition


class LogSearch(msgspec.Struct, frozen=True, kw_only=True):
    """Empty and 0 ask for nothing. *before*: the newest below that position, from there backwards; else from *after* on."""

    text: str
    """Stands anywhere in the line, but for the case of ASCII letters."""
    sender: str
    recipient: str
    rule: str
    """Each the whole of it, but for the case of ASCII letters."""
    since: float
    until: float
    """From *since* to before *until*."""
    limit: int
    after: int
    before: int
    within: frozenset[str] | None
    """Of these departments only."""


class Ways(msgspec.Struct, frozen=True):
    """SQL of ours, in which *mark* stands for a parameter."""

    mark: str
    same: Callable[[str], str]
    """That a column is the parameter but for case."""
    contains: Callable[[str], str]
    """That a column holds the parameter but for case."""
    among: Among
    settled: str = ""
    """That no row will appear below one that is read: forwards a page's last position is gone on from. Backwards all is shown."""


def statement(sought: LogSearch, ways: Ways) -> Condition:
    """The statement that reads what is *sought*, and its parameters."""
    where = [f"position {'<' if sought.before else '>'} {ways.mark}"]
    values: list[object] = [sought.before or sought.after]
    if ways.settled and not sought.before:
        where.append(ways.settled)
    for column, value in (("sender", sought.sender), ("recipient", sought.recipient), ("rule", sought.rule)):
        if value:
            where.append(ways.same(column))
            values.append(value)
    for sign, moment in ((">=", sought.since), ("<", sought.until)):
        if moment:
            where.append(f"created {sign} {ways.mark}")
            values.append(moment)
    if sought.text:
        where.append(ways.contains("line"))
        values.append(sought.text)
    if sought.within is not None:
        sql, listed = ways.among("department", sorted(sought.within))
        where.append(sql)
        values.append(listed)
    order = f"ORDER BY position {'DESC' if sought.before else 'ASC'} LIMIT {ways.mark}"
    return f"{rows.SELECT_AUDIT} WHERE {' AND '.join(where)} {order}", [*values, sought.limit]

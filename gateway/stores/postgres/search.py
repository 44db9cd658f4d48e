"""Held mail found and counted for the review pages, in PostgreSQL.

What it is: ``found``, ``counted`` and ``due`` on a reading connection, with the answers of ``sqlite.search``. What a word of the search
rarely has is read from the index of terms; else each state's index entries are walked from their newest end.
Who calls it: ``reviewing``.
Must never: write; build SQL from anything but constants of ours and positional parameters (W12).
Sources: docs/design.md section 6; https://www.postgresql.org/docs/15/indexes-index-only-scans.html.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.stores import rows
from gateway.stores.base import HoldRow
from gateway.stores.held_conditions import COMMON, COUNTED, FEW, Condition, condition_of, states_of, summed
from gateway.stores.postgres.asking import rows_of
from gateway.stores.postgres.connection import Connection
from gateway.stores.reviewed import Counted, Sought, Word
from gateway.stores.schema import OPEN_HOLD_SQL

_ARRAYS = {"h.level": "int[]"}
"""Types of the values of columns that hold no text."""
_HOLDS = "FROM holds h"
# A sub-select that yields one value is looked up record by record, so that a walk of the newest stops after the first that fit.
_EACH = "(SELECT 1 FROM terms WHERE term = ANY(%s::bytea[]) AND hold_id = h.id LIMIT 1) IS NOT NULL"
_LIST = "h.id IN (SELECT hold_id FROM terms WHERE term = ANY(%s::bytea[]))"
_BY_WORD = "FROM (SELECT DISTINCT hold_id FROM terms WHERE term = ANY(%s::bytea[])) t JOIN holds h ON h.id = t.hold_id"
_SUMS = "count(*), min({0}created), min({0}deadline), count(*) FILTER (WHERE {0}deadline < %s)"


async def found(link: Connection, sought: Sought) -> list[HoldRow]:
    """See ``Reviewing.found``."""
    where, values = _where(sought)
    if sought.before:
        where, values = f"{where} AND h.id < %s", [*values, sought.before]
    states = [state.value for state in states_of(sought)]
    if not states:
        return []
    source, given, words = await _source(link, sought)
    if source == _HOLDS:
        # Each state's entries lie by id: of each the newest are read, and no more.
        one = f"(SELECT h.id AS id {source} WHERE h.state = %s AND {where}{words[0]} ORDER BY h.id DESC LIMIT %s)"
        parts = " UNION ALL ".join([one] * len(states))
        every: list[object] = []
        for state in states:
            every += [state, *values, *words[1], sought.limit]
        ids = f"SELECT id FROM ({parts}) AS p ORDER BY id DESC LIMIT %s"  # noqa: S608 - constants of ours
        chosen = await rows_of(link, ids, (*every, sought.limit), _first)
    else:
        ids = f"SELECT h.id {source} WHERE h.state = ANY(%s::text[]) AND {where}{words[0]} ORDER BY h.id DESC LIMIT %s"
        chosen = await rows_of(link, ids, (*given, states, *values, *words[1], sought.limit), _first)
    sql = f"{rows.SELECT_HOLD} WHERE id = ANY(%s::text[]) ORDER BY id DESC"
    return await rows_of(link, sql, (chosen,), rows.hold_row)


async def counted(link: Connection, sought: Sought) -> Counted:
    """See ``Reviewing.counted``."""
    where, values = _where(sought)
    states = [state.value for state in states_of(sought)]
    common = bool(sought.words)
    for word in sought.words:
        common = common and await _count_of(link, (*word.plain, *word.subject), COMMON) == COMMON
    if common:
        return await _counted_in_part(link, sought)
    source, given, words = await _source(link, sought, all=True)
    sql = (
        f"SELECT h.state, h.level, h.rule, h.department, {_SUMS.format('h.')}"
        f" {source} WHERE h.state = ANY(%s::text[]) AND {where}{words[0]} GROUP BY h.state, h.department, h.level, h.rule"
    )
    return summed(await rows_of(link, sql, (sought.soon, *given, states, *values, *words[1]), tuple))


async def _counted_in_part(link: Connection, sought: Sought) -> Counted:
    """The first ``COUNTED`` records of words that a great part of all records have: to go through all would take a second."""
    where, values = _where(sought)
    states = [state.value for state in states_of(sought)]
    conditions = [_has(sought, word, _EACH) for word in sought.words]
    words = "".join(f" AND {sql}" for sql, _ in conditions)
    given = [value for _, values in conditions for value in values]
    some = (
        f"SELECT h.state AS state, h.level AS level, h.rule AS rule, h.department AS department, h.created AS created,"
        f" h.deadline AS deadline {_HOLDS} WHERE h.state = ANY(%s::text[]) AND {where}{words} LIMIT {COUNTED:d}"
    )
    sql = f"SELECT state, level, rule, department, {_SUMS.format('')} FROM ({some}) AS p GROUP BY state, department, level, rule"  # noqa: S608
    result = summed(await rows_of(link, sql, (sought.soon, states, *values, *given), tuple))
    return msgspec.structs.replace(result, more=result.total == COUNTED)


async def due(link: Connection, before: float, limit: int, within: frozenset[str] | None, untold: str) -> list[HoldRow]:
    """See ``Reviewing.due``."""
    where, values = f"{OPEN_HOLD_SQL} AND deadline < %s", [before]  # type: tuple[str, list[object]]
    if within is not None:
        where, values = f"{where} AND department = ANY(%s::text[])", [*values, sorted(within)]
    if untold:
        where += " AND NOT EXISTS (SELECT 1 FROM told WHERE key = %s::text || holds.id)"
        values.append(untold)
    sql = f"{rows.SELECT_HOLD} WHERE {where} ORDER BY deadline LIMIT %s"
    return await rows_of(link, sql, (*values, limit), rows.hold_row)


async def _source(link: Connection, sought: Sought, *, all: bool = False) -> tuple[str, list[object], Condition]:
    """Where the records are read from, its parameters, and the condition of the words that it leaves. *all*: every record that fits
    is read, not only the newest."""
    counts = []
    for place, word in enumerate(sought.words):
        every = (*word.plain, *word.subject)
        counts.append((await _count_of(link, every), place, every))
    fewest, driver, terms = min(counts, default=(FEW, -1, ()))
    rare = driver >= 0 and fewest < FEW
    conditions = [_has(sought, word, _LIST if all and not rare else _EACH) for word in sought.words]
    words = "".join(f" AND {sql}" for sql, _ in conditions), [value for _, values in conditions for value in values]
    return (_BY_WORD, [list(terms)], words) if rare else (_HOLDS, [], words)


async def _count_of(link: Connection, terms: Sequence[bytes], most: int = FEW) -> int:
    """How many records have one of *terms*; no more than *most* are counted."""
    sql = f"SELECT count(*) FROM (SELECT 1 FROM terms WHERE term = ANY(%s::bytea[]) LIMIT {most:d}) AS p"  # noqa: S608 - constants of ours
    return int((await rows_of(link, sql, (list(terms),), _first))[0])


def _has(sought: Sought, word: Word, has: str) -> Condition:
    """That a record has *word*: in its envelope, or in a subject that may be searched. *has*: how that is looked up."""
    plain, subject, opened = list(word.plain), list(word.subject), sought.opened
    if opened is None or (sought.within is not None and sought.within <= opened):
        plain, subject = plain + subject, []  # every subject in reach may be searched
    if not subject or not opened:
        return has, [plain]
    return f"({has} OR (h.department = ANY(%s::text[]) AND {has}))", [plain, sorted(opened), subject]


def _where(sought: Sought) -> Condition:
    return condition_of(sought, lambda column, wanted: (f"{column} = ANY(%s::{_ARRAYS.get(column, 'text[]')})", list(wanted)), "%s")


def _first(row: tuple[Any, ...]) -> Any:
    return row[0]

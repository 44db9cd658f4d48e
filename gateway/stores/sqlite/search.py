"""Held mail found and counted for the review pages, in the embedded store.

What it is: ``found``, ``counted`` and ``due`` on the reading connection. What a word of the search rarely has is read from the index
of terms; else the covering index of held mail is walked from its newest end.
Who calls it: ``reviewing``, in the reader's thread.
Must never: write; build SQL from anything but constants of ours and positional parameters (W12).
Sources: docs/design.md section 6; https://www.sqlite.org/queryplanner.html (covering indexes), optoverview.html (CROSS JOIN).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from gateway.stores import rows
from gateway.stores.base import HoldRow
from gateway.stores.held_conditions import COMMON, COUNTED, FEW, Condition, condition_of, states_of, summed
from gateway.stores.reviewed import Counted, Sought, Word
from gateway.stores.schema import OPEN_HOLD_SQL

_LISTED = "(SELECT value FROM json_each(?))"


def found(db: sqlite3.Connection, sought: Sought) -> list[HoldRow]:
    """See ``Reviewing.found``."""
    where, values = _where(sought)
    if sought.before:
        where, values = f"{where} AND h.id < ?", [*values, sought.before]
    states = states_of(sought)
    if not states:
        return []
    source, given, words = _source(db, sought)
    if source == _INDEX:
        # Each state's entries lie by id: of each the newest are read, and no more.
        one = f"SELECT h.id AS id {source} WHERE h.state = ? AND {where}{words[0]} ORDER BY h.id DESC LIMIT ?"
        parts = " UNION ALL ".join([f"SELECT * FROM ({one})"] * len(states))  # noqa: S608
        every: list[object] = []
        for one_state in states:
            every += [one_state.value, *values, *words[1], sought.limit]
        ids = f"SELECT id FROM ({parts}) ORDER BY id DESC LIMIT ?"  # noqa: S608
        chosen = db.execute(ids, (*every, sought.limit)).fetchall()
    else:
        state, which = _in_states(sought)
        ids = f"SELECT h.id {source} WHERE {state} AND {where}{words[0]} ORDER BY h.id DESC LIMIT ?"
        chosen = db.execute(ids, (*given, *which, *values, *words[1], sought.limit)).fetchall()
    sql = f"{rows.SELECT_HOLD} WHERE id IN {_LISTED} ORDER BY id DESC"
    return [rows.hold_row(v) for v in db.execute(sql, (rows.dump([row[0] for row in chosen]),))]


def counted(db: sqlite3.Connection, sought: Sought) -> Counted:
    """See ``Reviewing.counted``."""
    where, values = _where(sought)
    state, which = _in_states(sought)
    if sought.words and all(_count_of(db, (*word.plain, *word.subject), COMMON) == COMMON for word in sought.words):
        return _counted_in_part(db, sought)
    source, given, words = _source(db, sought, all=True)
    if source == _INDEX:
        source = _COUNTS
    sql = (
        "SELECT h.state, h.level, h.rule, h.department, count(*), min(h.created), min(h.deadline), sum(h.deadline < ?)"
        f" {source} WHERE {state} AND {where}{words[0]} GROUP BY h.state, h.department, h.level, h.rule"
    )
    return summed(db.execute(sql, (sought.soon, *given, *which, *values, *words[1])).fetchall())


def _counted_in_part(db: sqlite3.Connection, sought: Sought) -> Counted:
    """The first ``COUNTED`` records of words that a great part of all records have: to go through all would take a second."""
    where, values = _where(sought)
    state, which = _in_states(sought)
    conditions = [_has(sought, word, _EACH) for word in sought.words]
    words = "".join(f" AND {sql}" for sql, _ in conditions)
    given = [value for _, values in conditions for value in values]
    # A few departments are a short walk through the index that begins with them; all of them are a long one, and a word's own a third.
    few = sought.within is not None or bool(sought.filter.departments)
    first = () if few else (*sought.words[0].plain, *sought.words[0].subject)
    source = _COUNTS if few else _BY_WORD.format(marks=_marks(first))
    some = (
        f"SELECT h.state AS state, h.level AS level, h.rule AS rule, h.department AS department, h.created AS created,"
        f" h.deadline AS deadline {source} WHERE {state} AND {where}{words} LIMIT {COUNTED}"
    )
    sql = (
        "SELECT state, level, rule, department, count(*), min(created), min(deadline), sum(deadline < ?)"  # noqa: S608
        f" FROM ({some}) GROUP BY state, department, level, rule"
    )
    counted = summed(db.execute(sql, (sought.soon, *first, *which, *values, *given)).fetchall())
    return msgspec.structs.replace(counted, more=counted.total == COUNTED)


def due(db: sqlite3.Connection, before: float, limit: int, within: frozenset[str] | None, untold: str) -> list[HoldRow]:
    """See ``Reviewing.due``."""
    where, values = f"{OPEN_HOLD_SQL} AND deadline < ?", [before]  # type: tuple[str, list[object]]
    if within is not None:
        where, values = f"{where} AND department IN {_LISTED}", [*values, rows.dump(sorted(within))]
    if untold:
        where += " AND NOT EXISTS (SELECT 1 FROM told WHERE key = ? || holds.id)"
        values.append(untold)
    sql = f"{rows.SELECT_HOLD} WHERE {where} ORDER BY deadline LIMIT ?"
    return [rows.hold_row(v) for v in db.execute(sql, (*values, limit))]


_INDEX = "FROM holds h INDEXED BY ix_holds_review"
_COUNTS = "FROM holds h INDEXED BY ix_holds_counts"
_CHANGED = "FROM holds h INDEXED BY ix_holds_updated"
_EACH = "EXISTS (SELECT 1 FROM terms WHERE term IN {} AND hold_id = h.id)"
_LIST = "h.id IN (SELECT hold_id FROM terms WHERE term IN {})"
"""For a few records, and for all of them at once."""
_BY_WORD = "FROM (SELECT DISTINCT hold_id FROM terms WHERE term IN {marks}) t CROSS JOIN holds h ON h.id = t.hold_id"


def _source(db: sqlite3.Connection, sought: Sought, *, all: bool = False) -> tuple[str, list[object], Condition]:
    """Where the records are read from, its parameters, and the condition of the words that it leaves. *all*: every record that fits
    is read, not only the newest."""
    counts = [(_count_of(db, every := (*word.plain, *word.subject)), place, every) for place, word in enumerate(sought.words)]
    fewest, driver, terms = min(counts, default=(FEW, -1, ()))
    rare = driver >= 0 and fewest < FEW
    conditions = [_has(sought, word, _LIST if all and not rare else _EACH) for word in sought.words]
    words = "".join(f" AND {sql}" for sql, _ in conditions), [value for _, values in conditions for value in values]
    if rare:
        return _BY_WORD.format(marks=_marks(terms)), list(terms), words
    return (_CHANGED if sought.changed_since else _INDEX), [], words


def _count_of(db: sqlite3.Connection, terms: Sequence[bytes], most: int = FEW) -> int:
    """How many records have one of *terms*; no more than *most* are counted."""
    sql = f"SELECT count(*) FROM (SELECT 1 FROM terms WHERE term IN {_marks(terms)} LIMIT {most:d})"  # noqa: S608
    return int(db.execute(sql, terms).fetchone()[0])


def _has(sought: Sought, word: Word, has: str) -> Condition:
    """That a record has *word*: in its envelope, or in a subject that may be searched. *has*: how that is looked up."""
    plain, subject, opened = list(word.plain), list(word.subject), sought.opened
    if opened is None or (sought.within is not None and sought.within <= opened):
        plain, subject = plain + subject, []  # every subject in reach may be searched
    if not subject or not opened:
        return has.format(_marks(plain)), [*plain]
    sql = f"({has.format(_marks(plain))} OR (h.department IN {_LISTED} AND {has.format(_marks(subject))}))"
    return sql, [*plain, rows.dump(sorted(opened)), *subject]


def _in_states(sought: Sought) -> Condition:
    states = states_of(sought)
    return f"h.state IN {_marks(states)}", [state.value for state in states]


def _where(sought: Sought) -> Condition:
    return condition_of(sought, lambda column, wanted: (f"{column} IN {_LISTED}", rows.dump(wanted)), "?")


def _marks(values: Sequence[object]) -> str:
    return f"({', '.join('?' * len(values))})"

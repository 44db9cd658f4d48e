"""What the embedded store reads for the review pages.

What it is: ``SqliteReviewing``, the ``Reviewing`` of ``sqlite.SqliteStore``. A search reads one covering index and the index of terms;
rows are fetched for one page only.
Who calls it: ``sqlite``.
Must never: write; build SQL from anything but constants of ours and positional parameters (W12).
Sources: design.md section 6; https://www.sqlite.org/queryplanner.html (covering indexes).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

from gateway.levels import Level
from gateway.stores import review_rows, rows
from gateway.stores.base import HoldRow, HoldState
from gateway.stores.reviewed import Counted, CredentialRow, RemarkRow, Sought, TallyRow, TokenRow, ViewRow

_OPEN = (HoldState.HELD, HoldState.REQUESTED, HoldState.APPROVED)
_INDEX = "FROM holds INDEXED BY ix_holds_review"
_SENT = (
    "SELECT reference, max(created) AS at FROM (SELECT reference, created FROM holds WHERE sender = ?1 COLLATE NOCASE"
    " UNION ALL SELECT reference, created FROM audit WHERE sender = ?1 COLLATE NOCASE AND disposition = 'refuse')"
    " GROUP BY reference ORDER BY at DESC LIMIT ?2"
)
_WITHIN = " AND department IN (SELECT value FROM json_each(?))"
_T = TypeVar("_T")


class Read(Protocol):
    """Runs *work* in the reader's thread."""

    def __call__(self, work: Callable[[sqlite3.Connection], _T], /) -> Awaitable[_T]: ...


class SqliteReviewing:
    """See ``reviewed.Reviewing``; each method raises StoreError as it says."""

    def __init__(self, read: Read) -> None:
        self._read = read

    async def found(self, sought: Sought) -> list[HoldRow]:
        """Newest first."""
        where, values = _where(sought)
        if sought.before:
            where, values = f"{where} AND id < ?", [*values, sought.before]
        ids = f"SELECT id {_INDEX} WHERE {where} ORDER BY id DESC LIMIT ?"
        sql = f"{rows.SELECT_HOLD} WHERE id IN ({ids}) ORDER BY id DESC"
        return await self._read(lambda db: [rows.hold_row(v) for v in db.execute(sql, (*values, sought.limit))])

    async def counted(self, sought: Sought) -> Counted:
        """Over all that fits."""
        where, values = _where(sought)
        sql = (
            f"SELECT state, level, rule, department, count(*), min(created), min(deadline) {_INDEX} WHERE {where}"
            " GROUP BY state, department, level, rule"
        )
        return await self._read(lambda db: _count(db.execute(sql, values).fetchall()))

    async def approvals_of(self, hold_ids: Sequence[str]) -> dict[str, int]:
        """How many approvals each of them has."""
        sql = "SELECT hold_id, count(*) FROM approvals WHERE hold_id IN (SELECT value FROM json_each(?)) GROUP BY hold_id"
        return await self._read(lambda db: dict(db.execute(sql, (rows.dump(hold_ids),)).fetchall()))

    async def remarks(self, reference: str) -> list[RemarkRow]:
        """Of one message, oldest first."""
        return await self._all(review_rows.SELECT_REMARK + " WHERE reference = ? ORDER BY id", (reference,), review_rows.remark_row)

    async def credentials(self, name: str) -> CredentialRow | None:
        """Of one person."""
        found = await self._all(review_rows.SELECT_CREDENTIAL + " WHERE name = ?", (name,), review_rows.credential_row)
        return found[0] if found else None

    async def credentials_by_subject(self, subject: str) -> CredentialRow | None:
        """Of the person whom an OpenID provider names so."""
        if not subject:
            return None
        found = await self._all(review_rows.SELECT_CREDENTIAL + " WHERE subject = ?", (subject,), review_rows.credential_row)
        return found[0] if found else None

    async def views(self, user: str) -> list[ViewRow]:
        """Of one person, by name."""
        return await self._all(review_rows.SELECT_VIEW + " WHERE user = ? ORDER BY name", (user,), review_rows.view_row)

    async def tokens(self, user: str) -> list[TokenRow]:
        """Of one person, oldest first."""
        return await self._all(review_rows.SELECT_TOKEN + " WHERE user = ? ORDER BY id", (user,), review_rows.token_row)

    async def token(self, hash: bytes) -> TokenRow | None:
        """The one with that hash."""
        found = await self._all(review_rows.SELECT_TOKEN + " WHERE hash = ?", (hash,), review_rows.token_row)
        return found[0] if found else None

    async def tallies(self, since: int, until: int, within: frozenset[str] | None) -> list[TallyRow]:
        """Hours from *since* to before *until*."""
        sql, values = review_rows.SELECT_TALLY + " WHERE hour >= ? AND hour < ?", [since, until]  # type: tuple[str, list[object]]
        if within is not None:
            sql, values = sql + _WITHIN, [*values, rows.dump(sorted(within))]
        return await self._all(sql, values, review_rows.tally_row)

    async def tallied_to(self) -> int:
        """The position in the decision log up to which tallies count."""
        found = await self._all("SELECT position FROM tallied", (), lambda v: int(v[0]))
        return found[0] if found else 0

    async def of_sender(self, sender: str, limit: int) -> list[str]:
        """References, newest first."""
        return await self._all(_SENT, (sender, limit), lambda v: str(v[0]))

    async def _all(self, sql: str, values: Sequence[object], make: Callable[[tuple[Any, ...]], _T]) -> list[_T]:
        return await self._read(lambda db: [make(v) for v in db.execute(sql, values)])


def _where(sought: Sought) -> tuple[str, list[object]]:
    """The condition in columns of ``ix_holds_review``, from constants; what was asked for is in the parameters alone."""
    filter = sought.filter
    where: list[str] = []
    values: list[object] = []

    def among(column: str, wanted: Sequence[object]) -> None:
        where.append(f"{column} IN (SELECT value FROM json_each(?))")  # noqa: S608 - constants of ours
        values.append(rows.dump(wanted))

    states = [state for state in HoldState if state.value in filter.states] or list(_OPEN)
    where.append(f"state IN ({', '.join('?' * len(states))})")
    values.extend(state.value for state in states)
    if filter.levels:
        numbers = [int(level) for level in Level if level.text in filter.levels]
        unmarked = " OR level IS NULL" if "none" in filter.levels else ""
        where.append(f"(level IN (SELECT value FROM json_each(?)){unmarked})")  # noqa: S608
        values.append(rows.dump(numbers))
    if filter.rules:
        among("rule", filter.rules)
    if filter.departments:
        among("department", filter.departments)
    if sought.within is not None:
        among("department", sorted(sought.within))
    if filter.sealed is not None:
        where.append("sealed = ?")
        values.append(filter.sealed)
    for column, sign, value in (
        ("assigned", "=", filter.assigned), ("created", ">=", filter.since), ("created", "<", filter.until), ("deadline", "<", filter.due),
        ("updated", ">", sought.changed_since),
    ):  # fmt: skip
        if value:
            where.append(f"{column} {sign} ?")
            values.append(value)
    for alternatives in sought.terms:
        where.append(f"id IN (SELECT hold_id FROM terms WHERE term IN ({', '.join('?' * len(alternatives))}))")  # noqa: S608
        values.extend(alternatives)
    return " AND ".join(where), values


def _count(found: Sequence[tuple[Any, ...]]) -> Counted:
    states: dict[str, int] = {}
    levels: dict[str, int] = {}
    by_rule: dict[str, int] = {}
    departments: dict[str, int] = {}
    for state, level, rule, department, count, _, _ in found:
        for into, key in ((states, state), (levels, str(-1 if level is None else level)), (by_rule, rule), (departments, department)):
            into[key] = into.get(key, 0) + count
    oldest = min((row[5] for row in found), default=0.0)
    return Counted(sum(states.values()), states, levels, by_rule, departments, oldest, min((row[6] for row in found), default=0.0))

"""What the embedded store reads for the review pages.

What it is: ``SqliteReviewing``, the ``Reviewing`` of ``store.SqliteStore``.
Who calls it: ``store``.
Must never: write; build SQL from anything but constants of ours and positional parameters (W12).
Source: docs/design.md section 6.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from gateway.stores import review_rows, rows
from gateway.stores.base import HoldRow
from gateway.stores.reviewed import INDIA, Brief, Counted, CredentialRow, RemarkRow, Sought, TallyRow, TokenRow, ViewRow
from gateway.stores.sqlite import search
from gateway.verdict import Disposition

_SENT = (
    "SELECT reference, max(created) AS at FROM (SELECT reference, created FROM holds WHERE sender = ?1 COLLATE NOCASE"
    " UNION ALL SELECT reference, created FROM audit WHERE sender = ?1 COLLATE NOCASE AND disposition = 'refuse')"
    " GROUP BY reference ORDER BY at DESC LIMIT ?2"
)
_UPTO = "SELECT max(position) FROM (SELECT position FROM audit WHERE position > ? ORDER BY position LIMIT ?)"
_UNTALLIED = (
    f"SELECT cast((created + {INDIA}) / 3600 AS INTEGER), department, rule, disposition,"  # noqa: S608 - constants of ours
    " json_extract(line, '$.gateway.label.level') AS level, count(*) FROM audit WHERE position > ? AND position <= ?"
    f" AND disposition IN ({', '.join(repr(one.text) for one in Disposition)}) GROUP BY 1, 2, 3, 4, 5"
)
_LISTED = "(SELECT value FROM json_each(?))"
_WITHIN = " AND department IN (SELECT value FROM json_each(?))"
_T = TypeVar("_T")
_object = msgspec.json.Decoder(dict[str, Any])


class Read(Protocol):
    """Runs *work* in the reader's thread."""

    def __call__(self, work: Callable[[sqlite3.Connection], _T], /) -> Awaitable[_T]: ...


class SqliteReviewing:
    """See ``reviewed.Reviewing``; each method raises StoreError as it says."""

    def __init__(self, read: Read) -> None:
        self._read = read

    async def found(self, sought: Sought) -> list[HoldRow]:
        """Newest first."""
        return await self._read(lambda db: search.found(db, sought))

    async def counted(self, sought: Sought) -> Counted:
        """Over all that fits."""
        return await self._read(lambda db: search.counted(db, sought))

    async def briefs(self, message_ids: Sequence[str]) -> dict[str, Brief]:
        """By the id of the message."""
        sql = f"SELECT id, subject, verdict FROM messages WHERE id IN {_LISTED}"  # noqa: S608 - constants of ours
        found = await self._all(sql, (rows.dump(message_ids),), lambda v: (str(v[0]), Brief(v[1], _object.decode(v[2]))))
        return dict(found)

    async def due(self, before: float, limit: int, within: frozenset[str] | None = None, untold: str = "") -> list[HoldRow]:
        """The first deadline first."""
        return await self._read(lambda db: search.due(db, before, limit, within, untold))

    async def told(self, keys: Sequence[str]) -> set[str]:
        """Those that went out."""
        sql = f"SELECT key FROM told WHERE key IN {_LISTED}"  # noqa: S608 - constants of ours
        return set(await self._all(sql, (rows.dump(keys),), lambda v: str(v[0])))

    async def unindexed(self, after: str, limit: int) -> tuple[list[HoldRow], str]:
        """A step of all held records."""
        lacking = (
            f"{rows.SELECT_HOLD} WHERE id IN (SELECT id FROM holds WHERE id > ?1 ORDER BY id LIMIT ?2)"  # noqa: S608
            " AND NOT EXISTS (SELECT 1 FROM terms WHERE hold_id = holds.id) ORDER BY id"
        )
        last = "SELECT max(id) FROM (SELECT id FROM holds WHERE id > ?1 ORDER BY id LIMIT ?2)"

        def work(db: sqlite3.Connection) -> tuple[list[HoldRow], str]:
            found = [rows.hold_row(v) for v in db.execute(lacking, (after, limit))]
            return found, str(db.execute(last, (after, limit)).fetchone()[0] or "")

        return await self._read(work)

    async def queued(self, within: frozenset[str] | None) -> dict[str, int]:
        """Through the two indexes of open deliveries."""
        due, parked = "state IN ('scheduled', 'deferred')", "state IN ('leased', 'on-hold')"
        where, values = ("", ()) if within is None else (_WITHIN, (rows.dump(sorted(within)),))
        sql = " UNION ALL ".join(
            f"SELECT state, count(*) FROM deliveries WHERE {one}{where} GROUP BY state"  # noqa: S608 - constants of ours
            for one in (due, parked)
        )
        return dict(await self._all(sql, values * 2, lambda v: (str(v[0]), int(v[1]))))

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

    async def untallied(self, after: int, limit: int) -> tuple[list[TallyRow], int]:
        """A step of the decision log."""

        def work(db: sqlite3.Connection) -> tuple[list[TallyRow], int]:
            upto = int(db.execute(_UPTO, (after, limit)).fetchone()[0] or 0)
            found = db.execute(_UNTALLIED, (after, upto)).fetchall()
            return [TallyRow(v[0], v[1], v[2], v[3], review_rows.level_number(v[4]), v[5]) for v in found], upto

        return await self._read(work)

    async def of_sender(self, sender: str, limit: int) -> list[str]:
        """References, newest first."""
        return await self._all(_SENT, (sender, limit), lambda v: str(v[0]))

    async def _all(self, sql: str, values: Sequence[object], make: Callable[[tuple[Any, ...]], _T]) -> list[_T]:
        return await self._read(lambda db: [make(v) for v in db.execute(sql, values)])

"""What the store in PostgreSQL reads for the review pages.

What it is: ``PostgresReviewing``, the ``Reviewing`` of ``store.PostgresStore``.
Who calls it: ``store``.
Must never: write; build SQL from anything but constants of ours and positional parameters (W12).
Source: docs/design.md section 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.stores import review_rows, rows
from gateway.stores.base import HoldRow
from gateway.stores.postgres import search
from gateway.stores.postgres.asking import Asking, rows_of
from gateway.stores.postgres.audit import same
from gateway.stores.postgres.tables import SETTLED
from gateway.stores.reviewed import INDIA, Brief, Counted, CredentialRow, RemarkRow, Sought, TallyRow, TokenRow, ViewRow
from gateway.verdict import Disposition

_SENT = (
    f"SELECT reference, max(created) AS at FROM (SELECT reference, created FROM holds WHERE {same('sender')}"  # noqa: S608 - constants of ours
    f" UNION ALL SELECT reference, created FROM audit WHERE {same('sender')} AND disposition = 'refuse') AS p"
    " GROUP BY reference ORDER BY at DESC LIMIT %s"
)
_UPTO = f"SELECT max(position) FROM (SELECT position FROM audit WHERE position > %s AND {SETTLED} ORDER BY position LIMIT %s) AS p"  # noqa: S608
_UNTALLIED = (
    f"SELECT floor((created + {INDIA}) / 3600)::bigint, department, rule, disposition,"  # noqa: S608 - constants of ours
    " line::json #>> '{gateway,label,level}' AS level, count(*) FROM audit WHERE position > %s AND position <= %s"
    f" AND disposition IN ({', '.join(repr(one.text) for one in Disposition)}) GROUP BY 1, 2, 3, 4, 5"
)
_LACKING = rows.SELECT_HOLD + " WHERE id > %s AND id <= %s AND NOT EXISTS (SELECT 1 FROM terms WHERE hold_id = holds.id) ORDER BY id"  # noqa: S608
_LAST = "SELECT max(id) FROM (SELECT id FROM holds WHERE id > %s ORDER BY id LIMIT %s) AS p"
_WITHIN = " AND department = ANY(%s::text[])"
_object = msgspec.json.Decoder(dict[str, Any])


class PostgresReviewing:
    """See ``reviewed.Reviewing``; each method raises StoreError as it says."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking

    async def found(self, sought: Sought) -> list[HoldRow]:
        """Newest first."""
        async with self._asking.snapshot() as link:
            return await search.found(link, sought)

    async def counted(self, sought: Sought) -> Counted:
        """Over all that fits."""
        async with self._asking.snapshot() as link:
            return await search.counted(link, sought)

    async def briefs(self, message_ids: Sequence[str]) -> dict[str, Brief]:
        """By the id of the message."""
        sql = "SELECT id, subject, verdict FROM messages WHERE id = ANY(%s::text[])"
        return dict(await self._asking.all(sql, (list(message_ids),), lambda v: (str(v[0]), Brief(v[1], _object.decode(v[2])))))

    async def due(self, before: float, limit: int, within: frozenset[str] | None = None, untold: str = "") -> list[HoldRow]:
        """The first deadline first."""
        async with self._asking.snapshot() as link:
            return await search.due(link, before, limit, within, untold)

    async def told(self, keys: Sequence[str]) -> set[str]:
        """Those that went out."""
        return set(await self._asking.all("SELECT key FROM told WHERE key = ANY(%s::text[])", (list(keys),), lambda v: str(v[0])))

    async def unindexed(self, after: str, limit: int) -> tuple[list[HoldRow], str]:
        """A step of all held records."""
        async with self._asking.snapshot() as link:
            last = (await rows_of(link, _LAST, (after, limit), lambda v: str(v[0] or "")))[0]
            return await rows_of(link, _LACKING, (after, last), rows.hold_row), last

    async def queued(self, within: frozenset[str] | None) -> dict[str, int]:
        """Over the open deliveries alone."""
        where, values = ("", ()) if within is None else (_WITHIN, (sorted(within),))
        due, parked = "state IN ('scheduled', 'deferred')", "state IN ('leased', 'on-hold')"
        sql = " UNION ALL ".join(
            f"SELECT state, count(*) FROM deliveries_open WHERE {one}{where} GROUP BY state"  # noqa: S608 - constants of ours
            for one in (due, parked)
        )
        return dict(await self._asking.all(sql, values * 2, lambda v: (str(v[0]), int(v[1]))))

    async def approvals_of(self, hold_ids: Sequence[str]) -> dict[str, int]:
        """How many approvals each of them has."""
        sql = "SELECT hold_id, count(*) FROM approvals WHERE hold_id = ANY(%s::text[]) GROUP BY hold_id"
        return dict(await self._asking.all(sql, (list(hold_ids),), lambda v: (str(v[0]), int(v[1]))))

    async def remarks(self, reference: str) -> list[RemarkRow]:
        """Of one message, oldest first."""
        return await self._asking.all(review_rows.SELECT_REMARK + " WHERE reference = %s ORDER BY id", (reference,), review_rows.remark_row)

    async def credentials(self, name: str) -> CredentialRow | None:
        """Of one person."""
        return await self._asking.one(review_rows.SELECT_CREDENTIAL + " WHERE name = %s", (name,), review_rows.credential_row)

    async def credentials_by_subject(self, subject: str) -> CredentialRow | None:
        """Of the person whom an OpenID provider names so."""
        if not subject:
            return None
        return await self._asking.one(review_rows.SELECT_CREDENTIAL + " WHERE subject = %s", (subject,), review_rows.credential_row)

    async def views(self, user: str) -> list[ViewRow]:
        """Of one person, by name."""
        # A bare "user" is the database's own word for who asks.
        return await self._asking.all(review_rows.SELECT_VIEW + ' WHERE "user" = %s ORDER BY name', (user,), review_rows.view_row)

    async def tokens(self, user: str) -> list[TokenRow]:
        """Of one person, oldest first."""
        return await self._asking.all(review_rows.SELECT_TOKEN + ' WHERE "user" = %s ORDER BY id', (user,), review_rows.token_row)

    async def token(self, hash: bytes) -> TokenRow | None:
        """The one with that hash."""
        return await self._asking.one(review_rows.SELECT_TOKEN + " WHERE hash = %s", (hash,), review_rows.token_row)

    async def tallies(self, since: int, until: int, within: frozenset[str] | None) -> list[TallyRow]:
        """Hours from *since* to before *until*."""
        sql, values = review_rows.SELECT_TALLY + " WHERE hour >= %s AND hour < %s", [since, until]  # type: tuple[str, list[object]]
        if within is not None:
            sql, values = sql + _WITHIN, [*values, sorted(within)]
        return await self._asking.all(sql, values, review_rows.tally_row)

    async def tallied_to(self) -> int:
        """The position in the decision log up to which tallies count."""
        return await self._asking.one("SELECT position FROM tallied", (), lambda v: int(v[0])) or 0

    async def untallied(self, after: int, limit: int) -> tuple[list[TallyRow], int]:
        """A step of the decision log, no further than no row can come any more."""
        async with self._asking.snapshot() as link:
            upto = (await rows_of(link, _UPTO, (after, limit), lambda v: int(v[0] or 0)))[0]
            return await rows_of(
                link, _UNTALLIED, (after, upto), lambda v: TallyRow(v[0], v[1], v[2], v[3], review_rows.level_number(v[4]), v[5])
            ), upto

    async def of_sender(self, sender: str, limit: int) -> list[str]:
        """References, newest first."""
        return await self._asking.all(_SENT, (sender, sender, limit), lambda v: str(v[0]))

"""What the store in PostgreSQL reads of mail: bodies, messages, deliveries, held records, registers, people and figures.

What it is: ``PostgresReading``, the reading half of ``store.PostgresStore``, with the answers of ``sqlite.store.SqliteStore``.
Who calls it: ``store``, which is one.
Must never: write; read finished deliveries where only open ones are asked for; build SQL from anything but constants of ours and
positional parameters.
Sources: docs/design.md section 6; https://www.postgresql.org/docs/15/functions-subquery.html (ANY over an array).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.requests import ExceptionRow, ProfileRow
from gateway.stores import figures, rows
from gateway.stores.base import ApprovalRow, BodyRow, DeliveryRow, HoldRow, MessageRow, UserRow
from gateway.stores.journal import Waiting
from gateway.stores.postgres import journal, resealing
from gateway.stores.postgres.asking import Asking, rows_of
from gateway.stores.postgres.audit import PostgresAudit
from gateway.stores.postgres.connection import Pool
from gateway.stores.postgres.journal import PostgresJournal
from gateway.stores.postgres.reviewing import PostgresReviewing
from gateway.stores.resealing import SealedBody, SealedFields
from gateway.stores.schema import OPEN_HOLD_SQL

_OPEN = rows.SELECT_DELIVERY.replace(" FROM deliveries d ", " FROM deliveries_open d ")
_EVERY = rows.SELECT_DELIVERY
_DUE, _PARKED = (sql.replace(" FROM deliveries ", " FROM deliveries_open ") for sql in (figures.DUE, figures.PARKED))
_SIZE = "SELECT pg_database_size(current_database())"


class PostgresReading(PostgresAudit):
    """Reads through *pool*; each method raises StoreError as ``Store`` says."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(Asking(pool))

    @property
    def reviewing(self) -> PostgresReviewing:
        """See ``Store.reviewing``."""
        return PostgresReviewing(self._asking)

    @property
    def journal(self) -> PostgresJournal:
        """See ``Store.journal``."""
        return PostgresJournal(self._asking)

    # --- mail -----------------------------------------------------------------------------------------------------------

    async def body(self, body_id: str) -> BodyRow | None:
        """The sealed content, or None when it was destroyed."""
        return await self._asking.one(rows.SELECT_BODY + " WHERE id = %s", (body_id,), rows.body_row)

    async def message(self, id_or_reference: str) -> MessageRow | None:
        """The message with that id or reference."""
        sql = " WHERE id = %s OR reference = %s ORDER BY is_report LIMIT 1"
        return await self._asking.one(rows.SELECT_MESSAGE + sql, (id_or_reference, id_or_reference), rows.message_row)

    async def due_deliveries(self, now: float, limit: int) -> list[DeliveryRow]:
        """See ``Store.due_deliveries``."""
        sql = " WHERE d.state IN ('scheduled', 'deferred') AND d.next_attempt <= %s ORDER BY d.next_attempt LIMIT %s"
        return await self._asking.all(_OPEN + sql, (now, limit), rows.delivery_row)

    async def next_due(self) -> float | None:
        """See ``Store.next_due``."""
        sql = "SELECT next_attempt FROM deliveries_open WHERE state IN ('scheduled', 'deferred') ORDER BY next_attempt LIMIT 1"
        return await self._asking.one(sql, (), lambda v: float(v[0]))

    async def deliveries(self, *, all: bool = False, limit: int = 1000, after: str = "", reference: str = "") -> list[DeliveryRow]:
        """Open deliveries by id (all with *all*), or every one of a reference."""
        if reference:
            sql = " WHERE m.reference = %s AND d.id > %s ORDER BY d.id LIMIT %s"
            return await self._asking.all(_EVERY + sql, (reference, after, limit), rows.delivery_row)
        sql = (_EVERY if all else _OPEN) + " WHERE d.id > %s ORDER BY d.id LIMIT %s"
        return await self._asking.all(sql, (after, limit), rows.delivery_row)

    async def delivery(self, delivery_id: str) -> DeliveryRow | None:
        """One delivery by its id."""
        return await self._asking.one(_EVERY + " WHERE d.id = %s", (delivery_id,), rows.delivery_row)

    async def holds(self, *, all: bool = False, limit: int = 1000, after: str = "") -> list[HoldRow]:
        """Open held records by id; finished ones too with *all*."""
        sql = f" WHERE {'true' if all else OPEN_HOLD_SQL} AND id > %s ORDER BY id LIMIT %s"
        return await self._asking.all(rows.SELECT_HOLD + sql, (after, limit), rows.hold_row)

    async def hold(self, id_or_reference: str) -> HoldRow | None:
        """The held record with that id, else the newest of that reference (an open one first)."""
        sql = f" WHERE id = %s OR reference = %s ORDER BY ({OPEN_HOLD_SQL}) DESC, id DESC LIMIT 1"
        return await self._asking.one(rows.SELECT_HOLD + sql, (id_or_reference, id_or_reference), rows.hold_row)

    async def expired_holds(self, now: float, limit: int) -> list[HoldRow]:
        """Open held records whose deadline has passed, oldest deadline first."""
        sql = f" WHERE {OPEN_HOLD_SQL} AND deadline <= %s ORDER BY deadline LIMIT %s"
        return await self._asking.all(rows.SELECT_HOLD + sql, (now, limit), rows.hold_row)

    async def approvals(self, hold_id: str) -> list[ApprovalRow]:
        """The approvals of one held record, oldest first."""
        return await self._asking.all(rows.SELECT_APPROVAL + " WHERE hold_id = %s ORDER BY id", (hold_id,), rows.approval_row)

    # --- registers, people and what is remembered ------------------------------------------------------------------------

    async def exceptions(self, *, all: bool = False) -> list[ExceptionRow]:
        """The active entries of the register; every entry with *all*."""
        sql = " ORDER BY id" if all else " WHERE state = 'active' ORDER BY id"
        return await self._asking.all(rows.SELECT_EXCEPTION + sql, (), rows.exception_row)

    async def profiles(self, *, all: bool = False) -> list[ProfileRow]:
        """The profiles that are on; every one with *all*."""
        sql = " ORDER BY id" if all else " WHERE state = 'active' ORDER BY id"
        return await self._asking.all(rows.SELECT_PROFILE + sql, (), rows.profile_row)

    async def users(self) -> list[UserRow]:
        """The reviewers by name."""
        return await self._asking.all(rows.SELECT_USER + " ORDER BY name", (), rows.user_row)

    async def known_pairs(self, pairs: Sequence[bytes]) -> set[bytes]:
        """See ``Store.known_pairs``."""
        if not pairs:
            return set()
        sql = "SELECT pair FROM correspondents WHERE pair = ANY(%s::bytea[])"
        return set(await self._asking.all(sql, (list(pairs),), lambda v: bytes(v[0])))

    async def remembered(self, marks: Sequence[bytes]) -> dict[bytes, int]:
        """See ``Store.remembered``."""
        if not marks:
            return {}
        sql = "SELECT mark, level FROM threads WHERE mark = ANY(%s::bytea[])"
        return dict(await self._asking.all(sql, (list(marks),), lambda v: (bytes(v[0]), int(v[1]))))

    # --- figures, and what is under which vault key ----------------------------------------------------------------------

    async def figures(self) -> figures.Figures:
        """Open deliveries, held mail and the size of the database as they are now."""
        async with self._asking.snapshot() as link:

            async def ask(sql: str) -> list[tuple[Any, ...]]:
                return await rows_of(link, sql, (), tuple)

            due, parked, held = await ask(_DUE), await ask(_PARKED), await ask(figures.HELD)
            unfiled = [Waiting(str(v[0]), int(v[1]), float(v[2])) for v in await ask(journal.WAITING)]
            octets = int((await ask(_SIZE))[0][0])
        return figures.put_together(due, parked, held, octets, tuple(unfiled))

    async def sealed_bodies(self, after: int | str, limit: int) -> list[SealedBody]:
        """The next bodies that a vault key opens, in the order of their places: here their ids."""
        return await resealing.bodies(self._asking, after, limit)

    async def sealed_fields(self, after: int | str, limit: int, table: str = "messages") -> list[SealedFields]:
        """The sealed fields of the next rows of *table*, in the order of their places: here what names them."""
        return await resealing.fields(self._asking, after, limit, table)

    async def needing_key(self, key_id: str, prefix: bytes) -> tuple[int, int]:
        """How many bodies, and how many rows with sealed fields, need a vault key; reads all rows."""
        return await resealing.needing(self._asking, key_id, prefix)

    async def bodies_by_key(self) -> dict[str, int]:
        """How many bodies each vault key has; reads all rows."""
        return await resealing.by_key(self._asking)

"""Journal copies to parameters and back; as ``rows`` does for the others.

What it is: statements with positional parameters, and functions from rows to parameters and back.
Who calls it: the ``apply`` and the ``journal`` of each store.
Must never: change a copy that was filed; lose the ``format`` of a row.
Source: docs/design.md section 6.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.stores import rows, schema
from gateway.stores.base import FORMAT
from gateway.stores.journal import CopyState, JournalRow, JournalUpdate
from gateway.stores.schema import UNFILED_COPY_SQL
from gateway.verdict import Edit

_edits = msgspec.json.Decoder(tuple[Edit, ...])

_COPY = rows.columns(
    "id message_id reference body_id name state created level sha256 size edits retain_until attempts next_attempt last_reply filed"
    " filed_sha256 filed_size uidvalidity uid department format"
)
ADD_COPY = schema.insert_sqlite(schema.JOURNAL, _COPY).partition(" VALUES ")[0] + " VALUES {rows} ON CONFLICT (message_id, name) DO NOTHING"
"""A template: rows of ``COPY_MARKS`` stand in the place of ``{rows}``. A message has one copy in an archive, whoever asks for it."""
COPY_MARKS = f"({', '.join('?' * len(_COPY))})"
SELECT_COPY = rows.select("journal", _COPY)
UPDATE_COPY = (
    "UPDATE journal SET state = v.column2, attempts = coalesce(v.column3, attempts), next_attempt = coalesce(v.column4, next_attempt),"  # noqa: S608 - constants of ours
    " last_reply = coalesce(v.column5, last_reply), filed = coalesce(v.column6, filed), filed_sha256 = coalesce(v.column7, filed_sha256),"
    " filed_size = coalesce(v.column8, filed_size), uidvalidity = coalesce(v.column9, uidvalidity), uid = coalesce(v.column10, uid)"
    f" FROM (VALUES {{rows}}) AS v WHERE journal.id = v.column1 AND journal.{UNFILED_COPY_SQL} RETURNING message_id, journal.state"
)
UPDATE_MARKS = f"({', '.join('?' * 10)})"


def copy_values(row: JournalRow) -> tuple[object, ...]:
    """Parameters of ADD_COPY."""
    return (
        row.id, row.message_id, row.reference, row.body_id, row.name, row.state.value, row.created, row.level, row.sha256, row.size,
        rows.dump(row.edits), row.retain_until, row.attempts, row.next_attempt, row.last_reply, row.filed, row.filed_sha256,
        row.filed_size, row.uidvalidity, row.uid, row.department, FORMAT,
    )  # fmt: skip


def copy_row(v: tuple[Any, ...]) -> JournalRow:
    """The row that SELECT_COPY gave."""
    return JournalRow(
        id=v[0], message_id=v[1], reference=v[2], body_id=v[3], name=v[4], state=CopyState(v[5]), created=v[6], level=v[7], sha256=v[8],
        size=v[9], edits=_edits.decode(v[10]), retain_until=v[11], attempts=v[12], next_attempt=v[13], last_reply=v[14], filed=v[15],
        filed_sha256=v[16], filed_size=v[17], uidvalidity=v[18], uid=v[19], department=v[20],
    )  # fmt: skip


def update_values(change: JournalUpdate) -> tuple[object, ...]:
    """Parameters of UPDATE_COPY."""
    return (
        change.id, change.state.value, change.attempts, change.next_attempt, change.last_reply, change.filed, change.filed_sha256,
        change.filed_size, change.uidvalidity, change.uid,
    )  # fmt: skip

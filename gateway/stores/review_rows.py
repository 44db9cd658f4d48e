"""The rows of the review pages to parameters and back; as ``rows`` does for the others.

What it is: for each row type of ``reviewed`` an SQL text, a function that makes its parameters, and one that makes the row again.
Who calls it: the ``apply`` and the ``reviewing`` of each store.
Must never: open a sealed field; lose the ``format`` of a row.
Source: docs/design.md section 6.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.levels import Level
from gateway.stores import schema
from gateway.stores.base import FORMAT
from gateway.stores.reviewed import CredentialRow, RemarkKind, RemarkRow, TallyRow, TermRow, TokenRow, ToldRow, ViewRow
from gateway.stores.rows import columns, dump, select

_REMARK = columns("id hold_id reference created author kind text to department format")
_CREDENTIAL = columns("name password totp totp_next counter subject changed department format")
_VIEW = columns("id user name filter created department format")
_TOKEN = columns("id user name scopes hash created expires used department format")
_TERM = columns("term hold_id department format")
_TOLD = columns("key created department format")

INSERT_REMARK = schema.insert_sqlite(schema.REMARKS, _REMARK)
REPLACE_CREDENTIAL = schema.insert_sqlite(schema.CREDENTIALS, _CREDENTIAL, replace=True)
REPLACE_VIEW = schema.insert_sqlite(schema.VIEWS, _VIEW, replace=True)
REPLACE_TOKEN = schema.insert_sqlite(schema.TOKENS, _TOKEN, replace=True)
REPLACE_TERM = schema.insert_sqlite(schema.TERMS, _TERM, replace=True)
REPLACE_TOLD = schema.insert_sqlite(schema.TOLD, _TOLD, replace=True)
ADD_TALLY = (
    "INSERT INTO tallies (hour, department, rule, disposition, level, count, format) VALUES {rows}"
    " ON CONFLICT (hour, department, rule, disposition, level) DO UPDATE SET count = count + excluded.count"
)
"""A template: rows of seven marks stand in the place of ``{rows}``."""
REPLACE_TALLIED = "INSERT OR REPLACE INTO tallied (one, position, department, format) VALUES (1, ?, '', ?)"

SELECT_REMARK = select("remarks", _REMARK)
SELECT_CREDENTIAL = select("credentials", _CREDENTIAL)
SELECT_VIEW = select("views", _VIEW)
SELECT_TOKEN = select("tokens", _TOKEN)
SELECT_TALLY = "SELECT hour, department, rule, disposition, level, count FROM tallies"

_scopes = msgspec.json.Decoder(tuple[str, ...])
_filter = msgspec.json.Decoder(dict[str, Any])


def remark_values(row: RemarkRow) -> tuple[object, ...]:
    """Parameters of INSERT_REMARK."""
    return (
        row.id, row.hold_id, row.reference, row.created, row.author, row.kind.value, row.text, row.to, row.department, FORMAT,
    )  # fmt: skip


def remark_row(v: tuple[Any, ...]) -> RemarkRow:
    """The row that SELECT_REMARK gave."""
    return RemarkRow(
        id=v[0], hold_id=v[1], reference=v[2], created=v[3], author=v[4], kind=RemarkKind(v[5]), text=v[6], to=v[7], department=v[8]
    )


def credential_values(row: CredentialRow) -> tuple[object, ...]:
    """Parameters of REPLACE_CREDENTIAL."""
    return (row.name, row.password, row.totp, row.totp_next, row.counter, row.subject, row.changed, "", FORMAT)


def credential_row(v: tuple[Any, ...]) -> CredentialRow:
    """The row that SELECT_CREDENTIAL gave."""
    return CredentialRow(name=v[0], password=v[1], totp=v[2], totp_next=v[3], counter=v[4], subject=v[5], changed=v[6])


def view_values(row: ViewRow) -> tuple[object, ...]:
    """Parameters of REPLACE_VIEW."""
    return (row.id, row.user, row.name, dump(row.filter), row.created, "", FORMAT)


def view_row(v: tuple[Any, ...]) -> ViewRow:
    """The row that SELECT_VIEW gave."""
    return ViewRow(id=v[0], user=v[1], name=v[2], filter=_filter.decode(v[3]), created=v[4])


def token_values(row: TokenRow) -> tuple[object, ...]:
    """Parameters of REPLACE_TOKEN."""
    return (row.id, row.user, row.name, dump(row.scopes), row.hash, row.created, row.expires, row.used, "", FORMAT)


def token_row(v: tuple[Any, ...]) -> TokenRow:
    """The row that SELECT_TOKEN gave."""
    return TokenRow(id=v[0], user=v[1], name=v[2], scopes=_scopes.decode(v[3]), hash=v[4], created=v[5], expires=v[6], used=v[7])


def term_values(row: TermRow) -> tuple[object, ...]:
    """Parameters of REPLACE_TERM."""
    return (row.term, row.hold_id, "", FORMAT)


def told_values(row: ToldRow) -> tuple[object, ...]:
    """Parameters of REPLACE_TOLD."""
    return (row.key, row.created, "", FORMAT)


def tally_values(row: TallyRow) -> tuple[object, ...]:
    """Parameters of ADD_TALLY."""
    return (row.hour, row.department, row.rule, row.disposition, row.level, row.count, FORMAT)


def tally_row(v: tuple[Any, ...]) -> TallyRow:
    """The row that SELECT_TALLY gave."""
    return TallyRow(*v)


def level_number(text: str | None) -> int:
    """The number of a level as the decision log writes it; -1 for none."""
    try:
        return -1 if text is None else int(Level.parse(text))
    except ValueError:
        return -1

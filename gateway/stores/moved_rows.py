"""The rows of the embedded store as PostgreSQL takes them, and a digest over the rows of a table that both sides can make.

What it is: ``Table`` (columns, key and types of one table), ``source_rows``, ``digest`` of the rows of either side.
Who calls it: ``moving`` and ``moved_check``.
Must never: write to the embedded store; open a sealed field.
Sources: https://www.postgresql.org/docs/15/datatype-character.html (text takes no zero octet); docs/design.md section 6.
"""

from __future__ import annotations

import base64
import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path as FilePath
from typing import Any

import msgspec

from gateway.stores import schema
from gateway.stores.base import StoreError
from gateway.stores.postgres.tables import columns, kind, quoted
from gateway.stores.sqlite import connection

_MODULUS = 1 << 256
_encode = msgspec.json.Encoder().encode
Row = tuple[Any, ...]


class Table(msgspec.Struct, frozen=True):
    """One table of both stores."""

    name: str
    columns: tuple[str, ...]
    kinds: tuple[str, ...]
    """PostgreSQL's types."""
    key: tuple[str, ...]

    @property
    def listed(self) -> str:
        """The columns for a statement."""
        return ", ".join(quoted(name) for name in self.columns)

    @property
    def ordered(self) -> str:
        """The columns of the key for a statement."""
        return ", ".join(quoted(name) for name in self.key)


def tables() -> list[Table]:
    """All tables, those of mail first: what is waiting is there early, and the long decision log comes last."""
    made = []
    for table in schema.METADATA.sorted_tables:
        names = columns(table)
        key = tuple(column.name for column in table.primary_key.columns)
        made.append(Table(table.name, names, tuple(kind(table.columns[name]) for name in names), key))
    first = ("bodies", "messages", "deliveries", "holds")
    return sorted(made, key=lambda one: (first.index(one.name) if one.name in first else len(first) + (one.name == "audit"), one.name))


def open_source(path: FilePath) -> sqlite3.Connection:
    """The store of a stopped gateway for reading. Raises StoreError."""
    if not path.exists():
        raise StoreError(f"{path}: there is no store")
    try:
        db = sqlite3.connect(path, isolation_level=None, timeout=10)
        db.execute("PRAGMA query_only=ON")
        db.execute("PRAGMA trusted_schema=OFF")
        db.text_factory = lambda octets: octets.decode("utf-8", "replace")
        found = connection.format_of(db, path)
    except sqlite3.Error as error:
        raise connection.translate(error, path) from error
    if found != schema.VERSION:
        db.close()
        raise StoreError(f"{path}: the store has format {found}; bring it to {schema.VERSION} first: gateway store upgrade")
    return db


def counts(db: sqlite3.Connection) -> dict[str, int]:
    """How many rows each table has."""
    return {one.name: int(db.execute(f"SELECT count(*) FROM {one.name}").fetchone()[0]) for one in tables()}  # noqa: S608 - ours


def source_rows(db: sqlite3.Connection, table: Table, after: Sequence[object] = ()) -> Iterator[Row]:
    """The rows of *table* in the order of its key, behind the key *after*, as PostgreSQL takes them."""
    where = f" WHERE ({table.ordered}) > ({', '.join('?' * len(table.key))})" if after else ""
    sql = f"SELECT {table.listed} FROM {table.name}{where} ORDER BY {table.ordered}"  # noqa: S608 - names of ours
    makers = [_MAKERS[one] for one in table.kinds]
    for row in db.execute(sql, tuple(after)):
        yield tuple(None if value is None else make(value) for make, value in zip(makers, row, strict=True))


def key_of(table: Table, row: Row) -> tuple[Any, ...]:
    """The key of *row*."""
    return tuple(row[table.columns.index(name)] for name in table.key)


def key_text(key: Sequence[object]) -> str:
    """*key* as text that ``key_from`` reads."""
    return _encode([{"b": base64.b64encode(one).decode()} if isinstance(one, bytes) else one for one in key]).decode()


def key_from(text: str) -> tuple[Any, ...]:
    """What ``key_text`` wrote."""
    found = msgspec.json.decode(text)
    return tuple(base64.b64decode(one["b"]) if isinstance(one, dict) else one for one in found)


def octets(row: Row) -> int:
    """About what *row* weighs."""
    return sum(len(value) if isinstance(value, (str, bytes)) else 8 for value in row)


def digest(sums: int, rows: Sequence[Row]) -> int:
    """*sums* with *rows* added: a number that is the same in whatever order and in whatever steps the rows come."""
    for row in rows:
        plain = [hashlib.sha256(value).digest().hex() if isinstance(value, bytes) else value for value in row]
        sums += int.from_bytes(hashlib.sha256(_encode(plain)).digest(), "big")
    return sums % _MODULUS


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else str(value)
    return text.replace("\0", "\ufffd")


def _octets(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


_MAKERS: dict[str, Callable[[Any], Any]] = {"text": _text, "bytea": _octets, "boolean": bool, "bigint": int, "double precision": float}

"""The tables in PostgreSQL, made from the one description of them, and the statements that put many rows in at once.

What it is: ``create`` (all statements of an empty database), ``insert`` and ``replace`` (one statement whatever the number of rows),
the names of locks and channels, and what is different from SQLite.
Who calls it: ``store`` and its parts.
Must never: give a text column another order than SQLite's (COLLATE "C": ids and names sort by their octets); change without a step
in ``migrations``.
Sources: docs/design.md section 6; https://www.postgresql.org/docs/current/ddl-partitioning.html.

What is different from SQLite:

* ``deliveries`` is a view. Open deliveries stand in ``deliveries_open``, which stays as small as the queue is; the transaction that
  ends one moves it to ``deliveries_done``, which has a partition a day (of ``created``). Whoever needs open ones only reads
  ``deliveries_open``; who changes or deletes names the table.
* ``audit`` has a partition a day (of ``created``). A row whose day has no partition stands in ``audit_default``. (chain, seq) is
  unique in each partition, and over all of them by ``chains``: the one row of a chain, which each transaction with audit rows moves
  from the end it knows to the new one.
* ``audit.position`` is the transaction's number and the row's place in it, not a counter. A counter is given out before the commit,
  so that a row may appear below one that was read already; transactions' numbers say which of them may still come. ``SETTLED`` is
  true of rows below all that may still appear: whoever walks by position, and comes back to go on, reads those only. (A lock around
  insert and commit would do too, and make all nodes wait for each other's disk.)
* Whole numbers are bigint, times double precision, JSON text, as ``rows`` makes them.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Boolean, Column, Float, Index, Integer, LargeBinary, Table, Text, UniqueConstraint

from gateway.stores import schema
from gateway.stores.base import register_version

LOCK_FORMAT, LOCK_REGISTER, LOCK_PARTITIONS, LOCK_JOB, LOCK_LEASES = 0x67770001, 0x67770002, 0x67770003, 0x67770004, 0x67770005
"""First halves of advisory locks; the second is 0, or says which job."""
CHANNEL = "gateway"
"""Of NOTIFY; the payload is one of the words below."""
QUEUE, REGISTER, JOURNAL = "queue", "register", "journal"

POSITION_BITS = 20
"""Rows of one transaction that have a position: a million."""
_SMALLEST_OPEN = "pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
SETTLED = f"position < (SELECT base FROM store_format WHERE one = 1) + ({_SMALLEST_OPEN} << {POSITION_BITS})"  # noqa: S608 - constants of ours
"""A condition on audit: no row will appear below one of which this is true."""
FIRST_POSITION = f"(SELECT base FROM store_format WHERE one = 1) + (pg_current_xact_id()::text::bigint << {POSITION_BITS})"  # noqa: S608

DAILY = ("audit", "deliveries_done")
"""Tables with a partition a day of ``created``."""
_FINAL = "state IN ('delivered', 'bounced', 'expired')"
_LIVELY = " WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000)"

_OWN_TABLES = (
    "CREATE TABLE store_format (one bigint PRIMARY KEY CHECK (one = 1), version bigint NOT NULL, oldest_code bigint NOT NULL,"
    " base bigint NOT NULL DEFAULT 0)",
    'CREATE TABLE register (one bigint PRIMARY KEY CHECK (one = 1), version text COLLATE "C" NOT NULL)',
    'CREATE TABLE chains (chain text COLLATE "C" PRIMARY KEY, seq bigint NOT NULL, hash text COLLATE "C" NOT NULL) WITH (fillfactor = 50)',
    'CREATE TABLE keepers (incarnation text COLLATE "C" PRIMARY KEY, node text COLLATE "C" NOT NULL,'
    " started timestamptz NOT NULL, seen timestamptz NOT NULL) WITH (fillfactor = 50)",
)


def kind(column: Column[object]) -> str:
    """The type of *column* in PostgreSQL, without its order."""
    match column.type:
        case Boolean():
            return "boolean"
        case Integer():
            return "bigint"
        case Float():
            return "double precision"
        case LargeBinary():
            return "bytea"
        case Text():
            return "text"
    raise ValueError(f"{column}: no type for PostgreSQL")


def quoted(name: str) -> str:
    """*name* as an identifier: some columns are called as words of SQL are."""
    return f'"{name}"'


def columns(table: Table) -> tuple[str, ...]:
    """The names of the columns of *table* in their order."""
    return tuple(column.name for column in table.columns)


def _defined(table: Table) -> str:
    lines = []
    for column in table.columns:
        name, kind_ = quoted(column.name), kind(column)
        collated = ' COLLATE "C"' if kind_ == "text" else ""
        lines.append(f"{name} {kind_}{collated}{'' if column.nullable else ' NOT NULL'}")
    return ", ".join(lines)


def _key(table: Table) -> str:
    return ", ".join(quoted(column.name) for column in table.primary_key.columns)


def _indexed(table: Table, name: str) -> list[str]:
    made = []
    for index in sorted(table.indexes, key=lambda one: str(one.name)):
        where = index.dialect_options["sqlite"]["where"]
        listed = ", ".join(quoted(column.name) for column in index.columns)
        made.append(f"CREATE INDEX {_index_name(index, name)} ON {name} ({listed}){'' if where is None else f' WHERE {where}'}")
    return made


def _index_name(index: Index, table: str) -> str:
    assert index.table is not None
    return str(index.name).replace(f"ix_{index.table.name}", f"ix_{table}", 1)


def _unique(table: Table) -> str:
    return "".join(
        f", UNIQUE ({', '.join(quoted(column.name) for column in one.columns)})"
        for one in sorted(table.constraints, key=lambda one: str(one.name))
        if isinstance(one, UniqueConstraint)
    )


def _plain(table: Table) -> list[str]:
    ends = _LIVELY if table.name in ("bodies", "journal", "holds") else ""
    more = ', "lease" text COLLATE "C" NOT NULL DEFAULT \'\'' if table.name == "journal" else ""
    made = [f"CREATE TABLE {table.name} ({_defined(table)}{more}, PRIMARY KEY ({_key(table)}){_unique(table)}){ends}"]
    if table.name == "bodies":
        # It is cipher: to try to compress it costs time and gives nothing.
        made.append("ALTER TABLE bodies ALTER COLUMN ciphertext SET STORAGE EXTERNAL")
    return made + _indexed(table, table.name)


def _deliveries(table: Table) -> list[str]:
    listed = ", ".join(quoted(name) for name in columns(table))
    return [
        f"CREATE TABLE deliveries_open ({_defined(table)}, PRIMARY KEY (id), CHECK ({schema.OPEN_DELIVERY_SQL})){_LIVELY}",
        *_indexed(table, "deliveries_open"),
        f"CREATE TABLE deliveries_done ({_defined(table)}, CHECK ({_FINAL})) PARTITION BY RANGE (created)",
        "CREATE INDEX ix_deliveries_done_id ON deliveries_done (id)",
        "CREATE INDEX ix_deliveries_done_message_id ON deliveries_done (message_id)",
        "CREATE TABLE deliveries_done_default PARTITION OF deliveries_done DEFAULT",
        f"CREATE VIEW deliveries AS SELECT {listed} FROM deliveries_open UNION ALL SELECT {listed} FROM deliveries_done",  # noqa: S608
    ]


def _audit(table: Table) -> list[str]:
    return [
        f"CREATE TABLE audit ({_defined(table)}) PARTITION BY RANGE (created)",
        "CREATE INDEX ix_audit_position ON audit (position)",
        "CREATE INDEX ix_audit_reference ON audit (reference)",
        "CREATE TABLE audit_default PARTITION OF audit DEFAULT",
        "CREATE UNIQUE INDEX uq_audit_default_chain_seq ON audit_default (chain, seq)",
    ]


def create() -> list[str]:
    """The statements that make a store of the newest format in an empty database."""
    made = list(_OWN_TABLES)
    for table in schema.METADATA.sorted_tables:
        match table.name:
            case "deliveries":
                made += _deliveries(table)
            case "audit":
                made += _audit(table)
            case _:
                made += _plain(table)
    made.append(f"INSERT INTO register VALUES (1, '{register_version(())}')")  # noqa: S608 - constants of ours
    made.append(f"INSERT INTO store_format (one, version, oldest_code) VALUES (1, {schema.VERSION}, {schema.VERSION})")  # noqa: S608
    return made


def insert(table: Table, names: Sequence[str], *, into: str = "", ends: str = "") -> str:
    """``INSERT`` of any number of rows: each parameter is the list of one column's values, in the order of *names*. *ends* follows."""
    listed = ", ".join(quoted(name) for name in names)
    given = ", ".join(f"%b::{kind(table.columns[name])}[]" for name in names)
    return f"INSERT INTO {into or table.name} ({listed}) SELECT * FROM unnest({given}) {ends}".rstrip()  # noqa: S608


def replace(table: Table, names: Sequence[str]) -> str:
    """``insert`` that takes the place of a row with the same key; no key may come twice."""
    keys = {column.name for column in table.primary_key.columns}
    changed = ", ".join(f"{quoted(name)} = excluded.{quoted(name)}" for name in names if name not in keys)
    return insert(table, names, ends=f"ON CONFLICT ({_key(table)}) DO UPDATE SET {changed}")


def values(columns_and_kinds: Sequence[tuple[str, str]]) -> str:
    """``unnest`` as a table ``v`` with these columns, for changes of many rows in one statement."""
    given = ", ".join(f"%b::{kind_}[]" for _, kind_ in columns_and_kinds)
    return f"unnest({given}) AS v ({', '.join(quoted(name) for name, _ in columns_and_kinds)})"

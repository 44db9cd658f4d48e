"""The tables: one description for every store.

What it is: SQLAlchemy Core tables, the SQL compiled from them once (SQLAlchemy's compiler is too slow for each call), and the
number of the format that they are.
Who calls it: ``rows`` and both stores; ``postgres.tables`` makes PostgreSQL's tables of it.
Must never: be used to run SQL through SQLAlchemy's engine in the mail path; drop the ``department`` or ``format`` of a row; change
without a step in the ``migrations`` of each store.
Source: docs/design.md section 6.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    DefaultClause,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    insert,
    text,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

VERSION = 5
"""The format of the store: ``PRAGMA user_version`` in SQLite, and the newest step of ``sqlite.migrations``."""

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_OPEN_DELIVERY = "state IN ('scheduled', 'leased', 'deferred', 'on-hold')"
_OPEN_HOLD = "state IN ('held', 'requested', 'approved')"
_UNFILED_COPY = "state IN ('waiting', 'filing')"


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _number(name: str) -> Column[float]:
    return Column(name, Float, nullable=False)


def _whole(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False)


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean(create_constraint=False), nullable=False)


def _bytes(name: str) -> Column[bytes]:
    return Column(name, LargeBinary, nullable=False)


def _since_4(column: Column[Any], default: str) -> Column[Any]:
    """A column that format 4 added to rows that were there: it stands last, with a default."""
    column.server_default = DefaultClause(text(default))
    return column


def _common() -> tuple[Column[str], Column[int]]:
    return _text("department"), _whole("format")


# The wrapped key stands before the ciphertext: it lies in the leaf page that a delete rewrites, and is zeroed there.
BODIES = Table(
    "bodies", METADATA, Column("id", Text, primary_key=True), _text("key_id"), _bytes("wrapped_key"), _bytes("nonce"), _whole("size"),
    _text("sha256"), _flag("sealed"), _number("created"), *_common(), _bytes("ciphertext"),
)  # fmt: skip

MESSAGES = Table(
    "messages", METADATA, Column("id", Text, primary_key=True), _text("reference"), _number("created"), _text("door"), _text("sender"),
    _text("ret"), _text("envid"), _flag("eight_bit"), _flag("smtputf8"), _whole("size"), _text("sha256"), _text("body_id"),
    Column("level", Integer), _flag("verified_originator"), _text("peer"), _text("verdict"), _text("facts"), _bytes("subject"),
    _bytes("details"), _flag("is_report"), *_common(), Index(None, "reference"),
)  # fmt: skip

DELIVERIES = Table(
    "deliveries", METADATA, Column("id", Text, primary_key=True), _text("message_id"), _number("created"), _text("recipient"),
    _text("state"), Column("notify", Text), _text("orcpt"), _text("edits"), _flag("require_aes256"), _text("direction"),
    _whole("attempts"), _number("next_attempt"), _text("last_reply"), _text("route"), _text("lease"), _flag("warned"),
    _text("sent_sha256"), *_common(), Index(None, "message_id"),
    # Only open rows are in these, so that they stay as small as the queue is.
    Index("ix_deliveries_due", "next_attempt", sqlite_where=text("state IN ('scheduled', 'deferred')")),
    Index("ix_deliveries_parked", "id", sqlite_where=text("state IN ('leased', 'on-hold')")),
    sqlite_with_rowid=False,
)  # fmt: skip

HOLDS = Table(
    "holds", METADATA, Column("id", Text, primary_key=True), _text("message_id"), _text("reference"), _text("body_id"),
    _number("created"), _number("deadline"), _text("state"), _text("sender"), _text("recipients"), Column("level", Integer),
    _text("rule"), _flag("sealed"), _whole("size"), _text("sha256"), _text("reason"), _text("released"),
    _flag("verified_originator"), _number("updated"), *_common(), _since_4(_text("assigned"), "''"), _since_4(_number("requested"), "0"),
    Index(None, "reference"), Index(None, "message_id"),
    Index("ix_holds_open", "deadline", sqlite_where=text(_OPEN_HOLD)),
    # All that a list is filtered and counted by, read instead of the rows: of each state newest first, and in the order of its counts.
    Index(
        "ix_holds_review", "state", "id", "department", "level", "rule", "sealed", "assigned", "created", "deadline", "updated",
    ),
    Index(
        "ix_holds_counts", "state", "department", "level", "rule", "created", "deadline", "sealed", "assigned", "updated", "id",
    ),
    Index(None, "updated"),
    sqlite_with_rowid=False,
)  # fmt: skip

APPROVALS = Table(
    "approvals", METADATA, Column("id", Text, primary_key=True), _text("hold_id"), _number("created"), _text("user"), _text("reason"),
    _text("sha256"), _text("recipients"), _text("waived"), *_common(), Index(None, "hold_id"),
)  # fmt: skip

EXCEPTIONS = Table(
    "exceptions", METADATA, Column("id", Text, primary_key=True), _text("sender"), _text("recipient"), _text("reason"),
    _text("requester"), _text("approver"), _number("created"), _number("expires"), _text("state"), *_common(),
)  # fmt: skip

USERS = Table(
    "users", METADATA, Column("name", Text, primary_key=True), _text("system_user"), _text("email"), _number("created"), *_common(),
    _since_4(_text("grants"), "'[]'"), _since_4(_flag("disabled"), "0"), _since_4(_text("language"), "''"),
)  # fmt: skip

AUDIT = Table(
    "audit", METADATA, Column("position", Integer, primary_key=True), _text("chain"), _whole("seq"), _number("created"),
    _text("reference"), _text("sender"), _text("recipient"), _text("rule"), _text("disposition"), _text("prev_hash"), _text("hash"),
    _text("line"), *_common(), UniqueConstraint("chain", "seq"), Index(None, "reference"),
)  # fmt: skip

HEADS = Table(
    "heads", METADATA, Column("chain", Text, primary_key=True), Column("seq", Integer, primary_key=True), _text("hash"),
    _number("created"), _text("key_id"), _text("signature"), *_common(),
)  # fmt: skip

PROFILES = Table(
    "profiles", METADATA, Column("id", Text, primary_key=True), _text("name"), _text("reason"), _text("requester"), _text("approver"),
    _number("created"), _number("expires"), _text("state"), *_common(),
)  # fmt: skip

# A keyed hash a pair and the day (since the epoch) on which it was last seen: no address stands here.
CORRESPONDENTS = Table(
    "correspondents", METADATA, Column("pair", LargeBinary, primary_key=True), _whole("last_seen"), *_common(), Index(None, "last_seen"),
    sqlite_with_rowid=False,
)  # fmt: skip

# A keyed hash of a Message-ID or of a passage, the level that it carried, and the day on which it was last seen: no word stands here.
THREADS = Table(
    "threads", METADATA, Column("mark", LargeBinary, primary_key=True), _whole("level"), _whole("last_seen"), *_common(),
    Index(None, "last_seen"), sqlite_with_rowid=False,
)  # fmt: skip

# Where a chain begins after its oldest rows were removed: the last removed row, signed.
CLOSINGS = Table(
    "closings", METADATA, Column("chain", Text, primary_key=True), _whole("seq"), _text("hash"), _number("created"), _text("key_id"),
    _text("signature"), *_common(),
)  # fmt: skip

# What people said of a message; the words are sealed.
REMARKS = Table(
    "remarks", METADATA, Column("id", Text, primary_key=True), _text("hold_id"), _text("reference"), _number("created"), _text("author"),
    _text("kind"), _bytes("text"), _text("to"), *_common(), Index(None, "reference"),
)  # fmt: skip

CREDENTIALS = Table(
    "credentials", METADATA, Column("name", Text, primary_key=True), _text("password"), _bytes("totp"), _bytes("totp_next"),
    _whole("counter"), _text("subject"), _number("changed"), *_common(), Index(None, "subject"),
)  # fmt: skip

VIEWS = Table(
    "views", METADATA, Column("id", Text, primary_key=True), _text("user"), _text("name"), _text("filter"), _number("created"),
    *_common(), UniqueConstraint("user", "name"),
)  # fmt: skip

TOKENS = Table(
    "tokens", METADATA, Column("id", Text, primary_key=True), _text("user"), _text("name"), _text("scopes"), _bytes("hash"),
    _number("created"), _number("expires"), _number("used"), *_common(), UniqueConstraint("hash"), Index(None, "user"),
)  # fmt: skip

# By what held mail is found: keyed hashes.
TERMS = Table(
    "terms", METADATA, Column("term", LargeBinary, primary_key=True), Column("hold_id", Text, primary_key=True), *_common(),
    Index(None, "hold_id"), sqlite_with_rowid=False,
)  # fmt: skip

# Recipient decisions an hour, counted from the decision log; ``tallied`` says up to which of its rows.
TALLIES = Table(
    "tallies", METADATA, Column("hour", Integer, primary_key=True), Column("department", Text, primary_key=True),
    Column("rule", Text, primary_key=True), Column("disposition", Text, primary_key=True), Column("level", Integer, primary_key=True),
    _whole("count"), _whole("format"), sqlite_with_rowid=False,
)  # fmt: skip

TALLIED = Table("tallied", METADATA, Column("one", Integer, primary_key=True), _whole("position"), *_common())

# Mail to reviewers that goes out once: of which day to whom, of which held record.
TOLD = Table(
    "told", METADATA, Column("key", Text, primary_key=True), _number("created"), *_common(), sqlite_with_rowid=False,
)  # fmt: skip

# Journal copies: one message in one archive, once.
JOURNAL = Table(
    "journal", METADATA, Column("id", Text, primary_key=True), _text("message_id"), _text("reference"), _text("body_id"), _text("name"),
    _text("state"), _number("created"), Column("level", Integer), _text("sha256"), _whole("size"), _text("edits"),
    _number("retain_until"), _whole("attempts"), _number("next_attempt"), _text("last_reply"), _number("filed"), _text("filed_sha256"),
    _whole("filed_size"), _whole("uidvalidity"), _whole("uid"), *_common(), UniqueConstraint("message_id", "name"),
    Index(None, "reference"), Index("ix_journal_due", "name", "next_attempt", "created", sqlite_where=text(_UNFILED_COPY)),
    Index("ix_journal_ended", "retain_until", sqlite_where=text("state IN ('filed', 'kept')")),
)  # fmt: skip

OPEN_DELIVERY_SQL = _OPEN_DELIVERY
OPEN_HOLD_SQL = _OPEN_HOLD
UNFILED_COPY_SQL = _UNFILED_COPY
NEEDED_COPY_SQL = "state IN ('waiting', 'filing', 'kept')"
"""Journal copies whose message's body has to stay."""

_SQLITE = sqlite.dialect(paramstyle="qmark")


REVISION_SQL = "CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"
"""Alembic's own table; its one row names the step that the store stands at."""
STAMP_SQL = "INSERT OR REPLACE INTO alembic_version (rowid, version_num) VALUES (1, '{}')"


def revision(version: int) -> str:
    """The name of the step that leads to format *version*."""
    return f"{version:04}"


def create_sqlite() -> list[str]:
    """The statements that make a store of the newest format in an empty SQLite file."""
    statements: list[str] = []
    for table in METADATA.sorted_tables:
        statements.append(str(CreateTable(table).compile(dialect=_SQLITE)))
        statements += [str(CreateIndex(index).compile(dialect=_SQLITE)) for index in sorted(table.indexes, key=lambda i: str(i.name))]
    return [*statements, REVISION_SQL, STAMP_SQL.format(revision(VERSION)), f"PRAGMA user_version={VERSION}"]


def insert_sqlite(table: Table, columns: tuple[str, ...], *, replace: bool = False) -> str:
    """``INSERT INTO table (columns) VALUES (?, …)`` with the parameters in the order of *columns*."""
    statement = insert(table)
    if replace:
        statement = statement.prefix_with("OR REPLACE")
    compiled = statement.compile(dialect=_SQLITE, column_keys=list(columns))
    # SQLAlchemy writes the columns in the table's order; the parameters have to follow the same.
    if tuple(compiled.positiontup or ()) != columns:
        raise ValueError(f"{table.name}: columns are not in the order of the table: {compiled.positiontup}")
    return str(compiled)

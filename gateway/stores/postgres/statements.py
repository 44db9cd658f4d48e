"""The statements that write PostgreSQL's tables: texts alone, each for any number of rows.

What it is: INSERT, UPDATE and DELETE made once from the tables, with ``%b`` where a value or a column's list of values goes.
Who calls it: ``apply``; ``removal`` for what keeps a message.
Must never: hold a value; change a delivery that is leased to another keeper where its holder is named.
Source: https://www.postgresql.org/docs/current/functions-array.html (unnest of several arrays).
"""

from __future__ import annotations

from gateway.stores import journal_rows, review_rows, rows, schema
from gateway.stores.postgres import tables
from gateway.stores.postgres.tables import FIRST_POSITION, LOCK_REGISTER, insert, replace, values


def _named(statement: str) -> tuple[str, ...]:
    """The columns of one of ``rows``' INSERT statements, in which order its values stand."""
    return tuple(name.strip(' "') for name in statement.partition("(")[2].partition(")")[0].split(","))


_DELIVERY = _named(rows.INSERT_DELIVERY)
INSERTS = {
    "bodies": insert(schema.BODIES, _named(rows.INSERT_BODY)),
    "messages": insert(schema.MESSAGES, _named(rows.INSERT_MESSAGE)),
    "deliveries_open": insert(schema.DELIVERIES, _DELIVERY, into="deliveries_open"),
    "deliveries_done": insert(schema.DELIVERIES, _DELIVERY, into="deliveries_done"),
    "holds": insert(schema.HOLDS, _named(rows.INSERT_HOLD)),
    "approvals": insert(schema.APPROVALS, _named(rows.INSERT_APPROVAL)),
    "exceptions": replace(schema.EXCEPTIONS, _named(rows.REPLACE_EXCEPTION)),
    "profiles": replace(schema.PROFILES, _named(rows.REPLACE_PROFILE)),
    "users": replace(schema.USERS, _named(rows.REPLACE_USER)),
    "heads": replace(schema.HEADS, _named(rows.INSERT_HEAD)),
    # A pair that was seen today already stays as it is: it is on everybody's way, and a change of nothing writes as much as one.
    "correspondents": replace(schema.CORRESPONDENTS, _named(rows.REPLACE_CORRESPONDENT))
    + " WHERE correspondents.last_seen <> excluded.last_seen OR correspondents.department <> excluded.department",
    "threads": insert(
        schema.THREADS, ("mark", "level", "last_seen", "department", "format"),
        ends="ON CONFLICT (mark) DO UPDATE SET level = greatest(threads.level, excluded.level),"
        " last_seen = greatest(threads.last_seen, excluded.last_seen)",
    ),
    "journal": insert(schema.JOURNAL, _named(journal_rows.ADD_COPY), ends="ON CONFLICT (message_id, name) DO NOTHING"),
    "remarks": insert(schema.REMARKS, _named(review_rows.INSERT_REMARK)),
    "credentials": replace(schema.CREDENTIALS, _named(review_rows.REPLACE_CREDENTIAL)),
    "views": replace(schema.VIEWS, _named(review_rows.REPLACE_VIEW)),
    "tokens": replace(schema.TOKENS, _named(review_rows.REPLACE_TOKEN)),
    "terms": replace(schema.TERMS, _named(review_rows.REPLACE_TERM)),
    "told": replace(schema.TOLD, _named(review_rows.REPLACE_TOLD)),
    "tallies": insert(
        schema.TALLIES, ("hour", "department", "rule", "disposition", "level", "count", "format"),
        ends="ON CONFLICT (hour, department, rule, disposition, level) DO UPDATE SET count = tallies.count + excluded.count",
    ),
}  # fmt: skip
OTHER_VIEWS = (
    f"DELETE FROM views o USING {values([('id', 'text'), ('user', 'text'), ('name', 'text')])}"  # noqa: S608 - constants of ours
    ' WHERE o."user" = v."user" AND o.name = v.name AND o.id <> v.id'
)
"""A view takes the place of the one that had its name."""
TALLIED = (
    "INSERT INTO tallied (one, position, department, format) VALUES (1, %b, '', %b) ON CONFLICT (one)"
    " DO UPDATE SET position = excluded.position"
)
_AUDIT = _named(rows.INSERT_AUDIT)
INSERT_AUDIT = (
    f"INSERT INTO audit (position, {', '.join(_AUDIT)}) SELECT {FIRST_POSITION} + v.n, {', '.join(f'v.{name}' for name in _AUDIT)} FROM "  # noqa: S608
    + values([("n", "bigint"), *((name, tables.kind(schema.AUDIT.columns[name])) for name in _AUDIT)])
)
MOVE_CHAIN = "UPDATE chains SET seq = %b, hash = %b WHERE chain = %b AND seq = %b AND (seq = 0 OR hash = %b) RETURNING seq"

_UPDATED = (
    ("id", "text"), ("state", "text"), ("attempts", "bigint"), ("next_attempt", "double precision"), ("last_reply", "text"),
    ("route", "text"), ("lease", "text"), ("warned", "boolean"), ("sent_sha256", "text"), ("expect", "text"), ("holder", "text"),
)  # fmt: skip
_STANDS = (
    "d.id = v.id AND d.id = ANY(%b::text[]) AND position(' ' || d.state || ' ' in v.expect) > 0"
    " AND (v.holder = '' OR d.state <> 'leased' OR d.lease = v.holder)"
)
_CHANGED = ("attempts", "next_attempt", "last_reply", "route", "lease", "warned", "sent_sha256")
UPDATE_DELIVERIES = (
    f"UPDATE deliveries_open d SET state = v.state, {', '.join(f'{name} = coalesce(v.{name}, d.{name})' for name in _CHANGED)}"  # noqa: S608
    f" FROM {values(_UPDATED)} WHERE {_STANDS} RETURNING d.id, d.message_id"
)
_LISTED = ", ".join(f'"{name}"' for name in _DELIVERY)
_ENDED = ", ".join(
    f"coalesce(v.{name}, d.{name})" if name in _CHANGED else f"v.{name}" if name == "state" else f'd."{name}"' for name in _DELIVERY
)
END_DELIVERIES = (
    f"WITH gone AS (DELETE FROM deliveries_open d USING {values(_UPDATED)} WHERE {_STANDS} RETURNING {_ENDED})"  # noqa: S608
    f" INSERT INTO deliveries_done ({_LISTED}) SELECT * FROM gone RETURNING id, message_id"
)
UPDATE_HOLD = (
    "UPDATE holds SET state = %b, updated = %b, released = coalesce(%b::text, released), level = coalesce(%b::bigint, level),"
    " assigned = coalesce(%b::text, assigned), requested = coalesce(%b::double precision, requested)"
    " WHERE id = %b AND position(' ' || state || ' ' in %b::text) > 0 AND updated = coalesce(%b::double precision, updated)"
    " RETURNING message_id"
)
_COPIED = (
    ("id", "text"), ("state", "text"), ("attempts", "bigint"), ("next_attempt", "double precision"), ("last_reply", "text"),
    ("filed", "double precision"), ("filed_sha256", "text"), ("filed_size", "bigint"), ("uidvalidity", "bigint"), ("uid", "bigint"),
)  # fmt: skip
UPDATE_COPIES = (
    f"UPDATE journal j SET state = v.state, {', '.join(f'{name} = coalesce(v.{name}, j.{name})' for name, _ in _COPIED[2:])}"  # noqa: S608
    f" FROM {values(_COPIED)} WHERE j.id = v.id AND j.id = ANY(%b::text[]) AND j.{schema.UNFILED_COPY_SQL} RETURNING j.message_id, j.state"
)


def any_of(*asked: str) -> str:
    """That one of *asked*, each made by ``has``, finds a row; they are looked for in their order."""
    return f"coalesce({', '.join(asked)}, false)"


def has(table: str, message: str, condition: str = "true", *, of: str = "") -> str:
    """That *table* has a row of the message whose id is the column *message*; *condition* is on the row ``o``, *of* on its partition.

    A scalar sub-query with a LIMIT cannot become a walk through a whole table, and behind an OFFSET the condition cannot lead to a
    partial index: whatever the planner thinks it knows of a queue that was empty when it last looked, each message costs a look-up.
    """
    rows = f"SELECT * FROM {table} WHERE message_id = {message}{of and f' AND {of}'} OFFSET 0"  # noqa: S608 - constants of ours
    return f"(SELECT true FROM ({rows}) o WHERE {condition} LIMIT 1)"  # noqa: S608 - constants of ours


def needed(message: str) -> str:
    """That something still needs the body of the message whose id is the column *message*."""
    return any_of(
        has("deliveries_open", message),
        has("holds", message, f"o.{schema.OPEN_HOLD_SQL}"),
        has("journal", message, f"o.{schema.NEEDED_COPY_SQL}"),
    )


DROP_FINISHED = (
    "DELETE FROM bodies WHERE id = ANY(ARRAY(SELECT m.body_id FROM messages m"  # noqa: S608 - constants of ours
    f" WHERE m.id = ANY(%b::text[]) AND NOT {needed('m.id')}))"
)
STILL_NEEDED = f"SELECT m.id FROM messages m WHERE m.id = ANY(%b::text[]) AND {needed('m.id')} ORDER BY m.id FOR NO KEY UPDATE"  # noqa: S608
REGISTER_LOCK = f"SELECT pg_advisory_xact_lock({LOCK_REGISTER}, 0)"
REGISTER_SHARED = f"SELECT pg_advisory_xact_lock_shared({LOCK_REGISTER}, 0)"
NOTIFY = f"SELECT pg_notify('{tables.CHANNEL}', %b::text)"

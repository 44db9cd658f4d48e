"""Rows to parameters and back: the one place that knows in which order columns stand.

What it is: for each row type an SQL text with positional parameters, a function that makes the parameters, and one that makes
the row again. JSON columns go through msgspec.
Who calls it: both stores, each in its own folder.
Must never: open a sealed field; lose the ``format`` of a row.
Source: docs/design.md section 6.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.requests import ExceptionRow, ProfileRow
from gateway.stores import schema
from gateway.stores.base import (
    FORMAT,
    ApprovalRow,
    AuditEvent,
    AuditRow,
    BodyRow,
    CorrespondentRow,
    DeliveryRow,
    DeliveryState,
    HeadRow,
    HoldRow,
    HoldState,
    MessageRow,
    ThreadRow,
    UserRow,
)
from gateway.verdict import Edit

_encoder = msgspec.json.Encoder()
_edits = msgspec.json.Decoder(tuple[Edit, ...])
_strings = msgspec.json.Decoder(tuple[str, ...])
_object = msgspec.json.Decoder(dict[str, Any])


def dump(value: object) -> str:
    """*value* as compact JSON text; the empty tuple and object stay readable."""
    return _encoder.encode(value).decode("utf-8")


def columns(text: str) -> tuple[str, ...]:
    """Names that stand between blanks."""
    return tuple(text.split())


_BODY = columns("id key_id wrapped_key nonce size sha256 sealed created department format ciphertext")
_MESSAGE = columns(
    "id reference created door sender ret envid eight_bit smtputf8 size sha256 body_id level verified_originator peer verdict facts"
    " subject details is_report department format"
)
_DELIVERY = columns(
    "id message_id created recipient state notify orcpt edits require_aes256 direction attempts next_attempt last_reply route lease"
    " warned sent_sha256 department format"
)
_HOLD = columns(
    "id message_id reference body_id created deadline state sender recipients level rule sealed size sha256 reason released"
    " verified_originator updated department format assigned requested"
)
_APPROVAL = columns("id hold_id created user reason sha256 recipients waived department format")
_EXCEPTION = columns("id sender recipient reason requester approver created expires state department format")
_PROFILE = columns("id name reason requester approver created expires state department format")
_CORRESPONDENT = columns("pair last_seen department format")
_USER = columns("name system_user email created department format grants disabled language")
_AUDIT = columns("chain seq created reference sender recipient rule disposition prev_hash hash line department format")
_HEAD = columns("chain seq hash created key_id signature department format")

INSERT_BODY = schema.insert_sqlite(schema.BODIES, _BODY)
INSERT_MESSAGE = schema.insert_sqlite(schema.MESSAGES, _MESSAGE)
INSERT_DELIVERY = schema.insert_sqlite(schema.DELIVERIES, _DELIVERY)
INSERT_HOLD = schema.insert_sqlite(schema.HOLDS, _HOLD)
INSERT_APPROVAL = schema.insert_sqlite(schema.APPROVALS, _APPROVAL)
REPLACE_EXCEPTION = schema.insert_sqlite(schema.EXCEPTIONS, _EXCEPTION, replace=True)
REPLACE_PROFILE = schema.insert_sqlite(schema.PROFILES, _PROFILE, replace=True)
REPLACE_CORRESPONDENT = schema.insert_sqlite(schema.CORRESPONDENTS, _CORRESPONDENT, replace=True)
RAISE_THREAD = (
    "INSERT INTO threads (mark, level, last_seen, department, format) VALUES {rows} ON CONFLICT (mark)"
    " DO UPDATE SET level = max(level, excluded.level), last_seen = max(last_seen, excluded.last_seen)"
)
"""A template: rows of five marks stand in the place of ``{rows}``."""
REPLACE_USER = schema.insert_sqlite(schema.USERS, _USER, replace=True)
INSERT_AUDIT = schema.insert_sqlite(schema.AUDIT, _AUDIT)
INSERT_HEAD = schema.insert_sqlite(schema.HEADS, _HEAD, replace=True)
REPLACE_CLOSING = schema.insert_sqlite(schema.CLOSINGS, _HEAD, replace=True)


def select(table: str, names: tuple[str, ...]) -> str:
    """``SELECT names FROM table``."""
    return f"SELECT {', '.join(chr(34) + c + chr(34) for c in names)} FROM {table}"  # noqa: S608 - names of ours


SELECT_BODY = select("bodies", _BODY)
SELECT_MESSAGE = select("messages", _MESSAGE)
SELECT_DELIVERY = (
    "SELECT d.id, d.message_id, m.reference, m.body_id, d.created, d.department, m.sender, d.recipient, d.state, d.notify, d.orcpt,"
    " m.ret, m.envid, m.eight_bit, m.smtputf8, m.size, m.sha256, d.edits, d.require_aes256, d.direction, m.verified_originator,"
    " m.is_report, m.level, d.attempts, d.next_attempt, d.last_reply, d.route, d.lease, d.warned, d.sent_sha256"
    " FROM deliveries d JOIN messages m ON m.id = d.message_id"
)
SELECT_HOLD = select("holds", _HOLD)
SELECT_APPROVAL = select("approvals", _APPROVAL)
SELECT_EXCEPTION = select("exceptions", _EXCEPTION)
SELECT_PROFILE = select("profiles", _PROFILE)
SELECT_USER = select("users", _USER)
SELECT_AUDIT = select(
    "audit",
    (
        "chain",
        "seq",
        "created",
        "reference",
        "prev_hash",
        "hash",
        "line",
        "department",
        "sender",
        "recipient",
        "rule",
        "disposition",
        "position",
    ),
)
SELECT_HEAD = select("heads", ("chain", "seq", "hash", "created", "key_id", "signature"))
SELECT_CLOSING = select("closings", ("chain", "seq", "hash", "created", "key_id", "signature"))


def body_values(row: BodyRow, department: str) -> tuple[object, ...]:
    """Parameters of INSERT_BODY."""
    return (
        row.id, row.key_id, row.wrapped_key, row.nonce, row.size, row.sha256, row.sealed, row.created, department, FORMAT, row.ciphertext,
    )  # fmt: skip


def body_row(v: tuple[Any, ...]) -> BodyRow:
    """The row that SELECT_BODY gave."""
    return BodyRow(
        id=v[0], key_id=v[1], wrapped_key=v[2], nonce=v[3], ciphertext=v[10], size=v[4], sha256=v[5], sealed=bool(v[6]), created=v[7]
    )


def message_values(row: MessageRow) -> tuple[object, ...]:
    """Parameters of INSERT_MESSAGE."""
    return (
        row.id, row.reference, row.created, row.door, row.sender, row.ret, row.envid, row.eight_bit, row.smtputf8, row.size,
        row.sha256, row.body_id, row.level, row.verified_originator, dump(row.peer), dump(row.verdict), dump(row.facts), row.subject,
        row.details, row.is_report, row.department, FORMAT,
    )  # fmt: skip


def message_row(v: tuple[Any, ...]) -> MessageRow:
    """The row that SELECT_MESSAGE gave."""
    return MessageRow(
        id=v[0], reference=v[1], created=v[2], door=v[3], sender=v[4], ret=v[5], envid=v[6], eight_bit=bool(v[7]), smtputf8=bool(v[8]),
        size=v[9], sha256=v[10], body_id=v[11], level=v[12], verified_originator=bool(v[13]), peer=_object.decode(v[14]),
        verdict=_object.decode(v[15]), facts=_object.decode(v[16]), subject=v[17], details=v[18], is_report=bool(v[19]), department=v[20],
    )  # fmt: skip


def delivery_values(row: DeliveryRow) -> tuple[object, ...]:
    """Parameters of INSERT_DELIVERY."""
    return (
        row.id, row.message_id, row.created, row.recipient, row.state.value, None if row.notify is None else dump(row.notify), row.orcpt,
        dump(row.edits), row.require_aes256, row.direction, row.attempts, row.next_attempt, row.last_reply, row.route, row.lease,
        row.warned, row.sent_sha256, row.department, FORMAT,
    )  # fmt: skip


def delivery_row(v: tuple[Any, ...]) -> DeliveryRow:
    """The row that SELECT_DELIVERY gave."""
    return DeliveryRow(
        id=v[0], message_id=v[1], reference=v[2], body_id=v[3], created=v[4], department=v[5], sender=v[6], recipient=v[7],
        state=DeliveryState(v[8]), notify=None if v[9] is None else _strings.decode(v[9]), orcpt=v[10], ret=v[11], envid=v[12],
        eight_bit=bool(v[13]), smtputf8=bool(v[14]), size=v[15], sha256=v[16], edits=_edits.decode(v[17]), require_aes256=bool(v[18]),
        direction=v[19], verified_originator=bool(v[20]), is_report=bool(v[21]), level=v[22], attempts=v[23], next_attempt=v[24],
        last_reply=v[25], route=v[26], lease=v[27], warned=bool(v[28]), sent_sha256=v[29],
    )  # fmt: skip


def hold_values(row: HoldRow) -> tuple[object, ...]:
    """Parameters of INSERT_HOLD."""
    return (
        row.id, row.message_id, row.reference, row.body_id, row.created, row.deadline, row.state.value, row.sender, dump(row.recipients),
        row.level, row.rule, row.sealed, row.size, row.sha256, row.reason, dump(row.released), row.verified_originator, row.updated,
        row.department, FORMAT, row.assigned, row.requested,
    )  # fmt: skip


def hold_row(v: tuple[Any, ...]) -> HoldRow:
    """The row that SELECT_HOLD gave."""
    return HoldRow(
        id=v[0], message_id=v[1], reference=v[2], body_id=v[3], created=v[4], deadline=v[5], state=HoldState(v[6]), sender=v[7],
        recipients=_strings.decode(v[8]), level=v[9], rule=v[10], sealed=bool(v[11]), size=v[12], sha256=v[13], reason=v[14],
        released=_strings.decode(v[15]), verified_originator=bool(v[16]), updated=v[17], department=v[18], assigned=v[20], requested=v[21],
    )  # fmt: skip


def approval_values(row: ApprovalRow) -> tuple[object, ...]:
    """Parameters of INSERT_APPROVAL."""
    return (
        row.id, row.hold_id, row.created, row.user, row.reason, row.sha256, dump(row.recipients), dump(row.waived), row.department, FORMAT,
    )  # fmt: skip


def approval_row(v: tuple[Any, ...]) -> ApprovalRow:
    """The row that SELECT_APPROVAL gave."""
    return ApprovalRow(
        id=v[0], hold_id=v[1], created=v[2], user=v[3], reason=v[4], sha256=v[5], recipients=_strings.decode(v[6]),
        waived=_strings.decode(v[7]), department=v[8],
    )  # fmt: skip


def exception_values(row: ExceptionRow) -> tuple[object, ...]:
    """Parameters of REPLACE_EXCEPTION."""
    return (
        row.id, row.sender, row.recipient, row.reason, row.requester, row.approver, row.created, row.expires, row.state, "", FORMAT,
    )  # fmt: skip


def exception_row(v: tuple[Any, ...]) -> ExceptionRow:
    """The row that SELECT_EXCEPTION gave."""
    return ExceptionRow(
        id=v[0], sender=v[1], recipient=v[2], reason=v[3], requester=v[4], approver=v[5], created=v[6], expires=v[7], state=v[8]
    )


def profile_values(row: ProfileRow) -> tuple[object, ...]:
    """Parameters of REPLACE_PROFILE."""
    return (row.id, row.name, row.reason, row.requester, row.approver, row.created, row.expires, row.state, "", FORMAT)


def profile_row(v: tuple[Any, ...]) -> ProfileRow:
    """The row that SELECT_PROFILE gave."""
    return ProfileRow(id=v[0], name=v[1], reason=v[2], requester=v[3], approver=v[4], created=v[5], expires=v[6], state=v[7])


def correspondent_values(row: CorrespondentRow) -> tuple[object, ...]:
    """Parameters of REPLACE_CORRESPONDENT."""
    return (row.pair, row.day, row.department, FORMAT)


def thread_values(row: ThreadRow) -> tuple[object, ...]:
    """Parameters of RAISE_THREAD."""
    return (row.mark, row.level, row.day, row.department, FORMAT)


def user_values(row: UserRow) -> tuple[object, ...]:
    """Parameters of REPLACE_USER."""
    return (
        row.name, row.system_user, row.email, row.created, row.department, FORMAT, dump(row.grants), row.disabled, row.language,
    )  # fmt: skip


def user_row(v: tuple[Any, ...]) -> UserRow:
    """The row that SELECT_USER gave."""
    return UserRow(
        name=v[0], system_user=v[1], email=v[2], created=v[3], department=v[4], grants=_strings.decode(v[6]), disabled=bool(v[7]),
        language=v[8],
    )  # fmt: skip


def audit_values(row: AuditRow, event: AuditEvent) -> tuple[object, ...]:
    """Parameters of INSERT_AUDIT."""
    return (
        row.chain, row.seq, row.created, row.reference, event.sender, event.recipient, event.rule, event.disposition, row.prev_hash,
        row.hash, row.line, event.department, FORMAT,
    )  # fmt: skip


def audit_row(v: tuple[Any, ...]) -> AuditRow:
    """The row that SELECT_AUDIT gave."""
    return AuditRow(*v)


def head_values(row: HeadRow) -> tuple[object, ...]:
    """Parameters of INSERT_HEAD and of REPLACE_CLOSING."""
    return (row.chain, row.seq, row.hash, row.created, row.key_id, row.signature, "", FORMAT)


def head_row(v: tuple[Any, ...]) -> HeadRow:
    """The row that SELECT_HEAD or SELECT_CLOSING gave."""
    return HeadRow(*v)

"""Format 1: the store as the first release made it.

Who calls it: ``sqlite.upgrade``. Must never: change; later formats are later steps.
Source: docs/design.md section 6.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_KINDS: dict[str, Any] = {
    "text": sa.Text, "number": sa.Float, "whole": sa.Integer, "flag": lambda: sa.Boolean(create_constraint=False), "octets": sa.LargeBinary,
}  # fmt: skip

_TABLES: dict[str, tuple[str, tuple[str, ...]]] = {
    "approvals": (
        "id:text hold_id:text created:number user:text reason:text sha256:text recipients:text waived:text", ("id",),
    ),
    "audit": (
        "position:whole chain:text seq:whole created:number reference:text sender:text recipient:text rule:text disposition:text"
        " prev_hash:text hash:text line:text", ("position",),
    ),
    "bodies": (
        "id:text key_id:text wrapped_key:octets nonce:octets size:whole sha256:text sealed:flag created:number", ("id",),
    ),
    "deliveries": (
        "id:text message_id:text created:number recipient:text state:text notify:text? orcpt:text edits:text require_aes256:flag"
        " direction:text attempts:whole next_attempt:number last_reply:text route:text lease:text warned:flag sent_sha256:text", ("id",),
    ),
    "exceptions": (
        "id:text sender:text recipient:text reason:text requester:text approver:text created:number expires:number state:text", ("id",),
    ),
    "heads": ("chain:text seq:whole hash:text created:number key_id:text signature:text", ("chain", "seq")),
    "holds": (
        "id:text message_id:text reference:text body_id:text created:number deadline:number state:text sender:text recipients:text"
        " level:whole? rule:text sealed:flag size:whole sha256:text reason:text released:text verified_originator:flag updated:number",
        ("id",),
    ),
    "messages": (
        "id:text reference:text created:number door:text sender:text ret:text envid:text eight_bit:flag smtputf8:flag size:whole"
        " sha256:text body_id:text level:whole? verified_originator:flag peer:text verdict:text facts:text subject:octets"
        " details:octets is_report:flag", ("id",),
    ),
    "users": ("name:text system_user:text email:text created:number", ("name",)),
}  # fmt: skip
_WITHOUT_ROWID = ("deliveries", "holds")
_INDEXES = (
    ("ix_approvals_hold_id", "approvals", "hold_id", ""),
    ("ix_audit_reference", "audit", "reference", ""),
    ("ix_deliveries_due", "deliveries", "next_attempt", "state IN ('scheduled', 'deferred')"),
    ("ix_deliveries_message_id", "deliveries", "message_id", ""),
    ("ix_deliveries_parked", "deliveries", "id", "state IN ('leased', 'on-hold')"),
    ("ix_holds_message_id", "holds", "message_id", ""),
    ("ix_holds_open", "holds", "deadline", "state IN ('held', 'requested', 'approved')"),
    ("ix_holds_reference", "holds", "reference", ""),
    ("ix_messages_reference", "messages", "reference", ""),
)


def _column(text: str) -> sa.Column[Any]:
    name, _, kind = text.partition(":")
    return sa.Column(name, _KINDS[kind.rstrip("?")](), nullable=kind.endswith("?"))


def upgrade() -> None:
    """Makes the nine tables and their indexes."""
    for name, (columns, key) in _TABLES.items():
        # The ciphertext of a body stands last: the wrapped key before it lies in the page that a delete rewrites.
        ends = "department:text format:whole" + (" ciphertext:octets" if name == "bodies" else "")
        constraints: list[sa.Constraint] = [sa.PrimaryKeyConstraint(*key, name=f"pk_{name}")]
        if name == "audit":
            constraints.append(sa.UniqueConstraint("chain", "seq", name="uq_audit_chain_seq"))
        rowid = name not in _WITHOUT_ROWID
        op.create_table(name, *(_column(text) for text in f"{columns} {ends}".split()), *constraints, sqlite_with_rowid=rowid)
    for name, table, column, where in _INDEXES:
        op.create_index(name, table, [column], sqlite_where=sa.text(where) if where else None)


def downgrade() -> None:
    """There is no format before this one."""
    raise NotImplementedError("format 1 is the first")

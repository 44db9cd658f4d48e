"""Format 2: profiles, correspondents, and the beginnings of chains whose oldest rows were removed.

Who calls it: ``sqlite.upgrade``. Must never: change; later formats are later steps.
Source: docs/design.md section 6; CERT-In Directions of 28 April 2022 (how long logs are kept).
Going back loses which profiles were on, who wrote to whom before, and the closing heads: a chain that was shortened looks cut off to
the first release.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _number(name: str) -> sa.Column[float]:
    return sa.Column(name, sa.Float, nullable=False)


def _whole(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False)


def upgrade() -> None:
    """Adds three tables."""
    op.create_table(
        "profiles", _text("id"), _text("name"), _text("reason"), _text("requester"), _text("approver"), _number("created"),
        _number("expires"), _text("state"), _text("department"), _whole("format"), sa.PrimaryKeyConstraint("id", name="pk_profiles"),
    )  # fmt: skip
    op.create_table(
        "correspondents", sa.Column("pair", sa.LargeBinary, nullable=False), _whole("last_seen"), _text("department"), _whole("format"),
        sa.PrimaryKeyConstraint("pair", name="pk_correspondents"), sqlite_with_rowid=False,
    )  # fmt: skip
    op.create_index("ix_correspondents_last_seen", "correspondents", ["last_seen"])
    op.create_table(
        "closings", _text("chain"), _whole("seq"), _text("hash"), _number("created"), _text("key_id"), _text("signature"),
        _text("department"), _whole("format"), sa.PrimaryKeyConstraint("chain", name="pk_closings"),
    )  # fmt: skip


def downgrade() -> None:
    """Takes them away."""
    for table in ("closings", "correspondents", "profiles"):
        op.drop_table(table)

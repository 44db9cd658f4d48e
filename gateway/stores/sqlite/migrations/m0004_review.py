"""Format 4: people with roles, what they said of held mail, how they sign in, and what is counted for the dashboard.

Who calls it: ``sqlite.upgrade``. Must never: change; later formats are later steps.
Source: docs/design.md sections 2 and 4; hostile-inputs catalogue group W.
People who were there become reviewer and second approver everywhere, as they were. Going back loses remarks, passwords, saved views,
tokens and counts; people stay, without roles.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_REVIEW = ["state", "id", "department", "level", "rule", "sealed", "assigned", "created", "deadline", "updated"]

_COUNTS = ["state", "department", "level", "rule", "created", "deadline", "sealed", "assigned", "updated", "id"]


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _number(name: str) -> sa.Column[float]:
    return sa.Column(name, sa.Float, nullable=False)


def _whole(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False)


def _bytes(name: str) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary, nullable=False)


def upgrade() -> None:
    """Adds columns, tables and indexes."""
    op.add_column("holds", sa.Column("assigned", sa.Text, nullable=False, server_default=sa.text("''")))
    op.add_column("holds", sa.Column("requested", sa.Float, nullable=False, server_default=sa.text("0")))
    op.create_index("ix_holds_review", "holds", _REVIEW)
    op.create_index("ix_holds_counts", "holds", _COUNTS)
    op.create_index("ix_holds_updated", "holds", ["updated"])
    op.add_column("users", sa.Column("grants", sa.Text, nullable=False, server_default=sa.text("'[]'")))
    op.add_column("users", sa.Column("disabled", sa.Boolean(create_constraint=False), nullable=False, server_default=sa.text("0")))
    op.add_column("users", sa.Column("language", sa.Text, nullable=False, server_default=sa.text("''")))
    op.execute("""UPDATE users SET grants = '["reviewer@*","second-approver@*"]'""")
    op.create_table(
        "remarks", _text("id"), _text("hold_id"), _text("reference"), _number("created"), _text("author"), _text("kind"), _bytes("text"),
        _text("to"), _text("department"), _whole("format"), sa.PrimaryKeyConstraint("id", name="pk_remarks"),
    )  # fmt: skip
    op.create_index("ix_remarks_reference", "remarks", ["reference"])
    op.create_table(
        "credentials", _text("name"), _text("password"), _bytes("totp"), _bytes("totp_next"), _whole("counter"), _text("subject"),
        _number("changed"), _text("department"), _whole("format"), sa.PrimaryKeyConstraint("name", name="pk_credentials"),
    )  # fmt: skip
    op.create_index("ix_credentials_subject", "credentials", ["subject"])
    op.create_table(
        "views", _text("id"), _text("user"), _text("name"), _text("filter"), _number("created"), _text("department"), _whole("format"),
        sa.PrimaryKeyConstraint("id", name="pk_views"), sa.UniqueConstraint("user", "name", name="uq_views_user_name"),
    )  # fmt: skip
    op.create_table(
        "tokens", _text("id"), _text("user"), _text("name"), _text("scopes"), _bytes("hash"), _number("created"), _number("expires"),
        _number("used"), _text("department"), _whole("format"), sa.PrimaryKeyConstraint("id", name="pk_tokens"),
        sa.UniqueConstraint("hash", name="uq_tokens_hash"),
    )  # fmt: skip
    op.create_index("ix_tokens_user", "tokens", ["user"])
    op.create_table(
        "terms", _bytes("term"), _text("hold_id"), _text("department"), _whole("format"),
        sa.PrimaryKeyConstraint("term", "hold_id", name="pk_terms"), sqlite_with_rowid=False,
    )  # fmt: skip
    op.create_index("ix_terms_hold_id", "terms", ["hold_id"])
    op.create_table(
        "tallies", _whole("hour"), _text("department"), _text("rule"), _text("disposition"), _whole("level"), _whole("count"),
        _whole("format"), sa.PrimaryKeyConstraint("hour", "department", "rule", "disposition", "level", name="pk_tallies"),
        sqlite_with_rowid=False,
    )  # fmt: skip
    op.create_table(
        "tallied", _whole("one"), _whole("position"), _text("department"), _whole("format"),
        sa.PrimaryKeyConstraint("one", name="pk_tallied"),
    )  # fmt: skip
    op.create_table(
        "told", _text("key"), _number("created"), _text("department"), _whole("format"),
        sa.PrimaryKeyConstraint("key", name="pk_told"), sqlite_with_rowid=False,
    )  # fmt: skip


def downgrade() -> None:
    """Takes them away."""
    for table in ("told", "tallied", "tallies", "terms", "tokens", "views", "credentials", "remarks"):
        op.drop_table(table)
    op.drop_index("ix_holds_updated", "holds")
    op.drop_index("ix_holds_counts", "holds")
    op.drop_index("ix_holds_review", "holds")
    for name in ("language", "disabled", "grants"):
        op.drop_column("users", name)
    for name in ("requested", "assigned"):
        op.drop_column("holds", name)

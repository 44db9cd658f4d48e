"""Format 5: journal copies, those that wait for an archive and those that are kept here.

Who calls it: ``sqlite.upgrade``. Must never: change; later formats are later steps.
Sources: Gujarat Circular of 2018, clause 2; docs/design.md section 6.
Going back forgets the copies: those that wait are never filed, and those that were kept here are destroyed where their message is no
longer recorded. Take a copy of the store first (``gateway store downgrade`` makes one).
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _number(name: str) -> sa.Column[float]:
    return sa.Column(name, sa.Float, nullable=False)


def _whole(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False)


def upgrade() -> None:
    """Adds the table."""
    op.create_table(
        "journal", _text("id"), _text("message_id"), _text("reference"), _text("body_id"), _text("name"), _text("state"),
        _number("created"), sa.Column("level", sa.Integer), _text("sha256"), _whole("size"), _text("edits"), _number("retain_until"),
        _whole("attempts"), _number("next_attempt"), _text("last_reply"), _number("filed"), _text("filed_sha256"), _whole("filed_size"),
        _whole("uidvalidity"), _whole("uid"), _text("department"), _whole("format"), sa.PrimaryKeyConstraint("id", name="pk_journal"),
        sa.UniqueConstraint("message_id", "name", name="uq_journal_message_id_name"),
    )  # fmt: skip
    op.create_index("ix_journal_reference", "journal", ["reference"])
    op.create_index(
        "ix_journal_due", "journal", ["name", "next_attempt", "created"], sqlite_where=sa.text("state IN ('waiting', 'filing')")
    )
    op.create_index("ix_journal_ended", "journal", ["retain_until"], sqlite_where=sa.text("state IN ('filed', 'kept')"))


def downgrade() -> None:
    """Takes it away, and the bodies that only it had."""
    op.execute("DELETE FROM bodies WHERE NOT EXISTS (SELECT 1 FROM messages WHERE messages.body_id = bodies.id)")
    op.drop_table("journal")

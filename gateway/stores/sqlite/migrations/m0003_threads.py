"""Format 3: the levels that threads and passages of earlier mail carried.

Who calls it: ``sqlite.upgrade``. Must never: change; later formats are later steps.
Source: J&K Circular 26-JK(GAD) of 22 November 2024 (no downgrading to share); docs/design.md section 6.
Going back forgets them: a later answer that is marked lower than its thread is not recognised.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the table."""
    op.create_table(
        "threads", sa.Column("mark", sa.LargeBinary, nullable=False), sa.Column("level", sa.Integer, nullable=False),
        sa.Column("last_seen", sa.Integer, nullable=False), sa.Column("department", sa.Text, nullable=False),
        sa.Column("format", sa.Integer, nullable=False), sa.PrimaryKeyConstraint("mark", name="pk_threads"), sqlite_with_rowid=False,
    )  # fmt: skip
    op.create_index("ix_threads_last_seen", "threads", ["last_seen"])


def downgrade() -> None:
    """Takes it away."""
    op.drop_table("threads")

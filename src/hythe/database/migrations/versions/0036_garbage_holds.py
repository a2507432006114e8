"""A backup holds off garbage collection while it copies blobs.

A server of an older version does not know of holds: upgrade all servers before the first backup.
"""

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a table, which has one row while a backup runs."""
    op.create_table(
        "garbage_holds",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("reason", sa.String(255), nullable=False),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_garbage_holds")),
    )
    op.create_index("ix_garbage_holds_expires_at", "garbage_holds", ["expires_at"])

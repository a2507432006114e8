"""Servers count failed sign-ins together."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table of the counts."""
    op.create_table(
        "failed_logins",
        sa.Column("bucket", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("client", sa.String(32), nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("bucket", name="pk_failed_logins"),
    )

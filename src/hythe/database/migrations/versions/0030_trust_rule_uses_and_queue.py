"""Trust rules record from where they were last used, and administrators read the queue page by page.

An older server beside a newer one records only when a rule was used.
"""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column that is null for earlier uses, and a small index: it has only builds that wait."""
    op.add_column("trust_rules", sa.Column("used_from", sa.String(45)))
    queued = sa.column("status", sa.String) == sa.literal_column("'queued'")
    op.create_index("ix_builds_queued", "builds", ["account", "id"], sqlite_where=queued, postgresql_where=queued)

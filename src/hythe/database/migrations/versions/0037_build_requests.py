"""Builds record which request started them, and its trace, so that logs of hub and worker name the same ID.

An older server next to a newer one leaves both empty.
"""

import sqlalchemy as sa
from alembic import op

revision = "0037"
down_revision = "0033"
branch_labels = None
depends_on = None

COLUMNS = ("request_id", "trace_parent")


def upgrade() -> None:
    """Add two columns, which are empty for earlier builds."""
    for name in COLUMNS:
        op.add_column("builds", sa.Column(name, sa.String(64), nullable=False, server_default=""))

"""Descriptions are rendered when they are written."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the HTML next to its text. Descriptions of older versions are rendered when they are first shown."""
    op.add_column("hub_repositories", sa.Column("description_html", sa.Text))
    op.add_column("hub_repositories", sa.Column("description_rendering", sa.String(80)))

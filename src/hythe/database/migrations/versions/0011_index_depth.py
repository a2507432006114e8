"""How deep an index nests others is stored, so that a push of a deeper one costs nothing to refuse."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the depth. That of older indexes counts as 0, so they can be in new ones as before."""
    op.add_column("manifests", sa.Column("index_depth", sa.Integer, nullable=False, server_default="0"))

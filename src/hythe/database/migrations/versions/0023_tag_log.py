"""A Merkle log records every move of a tag."""

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing to do yet."""

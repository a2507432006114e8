"""Renamed accounts and repositories keep their old names."""

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing to do yet."""

"""Administrators take down repositories and handle reports."""

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing to do yet."""

"""Tokens have permissions and limits, and rules exchange the ID tokens of CI systems."""

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing to do yet."""

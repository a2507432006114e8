"""E-mail confirmation, password resets, sessions with place and time."""

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing to do yet."""

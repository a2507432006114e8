"""Administrators list the accounts with a role on the hub, and the official repositories, by name."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add small indexes: each has only the rows with the mark."""
    for table, mark, columns, name in (
        ("users", "admin", ["name"], "ix_users_admin_name"),
        ("users", "curator", ["name"], "ix_users_curator_name"),
        ("hub_repositories", "official", ["name", "repository_id"], "ix_hub_repositories_official"),
    ):
        marked = sa.column(mark, sa.Boolean).is_(True)
        op.create_index(name, table, columns, sqlite_where=marked, postgresql_where=marked)

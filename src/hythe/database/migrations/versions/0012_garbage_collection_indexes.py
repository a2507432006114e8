"""Garbage collection finds what is due, and what a dead process was deleting, by indexes in the order it works in.

So do changes of linked accounts their build configurations, and of accounts the other administrators.

Each creation reads its table once, which takes some seconds for ten million rows; writers wait for it on PostgreSQL.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_KEYS = {
    "blobs": ["digest"],
    "repository_blobs": ["repository_id", "digest"],
    "manifests": ["repository_id", "digest"],
}


def upgrade() -> None:
    """Replace the indexes of what is due; older servers use the new ones, which begin with the same column."""
    for table, key in _KEYS.items():
        _create_partial_index(f"ix_{table}_due", table, "free_after", key)
        op.drop_index(f"ix_{table}_free_after", table)
    _create_partial_index("ix_blobs_deleting_since", "blobs", "deleting_since", ["digest"])
    op.create_index("ix_build_configurations_linked_account_id", "build_configurations", ["linked_account_id"])
    admins = sa.column("admin", sa.Boolean).is_(True)
    op.create_index("ix_users_admins", "users", ["id"], sqlite_where=admins, postgresql_where=admins)


def _create_partial_index(name: str, table: str, column: str, key: list[str]) -> None:
    marked = sa.text(f"{column} IS NOT NULL")
    op.create_index(name, table, [column, *key], sqlite_where=marked, postgresql_where=marked)

"""What belongs to the installation, the same for all its servers."""

import secrets
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table, with a row if the database is in use: an empty one has none."""
    table = op.create_table(
        "installation",
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(16)),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("blob_store", sa.String(80)),
        sa.Column("key_fingerprint", sa.String(64)),
        sa.PrimaryKeyConstraint("number", name="pk_installation"),
    )
    keys, users, content = (_has_rows(*names) for names in (("signing_keys",), ("users",), ("repositories", "blobs")))
    if keys or content:
        # Keys alone prove no hub: older versions created them when "hythe admin" opened a private registry.
        kind = "hub" if users else "registry" if not keys else None
        row = {"number": 1, "id": secrets.token_hex(16), "kind": kind, "created_at": _now()}
        op.bulk_insert(table, [row])


def _has_rows(*tables: str) -> bool:
    connection = op.get_bind()
    return any(connection.execute(sa.text(f"SELECT 1 FROM {name} LIMIT 1")).first() for name in tables)


def _now() -> datetime:
    now = datetime.now(UTC)
    return now if op.get_bind().dialect.name == "postgresql" else now.replace(tzinfo=None)

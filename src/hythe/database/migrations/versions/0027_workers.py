"""Administrators see workers and garbage collections, and list organizations."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

_TIMESTAMP = sa.DateTime(timezone=True)
_IDENTITY = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add empty tables, and an index of accounts by their kind."""
    op.create_index("ix_users_kind", "users", ["kind", "name"])
    op.create_table(
        "build_workers",
        sa.Column("id", _IDENTITY, nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("version", sa.String(50), nullable=False),
        sa.Column("platform", sa.String(60), nullable=False),
        sa.Column("builder", sa.String(300), nullable=False),
        sa.Column("isolation", sa.String(500), nullable=False),
        sa.Column("concurrency", sa.Integer, nullable=False),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("first_seen_at", _TIMESTAMP, nullable=False),
        sa.Column("seen_at", _TIMESTAMP, nullable=False),
        sa.Column("draining", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_build_workers")),
        sa.UniqueConstraint("name", name=op.f("uq_build_workers_name")),
    )
    op.create_index("ix_build_workers_seen_at", "build_workers", ["seen_at"])
    op.create_table(
        "garbage_collections",
        sa.Column("id", _IDENTITY, nullable=False),
        sa.Column("started_at", _TIMESTAMP, nullable=False),
        sa.Column("finished_at", _TIMESTAMP, nullable=False),
        sa.Column("started_by", sa.String(255), nullable=False),
        sa.Column("manifests", sa.Integer, nullable=False),
        sa.Column("blobs", sa.Integer, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("uploads", sa.Integer, nullable=False),
        sa.Column("failure", sa.String(500), nullable=False),
        sa.Column("idle", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_garbage_collections")),
    )
    idle = sa.column("idle", sa.Boolean).is_(True)
    op.create_index(
        "ix_garbage_collections_idle", "garbage_collections", ["id"], sqlite_where=idle, postgresql_where=idle
    )

"""Administrators take down repositories and handle reports."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

_TIMESTAMP = sa.DateTime(timezone=True)
_IDENTITY = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_DIGEST = sa.String(140).with_variant(sa.String(140, collation="C"), "postgresql")


def upgrade() -> None:
    """Add empty tables and columns, and the index that finds the repositories with a manifest."""
    for name, kind in (
        ("taken_down_at", _TIMESTAMP),
        ("taken_down_reason", sa.String(500)),
        ("taken_down_visibility", sa.String(16)),
        ("taken_down_listed", sa.Boolean),
    ):
        op.add_column("hub_repositories", sa.Column(name, kind))
    taken_down = sa.text("taken_down_at IS NOT NULL")
    op.create_index(
        "ix_hub_repositories_taken_down",
        "hub_repositories",
        ["taken_down_at", "repository_id"],
        sqlite_where=taken_down,
        postgresql_where=taken_down,
    )
    op.create_index("ix_manifests_digest", "manifests", ["digest", "repository_id"])
    _access()
    _reports()
    _blocked()


def _access() -> None:
    op.create_table(
        "administrator_access",
        sa.Column("user_id", _IDENTITY, nullable=False, autoincrement=False),
        sa.Column("repository_id", _IDENTITY, nullable=False, autoincrement=False),
        sa.Column("until", _TIMESTAMP, nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_administrator_access_user_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["hub_repositories.repository_id"],
            name=op.f("fk_administrator_access_repository_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("user_id", "repository_id", name=op.f("pk_administrator_access")),
    )
    op.create_index("ix_administrator_access_repository_id", "administrator_access", ["repository_id"])


def _reports() -> None:
    op.create_table(
        "abuse_reports",
        sa.Column("id", _IDENTITY, nullable=False),
        sa.Column("repository", sa.String(255), nullable=False),
        sa.Column("reporter", sa.String(255), nullable=False),
        sa.Column("category", sa.String(20), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("created_at", _TIMESTAMP, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("closed_by", sa.String(255), nullable=False),
        sa.Column("closed_at", _TIMESTAMP),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_abuse_reports")),
    )
    op.create_index("ix_abuse_reports_state", "abuse_reports", ["state", "id"])
    op.create_index("ix_abuse_reports_reporter", "abuse_reports", ["reporter", "created_at"])


def _blocked() -> None:
    op.create_table(
        "blocked_names",
        sa.Column("pattern", sa.String(100), nullable=False),
        sa.Column("like_pattern", sa.String(200), nullable=False),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.Column("blocked_by", sa.String(255), nullable=False),
        sa.Column("blocked_at", _TIMESTAMP, nullable=False),
        sa.PrimaryKeyConstraint("pattern", name=op.f("pk_blocked_names")),
    )
    op.create_table(
        "blocked_digests",
        sa.Column("digest", _DIGEST, nullable=False),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.Column("blocked_by", sa.String(255), nullable=False),
        sa.Column("blocked_at", _TIMESTAMP, nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_blocked_digests")),
    )

"""Replication: rules, what is behind, and what was done."""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

_TIMESTAMP = sa.DateTime(timezone=True)
_IDENTITY = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add empty tables."""
    _add_rules()
    op.create_table(
        "replication_items",
        sa.Column("id", _IDENTITY, nullable=False),
        sa.Column("rule_id", _IDENTITY, nullable=False),
        sa.Column("repository", sa.String(255), nullable=False),
        sa.Column("reference", sa.String(140), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("created_at", _TIMESTAMP, nullable=False),
        sa.Column("due_at", _TIMESTAMP, nullable=False),
        sa.Column("lease", sa.String(36), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("problem", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_replication_items")),
        _of_rule("replication_items"),
    )
    items = "replication_items"
    op.create_index("uq_replication_items_reference", items, ["rule_id", "repository", "reference"], unique=True)
    op.create_index("ix_replication_items_due", items, ["rule_id", "due_at"])
    op.create_index("ix_replication_items_age", items, ["rule_id", "created_at"])
    held = sa.column("lease", sa.String) != sa.literal_column("''")
    op.create_index("ix_replication_items_held", items, ["rule_id"], sqlite_where=held, postgresql_where=held)
    op.create_table(
        "replication_uploads",
        sa.Column("rule_id", _IDENTITY, nullable=False),
        sa.Column("repository", sa.String(255), nullable=False),
        sa.Column("digest", sa.String(140), nullable=False),
        sa.Column("upload", sa.Text, nullable=False),
        sa.Column("touched_at", _TIMESTAMP, nullable=False),
        sa.PrimaryKeyConstraint("rule_id", "repository", "digest", name=op.f("pk_replication_uploads")),
        _of_rule("replication_uploads"),
    )
    op.create_table(
        "replication_results",
        sa.Column("id", _IDENTITY, nullable=False),
        sa.Column("rule_id", _IDENTITY, nullable=False),
        sa.Column("at", _TIMESTAMP, nullable=False),
        sa.Column("repository", sa.String(255), nullable=False),
        sa.Column("reference", sa.String(140), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("seconds", sa.Integer, nullable=False),
        sa.Column("problem", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_replication_results")),
        _of_rule("replication_results"),
    )
    op.create_index("ix_replication_results_rule", "replication_results", ["rule_id", "id"])


def _add_rules() -> None:
    op.create_table(
        "replication_rules",
        sa.Column("id", _IDENTITY, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("direction", sa.String(8), nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("username", sa.String(255), nullable=False),
        sa.Column("secret", sa.Text, nullable=False),
        sa.Column("repositories", sa.Text, nullable=False),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("destination", sa.String(255), nullable=False),
        sa.Column("deletions", sa.Boolean, nullable=False),
        sa.Column("override", sa.Boolean, nullable=False),
        sa.Column("events", sa.Boolean, nullable=False),
        sa.Column("interval", sa.Integer, nullable=False),
        sa.Column("concurrency", sa.Integer, nullable=False),
        sa.Column("rate", sa.BigInteger, nullable=False),
        sa.Column("created_at", _TIMESTAMP, nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        sa.Column("compare_at", _TIMESTAMP),
        sa.Column("compare_lease", sa.String(36), nullable=False),
        sa.Column("compared_at", _TIMESTAMP),
        sa.Column("paused_until", _TIMESTAMP),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("problem", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_replication_rules")),
        sa.UniqueConstraint("name", name=op.f("uq_replication_rules_name")),
    )


def _of_rule(table: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_rule_id")
    return sa.ForeignKeyConstraint(["rule_id"], ["replication_rules.id"], name=name, ondelete="CASCADE")

"""The tables of Trusted Builds: set-ups with rules and secrets, builds with logs, outgoing webhooks."""

import sqlalchemy as sa
from alembic import op

from hythe.database.tables.metadata import Identity, Timestamp

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand the schema."""
    _setups()
    _setup_details()
    _builds()
    _notices()


def _setups() -> None:
    op.create_table(
        "build_setups",
        sa.Column("id", Identity, nullable=False),
        sa.Column("repository_id", Identity, nullable=False),
        sa.Column("account", sa.String(length=39), nullable=False),
        sa.Column("source_url", sa.Text(), nullable=False),
        sa.Column("forge", sa.String(length=16), nullable=False),
        sa.Column("forge_repository", sa.String(length=255), nullable=False),
        sa.Column("link_id", Identity),
        sa.Column("default_branch", sa.String(length=250), nullable=False),
        sa.Column("credentials", sa.Text()),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("trigger_token", sa.Text(), nullable=False),
        sa.Column("options", sa.Text(), nullable=False),
        sa.Column("failing", sa.Boolean(), nullable=False),
        sa.Column("schedule_due", Timestamp),
        sa.Column("created_at", Timestamp, nullable=False),
        sa.Column("created_by", sa.String(length=39), nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_id"], ["repositories.id"], name=op.f("fk_build_setups_repository_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_build_setups")),
        sa.UniqueConstraint("repository_id", name=op.f("uq_build_setups_repository_id")),
    )
    op.create_index(op.f("ix_build_setups_account"), "build_setups", ["account"])
    op.create_index("ix_build_setups_forge", "build_setups", ["forge", "forge_repository"])
    op.create_index(op.f("ix_build_setups_schedule_due"), "build_setups", ["schedule_due"])
    op.create_table(
        "build_rules",
        sa.Column("id", Identity, nullable=False),
        sa.Column("setup_id", Identity, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["setup_id"], ["build_setups.id"], name=op.f("fk_build_rules_setup_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_build_rules")),
    )
    op.create_index(op.f("ix_build_rules_setup_id"), "build_rules", ["setup_id"])


def _setup_details() -> None:
    op.create_table(
        "build_secrets",
        sa.Column("setup_id", Identity, nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["setup_id"], ["build_setups.id"], name=op.f("fk_build_secrets_setup_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("setup_id", "name", name=op.f("pk_build_secrets")),
    )
    op.create_table(
        "build_bases",
        sa.Column("setup_id", Identity, nullable=False),
        sa.Column("reference", sa.String(length=400), nullable=False),
        sa.Column("digest", sa.String(length=140), nullable=False),
        sa.Column("checked_at", Timestamp, nullable=False),
        sa.ForeignKeyConstraint(
            ["setup_id"], ["build_setups.id"], name=op.f("fk_build_bases_setup_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("setup_id", "reference", name=op.f("pk_build_bases")),
    )
    op.create_index(op.f("ix_build_bases_checked_at"), "build_bases", ["checked_at"])
    op.create_index(op.f("ix_build_bases_reference"), "build_bases", ["reference"])
    op.create_table(
        "build_calls",
        sa.Column("id", Identity, nullable=False),
        sa.Column("setup_id", Identity, nullable=False),
        sa.Column("at", Timestamp, nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["setup_id"], ["build_setups.id"], name=op.f("fk_build_calls_setup_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_build_calls")),
    )
    op.create_index(op.f("ix_build_calls_setup_id"), "build_calls", ["setup_id"])


def _builds() -> None:
    op.create_table(
        "builds",
        sa.Column("id", Identity, nullable=False),
        sa.Column("setup_id", Identity, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("account", sa.String(length=39), nullable=False),
        sa.Column("lane", sa.String(length=300), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("source_type", sa.String(length=8), nullable=False),
        sa.Column("source_name", sa.String(length=250), nullable=False),
        sa.Column("commit", sa.String(length=64), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("author", sa.String(length=250), nullable=False),
        sa.Column("cause", sa.String(length=16), nullable=False),
        sa.Column("started_by", sa.String(length=250), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("rule_id", Identity, nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("trusted", sa.Boolean(), nullable=False),
        sa.Column("reproduces", Identity),
        sa.Column("created_at", Timestamp, nullable=False),
        sa.Column("started_at", Timestamp),
        sa.Column("finished_at", Timestamp),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("key_digest", sa.String(length=64), nullable=False),
        sa.Column("worker", sa.String(length=100), nullable=False),
        sa.Column("lease_until", Timestamp),
        sa.Column("cancelled_by", sa.String(length=250), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("steps", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=140), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("log_size", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["setup_id"], ["build_setups.id"], name=op.f("fk_builds_setup_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_builds")),
        sa.UniqueConstraint("setup_id", "number", name=op.f("uq_builds_setup_id_number")),
    )
    op.create_index("ix_builds_lane", "builds", ["lane", "status"])
    op.create_index("ix_builds_setup", "builds", ["setup_id", "id"])
    op.create_index(
        "ix_builds_waiting",
        "builds",
        ["status", "id"],
        sqlite_where=sa.text("status IN ('queued', 'running')"),
        postgresql_where=sa.text("status IN ('queued', 'running')"),
    )
    op.create_table(
        "build_log",
        sa.Column("build_id", Identity, nullable=False),
        sa.Column("offset", sa.Integer(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["build_id"], ["builds.id"], name=op.f("fk_build_log_build_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("build_id", "offset", name=op.f("pk_build_log")),
    )


def _notices() -> None:
    op.create_table(
        "build_notices",
        sa.Column("id", Identity, nullable=False),
        sa.Column("setup_id", Identity, nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("events", sa.String(length=100), nullable=False),
        sa.Column("created_at", Timestamp, nullable=False),
        sa.ForeignKeyConstraint(
            ["setup_id"], ["build_setups.id"], name=op.f("fk_build_notices_setup_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_build_notices")),
    )
    op.create_index(op.f("ix_build_notices_setup_id"), "build_notices", ["setup_id"])
    op.create_table(
        "build_deliveries",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("notice_id", Identity, nullable=False),
        sa.Column("build_id", Identity, nullable=False),
        sa.Column("event", sa.String(length=32), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("callback", sa.String(length=64), nullable=False),
        sa.Column("callback_state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", Timestamp),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("created_at", Timestamp, nullable=False),
        sa.ForeignKeyConstraint(
            ["build_id"], ["builds.id"], name=op.f("fk_build_deliveries_build_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["notice_id"], ["build_notices.id"], name=op.f("fk_build_deliveries_notice_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_build_deliveries")),
    )
    op.create_index(op.f("ix_build_deliveries_callback"), "build_deliveries", ["callback"])
    op.create_index(op.f("ix_build_deliveries_due_at"), "build_deliveries", ["due_at"])
    op.create_index(op.f("ix_build_deliveries_notice_id"), "build_deliveries", ["notice_id"])

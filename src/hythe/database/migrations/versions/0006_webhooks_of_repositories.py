"""Webhooks belong to a repository, and deliveries to an event: notifications are not about builds alone."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_OF_REPOSITORY = "SELECT repository_id FROM build_configurations WHERE build_configurations.id = configuration_id"


def upgrade() -> None:
    """Find the repository by the build configuration; the deliveries of one build become those of one event."""
    if op.get_bind().dialect.name == "postgresql":
        _alter_on_postgresql()
    else:
        _copy_on_sqlite()


def _alter_on_postgresql() -> None:
    op.add_column("webhooks", sa.Column("repository_id", sa.BigInteger))
    op.execute(f"UPDATE webhooks SET repository_id = ({_OF_REPOSITORY})")
    op.alter_column("webhooks", "repository_id", nullable=False)
    op.create_foreign_key(
        "fk_webhooks_repository_id",
        "webhooks",
        "repositories",
        ["repository_id"],
        ["id"],
        ondelete="CASCADE",
    )
    op.create_index("ix_webhooks_repository_id", "webhooks", ["repository_id"])
    op.drop_column("webhooks", "configuration_id")
    op.add_column("webhook_deliveries", sa.Column("event_id", sa.String(36)))
    op.execute("UPDATE webhook_deliveries SET event_id = CAST(build_id AS VARCHAR(36))")
    op.alter_column("webhook_deliveries", "event_id", nullable=False)
    op.create_index("ix_webhook_deliveries_event_id", "webhook_deliveries", ["event_id"])
    op.drop_column("webhook_deliveries", "build_id")


def _copy_on_sqlite() -> None:
    """Copy both tables, because SQLite cannot drop a column that has a foreign key. Drop the old deliveries first."""
    op.rename_table("webhooks", "old_webhooks")
    op.rename_table("webhook_deliveries", "old_webhook_deliveries")
    _create_tables()
    op.execute(
        "INSERT INTO webhooks (id, repository_id, url, secret, events, created_at)"
        f" SELECT id, ({_OF_REPOSITORY}), url, secret, events, created_at FROM old_webhooks"
    )
    columns = "webhook_id, event, body, callback, callback_state, attempts, due_at, status, outcome, created_at"
    op.execute(
        f"INSERT INTO webhook_deliveries (id, event_id, {columns})"
        f" SELECT id, CAST(build_id AS TEXT), {columns} FROM old_webhook_deliveries"
    )
    op.drop_table("old_webhook_deliveries")
    op.drop_table("old_webhooks")
    op.create_index("ix_webhooks_repository_id", "webhooks", ["repository_id"])
    for column in ("webhook_id", "event_id", "callback", "due_at"):
        op.create_index(f"ix_webhook_deliveries_{column}", "webhook_deliveries", [column])


def _create_tables() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("repository_id", sa.Integer, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("secret", sa.Text, nullable=False),
        sa.Column("events", sa.String(100), nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_webhooks"),
        sa.ForeignKeyConstraint(
            ["repository_id"], ["repositories.id"], "fk_webhooks_repository_id", ondelete="CASCADE"
        ),
    )
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("webhook_id", sa.Integer, nullable=False),
        sa.Column("event_id", sa.String(36), nullable=False),
        sa.Column("event", sa.String(32), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("callback", sa.String(64), nullable=False),
        sa.Column("callback_state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due_at", sa.DateTime),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_deliveries"),
        sa.ForeignKeyConstraint(
            ["webhook_id"], ["webhooks.id"], "fk_webhook_deliveries_webhook_id", ondelete="CASCADE"
        ),
    )

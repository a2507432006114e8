"""Linked accounts of forges, their webhooks with deliveries, and the outbox of commit statuses."""

import sqlalchemy as sa
from alembic import op

from hythe.database.tables.metadata import Identity, Timestamp

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand the schema."""
    _links()
    _hooks()
    _deliveries()
    _statuses()


def _links() -> None:
    op.create_table(
        "forge_links",
        sa.Column("id", Identity, nullable=False),
        sa.Column("user_id", Identity, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("url", sa.String(length=255), nullable=False),
        sa.Column("account_id", sa.String(length=100), nullable=False),
        sa.Column("login", sa.String(length=250), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("oauth", sa.Boolean(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("trouble", sa.Text(), nullable=False),
        sa.Column("created_at", Timestamp, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_forge_links_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_forge_links")),
        sa.UniqueConstraint("user_id", "url", "account_id", name=op.f("uq_forge_links_user_id_url_account_id")),
    )


def _hooks() -> None:
    op.create_table(
        "forge_hooks",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("setup_id", Identity),
        sa.Column("link_id", Identity),
        sa.Column("forge_repository", sa.String(length=255), nullable=False),
        sa.Column("hub_url", sa.String(length=255), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("hook_id", sa.String(length=100), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("key_id", sa.String(length=100), nullable=False),
        sa.Column("trouble", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", Timestamp),
        sa.Column("created_at", Timestamp, nullable=False),
        sa.ForeignKeyConstraint(
            ["setup_id"], ["build_setups.id"], name=op.f("fk_forge_hooks_setup_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["link_id"], ["forge_links.id"], name=op.f("fk_forge_hooks_link_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_forge_hooks")),
        sa.UniqueConstraint("setup_id", name=op.f("uq_forge_hooks_setup_id")),
    )
    op.create_index(op.f("ix_forge_hooks_link_id"), "forge_hooks", ["link_id"])


def _deliveries() -> None:
    op.create_table(
        "forge_deliveries",
        sa.Column("id", Identity, nullable=False),
        sa.Column("hook_id", sa.String(length=32), nullable=False),
        sa.Column("at", Timestamp, nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("event", sa.String(length=100), nullable=False),
        sa.Column("delivery", sa.String(length=200), nullable=False),
        sa.Column("taken", sa.String(length=200)),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["hook_id"], ["forge_hooks.id"], name=op.f("fk_forge_deliveries_hook_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_forge_deliveries")),
        sa.UniqueConstraint("hook_id", "taken", name=op.f("uq_forge_deliveries_hook_id_taken")),
    )
    op.create_table(
        "forge_heads",
        sa.Column("hook_id", sa.String(length=32), nullable=False),
        sa.Column("ref", sa.String(length=260), nullable=False),
        sa.Column("head", sa.String(length=64), nullable=False),
        sa.Column("seen", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["hook_id"], ["forge_hooks.id"], name=op.f("fk_forge_heads_hook_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("hook_id", "ref", name=op.f("pk_forge_heads")),
    )


def _statuses() -> None:
    op.create_table(
        "forge_statuses",
        sa.Column("build_id", Identity, nullable=False),
        sa.Column("link_id", Identity, nullable=False),
        sa.Column("forge_repository", sa.String(length=255), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", Timestamp),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["build_id"], ["builds.id"], name=op.f("fk_forge_statuses_build_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["link_id"], ["forge_links.id"], name=op.f("fk_forge_statuses_link_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("build_id", name=op.f("pk_forge_statuses")),
    )
    op.create_index(op.f("ix_forge_statuses_due_at"), "forge_statuses", ["due_at"])
    op.create_index(op.f("ix_forge_statuses_link_id"), "forge_statuses", ["link_id"])

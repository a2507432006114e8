"""Accounts have second factors."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_TIMESTAMP = sa.DateTime(timezone=True)
_IDENTITY = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add columns that are empty or have a default, and tables that older servers do not use."""
    op.add_column("users", sa.Column("second_factor", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("sessions", sa.Column("confirmed_at", _TIMESTAMP))
    op.create_table(
        "totp_secrets",
        sa.Column("user_id", _IDENTITY, autoincrement=False, nullable=False),
        sa.Column("secret", sa.Text, nullable=False),
        sa.Column("last_step", sa.BigInteger, nullable=False),
        sa.Column("created_at", _TIMESTAMP, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_totp_secrets_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", name="pk_totp_secrets"),
    )
    op.create_table(
        "recovery_codes",
        sa.Column("user_id", _IDENTITY, autoincrement=False, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_recovery_codes_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "digest", name="pk_recovery_codes"),
    )
    op.create_table(
        "passkeys",
        sa.Column("id", _IDENTITY, nullable=False),
        sa.Column("user_id", _IDENTITY, nullable=False),
        sa.Column("credential_id", sa.String(1364), nullable=False),
        sa.Column("user_handle", sa.String(43), nullable=False),
        sa.Column("public_key", sa.Text, nullable=False),
        sa.Column("sign_count", sa.BigInteger, nullable=False),
        sa.Column("transports", sa.String(100), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("backed_up", sa.Boolean, nullable=False),
        sa.Column("created_at", _TIMESTAMP, nullable=False),
        sa.Column("used_at", _TIMESTAMP),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_passkeys_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_passkeys"),
        sa.UniqueConstraint("credential_id", name="uq_passkeys_credential_id"),
    )
    op.create_index("ix_passkeys_user_id", "passkeys", ["user_id"])
    op.create_table(
        "spent_states",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("expires_at", _TIMESTAMP, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_spent_states"),
    )
    op.create_index("ix_spent_states_expires_at", "spent_states", ["expires_at"])

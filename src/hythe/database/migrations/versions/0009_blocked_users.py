"""Accounts can be blocked and their names reserved, sign-ups and guesses are counted, and keys have a purpose.

The server seals the private keys of older versions when it starts: only it knows the key.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_TIMESTAMP = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add columns that are empty or have a default, and tables that older servers do not use."""
    op.add_column("users", sa.Column("blocked_at", _TIMESTAMP))
    op.add_column("users", sa.Column("credential_generation", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("signing_keys", sa.Column("purpose", sa.String(16)))
    op.add_column("signing_keys", sa.Column("public_key", sa.Text))
    op.create_table(
        "reserved_names",
        sa.Column("name", sa.String(39), nullable=False),
        sa.Column("reserved_at", _TIMESTAMP, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_reserved_names"),
    )
    op.create_table(
        "sign_ups",
        sa.Column("network", sa.String(43), nullable=False),
        sa.Column("accounts", sa.Integer, nullable=False),
        sa.Column("since", _TIMESTAMP, nullable=False),
        sa.PrimaryKeyConstraint("network", name="pk_sign_ups"),
    )
    op.create_index("ix_sign_ups_since", "sign_ups", ["since"])
    op.create_table(
        "sign_in_failures",
        sa.Column("bucket", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("last_at", _TIMESTAMP, nullable=False),
        sa.PrimaryKeyConstraint("bucket", name="pk_sign_in_failures"),
    )
    identity = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "known_networks",
        sa.Column("user_id", identity, nullable=False),
        sa.Column("network", sa.String(43), nullable=False),
        sa.Column("used_at", _TIMESTAMP, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_known_networks_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "network", name="pk_known_networks"),
    )

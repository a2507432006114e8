"""E-mail confirmation, password resets, sessions with place and time."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables of e-mail, and the columns of sessions and confirmed addresses."""
    op.add_column("users", sa.Column("email_confirmed_at", _TIME))
    for column in (
        sa.Column("public_id", sa.String(16)),
        sa.Column("used_at", _TIME),
        sa.Column("network", sa.String(43)),
        sa.Column("user_agent", sa.String(300)),
    ):
        op.add_column("sessions", column)
    op.create_index("ix_sessions_public_id", "sessions", ["public_id"], unique=True)
    op.create_index("ix_sessions_user_id_started", "sessions", ["user_id", "created_at", "public_id"])
    _create_mail()
    op.create_table(
        "password_reset_requests",
        sa.Column("id", _ID, nullable=False),
        sa.Column("name", sa.String(254), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_password_reset_requests"),
    )


def _create_mail() -> None:
    op.create_table(
        "mail_messages",
        sa.Column("id", _ID, nullable=False),
        sa.Column("user_id", _ID),
        sa.Column("purpose", sa.String(32), nullable=False),
        sa.Column("recipient", sa.String(254), nullable=False),
        sa.Column("subject", sa.String(200), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("secret", sa.Boolean, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due_at", _TIME),
        sa.Column("sent_at", _TIME),
        sa.Column("outcome", sa.String(500), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_mail_messages_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_mail_messages"),
    )
    op.create_index("ix_mail_messages_user_id", "mail_messages", ["user_id"])
    op.create_index("ix_mail_messages_due_at", "mail_messages", ["due_at"])
    op.create_index("ix_mail_messages_created_at_id", "mail_messages", ["created_at", "id"])
    op.create_table(
        "mail_links",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("purpose", sa.String(16), nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_mail_links_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("digest", name="pk_mail_links"),
    )
    for columns in (["email"], ["expires_at"], ["user_id", "purpose", "created_at"]):
        op.create_index(f"ix_mail_links_{'_'.join(columns)}", "mail_links", columns)

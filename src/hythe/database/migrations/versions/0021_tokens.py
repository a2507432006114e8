"""Tokens have permissions and limits, and rules exchange the ID tokens of CI systems.

An older server runs beside a newer one: it reads only ``rights``, into which the newer one writes no word that is new.
"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_TIMESTAMP = sa.DateTime(timezone=True)
_IDENTITY = sa.BigInteger().with_variant(sa.Integer, "sqlite")

_COLUMNS: tuple[sa.Column[object], ...] = (
    sa.Column("used_from", sa.String(45)),
    sa.Column("kind", sa.String(16), nullable=False, server_default="personal"),
    sa.Column("permissions", sa.String(200)),
    sa.Column("limits", sa.Text),
    sa.Column("previous_digest", sa.String(64)),
    sa.Column("previous_expires_at", _TIMESTAMP),
    sa.Column("rule_id", _IDENTITY),
    sa.Column("subject", sa.String(255)),
)


def upgrade() -> None:
    """Extend the personal tokens, and create the tables of keyless CI."""
    for column in _COLUMNS:
        op.add_column("personal_tokens", column)
    op.create_index("ix_personal_tokens_previous_digest", "personal_tokens", ["previous_digest"], unique=True)
    robot = sa.text("kind = 'robot'")
    op.create_index(
        "ix_personal_tokens_robot",
        "personal_tokens",
        ["user_id", "name"],
        unique=True,
        sqlite_where=robot,
        postgresql_where=robot,
    )
    of_rule = sa.text("rule_id IS NOT NULL")
    for name in ("rule_id", "expires_at"):
        op.create_index(
            f"ix_personal_tokens_{name}", "personal_tokens", [name], sqlite_where=of_rule, postgresql_where=of_rule
        )
    op.create_table(
        "trust_rules",
        sa.Column("id", _IDENTITY, nullable=False),
        sa.Column("user_id", _IDENTITY, nullable=False),
        sa.Column("name", sa.String(39), nullable=False),
        sa.Column("issuer", sa.String(255), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("claims", sa.Text, nullable=False),
        sa.Column("permissions", sa.String(200), nullable=False),
        sa.Column("limits", sa.Text, nullable=False),
        sa.Column("lifetime", sa.Integer, nullable=False),
        sa.Column("created_at", _TIMESTAMP, nullable=False),
        sa.Column("used_at", _TIMESTAMP),
        sa.PrimaryKeyConstraint("id", name="pk_trust_rules"),
        sa.UniqueConstraint("user_id", "name", name="uq_trust_rules_user_id_name"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_trust_rules_user_id_users", ondelete="CASCADE"),
    )
    op.create_table(
        "exchanged_id_tokens",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("expires_at", _TIMESTAMP, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_exchanged_id_tokens"),
    )
    op.create_index("ix_exchanged_id_tokens_expires_at", "exchanged_id_tokens", ["expires_at"])

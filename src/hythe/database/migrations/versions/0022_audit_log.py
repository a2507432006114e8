"""An append-only log records who changed what."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_IDENTITY = sa.BigInteger().with_variant(sa.Integer, "sqlite")

_APPEND_ONLY = {
    "sqlite": (
        """
CREATE TRIGGER audit_entries_unchanged BEFORE UPDATE ON audit_entries BEGIN
    SELECT raise(ABORT, 'entries of the audit log cannot be changed');
END
""",
    ),
    "postgresql": (
        """
CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'entries of the audit log cannot be changed';
END $$
""",
        """
CREATE TRIGGER audit_entries_unchanged BEFORE UPDATE ON audit_entries FOR EACH STATEMENT
EXECUTE FUNCTION refuse_audit_change()
""",
    ),
}


def upgrade() -> None:
    """Create the table of the entries, which nothing changes."""
    op.create_table(
        "audit_entries",
        sa.Column("id", _IDENTITY, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("credential", sa.String(160), nullable=False),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("namespace", sa.String(39), nullable=False),
        sa.Column("target", sa.String(300), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_entries"),
    )
    for column in ("at", "namespace", "actor"):
        op.create_index(f"ix_audit_entries_{column}", "audit_entries", [column, "id"])
    for statement in _APPEND_ONLY[op.get_bind().dialect.name]:
        op.get_bind().exec_driver_sql(statement.strip())

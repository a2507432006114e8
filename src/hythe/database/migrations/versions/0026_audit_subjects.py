"""Entries of the audit log belong to a namespace under all its names, and are found by action and subject.

The database refuses to delete an entry before it expires.
"""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

_IDENTITY = sa.BigInteger().with_variant(sa.Integer, "sqlite")

_INDEXES = {
    "namespace_id": ["namespace_id", "id"],
    "namespace_action": ["namespace_id", "action", "id"],
    "action": ["action", "id"],
    "subject": ["subject", "id"],
}

_SUBJECT = {
    "sqlite": "substr(target, 1, instr(replace(replace(target, '@', ':'), '#', ':') || ':', ':') - 1)",
    "postgresql": "split_part(translate(target, '@#', '::'), ':', 1)",
}

_FILL_IN = """
UPDATE audit_entries SET
    subject = {subject},
    namespace_id = coalesce((
        SELECT namespaces.id FROM namespaces LEFT JOIN users ON users.id = namespaces.user_id
        WHERE namespaces.name = audit_entries.namespace
            AND (users.id IS NULL OR users.created_at <= audit_entries.at)
    ), (
        SELECT namespace_id FROM former_namespaces WHERE former_namespaces.name = audit_entries.namespace
    ))
"""

_SUSPEND = {
    "sqlite": ("DROP TRIGGER audit_entries_unchanged",),
    "postgresql": ("ALTER TABLE audit_entries DISABLE TRIGGER audit_entries_unchanged",),
}

_RESUME = {
    "sqlite": (
        """
CREATE TRIGGER audit_entries_unchanged BEFORE UPDATE ON audit_entries BEGIN
    SELECT raise(ABORT, 'entries of the audit log cannot be changed');
END
""",
    ),
    "postgresql": ("ALTER TABLE audit_entries ENABLE TRIGGER audit_entries_unchanged",),
}

_KEEP = {
    "sqlite": (
        """
CREATE TRIGGER audit_entries_kept BEFORE DELETE ON audit_entries
WHEN OLD.at >= coalesce((SELECT expired_before FROM audit_expiry), '') BEGIN
    SELECT raise(ABORT, 'entries of the audit log cannot be deleted before they expire');
END
""",
    ),
    "postgresql": (
        """
CREATE FUNCTION refuse_audit_deletion() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.at >= coalesce((SELECT expired_before FROM audit_expiry), '-infinity') THEN
        RAISE EXCEPTION 'entries of the audit log cannot be deleted before they expire';
    END IF;
    RETURN OLD;
END $$
""",
        """
CREATE TRIGGER audit_entries_kept BEFORE DELETE ON audit_entries FOR EACH ROW
EXECUTE FUNCTION refuse_audit_deletion()
""",
        """
CREATE TRIGGER audit_entries_not_truncated BEFORE TRUNCATE ON audit_entries FOR EACH STATEMENT
EXECUTE FUNCTION refuse_audit_change()
""",
    ),
}


def upgrade() -> None:
    """Add the columns, fill them in, and add the indexes and the trigger.

    The table has few rows: no released version writes to it.
    """
    op.add_column("audit_entries", sa.Column("namespace_id", _IDENTITY))
    op.add_column("audit_entries", sa.Column("subject", sa.String(300)))
    op.create_table(
        "audit_expiry",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("expired_before", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_expiry")),
    )
    dialect = op.get_bind().dialect.name
    fill_in = _FILL_IN.format(subject=_SUBJECT[dialect])
    for statement in (*_SUSPEND[dialect], fill_in, *_RESUME[dialect], *_KEEP[dialect]):
        op.get_bind().exec_driver_sql(statement.strip())
    for name, columns in _INDEXES.items():
        op.create_index(f"ix_audit_entries_{name}", "audit_entries", columns)

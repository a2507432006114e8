"""The database completes entries of the audit log that servers of a former version write, which know fewer columns.

Such servers run beside new ones during an upgrade. Without the columns, owners would not find these entries.
"""

from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

_SUBJECT = {
    "sqlite": "substr({0}, 1, instr(replace(replace({0}, '@', ':'), '#', ':') || ':', ':') - 1)",
    "postgresql": "split_part(translate({0}, '@#', '::'), ':', 1)",
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
WHERE subject IS NULL
"""

_SUSPEND = {
    "sqlite": "DROP TRIGGER audit_entries_unchanged",
    "postgresql": "ALTER TABLE audit_entries DISABLE TRIGGER audit_entries_unchanged",
}

_KNOWN = ("id", "at", "actor", "credential", "address", "action", "namespace", "target", "detail")
"""The columns that every server fills in."""

# Triggers of SQLite cannot change the new row; once an entry has a subject, it stays as it is.
_COMPLETE = {
    "sqlite": (
        f"""
CREATE TRIGGER audit_entries_unchanged BEFORE UPDATE ON audit_entries
WHEN OLD.subject IS NOT NULL OR {" OR ".join(f"NEW.{name} IS NOT OLD.{name}" for name in _KNOWN)} BEGIN
    SELECT raise(ABORT, 'entries of the audit log cannot be changed');
END
""",
        f"""
CREATE TRIGGER audit_entries_completed AFTER INSERT ON audit_entries WHEN NEW.subject IS NULL BEGIN
    UPDATE audit_entries SET
        subject = {_SUBJECT["sqlite"].format("NEW.target")},
        namespace_id = (SELECT id FROM namespaces WHERE name = NEW.namespace)
    WHERE id = NEW.id;
END
""",
    ),
    "postgresql": (
        "ALTER TABLE audit_entries ENABLE TRIGGER audit_entries_unchanged",
        f"""
CREATE FUNCTION complete_audit_entry() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.subject := {_SUBJECT["postgresql"].format("NEW.target")};
    NEW.namespace_id := (SELECT id FROM namespaces WHERE name = NEW.namespace);
    RETURN NEW;
END $$
""",
        """
CREATE TRIGGER audit_entries_completed BEFORE INSERT ON audit_entries FOR EACH ROW WHEN (NEW.subject IS NULL)
EXECUTE FUNCTION complete_audit_entry()
""",
    ),
}


def upgrade() -> None:
    """Fill in what was written since the columns exist, which an index finds, and complete what will be written."""
    connection = op.get_bind()
    dialect = connection.dialect.name
    fill_in = _FILL_IN.format(subject=_SUBJECT[dialect].format("target"))
    for statement in (_SUSPEND[dialect], fill_in, *_COMPLETE[dialect]):
        connection.exec_driver_sql(statement.strip())

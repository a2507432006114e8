"""Large repositories are deleted in small steps.

A deleted repository no longer counts as one of its namespace; what it stores counts until it is deleted, too. Its new
name keeps the namespace, so that the triggers of migration 0008 count that down.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_TIMESTAMP = sa.DateTime(timezone=True)
_IDENTITY = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_DIGEST = sa.String(140).with_variant(sa.String(140, collation="C"), "postgresql")

_SQLITE_TRIGGERS = (
    "DROP TRIGGER repository_counted",
    """
CREATE TRIGGER repository_counted AFTER INSERT ON repositories WHEN new.deleted_at IS NULL BEGIN
    INSERT INTO namespace_usage (namespace, bytes, repositories)
    VALUES (substr(new.name, 1, instr(new.name || '/', '/') - 1), 0, 1)
    ON CONFLICT (namespace) DO UPDATE SET repositories = repositories + 1;
END;
""",
    """
CREATE TRIGGER repository_deleted AFTER UPDATE OF deleted_at ON repositories
WHEN old.deleted_at IS NULL AND new.deleted_at IS NOT NULL BEGIN
    UPDATE namespace_usage SET repositories = repositories - 1
    WHERE namespace = substr(old.name, 1, instr(old.name || '/', '/') - 1);
END;
""",
    "DROP TRIGGER repository_uncounted",
    """
CREATE TRIGGER repository_uncounted AFTER DELETE ON repositories BEGIN
    UPDATE namespace_usage SET repositories = repositories - 1
    WHERE old.deleted_at IS NULL AND namespace = substr(old.name, 1, instr(old.name || '/', '/') - 1);
    DELETE FROM namespace_usage
    WHERE namespace = substr(old.name, 1, instr(old.name || '/', '/') - 1) AND repositories <= 0
        AND NOT EXISTS (
            SELECT 1 FROM repositories
            WHERE name > namespace_usage.namespace || '/' AND name < namespace_usage.namespace || '0'
        );
END;
""",
)

_POSTGRESQL_TRIGGERS = (
    """
CREATE OR REPLACE FUNCTION count_repository() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.deleted_at IS NULL THEN
        INSERT INTO namespace_usage (namespace, bytes, repositories) VALUES (split_part(NEW.name, '/', 1), 0, 1)
        ON CONFLICT (namespace) DO UPDATE SET repositories = namespace_usage.repositories + 1;
    END IF;
    RETURN NULL;
END $$
""",
    """
CREATE FUNCTION count_deleted_repository() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE namespace_usage SET repositories = repositories - 1 WHERE namespace = split_part(OLD.name, '/', 1);
    RETURN NULL;
END $$
""",
    """
CREATE OR REPLACE FUNCTION uncount_repository() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.deleted_at IS NULL THEN
        UPDATE namespace_usage SET repositories = repositories - 1 WHERE namespace = split_part(OLD.name, '/', 1);
    END IF;
    DELETE FROM namespace_usage
    WHERE namespace = split_part(OLD.name, '/', 1) AND repositories <= 0
        AND NOT EXISTS (
            SELECT 1 FROM repositories
            WHERE name > split_part(OLD.name, '/', 1) || '/' AND name < split_part(OLD.name, '/', 1) || '0'
        );
    RETURN NULL;
END $$
""",
    """
CREATE TRIGGER repository_deleted AFTER UPDATE OF deleted_at ON repositories FOR EACH ROW
WHEN (OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL)
EXECUTE FUNCTION count_deleted_repository()
""",
)


def upgrade() -> None:
    """Add empty columns and a table, and count deleted repositories."""
    deleted = sa.text("deleted_at IS NOT NULL")
    for table in ("repositories", "users"):
        op.add_column(table, sa.Column("deleted_at", _TIMESTAMP))
        op.create_index(f"ix_{table}_deleted_at", table, ["deleted_at"], sqlite_where=deleted, postgresql_where=deleted)
    op.create_table(
        "unmarked_dependents",
        sa.Column("repository_id", _IDENTITY, nullable=False),
        sa.Column("manifest", _DIGEST, nullable=False),
        sa.Column("free_after", _TIMESTAMP, nullable=False),
        sa.Column("listed", sa.Text),
        sa.Column("marked_to", _DIGEST, nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name=op.f("fk_unmarked_dependents_repository_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("repository_id", "manifest", name=op.f("pk_unmarked_dependents")),
    )
    triggers = {"sqlite": _SQLITE_TRIGGERS, "postgresql": _POSTGRESQL_TRIGGERS}
    for statement in triggers[op.get_bind().dialect.name]:
        op.get_bind().exec_driver_sql(statement.strip())

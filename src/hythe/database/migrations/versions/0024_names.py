"""Renamed accounts and repositories keep their old names.

The catalog follows a new name and another namespace. Until now, the only new name was that of a deleted repository.
"""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

_TIMESTAMP = sa.DateTime(timezone=True)
_IDENTITY = sa.BigInteger().with_variant(sa.Integer, "sqlite")

_AUDIENCE = """
coalesce((
    SELECT CASE visibility WHEN 'public' THEN 'public' WHEN 'internal' THEN 'internal'
        ELSE 'namespace ' || namespace_id END
    FROM hub_repositories WHERE repository_id = NEW.repository_id
), '')
"""

_SQLITE_TRIGGERS = (
    "DROP TRIGGER repository_renamed",
    """
CREATE TRIGGER repository_renamed AFTER UPDATE OF name ON repositories BEGIN
    DELETE FROM catalog_entries WHERE repository_id = old.id AND new.deleted_at IS NOT NULL;
    UPDATE catalog_entries SET name = new.name WHERE repository_id = new.id;
END
""",
    "DROP TRIGGER visibility_in_catalog",
    f"""
CREATE TRIGGER visibility_in_catalog AFTER UPDATE OF visibility, namespace_id ON hub_repositories BEGIN
    UPDATE catalog_entries SET audience = {_AUDIENCE} WHERE repository_id = new.repository_id;
END
""",
)

_POSTGRESQL_TRIGGERS = (
    """
CREATE OR REPLACE FUNCTION leave_catalog_with_name() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.deleted_at IS NOT NULL THEN
        DELETE FROM catalog_entries WHERE repository_id = OLD.id;
    ELSE
        UPDATE catalog_entries SET name = NEW.name WHERE repository_id = NEW.id;
    END IF;
    RETURN NULL;
END $$
""",
    "DROP TRIGGER visibility_in_catalog ON hub_repositories",
    """
CREATE TRIGGER visibility_in_catalog AFTER UPDATE OF visibility, namespace_id ON hub_repositories FOR EACH ROW
EXECUTE FUNCTION set_catalog_audience()
""",
)


def upgrade() -> None:
    """Add empty tables and columns, and let the catalog follow new names."""
    op.add_column("namespaces", sa.Column("renamed_on", sa.Integer))
    op.add_column("namespaces", sa.Column("renames", sa.Integer))
    _former_names()
    _transfers()
    dialect = op.get_bind().dialect.name
    for statement in {"sqlite": _SQLITE_TRIGGERS, "postgresql": _POSTGRESQL_TRIGGERS}[dialect]:
        op.get_bind().exec_driver_sql(statement.strip())


def _former_names() -> None:
    op.create_table(
        "former_namespaces",
        sa.Column("name", sa.String(39), nullable=False),
        _reference("namespace_id"),
        sa.Column("since", _TIMESTAMP, nullable=False),
        sa.Column("renamed_by", sa.String(255), nullable=False),
        sa.Column("followed_at", _TIMESTAMP),
        _foreign_key("former_namespaces", "namespace_id", "namespaces.id"),
        sa.PrimaryKeyConstraint("name", name="pk_former_namespaces"),
    )
    op.create_index("ix_former_namespaces_namespace_id", "former_namespaces", ["namespace_id"])
    unfollowed = sa.text("followed_at IS NULL")
    op.create_index(
        "ix_former_namespaces_unfollowed",
        "former_namespaces",
        ["name"],
        sqlite_where=unfollowed,
        postgresql_where=unfollowed,
    )
    op.create_table(
        "former_repositories",
        _reference("namespace_id"),
        sa.Column("name", sa.String(255), nullable=False),
        _reference("repository_id"),
        sa.Column("since", _TIMESTAMP, nullable=False),
        sa.Column("renamed_by", sa.String(255), nullable=False),
        _foreign_key("former_repositories", "namespace_id", "namespaces.id"),
        _foreign_key("former_repositories", "repository_id", "hub_repositories.repository_id"),
        sa.PrimaryKeyConstraint("namespace_id", "name", name="pk_former_repositories"),
    )
    op.create_index("ix_former_repositories_repository_id", "former_repositories", ["repository_id"])


def _transfers() -> None:
    op.create_table(
        "transfers",
        _reference("repository_id"),
        _reference("namespace_id"),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("requested_by", sa.String(255), nullable=False),
        sa.Column("created_at", _TIMESTAMP, nullable=False),
        sa.Column("expires_at", _TIMESTAMP, nullable=False),
        _foreign_key("transfers", "repository_id", "hub_repositories.repository_id"),
        _foreign_key("transfers", "namespace_id", "namespaces.id"),
        sa.PrimaryKeyConstraint("repository_id", name="pk_transfers"),
    )
    op.create_index("ix_transfers_namespace", "transfers", ["namespace_id", "repository_id"])
    op.create_index("ix_transfers_expires_at", "transfers", ["expires_at"])


def _reference(name: str) -> "sa.Column[int]":
    return sa.Column(name, _IDENTITY, nullable=False, autoincrement=False)


def _foreign_key(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [target], name=op.f(f"fk_{table}_{column}"), ondelete="CASCADE")

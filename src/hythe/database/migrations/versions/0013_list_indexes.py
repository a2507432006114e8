"""Lists read pages by indexes, at any depth.

Every index begins with the columns of a list's condition and continues with its sort key; what only some may see has
partial indexes, so that nobody skips what others have. ``catalog_entries`` are the repositories of the catalog: those
that contain a manifest, by who may list them. Triggers keep them, so that older servers keep them, too. The full-text
search has public repositories only, and on SQLite an index of single letters.

For a million repositories and ten million tags this takes one to three minutes, for which PostgreSQL's writers and
searches wait.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_IDENTITY = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_NAME = sa.String(255).with_variant(sa.String(255, collation="C"), "postgresql")

_PUBLIC = {"sqlite": "listed = 1 AND visibility = 'public'", "postgresql": "listed AND visibility = 'public'"}
_LISTED = {"sqlite": "listed = 1", "postgresql": "listed"}
_PRIVATE = "visibility = 'private'"
_OF_IMAGES = "(name < 'sha256-' OR name >= 'sha256.' OR length(name) < 71)"

_REPLACED = (
    ("ix_hub_repositories_name", "hub_repositories"),
    ("ix_hub_repositories_created_at", "hub_repositories"),
    ("ix_hub_repositories_stars", "hub_repositories"),
    ("ix_hub_repositories_pulls", "hub_repositories"),
    ("ix_webhook_deliveries_webhook_id", "webhook_deliveries"),
    ("ix_builds_configuration", "builds"),
)

_INDEXES: tuple[tuple[str, str, list[str]], ...] = (
    ("ix_tag_moves_digest", "tag_moves", ["repository_id", "tag", "digest"]),
    ("ix_builds_status", "builds", ["configuration_id", "status", "id"]),
    ("ix_builds_source", "builds", ["configuration_id", "source_name", "id"]),
    ("ix_builds_account", "builds", ["account", "id"]),
    ("ix_builds_configuration_id", "builds", ["configuration_id", "id"]),
    ("ix_webhook_deliveries_recent", "webhook_deliveries", ["webhook_id", "created_at"]),
    ("ix_forge_deliveries_recent", "forge_deliveries", ["forge_webhook_id", "id"]),
    ("ix_forge_deliveries_at", "forge_deliveries", ["forge_webhook_id", "at"]),
    ("ix_sessions_expires_at", "sessions", ["expires_at"]),
    ("ix_refresh_tokens_expires_at", "refresh_tokens", ["expires_at"]),
)

# What the hub knows about a repository when its first manifest arrives; the private registry knows nothing.
_AUDIENCE = """
coalesce((
    SELECT CASE visibility WHEN 'public' THEN 'public' ELSE 'namespace ' || namespace_id END
    FROM hub_repositories WHERE repository_id = {repository_id}{lock}
), '')
"""

_FILL = """
INSERT INTO catalog_entries (repository_id, name, audience)
SELECT id, name, {audience} FROM repositories
WHERE EXISTS (SELECT 1 FROM manifests WHERE manifests.repository_id = repositories.id)
"""

_SQLITE_TRIGGERS = (
    """
CREATE TRIGGER manifest_in_catalog AFTER INSERT ON manifests
WHEN NOT EXISTS (SELECT 1 FROM catalog_entries WHERE repository_id = new.repository_id) BEGIN
    INSERT INTO catalog_entries (repository_id, name, audience)
    SELECT id, name, {audience} FROM repositories WHERE id = new.repository_id;
END
""",
    """
CREATE TRIGGER manifest_not_in_catalog AFTER DELETE ON manifests
WHEN NOT EXISTS (SELECT 1 FROM manifests WHERE repository_id = old.repository_id) BEGIN
    DELETE FROM catalog_entries WHERE repository_id = old.repository_id;
END
""",
    """
CREATE TRIGGER repository_renamed AFTER UPDATE OF name ON repositories BEGIN
    DELETE FROM catalog_entries WHERE repository_id = old.id;
END
""",
    """
CREATE TRIGGER visibility_in_catalog AFTER UPDATE OF visibility ON hub_repositories BEGIN
    UPDATE catalog_entries SET audience = {audience} WHERE repository_id = new.repository_id;
END
""",
)

# FOR SHARE: a push and a change of the visibility at the same time see each other.
_POSTGRESQL_TRIGGERS = (
    """
CREATE FUNCTION enter_catalog() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM catalog_entries WHERE repository_id = NEW.repository_id) THEN
        INSERT INTO catalog_entries (repository_id, name, audience)
        SELECT id, name, {audience} FROM repositories WHERE id = NEW.repository_id
        ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END $$
""",
    """
CREATE FUNCTION leave_catalog() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM catalog_entries
    WHERE repository_id IN (SELECT DISTINCT repository_id FROM removed)
        AND NOT EXISTS (SELECT 1 FROM manifests WHERE manifests.repository_id = catalog_entries.repository_id);
    RETURN NULL;
END $$
""",
    """
CREATE FUNCTION leave_catalog_with_name() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM catalog_entries WHERE repository_id = OLD.id;
    RETURN NULL;
END $$
""",
    """
CREATE FUNCTION set_catalog_audience() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE catalog_entries SET audience = {audience} WHERE repository_id = NEW.repository_id;
    RETURN NULL;
END $$
""",
    """
CREATE TRIGGER manifest_in_catalog AFTER INSERT ON manifests FOR EACH ROW EXECUTE FUNCTION enter_catalog()
""",
    """
CREATE TRIGGER manifests_not_in_catalog AFTER DELETE ON manifests
REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION leave_catalog()
""",
    """
CREATE TRIGGER repository_renamed AFTER UPDATE OF name ON repositories FOR EACH ROW
WHEN (OLD.name <> NEW.name) EXECUTE FUNCTION leave_catalog_with_name()
""",
    """
CREATE TRIGGER visibility_in_catalog AFTER UPDATE OF visibility ON hub_repositories FOR EACH ROW
EXECUTE FUNCTION set_catalog_audience()
""",
)

# Search documents are those of public repositories only: nobody's search reads what others have in private.
_REMOVE_PRIVATE_DOCUMENTS = """
DELETE FROM search_documents
WHERE repository_id IN (SELECT repository_id FROM hub_repositories WHERE visibility = 'private')
"""

_ADD_WORDS = (
    "INSERT INTO search_words(rowid, name, description) VALUES (new.repository_id, new.name, new.description); "
    "INSERT INTO search_trigrams(rowid, name) VALUES (new.repository_id, new.name); "
)
_REMOVE_WORDS = (
    "INSERT INTO search_words(search_words, rowid, name, description) "
    "VALUES ('delete', old.repository_id, old.name, old.description); "
    "INSERT INTO search_trigrams(search_trigrams, rowid, name) VALUES ('delete', old.repository_id, old.name); "
)
_SQLITE_SEARCH = (
    "DROP TRIGGER search_documents_added",
    "DROP TRIGGER search_documents_removed",
    "DROP TRIGGER search_documents_changed",
    "DROP TABLE search_words",
    "DROP TABLE search_trigrams",
    _REMOVE_PRIVATE_DOCUMENTS,
    "CREATE VIRTUAL TABLE search_words USING fts5(name, description, content='search_documents', "
    "content_rowid='repository_id', tokenize='unicode61', prefix='1 2 3 4')",
    "CREATE VIRTUAL TABLE search_trigrams USING fts5(name, content='search_documents', "
    "content_rowid='repository_id', tokenize='trigram')",
    "INSERT INTO search_words(search_words) VALUES ('rebuild')",
    "INSERT INTO search_trigrams(search_trigrams) VALUES ('rebuild')",
    f"CREATE TRIGGER search_documents_added AFTER INSERT ON search_documents BEGIN {_ADD_WORDS} END",
    f"CREATE TRIGGER search_documents_removed AFTER DELETE ON search_documents BEGIN {_REMOVE_WORDS} END",
    f"CREATE TRIGGER search_documents_changed AFTER UPDATE ON search_documents BEGIN {_REMOVE_WORDS}{_ADD_WORDS} END",
)

# Older servers use the index on the expression, until a later release drops it.
_POSTGRESQL_SEARCH = (
    _REMOVE_PRIVATE_DOCUMENTS,
    "ALTER TABLE search_documents ADD COLUMN words tsvector GENERATED ALWAYS AS "
    "(to_tsvector('simple', translate(name || ' ' || description, '/-_.', '    '))) STORED",
    "CREATE INDEX search_documents_vector ON search_documents USING gin (words)",
)


def upgrade() -> None:
    """Create indexes and the table of the catalog, and build the full-text search again."""
    dialect = op.get_bind().dialect.name
    for name, table in _REPLACED:
        op.drop_index(name, table)
    for name, table, columns in _INDEXES:
        op.create_index(name, table, columns)
    condition = ["listed", "visibility"]  # SQLite reads the row if the index does not contain them
    changed = ["namespace_id", "updated_at", "name"]
    _partial("ix_hub_repositories_changed", "hub_repositories", [*changed, "listed"], _LISTED[dialect])
    for name, columns in (
        ("changed", changed),
        ("created_at", ["created_at", "name", "namespace_id"]),
        *((column, [column, "repository_id"]) for column in ("name", "stars", "pulls")),
    ):
        index = f"ix_hub_repositories_public_{name}"
        _partial(index, "hub_repositories", [*columns, *condition], _PUBLIC[dialect])
    _partial("ix_hub_repositories_private", "hub_repositories", [*changed, *condition], _PRIVATE)
    _partial("ix_tags_moved", "tags", ["repository_id", "moved_at", "name"], _OF_IMAGES)
    _partial(
        "ix_forge_deliveries_rejected", "forge_deliveries", ["forge_webhook_id", "id"], "accepted_delivery IS NULL"
    )
    # Types may be as long as a manifest, and keys of indexes may not.
    kind = sa.text("substr(artifact_type, 1, 200)")
    _partial(
        "ix_manifests_subject_type", "manifests", ["repository_id", "subject", kind, "digest"], "subject IS NOT NULL"
    )
    _catalog(dialect)
    for statement in {"sqlite": _SQLITE_SEARCH, "postgresql": _POSTGRESQL_SEARCH}[dialect]:
        op.get_bind().exec_driver_sql(statement.strip())


def _partial(name: str, table: str, columns: Sequence[Any], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def _catalog(dialect: str) -> None:
    op.create_table(
        "catalog_entries",
        sa.Column("repository_id", _IDENTITY, nullable=False, autoincrement=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("audience", sa.String(30), nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name=op.f("fk_catalog_entries_repository_id_repositories"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("repository_id", name=op.f("pk_catalog_entries")),
    )
    if dialect == "postgresql":
        # Older servers may be running: what they push waits until the triggers enter it.
        op.execute("LOCK TABLE repositories, manifests, hub_repositories IN SHARE ROW EXCLUSIVE MODE")
    op.execute(_FILL.format(audience=_AUDIENCE.format(repository_id="repositories.id", lock="")))
    op.create_index("ix_catalog_entries_name", "catalog_entries", ["name"], unique=True)
    op.create_index("ix_catalog_entries_audience", "catalog_entries", ["audience", "name"])
    lock = " FOR SHARE" if dialect == "postgresql" else ""
    row = "NEW.repository_id"
    for statement in {"sqlite": _SQLITE_TRIGGERS, "postgresql": _POSTGRESQL_TRIGGERS}[dialect]:
        audience = _AUDIENCE.format(repository_id=row, lock=lock if "enter_catalog()" in statement else "")
        op.get_bind().exec_driver_sql(statement.format(audience=audience).strip())

"""The hub's tables: accounts, namespaces, the index of repositories, credentials, full-text search."""

import sqlalchemy as sa
from alembic import op

from hythe.database.tables.metadata import Identity, Timestamp

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_SQLITE_SEARCH = (
    "CREATE VIRTUAL TABLE search_words USING fts5(name, description, content='search_documents', "
    "content_rowid='repository_id', tokenize='unicode61', prefix='2 3 4')",
    "CREATE VIRTUAL TABLE search_trigrams USING fts5(name, content='search_documents', "
    "content_rowid='repository_id', tokenize='trigram')",
    "CREATE TRIGGER search_documents_added AFTER INSERT ON search_documents BEGIN "
    "INSERT INTO search_words(rowid, name, description) VALUES (new.repository_id, new.name, new.description); "
    "INSERT INTO search_trigrams(rowid, name) VALUES (new.repository_id, new.name); END",
    "CREATE TRIGGER search_documents_removed AFTER DELETE ON search_documents BEGIN "
    "INSERT INTO search_words(search_words, rowid, name, description) "
    "VALUES ('delete', old.repository_id, old.name, old.description); "
    "INSERT INTO search_trigrams(search_trigrams, rowid, name) VALUES ('delete', old.repository_id, old.name); END",
    "CREATE TRIGGER search_documents_changed AFTER UPDATE ON search_documents BEGIN "
    "INSERT INTO search_words(search_words, rowid, name, description) "
    "VALUES ('delete', old.repository_id, old.name, old.description); "
    "INSERT INTO search_trigrams(search_trigrams, rowid, name) VALUES ('delete', old.repository_id, old.name); "
    "INSERT INTO search_words(rowid, name, description) VALUES (new.repository_id, new.name, new.description); "
    "INSERT INTO search_trigrams(rowid, name) VALUES (new.repository_id, new.name); END",
)

_POSTGRESQL_WORDS = (
    "CREATE INDEX search_documents_words ON search_documents USING gin (("
    "setweight(to_tsvector('simple', translate(name, '/-_.', '    ')), 'A') || "
    "setweight(to_tsvector('simple', translate(description, '/-_.', '    ')), 'C')))"
)

# An operator may not be allowed to install extensions: then search does without likeness.
_POSTGRESQL_TRIGRAMS = """
DO $$ BEGIN
    CREATE EXTENSION IF NOT EXISTS pg_trgm;
    CREATE INDEX search_documents_trigrams ON search_documents USING gin (name gin_trgm_ops);
EXCEPTION WHEN insufficient_privilege OR undefined_file OR feature_not_supported OR undefined_object THEN
    RAISE NOTICE 'pg_trgm is not available: search finds no typos';
END $$
"""


def upgrade() -> None:
    """Expand the schema."""
    _accounts()
    _repositories()
    _credentials()
    _search()


def _accounts() -> None:
    op.create_table(
        "users",
        sa.Column("id", Identity, nullable=False),
        sa.Column("name", sa.String(39), nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("admin", sa.Boolean(), nullable=False),
        sa.Column("default_visibility", sa.String(7), nullable=False),
        sa.Column("private_limit", sa.Integer()),
        sa.Column("created_at", Timestamp, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("name", name=op.f("uq_users_name")),
        sa.UniqueConstraint("email", name=op.f("uq_users_email")),
    )
    namespaces = op.create_table(
        "namespaces",
        sa.Column("id", Identity, nullable=False),
        sa.Column("name", sa.String(39), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("user_id", Identity),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_namespaces")),
        sa.UniqueConstraint("name", name=op.f("uq_namespaces_name")),
        _of_user("namespaces"),
    )
    op.create_index(op.f("ix_namespaces_user_id"), "namespaces", ["user_id"])
    op.bulk_insert(namespaces, [{"name": "library", "kind": "curated", "user_id": None}])


def _repositories() -> None:
    op.create_table(
        "hub_repositories",
        sa.Column("repository_id", Identity, nullable=False, autoincrement=False),
        sa.Column("namespace_id", Identity, nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("visibility", sa.String(7), nullable=False),
        sa.Column("official", sa.Boolean(), nullable=False),
        sa.Column("listed", sa.Boolean(), nullable=False),
        sa.Column("description", sa.String(100), nullable=False),
        sa.Column("full_description", sa.Text(), nullable=False),
        sa.Column("stars", sa.Integer(), nullable=False),
        sa.Column("pulls", Identity, nullable=False),
        sa.Column("created_at", Timestamp, nullable=False),
        sa.Column("updated_at", Timestamp, nullable=False),
        sa.Column("pushed_at", Timestamp),
        sa.PrimaryKeyConstraint("repository_id", name=op.f("pk_hub_repositories")),
        sa.UniqueConstraint("namespace_id", "name", name=op.f("uq_hub_repositories_namespace_id_name")),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name=op.f("fk_hub_repositories_repository_id_repositories"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["namespace_id"],
            ["namespaces.id"],
            name=op.f("fk_hub_repositories_namespace_id_namespaces"),
            ondelete="CASCADE",
        ),
    )
    for column in ("name", "created_at", "stars", "pulls"):
        op.create_index(f"ix_hub_repositories_{column}", "hub_repositories", [column])


def _credentials() -> None:
    op.create_table(
        "sessions",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("user_id", Identity, nullable=False),
        sa.Column("created_at", Timestamp, nullable=False),
        sa.Column("expires_at", Timestamp, nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_sessions")),
        _of_user("sessions"),
    )
    op.create_index(op.f("ix_sessions_user_id"), "sessions", ["user_id"])
    op.create_table(
        "personal_tokens",
        sa.Column("id", Identity, nullable=False),
        sa.Column("user_id", Identity, nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("rights", sa.String(200), nullable=False),
        sa.Column("created_at", Timestamp, nullable=False),
        sa.Column("expires_at", Timestamp),
        sa.Column("used_at", Timestamp),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_personal_tokens")),
        sa.UniqueConstraint("digest", name=op.f("uq_personal_tokens_digest")),
        _of_user("personal_tokens"),
    )
    op.create_index(op.f("ix_personal_tokens_user_id"), "personal_tokens", ["user_id"])
    _refresh_tokens()
    op.create_table(
        "signing_keys",
        sa.Column("id", sa.String(43), nullable=False),
        sa.Column("private_key", sa.Text(), nullable=False),
        sa.Column("created_at", Timestamp, nullable=False),
        sa.Column("retired_at", Timestamp),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_signing_keys")),
    )


def _refresh_tokens() -> None:
    op.create_table(
        "refresh_tokens",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("user_id", Identity, nullable=False),
        sa.Column("personal_token_id", Identity),
        sa.Column("rights", sa.String(200), nullable=False),
        sa.Column("client", sa.String(100), nullable=False),
        sa.Column("created_at", Timestamp, nullable=False),
        sa.Column("expires_at", Timestamp, nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_refresh_tokens")),
        _of_user("refresh_tokens"),
        sa.ForeignKeyConstraint(
            ["personal_token_id"],
            ["personal_tokens.id"],
            name=op.f("fk_refresh_tokens_personal_token_id_personal_tokens"),
            ondelete="CASCADE",
        ),
    )
    op.create_index(op.f("ix_refresh_tokens_user_id"), "refresh_tokens", ["user_id"])
    op.create_index(op.f("ix_refresh_tokens_personal_token_id"), "refresh_tokens", ["personal_token_id"])


def _of_user(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["user_id"], ["users.id"], name=op.f(f"fk_{table}_user_id_users"), ondelete="CASCADE"
    )


def _search() -> None:
    op.create_table(
        "search_documents",
        sa.Column("repository_id", Identity, nullable=False, autoincrement=False),
        sa.Column("name", sa.String(295), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("repository_id", name=op.f("pk_search_documents")),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["hub_repositories.repository_id"],
            name=op.f("fk_search_documents_repository_id_hub_repositories"),
            ondelete="CASCADE",
        ),
    )
    if op.get_bind().dialect.name == "sqlite":
        statements: tuple[str, ...] = _SQLITE_SEARCH
    else:
        statements = (_POSTGRESQL_WORDS, _POSTGRESQL_TRIGRAMS)
    for statement in statements:
        op.execute(statement)

"""A Merkle log records every move of a tag.

Triggers queue moves of tags, and renames and deletions of repositories, for the log: also those that an older server
makes. What moved before is queued here, with the names that repositories have now; the servers append it to the log in
small steps. For a million moves this takes about 10 seconds.

Only the hub's own repositories are queued: those in ``hub_repositories``. The private registry has none, and neither
have mirrors.
"""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

_IDENTITY = sa.BigInteger().with_variant(sa.Integer, "sqlite")

_QUEUE = "INSERT INTO tag_log_queue (kind, repository_id, repository, public, tag, digest, previous, new_name, at)"

_MOVES = f"""
{_QUEUE}
SELECT 'tag-moved', repositories.id, repositories.name, hub_repositories.visibility = 'public',
    {{move}}.tag, {{move}}.digest, {{move}}.previous, NULL, {{move}}.moved_at
FROM {{moves}} repositories
    JOIN hub_repositories ON hub_repositories.repository_id = repositories.id
WHERE repositories.id = {{move}}.repository_id
"""

_FILL = _MOVES.format(move="tag_moves", moves="tag_moves,") + "ORDER BY tag_moves.id"

# At a deletion the hub's row no longer exists: the sequencer conceals it unless the last entry was plain.
_RENAMED = f"""
{_QUEUE}
SELECT CASE WHEN {{new}}.deleted_at IS NULL THEN 'repository-renamed' ELSE 'repository-deleted' END,
    {{old}}.id, {{old}}.name, EXISTS (
        SELECT 1 FROM hub_repositories WHERE repository_id = {{old}}.id AND visibility = 'public'
    ), NULL, NULL, NULL, CASE WHEN {{new}}.deleted_at IS NULL THEN {{new}}.name END, {{now}}
WHERE EXISTS (SELECT 1 FROM tag_log_repositories WHERE repository_id = {{old}}.id)
    OR EXISTS (SELECT 1 FROM tag_log_queue WHERE repository_id = {{old}}.id)
"""

_SQLITE = (
    f"""
CREATE TRIGGER tag_move_in_log AFTER INSERT ON tag_moves BEGIN
    {_MOVES.format(move="new", moves="")};
END
""",
    f"""
CREATE TRIGGER repository_name_in_log AFTER UPDATE OF name ON repositories WHEN old.name <> new.name BEGIN
    {_RENAMED.format(old="old", new="new", now="strftime('%Y-%m-%d %H:%M:%f000', 'now')")};
END
""",
)

_POSTGRESQL = (
    f"""
CREATE FUNCTION queue_tag_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    {_MOVES.format(move="NEW", moves="")};
    RETURN NULL;
END $$
""",
    f"""
CREATE FUNCTION queue_repository_name() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    {_RENAMED.format(old="OLD", new="NEW", now="clock_timestamp()")};
    RETURN NULL;
END $$
""",
    "CREATE TRIGGER tag_move_in_log AFTER INSERT ON tag_moves FOR EACH ROW EXECUTE FUNCTION queue_tag_move()",
    """
CREATE TRIGGER repository_name_in_log AFTER UPDATE OF name ON repositories FOR EACH ROW
WHEN (OLD.name <> NEW.name) EXECUTE FUNCTION queue_repository_name()
""",
)


def upgrade() -> None:
    """Create the tables and triggers, and queue the moves so far."""
    _create_tables()
    dialect = op.get_bind().dialect.name
    if dialect == "postgresql":
        # Older servers may be running: what they move waits until the triggers queue it.
        op.execute("LOCK TABLE repositories, tag_moves IN SHARE ROW EXCLUSIVE MODE")
    op.get_bind().exec_driver_sql(_FILL.strip())
    for statement in {"sqlite": _SQLITE, "postgresql": _POSTGRESQL}[dialect]:
        op.get_bind().exec_driver_sql(statement.strip())
    op.create_index("ix_tag_log_queue_repository_id", "tag_log_queue", ["repository_id"])


def _create_tables() -> None:
    op.create_table(
        "tag_log",
        sa.Column("number", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("origin", sa.String(300), nullable=False),
        sa.Column("public_key", sa.String(500), nullable=False),
        sa.Column("private_key", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("checkpoint", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_tag_log")),
    )
    op.create_table(
        "tag_log_queue",
        sa.Column("id", _IDENTITY, nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("repository_id", _IDENTITY, nullable=False),
        sa.Column("repository", sa.String(255), nullable=False),
        sa.Column("public", sa.Boolean, nullable=False),
        sa.Column("tag", sa.String(128)),
        sa.Column("digest", sa.String(140)),
        sa.Column("previous", sa.String(140)),
        sa.Column("new_name", sa.String(255)),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tag_log_queue")),
    )
    op.create_table(
        "tag_log_entries",
        sa.Column("number", _IDENTITY, nullable=False, autoincrement=False),
        sa.Column("repository_id", _IDENTITY, nullable=False),
        sa.Column("tag", sa.String(128), nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("plain", sa.LargeBinary),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_tag_log_entries")),
    )
    op.create_index("ix_tag_log_entries_tag", "tag_log_entries", ["repository_id", "tag", "number"])
    op.create_table(
        "tag_log_tiles",
        sa.Column("level", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("number", _IDENTITY, nullable=False, autoincrement=False),
        sa.Column("hashes", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("level", "number", name=op.f("pk_tag_log_tiles")),
    )
    op.create_table(
        "tag_log_repositories",
        sa.Column("repository_id", _IDENTITY, nullable=False, autoincrement=False),
        sa.Column("salt", sa.String(64), nullable=False),
        sa.Column("public", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("repository_id", name=op.f("pk_tag_log_repositories")),
    )

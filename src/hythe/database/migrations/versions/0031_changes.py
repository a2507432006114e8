"""Servers learn what was committed, so that they can cache what they read.

Triggers write a row of ``changes`` for each change that a cached answer may depend on: the changes of older servers, of
``hythe admin`` and of psql are noted, too. See ``hythe.database.changes`` for topics and positions. Old rows are
deleted; ``change_horizon`` says up to which position. The tables have no entry in METADATA: they differ between the
engines, only ``hythe.database`` reads them, and no copy of a database needs them.

Triggers are made without reading any table, so this takes no longer on a large database.
"""

from typing import NamedTuple

from alembic import op

revision = "0031"
down_revision = "0036"
branch_labels = None
depends_on = None

_NAMES = "0"
_EVERYTHING = "-4611686018427387904"


class _Watch(NamedTuple):
    """Which changes of a table are noted, and under which topics.

    ``topics`` are expressions over a row, which is {row} in them. ``columns``: their updates are noted if they change a
    value, or if ``when`` is true. ``events`` has the other events.
    """

    name: str
    table: str
    topics: tuple[str, ...]
    columns: tuple[str, ...]
    events: tuple[str, ...] = ("DELETE",)
    when: str = ""


_REPOSITORY = "{row}.repository_id"
_ACCOUNT = "-{row}.user_id"
_ALL = ("INSERT", "DELETE")

# From now on it is due for deletion, so a pull of it must keep it longer.
_MARKED = "OLD.free_after IS NULL AND NEW.free_after IS NOT NULL"

_WATCHES = (
    _Watch("repository", "repositories", ("{row}.id",), ("id", "name", "created_at")),
    _Watch("tag", "tags", (_REPOSITORY,), ("repository_id", "name", "digest")),
    _Watch("manifest", "manifests", (_REPOSITORY,), ("repository_id", "digest", "media_type", "content")),
    _Watch("manifest_mark", "manifests", (_REPOSITORY,), ("free_after",), (), _MARKED),
    _Watch("repository_blob", "repository_blobs", (_REPOSITORY,), ("repository_id", "digest")),
    _Watch("repository_blob_mark", "repository_blobs", (_REPOSITORY,), ("free_after",), (), _MARKED),
    # Of any repository that contains the blob. A row with links cannot be deleted.
    _Watch("blob", "blobs", (_EVERYTHING,), ("digest", "size", "quarantined_at"), ()),
    _Watch(
        "namespace",
        "namespaces",
        (f"coalesce({_ACCOUNT}, {_EVERYTHING})", _NAMES),
        ("id", "name", "kind", "user_id"),
    ),
    _Watch("new_namespace", "namespaces", (_NAMES,), (), ("INSERT",)),
    _Watch(
        "hub_repository",
        "hub_repositories",
        (_REPOSITORY, _NAMES),
        ("repository_id", "namespace_id", "name"),
    ),
    _Watch(
        "visibility",
        "hub_repositories",
        (_REPOSITORY,),
        ("visibility", "taken_down_at", "taken_down_reason"),
        (),
    ),
    _Watch("new_hub_repository", "hub_repositories", (_NAMES,), (), ("INSERT",)),
    _Watch(
        "account",
        "users",
        ("-{row}.id",),
        (
            "id",
            "name",
            "kind",
            "admin",
            "curator",
            "blocked_at",
            "credential_generation",
            "email_confirmed_at",
            "second_factor",
            "require_second_factor",
            "member_role",
            "members_create",
            "storage_limit",
            "upload_limit",
        ),
    ),
    # Nothing of a deleted account is found, so the answers are those about missing names.
    _Watch("deleted_account", "users", ("-{row}.id", _NAMES), ("deleted_at",), ()),
    _Watch(
        "personal_token",
        "personal_tokens",
        (_ACCOUNT,),
        (
            "user_id",
            "digest",
            "expires_at",
            "previous_digest",
            "previous_expires_at",
            "rights",
            "permissions",
            "limits",
        ),
    ),
    _Watch("organization_member", "organization_members", (_ACCOUNT,), ("organization_id", "user_id", "role"), _ALL),
    _Watch("collaborator", "collaborators", (_ACCOUNT,), ("repository_id", "user_id", "role"), _ALL),
    _Watch("team_member", "team_members", (_ACCOUNT,), ("team_id", "user_id"), _ALL),
    _Watch("team_repository", "team_repositories", (_REPOSITORY,), ("team_id", "repository_id", "role"), _ALL),
    # Patterns matter only for repositories that do not exist yet.
    _Watch("team", "teams", (_NAMES,), ("id", "organization_id")),
    _Watch("team_grant", "team_grants", (_NAMES,), ("team_id", "like_pattern", "role"), _ALL),
    _Watch("build_configuration", "build_configurations", (_REPOSITORY,), ("repository_id",), _ALL),
    _Watch(
        "administrator_access",
        "administrator_access",
        (_REPOSITORY,),
        ("user_id", "repository_id", "until"),
        _ALL,
    ),
    _Watch("former_namespace", "former_namespaces", (_NAMES,), ("name", "namespace_id"), _ALL),
    _Watch("former_repository", "former_repositories", (_NAMES,), ("namespace_id", "name", "repository_id"), _ALL),
)

_LARGE = ("manifests", "repository_blobs")
"""Tables of which one statement deletes many rows, all of a few repositories."""

_SQLITE_TABLES = (
    "CREATE TABLE changes (position INTEGER PRIMARY KEY AUTOINCREMENT, topic INTEGER NOT NULL)",
    """
CREATE TABLE change_horizon (
    number INTEGER PRIMARY KEY, deleted_to INTEGER NOT NULL, next INTEGER NOT NULL, noted_at REAL NOT NULL
)
""",
    "INSERT INTO change_horizon (number, deleted_to, next, noted_at) VALUES (1, 0, 0, 0)",
)

# The order of commits is not that of any sequence, so a position is the transaction, and a snapshot says which have
# been committed. The key makes one row of all changes of a topic in a transaction.
_POSTGRESQL_TABLES = (
    "CREATE TABLE changes (position xid8 NOT NULL, topic bigint NOT NULL, PRIMARY KEY (position, topic))",
    """
CREATE TABLE change_horizon (
    number integer PRIMARY KEY, deleted_to xid8 NOT NULL, next xid8 NOT NULL, noted_at timestamptz NOT NULL
)
""",
    "INSERT INTO change_horizon (number, deleted_to, next, noted_at) VALUES (1, '0', '0', '-infinity')",
)

_NOTE_ROW = """
CREATE FUNCTION note_{name}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO changes (position, topic)
    SELECT DISTINCT pg_current_xact_id(), noted.topic FROM (VALUES {values}) AS noted (topic)
    WHERE noted.topic IS NOT NULL ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$
"""

_NOTE_ROWS = """
CREATE FUNCTION note_deleted_{name}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO changes (position, topic)
    SELECT DISTINCT pg_current_xact_id(), repository_id FROM gone ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$
"""

_NOTE_EVERYTHING = f"""
CREATE FUNCTION note_everything() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO changes (position, topic) VALUES (pg_current_xact_id(), {_EVERYTHING}) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    """Create the tables and triggers."""
    if op.get_bind().dialect.name == "sqlite":
        statements = [*_SQLITE_TABLES, *(each for watch in _WATCHES for each in _sqlite_triggers(watch))]
    else:
        tables = dict.fromkeys(watch.table for watch in _WATCHES)
        statements = [
            *_POSTGRESQL_TABLES,
            *(each for watch in _WATCHES for each in _postgresql_triggers(watch)),
            _NOTE_EVERYTHING,
            *(
                f"CREATE TRIGGER note_truncate AFTER TRUNCATE ON {table} EXECUTE FUNCTION note_everything()"
                for table in tables
            ),
        ]
    for statement in statements:
        op.get_bind().exec_driver_sql(statement.strip())


def _topics(watch: _Watch, rows: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(topic.format(row=row) for row in rows for topic in watch.topics))


def _sqlite_triggers(watch: _Watch) -> list[str]:
    events: list[tuple[str, str, str, tuple[str, ...]]] = [
        (event.lower(), event, "", ("new",) if event == "INSERT" else ("old",)) for event in watch.events
    ]
    if watch.columns:
        when = watch.when or " OR ".join(f"old.{column} IS NOT new.{column}" for column in watch.columns)
        events.append(("update", f"UPDATE OF {', '.join(watch.columns)}", f"WHEN {when} ", ("old", "new")))
    return [
        f"CREATE TRIGGER note_{watch.name}_{suffix} AFTER {event} ON {watch.table} {when}BEGIN "
        f"INSERT INTO changes (topic) VALUES {', '.join(f'({topic})' for topic in _topics(watch, rows))}; END"
        for suffix, event, when, rows in events
    ]


def _postgresql_triggers(watch: _Watch) -> list[str]:
    name, table = watch.name, watch.table
    rows = ("OLD", "NEW") if watch.columns else ("NEW",)
    values = ", ".join(f"({topic})" for topic in _topics(watch, rows))
    statements = [_NOTE_ROW.format(name=name, values=values)]
    events = watch.events
    if table in _LARGE and "DELETE" in events:
        events = ()
        statements += [
            _NOTE_ROWS.format(name=name),
            f"CREATE TRIGGER note_{name}_delete AFTER DELETE ON {table} REFERENCING OLD TABLE AS gone "
            f"FOR EACH STATEMENT EXECUTE FUNCTION note_deleted_{name}()",
        ]
    changed = [(event.lower(), event, "") for event in events]
    if watch.columns:
        when = watch.when or " OR ".join(f"OLD.{column} IS DISTINCT FROM NEW.{column}" for column in watch.columns)
        changed.append(("update", f"UPDATE OF {', '.join(watch.columns)}", f"WHEN ({when}) "))
    statements += [
        f"CREATE TRIGGER note_{name}_{suffix} AFTER {event} ON {table} FOR EACH ROW {condition}"
        f"EXECUTE FUNCTION note_{name}()"
        for suffix, event, condition in changed
    ]
    return statements

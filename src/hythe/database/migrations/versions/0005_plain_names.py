"""Rename tables, columns, indexes and constraints to the names that the program uses. No row changes."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TABLES = {
    "build_setups": "build_configurations",
    "build_calls": "build_trigger_calls",
    "build_bases": "build_base_images",
    "build_notices": "webhooks",
    "build_deliveries": "webhook_deliveries",
    "forge_links": "linked_accounts",
    "forge_hooks": "forge_webhooks",
    "forge_heads": "forge_refs",
}
"""Old name -> new name."""

COLUMNS = (
    ("build_rules", "setup_id", "configuration_id"),
    ("build_secrets", "setup_id", "configuration_id"),
    ("build_trigger_calls", "setup_id", "configuration_id"),
    ("build_base_images", "setup_id", "configuration_id"),
    ("builds", "setup_id", "configuration_id"),
    ("builds", "lane", "concurrency_key"),
    ("webhooks", "setup_id", "configuration_id"),
    ("forge_webhooks", "setup_id", "configuration_id"),
    ("webhook_deliveries", "notice_id", "webhook_id"),
    ("build_configurations", "link_id", "linked_account_id"),
    ("forge_webhooks", "link_id", "linked_account_id"),
    ("forge_statuses", "link_id", "linked_account_id"),
    ("forge_webhooks", "hook_id", "remote_webhook_id"),
    ("forge_webhooks", "key_id", "remote_key_id"),
    ("forge_deliveries", "hook_id", "forge_webhook_id"),
    ("forge_deliveries", "taken", "accepted_delivery"),
    ("forge_refs", "hook_id", "forge_webhook_id"),
    ("linked_accounts", "trouble", "problem"),
    ("forge_webhooks", "trouble", "problem"),
    ("blobs", "doomed_at", "deleting_since"),
)
"""Table (by its new name), old column, new column."""


def upgrade() -> None:
    """Rename in place: neither engine copies a row."""
    for old, new in TABLES.items():
        op.rename_table(old, new)
    for table, old, new in COLUMNS:
        op.execute(f'ALTER TABLE {table} RENAME COLUMN "{old}" TO "{new}"')
    if op.get_bind().dialect.name == "postgresql":
        _rename_on_postgresql()
    else:
        _rename_on_sqlite()


def _new_name(table: str, name: str) -> str:
    """Return the name that the naming convention gives an index or constraint of ``table`` now."""
    new = name
    for old_table, new_table in TABLES.items():
        if table == new_table:
            new = new.replace(f"_{old_table}", f"_{new_table}", 1)
    for renamed_table, old, column in COLUMNS:
        if table == renamed_table:
            head, separator, tail = new.partition(f"_{table}_")
            new = head + separator + f"_{tail}_".replace(f"_{old}_", f"_{column}_").strip("_")
    return EXPLICIT.get(new, new)


EXPLICIT = {"ix_builds_setup": "ix_builds_configuration", "ix_builds_lane": "ix_builds_concurrency_key"}
"""Indexes whose names do not come from the naming convention."""


def _rename_on_postgresql() -> None:
    inspector = sa.inspect(op.get_bind())
    for table in inspector.get_table_names():
        names = {
            str(constraint["name"])
            for constraint in (
                inspector.get_pk_constraint(table),
                *inspector.get_unique_constraints(table),
                *inspector.get_foreign_keys(table),
            )
            if constraint.get("name")
        }
        for name in sorted(names):
            if (new := _new_name(table, name)) != name:
                op.execute(f'ALTER TABLE "{table}" RENAME CONSTRAINT "{name}" TO "{new}"')
        for index in inspector.get_indexes(table):
            name = str(index["name"])
            if name not in names and (new := _new_name(table, name)) != name:
                op.execute(f'ALTER INDEX "{name}" RENAME TO "{new}"')


def _rename_on_sqlite() -> None:
    """SQLite renames neither: recreate indexes, and edit constraint names in the schema's text.

    See "Making Other Kinds Of Table Schema Changes" in https://www.sqlite.org/lang_altertable.html. All changes are in
    the caller's transaction, so a killed process leaves the old schema.
    """
    connection = op.get_bind()
    rows = connection.exec_driver_sql("SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE sql NOT NULL").all()
    for kind, name, table, statement in rows:
        if kind == "index" and (new := _new_name(table, name)) != name:
            op.execute(f'DROP INDEX "{name}"')
            op.execute(statement.replace(name, new, 1))
    version = connection.exec_driver_sql("PRAGMA schema_version").scalar_one()
    connection.exec_driver_sql("PRAGMA writable_schema = ON")
    for kind, name, table, statement in rows:
        if kind == "table" and (renamed := _with_new_constraints(table, statement)) != statement:
            connection.exec_driver_sql(
                "UPDATE sqlite_schema SET sql = ? WHERE type = 'table' AND name = ?", (renamed, name)
            )
    connection.exec_driver_sql(f"PRAGMA schema_version = {version + 1}")
    connection.exec_driver_sql("PRAGMA writable_schema = RESET")


def _with_new_constraints(table: str, statement: str) -> str:
    parts = statement.split("CONSTRAINT ")
    for index, part in enumerate(parts[1:], 1):
        name, _, rest = part.partition(" ")
        quote = '"' if name.startswith('"') else ""
        parts[index] = f"{quote}{_new_name(table, name.strip(quote or ' '))}{quote} {rest}"
    return "CONSTRAINT ".join(parts)

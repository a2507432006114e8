"""Upgrades a database's schema (alembic).

Migrations expand first and contract a release later, so that old and new servers can run side by side.
"""

import asyncio
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from hythe.database.schema import MIGRATIONS, newest_revision, present_revision
from hythe.database.sqlite import SQLITE_FILE, make_private, sqlite_engine
from hythe.database.sqlite_errors import sqlite_errors

UPGRADE_LOCK = 0x68797468
"""PostgreSQL's advisory lock against concurrent upgrades."""


async def upgrade(data: Path, database_url: str = "", revision: str = "") -> None:
    """Apply all missing migrations, or those up to ``revision``, in one transaction.

    Raises SchemaError and UnavailableError.
    """
    wanted = revision or newest_revision()
    if database_url:
        from hythe.database.postgresql import in_transaction

        await in_transaction(database_url, lambda connection: _upgrade(connection, wanted))
    else:
        await asyncio.to_thread(_upgrade_sqlite, data, wanted)


def _upgrade(connection: Connection, revision: str) -> None:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({UPGRADE_LOCK})")
    if present_revision(connection) != revision:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def _upgrade_sqlite(data: Path, revision: str) -> None:
    make_private(data)
    engine = sqlite_engine(data / SQLITE_FILE)
    try:
        with sqlite_errors(data / SQLITE_FILE), engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA busy_timeout = 30000")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            _upgrade(connection, revision)
            connection.exec_driver_sql("COMMIT")
    finally:
        engine.dispose()

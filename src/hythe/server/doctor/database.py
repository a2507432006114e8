"""Examines the database: schema, damage, durability, connections and clock."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection

from hythe.database import SchemaError, UnavailableError
from hythe.database.opening import sqlite_in_use
from hythe.database.schema import newest_revision, present_revision
from hythe.database.sqlite import SQLITE_FILE
from hythe.server.doctor.diagnosis import Diagnosis, good, problem, warning
from hythe.server.processes import process_count
from hythe.settings import Settings

SUBJECT = "database"

CHECK_TIME = 20.0
"""Seconds that SQLite may read its file to look for damage."""

CONNECTIONS = 25
"""Connections of PostgreSQL that one process of a server may need, with some for commands."""

MAX_SKEW = 5.0
"""Seconds by which the clocks of two machines may differ."""


def can_be_opened(settings: Settings) -> bool:
    """Return whether opening the database changes nothing: SQLite would be created, or upgraded."""
    if settings.database_url:
        return True
    file = settings.data_folder / SQLITE_FILE
    try:
        return sqlite_in_use(settings.data_folder) and _revision(file) == newest_revision()
    except sqlite3.Error:
        return False


def _revision(file: Path) -> str | None:
    with closing(_read_only(file)) as connection:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(row[0]) if row else None


def _read_only(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)


async def examine_database(settings: Settings) -> AsyncIterator[Diagnosis]:
    """Yield the state of the database without changing it."""
    if settings.database_url:
        async for finding in _postgresql(settings):
            yield finding
        return
    if not sqlite_in_use(settings.data_folder):
        yield problem(
            SUBJECT,
            f"there is no hub in {settings.data_folder}",
            "use --data FOLDER with the folder that 'hythe serve' prints",
        )
        return
    for finding in await asyncio.to_thread(_sqlite, settings.data_folder / SQLITE_FILE):
        yield finding


def _sqlite(file: Path) -> list[Diagnosis]:
    try:
        schema = _schema(_revision(file), "the next start of the hub upgrades it")
        with closing(_read_only(file)) as connection:
            return [schema, _damage(connection, file)]
    except sqlite3.Error as error:
        return [problem(SUBJECT, f"{file} cannot be read: {error}", "check its owner, or restore a backup")]


def _damage(connection: sqlite3.Connection, file: Path) -> Diagnosis:
    give_up = time.monotonic() + CHECK_TIME
    connection.set_progress_handler(lambda: int(time.monotonic() > give_up), 10_000)
    try:
        found = [str(line) for (line,) in connection.execute("PRAGMA quick_check(3)")]
    except sqlite3.OperationalError as error:
        if "interrupted" in str(error):
            return good(SUBJECT, f"SQLite; no damage found in {CHECK_TIME:.0f} s, which did not suffice for all of it")
        raise
    if found != ["ok"]:
        return problem(SUBJECT, f"{file} is damaged: {'; '.join(found)}", "stop the hub and restore a backup")
    return good(SUBJECT, "SQLite, without damage")


class _Server(NamedTuple):
    """What a PostgreSQL server says about itself."""

    revision: str | None
    version: str
    connections: int
    used: int
    is_durable: bool
    now: datetime
    asked_at: datetime


def _ask(connection: Connection) -> _Server:
    revision = present_revision(connection)
    asked_at = datetime.now(UTC)
    row = connection.exec_driver_sql(
        "SELECT current_setting('server_version'), current_setting('max_connections')::int, "
        "(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'), "
        "current_setting('fsync') = 'on' AND current_setting('synchronous_commit') <> 'off', clock_timestamp()"
    ).one()
    return _Server(revision, row[0], row[1], row[2], row[3], row[4], asked_at)


async def _postgresql(settings: Settings) -> AsyncIterator[Diagnosis]:
    from hythe.database.postgresql import in_transaction

    try:
        server = await in_transaction(settings.database_url, _ask)
    except (UnavailableError, SchemaError) as error:
        yield problem(SUBJECT, str(error), "check database_url, the PostgreSQL server and its pg_hba.conf")
        return
    yield good(SUBJECT, f"PostgreSQL {server.version}")
    yield _schema(server.revision, "run 'hythe admin upgrade'")
    if not server.is_durable:
        yield problem(
            SUBJECT,
            "PostgreSQL acknowledges commits that a crash can lose (fsync or synchronous_commit is off)",
            "set both to on in postgresql.conf",
        )
    if server.connections < CONNECTIONS * process_count(settings):
        yield warning(
            SUBJECT,
            f"PostgreSQL allows {server.connections} connections, of which {server.used} are used; one process of a "
            f"server may need {CONNECTIONS}",
            f"raise max_connections to at least {CONNECTIONS} for each process of each server",
        )
    skew = abs((server.now - server.asked_at).total_seconds())
    if skew > MAX_SKEW:
        yield problem(
            "clock",
            f"the clocks of this machine and of PostgreSQL differ by {skew:.0f} s: tokens and leases end too early",
            "synchronize both by NTP",
        )


def _schema(present: str | None, hint: str) -> Diagnosis:
    newest = newest_revision()
    if present == newest:
        return good(SUBJECT, f"the schema is at revision {newest}, as this version needs")
    return problem(SUBJECT, f"the schema is at revision {present}, but this version needs {newest}", hint)

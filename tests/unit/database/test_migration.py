"""Migrations: they make the tables that the program means, on both engines, and an old schema says so."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, inspect
from sqlalchemy.ext.asyncio import create_async_engine
from tests.parts.database import migrate_to

from hythe.database import SchemaError, open_database
from hythe.database.migration import upgrade
from hythe.database.schema import MIGRATIONS, known_revisions, newest_revision
from hythe.database.sqlite import SQLITE_FILE
from hythe.database.tables import (  # noqa: F401 (fill METADATA)
    audit,
    builds,
    forges,
    hub,
    identities,
    names,
    notifications,
    organizations,
    registry,
    sign_in,
    tag_log,
    tokens,
)
from hythe.database.tables.metadata import METADATA


def _included(_object: object, name: str | None, kind: str, reflected: bool, _other: object) -> bool:
    """Leave out what METADATA lacks: FTS5 tables, the column and indexes of PostgreSQL's search, and ``changes``."""
    if not reflected or name is None:
        return True
    if kind == "table":
        return not name.startswith(("search_words", "search_trigrams", "search_scratch", "change"))
    if kind == "column" and name == "words":  # generated, in search_documents
        return False
    return not (kind == "index" and name.startswith("search_documents_"))


def _differences(connection: Connection) -> list[Any]:
    context = MigrationContext.configure(connection, opts={"include_object": _included, "compare_type": True})
    return list(compare_metadata(context, METADATA))


@pytest.mark.parametrize("opening", [upgrade, open_database])
def test_other_users_of_the_machine_cannot_read_the_database(
    tmp_path: Path, opening: Callable[[Path], Coroutine[Any, Any, Any]]
) -> None:
    """Whatever the umask and the folder's mode are: the file holds the keys that sign tokens."""
    old = os.umask(0)
    try:
        asyncio.run(opening(tmp_path))
        asyncio.run(opening(tmp_path / "new"))
    finally:
        os.umask(old)

    assert {0o600} == {path.stat().st_mode & 0o777 for path in tmp_path.rglob(f"{SQLITE_FILE}*")}
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def test_sqlite_has_the_tables_that_are_meant(tmp_path: Path) -> None:
    """After all migrations there is nothing left that METADATA says otherwise."""
    asyncio.run(upgrade(tmp_path))

    with create_engine(f"sqlite:///{tmp_path / SQLITE_FILE}").connect() as connection:
        assert _differences(connection) == []


def test_postgresql_has_the_tables_that_are_meant(empty_postgresql_url: str) -> None:
    """The same there."""

    async def compare() -> list[Any]:
        await upgrade(Path("unused"), empty_postgresql_url)
        engine = create_async_engine(empty_postgresql_url.replace("postgresql://", "postgresql+asyncpg://"))
        async with engine.connect() as connection:
            found = await connection.run_sync(_differences)
        await engine.dispose()
        return found

    assert asyncio.run(compare()) == []


def test_upgrade_twice(tmp_path: Path, empty_postgresql_url: str) -> None:
    """A current schema stays the same, also if two processes upgrade concurrently."""

    async def scenario() -> tuple[list[Any], list[Any]]:
        await asyncio.gather(*(upgrade(tmp_path, empty_postgresql_url) for _ in range(2)))
        await upgrade(tmp_path)
        before = [await _schema(tmp_path, url) for url in ("", empty_postgresql_url)]
        await upgrade(tmp_path, empty_postgresql_url)
        await upgrade(tmp_path)
        return before, [await _schema(tmp_path, url) for url in ("", empty_postgresql_url)]

    before, after = asyncio.run(scenario())

    assert after == before
    assert [revision for revision, _ in after] == [newest_revision()] * 2
    assert all(len(columns) > 100 for _, columns in after)


async def _schema(folder: Path, url: str) -> tuple[str, list[Any]]:
    """Return the revision and all columns with their types."""
    if url:
        engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"))
        async with engine.connect() as connection:
            found = await connection.run_sync(_columns)
        await engine.dispose()
        return found
    with create_engine(f"sqlite:///{folder / SQLITE_FILE}").connect() as connection:
        return _columns(connection)


def _columns(connection: Connection) -> tuple[str, list[Any]]:
    inspector = inspect(connection)
    revision = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars().all()
    return " ".join(revision), [
        (table, column["name"], str(column["type"]), column["nullable"])
        for table in sorted(inspector.get_table_names())
        for column in inspector.get_columns(table)
    ]


def test_an_older_schema_on_postgresql_says_so(tmp_path: Path, empty_postgresql_url: str) -> None:
    """The program does not start on it, and says which command helps."""
    with pytest.raises(SchemaError, match="hythe admin upgrade"):
        asyncio.run(open_database(tmp_path, empty_postgresql_url))


def test_a_newer_schema_says_so(tmp_path: Path) -> None:
    """An old program does not touch a database that a newer one made."""
    asyncio.run(upgrade(tmp_path))
    with create_engine(f"sqlite:///{tmp_path / SQLITE_FILE}").begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(SchemaError, match="newer"):
        asyncio.run(open_database(tmp_path))


def test_sqlite_is_upgraded_at_start(tmp_path: Path) -> None:
    """An older SQLite schema is brought up to date by opening it, and what was in it stays."""
    engine = create_engine(f"sqlite:///{tmp_path / SQLITE_FILE}", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        migrate_to(connection, "0001")
        connection.exec_driver_sql("INSERT INTO repositories (name, created_at) VALUES ('a/b', '2026-01-01 00:00:00')")

    async def open_and_close() -> None:
        await (await open_database(tmp_path)).close()

    asyncio.run(open_and_close())

    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT name FROM repositories").scalar() == "a/b"
        assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == newest_revision()


def test_file_names_tell_the_revisions() -> None:
    """The start reads them from the names, which agree with what alembic finds inside, in one line."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(config)

    assert [script.revision for script in reversed(list(scripts.walk_revisions()))] == list(known_revisions())
    assert scripts.get_current_head() == newest_revision()

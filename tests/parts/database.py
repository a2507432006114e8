"""An open database on each engine with the current schema, and a way to run coroutines."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection
from tests.parts.postgresql import PostgresqlServer

from hythe.database import Database, open_database
from hythe.database.migration import upgrade
from hythe.database.schema import MIGRATIONS
from hythe.database.sqlite import SQLITE_FILE, make_private

T = TypeVar("T")

Run = Callable[[Coroutine[Any, Any, T]], T]

TEMPLATE = "hythe_template"


def upgrade_in_thread(data: Path, database_url: str = "") -> None:
    """Apply all migrations, also where the caller's thread runs an event loop (Playwright's does)."""
    failures: list[BaseException] = []

    def work() -> None:
        try:
            asyncio.run(upgrade(data, database_url))
        except BaseException as error:  # raised below
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


def migrate_to(connection: Connection, revision: str) -> None:
    """Apply the migrations up to a revision, as an older version of the program did."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def prepare_folder(data: Path) -> None:
    """Create a server's data folder with a database that has the current schema, as `hythe admin upgrade` does."""
    make_private(data)
    (data / SQLITE_FILE).write_bytes(_migrated_sqlite())


@cache
def _migrated_sqlite() -> bytes:
    """A SQLite file with the current schema; the migrations run once in a process."""
    with tempfile.TemporaryDirectory(prefix="hythe-template-") as folder:
        upgrade_in_thread(Path(folder))
        return (Path(folder) / SQLITE_FILE).read_bytes()


@pytest.fixture
def run() -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    """Run coroutines on one event loop, for the duration of the test."""
    with asyncio.Runner() as runner:
        yield runner.run


@pytest.fixture(scope="session")
def postgresql_template(postgresql: PostgresqlServer) -> str:
    """Name of a PostgreSQL database with the current schema, to be copied."""
    url = postgresql.create(TEMPLATE)
    asyncio.run(upgrade(Path("unused"), url))
    return TEMPLATE


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the current schema, to be copied."""
    folder = tmp_path_factory.mktemp("template")
    prepare_folder(folder)
    return folder / SQLITE_FILE


@pytest.fixture(scope="session")
def new_postgresql_url(postgresql: PostgresqlServer, postgresql_template: str) -> Callable[[], str]:
    """Function that creates a PostgreSQL database with the current schema, and returns its URL."""
    return lambda: postgresql.create(template=postgresql_template)


@pytest.fixture
def postgresql_url(postgresql: PostgresqlServer, new_postgresql_url: Callable[[], str]) -> Iterator[str]:
    """URL of a new PostgreSQL database with the current schema, dropped after the test."""
    url = new_postgresql_url()
    yield url
    postgresql.drop(url.rsplit("/", 1)[1])


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a new database with the current schema: once "" (SQLite in the test's folder), once on PostgreSQL."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / SQLITE_FILE)
        return ""
    return str(request.getfixturevalue("postgresql_url"))


@pytest.fixture
def database(database_url: str, run: Run[Any], tmp_path: Path) -> Iterator[Database]:
    """An open database, once on each engine."""
    opened = run(open_database(tmp_path, database_url))
    yield opened
    run(opened.close())

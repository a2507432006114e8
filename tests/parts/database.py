"""An open database on each engine with the current schema, and a way to run coroutines."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from tests.parts.postgresql import PostgresqlServer

from hythe.database import Database, open_database
from hythe.database.migration import upgrade
from hythe.database.sqlite import SQLITE_FILE

T = TypeVar("T")

Run = Callable[[Coroutine[Any, Any, T]], T]

TEMPLATE = "hythe_template"


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
    asyncio.run(upgrade(folder))
    return folder / SQLITE_FILE


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a new database with the current schema: once "" (SQLite in the test's folder), once on PostgreSQL."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / SQLITE_FILE)
        yield ""
        return
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    url = server.create(template=request.getfixturevalue("postgresql_template"))
    yield url
    server.drop(url.rsplit("/", 1)[1])


@pytest.fixture
def database(database_url: str, run: Run[Any], tmp_path: Path) -> Iterator[Database]:
    """An open database, once on each engine."""
    opened = run(open_database(tmp_path, database_url))
    yield opened
    run(opened.close())

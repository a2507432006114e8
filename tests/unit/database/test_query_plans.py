"""Every statement of every store finds its rows by an index, with bound parameters, on both engines.

The statements are the variables of the ``sql`` modules, and what their functions build when they are called. What reads
more than it returns is in ACCEPTED, with the reason.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import ColumnElement, event
from tests.parts import store_calls
from tests.parts.large_database import APPLIED_TEAM, DELETED_TEAM, KEY, PRIVATE_KEY, TEXT, TIME, fill
from tests.parts.postgresql import PostgresqlServer
from tests.unit.database.accepted_plans import ACCEPTED
from tests.unit.database.query_plans import (
    RecordedSession,
    Recorder,
    Statement,
    compiled,
    postgresql_findings,
    sqlite_findings,
)

from hythe.database import Session
from hythe.database.port import Dialect
from hythe.database.postgresql import PostgreSQLSession, connect, postgresql_statements
from hythe.database.postgresql_pool import HeldConnection, PostgreSQLPool
from hythe.database.sqlite import SQLITE_FILE, SQLiteSession, sqlite_engine
from hythe.database.sqlite_statements import sqlite_statements
from hythe.database.tables.builds import builds
from hythe.database.tables.hub import reserved_names
from hythe.hub.access.access_context import Reader
from hythe.hub.page import Paging, Position
from hythe.hub.search.search_query import SearchQuery
from hythe.hub.sql.search_postings import INTERNAL_AUDIENCE, PUBLIC_AUDIENCE, Audience, Lead, Reach, SearchPlan
from hythe.replication.sql.second_site import SiteRows
from hythe.transparency.tiles import Tile

ROWS = 5000
"""Rows of each table."""

LARGER = 20
"""PostgreSQL counts a page that it reads in sequence as this many: as if each table had 100,000 rows."""

OF_ONE_ENGINE: dict[Dialect, tuple[str, ...]] = {
    "sqlite": (),
    "postgresql": (
        "registry.sql.blobs._LOCK",
        "registry.sql.blobs._LOCK_DIGESTS",
        "registry.sql.uploads._ADD_WITHIN",
        "registry.sql.uploads._CLAIM_HELD",
        "registry.sql.uploads._CLAIM_WITHIN",
        "registry.sql.usage._LOCKED_USAGE",
    ),
}
"""The beginnings of the names of statements that only one engine runs."""

KEYWORDS: dict[str, dict[str, Any]] = {"builds.sql.forge_webhooks.change": {"problem": TEXT}}
"""Arguments of functions that take columns by their names."""

GIVEN: dict[Any, list[Any]] = {
    Paging: [
        Paging(),
        Paging(page=2),
        *(Paging(cursor=str(Position(back, key))) for back in (True, False) for key in ((TIME, TEXT), (TEXT,), (KEY,))),
    ],
    ColumnElement: [builds.c.id == KEY],
    Reader: [Reader(KEY), Reader()],
    SearchPlan: [
        SearchPlan(),
        SearchPlan((Lead(0, TEXT, (TEXT,), Reach.ALL), Lead(KEY, TEXT, (), Reach.SOME)), terms=(TEXT,)),
    ],
    SearchQuery: [SearchQuery.parse("some words")],
    Tile: [Tile(0, KEY)],
    "hub.sql.tag_log.set_tiles.changed": [{Tile(0, KEY): b"hashes"}],
    "hub.sql.access_context.visible.repositories": [[f"{TEXT}/{TEXT}", "some/other"]],
    "hub.sql.descriptions.save.values": [{"description_html": TEXT}],
    "hub.sql.repositories.index.repository_id": [KEY, PRIVATE_KEY],
    "hub.sql.repositories.add.values": [{"description": TEXT}],
    "hub.sql.repositories.change.values": [{"description": TEXT}],
    "hub.sql.search.popular.searched": [(PUBLIC_AUDIENCE,), (PUBLIC_AUDIENCE, INTERNAL_AUDIENCE, Audience(KEY, TEXT))],
    "hub.sql.search.ranked.searched": [(PUBLIC_AUDIENCE,), (PUBLIC_AUDIENCE, INTERNAL_AUDIENCE, Audience(KEY, TEXT))],
    "hub.sql.search_postings.plan.searched": [(PUBLIC_AUDIENCE, Audience(KEY, TEXT))],
    "hub.sql.team_repositories.step.team_id": [KEY, APPLIED_TEAM, DELETED_TEAM],
    "hub.sql.users.change.values": [{"email": TEXT}],
    "replication.sql.second_site.apply_rows.rows": [SiteRows("", {str(reserved_names.name): [("new", TIME)]})],
}
"""Values of types and parameters that cannot be made from their names."""

Begin = Callable[[], AbstractAsyncContextManager[Session]]


async def call_all(begin: Begin, recorder: Recorder) -> None:
    """Call every function with different arguments, each time in a transaction that is rolled back.

    Some find values that the functions cannot decode, after the statement was recorded.
    """
    for module in store_calls.modules():
        for function in store_calls.functions(module):
            columns = KEYWORDS.get(store_calls.path_of(function), {})
            for arguments in store_calls.argument_lists(function, GIVEN):
                async with begin() as session:
                    with suppress(Exception):
                        own = RecordedSession(session, recorder)
                        await function(own, *arguments.args, **arguments.kwargs, **columns)
                recorder.current = ""


@pytest.fixture(scope="module")
def sqlite_file(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite database with rows in all tables."""
    path = tmp_path_factory.mktemp("large") / SQLITE_FILE
    shutil.copy(sqlite_template, path)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA foreign_keys = OFF")
    for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {trigger}")
    connection.execute("BEGIN")
    for statement in fill("sqlite", ROWS):
        connection.execute(statement)
    connection.execute("COMMIT")
    connection.close()
    return path


@pytest.fixture(scope="module")
def postgresql_database(postgresql: PostgresqlServer, postgresql_template: str) -> Iterator[str]:
    """The URL of a PostgreSQL database with rows in all tables."""
    url = postgresql.create(template=postgresql_template)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")  # no triggers, no foreign keys
        connection.execute("SET default_statistics_target = 10")
        for statement in fill("postgresql", ROWS):
            connection.execute(statement.encode())
        connection.execute("ANALYZE")
    yield url
    postgresql.drop(url.rsplit("/", 1)[1])


@pytest.fixture(scope="module")
def recorders(sqlite_file: Path, postgresql_database: str) -> dict[Dialect, Recorder]:
    """What all functions of all stores run on each engine, and the statements in variables."""
    return {
        "sqlite": _with_variables("sqlite", asyncio.run(_record_sqlite(sqlite_file))),
        "postgresql": _with_variables("postgresql", asyncio.run(_record_postgresql(postgresql_database))),
    }


async def _record_sqlite(path: Path) -> Recorder:
    recorder = _recorder()
    engine = sqlite_engine(path)
    event.listen(engine, "before_cursor_execute", recorder.before_execution)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")

        @asynccontextmanager
        async def begin() -> Any:
            session = SQLiteSession(connection, sqlite_statements())
            session.raw.execute("BEGIN")
            yield session
            if session.raw.in_transaction:
                session.raw.execute("ROLLBACK")

        await call_all(begin, recorder)
    engine.dispose()
    return recorder


async def _record_postgresql(url: str) -> Recorder:
    recorder = _recorder()
    statements = postgresql_statements()
    pool = PostgreSQLPool(partial(connect, url))

    @asynccontextmanager
    async def begin() -> Any:
        held = await RecordedConnection.begun(pool, "BEGIN; SET LOCAL session_replication_role = replica")
        held.recorder = recorder
        yield PostgreSQLSession(held, statements)
        await held.roll_back()
        held.release()

    await call_all(begin, recorder)
    await pool.close()
    return recorder


class RecordedConnection(HeldConnection):
    """A connection of which the recorder notes the statements."""

    recorder: Recorder

    async def fetch(self, text: str, arguments: Sequence[Any]) -> tuple[list[Any], Any]:
        """See HeldConnection.fetch."""
        self.recorder.received(text, arguments)
        return await super().fetch(text, arguments)

    async def fetch_many(self, text: str, arguments: Sequence[Sequence[Any]]) -> None:
        """See HeldConnection.fetch_many."""
        self.recorder.received(text, arguments[0])
        await super().fetch_many(text, arguments)


def _recorder() -> Recorder:
    named = [each for module in store_calls.modules() for each in store_calls.statements(module).items()]
    return Recorder({id(statement): name for name, statement in named})


def _with_variables(dialect: Dialect, recorder: Recorder) -> Recorder:
    others = tuple(name for engine, names in OF_ONE_ENGINE.items() if engine != dialect for name in names)
    # Some functions are for one engine, and were called on the other one.
    recorder.statements = {
        text: statement for text, statement in recorder.statements.items() if not statement.name.startswith(others)
    }
    known = {statement.name for statement in recorder.statements.values()}
    for module in store_calls.modules():
        for name, variable in store_calls.statements(module).items():
            if (
                name not in known
                and not name.startswith(others)
                and (statement := compiled(name, variable, dialect)) is not None
            ):
                recorder.statements[name] = statement
    return recorder


def test_statements_of_sqlite_use_indexes(recorders: dict[Dialect, Recorder], sqlite_file: Path) -> None:
    """No plan scans a table, sorts or counts what it finds, except where that is accepted."""
    connection = sqlite3.connect(sqlite_file)
    found = _findings(recorders["sqlite"], lambda statement: sqlite_findings(connection, statement))
    connection.close()

    assert _unaccepted(found) == {}


def test_statements_of_postgresql_use_indexes(recorders: dict[Dialect, Recorder], postgresql_database: str) -> None:
    """The same for plans that PostgreSQL makes without knowing the parameters."""
    with psycopg.connect(postgresql_database, autocommit=True) as connection:
        connection.execute("SET plan_cache_mode = force_generic_plan")
        connection.execute(f"SET seq_page_cost = {LARGER}".encode())
        found = _findings(recorders["postgresql"], lambda statement: postgresql_findings(connection, statement))

    assert _unaccepted(found) == {}


def test_nothing_is_accepted_in_vain(recorders: dict[Dialect, Recorder]) -> None:
    """Each accepted statement exists."""
    names = {statement.name for recorder in recorders.values() for statement in recorder.statements.values()}

    assert sorted(ACCEPTED.keys() - names) == []


def test_every_statement_is_examined(recorders: dict[Dialect, Recorder]) -> None:
    """Every place where a function runs a statement that it built was reached, on one of the engines."""
    reached = recorders["sqlite"].lines | recorders["postgresql"].lines
    sites = [site for module in store_calls.modules() for site in store_calls.call_sites(module)]

    assert sites
    assert [
        site
        for site in sites
        if not any((site.module, line) in reached for line in range(site.first_line, site.last_line + 1))
    ] == []


def _findings(recorder: Recorder, examine: Callable[[Statement], set[str]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for statement in recorder.statements.values():
        found[statement.name] |= examine(statement)
    return found


def _unaccepted(found: Mapping[str, set[str]]) -> dict[str, list[str]]:
    unaccepted = {name: sorted(what - ACCEPTED.get(name, frozenset())) for name, what in sorted(found.items())}
    return {name: what for name, what in unaccepted.items() if what}

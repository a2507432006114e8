"""The connections to PostgreSQL: prepared statements that become invalid, cancelled requests, and the pool's limits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, LiteralString

import psycopg
import pytest
from sqlalchemy import Select, String, bindparam, column, delete, insert, select, table, text
from tests.parts.database import Run

from hythe.database import Database, InvalidValueError, UnavailableError, postgresql_pool
from hythe.database.tables.hub import namespaces

NAMES = select(namespaces.c.name).where(namespaces.c.kind == bindparam("kind"))
REVISION: Select[str] = select(column("version_num", String)).select_from(table("alembic_version"))
SEVERAL = 5
"""Connections that tests use at once."""

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


def change(url: str, statement: LiteralString) -> None:
    """Change the schema as a newer version does while this one still serves."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


def other_type(url: str) -> None:
    """Change a column's type, so that no prepared statement that returns it can go on."""
    change(url, "ALTER TABLE alembic_version ALTER COLUMN version_num TYPE text")


def more_columns(url: str) -> None:
    """Add a column."""
    change(url, "ALTER TABLE alembic_version ADD COLUMN spare integer")


async def read(database: Database) -> list[str]:
    """Run a prepared statement."""
    async with database.reading() as session:
        return [row.name for row in await session.rows(NAMES, {"kind": "user"})]


async def read_at_once(database: Database, count: int = SEVERAL) -> None:
    """Run it on several connections."""

    async def one() -> None:
        async with database.reading() as session:
            await session.row(text("SELECT pg_sleep(0.05)"))
            await session.row(REVISION)

    await asyncio.gather(*(one() for _ in range(count)))


@pytest.mark.parametrize("alter", [other_type, more_columns])
def test_reads_go_on_after_a_change_of_the_schema(
    database: Database, database_url: str, run: Run[Any], alter: Callable[[str], None]
) -> None:
    """Each connection prepares its statements again."""
    run(read_at_once(database))
    alter(database_url)

    run(read_at_once(database))


def test_a_transaction_during_a_change_of_the_schema(database: Database, database_url: str, run: Run[Any]) -> None:
    """It fails as unavailable, and the next one on any connection succeeds."""

    async def write() -> None:
        async with database.writing() as session:
            await session.row(REVISION)
            await session.run(delete(namespaces).where(namespaces.c.name == "none"))

    run(read_at_once(database))
    other_type(database_url)
    with pytest.raises(UnavailableError, match="temporarily unavailable"):
        run(write())

    async def several() -> None:
        await asyncio.gather(*(write() for _ in range(SEVERAL)))

    run(several())


def test_a_server_that_forgets_prepared_statements(database: Database, run: Run[Any]) -> None:
    """They are prepared again outside a transaction; inside one, it fails as unavailable, and the next one succeeds."""

    async def forget_inside() -> None:
        async with database.writing() as session:
            await session.rows(NAMES, {"kind": "user"})
            await session.run(text("DEALLOCATE ALL"))
            await session.rows(NAMES, {"kind": "user"})

    async def forget() -> None:
        async with database.reading() as session:
            await session.rows(NAMES, {"kind": "user"})
            await session.run(text("DEALLOCATE ALL"))
            await session.rows(NAMES, {"kind": "user"})

    run(forget())
    with pytest.raises(UnavailableError):
        run(forget_inside())
    run(forget())


def test_cancelled_statements_leave_their_connections_usable(database: Database, run: Run[Any]) -> None:
    """More than there are connections: reads and transactions, in the middle of a statement."""

    async def slow_read() -> None:
        async with database.reading() as session:
            await session.row(text("SELECT pg_sleep(60)"))

    async def slow_write() -> None:
        async with database.writing() as session:
            await session.run(insert(namespaces), {"name": "gone", "kind": "user", "user_id": None})
            await session.row(text("SELECT pg_sleep(60)"))

    async def scenario() -> list[str]:
        tasks = [asyncio.create_task(slow_write())]
        tasks += [asyncio.create_task(slow_read()) for _ in range(postgresql_pool.MAX_CONNECTIONS + 5)]
        await asyncio.sleep(0.3)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await read_at_once(database, postgresql_pool.MAX_CONNECTIONS)
        return await read(database)

    assert run(scenario()) == []


def test_a_transaction_whose_statement_failed_does_not_seem_committed(database: Database, run: Run[Any]) -> None:
    """PostgreSQL takes COMMIT and rolls back."""

    async def scenario() -> None:
        async with database.writing() as session:
            with pytest.raises(InvalidValueError, match="division"):
                await session.run(text("SELECT 1 / 0"))

    with pytest.raises(UnavailableError, match="rolled back"):
        run(scenario())


def test_more_requests_than_connections(database: Database, run: Run[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """They wait for one, and fail as unavailable after a time."""

    async def hold(free: asyncio.Event) -> None:
        async with database.reading():
            await free.wait()

    async def scenario() -> None:
        free = asyncio.Event()
        tasks = [asyncio.create_task(hold(free)) for _ in range(2)]
        await asyncio.sleep(0.1)
        with pytest.raises(UnavailableError, match="no connection was free"):
            await read(database)
        waiting = asyncio.create_task(read(database))
        await asyncio.sleep(0)
        free.set()
        await asyncio.gather(waiting, *tasks)

    monkeypatch.setattr(postgresql_pool, "MAX_CONNECTIONS", 2)
    monkeypatch.setattr(postgresql_pool, "WAIT_TIMEOUT", 0.1)
    run(scenario())


def test_old_idle_connections_are_not_used(database: Database, run: Run[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A firewall may have forgotten them."""

    async def backend() -> int:
        async with database.reading() as session:
            row = await session.row(text("SELECT pg_backend_pid()"))
            assert row is not None
            return int(row[0])

    first, second = run(backend()), run(backend())
    monkeypatch.setattr(postgresql_pool, "MAX_IDLE", 0.0)
    third = run(backend())

    assert first == second != third

"""Databases that crash, restart, are full, read-only or damaged: UnavailableError, and it says what to do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from tests.parts.database import Run
from tests.parts.small_disk import small_disk

from hythe.database import Database, InvalidValueError, UnavailableError, open_database, sqlite_file
from hythe.database.liveness import DatabaseLiveness
from hythe.database.port import QueryTimeout
from hythe.database.sqlite import SQLITE_FILE

POSTGRESQL = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


async def read(database: Database, statement: str = "SELECT 1") -> None:
    """Run a statement that reads."""
    async with database.reading() as session:
        await session.rows(text(statement))


async def write(database: Database) -> None:
    """Change a row."""
    async with database.writing() as session:
        await session.run(text("DELETE FROM users WHERE id = 0"))


def end_connections(url: str) -> None:
    """End all other connections of a database, as PostgreSQL does when it restarts."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


async def _idle_then_read(database: Database, end: Callable[[], None]) -> None:
    await read(database)
    end()
    await read(database)


async def _idle_then_write(database: Database, end: Callable[[], None]) -> None:
    await read(database)
    end()
    await write(database)


async def _during_a_statement(database: Database, end: Callable[[], None]) -> None:
    task = asyncio.create_task(read(database, "SELECT pg_sleep(10)"))
    await asyncio.sleep(0.3)
    await asyncio.to_thread(end)
    await task


async def _inside_a_transaction(database: Database, end: Callable[[], None]) -> None:
    async with database.writing() as session:
        await session.run(text("DELETE FROM users WHERE id = 0"))
        await asyncio.to_thread(end)
        await asyncio.sleep(0.1)
        await session.run(text("DELETE FROM users WHERE id = 0"))


async def _before_the_commit(database: Database, end: Callable[[], None]) -> None:
    async with database.writing() as session:
        await session.run(text("DELETE FROM users WHERE id = 0"))
        await asyncio.to_thread(end)
        await asyncio.sleep(0.1)


@POSTGRESQL
@pytest.mark.parametrize("scenario", [_idle_then_read, _idle_then_write])
def test_idle_connections_are_lost(
    scenario: Callable[[Database, Callable[[], None]], Awaitable[None]],
    database: Database,
    database_url: str,
    run: Run[Any],
) -> None:
    """All of them at once, as when PostgreSQL restarts: no request notices."""

    async def lose() -> None:
        await asyncio.gather(*(read(database, "SELECT pg_sleep(0.1)") for _ in range(5)))
        await scenario(database, lambda: end_connections(database_url))

    run(lose())


@POSTGRESQL
@pytest.mark.parametrize("scenario", [_during_a_statement, _inside_a_transaction, _before_the_commit])
def test_a_lost_connection(
    scenario: Callable[[Database, Callable[[], None]], Awaitable[None]],
    database: Database,
    database_url: str,
    run: Run[Any],
) -> None:
    """Wherever it is lost; soon afterwards everything works again."""

    async def lose() -> None:
        await scenario(database, lambda: end_connections(database_url))

    with pytest.raises(UnavailableError):
        run(lose())
    for _ in range(3):
        with suppress(UnavailableError):
            run(read(database))
    run(write(database))


@POSTGRESQL
@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("53100", "the disk of the PostgreSQL server is full"),
        ("53200", ""),
        ("53300", "raise its max_connections"),
        ("57P01", ""),
        ("57P02", ""),
        ("57P03", ""),
        ("40001", ""),
        ("40P01", ""),
        ("25006", "connect to the primary"),
        ("26000", ""),
        ("28000", ""),
        ("28P01", ""),
        ("3D000", ""),
        ("55P03", ""),
        ("58030", ""),
        ("08006", ""),
        ("XX000", ""),
        ("XX001", "damaged data"),
    ],
)
def test_what_postgresql_reports(state: str, said: str, database: Database, run: Run[Any]) -> None:
    """Each with PostgreSQL's own words, and a hint if there is one."""
    statement = f"DO $$ BEGIN RAISE EXCEPTION 'in its own words' USING ERRCODE = '{state}'; END $$"

    with pytest.raises(UnavailableError) as caught:
        run(read(database, statement))

    assert said in str(caught.value)
    assert "in its own words" in str(caught.value)


@POSTGRESQL
def test_errors_of_statements_stay_what_they_are(database: Database, run: Run[Any]) -> None:
    """A mistake in a statement is no outage; a value that no column can store is invalid; a time limit is one."""
    with pytest.raises(Exception, match="nowhere") as caught:
        run(read(database, "SELECT * FROM nowhere"))
    assert not isinstance(caught.value, UnavailableError)
    with pytest.raises(InvalidValueError):
        run(read(database, "SELECT repeat('x', 100)::inet"))
    with pytest.raises(QueryTimeout):
        run(read(database, "DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '57014'; END $$"))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MiB."""
    with small_disk(tmp_path / "disk", 4) as folder:
        yield folder


def fill(folder: Path) -> Path:
    """Fill a disk; return the file that does."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(65536)) or file.write(bytes(512)):
            pass
    return filler


def test_a_disk_that_is_full_at_the_start(disk: Path, run: Run[Any]) -> None:
    """The error names the disk and the file."""
    (disk / "data").mkdir()
    filler = fill(disk)

    with pytest.raises(UnavailableError, match=f"the disk of {disk}/data/{SQLITE_FILE} is full: free space on it"):
        run(open_database(disk / "data"))

    filler.unlink()
    database = run(open_database(disk / "data"))
    run(read(database))
    run(database.close())


def test_a_disk_that_fills_up(disk: Path, run: Run[Any]) -> None:
    """Reads work, writes say why not, clients learn the cause without paths, and space heals it."""
    database = run(open_database(disk))

    async def write_much() -> None:
        async with database.writing() as session:
            await session.run(text("CREATE TABLE IF NOT EXISTS filling (content BLOB)"))
            for _ in range(100):
                await session.run(text("INSERT INTO filling VALUES (zeroblob(100000))"))

    run(read(database))
    filler = fill(disk)
    with pytest.raises(UnavailableError, match=f"the disk of {disk}/{SQLITE_FILE} is full: free space on it") as caught:
        run(write_much())

    assert caught.value.cause == "its disk is full"
    run(read(database))
    filler.unlink()
    run(write(database))
    run(database.close())


@SQLITE
def test_a_damaged_file(database_url: str, run: Run[Any], tmp_path: Path) -> None:
    """At the start, and while the server runs."""
    database = run(open_database(tmp_path))
    file = tmp_path / SQLITE_FILE
    size = file.stat().st_size
    with file.open("r+b") as opened:
        opened.seek(4096)
        opened.write(b"\xff" * (size - 4096))

    with pytest.raises(UnavailableError, match=f"{file} is damaged: restore it from a backup"):
        run(read(database, "SELECT * FROM users"))
    run(database.close())

    file.write_bytes(b"not a database, but long enough to be read as one" * 100)
    with pytest.raises(UnavailableError, match=f"{file} is no SQLite database: restore it from a backup"):
        run(open_database(tmp_path))


@SQLITE
@pytest.mark.parametrize("change", ["deleted", "replaced"])
def test_a_file_that_no_longer_is_the_same(
    run: Run[Any], database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """What SQLite would still commit to it would be lost; and no empty file may take its place, also not later."""
    monkeypatch.setattr(sqlite_file, "LOOK_INTERVAL", 0.0)
    run(read(database))
    file, away = tmp_path / SQLITE_FILE, tmp_path / "away"
    file.rename(away)
    if change == "replaced":
        file.write_bytes(away.read_bytes())
    left = file.read_bytes() if change == "replaced" else None

    async def read_long() -> None:
        async with database.reading_long(1) as session:
            await session.rows(text("SELECT 1"))

    for work in (read(database), write(database), read_long(), DatabaseLiveness(database).require()):
        with pytest.raises(UnavailableError, match=f"was {change} while this server used it: stop the server") as error:
            run(work)
        assert error.value.cause == f"its file was {change}"
    assert (file.read_bytes() if file.exists() else None) == left

    away.replace(file)
    run(write(database))


@SQLITE
def test_no_connection_creates_a_file(run: Run[Any], database: Database, tmp_path: Path) -> None:
    """Not even the first one of what watches and copies the file, which open theirs late."""
    (tmp_path / SQLITE_FILE).rename(tmp_path / "away")

    with pytest.raises(UnavailableError, match="cannot open"):
        run(database.changes.position())

    assert not (tmp_path / SQLITE_FILE).exists()

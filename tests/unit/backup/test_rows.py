"""Rows in the form that backups have: the same for every table on both engines, and unchanged by a move."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.parts.database import Run
from tests.parts.large_database import fill

from hythe.backup.dump import Frames, dumped
from hythe.backup.errors import BackupDamaged
from hythe.backup.rows import RowsDigest, RowSource, TableContent, table_shapes
from hythe.backup.sql.postgresql import postgresql_snapshot
from hythe.backup.sql.sqlite import sqlite_snapshot
from hythe.database.sqlite import SQLITE_FILE

ROWS = 60


def fill_sqlite(path: Path) -> None:
    """Fill every table."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        for statement in fill("sqlite", ROWS):
            connection.execute(statement)


def fill_postgresql(url: str) -> None:
    """Fill every table with the same rows."""
    with psycopg.connect(url) as connection:
        connection.execute("SET session_replication_role = replica")
        for statement in fill("postgresql", ROWS):
            connection.execute(statement)


async def contents(source: RowSource) -> dict[str, TableContent]:
    """The content of each table."""
    found = {}
    for table in table_shapes():
        digest = RowsDigest()
        async for rows in source.rows(table):
            digest.add(rows)
        found[table.name] = digest.content
    return found


def test_both_engines_have_the_same_rows(
    run: Run[Any], sqlite_template: Path, postgresql_url: str, tmp_path: Path
) -> None:
    """Times, booleans, bytes and texts of every column have one form."""
    path = tmp_path / SQLITE_FILE
    shutil.copy(sqlite_template, path)
    fill_sqlite(path)
    fill_postgresql(postgresql_url)

    async def compare() -> tuple[dict[str, TableContent], dict[str, TableContent]]:
        async with sqlite_snapshot(path) as here, postgresql_snapshot(postgresql_url) as there:
            return await contents(here), await contents(there)

    on_sqlite, on_postgresql = run(compare())
    assert {content.rows for content in on_sqlite.values()} == {ROWS}
    assert on_sqlite == on_postgresql


def test_a_snapshot_does_not_change(run: Run[Any], sqlite_template: Path, tmp_path: Path) -> None:
    """What others commit after it was opened is not in it."""
    path = tmp_path / SQLITE_FILE
    shutil.copy(sqlite_template, path)
    (table,) = (table for table in table_shapes() if table.name == "reserved_names")

    async def names() -> tuple[int, int]:
        async with sqlite_snapshot(path) as source:
            with closing(sqlite3.connect(path)) as other, other:
                other.execute("INSERT INTO reserved_names VALUES ('late', '2026-01-01 00:00:00.000000')")
            before = sum([len(rows) async for rows in source.rows(table)])
        async with sqlite_snapshot(path) as source:
            return before, sum([len(rows) async for rows in source.rows(table)])

    assert run(names()) == (0, 1)


def test_a_truncated_dump_is_recognized(run: Run[Any], sqlite_template: Path) -> None:
    """Every end but the right one raises an error."""

    async def whole() -> bytes:
        async with sqlite_snapshot(sqlite_template) as source:
            return b"".join([piece async for piece, _ in dumped(source, table_shapes())])

    async def frames(content: bytes) -> int:
        async def pieces() -> AsyncIterator[bytes]:
            yield content

        found, reader = 0, Frames(pieces())
        while await reader.next() is not None:
            found += 1
        return found

    content = run(whole())
    assert run(frames(content)) >= 3
    for end in (1, 3, 5, len(content) // 2, len(content) - 1):
        with pytest.raises(BackupDamaged):
            run(frames(content[:end]))

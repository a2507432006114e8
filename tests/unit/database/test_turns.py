"""SQLite's statements run on the event loop, but long sequences of them let other tasks run."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select

from hythe.database import open_database
from hythe.database.sqlite import ROWS_AT_ONCE, SQLiteDatabase
from hythe.database.tables.registry import repositories
from hythe.registry.clock import now


def rows(count: int) -> list[dict[str, object]]:
    """Repositories to insert."""
    return [{"name": f"r{number}", "created_at": now()} for number in range(count)]


async def turns_during(database: SQLiteDatabase, statements: int, count: int) -> tuple[int, int]:
    """Insert ``count`` rows, then read ``statements`` times; return the turns of another task, and the rows."""
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    task = asyncio.create_task(other())
    async with database.writing() as session:
        changed = await session.run(insert(repositories), rows(count))
        for _ in range(statements):
            await session.row(select(func.count()).select_from(repositories))
        during = turns
    task.cancel()
    return during, changed


@pytest.mark.parametrize(("statements", "count"), [(0, 30 * ROWS_AT_ONCE), (3000, 1), (1000, 2000)])
def test_others_run_in_between(tmp_path: Path, statements: int, count: int) -> None:
    """Neither many rows nor many statements keep the loop to themselves, and all rows are inserted."""

    async def work() -> tuple[int, int]:
        database = await open_database(tmp_path, "")
        try:
            assert isinstance(database, SQLiteDatabase)
            return await turns_during(database, statements, count)
        finally:
            await database.close()

    turns, changed = asyncio.run(work())
    assert turns > 2
    assert changed == count

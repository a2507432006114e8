"""Commits of SQLite that survive a power cut: what waits, what shares, and what happens when the disk refuses."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from sqlalchemy import bindparam, insert, select

from hythe.database import Database, UnavailableError, open_database
from hythe.database.sqlite import SQLiteDatabase
from hythe.database.syncing import COMMITS_BETWEEN_CHECKPOINTS
from hythe.database.tables.hub import namespaces

ADD = insert(namespaces)
COUNT = select(namespaces.c.id).where(namespaces.c.kind == bindparam("kind"))


async def add(database: Database, name: str, *, durable: bool = True) -> None:
    """One transaction."""
    async with database.writing(durable=durable) as session:
        await session.run(ADD, {"name": name, "kind": "user", "user_id": None})


async def count(database: Database) -> int:
    """How many there are."""
    async with database.reading() as session:
        return len(await session.rows(COUNT, {"kind": "user"}))


def test_the_log_is_copied_now_and_then(tmp_path: Path) -> None:
    """However many commits there are, the log does not grow beyond what lies between two copies."""

    async def scenario() -> tuple[int, int]:
        database = await open_database(tmp_path)
        for number in range(COMMITS_BETWEEN_CHECKPOINTS):
            await add(database, f"a{number}", durable=False)
        first = (tmp_path / "hythe.db-wal").stat().st_size
        for number in range(3 * COMMITS_BETWEEN_CHECKPOINTS):
            await add(database, f"b{number}", durable=False)
        last = (tmp_path / "hythe.db-wal").stat().st_size
        await database.close()
        return first, last

    first, last = asyncio.run(scenario())

    assert last < 2 * first


def test_a_log_that_cannot_be_synced(tmp_path: Path) -> None:
    """A commit whose sync failed is not acknowledged; the next one brings the whole log to the disk by another way."""

    async def scenario() -> tuple[bool, int]:
        database = await open_database(tmp_path)
        assert isinstance(database, SQLiteDatabase)
        await add(database, "one")
        log = database.log
        kept = log.descriptor
        reader, writer = os.pipe()  # cannot be synced
        log.descriptor = reader
        with pytest.raises(UnavailableError):
            await add(database, "two")
        log.descriptor = kept
        doubtful = log.doubtful
        await add(database, "three")
        for descriptor in (reader, writer):
            os.close(descriptor)
        found = await count(database)
        assert not log.doubtful
        await database.close()
        return doubtful, found

    assert asyncio.run(scenario()) == (True, 3)

"""Reads that use the connection of a transaction."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from tests.parts.database import Run

from hythe.database import Database, reads_in
from hythe.registry.sql import repositories


def test_only_reads_of_the_task_join(database: Database, run: Run[Any]) -> None:
    """They see what the transaction has written, until the block ends; SQLite, and tasks that it starts, do not."""

    async def seen() -> bool:
        async with database.reading() as session:
            return await repositories.find(session, "a/b") is not None

    async def scenario() -> list[bool]:
        async with database.writing() as session:
            await repositories.create(session, "a/b", datetime.now(UTC))
            with reads_in(session):
                inside, twice = await seen(), await seen()
                task = await asyncio.create_task(seen())
            found = [inside, twice, task, await seen()]
        return [*found, await seen()]

    joins = database.dialect == "postgresql"
    assert run(scenario()) == [joins, joins, False, False, True]

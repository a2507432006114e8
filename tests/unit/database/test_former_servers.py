"""What servers of a former version write, while they run beside new ones during an upgrade."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from tests.parts.database import migrate_to

from hythe.database.sqlite import SQLITE_FILE

Work = Callable[[Connection], None]

NOW = datetime(2026, 1, 1)  # as SQLite stores times

_ADD = text(
    "INSERT INTO audit_entries (at, actor, credential, address, action, namespace, target, detail) "
    "VALUES (:at, 'ann', 'session', '192.0.2.1', 'tag.move', :namespace, :target, '{}')"
)
_READ = text("SELECT target, subject, namespace_id, actor FROM audit_entries ORDER BY id")


@pytest.fixture(params=["sqlite", "postgresql"])
def transaction(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Work], None]:
    """Runs work in a transaction on an empty database of each engine."""
    if request.param == "sqlite":
        engine = create_engine(f"sqlite:///{tmp_path / SQLITE_FILE}")

        def on_sqlite(work: Work) -> None:
            with engine.begin() as connection:
                work(connection)

        return on_sqlite
    url = request.getfixturevalue("empty_postgresql_url").replace("postgresql://", "postgresql+asyncpg://")

    async def on_postgresql(work: Work) -> None:
        engine = create_async_engine(url)
        async with engine.begin() as connection:
            await connection.run_sync(work)
        await engine.dispose()

    return lambda work: asyncio.run(on_postgresql(work))


def test_entries_of_the_audit_log_are_completed(transaction: Callable[[Work], None]) -> None:
    """Those of before the upgrade and of after it; then no one can change them."""
    at: Any = None

    def add(connection: Connection) -> None:
        for namespace, target in (("ann", "ann/app:1.0"), ("ann", "ann/app@sha256:aa"), ("gone", "gone/app#7")):
            connection.execute(_ADD, {"at": at, "namespace": namespace, "target": target})

    def begin(connection: Connection) -> None:
        nonlocal at
        at = NOW if connection.dialect.name == "sqlite" else NOW.replace(tzinfo=UTC)
        migrate_to(connection, "0028")
        connection.execute(text("INSERT INTO namespaces (id, name, kind) VALUES (7, 'ann', 'curated')"))
        add(connection)

    def check(connection: Connection) -> None:
        add(connection)
        written = [
            ("ann/app:1.0", "ann/app", 7, "ann"),
            ("ann/app@sha256:aa", "ann/app", 7, "ann"),
            ("gone/app#7", "gone/app", None, "ann"),
        ]
        assert [tuple(row) for row in connection.execute(_READ)] == written * 2

    def change(connection: Connection) -> None:
        connection.execute(text("UPDATE audit_entries SET subject = 'ann/other', namespace_id = 8"))

    transaction(begin)
    transaction(lambda connection: migrate_to(connection, "0029"))
    transaction(check)
    with pytest.raises(DBAPIError, match="cannot be changed"):
        transaction(change)

"""Webhooks that were made before they belonged to repositories stay."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine
from tests.parts.database import migrate_to

BEFORE, AFTER = "0005", "0006"
NOW = "2026-01-01 00:00:00"
ROWS = (
    f"INSERT INTO repositories (id, name, created_at) VALUES (7, 'alice/app', '{NOW}')",
    "INSERT INTO build_configurations (id, repository_id, account, source_url, forge, forge_repository,"
    " default_branch, active, trigger_token, options, failing, created_at, created_by)"
    f" VALUES (3, 7, 'alice', 'https://git.example/a', 'git', 'a', 'main', true, '', '{{}}', false, '{NOW}', 'alice')",
    "INSERT INTO builds (id, configuration_id, number, account, concurrency_key, status, source_type, source_name,"
    ' "commit", message, author, cause, started_by, rule, rule_id, tags, trusted, created_at, fence, key_digest,'
    " worker, cancelled_by, reason, steps, digest, result, log_size)"
    " VALUES (11, 3, 1, 'alice', 'k', 'succeeded', 'branch', 'main', '', '', '', 'push', 'alice', '{}', 1, '[]', true,"
    f" '{NOW}', 1, '', '', '', '', '[]', '', '{{}}', 0)",
    "INSERT INTO webhooks (id, configuration_id, url, secret, events, created_at)"
    f" VALUES (5, 3, 'https://receiver.example', '', 'success', '{NOW}')",
    "INSERT INTO webhook_deliveries (id, webhook_id, build_id, event, body, callback, callback_state, attempts, status,"
    f" outcome, created_at) VALUES ('d', 5, 11, 'success', '{{}}', 'c', '', 1, 200, '200 OK', '{NOW}')",
)


def _migrate(connection: Connection) -> tuple[tuple[object, ...], tuple[object, ...]]:
    migrate_to(connection, BEFORE)
    for row in ROWS:
        connection.execute(text(row.replace(":", r"\:")))
    migrate_to(connection, AFTER)
    webhook = connection.execute(text("SELECT id, repository_id, url FROM webhooks")).one()
    delivery = connection.execute(text("SELECT id, webhook_id, event_id, outcome FROM webhook_deliveries")).one()
    return tuple(webhook), tuple(delivery)


EXPECTED = ((5, 7, "https://receiver.example"), ("d", 5, "11", "200 OK"))


def test_webhooks_and_deliveries_survive_on_sqlite(tmp_path: Path) -> None:
    """The webhook keeps its id and gets the repository of its build configuration; its delivery stays."""
    engine = create_engine(f"sqlite:///{tmp_path / 'hub.db'}", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys = ON")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        assert _migrate(connection) == EXPECTED


@pytest.mark.postgresql
def test_webhooks_and_deliveries_survive_on_postgresql(empty_postgresql_url: str) -> None:
    """The same on PostgreSQL."""

    async def migrate() -> tuple[tuple[object, ...], tuple[object, ...]]:
        engine = create_async_engine(empty_postgresql_url.replace("postgresql://", "postgresql+asyncpg://"))
        async with engine.begin() as connection:
            found = await connection.run_sync(_migrate)
        await engine.dispose()
        return found

    assert asyncio.run(migrate()) == EXPECTED

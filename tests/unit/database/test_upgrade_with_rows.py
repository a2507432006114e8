"""A database of the first development versions (revision 0004) opens with all its rows under the new names."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, inspect, text
from sqlalchemy.ext.asyncio import create_async_engine
from tests.parts.database import migrate_to

from hythe.database import open_database
from hythe.database.migration import upgrade
from hythe.database.sqlite import SQLITE_FILE

NOW = "2026-01-01 00:00:00"

RECENT = [f"{datetime.now(UTC) - timedelta(days=2, seconds=each):%Y-%m-%d %H:%M:%S}" for each in (150, 60)]
"""When a build of 90 seconds started and finished."""

OLD_BUILD: dict[str, object] = (
    {"id": 11, "setup_id": 3, "number": 1, "account": "alice", "lane": "1 main", "status": "succeeded"}
    | {
        "source_type": "branch",
        "source_name": "main",
        '"commit"': "aa",
        "message": "",
        "author": "",
        "cause": "push",
    }
    | {
        "started_by": "alice",
        "rule": "{}",
        "rule_id": 1,
        "tags": "[]",
        "trusted": True,
        "created_at": NOW,
        "fence": 1,
    }
    | {
        "key_digest": "",
        "worker": "",
        "cancelled_by": "",
        "reason": "",
        "steps": "[]",
        "digest": "",
        "result": "{}",
    }
    | {"log_size": 0}
)
"""A build that was never started, in the names of revision 0004."""

OLD_ROWS: tuple[tuple[str, dict[str, object]], ...] = (
    ("repositories", {"id": 7, "name": "alice/app", "created_at": NOW}),
    ("repositories", {"id": 8, "name": "alice/copy", "created_at": NOW}),
    ("blobs", {"digest": "sha256:aa", "size": 100, "stored_at": NOW}),
    ("repository_blobs", {"repository_id": 7, "digest": "sha256:aa", "linked_at": NOW}),
    ("repository_blobs", {"repository_id": 8, "digest": "sha256:aa", "linked_at": NOW}),
    (
        "manifests",
        {"repository_id": 7, "digest": "sha256:bb", "kind": "image", "media_type": "", "artifact_type": ""}
        | {"annotations": "{}", "size": 2, "content": "{}", "pushed_at": NOW, "pushed_by": "alice"},
    ),
    (
        "users",
        {"id": 1, "name": "alice", "email": "alice@example.org", "password_hash": "x", "admin": False}
        | {"default_visibility": "public", "created_at": NOW},
    ),
    (
        "forge_links",
        {"id": 2, "user_id": 1, "kind": "github", "url": "https://github.com", "account_id": "1", "login": "octo"}
        | {"scopes": "repo", "oauth": False, "token": "sealed", "trouble": "token revoked", "created_at": NOW},
    ),
    (
        "build_setups",
        {"id": 3, "repository_id": 7, "account": "alice", "source_url": "https://git.example/a", "forge": "github"}
        | {"forge_repository": "octo/a", "default_branch": "main", "link_id": 2, "active": True, "trigger_token": ""}
        | {"options": "{}", "failing": False, "created_at": NOW, "created_by": "alice"},
    ),
    ("build_bases", {"setup_id": 3, "reference": "debian:12", "digest": "sha256:aa", "checked_at": NOW}),
    ("builds", OLD_BUILD),
    ("builds", OLD_BUILD | {"id": 12, "number": 2, "started_at": RECENT[0], "finished_at": RECENT[1]}),
    ("builds", OLD_BUILD | {"id": 13, "number": 3, "started_at": NOW, "finished_at": NOW}),
    (
        "forge_hooks",
        {"id": "hook", "setup_id": 3, "link_id": 2, "forge_repository": "octo/a", "hub_url": "https://hub.example"}
        | {"secret": "sealed", "hook_id": "17", "public_key": "", "key_id": "18", "trouble": "", "attempts": 0}
        | {"created_at": NOW},
    ),
    ("forge_heads", {"hook_id": "hook", "ref": "branch/main", "head": "aa", "seen": "[]"}),
    ("build_secrets", {"setup_id": 3, "name": "TOKEN", "sealed": "sealed"}),
    ("build_calls", {"id": 4, "setup_id": 3, "at": NOW, "address": "192.0.2.1", "outcome": "1 build"}),
    (
        "build_notices",
        {"id": 5, "setup_id": 3, "url": "https://receiver.example", "secret": "", "events": "success"}
        | {"created_at": NOW},
    ),
)
"""Rows in the names of revision 0004: table -> values by column."""

NEW_ROWS = {
    "SELECT problem FROM linked_accounts WHERE id = 2": "token revoked",
    "SELECT linked_account_id FROM build_configurations WHERE repository_id = 7": 2,
    "SELECT sealed FROM build_secrets WHERE configuration_id = 3": "sealed",
    "SELECT repository_id FROM webhooks WHERE url = 'https://receiver.example'": 7,
    "SELECT count(*) FROM build_trigger_calls WHERE configuration_id = 3": 1,
    "SELECT digest FROM build_base_images WHERE configuration_id = 3": "sha256:aa",
    "SELECT min(concurrency_key) FROM builds WHERE configuration_id = 3": "1 main",
    "SELECT sum(seconds) FROM build_usage WHERE account = 'alice'": 90,
    "SELECT remote_webhook_id FROM forge_webhooks WHERE configuration_id = 3": "17",
    "SELECT ref FROM forge_refs WHERE forge_webhook_id = 'hook'": "branch/main",
    "SELECT bytes FROM namespace_usage WHERE namespace = 'alice'": 102,
    "SELECT repositories FROM namespace_usage WHERE namespace = 'alice'": 2,
    "SELECT repositories FROM namespace_blobs WHERE namespace = 'alice' AND digest = 'sha256:aa'": 2,
    "SELECT storage_limit FROM users WHERE id = 1": None,
    "SELECT upload_limit FROM users WHERE id = 1": 100,
}
"""Queries in the new names and their results."""

OLD_NAMES = (
    "setup",
    "notice",
    "forge_link",
    "build_call",
    "build_bases",
    "forge_hook",
    "forge_head",
    "lane",
    "trouble",
)


def _fill(connection: Connection) -> None:
    migrate_to(connection, "0004")
    for table, row in OLD_ROWS:
        columns = ", ".join(row)
        quoted = ", ".join(_literal(value) for value in row.values())
        connection.execute(text(f"INSERT INTO {table} ({columns}) VALUES ({quoted})".replace(":", r"\:")))


def _literal(value: object) -> str:
    return f"'{value}'" if isinstance(value, str) else str(value).lower()


def _found(connection: Connection) -> dict[str, object]:
    return {query: connection.execute(text(query)).scalar() for query in NEW_ROWS}


def _names(connection: Connection) -> set[str]:
    """Return the names of all tables, columns, indexes and constraints."""
    inspector = inspect(connection)
    names: set[str] = set()
    for table in inspector.get_table_names():
        names |= {table, *(column["name"] for column in inspector.get_columns(table))}
        described = [inspector.get_pk_constraint(table), *inspector.get_foreign_keys(table)]
        described += [*inspector.get_indexes(table), *inspector.get_unique_constraints(table)]
        names |= {str(each["name"]) for each in described if each.get("name")}
    return names


def test_sqlite_keeps_all_rows(tmp_path: Path) -> None:
    """Opening the data folder upgrades it: rows are found under the new names, and the file is intact."""
    engine = create_engine(f"sqlite:///{tmp_path / SQLITE_FILE}", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        _fill(connection)

    async def open_and_close() -> None:
        await (await open_database(tmp_path)).close()

    asyncio.run(open_and_close())

    with engine.connect() as connection:
        assert _found(connection) == NEW_ROWS
        assert {name for name in _names(connection) for old in OLD_NAMES if old in name} == set()
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
        assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []


@pytest.mark.postgresql
def test_postgresql_keeps_all_rows(empty_postgresql_url: str) -> None:
    """The same on PostgreSQL."""

    async def migrate() -> tuple[dict[str, object], set[str]]:
        engine = create_async_engine(empty_postgresql_url.replace("postgresql://", "postgresql+asyncpg://"))
        async with engine.begin() as connection:
            await connection.run_sync(_fill)
        await upgrade(Path("unused"), empty_postgresql_url)
        async with engine.connect() as connection:
            found = await connection.run_sync(_found), await connection.run_sync(_names)
        await engine.dispose()
        return found

    rows, names = asyncio.run(migrate())

    assert rows == NEW_ROWS
    assert {name for name in names for old in OLD_NAMES if old in name} == set()

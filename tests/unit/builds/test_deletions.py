"""Deleted repositories and build configurations stop at once; their builds, logs and webhooks go in small steps."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock

import pytest
from sqlalchemy import func, insert, literal, select
from tests.parts.database import Run
from tests.unit.builds.test_queue import QUICK, Bench, lease_of

from hythe.builds.configuration import BuildConfiguration
from hythe.builds.errors import LeaseLost
from hythe.builds.queue import ClaimedBuild
from hythe.builds.registry_listener import BuildRegistryListener
from hythe.builds.sql import configurations as configuration_rows
from hythe.builds.sql import deletions as rows
from hythe.builds.sql import forge_webhooks, logs
from hythe.builds.sql.forge_webhooks import ForgeWebhook
from hythe.database import Database
from hythe.database.tables.builds import build_configurations, build_log, build_rules, builds
from hythe.database.tables.notifications import webhook_deliveries, webhooks
from hythe.database.tables.registry import repositories
from hythe.hub.actor import HubActor
from hythe.notifications.event import EventKind
from hythe.notifications.outbox import Outbox
from hythe.notifications.registry_listener import NotificationRegistryListener
from hythe.notifications.sql import webhooks as webhook_rows
from hythe.notifications.webhook import NewWebhook
from hythe.registry.anonymous import AnonymousAccess
from hythe.registry.deletions import Deletions
from hythe.registry.policy import Policy
from hythe.registry.repositories import Repositories
from hythe.registry.sql import deletions as registry_deletions
from hythe.worker.protocol import BuildOutcome

TABLES = (builds, build_log, build_rules, build_configurations, webhooks, webhook_deliveries, repositories)
BUILDS, CHUNKS, DELIVERIES = rows.BUILDS_AT_ONCE + 5, rows.CHUNKS_AT_ONCE + 5, webhook_rows.DELIVERIES_AT_ONCE + 5


class Hub:
    """Builds and webhooks over a registry that deletes repositories."""

    def __init__(self, database: Database) -> None:
        self.bench = Bench(database, QUICK)
        self.database = database
        listeners = (
            BuildRegistryListener(self.bench.queue, Mock(), timedelta()),
            NotificationRegistryListener(Outbox("http://hub")),
        )
        policy = Policy(grace=timedelta(hours=1), upload_lifetime=timedelta(hours=1))
        self.deletions = Deletions(database, listeners, policy, lambda: datetime.now(UTC))
        self.repositories = Repositories(
            database, AnonymousAccess(), listeners, self.deletions, lambda: datetime.now(UTC)
        )

    async def fill(self) -> BuildConfiguration:
        """Make a repository with finished builds, a long log, a webhook at a forge and webhooks with deliveries."""
        configuration = await self.bench.set_up("ann/app")
        first = await self._finish(configuration)
        await self._copy(first.build.id, BUILDS - 2)
        finished = await self._finish(configuration)
        async with self.database.writing() as session:
            for number in range(CHUNKS):
                await logs.append(session, finished.build.id, number * 4, b"line")
            webhook_id = await webhook_rows.add(
                session,
                configuration.repository_id,
                NewWebhook(url="http://a.example", events=(EventKind.PUSH,)),
                "",
                datetime.now(UTC),
            )
            delivery = {"event": "push", "body": "{}", "callback_state": "", "attempts": 0, "status": 0, "outcome": ""}
            now = datetime.now(UTC)
            for _ in range(DELIVERIES):
                keys = {name: str(uuid.uuid4()) for name in ("id", "event_id", "callback")}
                values = {**delivery, **keys, "webhook_id": webhook_id, "created_at": now, "due_at": now}
                await session.run(insert(webhook_deliveries).values(values))
            await forge_webhooks.add(session, _forge_webhook(configuration.id), "")
        return configuration

    async def _finish(self, configuration: BuildConfiguration) -> ClaimedBuild:
        await self.bench.push(configuration, f"{0:040}", "main")
        claimed = await self.bench.claim()
        await self.bench.queue.finish(lease_of(claimed), BuildOutcome(status="succeeded"))
        return claimed

    async def _copy(self, build_id: int, count: int) -> None:
        """Add copies of the first build of a configuration with the next numbers."""
        kept = [column for column in builds.c if column.name not in ("id", "number")]
        async with self.database.writing() as session:
            for number in range(2, 2 + count):
                copied = select(literal(number), *kept).where(builds.c.id == build_id)
                await session.run(insert(builds).from_select([builds.c.number, *kept], copied))

    async def counts(self) -> dict[str, int]:
        """Return the number of rows of each table that has any."""
        async with self.database.reading() as session:
            found = {}
            for table in TABLES:
                row = await session.row(select(func.count()).select_from(table))
                assert row is not None
                if row[0]:
                    found[table.name] = int(row[0])
            return found


def _forge_webhook(configuration_id: int) -> ForgeWebhook:
    return ForgeWebhook(
        id="hook",
        configuration_id=configuration_id,
        linked_account_id=None,
        forge_repository="a/b",
        hub_url="http://hub",
        remote_webhook_id="",
        public_key="",
        remote_key_id="",
        problem="",
        attempts=0,
        created_at=datetime.now(UTC),
    )


def test_a_repository_with_builds(database: Database, run: Run[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its builds end with it: no worker goes on, nothing is claimed or sent, and nothing is left in the end."""
    monkeypatch.setattr("hythe.registry.deletions.INLINE_TIME", 0)

    async def scenario() -> dict[str, int]:
        hub = Hub(database)
        configuration = await hub.fill()
        await hub.bench.push(configuration, "1" * 40, "running")
        lease = lease_of(await hub.bench.claim())
        await hub.bench.push(configuration, "2" * 40, "queued")
        await hub.repositories.delete(HubActor("ann"), "ann/app")

        assert (await hub.counts())["builds"] == BUILDS + 2
        assert await hub.bench.queue.claim("worker") is None
        with pytest.raises(LeaseLost):
            await hub.bench.queue.heartbeat(lease)
        async with database.reading() as session:
            assert await configuration_rows.by_repository(session, "ann/app") is None
            assert [hook.id for hook in await forge_webhooks.orphans(session, datetime.now(UTC))] == ["hook"]
            for delivery in await webhook_rows.due(session, datetime.now(UTC), 1):
                assert await webhook_rows.by_id(session, delivery.webhook_id) is None
        again = await hub.bench.set_up("ann/app")
        assert again.id != configuration.id
        await hub.deletions.finish()
        return await hub.counts()

    assert run(scenario()) == {"build_configurations": 1, "build_rules": 1, "repositories": 1}


def test_a_build_configuration_alone(database: Database, run: Run[Any]) -> None:
    """It goes with its builds and leaves its repository, which can have another one at once."""

    async def scenario() -> dict[str, int]:
        hub = Hub(database)
        configuration = await hub.fill()
        async with database.writing() as session:
            deleted_id = await registry_deletions.add_deleted(session, "ann/app", datetime.now(UTC))
            await rows.move(session, configuration.id, deleted_id)
            await rows.stop(session, configuration.id)
            await webhook_rows.move_all(session, configuration.repository_id, deleted_id)
        async with database.reading() as session:
            assert await configuration_rows.by_repository(session, "ann/app") is None
            assert await webhook_rows.of_repository(session, configuration.repository_id) == []
        await hub.deletions.finish()
        return await hub.counts()

    assert run(scenario()) == {"repositories": 1}


def test_steps_are_small(database: Database, run: Run[Any]) -> None:
    """One call deletes a few builds, or a few chunks of logs."""

    async def scenario() -> list[tuple[int, int]]:
        hub = Hub(database)
        configuration = await hub.fill()
        steps = []
        before = await hub.counts()
        async with database.writing() as session:
            while await rows.delete_some(session, configuration.repository_id):
                after = {
                    table.name: (await session.row(select(func.count()).select_from(table)) or [0])[0]
                    for table in (builds, build_log)
                }
                steps.append(tuple(before.get(name, 0) - after[name] for name in ("builds", "build_log")))
                before = {name: int(count) for name, count in after.items()}
        return [(int(each), int(chunks)) for each, chunks in steps]

    steps = run(scenario())

    assert max(each for each, _ in steps) == rows.BUILDS_AT_ONCE
    assert max(chunks for _, chunks in steps) == rows.CHUNKS_AT_ONCE
    assert all(not (each and chunks) for each, chunks in steps)

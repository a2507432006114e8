"""Scheduled builds, on each database."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from tests.parts.database import Run
from tests.unit.builds.test_queue import DONE, QUICK, Bench, lease_of

from hythe.builds.service import make_builds
from hythe.builds.sql import builds as build_rows
from hythe.builds.sql import configurations as configuration_rows
from hythe.builds.sql import forge_deliveries as delivery_rows
from hythe.builds.sql import forge_webhooks as webhook_rows
from hythe.builds.sql.builds import BuildFilter
from hythe.builds.sql.forge_webhooks import ForgeWebhook
from hythe.database import Database
from hythe.forges.source_ref import SourceRef, SourceType
from hythe.hub.service import open_foundation
from hythe.settings import Settings

HOOK = partial(
    ForgeWebhook,
    id="hook",
    linked_account_id=None,
    forge_repository="a/b",
    hub_url="https://hub.example",
    remote_webhook_id="",
    public_key="",
    remote_key_id="",
    problem="",
    attempts=0,
)


def test_a_due_build_is_queued_once(database: Database, run: Run[Any], tmp_path: Path) -> None:
    """Several servers that run the scheduler at the same time queue a due build once."""

    async def queue() -> tuple[int, int]:
        settings = Settings(data=str(tmp_path))
        async with open_foundation(database, settings) as foundation:
            builds = make_builds(foundation, settings)
            bench = Bench(database, QUICK)
            configuration = await bench.set_up("alice/a")
            built = await bench.push(configuration, "1")
            await bench.queue.finish(lease_of(await bench.claim()), DONE)
            now = datetime.now(UTC)
            async with database.writing() as session:
                await configuration_rows.set_due(session, configuration.id, now - timedelta(minutes=1))
            queued = await asyncio.gather(*(builds.scheduler.queue_due(now) for _ in range(4)))
            async with database.reading() as session:
                found = await build_rows.find(session, BuildFilter(repository="alice/a"))
            return sum(queued), len([build for build in found if build.id != built])

    assert run(queue()) == (1, 1)


def test_deleted_branches_are_not_rebuilt(database: Database, run: Run[Any], tmp_path: Path) -> None:
    """Schedules and base images do not build branches that a webhook reported as deleted."""

    async def queue() -> list[str]:
        settings = Settings(data=str(tmp_path))
        async with open_foundation(database, settings) as foundation:
            builds = make_builds(foundation, settings)
            bench = Bench(database, QUICK)
            configuration = await bench.set_up("alice/a")
            for branch in ("main", "gone"):
                await bench.push(configuration, "1", branch)
                await bench.queue.finish(lease_of(await bench.claim()), DONE)
            now = datetime.now(UTC)
            async with database.writing() as session:
                await webhook_rows.add(session, HOOK(configuration_id=configuration.id, created_at=now), "sealed")
                await delivery_rows.set_ref_state(session, "hook", SourceRef(SourceType.BRANCH, "gone"), None)
                await configuration_rows.set_due(session, configuration.id, now - timedelta(minutes=1))
            await builds.scheduler.queue_due(now)
            async with database.reading() as session:
                found = await build_rows.find(session, BuildFilter(repository="alice/a", status="queued"))
            return [build.ref.name for build in found]

    assert run(queue()) == ["main"]

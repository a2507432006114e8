"""Scheduled builds: queues what is due and sets the next time, in one transaction."""

from datetime import UTC, datetime

from hythe.builds.build import Cause
from hythe.builds.builds import BuildRequest, BuildService
from hythe.builds.queue import BuildQueue
from hythe.builds.sql import configurations as configuration_rows
from hythe.builds.triggers.schedule import next_due
from hythe.database import Database
from hythe.periodic import repeat

POLL_INTERVAL = 20.0


class BuildScheduler:
    """Queues scheduled builds. Several servers can run it at once: one of them takes each due time."""

    def __init__(self, database: Database, builds: BuildService, queue: BuildQueue) -> None:
        self._database = database
        self._builds = builds
        self._queue = queue

    async def run(self) -> None:
        """Queue due builds until cancelled."""
        await repeat(lambda: self.queue_due(datetime.now(UTC)), POLL_INTERVAL, "scheduled builds")

    async def queue_due(self, now: datetime) -> int:
        """Queue the builds that are due; return how many."""
        async with self._database.reading() as session:
            if not await configuration_rows.due(session, now):
                return 0
        queued = 0
        async with self._database.writing() as session:
            for configuration in await configuration_rows.due(session, now):
                if not await configuration_rows.take_due(
                    session, configuration.id, now, next_due(configuration.options.schedule, now)
                ):
                    continue
                request = BuildRequest(cause=Cause.SCHEDULE, by=f"schedule {configuration.options.schedule}")
                queued += len(await self._builds.rebuild(session, configuration, request))
        self._queue.wake()
        return queued

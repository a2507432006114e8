"""Builds by the clock: what is due is queued, and the next time written down, in one transaction."""

from datetime import UTC, datetime

from hythe.builds.build import Cause
from hythe.builds.builds import BuildRequest, BuildService
from hythe.builds.queue import BuildQueue
from hythe.builds.sql import configurations as configuration_rows
from hythe.builds.triggers.schedule import next_due
from hythe.database import Database
from hythe.periodic import repeat

PAUSE = 20.0


class BuildScheduler:
    """Queues scheduled builds. Several servers may run it at once: each due time is taken by one of them."""

    def __init__(self, database: Database, builds: BuildService, queue: BuildQueue) -> None:
        self._database = database
        self._builds = builds
        self._queue = queue

    async def run(self) -> None:
        """Look from time to time, for ever."""
        await repeat(lambda: self.queue_due(datetime.now(UTC)), PAUSE, "scheduled builds")

    async def queue_due(self, now: datetime) -> int:
        """Queue what is due; returns how many builds that made."""
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
                wanted = BuildRequest(cause=Cause.SCHEDULE, by=f"schedule {configuration.options.schedule}")
                queued += len(await self._builds.rebuild(session, configuration, wanted))
        self._queue.wake()
        return queued

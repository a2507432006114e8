"""Builds by the clock: what is due is queued, and the next time written down, in one transaction."""

import asyncio
from datetime import UTC, datetime

import structlog

from hythe.builds.build import Cause
from hythe.builds.builds import BuildService, Wanted
from hythe.builds.queue import Queue
from hythe.builds.schedule import next_due
from hythe.builds.store import setups as setup_rows
from hythe.database import Database, DatabaseError

PAUSE = 20.0
_LOG = structlog.get_logger()


class Clock:
    """Queues scheduled builds. Several servers may run it at once: each due time is taken by one of them."""

    def __init__(self, database: Database, builds: BuildService, queue: Queue) -> None:
        self._database = database
        self._builds = builds
        self._queue = queue

    async def run(self) -> None:
        """Look from time to time, for ever."""
        while True:
            try:
                await self.look(datetime.now(UTC))
            except DatabaseError as error:
                _LOG.warning("scheduled builds cannot be looked up", error=str(error))
            await asyncio.sleep(PAUSE)

    async def look(self, now: datetime) -> int:
        """Queue what is due; returns how many builds that made."""
        async with self._database.reading() as session:
            if not await setup_rows.due(session, now):
                return 0
        queued = 0
        async with self._database.writing() as session:
            for setup in await setup_rows.due(session, now):
                wanted = Wanted(cause=Cause.SCHEDULE, by=f"schedule {setup.options.schedule}")
                queued += len(await self._builds.rebuild(session, setup, wanted))
                await setup_rows.set_due(session, setup.id, next_due(setup.options.schedule, now))
        self._queue.wake()
        return queued

"""Metrics of the parts that only a hub has: builds, and what waits to be sent."""

from datetime import UTC, datetime

from hythe.builds.build import Build
from hythe.builds.configuration import BuildConfiguration
from hythe.builds.events import BuildListener
from hythe.builds.service import BuildsServices
from hythe.builds.sql.queue_length import queue_length
from hythe.builds.status import BuildStatus
from hythe.database import Session
from hythe.hub.mail.mailer import Mailer
from hythe.hub.sql import overview
from hythe.notifications.sql import webhooks
from hythe.replication.sql import items, rules
from hythe.server.measurements import Measurement
from hythe.server.registry_metrics import measure_storage
from hythe.telemetry import metrics
from hythe.telemetry.metrics import BUILD_SECONDS, BUILD_WAIT_SECONDS, BUILDS_FINISHED


class BuildMetrics(BuildListener):
    """Counts builds, and measures how long they wait and run."""

    async def build_changed(self, session: Session, configuration: BuildConfiguration, build: Build) -> None:
        """See BuildListener."""
        if build.status in (BuildStatus.QUEUED, BuildStatus.RUNNING) or build.finished_at is None:
            return
        result = build.status.value
        BUILDS_FINISHED.add(result)
        if build.started_at is not None:
            BUILD_SECONDS.observe((build.finished_at - build.started_at).total_seconds(), result)
            BUILD_WAIT_SECONDS.observe((build.started_at - build.created_at).total_seconds())


def hub_measurements(builds: BuildsServices, mailer: Mailer) -> tuple[Measurement, ...]:
    """Return the measurements of a hub."""

    async def measure_queues(session: Session) -> None:
        now = datetime.now(UTC)
        length = await queue_length(session)
        metrics.BUILDS_QUEUED.set(length.queued)
        metrics.BUILDS_RUNNING.set(length.running)
        metrics.BUILDS_OLDEST_WAIT.set((now - length.oldest).total_seconds() if length.oldest else 0.0)
        # Without a mail server, messages wait for administrators to read them.
        metrics.MAIL_WAITING.set((await overview.waiting(session, now)).waiting_mail if mailer.configured else 0)
        metrics.WEBHOOKS_WAITING.set(await webhooks.count_waiting(session))

    async def measure_workers(session: Session) -> None:
        counted = await builds.worker_administration.count(session)
        for state, number in counted.items():
            metrics.WORKERS.set(number, state)

    async def measure_replication(session: Session) -> None:
        backlogs = [await items.backlog(session, rule.id) for rule in await rules.listed(session)]
        oldest = min((each.oldest for each in backlogs if each.oldest is not None), default=None)
        metrics.REPLICATION_BEHIND.set(sum(each.items for each in backlogs))
        metrics.REPLICATION_LAG.set((datetime.now(UTC) - oldest).total_seconds() if oldest is not None else 0.0)

    return measure_storage, measure_queues, measure_workers, measure_replication

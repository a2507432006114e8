"""Commit statuses: an outbox reports the results of builds to the forges without delaying the builds."""

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta

from hythe.builds.build import Build
from hythe.builds.configuration import BuildConfiguration
from hythe.builds.events import BuildListener
from hythe.builds.forge_integration.errors import ForgeRequestFailed
from hythe.builds.forge_integration.linked_accounts import LinkedAccountService
from hythe.builds.sql import forge_statuses as rows
from hythe.builds.sql import forge_webhooks as webhook_rows
from hythe.builds.sql.forge_statuses import QueuedStatus, SendResult
from hythe.builds.status import BuildStatus
from hythe.database import Database, Session
from hythe.forges.errors import ForgeUnavailable
from hythe.forges.port import CommitStatus, StatusState
from hythe.hub.accounts.namespaces import short_name
from hythe.hub.errors import HubError
from hythe.periodic import repeat
from hythe.registry.clock import Clock, now

POLL_INTERVAL = 0.5
"""Seconds between two queries of the outbox."""
CLAIM_DURATION = timedelta(minutes=2)
MAX_ATTEMPTS = 10

_STATES = {
    BuildStatus.QUEUED: StatusState.PENDING,
    BuildStatus.RUNNING: StatusState.RUNNING,
    BuildStatus.SUCCEEDED: StatusState.SUCCESS,
    BuildStatus.FAILED: StatusState.FAILURE,
    BuildStatus.CANCELLED: StatusState.CANCELLED,
    BuildStatus.SUPERSEDED: StatusState.CANCELLED,
}


class CommitStatusListener(BuildListener):
    """Enqueues a commit status for each change of a build."""

    def __init__(self, clock: Clock = now) -> None:
        self._clock = clock

    async def build_changed(self, session: Session, configuration: BuildConfiguration, build: Build) -> None:
        """See BuildListener. Needs a known commit, and a webhook that a linked account installed."""
        if not build.ref.commit:
            return
        found = await webhook_rows.by_configuration(session, configuration.id)
        webhook = found[0] if found else None
        if webhook is None or webhook.linked_account_id is None:
            return
        queued = QueuedStatus(
            build_id=build.id,
            linked_account_id=webhook.linked_account_id,
            forge_repository=webhook.forge_repository,
            status=commit_status(build, webhook.hub_url),
            version=1,
            attempts=0,
        )
        await rows.put(session, queued, self._clock())


def commit_status(build: Build, hub_url: str) -> CommitStatus:
    """Return the status of a build's commit."""
    name = short_name(build.repository)
    return CommitStatus(
        commit=build.ref.commit,
        state=_STATES[build.status],
        context=f"hythe/{name}:{build.rule.tags}",
        description=_description(build),
        target_url=f"{hub_url}/{name}/-/builds/{build.number}",
    )


def _description(build: Build) -> str:
    match build.status:
        case BuildStatus.QUEUED:
            return "queued"
        case BuildStatus.RUNNING:
            return "building"
        case BuildStatus.SUCCEEDED:
            return f"built as {', '.join(build.tags)}"
        case _:
            return build.reason or build.status.value


class CommitStatusSender:
    """Sends the statuses in the outbox; several servers can do so at once."""

    def __init__(self, database: Database, linked_accounts: LinkedAccountService, clock: Clock) -> None:
        self._database = database
        self._linked_accounts = linked_accounts
        self._clock = clock

    async def run(self) -> None:
        """Send statuses until cancelled."""
        await repeat(self.send_due, POLL_INTERVAL, "commit statuses")

    async def send_due(self) -> int:
        """Send the due statuses, those of one commit and context in the order of the builds; return their number."""
        async with self._database.reading() as session:
            due = await rows.due(session, self._clock())
        groups: dict[tuple[str, str, str], list[QueuedStatus]] = {}
        for queued in due:
            key = (queued.forge_repository, queued.status.commit, queued.status.context)
            groups.setdefault(key, []).append(queued)
        await asyncio.gather(*map(self._send_in_order, groups.values()))
        return len(due)

    async def _send_in_order(self, group: Iterable[QueuedStatus]) -> None:
        for queued in group:
            await self._claim_and_send(queued)

    async def _claim_and_send(self, queued: QueuedStatus) -> None:
        claimed_at = self._clock()
        async with self._database.writing(durable=False) as session:
            if not await rows.claim(session, queued, claimed_at, claimed_at + CLAIM_DURATION):
                return
        result = await self._send(queued, claimed_at)
        async with self._database.writing(durable=False) as session:
            await rows.settle(session, queued, result, self._clock())

    async def _send(self, queued: QueuedStatus, now: datetime) -> SendResult:
        attempts = queued.attempts + 1
        try:
            async with self._linked_accounts.client_of(queued.linked_account_id) as client:
                await client.set_status(queued.forge_repository, queued.status)
        except HubError as error:
            unavailable = isinstance(error, ForgeRequestFailed) and isinstance(error.cause, ForgeUnavailable)
            retry_at = now + timedelta(seconds=5 * 2**attempts) if unavailable and attempts < MAX_ATTEMPTS else None
            return SendResult(attempts, retry_at, str(error))
        return SendResult(attempts, None, "")

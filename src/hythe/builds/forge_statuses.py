"""Commit statuses: what became of a commit's build is said on the forge, by an outbox that never holds up a build."""

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta

from hythe.builds.build import Build
from hythe.builds.configuration import BuildConfiguration
from hythe.builds.events import BuildListener
from hythe.builds.linked_accounts import LinkedAccounts
from hythe.builds.sql import forge_statuses as rows
from hythe.builds.sql import forge_webhooks as webhook_rows
from hythe.builds.sql.forge_statuses import Outgoing, Sent
from hythe.builds.status import BuildStatus
from hythe.database import Database, Session
from hythe.forges.errors import ForgeAway
from hythe.forges.port import CommitStatus, StatusState
from hythe.hub.errors import HubError
from hythe.hub.namespaces import short_name
from hythe.periodic import repeat
from hythe.registry.clock import Clock, now

PAUSE = 0.5
"""Seconds between two looks into the outbox."""
CLAIMED_FOR = timedelta(minutes=2)
MOST_ATTEMPTS = 10

_STATES = {
    BuildStatus.QUEUED: StatusState.PENDING,
    BuildStatus.RUNNING: StatusState.RUNNING,
    BuildStatus.SUCCEEDED: StatusState.SUCCESS,
    BuildStatus.FAILED: StatusState.FAILURE,
    BuildStatus.CANCELLED: StatusState.CANCELLED,
    BuildStatus.SUPERSEDED: StatusState.CANCELLED,
}


class StatusOutbox(BuildListener):
    """Hears of builds (``builds.events.BuildListener``) and writes down what is to be said of them."""

    def __init__(self, clock: Clock = now) -> None:
        self._clock = clock

    async def build_changed(self, session: Session, configuration: BuildConfiguration, build: Build) -> None:
        """See BuildListener. Only for commits that are known, of set-ups whose webhook a linked account installed."""
        if not build.ref.commit:
            return
        found = await webhook_rows.by_configuration(session, configuration.id)
        hook = found[0] if found else None
        if hook is None or hook.linked_account_id is None:
            return
        outgoing = Outgoing(
            build_id=build.id,
            linked_account_id=hook.linked_account_id,
            forge_repository=hook.forge_repository,
            status=status_of(build, hook.hub_url),
            version=1,
            attempts=0,
        )
        await rows.put(session, outgoing, self._clock())


def status_of(build: Build, hub_url: str) -> CommitStatus:
    """Return what is to be said of a build's commit."""
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
            return "waits in the queue"
        case BuildStatus.RUNNING:
            return "is being built"
        case BuildStatus.SUCCEEDED:
            return f"built as {', '.join(build.tags)}"
        case _:
            return build.reason or build.status.value


class StatusSender:
    """Sends what is in the outbox; several servers may do so at once."""

    def __init__(self, database: Database, links: LinkedAccounts, clock: Clock) -> None:
        self._database = database
        self._links = links
        self._clock = clock

    async def run(self) -> None:
        """Send, for ever."""
        await repeat(self.send_due, PAUSE, "commit statuses")

    async def send_due(self) -> int:
        """Send what is due, about one thing in the order of the builds; returns how many there were."""
        async with self._database.reading() as session:
            due = await rows.due(session, self._clock())
        about: dict[tuple[str, str, str], list[Outgoing]] = {}
        for each in due:
            about.setdefault((each.forge_repository, each.status.commit, each.status.context), []).append(each)
        await asyncio.gather(*map(self._send_all, about.values()))
        return len(due)

    async def _send_all(self, in_order: Iterable[Outgoing]) -> None:
        for each in in_order:
            await self._send(each)

    async def _send(self, outgoing: Outgoing) -> None:
        present = self._clock()
        async with self._database.writing(durable=False) as session:
            if not await rows.claim(session, outgoing, present, present + CLAIMED_FOR):
                return
        sent = await self._tried(outgoing, present)
        async with self._database.writing(durable=False) as session:
            await rows.settle(session, outgoing, sent, self._clock())

    async def _tried(self, outgoing: Outgoing, present: datetime) -> Sent:
        attempts = outgoing.attempts + 1
        try:
            async with self._links.using(outgoing.linked_account_id) as client:
                await client.set_status(outgoing.forge_repository, outgoing.status)
        except ForgeAway as error:
            again = present + timedelta(seconds=5 * 2**attempts) if attempts < MOST_ATTEMPTS else None
            return Sent(attempts, again, str(error))
        except HubError as error:
            return Sent(attempts, None, str(error))
        return Sent(attempts, None, "")

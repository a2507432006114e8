"""Workers as administrators see them: they are recorded when they ask for a build, can drain, and are removed."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta

import msgspec

from hythe.builds.queue import BuildQueue
from hythe.builds.sql import builds as build_rows
from hythe.builds.sql import queue as queue_rows
from hythe.builds.sql import workers as rows
from hythe.builds.sql.builds import BATCH_SIZE
from hythe.builds.sql.queue import LeasedBuild
from hythe.builds.sql.workers import WorkerDescription, WorkerRow
from hythe.database import Database, Session
from hythe.hub.access.actions import HubAction
from hythe.hub.access.decision import HubAccess
from hythe.hub.actor import HubActor
from hythe.hub.errors import NotFound, Refused
from hythe.hub.logs import audit
from hythe.worker.protocol import Claim

RECORD_INTERVAL = timedelta(seconds=60)
"""How often the time is recorded at which a worker was seen."""

CONNECTED = timedelta(seconds=150)
"""A worker that was not seen for this time is not connected: a request for a build takes up to 60 seconds."""

KEPT = timedelta(days=7)
"""After this time without a request a worker is no longer listed."""


class WorkerBuild(msgspec.Struct, frozen=True):
    """A build that a worker runs."""

    id: int
    repository: str
    number: int
    started_at: datetime | None


class ListedWorker(msgspec.Struct, frozen=True, kw_only=True):
    """A worker with its builds.

    ``last_heartbeat`` is when it last asked for a build or reported about one, exact to a minute. A worker that is
    ``draining`` finishes its builds and gets no more. ``version``, ``platform``, ``builder`` and ``isolation`` are
    what it says about itself; ``concurrency`` is how many builds it runs at once.
    """

    id: int
    name: str
    version: str
    platform: str
    builder: str
    isolation: str
    concurrency: int
    address: str
    connected: bool
    draining: bool
    first_seen_at: datetime
    last_heartbeat: datetime
    builds: tuple[WorkerBuild, ...]


class WorkerAdministration:
    """The workers. Every call with an actor raises SignInNeeded or Refused unless an administrator calls.

    All workers have the same token (setting ``worker_token``), and name themselves: draining and removing organize
    work, and keep no one out. A new token does.
    """

    def __init__(self, database: Database, access: HubAccess, queue: BuildQueue, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._access = access
        self._queue = queue
        self._clock = clock

    async def record(self, claim: Claim, address: str) -> None:
        """Record that a worker asked for a build, at most once in RECORD_INTERVAL unless it has changed."""
        worker = WorkerDescription(
            name=claim.worker,
            version=claim.version,
            platform=claim.platform,
            builder=claim.builder,
            isolation=claim.isolation,
            concurrency=claim.concurrency,
            address=address[:64],
        )
        now = self._clock()
        async with self._database.reading() as session:
            known = await rows.named(session, claim.worker)
        if known is not None and known.seen_at > now - RECORD_INTERVAL and _described(known) == worker:
            return
        async with self._database.writing(durable=False) as session:
            await rows.put(session, worker, now)
            if known is None:
                await rows.remove_unseen(session, now - KEPT)

    async def list(self, actor: HubActor) -> tuple[ListedWorker, ...]:
        """Return the workers of the last days with their builds, those seen last first."""
        await self._access.require_hub(actor, HubAction.VIEW_WORKERS)
        async with self._database.reading() as session:
            leased = await queue_rows.leased(session, BATCH_SIZE)
            found = await rows.listed(session)
            running = await _running(session, leased)
        heartbeats = self.heartbeats(leased)
        return tuple(self._listed(worker, heartbeats, running[worker.name]) for worker in found)

    async def count(self, session: Session) -> dict[str, int]:
        """Count the connected workers by their state, for metrics: idle, busy or draining."""
        leased = await queue_rows.leased(session, BATCH_SIZE)
        heartbeats, busy = self.heartbeats(leased), {build.worker for build in leased}
        counted = {"idle": 0, "busy": 0, "draining": 0}
        for worker in await rows.listed(session):
            if self.is_connected(worker, heartbeats):
                counted["draining" if worker.draining else "busy" if worker.name in busy else "idle"] += 1
        return counted

    async def drain(self, actor: HubActor, worker_id: int, *, draining: bool) -> ListedWorker:
        """Give a worker no more builds, or builds again. Raises NotFound."""
        await self._access.require_hub(actor, HubAction.DRAIN_WORKER)
        async with self._database.writing() as session:
            worker = await _found(session, worker_id)
            if worker.draining is not draining:
                await rows.set_draining(session, worker_id, draining=draining)
                detail = {"draining": "yes" if draining else "no"}
                now = self._clock()
                await audit.record(session, actor, HubAction.DRAIN_WORKER, worker.name, at=now, detail=detail)
            leased = await queue_rows.leased(session, BATCH_SIZE)
            running = await _running(session, leased)
            changed = await _found(session, worker_id)
        self._queue.wake()
        return self._listed(changed, self.heartbeats(leased), running[worker.name])

    async def remove(self, actor: HubActor, worker_id: int) -> None:
        """Remove a worker that has stopped from the list. Raises NotFound, Refused if it is connected."""
        await self._access.require_hub(actor, HubAction.REMOVE_WORKER)
        async with self._database.writing() as session:
            worker = await _found(session, worker_id)
            leased = await queue_rows.leased(session, BATCH_SIZE)
            if self.is_connected(worker, self.heartbeats(leased)):
                raise Refused(f"{worker.name} is connected", "let it drain, stop it, and remove it after three minutes")
            await rows.remove(session, worker_id)
            await audit.record(session, actor, HubAction.REMOVE_WORKER, worker.name, at=self._clock())

    def heartbeats(self, leased: Iterable[LeasedBuild]) -> Mapping[str, datetime]:
        """Return when workers last renewed the lease of a build, by their names."""
        lease, latest = timedelta(seconds=self._queue.policy.lease), dict[str, datetime]()
        for build in leased:
            renewed = build.lease_until - lease
            latest[build.worker] = max(renewed, latest.get(build.worker, renewed))
        return latest

    def is_connected(self, worker: WorkerRow, heartbeats: Mapping[str, datetime]) -> bool:
        """Return whether a worker asks for builds, or runs one."""
        return _last_heartbeat(worker, heartbeats) > self._clock() - CONNECTED

    def _listed(
        self, worker: WorkerRow, heartbeats: Mapping[str, datetime], running: tuple[WorkerBuild, ...]
    ) -> ListedWorker:
        return ListedWorker(
            id=worker.id,
            **msgspec.structs.asdict(_described(worker)),
            connected=self.is_connected(worker, heartbeats),
            draining=worker.draining,
            first_seen_at=worker.first_seen_at,
            last_heartbeat=_last_heartbeat(worker, heartbeats),
            builds=running,
        )


async def _found(session: Session, worker_id: int) -> WorkerRow:
    worker = await rows.by_id(session, worker_id)
    if worker is None:
        raise NotFound(f"there is no worker {worker_id}", "'hythe admin workers' lists them")
    return worker


async def _running(session: Session, leased: Iterable[LeasedBuild]) -> defaultdict[str, tuple[WorkerBuild, ...]]:
    found = await build_rows.some(session, [build.build_id for build in leased])
    running = defaultdict[str, tuple[WorkerBuild, ...]](tuple)
    for build in sorted(found.values(), key=lambda each: each.id):
        running[build.worker] += (WorkerBuild(build.id, build.repository, build.number, build.started_at),)
    return running


def _described(worker: WorkerRow) -> WorkerDescription:
    return msgspec.convert(worker, WorkerDescription, from_attributes=True)


def _last_heartbeat(worker: WorkerRow, heartbeats: Mapping[str, datetime]) -> datetime:
    return max(worker.seen_at, heartbeats.get(worker.name, worker.seen_at))

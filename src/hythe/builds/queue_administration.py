"""The queue as administrators see it: the builds of all repositories that run or wait, and why they wait."""

import sys
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import cast

import msgspec

from hythe.builds.build import Build, Cause
from hythe.builds.errors import BuildConflict
from hythe.builds.queue import MAX_AHEAD, BuildQueue
from hythe.builds.sql import builds as build_rows
from hythe.builds.sql import queue as rows
from hythe.builds.sql import workers as worker_rows
from hythe.builds.sql.builds import BATCH_SIZE
from hythe.builds.sql.queue import LeasedBuild, WaitingBuild
from hythe.builds.sql.workers import WorkerRow
from hythe.builds.status import BuildStatus
from hythe.builds.worker_administration import WorkerAdministration
from hythe.database import Database, Session
from hythe.forges.source_ref import SourceRef
from hythe.hub.access.actions import HubAction
from hythe.hub.access.decision import HubAccess
from hythe.hub.actor import HubActor
from hythe.hub.errors import NotFound
from hythe.hub.logs import audit
from hythe.hub.page import Page, Paging, Position


class WaitReason(Enum):
    """Why a build does not run, or not as it should; the values are those of the API."""

    STARTING = "starting"
    NO_WORKER = "no-worker"
    WORKERS_DRAINING = "workers-draining"
    WORKERS_BUSY = "workers-busy"
    ACCOUNT_LIMIT = "account-limit"
    SAME_BRANCH = "same-branch"
    WORKER_LOST = "worker-lost"
    STOPPING = "stopping"

    @property
    def explanation(self) -> str:
        """The reason in a sentence."""
        return _EXPLANATIONS[self]


_EXPLANATIONS = {
    WaitReason.STARTING: "A worker is free: the build starts in a moment.",
    WaitReason.NO_WORKER: "No worker is connected.",
    WaitReason.WORKERS_DRAINING: "Every connected worker is draining.",
    WaitReason.WORKERS_BUSY: "All workers are busy, or start earlier builds first.",
    WaitReason.ACCOUNT_LIMIT: "Its account runs as many builds at once as it may.",
    WaitReason.SAME_BRANCH: "A build of the same rule and branch is running.",
    WaitReason.WORKER_LOST: "Its worker was lost: the next free worker starts it again.",
    WaitReason.STOPPING: "It was cancelled: its worker is stopping it.",
}


class QueuedBuild(msgspec.Struct, frozen=True, kw_only=True):
    """A build that runs or waits.

    ``position`` counts from 1 in the order in which builds should start; null for a running build. ``reason`` says why
    it waits; null for a build that simply runs; ``explanation`` is a sentence for people. ``platforms`` are those of
    its rule; empty: that of its worker.
    """

    id: int
    repository: str
    number: int
    account: str
    status: BuildStatus
    ref: SourceRef
    platforms: tuple[str, ...]
    cause: Cause
    started_by: str
    created_at: datetime
    started_at: datetime | None
    worker: str
    position: int | None
    reason: WaitReason | None
    explanation: str


class QueueAdministration:
    """The queue. Every call raises SignInNeeded or Refused unless an administrator calls.

    Administrators see the names of private repositories here: who operates the hub has to know what its workers do.
    """

    def __init__(
        self,
        database: Database,
        access: HubAccess,
        queue: BuildQueue,
        workers: WorkerAdministration,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._access = access
        self._queue = queue
        self._workers = workers
        self._clock = clock

    async def list(self, actor: HubActor, paging: Paging) -> Page[QueuedBuild]:
        """Return the running builds, oldest first, then the others in the order in which they should start.

        The cost grows with the end of the page; of the others, MAX_AHEAD are listed. Raises Invalid.
        """
        await self._access.require_hub(actor, HubAction.VIEW_BUILD_QUEUE)
        place = Position.parse(paging.cursor, int, int) if paging.cursor else None
        async with self._database.reading() as session:
            leased = await rows.leased(session, BATCH_SIZE)
            count = await rows.count_waiting(session, MAX_AHEAD)
            ordered, start, end = await self._front(session, leased, count, paging, place)
            now = await self._snapshot(session, leased, ordered)
            shown = await build_rows.some(session, now.ids[start:end])
        keys = _keys(leased, ordered)
        behind = keys[start] if start < len(keys) else _BEHIND_ALL
        following = str(Position(False, keys[end - 1])) if start < end < len(leased) + count else ""
        preceding = str(Position(True, behind)) if start and keys else ""
        items = tuple(now.entry(shown[build_id]) for build_id in now.ids[start:end] if build_id in shown)
        return Page(items, len(leased) + count, paging, following, preceding, count < MAX_AHEAD)

    async def _front(
        self, session: Session, leased: Sequence[LeasedBuild], count: int, paging: Paging, place: Position | None
    ) -> tuple[Sequence[WaitingBuild], int, int]:
        """Return the waiting builds up to the end of a page, and where in the list the page begins and ends.

        How many builds have a turn is not known, so more and more turns are read.
        """
        last_turn = min(max(0, _key(place)[0]), MAX_AHEAD) if place else 0
        first = None if place else max(0, paging.offset + paging.page_size - len(leased))
        while True:
            ordered = await rows.waiting(session, last_turn, MAX_AHEAD, first)
            keys = _keys(leased, ordered)
            start, end = _bounds(keys, paging, place)
            if end <= len(keys) or len(ordered) >= count or last_turn >= MAX_AHEAD:
                return ordered, start, min(end, len(keys))
            last_turn = 4 * last_turn + 3

    async def cancel(self, actor: HubActor, build_id: int) -> Build:
        """Cancel a queued build of any repository, or stop a running one.

        Raises NotFound; BuildConflict if it has finished.
        """
        await self._access.require_hub(actor, HubAction.CANCEL_QUEUED_BUILD)
        async with self._database.writing() as session:
            build = await _found(session, build_id)
            if not await self._queue.cancel(session, build, actor.name):
                raise BuildConflict(f"build {build_id} has already finished: {build.status.value}")
            part, now = f"#{build.number}", self._clock()
            await audit.record_repository(session, actor, HubAction.CANCEL_QUEUED_BUILD, build.repository, part, at=now)
            return await _found(session, build_id)

    async def _snapshot(
        self, session: Session, leased: Sequence[LeasedBuild], ordered: Sequence[WaitingBuild]
    ) -> "_Snapshot":
        heartbeats = self._workers.heartbeats(leased)
        connected = [
            worker for worker in await worker_rows.listed(session) if self._workers.is_connected(worker, heartbeats)
        ]
        running = await rows.running_by_account(session)
        reasons = _reasons(leased, ordered, running, self._queue.policy.per_account, connected)
        lost = {build.build_id: WaitReason.WORKER_LOST for build in leased if build.lease_until < self._clock()}
        ids = [*(build.build_id for build in leased), *(build.build_id for build in ordered)]
        return _Snapshot(ids, {build.build_id: number for number, build in enumerate(ordered, 1)}, reasons | lost)


class _Snapshot(msgspec.Struct, frozen=True):
    """The front of the queue: the ids of its builds in order, the positions of those that wait, and why they do."""

    ids: list[int]
    positions: dict[int, int]
    reasons: dict[int, WaitReason]

    def entry(self, build: Build) -> QueuedBuild:
        reason = WaitReason.STOPPING if build.cancelled_by else self.reasons.get(build.id)
        return QueuedBuild(
            id=build.id,
            repository=build.repository,
            number=build.number,
            account=build.account,
            status=build.status,
            ref=build.ref,
            platforms=build.rule.platforms,
            cause=build.cause,
            started_by=build.started_by,
            created_at=build.created_at,
            started_at=build.started_at,
            worker=build.worker,
            position=self.positions.get(build.id),
            reason=reason,
            explanation=reason.explanation if reason else "",
        )


def _reasons(
    leased: Sequence[LeasedBuild],
    ordered: Sequence[WaitingBuild],
    running: Mapping[str, int],
    per_account: int,
    connected: Sequence[WorkerRow],
) -> dict[int, WaitReason]:
    """Return why each build waits: hand out the free workers in the order of the queue."""
    slots = {worker.name: worker.concurrency for worker in connected if not worker.draining}
    free = sum(slots.values()) - sum(build.worker in slots for build in leased)
    without_worker = WaitReason.WORKERS_BUSY if slots else WaitReason.WORKERS_DRAINING
    if not connected:
        without_worker = WaitReason.NO_WORKER
    keys, taken, reasons = {build.concurrency_key for build in leased}, Counter(running), dict[int, WaitReason]()
    for build in ordered:
        if build.concurrency_key in keys:
            reasons[build.build_id] = WaitReason.SAME_BRANCH
        elif per_account and taken[build.account] >= per_account:
            reasons[build.build_id] = WaitReason.ACCOUNT_LIMIT
        elif free <= 0:
            reasons[build.build_id] = without_worker
        else:
            reasons[build.build_id] = WaitReason.STARTING
            free -= 1
            taken[build.account] += 1
            keys.add(build.concurrency_key)
    return reasons


_BEHIND_ALL = (sys.maxsize, 0)
"""A sort key after those of the list."""


def _keys(leased: Sequence[LeasedBuild], ordered: Sequence[WaitingBuild]) -> list[tuple[int, int]]:
    """Return the sort keys of the list; running builds come before every turn."""
    return [*((-1, build.build_id) for build in leased), *(build.key for build in ordered)]


def _bounds(keys: Sequence[tuple[int, int]], paging: Paging, place: Position | None) -> tuple[int, int]:
    """Return the numbers of builds before a page and up to its end."""
    if place is None:
        return paging.offset, paging.offset + paging.page_size
    if place.backwards:
        end = bisect_left(keys, _key(place))
        return max(0, end - paging.page_size), end
    start = bisect_right(keys, _key(place))
    return start, start + paging.page_size


def _key(place: Position) -> tuple[int, int]:
    return cast("tuple[int, int]", tuple(place.key))


async def _found(session: Session, build_id: int) -> Build:
    build = await build_rows.by_id(session, build_id)
    if build is None:
        raise NotFound(f"there is no build {build_id}", "'hythe admin queue' lists builds")
    return build

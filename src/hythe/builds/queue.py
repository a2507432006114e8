"""The queue: durable, fair between accounts, with leases and fencing.

The queue is the build rows themselves, on SQLite and PostgreSQL. A worker claims a build for ``lease`` seconds and
renews the lease with heartbeats; when a lease expires, the next worker claims the build. Each claim increments the
fence of the row: requests and pushes of a worker with an older fence are refused (LeaseLost).

A job queue such as procrastinate would need a second row that is kept equal to the build row, which has the lease,
fence, concurrency key and account limits anyway; and its workers need the password of the database on every host.
Workers here use HTTP and one token.
"""

import asyncio
import contextlib
import hashlib
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from hythe.builds.build import Build, Cause, QueuePosition
from hythe.builds.configuration import BuildConfiguration
from hythe.builds.errors import LeaseLost
from hythe.builds.events import BuildListener
from hythe.builds.rules import docker_tags
from hythe.builds.sql import builds as build_rows
from hythe.builds.sql import configurations as configuration_rows
from hythe.builds.sql import logs, usage
from hythe.builds.sql import queue as rows
from hythe.builds.sql.builds import NewBuild
from hythe.builds.sql.queue import Candidate, Lease
from hythe.builds.status import BuildStatus
from hythe.database import Database, DatabaseError, Session
from hythe.forges.source_ref import SourceRef
from hythe.wake_ups import WakeUp
from hythe.worker.protocol import BuildOutcome, BuildStep, CheckedOutCommit

POLL_INTERVAL = 1.0
"""Seconds between two checks while a claim waits: another server can have queued a build."""
MAX_REASON_LENGTH = 2000
MAX_AHEAD = 5000
"""How many queued builds are read to compute the position of one; administrators see as many."""


class QueuePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the queue. ``lease`` is in seconds; ``per_account`` limits running builds (0: no limit)."""

    lease: int = 30
    per_account: int = 4
    attempts: int = 3
    supersede_running: bool = False


class ClaimedBuild(msgspec.Struct, frozen=True):
    """A claimed build, and the key that authenticates its worker."""

    build: Build
    key: str


class Arrivals(WakeUp):
    """A build was queued, or another ended: all that wait for a build look again."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: set[asyncio.Event] = set()

    def set_here(self) -> None:
        """Wake everything that waits in this process."""
        for event in self.waiting:
            event.set()


class BuildQueue:
    """Queued and running builds."""

    def __init__(self, database: Database, policy: QueuePolicy, listeners: Sequence[BuildListener] = ()) -> None:
        self._database = database
        self._policy = policy
        self._listeners = listeners
        self.arrivals = Arrivals()
        self.is_closed = False

    @property
    def policy(self) -> QueuePolicy:
        """The settings of the queue."""
        return self._policy

    def apply(self, policy: QueuePolicy) -> None:
        """Take over a changed policy."""
        self._policy = policy

    async def add(self, session: Session, configuration: BuildConfiguration, new: NewBuild) -> int:
        """Queue a build in the caller's transaction; call ``wake`` once it is committed."""
        now = datetime.now(UTC)
        build_id = await build_rows.add(session, new, now)
        if not new.is_old_commit:
            await self._supersede(session, configuration, new, build_id, now)
        await self._notify(session, configuration, build_id)
        return build_id

    async def minutes_problem(self, session: Session, account: str) -> str:
        """Return why an account can start no build, because of its build minutes; empty if it can."""
        return (await usage.of_account(session, account, datetime.now(UTC))).problem

    async def refuse_all(self, session: Session, account: str, reason: str) -> None:
        """Mark the queued builds of an account as failed, in the caller's transaction."""
        for build_id in await rows.refuse(session, account, reason, datetime.now(UTC)):
            await self._notify_by_id(session, build_id)

    async def _supersede(
        self, session: Session, configuration: BuildConfiguration, new: NewBuild, newer: int, now: datetime
    ) -> None:
        for older in await build_rows.supersede(session, new, newer, now):
            await self._notify(session, configuration, older)
        if self._policy.supersede_running:
            for older in await build_rows.running_with_key(session, new.concurrency_key):
                await rows.cancel(session, older, "a newer commit", now)

    def wake(self) -> None:
        """Wake the claims that wait for a build."""
        self.arrivals.set()

    def close(self) -> None:
        """Hand out no more builds from this server, which is stopping, and end the requests that wait for one."""
        self.is_closed = True
        self.arrivals.set_here()

    async def wait_for_work(self, interval: float) -> None:
        """Return once a build is queued or running; check every ``interval`` seconds and when one is queued here."""
        arrival = asyncio.Event()
        self.arrivals.waiting.add(arrival)
        try:
            while not await self._has_work():
                await asyncio.gather(asyncio.wait_for(arrival.wait(), interval), return_exceptions=True)
                arrival.clear()
        finally:
            self.arrivals.waiting.discard(arrival)

    async def _has_work(self) -> bool:
        async with self._database.reading() as session:
            return await rows.has_unfinished(session)

    async def claim(self, worker: str, wait: float = 0) -> ClaimedBuild | None:
        """Return the next build for this worker; None if there is none within ``wait`` seconds."""
        arrival = asyncio.Event()
        self.arrivals.waiting.add(arrival)
        deadline = asyncio.get_running_loop().time() + wait
        try:
            while not self.is_closed:
                arrival.clear()
                claimed = await self._claim(worker)
                left = deadline - asyncio.get_running_loop().time()
                if claimed is not None or left <= 0:
                    return claimed
                with_timeout = asyncio.wait_for(arrival.wait(), min(left, POLL_INTERVAL))
                await asyncio.gather(with_timeout, return_exceptions=True)
            return None
        finally:
            self.arrivals.waiting.discard(arrival)

    async def _claim(self, worker: str) -> ClaimedBuild | None:
        async with self._database.reading() as session:
            found = await self._candidate(session, datetime.now(UTC))
            if found is None:
                return None
            # A draining worker ends builds that cannot start, because all workers may be draining; else it writes
            # nothing, however often it asks.
            if await rows.drains(session, worker) and not await self._problem(session, found):
                return None
        async with self._database.writing() as session:
            await rows.lock_claims(session)
            now = datetime.now(UTC)
            found = await self._candidate(session, now)
            if found is None:
                return None
            if problem := await self._problem(session, found):
                await self._end(session, found, problem, now)
                return None
            if await rows.drains(session, worker):
                return None
            key = secrets.token_urlsafe(32)
            lease = Lease(found.build_id, found.fence + 1, digest_of(key))
            if not await rows.take(session, lease, worker, now, now + timedelta(seconds=self._policy.lease)):
                return None
            build = await self._notify_by_id(session, found.build_id)
        return ClaimedBuild(build, key)

    async def _candidate(self, session: Session, now: datetime) -> Candidate | None:
        return await rows.candidate(session, now, self._policy.per_account, self._policy.attempts)

    async def _problem(self, session: Session, found: Candidate) -> str:
        """Return why a build cannot start, and ends instead: its account has no minutes left, or it was cancelled, or
        its workers were lost too often. Empty if it can start.
        """
        if found.status is BuildStatus.QUEUED:
            return await self.minutes_problem(session, found.account)
        if found.cancelled_by:
            return f"cancelled by {found.cancelled_by}"
        if found.fence >= self._policy.attempts:
            return f"{found.fence} workers were lost during this build: check their logs, then retry"
        return ""

    async def _end(self, session: Session, found: Candidate, reason: str, now: datetime) -> None:
        """End a build that cannot start, and with it every queued build of an account without minutes."""
        if found.status is BuildStatus.QUEUED:
            await self.refuse_all(session, found.account, reason)
            return
        await rows.give_up(session, found.build_id, found.fence, reason, now)
        await self._notify_by_id(session, found.build_id)

    async def heartbeat(self, lease: Lease, steps: tuple[BuildStep, ...] | None = None) -> rows.LeaseState:
        """Renew the lease, and record the steps so far. Raises LeaseLost."""
        async with self._database.reading() as session:
            held = await rows.held(session, lease)
        if held is None:
            raise _lease_lost()
        now = datetime.now(UTC)
        if steps is None and held.lease_until - now > timedelta(seconds=self._policy.lease * 2 / 3):
            return held
        async with self._database.writing(durable=False) as session:
            if not await rows.extend(session, lease, now + timedelta(seconds=self._policy.lease)):
                raise _lease_lost()
            if steps is not None:
                await rows.set_steps(session, lease, steps)
        return held

    async def append_log(self, lease: Lease, offset: int, content: bytes) -> rows.LeaseState:
        """Append to the log; a chunk that would leave a gap is ignored. Raises LeaseLost."""
        async with self._database.writing(durable=False) as session:
            held = await rows.held(session, lease)
            if held is None:
                raise _lease_lost()
            if offset != held.log_size or not content:
                return held
            await logs.append(session, lease.build_id, offset, content)
            await rows.set_log_size(session, lease, offset + len(content))
        return msgspec.structs.replace(held, log_size=offset + len(content))

    async def record_commit(self, lease: Lease, found: CheckedOutCommit) -> tuple[str, ...]:
        """Record the commit of the checkout, return the Docker tags. Raises LeaseLost, InvalidBuildConfiguration."""
        async with self._database.writing() as session:
            if not await rows.set_commit(session, lease, found.commit, found.message[:2000], found.author[:250]):
                raise _lease_lost()
            build = await build_rows.by_id(session, lease.build_id)
            if build is None:
                raise _lease_lost()
            ref = SourceRef(build.ref.type, build.ref.name, found.commit)
            match = build.rule.match(ref)
            tags = docker_tags(build.rule, ref, match, build.created_at) if match else build.tags
            await rows.set_tags(session, lease, tags)
            await self._notify(session, await _configuration_of(session, build), build.id)
        return tags

    async def finish(self, lease: Lease, outcome: BuildOutcome) -> Build:
        """End a build. Raises LeaseLost."""
        async with self._database.writing() as session:
            reason = outcome.reason[:MAX_REASON_LENGTH]
            ended = await rows.finish(
                session, lease, BuildStatus(outcome.status), reason, outcome.digest, outcome.result, datetime.now(UTC)
            )
            if not ended:
                raise _lease_lost()
            build = await self._notify_by_id(session, lease.build_id)
            await self._reproduce(session, build)
        self.wake()
        with contextlib.suppress(DatabaseError):  # the log can be read as it is
            await self._merge_log(lease.build_id)
        return build

    async def _merge_log(self, build_id: int) -> None:
        """Store the log in fewer and larger chunks, and compress them in a thread between two transactions."""
        end = 0
        while True:
            async with self._database.reading() as session:
                part = await logs.part(session, build_id, end)
            if part is None:
                return
            end = part.end
            if len(part.offsets) > 1:
                content = await asyncio.to_thread(part.merged)
                async with self._database.writing(durable=False) as session:
                    await logs.merge(session, build_id, part, content)

    async def _reproduce(self, session: Session, build: Build) -> None:
        """Queue a second build without cache if configured, and record whether it made the same image."""
        if build.reproduces is not None:
            original = await build_rows.by_id(session, build.reproduces)
            if original is not None and build.status is BuildStatus.SUCCEEDED:
                result = msgspec.structs.replace(original.result, reproduced=build.result.reproduced)
                await build_rows.set_reproduced(session, original.id, result)
            return
        configuration = await _configuration_of(session, build)
        if build.status is not BuildStatus.SUCCEEDED or not build.digest or not configuration.options.reproduce:
            return
        if await self.minutes_problem(session, build.account):
            return
        again = NewBuild(
            configuration_id=configuration.id,
            account=build.account,
            ref=build.ref,
            commit=build.commit,
            cause=Cause.REPRODUCE,
            started_by=f"build {build.number}",
            rule=msgspec.structs.replace(build.rule, cache=False),
            tags=build.tags,
            reproduces=build.id,
        )
        await self.add(session, configuration, again)

    async def cancel(self, session: Session, build: Build, by: str) -> bool:
        """Cancel a build in the caller's transaction; return False if it has finished."""
        return await self._cancel(session, build.id, by)

    async def cancel_all(self, session: Session, configuration_id: int, by: str) -> None:
        """Cancel every queued build of a configuration and stop the running ones, in the caller's transaction."""
        for build_id in await rows.unfinished(session, configuration_id):
            await self._cancel(session, build_id, by)

    async def end_all(self, session: Session, configuration_id: int, by: str) -> None:
        """End every build of a configuration that is being deleted; workers that run one lose their lease."""
        for build_id in await rows.end_all(session, configuration_id, by, datetime.now(UTC)):
            await self._notify_by_id(session, build_id)

    async def abandon(self, session: Session, configuration_id: int, by: str) -> None:
        """End every build of a configuration whose repository is being deleted; no one is notified."""
        await rows.end_all(session, configuration_id, by, datetime.now(UTC))

    async def end_account(self, session: Session, account: str, by: str) -> None:
        """End every build of an account; workers that run one lose their lease."""
        for build_id in await rows.end_account(session, account, by, datetime.now(UTC)):
            await self._notify_by_id(session, build_id)

    async def _cancel(self, session: Session, build_id: int, by: str) -> bool:
        was = await rows.cancel(session, build_id, by, datetime.now(UTC))
        if was is BuildStatus.QUEUED:
            await self._notify_by_id(session, build_id)
        return was is not None

    async def position(self, session: Session, build: Build) -> QueuePosition | None:
        """Return the position of a queued build, None if it is not queued."""
        if build.status is not BuildStatus.QUEUED:
            return None
        by_account = await rows.running_by_account(session)
        before = await rows.count_waiting(session, MAX_AHEAD, build.account, build.id)
        turn = by_account.get(build.account, 0) + before
        ahead = [each for each in await rows.waiting(session, turn, MAX_AHEAD) if each.key < (turn, build.id)]
        configurations = {each.configuration_id for each in ahead[-50:]} or {build.configuration_id}
        usual = await build_rows.average_seconds(session, list(configurations))
        if usual is None:
            return QueuePosition(len(ahead), None)
        running = sum(by_account.values())
        seconds = usual * (len(ahead) + (running > 0)) / max(1, running)
        return QueuePosition(len(ahead), datetime.now(UTC) + timedelta(seconds=seconds))

    async def require(self, session: Session, lease: Lease) -> None:
        """Return if the lease is valid, in the transaction that depends on it. Raises LeaseLost."""
        held = await rows.held(session, lease)
        if held is None or held.cancelled_by:
            raise _lease_lost()

    async def _notify_by_id(self, session: Session, build_id: int) -> Build:
        build = await build_rows.by_id(session, build_id)
        if build is None:
            raise _lease_lost()
        await self._notify(session, await _configuration_of(session, build), build_id)
        return build

    async def _notify(self, session: Session, configuration: BuildConfiguration, build_id: int) -> None:
        build = await build_rows.by_id(session, build_id)
        if build is None:
            raise _lease_lost()
        if build.reproduces is not None:
            return
        if build.status in (BuildStatus.SUCCEEDED, BuildStatus.FAILED):
            failing = build.status is BuildStatus.FAILED
            await configuration_rows.set_failing(session, configuration.id, failing=failing)
        for listener in self._listeners:
            await listener.build_changed(session, configuration, build)


def digest_of(key: str) -> str:
    """Return the digest of a worker's key, which is what the database stores."""
    return hashlib.sha256(key.encode()).hexdigest()


async def _configuration_of(session: Session, build: Build) -> BuildConfiguration:
    configuration = await configuration_rows.by_id(session, build.configuration_id)
    if configuration is None:
        raise _lease_lost()
    return configuration


def _lease_lost() -> LeaseLost:
    return LeaseLost("another worker has this build, or it has finished", "stop working on it")

"""Works on what is behind. Any number of servers may do so at once: each item is worked on by one of them.

A server holds an item by a lease, which it extends while it works. If it dies, another one continues when the lease has
ended. What fails is tried again with growing delays, and stays behind until it succeeds.
"""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import msgspec
import structlog

from hythe.database import Database
from hythe.hub.secret_box import SecretLost
from hythe.oci.digest import Digest
from hythe.oci.errors import OCIError
from hythe.periodic import repeat
from hythe.registry.mirror.errors import UpstreamBusy, UpstreamError, UpstreamRejected, UpstreamUnavailable
from hythe.registry.service import RegistryServices
from hythe.registry.storage.port import StorageError
from hythe.replication.comparison import TagBehind, compare, compare_repository
from hythe.replication.copying import CopyProgress, ImageCopy, SidesOfRule, UploadRecord
from hythe.replication.errors import CopyFailed, ReplicationLeaseLost
from hythe.replication.item import (
    WHOLE_REPOSITORY,
    ReplicationBacklog,
    ReplicationItem,
    ReplicationOutcome,
    ReplicationResult,
    retry_delay,
)
from hythe.replication.local_side import LocalSide
from hythe.replication.remotes import RemoteRegistries
from hythe.replication.rule import Direction, ReplicationRule
from hythe.replication.sql import items as item_store
from hythe.replication.sql import results as result_store
from hythe.replication.sql import rules as rule_store

POLL_INTERVAL = 1.0
RUN_INTERVAL = 0.25
"""Seconds between two looks at a rule that the command runs."""

LEASE = timedelta(seconds=10)
"""How long an item stays with a server that died."""

HEARTBEAT = 2.5
"""Seconds after which a lease is extended."""

MAX_TASKS = 8
"""Copies and comparisons that one server runs at once, of all rules."""

BATCH_SIZE = 200
"""Items that a comparison records in one transaction."""

_FAILURES = (UpstreamError, CopyFailed, StorageError, OCIError, SecretLost, OSError)
_PAUSING = (UpstreamUnavailable, UpstreamBusy, UpstreamRejected, SecretLost)
_LOG = structlog.get_logger()


class ReplicationRunner:
    """Compares, copies and deletes."""

    def __init__(
        self,
        database: Database,
        registry: RegistryServices,
        remotes: RemoteRegistries,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._registry = registry
        self._remotes = remotes
        self._clock = clock
        self._tasks: dict[asyncio.Task[None], tuple[int, CopyProgress]] = {}
        self._finished: dict[int, CopyProgress] = {}
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Work on what is behind until cancelled."""
        try:
            await repeat(self.step, POLL_INTERVAL, "replication", self._ended)
        finally:
            await self.close()

    async def close(self) -> None:
        """Stop all work; what is not done stays behind."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._remotes.close()

    async def step(self, only: int | None = None) -> None:
        """Begin what is due, as far as the limits allow; ``only``: the work of one rule."""
        async with self._database.reading() as session:
            rules = await rule_store.listed(session)
        now = self._clock()
        for rule in rules:
            if only not in (None, rule.id) or (rule.paused_until is not None and rule.paused_until > now):
                continue
            if rule.compare_at is not None and rule.compare_at <= now and self._has_room():
                await self._begin_comparison(rule)
            await self._begin_items(rule)

    def progress(self, rule_id: int) -> CopyProgress:
        """Return how far the copies of a rule are that this server began, with those that have ended."""
        found = [progress for known, progress in self._tasks.values() if known == rule_id]
        found.append(self._finished.get(rule_id, CopyProgress()))
        return CopyProgress(sum(each.size for each in found), sum(each.sent for each in found))

    def busy(self, rule_id: int) -> bool:
        """Return whether this server works on a rule."""
        return any(known == rule_id for known, _ in self._tasks.values())

    async def run_rule(self, rule_id: int, report: Callable[[ReplicationBacklog, CopyProgress], None]) -> None:
        """Work on one rule until nothing of it is due, together with servers that do; ``report`` is called often.

        What fails stays behind: see the status of the rule.
        """
        while True:
            self._ended.clear()
            await self.step(rule_id)
            now = self._clock()
            async with self._database.reading() as session:
                rule = await rule_store.by_id(session, rule_id)
                backlog = await item_store.backlog(session, rule_id)
                working = await item_store.running(session, rule_id, now)
                due = await item_store.due(session, rule_id, now, 1)
            report(backlog, self.progress(rule_id))
            if rule is None:
                return
            comparing = bool(rule.compare_lease) or (rule.compare_at is not None and rule.compare_at <= now)
            paused = rule.paused_until is not None and rule.paused_until > now
            if not self.busy(rule_id) and (paused or not (comparing or working or due)):
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), RUN_INTERVAL)

    def _has_room(self) -> bool:
        return len(self._tasks) < MAX_TASKS

    def _start(self, rule: ReplicationRule, progress: CopyProgress, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks[task] = rule.id, progress
        task.add_done_callback(self._forget)

    def _forget(self, task: "asyncio.Task[None]") -> None:
        rule_id, progress = self._tasks.pop(task)
        before = self._finished.get(rule_id, CopyProgress())
        self._finished[rule_id] = CopyProgress(before.size + progress.size, before.sent + progress.sent)
        self._ended.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOG.warning("replication failed", error=f"{type(error).__name__}: {error}")

    async def _begin_comparison(self, rule: ReplicationRule) -> None:
        lease, now = str(uuid.uuid4()), self._clock()
        async with self._database.writing() as session:
            claimed = await rule_store.claim_comparison(session, rule.id, lease, now, now + LEASE)
        if claimed:
            self._start(rule, CopyProgress(), self._compare(rule, lease))

    async def _begin_items(self, rule: ReplicationRule) -> None:
        now = self._clock()
        async with self._database.reading() as session:
            due = await item_store.due(session, rule.id, now, rule.concurrency) if self._has_room() else []
        if not due:
            return
        claimed: list[ReplicationItem] = []
        async with self._database.writing() as session:
            # The lock keeps servers from exceeding the concurrency together.
            if not await rule_store.lock(session, rule.id):
                return
            room = rule.concurrency - await item_store.running(session, rule.id, now)
            for item in due[: min(room, MAX_TASKS - len(self._tasks))] if room > 0 else ():
                held = msgspec.structs.replace(item, lease=str(uuid.uuid4()))
                if await item_store.claim(session, item.id, held.lease, now, now + LEASE):
                    claimed.append(held)
        for item in claimed:
            progress = CopyProgress()
            self._start(rule, progress, self._work(rule, item, progress))

    async def _sides(self, rule: ReplicationRule) -> SidesOfRule:
        return SidesOfRule(rule, LocalSide(self._registry, self._database, rule.name), await self._remotes.of(rule))

    async def _compare(self, rule: ReplicationRule, lease: str) -> None:
        async def keep() -> bool:
            async with self._database.writing(durable=False) as session:
                return await rule_store.keep_comparison(session, rule.id, lease, self._clock() + LEASE)

        began = time.monotonic()
        try:
            found = await _while_held(keep, self._find(rule))
        except ReplicationLeaseLost:
            return
        except _FAILURES as error:
            await self._pause(rule, error, lease)
            return
        now = self._clock()
        next_at = now + timedelta(seconds=rule.interval) if rule.interval else None
        problem = f"{found} behind" if found else ""
        result = ReplicationResult(
            now, "", "", ReplicationOutcome.COMPARED, 0, round(time.monotonic() - began), problem
        )
        async with self._database.writing() as session:
            await rule_store.end_comparison(session, rule.id, lease, now, next_at)
            await rule_store.resume(session, rule.id)
            await result_store.add(session, rule.id, result)

    async def _find(self, rule: ReplicationRule) -> int:
        """Compare both sides, and record what is behind; return how much that is."""
        found, batch = 0, list[TagBehind]()
        async for behind in compare(await self._sides(rule)):
            batch.append(behind)
            found += 1
            if len(batch) == BATCH_SIZE:
                await self._record(rule, batch)
                batch.clear()
        await self._record(rule, batch)
        return found

    async def _record(self, rule: ReplicationRule, found: list[TagBehind]) -> None:
        now = self._clock()
        async with self._database.writing() as session:
            for each in sorted(found, key=lambda behind: (behind.repository, behind.reference)):
                await item_store.add(session, rule.id, each.repository, [each.reference], now, now, each.size)

    async def _work(self, rule: ReplicationRule, item: ReplicationItem, progress: CopyProgress) -> None:
        async def keep() -> bool:
            async with self._database.writing(durable=False) as session:
                return await item_store.keep(session, item, self._clock() + LEASE)

        async def announce(size: int) -> None:
            async with self._database.writing(durable=False) as session:
                await item_store.set_bytes(session, item, size)

        began = time.monotonic()
        try:
            work = self._do(rule, item, progress, announce)
            outcome, problem = await _while_held(keep, work)
        except ReplicationLeaseLost:
            return
        except _FAILURES as error:
            await self._fail(rule, item, error, progress, began)
            return
        except asyncio.CancelledError:
            # The server stops: another one need not wait for the end of the lease.
            async with self._database.writing() as session:
                await item_store.release(session, item, item.attempts, item.problem, self._clock())
            raise
        await self._finish(rule, item, self._result(item, outcome, problem, progress, began))

    async def _do(
        self,
        rule: ReplicationRule,
        item: ReplicationItem,
        progress: CopyProgress,
        announce: Callable[[int], Awaitable[None]],
    ) -> tuple[ReplicationOutcome, str]:
        sides = await self._sides(rule)
        if item.reference == WHOLE_REPOSITORY:
            deleted = rule.direction is Direction.PUSH and not await sides.local.exists(item.repository)
            found = [behind async for behind in compare_repository(sides, item.repository, deleted=deleted)]
            await self._record(rule, found)
            return ReplicationOutcome.COMPARED, f"{len(found)} behind" if found else ""
        uploads = _RecordedUploads(self._database, rule.id, self._clock)
        return await ImageCopy(sides, uploads, progress, announce).run(item.repository, item.reference)

    async def _finish(self, rule: ReplicationRule, item: ReplicationItem, result: ReplicationResult) -> None:
        async with self._database.writing() as session:
            if not await item_store.done(session, item):
                # It changed again since it was claimed.
                await item_store.release(session, item, 0, "", self._clock())
            if result.outcome is not ReplicationOutcome.EQUAL:
                await result_store.add(session, rule.id, result)
            if rule.failures:
                await rule_store.resume(session, rule.id)

    async def _fail(
        self, rule: ReplicationRule, item: ReplicationItem, error: Exception, progress: CopyProgress, began: float
    ) -> None:
        problem = problem_text(error)
        attempts = item.attempts + 1
        # While the other registry fails as a whole, the rule waits, and not each of its items.
        paused = isinstance(error, _PAUSING)
        due_at = self._clock() + timedelta(seconds=0 if paused else retry_delay(attempts))
        async with self._database.writing() as session:
            await item_store.release(session, item, attempts, problem, due_at)
            await result_store.add(
                session, rule.id, self._result(item, ReplicationOutcome.FAILED, problem, progress, began)
            )
        if paused:
            await self._pause(rule, error)

    async def _pause(self, rule: ReplicationRule, error: Exception, lease: str = "") -> None:
        """Let the rule wait: the other registry failed as a whole. With ``lease``, its comparison waits, too."""
        now = self._clock()
        failures = rule.failures + 1
        wait = error.retry_after if isinstance(error, UpstreamBusy) else retry_delay(failures)
        until = now + timedelta(seconds=wait)
        async with self._database.writing() as session:
            await rule_store.pause(session, rule.id, failures, until, problem_text(error)[:1000])
            if lease:
                await rule_store.retry_comparison(session, rule.id, lease, until)
                problem = problem_text(error)
                await result_store.add(
                    session, rule.id, ReplicationResult(now, "", "", ReplicationOutcome.FAILED, 0, 0, problem)
                )

    def _result(
        self, item: ReplicationItem, outcome: ReplicationOutcome, problem: str, progress: CopyProgress, began: float
    ) -> ReplicationResult:
        seconds = round(time.monotonic() - began)
        return ReplicationResult(
            self._clock(), item.repository, item.reference, outcome, progress.sent, seconds, problem
        )


class _RecordedUploads(UploadRecord):
    """Records uploads in the database, so that another server can continue them."""

    def __init__(self, database: Database, rule_id: int, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._rule_id = rule_id
        self._clock = clock

    async def get(self, repository: str, digest: Digest) -> str | None:
        """See UploadRecord."""
        async with self._database.reading() as session:
            return await result_store.upload_of(session, self._rule_id, repository, str(digest))

    async def set(self, repository: str, digest: Digest, upload: str | None) -> None:
        """See UploadRecord."""
        async with self._database.writing(durable=False) as session:
            await result_store.set_upload(session, self._rule_id, repository, str(digest), upload, self._clock())


async def _while_held(keep: Callable[[], Awaitable[bool]], work: Coroutine[Any, Any, Any]) -> Any:
    """Return the result of ``work``, and extend its lease by ``keep``.

    Raises ReplicationLeaseLost if another server has it.
    """
    task = asyncio.create_task(work)
    try:
        while True:
            done, _ = await asyncio.wait([task], timeout=HEARTBEAT)
            if done:
                return task.result()
            if not await keep():
                raise ReplicationLeaseLost
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await task


def problem_text(error: Exception) -> str:
    """Return what failed, with what to do about it where that is known."""
    text = str(error) or type(error).__name__
    if isinstance(error, UpstreamRejected):
        return f"{text.removesuffix(': write https://USER:TOKEN@')} (check the user name and password of the rule)"
    return text

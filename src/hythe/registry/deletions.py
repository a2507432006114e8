"""Deletions: what is deleted disappears at once, in one short transaction; its rows are deleted in small steps.

    Repositories.delete ─ the repository gets a name that no request can have
                            ├─ small: its rows are deleted before the response
                            └─ large: housekeeping deletes them

Each step is a transaction of a few milliseconds, so others wait no longer. Steps survive the death of the process: any
server continues with what is left.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from time import perf_counter

from hythe.database import Database, DatabaseError, Session
from hythe.database.pacing import STEP_SECONDS, StepSize, paced
from hythe.periodic import repeat
from hythe.registry.clock import Clock
from hythe.registry.events import RegistryListener, RepositoryRef
from hythe.registry.garbage_collection import mark_all_unreferenced
from hythe.registry.policy import Policy
from hythe.registry.sql import blobs as blob_store
from hythe.registry.sql import deletions as store
from hythe.registry.sql import repositories as repository_store
from hythe.wake_ups import WakeUp

INLINE_TIME = 0.3
"""Seconds that a deletion takes before its response; housekeeping does the rest."""

PAUSE = 0.025
"""Seconds between two steps, so that the disk is not busy with them when a push waits for it."""

MIN_STEP, MAX_STEP = 20, 400
"""Rows to delete in one statement: as many as take about STEP_SECONDS."""

DEPENDENTS_AT_ONCE = 20
"""Manifests and blobs to mark in one transaction: each can have content of its own."""

INTERVAL = 30.0
"""Seconds between two looks for what other processes left."""

log = logging.getLogger(__name__)


class _Progress:
    """How far the deletion of one repository has come; another process starts again from its first row."""

    def __init__(self, *, only_blobs: bool = False) -> None:
        self.only_blobs = only_blobs
        self.contents = [store.BLOBS] if only_blobs else list(store.CONTENTS)
        self.after = self.contents[0].first
        self.size = StepSize(MAX_STEP)

    def advance(self, last: store.Key | None) -> None:
        """Continue after a key, or with the next table."""
        if last is not None:
            self.after = last
            return
        self.contents.pop(0)
        self.size = StepSize(MAX_STEP)
        if self.contents:
            self.after = self.contents[0].first


class Deletions:
    """Deletes what deleted repositories contained."""

    def __init__(self, database: Database, listeners: Sequence[RegistryListener], policy: Policy, clock: Clock) -> None:
        self._database = database
        self._listeners = listeners
        self._policy = policy
        self._clock = clock
        self.wanted = WakeUp()
        """Set when ``run`` has to continue what a request began."""

    async def begin(self, repository: RepositoryRef) -> None:
        """Delete the rows of a repository that was just deleted, as far as that takes no time; the rest follows."""
        try:
            until = perf_counter() + INLINE_TIME
            if not await self._empty(repository.id, _Progress(), lambda: perf_counter() < until):
                self.wanted.set()
        except DatabaseError:
            log.exception("cannot delete the content of a deleted repository now; will be retried")
            self.wanted.set()

    async def free(self, namespace: str) -> bool:
        """Unlink the blobs of the namespace's deleted repositories; return whether there were such repositories."""
        async with self._database.reading() as session:
            pending = await store.pending_in(session, namespace)
        for repository_id in pending:
            await self._empty(repository_id, _Progress(only_blobs=True))
        return bool(pending)

    async def run(self) -> None:
        """Delete what is left, until cancelled; log failures and retry."""
        await repeat(self.finish, INTERVAL, "deletion of repositories", self.wanted)

    async def finish(self) -> None:
        """Delete everything that is left of deleted repositories, and mark the dependents of deleted manifests."""
        busy: set[int] = set()
        while pending := set(await self._pending()) - busy:
            for repository_id in sorted(pending):
                if not await self._empty(repository_id, _Progress()):
                    busy.add(repository_id)
        async with self._database.reading() as session:
            unmarked = await store.unmarked(session)
        database = paced(self._database)
        for repository_id, manifest in unmarked:
            more = True
            while more:
                more = await self._mark_dependents(database, repository_id, manifest)

    async def _pending(self) -> tuple[int, ...]:
        async with self._database.reading() as session:
            return await store.pending(session)

    async def _empty(
        self, repository_id: int, progress: _Progress, may_continue: Callable[[], bool] = lambda: True
    ) -> bool:
        """Delete the rows of a deleted repository, with pauses; return whether none is left."""
        database = paced(self._database)
        while may_continue():
            outcome = await self._step(database, repository_id, progress)
            if outcome is not None:
                return outcome
            await asyncio.sleep(PAUSE)
        return False

    async def _step(self, database: Database, repository_id: int, progress: _Progress) -> bool | None:
        """Delete some rows in one transaction. Return True after the last ones, False if another server is at work."""
        async with database.writing(durable=False) as session:
            if not await store.lock(session, repository_id):
                return await repository_store.name_of(session, repository_id) is None
            if not await self._delete_content(session, repository_id, progress):
                return None
            if progress.only_blobs:
                return True
            for listener in self._listeners:
                if await listener.delete_some(session, repository_id):
                    return None
            await store.remove(session, repository_id)
            return True

    async def _delete_content(self, session: Session, repository_id: int, progress: _Progress) -> bool:
        """Delete rows for as long as a step may take; return whether none is left."""
        end = perf_counter() + STEP_SECONDS
        free_after = self._clock() + self._policy.grace
        while progress.contents:
            content, size = progress.contents[0], max(MIN_STEP, progress.size.rows)
            with progress.size.measured(size):
                last, count = await content.delete_some(session, repository_id, progress.after, size, free_after)
            progress.advance(last)
            # A full statement is a step. For blobs it has to be: they are locked before the usage of the namespace.
            if perf_counter() > end or count == size:
                return False
        return True

    async def _mark_dependents(self, database: Database, repository_id: int, manifest: str) -> bool:
        """Mark some dependents of a deleted or untagged manifest; return whether there may be more."""
        async with database.writing(durable=False) as session:
            if await repository_store.lock_by_id(session, repository_id) is None:
                return False
            unmarked = await store.dependents_to_mark(session, repository_id, manifest, DEPENDENTS_AT_ONCE)
            if unmarked is None:
                return False
            found, digests = unmarked
            await mark_all_unreferenced(session, repository_id, digests, found.free_after)
            # Some of them may be blobs.
            await blob_store.mark_links(session, repository_id, digests, found.free_after, once=True)
            await store.record_marked(session, found, digests, DEPENDENTS_AT_ONCE)
            return True

"""The dry run of garbage collection: computes what a run would free by reading only, without blocking anyone.

It applies the rule of ``garbage_collection`` to sets: content that is due goes if only content that goes refers to it.
A run marks what depends on deleted content; without a grace period that is due immediately, so it is included here.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime

from hythe.database import Session
from hythe.registry.sql import garbage_collection as garbage_store
from hythe.registry.sql import gc_dry_run as store
from hythe.registry.sql import manifests as manifest_store
from hythe.registry.sql.garbage_collection import DuePosition


class DryRun:
    """Examines one snapshot of a registry: the repositories with due content, and then all due blobs."""

    def __init__(self, session: Session, now: datetime, *, no_grace_period: bool) -> None:
        """``no_grace_period``: unreferenced content is due immediately."""
        self._session = session
        self._now = now
        self._no_grace_period = no_grace_period
        self._unlinked: Counter[str] = Counter()

    async def manifests(self) -> dict[int, list[str]]:
        """Return the manifests that would be deleted from each repository, and record the blobs that would be."""
        manifests = await self._due_content(garbage_store.due_manifests)
        links = await self._due_content(garbage_store.due_links)
        repositories = sorted(manifests.keys() | links.keys())
        return {each: await self._manifests_of(each, manifests[each], links[each]) for each in repositories}

    async def _due_content(self, read: garbage_store.DuePages) -> dict[int, set[str]]:
        """Return all due digests of each repository."""
        due: dict[int, set[str]] = defaultdict(set)
        position = DuePosition()
        while page := await read(self._session, self._now, position):
            position = page[-1].position
            for content in page:
                due[content.repository_id].add(content.digest)
        return due

    async def _manifests_of(self, repository_id: int, due: set[str], due_links: set[str]) -> list[str]:
        deleted: set[str] = set()
        while more := await self._unreferenced(repository_id, due, deleted):
            deleted |= more
            if not self._no_grace_period:
                break
            due = (due | await self._unmarked_dependents(repository_id, more)) - deleted
        await self._unlink(repository_id, deleted, due_links)
        return sorted(deleted)

    async def _unreferenced(self, repository_id: int, due: set[str], deleted: set[str]) -> set[str]:
        """Return which of the due manifests are unreferenced once those in ``deleted`` are deleted."""
        tagged = await store.tagged(self._session, repository_id, due)
        needed: dict[str, set[str]] = defaultdict(set)
        needing: dict[str, set[str]] = defaultdict(set)
        for digest, by in await store.needed_by(self._session, repository_id, due):
            if by not in deleted:
                needed[digest].add(by)
                needing[by].add(digest)
        unreferenced = [digest for digest in due if digest not in tagged and not needed[digest]]
        found: set[str] = set()
        while unreferenced:
            digest = unreferenced.pop()
            found.add(digest)
            for freed in needing[digest]:
                needed[freed].discard(digest)
                if not needed[freed] and freed not in tagged:
                    unreferenced.append(freed)
        return found

    async def _unmarked_dependents(self, repository_id: int, digests: Iterable[str]) -> frozenset[str]:
        dependents = await manifest_store.dependents(self._session, repository_id, digests)
        return await store.unmarked_manifests(self._session, repository_id, dependents)

    async def _unlink(self, repository_id: int, deleted: set[str], due: set[str]) -> None:
        """Count the blobs that the repository would lose."""
        freed: Counter[str] = Counter()
        for blob, uses in await store.uses_by_manifests(self._session, repository_id, deleted):
            freed[blob] += uses
        if self._no_grace_period:
            due = due | await store.unmarked_links(self._session, repository_id, freed)
        uses_of = await store.uses_of_blobs(self._session, repository_id, due)
        self._unlinked.update(blob for blob in due if uses_of.get(blob, 0) == freed[blob])

    async def blobs(self, doomed_before: datetime, stale_before: datetime) -> list[tuple[str, int]]:
        """Return digest and size of the blobs whose content would be deleted, after all repositories were examined.

        Processes that doomed blobs before ``doomed_before`` are assumed dead; uploads last used before ``stale_before``
        have no claims.
        """
        due = set(self._unlinked)
        for read, until in ((garbage_store.due_blobs, self._now), (garbage_store.abandoned, doomed_before)):
            position = DuePosition()
            while page := await read(self._session, until, position):
                position = page[-1]
                due.update(each.digest for each in page)
        found = await store.unclaimed(self._session, sorted(due), doomed_before, stale_before)
        return [(row.digest, row.size) for row in found if row.links == self._unlinked[row.digest]]

"""What a round of the garbage collection would free, found out by reading alone: nobody waits for it.

It is the rule of ``garbage`` on sets: of what is due goes what nothing needs but what goes itself. A round marks what
was there for the sake of what it takes; without a grace period that is due at once, and so it is looked at here, too.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime

from hythe.database import Session
from hythe.registry.sql import gc_dry_run as store
from hythe.registry.sql import manifests as manifest_store


class DryRun:
    """Looks at one moment of a registry, repository by repository and then at all blobs."""

    def __init__(self, session: Session, now: datetime, *, at_once: bool) -> None:
        """``at_once``: there is no grace period."""
        self._session = session
        self._now = now
        self._at_once = at_once
        self._unlinked: Counter[str] = Counter()

    async def manifests(self, repository_id: int) -> list[str]:
        """Return the manifests that would go from a repository, and remember which blobs would."""
        due = await store.due_manifests(self._session, repository_id, self._now)
        gone: set[str] = set()
        while more := await self._unneeded(repository_id, due, gone):
            gone |= more
            if not self._at_once:
                break
            due = (due | await self._unmarked_dependents(repository_id, more)) - gone
        await self._unlink(repository_id, gone)
        return sorted(gone)

    async def _unneeded(self, repository_id: int, due: frozenset[str], gone: set[str]) -> set[str]:
        """Return those of what is due that go, when what is in ``gone`` is no more."""
        tagged = await store.tagged(self._session, repository_id, due)
        needed: dict[str, set[str]] = defaultdict(set)
        needing: dict[str, set[str]] = defaultdict(set)
        for digest, by in await store.needed_by(self._session, repository_id, due):
            if by not in gone:
                needed[digest].add(by)
                needing[by].add(digest)
        unneeded = [digest for digest in due if digest not in tagged and not needed[digest]]
        found: set[str] = set()
        while unneeded:
            digest = unneeded.pop()
            found.add(digest)
            for freed in needing[digest]:
                needed[freed].discard(digest)
                if not needed[freed] and freed not in tagged:
                    unneeded.append(freed)
        return found

    async def _unmarked_dependents(self, repository_id: int, digests: Iterable[str]) -> frozenset[str]:
        dependents = await manifest_store.dependents(self._session, repository_id, digests)
        return await store.unmarked_manifests(self._session, repository_id, dependents)

    async def _unlink(self, repository_id: int, gone: set[str]) -> None:
        """Count the blobs that the repository would have no more."""
        freed: Counter[str] = Counter()
        for blob, uses in await store.uses_by_manifests(self._session, repository_id, gone):
            freed[blob] += uses
        due = await store.due_links(self._session, repository_id, self._now)
        if self._at_once:
            due |= await store.unmarked_links(self._session, repository_id, freed)
        uses_of = await store.uses_of_blobs(self._session, repository_id, due)
        self._unlinked.update(blob for blob in due if uses_of.get(blob, 0) == freed[blob])

    async def blobs(self, doomed_before: datetime, stale_before: datetime) -> list[tuple[str, int]]:
        """Return digest and size of the blobs whose bytes would go, after every repository was looked at.

        Whose remover doomed them before ``doomed_before`` is dead; uploads last touched before ``stale_before``
        claim nothing any more.
        """
        due = await store.due_blobs(self._session, self._now, doomed_before)
        found = await store.unclaimed(self._session, sorted({*due, *self._unlinked}), doomed_before, stale_before)
        return [(row.digest, row.size) for row in found if row.links == self._unlinked[row.digest]]

"""The upstreams' lists of tags: fetched whole, by the upstream's own pages, and cached for clients' pages."""

import logging
from datetime import datetime, timedelta

from hythe.registry.clock import Clock
from hythe.registry.mirror.upstream import UpstreamRegistry

PAGE_SIZE = 1000
"""Tags to request at a time; an upstream may send fewer or all."""

MAX_PAGES = 1000
"""Maximum number of pages of a list."""

MAX_TAGS = 200_000
"""Maximum number of tags of a list, and of all cached lists together."""

LIFETIME = timedelta(seconds=30)
"""How long a list is served without asking the upstream again."""

log = logging.getLogger(__name__)


class TagLists:
    """The recently fetched lists by local repository name, each sorted by its bytes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lists: dict[str, tuple[datetime, tuple[str, ...]]] = {}

    def cached(self, repository: str) -> tuple[str, ...] | None:
        """Return the list that was fetched within ``LIFETIME``, or None."""
        fetched_at, names = self._lists.get(repository, (None, ()))
        return names if fetched_at is not None and self._clock() - fetched_at < LIFETIME else None

    async def fetch(self, repository: str, upstream: UpstreamRegistry, upstream_name: str) -> tuple[str, ...]:
        """Return the upstream's current list. Raises UpstreamError."""
        names: set[str] = set()
        pages = 0
        async for page in upstream.tags(upstream_name, PAGE_SIZE):
            names.update(page)
            pages += 1
            if pages >= MAX_PAGES or len(names) >= MAX_TAGS:
                log.warning("%s: only the first %d tags are listed", repository, len(names))
                break
        result = tuple(sorted(names)[:MAX_TAGS])
        self._keep(repository, result)
        return result

    def forget(self, repository: str) -> None:
        """Drop a list that is known to be outdated."""
        self._lists.pop(repository, None)

    def _keep(self, repository: str, names: tuple[str, ...]) -> None:
        self._lists.pop(repository, None)
        self._lists[repository] = self._clock(), names
        # An empty list takes memory, too.
        while len(self._lists) > 1 and sum(len(kept) + 20 for _, kept in self._lists.values()) > MAX_TAGS:
            del self._lists[next(iter(self._lists))]

"""What upstreams answered to HEAD requests for manifests that are not stored.

containerd and podman send HEAD for a tag and then GET for its digest. The tag of the first is set when the second has
stored the manifest, so that the tag can be pulled while the upstream does not respond.
"""

from datetime import datetime, timedelta
from typing import TypeVar

from hythe.oci.digest import Digest
from hythe.registry.clock import Clock
from hythe.registry.mirror.upstream import ManifestHeaders

REFRESH_INTERVAL = timedelta(seconds=30)
"""How long the upstream is not asked again for the digest of a tag, even if it failed to respond."""

MAX_CACHED = 10_000
"""Maximum number of references whose last response is cached."""

MAX_TAGS = 100
"""Maximum number of cached tags of one digest."""

Key = tuple[str, str | Digest]
T = TypeVar("T")


class HeaderCache:
    """The last headers by local repository name and reference."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._headers: dict[Key, tuple[datetime, ManifestHeaders]] = {}
        self._tags: dict[Key, tuple[str, ...]] = {}

    def recent(self, repository: str, reference: str | Digest) -> ManifestHeaders | None:
        """Return the headers if they are younger than ``REFRESH_INTERVAL``."""
        cached = self._headers.get((repository, reference))
        return cached[1] if cached is not None and self._clock() - cached[0] < REFRESH_INTERVAL else None

    def keep(self, repository: str, reference: str | Digest, headers: ManifestHeaders) -> None:
        """Cache headers."""
        keep_bounded(self._headers, (repository, reference), (self._clock(), headers))
        if isinstance(reference, str):
            others = self._tags.get((repository, headers.digest), ())
            tags = (*(tag for tag in others if tag != reference), reference)
            keep_bounded(self._tags, (repository, headers.digest), tags[-MAX_TAGS:])

    def take_tags(self, repository: str, reference: str | Digest, digest: Digest) -> tuple[str, ...]:
        """Return the tags of a manifest that is about to be stored, and drop their headers.

        Those are the requested tag or, if the digest was requested, the tags whose last headers have that digest.
        """
        self._headers.pop((repository, reference), None)
        if isinstance(reference, str):
            return (reference,)
        tags = self._tags.pop((repository, digest), ())
        current = [tag for tag in tags if self._digest_of(repository, tag) == digest]
        for tag in current:
            del self._headers[repository, tag]
        return tuple(current)

    def _digest_of(self, repository: str, tag: str) -> Digest | None:
        cached = self._headers.get((repository, tag))
        return cached[1].digest if cached is not None else None


def keep_bounded(cache: dict[Key, T], key: Key, value: T) -> None:
    """Set an entry of a cache that is emptied when it has ``MAX_CACHED`` entries."""
    if len(cache) >= MAX_CACHED:
        cache.clear()
    cache[key] = value

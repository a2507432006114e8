"""A cache of responses to pulls of manifests: many engines request the same tag at the same time.

A response is valid until something changes that it was made of, which ``changes`` tells, and as long as the credential
is valid, which is checked again after ``LIFETIME``. The credential is part of the key, so no client gets a response
made for another. A mirror caches nothing here, because its upstream may change without a commit.
"""

import time
from typing import TypeAlias

from hythe.database.changes import TrackedReads
from hythe.database.read_cache import Entries, Kept
from hythe.registry.routes.http import Response, Scope
from hythe.registry.service import RegistryServices
from hythe.telemetry.metrics import CACHE_READS

LIFETIME = 1.0
"""Seconds; an expired token can read what it has just read for at most this long."""

CAPACITY = 16 * 1024 * 1024
"""Bytes of cached responses."""

OVERHEAD = 4000
"""Approximate overhead of a cached response, which includes its request for the listener."""

_Key: TypeAlias = tuple[str, str, bytes]


class ManifestCache:
    """The manifests that were sent within the last second."""

    def __init__(self, registry: RegistryServices) -> None:
        self._changes = registry.database.changes
        self._responses = Entries[_Key, tuple[float, Response]](CAPACITY)
        self._changes.follow(self._responses)
        self._hits, self._misses = CACHE_READS.cell("responses", "hit"), CACHE_READS.cell("responses", "miss")

    def key(self, scope: Scope) -> _Key | None:
        """Return the cache key of a GET or HEAD of a manifest with a token or without credentials; None for others."""
        if "/manifests/" not in scope["path"]:
            return None
        credential = b""
        for name, value in scope["headers"]:
            if name == b"if-none-match" or (name == b"authorization" and credential):
                return None
            if name == b"authorization":
                credential = value
        if scope["query_string"] or (credential and credential[:7].lower() != b"bearer "):
            return None
        return scope["method"], scope["path"], credential

    async def get(self, key: _Key) -> Response | None:
        """Return the cached response if it is recent enough. Raises UnavailableError."""
        entry = self._responses.get(key)
        if entry is None:
            self._misses.value += 1
            return None
        # Only now: a request that finds nothing learns the position where it reads something.
        if await self._changes.position() is None:
            return None
        entry = self._responses.get(key)
        if entry is None:
            return None
        made, response = entry.value
        if time.monotonic() - made >= LIFETIME:
            self._misses.value += 1
            return None
        self._hits.value += 1
        return response

    def keep(self, key: _Key, response: Response, reads: TrackedReads) -> None:
        """Cache a response that was made with these reads."""
        if response.status != 200 or not isinstance(response.body, bytes):
            return
        if reads.complete and reads.position is not None and self._changes.unchanged(reads.position, reads.topics):
            made = time.monotonic(), response.completed()
            self._responses.put(key, made, Kept(tuple(reads.topics), len(response.body) + OVERHEAD))

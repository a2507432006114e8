"""A cache of responses to pulls of manifests: many engines request the same tag at the same time.

A response is valid until something changes that it was made of, which ``changes`` tells, and as long as the credential
is valid, which is checked again after ``LIFETIME``. The credential is part of the key, so no client gets a response
made for another. A mirror caches nothing here, because its upstream may change without a commit.
"""

import time
from typing import NamedTuple, TypeAlias

from hythe.database.changes import TrackedReads
from hythe.database.read_cache import Entries, Kept
from hythe.ready_response import UNREADY, ReadyResponse
from hythe.registry.routes.http import Response, Scope
from hythe.registry.service import RegistryServices
from hythe.telemetry.metrics import CACHE_READS

LIFETIME = 1.0
"""Seconds; an expired token can read what it has just read for at most this long."""

CAPACITY = 16 * 1024 * 1024
"""Bytes of cached responses."""

OVERHEAD = 4000
"""Approximate overhead of a cached response, which includes its request for the listener."""

CacheKey: TypeAlias = tuple[str, str, bytes]

_UNREADY = UNREADY | {b"if-none-match", b"authorization"}


class Cached(NamedTuple):
    """A response that was ``made`` at this time of the monotonic clock, in both of its forms."""

    made: float
    response: Response
    ready: ReadyResponse


class ManifestCache:
    """The manifests that were sent within the last second."""

    def __init__(self, registry: RegistryServices) -> None:
        self._changes = registry.database.changes
        self._responses = Entries[CacheKey, Cached](CAPACITY)
        self._changes.follow(self._responses)
        self._hits, self._misses = CACHE_READS.cell("responses", "hit"), CACHE_READS.cell("responses", "miss")

    def key(self, scope: Scope) -> CacheKey | None:
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

    def ready_key(self, scope: Scope) -> CacheKey | None:
        """Return the cache key of a request that can be answered at once, if the response is there; None for others."""
        credential = b""
        for name, value in scope["headers"]:
            if name == b"authorization" and not credential:
                credential = value
            elif name in _UNREADY:
                return None
        key = scope["method"], scope["path"], credential
        return key if not scope["query_string"] and self._recent(key) is not None else None

    def ready(self, key: CacheKey) -> Cached | None:
        """Return the response for a key, once the position of ``changes`` is known."""
        cached = self._recent(key)
        if cached is not None:
            self._hits.value += 1
        return cached

    def _recent(self, key: CacheKey) -> Cached | None:
        entry = self._responses.get(key)
        return entry.value if entry is not None and time.monotonic() - entry.value.made < LIFETIME else None

    async def get(self, key: CacheKey) -> Response | None:
        """Return the cached response if it is recent enough. Raises UnavailableError."""
        # First: a request that finds nothing learns the position where it reads something.
        if self._recent(key) is not None and await self._changes.position() is not None:
            cached = self.ready(key)
            if cached is not None:
                return cached.response
        self._misses.value += 1
        return None

    def keep(self, key: CacheKey, response: Response, reads: TrackedReads) -> None:
        """Cache a response that was made with these reads."""
        content = response.body
        if response.status != 200 or not isinstance(content, bytes):
            return
        if reads.complete and reads.position is not None and self._changes.unchanged(reads.position, reads.topics):
            response = response.completed()
            body = content if key[0] == "GET" else b""
            ready = ReadyResponse(response.status, response.headers, body, response.user)
            kept = Kept(tuple(reads.topics), len(content) + OVERHEAD)
            self._responses.put(key, Cached(time.monotonic(), response, ready), kept)

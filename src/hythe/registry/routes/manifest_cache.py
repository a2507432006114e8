"""A cache of responses to pulls of manifests: many engines request the same tag at the same time.

A response is valid until the next commit, which ``ReadCache`` detects, and as long as the credential is valid, which is
checked again after ``LIFETIME``. The credential is part of the key, so no client gets a response made for another.
A mirror caches nothing here, because its upstream may change without a commit.
"""

import time
from typing import TypeAlias

from hythe.database.read_cache import ReadCache
from hythe.registry.routes.http import Response, Scope
from hythe.registry.service import RegistryServices

LIFETIME = 1.0
"""Seconds; an expired token can read what it has just read for at most this long."""

CAPACITY = 16 * 1024 * 1024
"""Bytes of cached responses."""

OVERHEAD = 3000
"""Approximate overhead of a cached response, which includes its request for the listener."""

_Key: TypeAlias = tuple[str, str, bytes]


class ManifestCache:
    """The manifests that were sent within the last second."""

    def __init__(self, registry: RegistryServices) -> None:
        self._enabled = not registry.contents.has_mirrors
        self._responses: ReadCache[_Key, tuple[float, Response]] = ReadCache(registry.database, CAPACITY)

    def key(self, scope: Scope) -> _Key | None:
        """Return the cache key of a request for a manifest with a token or without credentials; None for others."""
        if not self._enabled or scope["method"] not in ("GET", "HEAD") or "/manifests/" not in scope["path"]:
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

    def generation(self) -> int | None:
        """Return the value that ``keep`` needs, read before the response is made. Raises UnavailableError."""
        return self._responses.generation()

    def get(self, key: _Key) -> Response | None:
        """Return the cached response of this generation if it is recent enough."""
        cached = self._responses.get(key)
        return cached[1] if cached is not None and time.monotonic() - cached[0] < LIFETIME else None

    def keep(self, generation: int | None, key: _Key, response: Response) -> None:
        """Cache a response that was made after ``generation`` was read."""
        if response.status == 200 and isinstance(response.body, bytes):
            cached = time.monotonic(), response.completed()
            self._responses.keep(generation, key, cached, len(response.body) + OVERHEAD)

"""ETags of the JSON API and conditional requests (RFC 9110, section 13).

An ETag is a hash of the representation that the actor gets. A change with ``If-Match`` waits for other changes of the
same address on this server, so that of two such changes with the same ETag one is refused. Handlers of endpoints that
``compares`` marks have the ETag compared again in the transaction of a service, which covers other servers and other
addresses.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from http import HTTPStatus

from hythe.hub.errors import HubError


class PreconditionFailed(HubError):
    """The resource is not what the client's ``If-Match`` says."""

    status = HTTPStatus.PRECONDITION_FAILED


def etag_of(content: bytes) -> str:
    """Return the strong ETag of a representation."""
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def is_unchanged(if_none_match: str, etag: str) -> bool:
    """Return whether a header ``If-None-Match`` says that the client has this representation."""
    return if_none_match.strip() == "*" or etag in _listed(if_none_match)


def require_match(if_match: str, etag: str) -> None:
    """Raise PreconditionFailed unless a header ``If-Match`` has the ETag. Weak ETags match nothing."""
    if if_match.strip() != "*" and etag not in _listed(if_match):
        raise PreconditionFailed("this has changed since you read it", "GET it again, and send its new ETag")


def _listed(header: str) -> set[str]:
    """Return the ETags of a header; nginx and Apache append the coding of a compressed response: ``"..-gzip"``."""
    return {part.strip().replace('-gzip"', '"') for part in header.split(",")}


class Turns:
    """Lets changes of one address run one after the other."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    @contextlib.asynccontextmanager
    async def of(self, path: str) -> AsyncIterator[None]:
        """Wait for other changes of the address."""
        lock, waiting = self._locks.get(path, (asyncio.Lock(), 0))
        self._locks[path] = (lock, waiting + 1)
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._locks.pop(path)
            if waiting > 1:
                self._locks[path] = (lock, waiting - 1)

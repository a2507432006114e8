"""What the tests of blob stores share: request bodies, and looking at what is there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from hythe.oci.digest import Digest
from hythe.registry.storage.port import BlobStore, LiveUploads


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run one test's scenario."""
    asyncio.run(scenario)


async def body(*pieces: bytes) -> AsyncIterator[bytes]:
    """The body of a request."""
    for piece in pieces:
        yield piece


async def cut(*pieces: bytes) -> AsyncIterator[bytes]:
    """The body of a request whose client goes away."""
    for piece in pieces:
        yield piece
    raise ConnectionResetError("the client went away")


async def content(store: BlobStore, digest: Digest, start: int = 0, stop: int | None = None) -> bytes:
    """The bytes that the store reads."""
    return b"".join([piece async for piece in store.read(digest, start, stop)])


async def digests(store: BlobStore) -> list[Digest]:
    """Everything that is there."""
    return sorted([blob.digest async for blob in store.walk()])


async def delete(store: BlobStore, *digests: Digest) -> None:
    """Delete blobs. Raises the error of the first that remains."""
    for error in (await store.delete(digests)).values():
        raise error


def active(*upload_ids: str) -> LiveUploads:
    """What a sweep asks: only these uploads exist."""

    async def live_uploads(asked: Sequence[str]) -> frozenset[str]:
        return frozenset(upload_ids).intersection(asked)

    return live_uploads


def soon() -> datetime:
    """A time before which everything happened."""
    return datetime.now(UTC) + timedelta(hours=1)

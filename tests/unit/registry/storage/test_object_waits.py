"""How often a request waits for an object store: requests to the store that run at the same time are one wait."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.contracts.blob_scenario import body, content, run
from tests.parts.s3 import S3Server

from hythe.oci.digest import Digest
from hythe.registry.storage.bucket import Bucket
from hythe.registry.storage.object import ObjectBlobStore
from hythe.registry.storage.port import Redirect

pytestmark = pytest.mark.object_store

OPERATIONS = ("get", "head", "put", "create", "delete", "delete_many")


class Waits:
    """Counts waits: an operation that begins after another has ended waits after it."""

    def __init__(self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
        self.longest = 0
        self._ended = 0
        for name in OPERATIONS:
            monkeypatch.setattr(bucket, name, self._counted(getattr(bucket, name)))

    def _counted(self, operation: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def counted(*arguments: Any) -> Any:
            depth = self._ended + 1
            self.longest = max(self.longest, depth)
            try:
                return await operation(*arguments)
            finally:
                self._ended = max(self._ended, depth)

        return counted

    async def of(self, work: Awaitable[Any]) -> int:
        """Return how often ``work`` waits."""
        self.longest = self._ended = 0
        await work
        return self.longest


@pytest.fixture
def store(s3: S3Server, s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> ObjectBlobStore:
    """A store that remembers entries."""
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    return ObjectBlobStore(Bucket(f"s3://{s3_bucket}"), entry_lifetime=60)


def test_small_blobs_wait_once(store: ObjectBlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole blob, a PATCH and the PUT after it wait once each; a second pull does not wait at all."""
    waits = Waits(store._bucket, monkeypatch)
    whole, parted = Digest.of(b"whole"), Digest.of(b"parted")

    async def scenario() -> None:
        upload = await store.start("session")

        async def patch() -> None:
            nonlocal upload
            upload = await store.append(upload, body(b"par", b"ted"))

        async def finish() -> None:
            assert store.holds(upload, parted)
            await store.commit(upload, parted)

        found = [await waits.of(work) for work in (store.put(whole, body(b"whole")), patch(), finish())]
        await store.close()
        pulls = [await waits.of(store.locate(whole, 5)) for _ in range(2)]
        assert isinstance(await store.locate(whole, 5), Redirect)
        assert (await content(store, whole), await content(store, parted)) == (b"whole", b"parted")
        assert found + pulls == [1, 1, 1, 1, 0]

    run(scenario())


def test_holds_only_what_it_received(store: ObjectBlobStore) -> None:
    """Another digest, other bytes, or a session of another server: ``recover`` must look."""

    async def scenario() -> None:
        upload = await store.append(await store.start("session"), body(b"received"))
        other = ObjectBlobStore(store._bucket)

        assert store.holds(upload, Digest.of(b"received"))
        assert not store.holds(upload, Digest.of(b"other"))
        assert not store.holds(await store.start("session"), Digest.of(b""))
        assert not other.holds(upload, Digest.of(b"received"))

    run(scenario())

"""Blobs in S3 (radosgw) that returns 503, drops connections, is slow, denies access, or disappears."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from datetime import timedelta

import pytest
from tests.contracts.blob_scenario import active, body, content, digests, run, soon
from tests.parts.faulty_proxy import Fault, FaultyProxy
from tests.parts.process import free_port
from tests.parts.s3 import S3Server

from hythe.oci.digest import Digest
from hythe.registry.storage import open_blob_store
from hythe.registry.storage.bucket import Bucket
from hythe.registry.storage.object import ObjectBlobStore
from hythe.registry.storage.port import BlobStore, StorageUnavailable
from hythe.settings import SettingsError

pytestmark = pytest.mark.object_store

MIB = 1024 * 1024


@pytest.fixture
def proxy(
    s3: S3Server, start_faulty_proxy: Callable[[str], FaultyProxy], monkeypatch: pytest.MonkeyPatch
) -> FaultyProxy:
    """A faulty proxy in front of S3, and the environment that makes a store use it."""
    proxy = start_faulty_proxy(s3.endpoint)
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    return proxy


def impatient(url: str) -> ObjectBlobStore:
    """A store that retries twice."""
    pauses = {"init_backoff": timedelta(milliseconds=20), "max_backoff": timedelta(milliseconds=50), "base": 2}
    patience = {"max_retries": 2, "retry_timeout": timedelta(seconds=10), "backoff": pauses}
    return ObjectBlobStore(Bucket(url, patience))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fault",
    [
        Fault("", times=4, status=503),
        Fault("^PUT", times=3, status=500),
        Fault("^GET|^HEAD", times=3, status=502),
        Fault("^PUT /.*/data/", times=2, cut_upload_at=100_000),
        Fault("^PUT /.*/blobs/", times=1, cut_at=0),
        Fault("^GET /.*/data/", times=2, cut_at=100_000),
        Fault("^GET /.*/data/", times=1, bytes_per_second=10 * MIB),
    ],
    ids=["503", "500 to writes", "502 to reads", "cut upload", "lost answer", "cut download", "slow"],
)
def test_temporary_faults_are_retried(proxy: FaultyProxy, s3_bucket: str, fault: Fault) -> None:
    """Failed requests are retried: every blob is intact, and nothing is left over."""

    async def scenario() -> None:
        store = open_blob_store(None, f"s3://{s3_bucket}")  # type: ignore[arg-type]
        small, large = os.urandom(400_000), os.urandom(20 * MIB)
        proxy.faults.append(fault)

        await store.put(Digest.of(small), body(small))
        upload = await store.append(await store.start("session"), body(large[: 10 * MIB]))
        upload = await store.append(upload, body(large[10 * MIB :]))
        await store.commit(upload, Digest.of(large))

        assert await content(store, Digest.of(small)) == small
        assert await content(store, Digest.of(large)) == large
        assert fault.times == 0
        assert await store.sweep(active(), soon()) == 0

    run(scenario())


def test_little_is_buffered_for_a_slow_reader(proxy: FaultyProxy, s3_bucket: str) -> None:
    """Ranges grow for a reader that is faster than the bucket, and stay small for one that is slower."""

    async def requests_of(store: BlobStore, digest: Digest, pause: float) -> int:
        proxy.ranges.clear()
        async for _ in store.read(digest):
            await asyncio.sleep(pause)
        return len(proxy.ranges)

    async def scenario() -> None:
        store = open_blob_store(None, f"s3://{s3_bucket}")  # type: ignore[arg-type]
        blob = os.urandom(8 * MIB)
        await store.put(Digest.of(blob), body(blob))

        fast = await requests_of(store, Digest.of(blob), 0)
        slow = await requests_of(store, Digest.of(blob), 0.2)

        assert fast <= 8
        assert slow > 2 * fast

    run(scenario())


def test_a_permanent_fault_is_reported_and_nothing_is_lost(proxy: FaultyProxy, s3_bucket: str) -> None:
    """A store that keeps failing raises an error; the session keeps its offset."""

    async def scenario() -> None:
        store = impatient(f"s3://{s3_bucket}")
        upload = await store.append(await store.start("session"), body(b"begun "))

        proxy.faults.append(Fault("", times=10**6, status=503))
        failing = pytest.raises(StorageUnavailable, match=r"the object store failed: .*503")
        with failing:
            await store.append(upload, body(b"lost", bytes(20 * MIB)))
        with failing:
            await store.commit(upload, Digest.of(b"begun "))
        with failing:
            await store.put(Digest.of(b"new"), body(b"new"))
        with failing:
            await content(store, Digest.of(b"new"))
        proxy.faults.clear()

        upload = await store.append(await store.recover(upload), body(b"and ended"))
        await store.commit(upload, Digest.of(b"begun and ended"))
        assert await content(store, Digest.of(b"begun and ended")) == b"begun and ended"
        assert await digests(store) == [Digest.of(b"begun and ended")]

    run(scenario())


@pytest.mark.parametrize("moment", ["PUT /.*/uploads/", "PUT /.*/blobs/", "HEAD /.*/data/"])
def test_an_interrupted_commit_can_be_repeated(proxy: FaultyProxy, s3_bucket: str, moment: str) -> None:
    """An interrupted commit is completed by the next one, and the sweep removes exactly the leftovers."""

    async def scenario() -> None:
        store = impatient(f"s3://{s3_bucket}")
        upload = await store.append(await store.start("session"), body(b"all of it"))

        proxy.faults.append(Fault(moment, times=3, status=503))
        with pytest.raises(StorageUnavailable):
            await store.commit(upload, Digest.of(b"all of it"))
        again = impatient(f"s3://{s3_bucket}")
        await again.commit(await again.recover(upload), Digest.of(b"all of it"))
        await again.close()  # waits for what no request waits for

        assert await again.sweep(active(), soon()) == 0
        assert await content(again, Digest.of(b"all of it")) == b"all of it"

    run(scenario())


@pytest.mark.parametrize("moment", ["PUT /.*/uploads/", "PUT /.*/blobs/", "HEAD /.*/data/"])
def test_an_interrupted_commit_can_be_swept(proxy: FaultyProxy, s3_bucket: str, moment: str) -> None:
    """Leftovers of an unrepeated commit are swept, unless the blob already has its entry: then it stays intact."""

    async def scenario() -> None:
        store = impatient(f"s3://{s3_bucket}")
        digest = Digest.of(b"all of it")
        upload = await store.append(await store.start("session"), body(b"all of it"))

        proxy.faults.append(Fault(moment, times=3, status=503))
        with pytest.raises(StorageUnavailable):
            await store.commit(upload, digest)
        await store.sweep(active(), soon())

        assert await store.sweep(active(), soon()) == 0
        if await store.stat(digest) is not None:
            assert await content(store, digest) == b"all of it"

    run(scenario())


def test_a_marker_that_stays_is_swept(proxy: FaultyProxy, s3_bucket: str) -> None:
    """A blob is stored although its marker could not be deleted; the sweep deletes the marker alone."""

    async def scenario() -> None:
        store = impatient(f"s3://{s3_bucket}")
        upload = await store.append(await store.start("session"), body(b"all of it"))

        proxy.faults.append(Fault("POST .*[?&]delete", times=6, status=503))
        await store.commit(upload, Digest.of(b"all of it"))
        await store.put(Digest.of(b"at once"), body(b"at once"))
        await store.close()
        proxy.faults.clear()

        assert await store.sweep(active(), soon()) == 2
        assert await content(store, Digest.of(b"all of it")) == b"all of it"
        assert await content(store, Digest.of(b"at once")) == b"at once"

    run(scenario())


def test_a_refused_connection_is_reported(proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint that refuses connections is an error, not a missing blob."""

    async def scenario() -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")

        with pytest.raises(StorageUnavailable, match="s3://bucket: the object store failed"):
            await impatient("s3://bucket").stat(Digest.of(b"any"))

    run(scenario())


def test_a_missing_bucket_is_reported(proxy: FaultyProxy) -> None:
    """Without its bucket the store is unavailable, not empty."""

    async def scenario() -> None:
        store = impatient("s3://there-is-none")
        missing = pytest.raises(StorageUnavailable, match="the bucket does not exist: create it")

        with missing:
            await store.stat(Digest.of(b"any"))
        with missing:
            await store.put(Digest.of(b"any"), body(b"any"))

    run(scenario())


def test_wrong_credentials_are_reported(proxy: FaultyProxy, s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Denied access has an error of its own."""

    async def scenario() -> None:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")

        with pytest.raises(StorageUnavailable, match="access was denied: check the credentials in the environment"):
            await impatient(f"s3://{s3_bucket}").stat(Digest.of(b"any"))

    run(scenario())


@pytest.mark.parametrize("url", ["file:///tmp", "s3:/bucket", "bucket", "memory:///", "http://host/bucket"])
def test_an_invalid_bucket_url_is_refused(url: str) -> None:
    """An invalid blob_store is refused at startup, with a hint."""
    with pytest.raises(SettingsError, match="use s3://BUCKET"):
        Bucket(url)

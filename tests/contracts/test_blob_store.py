"""What every blob store promises: on a local disk, in S3 (radosgw) and in Azure's blob storage (azurite)."""

from __future__ import annotations

import asyncio
import os
import urllib.request
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.contracts.blob_scenario import active, body, content, cut, delete, digests, run, soon

from hythe.oci.digest import Digest
from hythe.registry.storage import open_blob_store
from hythe.registry.storage.port import (
    BlobMissing,
    BlobStore,
    DigestMismatch,
    LocalFile,
    Redirect,
    UploadLost,
    UploadSession,
)

MIB = 1024 * 1024

Open = Callable[[], BlobStore]
"""Opens the store anew, as another server or the same one after a crash would."""


@pytest.fixture(
    params=[
        "local",
        pytest.param("s3", marks=pytest.mark.object_store),
        pytest.param("azure", marks=pytest.mark.object_store),
    ]
)
def opened(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    """A way to open a store that begins empty."""
    if request.param == "local":
        return lambda: open_blob_store(tmp_path / "data")
    if request.param == "s3":
        account, url = request.getfixturevalue("s3"), f"s3://{request.getfixturevalue('s3_bucket')}/some/prefix"
    else:
        account, url = request.getfixturevalue("azurite"), f"az://{request.getfixturevalue('azure_container')}/prefix"
    for name, value in account.env.items():
        monkeypatch.setenv(name, value)
    return lambda: open_blob_store(tmp_path / "unused", url)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_blob_that_was_put_is_there(opened: Open, algorithm: str) -> None:
    """A put blob is known with its size and time, and read whole."""

    async def scenario() -> None:
        store = opened()
        digest = Digest.of(b"hello", algorithm)

        size = await store.put(digest, body(b"hel", b"lo"))

        found = await store.stat(digest)
        assert found is not None
        assert (size, found.size) == (5, 5)
        assert abs(found.stored_at - datetime.now(UTC)) < timedelta(minutes=5)
        assert await content(store, digest) == b"hello"

    run(scenario())


def test_an_unknown_blob_is_not_there(opened: Open) -> None:
    """Nobody gets anything for a digest that the store does not have."""

    async def scenario() -> None:
        store = opened()
        digest = Digest.of(b"nobody")

        assert await store.stat(digest) is None
        with pytest.raises(BlobMissing):
            await content(store, digest)
        with pytest.raises(BlobMissing):
            await store.locate(digest, 6)
        await delete(store, digest)
        await store.quarantine(digest)

    run(scenario())


def test_a_put_with_the_wrong_digest_leaves_nothing(opened: Open) -> None:
    """Bytes of another digest are refused and nothing of them stays."""

    async def scenario() -> None:
        store = opened()
        digest = Digest.of(b"said")

        with pytest.raises(DigestMismatch):
            await store.put(digest, body(b"sent"))

        assert await store.stat(digest) is None
        assert await store.sweep(active(), soon()) == 0

    run(scenario())


@pytest.mark.parametrize("pieces", [(), (b"half",), (b"x" * MIB,) * 10], ids=["nothing", "small", "large"])
def test_a_put_that_is_cut_leaves_nothing(opened: Open, pieces: tuple[bytes, ...]) -> None:
    """When the client goes away in the middle of a put, its error is passed on and nothing stays."""

    async def scenario() -> None:
        store = opened()

        with pytest.raises(ConnectionResetError):
            await store.put(Digest.of(b"half and half"), cut(*pieces))

        assert await digests(store) == []
        assert await store.sweep(active(), soon()) == 0

    run(scenario())


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_session_becomes_a_blob(opened: Open, algorithm: str) -> None:
    """An upload in several requests becomes a blob with its digest."""

    async def scenario() -> None:
        store = opened()
        digest = Digest.of(b"one two three", algorithm)

        upload = await store.start("session")
        upload = await store.append(upload, body(b"one "))
        upload = await store.append(upload, body(b"two", b" "))
        upload = await store.append(upload, body(b"three"))
        size = await store.commit(upload, digest)

        assert (upload.offset, size) == (13, 13)
        assert await content(store, digest) == b"one two three"
        assert await store.sweep(active(), soon()) == 0

    run(scenario())


def test_nothing_is_a_blob_too(opened: Open) -> None:
    """The blob of zero bytes can be put, and committed from a session to which nothing was sent."""

    async def scenario() -> None:
        store = opened()
        sha256, sha512 = Digest.of(b""), Digest.of(b"", "sha512")

        await store.put(sha512, body())
        upload = await store.append(await store.start("empty"), body(b""))
        size = await store.commit(upload, sha256)

        assert size == 0
        assert await content(store, sha256) + await content(store, sha512) == b""
        found = await store.stat(sha256)
        assert found is not None
        assert found.size == 0

    run(scenario())


def test_another_server_goes_on(opened: Open) -> None:
    """A session that one server began is continued by a second and committed by a third."""

    async def scenario() -> None:
        digest = Digest.of(b"one two three")

        first = opened()
        upload = await first.append(await first.start("moving"), body(b"one "))
        second = opened()
        upload = await second.append(await second.recover(upload), body(b"two three"))
        third = opened()
        await third.commit(await third.recover(upload), digest)

        assert await content(first, digest) == b"one two three"

    run(scenario())


def test_another_server_checks_what_it_did_not_see(opened: Open) -> None:
    """A server that saw nothing of the bytes reads them before it believes a digest."""

    async def scenario() -> None:
        first = opened()
        upload = await first.append(await first.start("moving"), body(b"not that"))

        with pytest.raises(DigestMismatch):
            await opened().commit(upload, Digest.of(b"but this"))

    run(scenario())


def test_a_cut_session_goes_on_where_it_stands(opened: Open) -> None:
    """After a client went away, recover tells how much is there, and sending the rest completes the blob."""

    async def scenario() -> None:
        whole = os.urandom(3 * MIB + 5)
        store = opened()
        upload = await store.append(await store.start("torn"), body(whole[:1000]))

        with pytest.raises(ConnectionResetError):
            await store.append(upload, cut(whole[1000:MIB], whole[MIB : 2 * MIB]))
        upload = await store.recover(upload)
        assert 1000 <= upload.offset <= 2 * MIB
        upload = await store.append(upload, body(whole[upload.offset :]))
        await store.commit(upload, Digest.of(whole))

        assert whole == await content(store, Digest.of(whole))
        assert await store.sweep(active(), soon()) == 0

    run(scenario())


def test_a_cancelled_request_leaves_a_usable_session(opened: Open) -> None:
    """When the server itself gives a request up, the session still stands and can be completed."""

    async def scenario() -> None:
        store = opened()
        began = asyncio.Event()

        async def stalls() -> AsyncIterator[bytes]:
            yield b"x" * 2 * MIB
            began.set()
            await asyncio.sleep(60)

        upload = await store.append(await store.start("given-up"), body(b"start "))
        request = asyncio.create_task(store.append(upload, stalls()))
        await began.wait()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request

        upload = await store.recover(upload)
        sent = b"start " + b"x" * (upload.offset - 6)
        await store.commit(upload, Digest.of(sent))

        assert sent == await content(store, Digest.of(sent))

    run(scenario())


def test_an_answer_that_was_lost_does_no_harm(opened: Open) -> None:
    """A server that died after it stored a PATCH and before it said so: the client may ask, or send it again."""

    async def scenario() -> None:
        first = opened()
        upload = await first.append(await first.start("lost"), body(b"one "))
        await first.append(upload, body(b"two "))

        second = opened()
        asked = await second.recover(upload)
        upload = await second.append(upload, body(b"three"))
        await second.commit(upload, Digest.of(b"one three"))

        assert asked.offset == 8
        assert await content(second, Digest.of(b"one three")) == b"one three"

    run(scenario())


def test_a_wrong_digest_ends_the_session(opened: Open) -> None:
    """A commit with another digest than that of the bytes drops them, and the session with them."""

    async def scenario() -> None:
        store = opened()
        upload = await store.append(await store.start("wrong"), body(b"sent"))

        with pytest.raises(DigestMismatch):
            await store.commit(upload, Digest.of(b"said"))

        assert await digests(store) == []
        with pytest.raises(UploadLost):
            await store.recover(upload)
        with pytest.raises(UploadLost):
            await store.commit(upload, Digest.of(b"sent"))
        assert await store.sweep(active(), soon()) == 0

    run(scenario())


def test_a_session_whose_bytes_are_gone_is_lost(opened: Open) -> None:
    """A session that the store has no bytes of cannot be taken for one that stands."""

    async def scenario() -> None:
        store = opened()
        upload = await store.append(await store.start("swept"), body(b"bytes"))
        await store.cancel(upload)

        with pytest.raises(UploadLost):
            await opened().recover(upload)
        with pytest.raises(UploadLost):
            await opened().commit(upload, Digest.of(b"bytes"))

    run(scenario())


def test_many_commits_of_one_digest_make_one_blob(opened: Open) -> None:
    """Equal blobs that are pushed at the same time, by several servers, are stored once and whole."""

    async def scenario() -> None:
        stores = [opened() for _ in range(3)]
        blob = os.urandom(10_000)
        digest = Digest.of(blob)

        async def push(number: int) -> int:
            store = stores[number % 3]
            if number % 2:
                return await store.put(digest, body(blob))
            upload = await store.append(await store.start(f"equal-{number}"), body(blob))
            return await store.commit(upload, digest)

        sizes = await asyncio.gather(*(push(number) for number in range(12)))

        assert sizes == [10_000] * 12
        assert [digest] == await digests(stores[0])
        await stores[0].sweep(active(), soon())
        assert await stores[0].sweep(active(), soon()) == 0
        assert blob == await content(stores[0], digest)

    run(scenario())


def test_a_blob_that_is_there_may_be_sent_again(opened: Open) -> None:
    """A second push of a blob changes nothing."""

    async def scenario() -> None:
        store = opened()
        digest = Digest.of(b"again")

        await store.put(digest, body(b"again"))
        await store.put(digest, body(b"again"))
        upload = await store.append(await store.start("again"), body(b"again"))
        await store.commit(upload, digest)

        assert [digest] == await digests(store)
        assert await content(store, digest) == b"again"

    run(scenario())


@pytest.mark.parametrize(
    ("start", "stop"), [(0, None), (0, 1), (4, 9), (9_999_999, None), (5_000_000, 9_000_001), (7, 7)]
)
def test_any_range_is_read(opened: Open, start: int, stop: int | None) -> None:
    """A range of a blob is exactly these bytes."""

    async def scenario() -> None:
        blob = os.urandom(10_000_000)
        store = opened()
        await store.put(Digest.of(blob), body(blob))

        assert blob[start:stop] == await content(store, Digest.of(blob), start, stop)

    run(scenario())


def test_a_blob_is_never_taken_for_longer_than_it_is(opened: Open) -> None:
    """Who expects more bytes than there are is told that the blob is missing."""

    async def scenario() -> None:
        store = opened()
        digest = Digest.of(b"short")
        await store.put(digest, body(b"short"))

        with pytest.raises(BlobMissing):
            await content(store, digest, 0, 6)
        with pytest.raises(BlobMissing):
            await store.locate(digest, 6)

    run(scenario())


def test_the_better_way_leads_to_the_same_bytes(opened: Open) -> None:
    """What locate returns is the blob: a file, or a URL that needs no credentials and serves ranges."""

    async def scenario() -> None:
        store = opened()
        digest = Digest.of(b"found elsewhere")
        await store.put(digest, body(b"found elsewhere"))

        place = await store.locate(digest, 15)

        match place:
            case LocalFile():
                assert (place.path.read_bytes(), place.size) == (b"found elsewhere", 15)
            case Redirect():
                request = urllib.request.Request(place.url, headers={"Range": "bytes=6-14"})
                assert await asyncio.to_thread(fetched, place.url) == b"found elsewhere"
                assert await asyncio.to_thread(fetched, request) == b"elsewhere"
            case None:
                pytest.fail("there is no better way")

    run(scenario())


def fetched(request: str | urllib.request.Request) -> bytes:
    """What the address answers."""
    with urllib.request.urlopen(request, timeout=30) as response:
        answer: bytes = response.read()
        return answer


def test_a_deleted_blob_is_gone_and_may_come_again(opened: Open) -> None:
    """Delete removes a blob, twice is no error, and the next push brings it back."""

    async def scenario() -> None:
        store = opened()
        digest = Digest.of(b"mortal")
        await store.put(digest, body(b"mortal"))

        await delete(store, digest)
        await delete(store, digest)
        assert await store.stat(digest) is None
        await store.put(digest, body(b"mortal"))

        assert await content(store, digest) == b"mortal"

    run(scenario())


def test_a_blob_in_quarantine_is_not_served(opened: Open) -> None:
    """A blob that was put aside is missing until it is pushed again."""

    async def scenario() -> None:
        store = opened()
        digest = Digest.of(b"rotten")
        await store.put(digest, body(b"rotten"))

        await store.quarantine(digest)
        assert await digests(store) == []
        with pytest.raises(BlobMissing):
            await store.locate(digest, 6)
        await store.put(digest, body(b"rotten"))
        await store.quarantine(digest)
        await store.put(digest, body(b"rotten"))

        assert await content(store, digest) == b"rotten"

    run(scenario())


def test_walk_shows_every_blob(opened: Open) -> None:
    """Every blob, of both algorithms, is seen once with its size; sessions are not."""

    async def scenario() -> None:
        store = opened()
        blobs = {Digest.of(bytes(n), algorithm): n for n in range(8) for algorithm in ("sha256", "sha512")}
        for digest, size in blobs.items():
            await store.put(digest, body(bytes(size)))
        await store.append(await store.start("not-yet"), body(b"bytes"))

        seen = [(blob.digest, blob.size) async for blob in store.walk()]

        assert sorted(blobs.items()) == sorted(seen)

    run(scenario())


def test_many_blobs_are_deleted_at_once(opened: Open) -> None:
    """Of a list, exactly the named blobs go, whether or not some of them are there."""

    async def scenario() -> None:
        store = opened()
        contents = [b"%d" % number for number in range(120)]
        for first in range(0, len(contents), 20):
            await asyncio.gather(*(store.put(Digest.of(each), body(each)) for each in contents[first : first + 20]))
        missing = Digest.of(b"missing")

        failures = await store.delete([*map(Digest.of, contents[20:]), missing])

        assert failures == {}
        assert await digests(store) == sorted(map(Digest.of, contents[:20]))
        assert await content(store, Digest.of(b"7")) == b"7"

    run(scenario())


def test_sweep_removes_what_nobody_needs(opened: Open) -> None:
    """Bytes of sessions that are over go; those of live sessions, young ones and blobs stay."""

    async def scenario() -> None:
        store = opened()
        dead = await store.append(await store.start("dead"), body(b"dead"))
        live = await store.append(await store.start("live"), body(b"live"))
        done = await store.append(await store.start("done"), body(b"done"))
        await store.commit(done, Digest.of(b"done"))
        longer = await store.append(await store.append(await store.start("more"), body(b"mo")), body(b"re"))
        await store.commit(longer, Digest.of(b"more"))

        assert await store.sweep(active(), datetime.now(UTC) - timedelta(hours=1)) == 0
        assert await store.sweep(active("live"), soon()) == 1

        with pytest.raises(UploadLost):
            await store.recover(dead)
        await store.commit(await store.recover(live), Digest.of(b"live"))
        assert await content(store, Digest.of(b"done")) == b"done"
        assert await content(store, Digest.of(b"more")) == b"more"

    run(scenario())


def test_cancel_forgets_a_session(opened: Open) -> None:
    """A cancelled session leaves nothing; again, or for one without bytes, it is no error."""

    async def scenario() -> None:
        store = opened()
        upload = await store.append(await store.start("cancelled"), body(b"bytes"))

        await store.cancel(upload)
        await store.cancel(upload)
        await store.cancel(UploadSession("never-seen"))

        assert await store.sweep(active(), soon()) == 0

    run(scenario())


def test_cancel_after_commit_leaves_the_blob(opened: Open) -> None:
    """A session that became a blob, and is cancelled since nobody knew, does not take the blob with it."""

    async def scenario() -> None:
        store = opened()
        upload = await store.append(await store.start("late"), body(b"kept"))
        await store.commit(upload, Digest.of(b"kept"))

        await store.cancel(upload)

        assert await content(store, Digest.of(b"kept")) == b"kept"

    run(scenario())


def test_large_uploads_take_little_memory(opened: Open) -> None:
    """192 MiB go in by a session and out by a read while the process grows by less than 48 MiB."""

    async def scenario() -> None:
        store = opened()
        piece = os.urandom(MIB)
        digest = Digest.of(piece * 192)

        async def large() -> AsyncIterator[bytes]:
            for _ in range(192 * 16):
                yield bytes(piece[:65536])

        before = reset_peak()
        upload = await store.append(await store.start("large"), large())
        with pytest.raises(DigestMismatch):
            await store.commit(upload, digest)
        upload = await store.append(await store.start("larger"), body(*[piece] * 192))
        await store.commit(upload, digest)
        size = 0
        async for read in store.read(digest):
            size += len(read)

        assert size == 192 * MIB
        assert peak() - before < 48 * MIB

    run(scenario())


def reset_peak() -> int:
    """Forget the largest memory use so far; return what is used now, in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak()


def peak() -> int:
    """The largest memory use since then, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))


def test_a_marker_says_whose_the_blobs_are(opened: Open) -> None:
    """The first marker stays unless it is to be replaced, and is no blob."""

    async def scenario() -> None:
        store = opened()
        assert (await store.marker(), await store.is_empty()) == (None, True)

        await store.set_marker("a/1", replace=False)
        await store.set_marker("b/2", replace=False)

        assert (await opened().marker(), await store.is_empty()) == ("a/1", True)
        await store.set_marker("b/2", replace=True)
        assert await store.marker() == "b/2"
        await store.put(Digest.of(b"x"), body(b"x"))
        assert [blob.digest async for blob in store.walk()] == [Digest.of(b"x")]
        assert not await store.is_empty()
        assert await store.sweep(active(), soon()) == 0
        assert await store.marker() == "b/2"

    run(scenario())

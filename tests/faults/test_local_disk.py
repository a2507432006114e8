"""The local blob store on a full, read-only or unmounted disk, after power loss, and when killed."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from tests.contracts.blob_scenario import active, body, content, delete, digests, run, soon
from tests.parts.small_disk import mounted, small_disk

from hythe.oci.digest import Digest
from hythe.registry.storage.local import LocalBlobStore
from hythe.registry.storage.port import BlobStore, StorageUnavailable, UploadLost

MIB = 1024 * 1024


@pytest.fixture(name="small_disk")
def disk_of_8_mebibytes(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", 8) as folder:
        yield folder


async def large(size: int) -> AsyncIterator[bytes]:
    """A body of this many bytes."""
    for _ in range(size // 65536):
        yield bytes(65536)


def test_a_full_disk_is_reported_and_nothing_is_lost(small_disk: Path) -> None:
    """A blob that does not fit is refused, its space is freed, and other sessions keep their offset."""

    async def scenario() -> None:
        store = LocalBlobStore(small_disk / "data")
        kept = Digest.of(b"kept")
        await store.put(kept, body(b"kept"))
        upload = await store.append(await store.start("session"), body(b"begun "))

        with pytest.raises(StorageUnavailable, match="the disk is full: free some space"):
            await store.append(upload, large(16 * MIB))
        with pytest.raises(StorageUnavailable, match="the disk is full"):
            await store.put(Digest.of(b"too large"), large(16 * MIB))
        upload = await store.append(await store.recover(upload), body(b"and ended"))
        await store.commit(upload, Digest.of(b"begun and ended"))
        await store.put(Digest.of(bytes(6 * MIB)), large(6 * MIB))

        assert await content(store, kept) == b"kept"
        assert await content(store, Digest.of(b"begun and ended")) == b"begun and ended"
        assert await store.sweep(active(), soon()) == 0

    run(scenario())


def test_a_read_only_disk_still_serves(small_disk: Path) -> None:
    """Writes are refused and reads work; once the disk is writable again, the session can continue."""

    async def scenario() -> None:
        store = LocalBlobStore(small_disk / "data")
        kept = Digest.of(b"kept")
        await store.put(kept, body(b"kept"))
        upload = await store.append(await store.start("session"), body(b"begun "))

        remount(small_disk, "ro")
        refused = pytest.raises(StorageUnavailable, match="the disk is read-only: mount it for writing")
        with refused:
            await store.append(upload, body(b"and ended"))
        with refused:
            await store.commit(upload, Digest.of(b"begun "))
        with refused:
            await store.put(Digest.of(b"new"), body(b"new"))
        with refused:
            await delete(store, kept)
        assert await content(LocalBlobStore(small_disk / "data"), kept) == b"kept"

        remount(small_disk, "rw")
        upload = await store.append(await store.recover(upload), body(b"and ended"))
        await store.commit(upload, Digest.of(b"begun and ended"))
        assert await content(store, Digest.of(b"begun and ended")) == b"begun and ended"

    run(scenario())


def remount(disk: Path, mode: str) -> None:
    """Make the disk read-only or writable."""
    subprocess.run(["mount", "-o", f"remount,{mode}", str(disk)], check=True)


def test_an_unmounted_disk_is_not_empty(tmp_path: Path) -> None:
    """If the disk is unmounted, the store is unavailable; blobs and sessions are not reported as missing."""

    async def scenario() -> None:
        kept = Digest.of(b"kept")
        with mounted(tmp_path / "disk", "-t", "tmpfs", "tmpfs") as disk:
            store = LocalBlobStore(disk / "data")
            await store.put(kept, body(b"kept"))
            upload = await store.append(await store.start("session"), body(b"begun"))

        calls: list[Callable[[], object]] = [
            lambda: store.stat(kept),
            lambda: store.locate(kept, 4),
            lambda: content(store, kept),
            lambda: digests(store),
            lambda: store.put(Digest.of(b"new"), body(b"new")),
            lambda: store.append(upload, body(b"more")),
            lambda: store.recover(upload),
            lambda: store.commit(upload, Digest.of(b"begun")),
            lambda: delete(store, kept),
            lambda: store.quarantine(kept),
            lambda: store.sweep(active(), soon()),
        ]
        for call in calls:
            with pytest.raises(StorageUnavailable, match="the folder does not exist: is its disk mounted"):
                await call()  # type: ignore[misc]
        assert list((tmp_path / "disk").iterdir()) == []

    run(scenario())


def test_acknowledged_blobs_survive_a_power_loss(tmp_path: Path) -> None:
    """After a power loss directly after the responses, everything acknowledged is there once the disk is repaired.

    The image below a loop device holds what the file system has really written out: a copy of it, taken while the
    file system is in use, is what a power cut leaves.
    """
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(96 * MIB)
    subprocess.run(["mkfs.ext4", "-q", "-E", "lazy_itable_init=0", str(image)], check=True)
    small, middle, large_one = (os.urandom(size) for size in (4096, 300_000, 20 * MIB))

    async def before(store: BlobStore) -> None:
        await store.append(await store.start("session"), body(b"acknowledged"))
        upload = await store.append(await store.start("committed"), body(middle[:1000]))
        await store.commit(await store.append(upload, body(middle[1000:])), Digest.of(middle))
        await store.commit(await store.append(await store.start("large"), body(large_one)), Digest.of(large_one))
        await store.put(Digest.of(small), body(small))

    async def after(store: BlobStore) -> None:
        upload = await store.recover(await store.start("session"))
        await store.commit(upload, Digest.of(b"acknowledged"))
        for blob in (small, middle, large_one, b"acknowledged"):
            assert await content(store, Digest.of(blob)) == blob
        assert await store.sweep(active(), soon()) == 0

    with mounted(tmp_path / "disk", "-o", "loop,commit=300", str(image)) as disk:
        run(before(LocalBlobStore(disk / "data")))
        subprocess.run(["cp", "--sparse=always", str(image), str(tmp_path / "after")], check=True)
    with mounted(tmp_path / "disk", "-o", "loop", str(tmp_path / "after")) as disk:
        run(after(LocalBlobStore(disk / "data")))


PUSHER = """
import asyncio, os, sys
from pathlib import Path
from tests.contracts.blob_scenario import body
from hythe.oci.digest import Digest
from hythe.registry.storage.local import LocalBlobStore

async def push(store, number):
    while True:
        blob = os.urandom(1 + int.from_bytes(os.urandom(3), "big") % 3_000_000)
        digest = Digest.of(blob)
        if number % 2:
            await store.put(digest, body(blob))
        else:
            upload = await store.append(await store.start(f"u{digest.hex[:16]}"), body(blob[:5], blob[5:]))
            print("upload", upload.id, upload.offset, digest.hex, flush=True)
            await store.commit(upload, digest)
        print("blob", digest.hex, flush=True)

async def main():
    store = LocalBlobStore(Path(sys.argv[1]))
    await asyncio.gather(*(push(store, number) for number in range(4)))

asyncio.run(main())
"""


def test_kill_at_any_moment_loses_nothing(tmp_path: Path, rounds: Callable[[int, int], int]) -> None:
    """If the process is killed: acknowledged blobs are intact, sessions resume, and a sweep removes leftovers."""
    blobs: set[str] = set()
    for _ in range(rounds(5, 100)):
        uploads = killed_pusher(tmp_path / "data", blobs)
        run(everything_is_there(LocalBlobStore(tmp_path / "data"), blobs, uploads))

    assert blobs


def killed_pusher(data: Path, blobs: set[str]) -> list[tuple[str, int, str]]:
    """Push until killed; collect the acknowledged blobs and return the acknowledged sessions."""
    command = [sys.executable, "-c", PUSHER, str(data)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path.cwd()) as pusher:
        assert pusher.stdout is not None
        first = pusher.stdout.readline()  # however long it takes to start
        time.sleep(random.uniform(0, 0.7))
        pusher.send_signal(signal.SIGKILL)
        lines = first + pusher.communicate()[0]
    printed = [line.split() for line in lines.splitlines(keepends=True) if line.endswith("\n")]
    blobs.update(words[1] for words in printed if words[0] == "blob")
    return [(words[1], int(words[2]), words[3]) for words in printed if words[0] == "upload" and words[3] not in blobs]


async def everything_is_there(store: BlobStore, blobs: set[str], uploads: list[tuple[str, int, str]]) -> None:
    """Check the store after a kill."""
    for upload_id, offset, hex_digits in uploads:
        digest = Digest("sha256", hex_digits)
        try:
            upload = await store.recover(await store.start(upload_id))
            assert upload.offset == offset
            await store.commit(upload, digest)
        except (UploadLost, AssertionError):
            # It was renamed already, only the answer was missing.
            assert await store.stat(digest) is not None
        blobs.add(hex_digits)
    await store.sweep(active(), soon())
    assert await store.sweep(active(), soon()) == 0
    found = [blob.digest async for blob in store.walk()]
    assert blobs <= {digest.hex for digest in found}
    for digest in found:
        assert digest.matches(await content(store, digest))


def test_a_cancelled_write_closes_its_files(tmp_path: Path) -> None:
    """Requests that are cancelled at any moment leave no file open and no lock held."""

    async def scenario() -> None:
        store = LocalBlobStore(tmp_path / "data")
        before = len(list(Path("/proc/self/fd").iterdir()))
        for number in range(50):
            request = asyncio.create_task(store.put(Digest.of(b"never"), large(64 * MIB)))
            await asyncio.sleep(number / 5000)
            request.cancel()
            with pytest.raises(asyncio.CancelledError):
                await request

        assert len(list(Path("/proc/self/fd").iterdir())) == before
        assert await store.sweep(active(), soon()) == 0

    run(scenario())


def test_other_users_of_the_host_cannot_read_blobs(tmp_path: Path) -> None:
    """Files are private even if the data folder existed before and is world-readable: images may be private."""
    LocalBlobStore(tmp_path)

    assert {0o700} == {folder.stat().st_mode & 0o777 for folder in tmp_path.iterdir()}

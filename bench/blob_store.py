"""Compare the local blob store with the limits of the machine: a large push, small pushes, a read.

    python bench/blob_store.py [--folder DIR] [--rounds 5] [--mib 1024]

Each round runs the store and then its limit. Prints medians, CPU seconds, and the share of the limit that the store
reaches. The limit of a large push is the slower of SHA-256 over the bytes in memory and writing them with O_DIRECT and
fdatasync. The limit of small pushes is plain threads that create, write, sync and rename a file and sync the folder.
The limit of a read is pread.
"""

from __future__ import annotations

import argparse
import asyncio
import mmap
import os
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from hythe.oci.digest import Digest, new_hasher
from hythe.registry.storage.local import LocalBlobStore

MIB = 1024 * 1024
SMALL = 4096
SMALL_PUSHES = 1000
PIECE = os.urandom(MIB)
HTTP_PIECE = 64 * 1024
"""Bytes of a request body that the HTTP server passes on at a time."""


@dataclass
class Clock:
    """Wall time and CPU time of one operation, one value for each round."""

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Time the block."""
        seconds, cpu = time.perf_counter(), time.process_time()
        yield
        self.seconds.append(time.perf_counter() - seconds)
        self.cpu.append(time.process_time() - cpu)

    @property
    def median(self) -> float:
        """The median of the seconds."""
        return statistics.median(self.seconds)

    def __str__(self) -> str:
        return f"{self.median:.2f} s, CPU {statistics.median(self.cpu):.2f} s"


async def pieces(mib: int) -> AsyncIterator[bytes]:
    """Yield a body of ``mib`` MiB in pieces of the size that the HTTP server passes on."""
    for _ in range(mib):
        for start in range(0, MIB, HTTP_PIECE):
            yield PIECE[start : start + HTTP_PIECE]


async def small_body(blob: bytes) -> AsyncIterator[bytes]:
    """Yield a body in one piece."""
    yield blob


def digest_of(mib: int) -> Digest:
    """Return the SHA-256 digest of the large blob, computed from memory."""
    hasher = new_hasher()
    for _ in range(mib):
        hasher.update(PIECE)
    return Digest("sha256", hasher.hexdigest())


def write_and_sync(path: Path, mib: int) -> None:
    """Write the large blob like ``dd oflag=direct conv=fdatasync``."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_DIRECT, 0o644)
    with mmap.mmap(-1, MIB) as aligned:
        aligned.write(PIECE)
        for _ in range(mib):
            os.write(descriptor, aligned)
    os.fdatasync(descriptor)
    os.close(descriptor)
    path.unlink()


def in_threads(number: int, work: Callable[[], None]) -> None:
    """Run ``work`` in ``number`` threads and wait for them."""
    threads = [threading.Thread(target=work) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def plain_small_pushes(folder: Path, blobs: list[bytes], at_once: int) -> None:
    """Do the disk operations of small pushes, and nothing else, in ``at_once`` threads."""
    target = folder / "target"
    target.mkdir()
    left = iter(enumerate(blobs))
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                number, blob = next(left, (0, b""))
            if not blob:
                return
            path = folder / f"small-{number}"
            with path.open("xb", buffering=0) as file:
                file.write(blob)
                os.fdatasync(file.fileno())
            path.rename(target / path.name)
            descriptor = os.open(target, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)

    in_threads(at_once, work)
    shutil.rmtree(target)


async def small_pushes(store: LocalBlobStore, blobs: list[bytes], at_once: int) -> None:
    """Put the blobs, ``at_once`` at a time."""
    left = iter([(Digest.of(blob), blob) for blob in blobs])

    async def work() -> None:
        for digest, blob in left:
            await store.put(digest, small_body(blob))

    await asyncio.gather(*(work() for _ in range(at_once)))


async def timed(clock: Clock, work: Awaitable[object]) -> None:
    """Await ``work`` and record its time."""
    with clock.running():
        await work


async def measure_large(store: LocalBlobStore, folder: Path, rounds: int, mib: int) -> None:
    """Measure a large push and a large read."""
    digest = digest_of(mib)
    await pushed(store, "first", digest, mib)
    file = await store.locate(digest, mib * MIB)
    push, read, hashing, writing, reading = (Clock() for _ in range(5))
    for number in range(rounds):
        await timed(push, pushed(store, f"large-{number}", digest, mib))
        await timed(read, consumed(store, digest))
        with reading.running():
            plain_read(file.path)
        with hashing.running():
            digest_of(mib)
        with writing.running():
            write_and_sync(folder / "plain", mib)
    limit = max(hashing.median, writing.median)
    print(f"push of {mib} MiB   {push}; reaches {limit / push.median:.2f} of the limit")
    print(f"    limit: SHA-256 {hashing}; write and fdatasync {writing}")
    print(f"read of {mib} MiB   {read}; reaches {reading.median / read.median:.2f} of the limit")
    print(f"    limit: pread {reading}")


async def pushed(store: LocalBlobStore, upload_id: str, digest: Digest, mib: int) -> None:
    """Push the large blob through an upload session, as docker does."""
    upload = await store.append(await store.start(upload_id), pieces(mib))
    await store.commit(upload, digest)


async def consumed(store: LocalBlobStore, digest: Digest) -> None:
    """Read a blob to its end."""
    async for _ in store.read(digest):
        pass


def plain_read(path: Path) -> None:
    """Read the file of the large blob with pread."""
    descriptor = os.open(path, os.O_RDONLY)
    position = 0
    while piece := os.pread(descriptor, MIB, position):
        position += len(piece)
    os.close(descriptor)


async def measure_small(store: LocalBlobStore, folder: Path, rounds: int, at_once: int) -> None:
    """Measure small pushes, ``at_once`` at a time."""
    push, plain = Clock(), Clock()
    for _ in range(rounds):
        await timed(push, small_pushes(store, [os.urandom(SMALL) for _ in range(SMALL_PUSHES)], at_once))
        with plain.running():
            plain_small_pushes(folder, [os.urandom(SMALL) for _ in range(SMALL_PUSHES)], at_once)
    rate, limit = SMALL_PUSHES / push.median, SMALL_PUSHES / plain.median
    print(f"{SMALL} B blobs, {at_once} at once   {rate:.0f} a second; reaches {rate / limit:.2f} of the limit")
    print(f"    {push}; limit: {limit:.0f} a second in plain threads, {plain}")


async def measure(folder: Path, rounds: int, mib: int) -> None:
    """Run all measurements."""
    store = LocalBlobStore(folder / "data")
    await measure_large(store, folder, rounds, mib)
    for at_once in (1, 8, 32):
        await measure_small(store, folder, rounds, at_once)
    await store.close()


def main() -> None:
    """Read the flags and measure."""
    parser = argparse.ArgumentParser(description="Compare the local blob store with the limits of the machine.")
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="folder on the disk to measure")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mib", type=int, default=1024, help="size of the large blob")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=flags.folder, prefix="bench-blobs-") as folder:
        uvloop.run(measure(Path(folder), flags.rounds, flags.mib))


if __name__ == "__main__":
    main()

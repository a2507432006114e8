"""Small blobs share their rounds: each is told its own outcome."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hythe.oci.digest import Digest
from hythe.registry.storage.local import LocalBlobStore
from hythe.registry.storage.parallel_sync import ParallelSync
from hythe.registry.storage.port import DigestMismatch, StorageUnavailable
from hythe.registry.storage.small_blobs import BATCH_SIZE, MAX_SMALL_SIZE


async def pieces(content: bytes) -> AsyncIterator[bytes]:
    """A body."""
    yield content


def put_all(data: Path, *blobs: tuple[Digest, bytes]) -> list[int | BaseException]:
    """Put all at the same time, and return how each went."""

    async def scenario() -> list[int | BaseException]:
        store = LocalBlobStore(data)
        try:
            puts = (store.put(digest, pieces(content)) for digest, content in blobs)
            return await asyncio.gather(*puts, return_exceptions=True)
        finally:
            await store.close()

    return asyncio.run(scenario())


def stored(data: Path, content: bytes) -> bytes | None:
    """The bytes that have a blob's name."""
    digest = Digest.of(content)
    path = data / "blobs" / digest.algorithm / digest.hex[:2] / digest.hex
    return path.read_bytes() if path.exists() else None


def test_many_at_once(tmp_path: Path) -> None:
    """More than one round takes, of every small size, and the first size that is not small: all are there."""
    contents = [b"%d" % number * number for number in range(BATCH_SIZE * 2)]
    contents += [b"x" * (MAX_SMALL_SIZE - 1), b"x" * MAX_SMALL_SIZE, b"x" * (MAX_SMALL_SIZE + 1)]

    sizes = put_all(tmp_path, *((Digest.of(content), content) for content in contents))

    assert sizes == [len(content) for content in contents]
    assert [stored(tmp_path, content) for content in contents] == contents
    assert list((tmp_path / "uploads").iterdir()) == []


def test_a_wrong_one_among_others(tmp_path: Path) -> None:
    """Bytes of another digest fail alone, and leave nothing."""
    outcomes = put_all(
        tmp_path,
        (Digest.of(b"one"), b"one"),
        (Digest.of(b"two"), b"not two"),
        (Digest.of(b"three"), b"three"),
    )

    assert outcomes[0] == 3
    assert isinstance(outcomes[1], DigestMismatch)
    assert outcomes[2] == 5
    assert stored(tmp_path, b"two") is None
    assert list((tmp_path / "uploads").iterdir()) == []


def test_a_folder_that_cannot_be_made_fails_its_blobs_alone(tmp_path: Path) -> None:
    """Where a blob's folder cannot be, that blob fails with what to do, and the others are there."""
    blocked = Digest.of(b"blocked")
    LocalBlobStore(tmp_path)
    (tmp_path / "blobs" / "sha256" / blocked.hex[:2]).write_bytes(b"in the way")

    outcomes = put_all(tmp_path, (blocked, b"blocked"), (Digest.of(b"free"), b"free"))

    assert isinstance(outcomes[0], StorageUnavailable)
    assert outcomes[1] == 4
    assert list((tmp_path / "uploads").iterdir()) == []


def test_a_put_that_is_cancelled_leaves_nothing_half_there(tmp_path: Path) -> None:
    """Whoever is cancelled waits for the round's end; the blob is whole or not there, and the store goes on."""

    async def scenario() -> None:
        store = LocalBlobStore(tmp_path)
        puts = [asyncio.create_task(store.put(Digest.of(b"%d" % n), pieces(b"%d" % n))) for n in range(20)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for put in puts[::2]:
            put.cancel()
        outcomes = await asyncio.gather(*puts, return_exceptions=True)
        assert all(outcome == len(b"%d" % n) for n, outcome in enumerate(outcomes) if n % 2)
        await store.put(Digest.of(b"later"), pieces(b"later"))
        await store.close()

    asyncio.run(scenario())

    assert all(stored(tmp_path, b"%d" % n) in (None, b"%d" % n) for n in range(20))
    assert list((tmp_path / "uploads").iterdir()) == []


def test_errors_of_each_file(tmp_path: Path) -> None:
    """Every file gets its own answer, in order, also beyond what the kernel takes at once."""
    sync = ParallelSync(2)
    good = [os.open(tmp_path / name, os.O_CREAT | os.O_RDWR) for name in "abc"]
    reader, writer = os.pipe()
    try:
        data = sync.data([good[0], reader, good[1], good[2]])
        names = sync.names([tmp_path, tmp_path / "missing", tmp_path])
    finally:
        for descriptor in (*good, reader, writer):
            os.close(descriptor)
        sync.close()

    assert [error is None for error in data] == [True, False, True, True]
    assert [error is None for error in names] == [True, False, True]


@pytest.mark.parametrize("machine", ["x86_64", "pdp11"])
def test_where_the_kernel_does_not_offer_it(machine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine whose calls are not known, the files are synced one by one."""
    monkeypatch.setattr("platform.machine", lambda: machine)
    sync = ParallelSync(4)
    files = [os.open(tmp_path / name, os.O_CREAT | os.O_RDWR) for name in "ab"]
    try:
        assert sync.data(files) == [None, None]
    finally:
        for descriptor in files:
            os.close(descriptor)
        sync.close()

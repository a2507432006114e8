"""What is the local store's own, beyond the contract."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.contracts.blob_scenario import active, body, content, cut, run

from hythe.oci.digest import Digest
from hythe.registry.storage.local import BATCH_SIZE, LocalBlobStore
from hythe.registry.storage.paths import Layout
from hythe.registry.storage.port import BlobMissing, UploadBusy, UploadLost
from hythe.registry.storage.upload_file import KEPT_IN_PAGE_CACHE, WRITEBACK_SIZE


def test_two_requests_cannot_write_to_one_session(tmp_path: Path) -> None:
    """While a request writes, another one for the session is turned away, also by another process's store."""

    async def scenario() -> None:
        store, other = LocalBlobStore(tmp_path), LocalBlobStore(tmp_path)
        writing, go_on = asyncio.Event(), asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            yield bytes(BATCH_SIZE)
            yield bytes(BATCH_SIZE)
            writing.set()
            await go_on.wait()
            yield b"end"

        upload = await store.append(await store.start("one"), body(b"begin"))
        first = asyncio.create_task(store.append(upload, slow()))
        await writing.wait()
        for second in (store, other):
            with pytest.raises(UploadBusy):
                await second.append(upload, body(b"me too"))
            with pytest.raises(UploadBusy):
                await second.commit(upload, Digest.of(b"begin"))
        go_on.set()
        upload = await first

        sent = b"begin" + bytes(2 * BATCH_SIZE) + b"end"
        await store.commit(upload, Digest.of(sent))
        assert await content(store, Digest.of(sent)) == sent

    run(scenario())


def test_a_blob_is_not_written_to_again(tmp_path: Path) -> None:
    """A request that comes late for a session that has become a blob finds nothing to write to."""

    async def scenario() -> None:
        store = LocalBlobStore(tmp_path)
        upload = await store.append(await store.start("late"), body(b"whole"))
        await store.commit(upload, Digest.of(b"whole"))

        with pytest.raises(UploadLost):
            await store.append(upload, body(b" and more"))

        assert await content(store, Digest.of(b"whole")) == b"whole"

    run(scenario())


@pytest.mark.parametrize("left", [0, 1, 999])
def test_a_truncated_blob_is_not_served_and_heals(tmp_path: Path, left: int) -> None:
    """A blob that lost its end is missing for whoever knows its size, and whole again after the next push."""

    async def scenario() -> None:
        store = LocalBlobStore(tmp_path)
        blob = os.urandom(1000)
        digest = Digest.of(blob)
        await store.put(digest, body(blob))
        os.truncate(Layout(tmp_path).blob(digest), left)

        with pytest.raises(BlobMissing, match="run verify"):
            await store.locate(digest, 1000)
        with pytest.raises(BlobMissing, match="run verify"):
            await content(store, digest, 0, 1000)
        await store.put(digest, body(blob))

        assert await content(store, digest, 0, 1000) == blob

    run(scenario())


def test_many_small_pieces_are_written_in_order(tmp_path: Path) -> None:
    """A body of more pieces than one system call takes arrives whole, past every threshold of writing out."""

    async def scenario() -> None:
        store = LocalBlobStore(tmp_path)
        blob = os.urandom(KEPT_IN_PAGE_CACHE + 3 * WRITEBACK_SIZE + 12_345)
        pieces = [blob[start : start + 701] for start in range(0, len(blob), 701)]

        upload = await store.append(await store.start("pieces"), body(*pieces[:30_000]))
        upload = await store.append(upload, body(*pieces[30_000:]))
        await store.commit(upload, Digest.of(blob))

        assert Layout(tmp_path).blob(Digest.of(blob)).read_bytes() == blob

    run(scenario())


def test_what_came_before_a_cut_is_kept(tmp_path: Path) -> None:
    """Bytes that arrived before the client went away need not be sent again."""

    async def scenario() -> None:
        store = LocalBlobStore(tmp_path)

        with pytest.raises(ConnectionResetError):
            await store.append(await store.start("cut"), cut(b"some", b" bytes"))

        assert (await store.recover(await store.start("cut"))).offset == 10

    run(scenario())


def test_a_slow_put_is_not_swept(tmp_path: Path) -> None:
    """Bytes that came recently are no rest of something, though no session names them."""

    async def scenario() -> None:
        store = LocalBlobStore(tmp_path)

        async def slow() -> AsyncIterator[bytes]:
            yield bytes(BATCH_SIZE)
            yield bytes(BATCH_SIZE)
            assert await store.sweep(active(), datetime.now(UTC) - timedelta(minutes=1)) == 0
            yield b"end"

        blob = bytes(2 * BATCH_SIZE) + b"end"
        await store.put(Digest.of(blob), slow())

        assert await content(store, Digest.of(blob)) == blob

    run(scenario())

"""Stores blobs on a local disk or a mounted network disk.

A blob is written under another name, verified, synced and renamed, and its folder is synced: a file with a blob's name
is complete, and acknowledged blobs survive a power failure. Hashing and disk operations run in threads.
"""

import asyncio
import math
import os
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from hythe.oci.digest import HEX_LENGTHS, Digest, new_hasher
from hythe.registry.storage.deletion import Deletion
from hythe.registry.storage.disk import DiskThreads, completed, disk_errors, make_folder, sync_folder, write_file
from hythe.registry.storage.hash_cache import HashCache
from hythe.registry.storage.integrity_cache import IntegrityCache
from hythe.registry.storage.paths import Layout
from hythe.registry.storage.port import (
    BlobMissing,
    LiveUploads,
    LocalFile,
    StorageError,
    StorageUnavailable,
    StoredBlob,
    UploadLost,
    UploadSession,
)
from hythe.registry.storage.small_blobs import MAX_SMALL_SIZE, SmallBlob, SmallBlobs
from hythe.registry.storage.upload_file import UploadFile

BATCH_SIZE = 1024 * 1024
"""Bytes to gather before hashing and writing them; an upload keeps at most two batches in memory."""

READ_SIZE = 128 * 1024
"""Bytes that ``read`` yields at a time. A slow TLS client keeps three times as many in memory."""

THREADS = 8
"""Maximum number of concurrent disk operations."""

SWEEP_SIZE = 500
"""Number of old temporary files to examine at once."""


class LocalBlobStore:
    """See BlobStore. Several processes may use one data folder."""

    def __init__(self, data: Path) -> None:
        """Open the store in ``data`` and create its folders. Raises StorageUnavailable."""
        self._layout = Layout(data)
        self._threads = DiskThreads(data, THREADS)
        self._small = SmallBlobs(self._threads, data)
        self._deletion = Deletion(self._threads, self._layout.blobs)
        self._hashes = HashCache()
        self._integrity = IntegrityCache(data)
        with disk_errors(data):
            data.mkdir(0o700, parents=True, exist_ok=True)
            for folder in (self._layout.blobs, self._layout.uploads, self._layout.quarantine):
                make_folder(folder)
            for algorithm in HEX_LENGTHS:
                make_folder(self._layout.blobs / algorithm)

    async def start(self, upload_id: str) -> UploadSession:
        """See BlobStore.start. The file is created with the first bytes."""
        self._layout.upload(upload_id)
        return UploadSession(upload_id)

    async def append(self, upload: UploadSession, body: AsyncIterator[bytes]) -> UploadSession:
        """See BlobStore.append. If ``body`` raises, the bytes received before stay."""
        file = UploadFile(self._layout.upload(upload.id), upload.offset, self._hashes.take(upload))
        try:
            await self._receive(file, body)
        except StorageUnavailable:
            with suppress(StorageUnavailable):
                await self._threads.run(file.roll_back, upload.offset)
            raise
        finally:
            if file.is_open:
                await self._threads.run(file.close)
            self._keep_hash(upload.id, file)
        return UploadSession(upload.id, file.offset)

    def _keep_hash(self, upload_id: str, file: UploadFile) -> None:
        if file.hasher is not None:
            self._hashes.keep(UploadSession(upload_id, file.offset), file.hasher)

    async def _receive(self, file: UploadFile, body: AsyncIterator[bytes]) -> None:
        """Write ``body`` and sync, including the bytes before a client disconnected. Does nothing without bytes."""
        writer = BatchWriter(self._threads, file)
        try:
            async for piece in body:
                await writer.add(piece)
        except StorageUnavailable:
            raise
        except BaseException:
            await self._seal(writer, file)
            raise
        await self._seal(writer, file)

    async def _seal(self, writer: "BatchWriter", file: UploadFile) -> None:
        if writer.has_bytes:
            await writer.finish(file.seal)

    def holds(self, upload: UploadSession, digest: Digest) -> bool:
        """See BlobStore.holds. ``recover`` is as fast here."""
        return False

    async def recover(self, upload: UploadSession) -> UploadSession:
        """See BlobStore.recover. Reads metadata on the event loop, which takes some microseconds."""
        path = self._layout.upload(upload.id)
        with disk_errors(self._layout.uploads):
            size = self._size(path, self._layout.uploads) or 0
        if size < upload.offset:
            raise UploadLost(f"upload {upload.id} has only {size} of {upload.offset} bytes: start again")
        if size > upload.offset:
            await self._threads.run(_recover, UploadFile(path, size, None))
        return UploadSession(upload.id, size)

    async def commit(self, upload: UploadSession, digest: Digest) -> int:
        """See BlobStore.commit. Bytes that another process received are read again."""
        file = UploadFile(self._layout.upload(upload.id), upload.offset, self._hashes.take(upload))
        await self._threads.run(self._publish, file, digest)
        self._trust(digest)
        return upload.offset

    def _publish(self, file: UploadFile, digest: Digest) -> None:
        try:
            file.publish(digest, self._layout.blob(digest))
        finally:
            file.close()

    async def put(self, digest: Digest, body: AsyncIterator[bytes]) -> int:
        """See BlobStore.put. A small blob costs one write, two syncs and a rename, and shares the syncs."""
        path = self._layout.upload(f"put-{secrets.token_hex(16)}")
        file = UploadFile(path, 0, new_hasher(digest.algorithm), shared=False)
        writer = BatchWriter(self._threads, file)
        try:
            async for piece in body:
                await writer.add(piece)
            pieces = writer.small(MAX_SMALL_SIZE)
            if pieces is None:
                await writer.finish(lambda: self._publish(file, digest))
            else:
                await self._small.publish(SmallBlob(file, pieces, digest, self._layout.blob(digest)))
        except BaseException:
            with suppress(StorageUnavailable):
                await writer.settle()
            with suppress(StorageUnavailable):
                await self._threads.run(self._drop, file)
            raise
        self._trust(digest)
        return file.offset

    def _trust(self, digest: Digest) -> None:
        """Record that a new blob is intact, since it was hashed when received. Reads metadata on the event loop
        (microseconds).
        """
        with suppress(OSError):
            self._integrity.trust(digest, self._layout.blob(digest).stat())

    def _drop(self, file: UploadFile) -> None:
        file.close()
        file.remove()

    async def cancel(self, upload: UploadSession) -> None:
        """See BlobStore.cancel."""
        path = self._layout.upload(upload.id)
        if path.exists():
            await self._threads.run(path.unlink, missing_ok=True)

    async def stat(self, digest: Digest) -> StoredBlob | None:
        """See BlobStore.stat. Reads metadata on the event loop, which takes some microseconds."""
        with disk_errors(self._layout.blobs):
            status = self._stat(self._layout.blob(digest), self._layout.blobs)
        return None if status is None else _stored(digest, status)

    def _stat(self, path: Path, root: Path) -> os.stat_result | None:
        """Return None only if the file does not exist; a missing root folder is an error."""
        try:
            return path.stat()
        except FileNotFoundError:
            root.stat()
            return None

    def _size(self, path: Path, root: Path) -> int | None:
        status = self._stat(path, root)
        return None if status is None else status.st_size

    async def read(self, digest: Digest, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """See BlobStore.read."""
        descriptor = await self._threads.run(self._open_blob, digest)
        try:
            position = start
            while stop is None or position < stop:
                wanted = READ_SIZE if stop is None else min(READ_SIZE, stop - position)
                piece = await self._threads.run(self._pread, digest, descriptor, wanted, position)
                if not piece:
                    break
                yield piece
                position += len(piece)
            if stop is not None and position < stop:
                raise BlobMissing(f"{digest} ends at byte {position}, not {stop}: run verify")
        finally:
            os.close(descriptor)

    def _open_blob(self, digest: Digest) -> int:
        try:
            return os.open(self._layout.blob(digest), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            self._layout.blobs.stat()
            raise BlobMissing(f"{digest} does not exist") from None

    def _pread(self, digest: Digest, descriptor: int, size: int, position: int) -> bytes:
        try:
            return os.pread(descriptor, size, position)
        except OSError as error:
            raise BlobMissing(f"{digest} cannot be read: {error.strerror}; run verify") from error

    async def locate(self, digest: Digest, size: int) -> LocalFile:
        """See BlobStore.locate."""
        path = self._layout.blob(digest)
        with disk_errors(self._layout.blobs):
            status = self._stat(path, self._layout.blobs)
        if status is None:
            raise BlobMissing(f"{digest} does not exist")
        if status.st_size != size:
            raise BlobMissing(f"{digest} has {status.st_size} bytes instead of {size}: run verify")
        trusted = self._integrity.trusts(digest, status)
        return LocalFile(path, size, None if trusted else partial(self._integrity.check, digest, path))

    async def delete(self, digests: Sequence[Digest]) -> Mapping[Digest, StorageError]:
        """See BlobStore.delete."""
        return await self._deletion.delete(digests)

    async def quarantine(self, digest: Digest) -> None:
        """See BlobStore.quarantine."""
        await self._threads.run(self._move, self._layout.blob(digest), self._layout.quarantined(digest))

    def _move(self, path: Path, target: Path) -> None:
        try:
            path.rename(target)
        except FileNotFoundError:
            self._layout.quarantine.stat()
        else:
            sync_folder(target.parent)
            sync_folder(path.parent)

    async def walk(self) -> AsyncIterator[StoredBlob]:
        """See BlobStore.walk. Blobs that appear or disappear during the walk may or may not be included."""
        for algorithm in HEX_LENGTHS:
            for shard in await self._threads.run(_sorted_children, self._layout.blobs / algorithm):
                for blob in await self._threads.run(_blobs_in, shard, algorithm):
                    yield blob

    async def marker(self) -> str | None:
        """See BlobStore.marker."""
        return await self._threads.run(self._read_marker)

    def _read_marker(self) -> str | None:
        try:
            return self._layout.marker.read_text().strip()
        except FileNotFoundError:
            self._layout.blobs.stat()
            return None

    async def set_marker(self, marker: str, *, replace: bool) -> None:
        """See BlobStore.set_marker."""
        await self._threads.run(write_file, self._layout.marker, f"{marker}\n".encode(), replace=replace)

    async def is_empty(self) -> bool:
        """See BlobStore.is_empty."""
        return await self._threads.run(self._is_empty)

    def _is_empty(self) -> bool:
        return not any(any(self._layout.blobs.glob(f"{algorithm}/*/*")) for algorithm in HEX_LENGTHS)

    async def sweep(self, live_uploads: LiveUploads, before: datetime) -> int:
        """See BlobStore.sweep."""
        removed = 0
        old = await self._threads.run(_files_before, self._layout.uploads, before.timestamp())
        for start in range(0, len(old), SWEEP_SIZE):
            some = old[start : start + SWEEP_SIZE]
            live = await live_uploads([path.name for path in some])
            dead = [path for path in some if path.name not in live]
            removed += await self._threads.run(_remove_before, dead, before.timestamp())
        return removed

    async def close(self) -> None:
        """See BlobStore.close."""
        self._integrity.close()
        self._threads.close()
        self._small.close()
        self._deletion.close()


class BatchWriter:
    """Gathers pieces into batches, one while the previous one is hashed and written; keeps at most two in memory."""

    def __init__(self, threads: DiskThreads, file: UploadFile) -> None:
        self._threads = threads
        self._file = file
        self._pieces: list[bytes] = []
        self._size = 0
        self._writing: asyncio.Future[None] | None = None

    @property
    def has_bytes(self) -> bool:
        """Whether any bytes were received."""
        return bool(self._size) or self._writing is not None or self._file.is_open

    async def add(self, piece: bytes) -> None:
        """Add the next bytes; waits while the disk is slower."""
        if piece:
            self._pieces.append(piece)
            self._size += len(piece)
        if self._size >= BATCH_SIZE:
            await self.settle()
            self._writing = self._threads.start(self._file.write, self._take_pieces())

    def small(self, limit: int) -> Sequence[bytes] | None:
        """Return all received bytes if there are at most ``limit``, for the caller to write."""
        return self._take_pieces() if self._writing is None and not self._file.is_open and self._size <= limit else None

    async def finish(self, then: Callable[[], None]) -> None:
        """Write the remaining bytes and call ``then``, in one thread call."""
        await self.settle()
        await self._threads.run(self._finish, self._take_pieces(), then)

    def _finish(self, pieces: Sequence[bytes], then: Callable[[], None]) -> None:
        self._file.write(pieces)
        then()

    async def settle(self) -> None:
        """Wait for the running write."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            await completed(writing)

    def _take_pieces(self) -> list[bytes]:
        pieces, self._pieces, self._size = self._pieces, [], 0
        return pieces


def _recover(file: UploadFile) -> None:
    try:
        file.seal()
    finally:
        file.close()


def _stored(digest: Digest, status: os.stat_result) -> StoredBlob:
    return StoredBlob(digest, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))


def _sorted_children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def _blobs_in(shard: Path, algorithm: str) -> list[StoredBlob]:
    with os.scandir(shard) as entries:
        return [_stored(Digest(algorithm, entry.name), entry.stat()) for entry in entries]


def _files_before(folder: Path, before: float) -> list[Path]:
    with os.scandir(folder) as entries:
        return [Path(entry.path) for entry in entries if _modified(entry) < before]


def _modified(entry: "os.DirEntry[str]") -> float:
    """Return when the file was last written; infinity if it no longer exists."""
    try:
        return entry.stat().st_mtime
    except FileNotFoundError:
        return math.inf


def _remove_before(paths: Sequence[Path], before: float) -> int:
    return sum(_remove_if_old(path, before) for path in paths)


def _remove_if_old(path: Path, before: float) -> bool:
    try:
        if path.stat().st_mtime >= before:
            return False
        path.unlink()
    except FileNotFoundError:
        return False
    return True

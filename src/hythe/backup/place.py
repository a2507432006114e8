"""The places of backups: a folder, or a prefix of a bucket.

Names are paths with ``/``. A name exists once its whole content is stored and durable.
"""

import os
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from hythe.backup.errors import BackupError
from hythe.registry.storage.disk import DiskThreads, sync_folder

if TYPE_CHECKING:
    from hythe.registry.storage.bucket import Bucket

PIECE_SIZE = 1 << 20

SMALL_SIZE = 4 << 20
"""Objects of up to this size are written in one request."""

SCHEMES = ("s3://", "gs://", "az://")


class Missing(BackupError):
    """The name does not exist in the place."""


class StoredFile(msgspec.Struct, frozen=True):
    """A name that is stored, and the size of its content in bytes."""

    name: str
    size: int


class Place(Protocol):
    """Stores the files of backups. Every method may raise StorageUnavailable."""

    title: str

    async def write(self, name: str, pieces: AsyncIterator[bytes]) -> None:
        """Store a name, replacing an older one; nothing is stored if ``pieces`` raises."""

    def read(self, name: str) -> AsyncIterator[bytes]:
        """Yield the content as it is on the medium. Raises Missing."""

    def entries(self, folder: str) -> AsyncIterator[StoredFile]:
        """Yield what is stored below a folder, in no order; nothing if it does not exist."""

    async def delete(self, names: Sequence[str]) -> None:
        """Delete names; a missing one is no error."""

    async def close(self) -> None:
        """Stop threads."""


class FolderPlace:
    """See Place."""

    def __init__(self, folder: Path) -> None:
        """Use ``folder``, which the first write creates for this user alone."""
        self.title = str(folder)
        self._folder = folder
        self._threads = DiskThreads(folder, 8)

    async def write(self, name: str, pieces: AsyncIterator[bytes]) -> None:
        """See Place.write."""
        path = self._folder / name
        own = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        batches = batched(pieces, PIECE_SIZE)
        first, second = await anext(batches, b""), await anext(batches, None)
        if second is None:
            await self._threads.run(self._write_small, own, path, first)
            return
        descriptor = await self._threads.run(self._create, own)
        try:
            await self._threads.run(_write_all, descriptor, first + second)
            async for piece in batches:
                await self._threads.run(_write_all, descriptor, piece)
            await self._threads.run(_publish, descriptor, own, path)
        except BaseException:
            own.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)

    def _write_small(self, own: Path, path: Path, content: bytes) -> None:
        descriptor = self._create(own)
        try:
            _write_all(descriptor, content)
            _publish(descriptor, own, path)
        except OSError:
            own.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)

    def _create(self, path: Path) -> int:
        missing = [folder for folder in (path.parent, *path.parents) if not folder.exists()]
        path.parent.mkdir(0o700, parents=True, exist_ok=True)
        for folder in missing:
            sync_folder(folder.parent)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    async def read(self, name: str) -> AsyncIterator[bytes]:
        """See Place.read. What the system has in memory is not used: the disk must have it."""
        descriptor = await self._threads.run(self._open, name)
        try:
            piece = await self._threads.run(os.read, descriptor, PIECE_SIZE)
            while piece:
                yield piece
                # A file ends with the first piece that is not full.
                full = len(piece) == PIECE_SIZE
                piece = await self._threads.run(os.read, descriptor, PIECE_SIZE) if full else b""
        finally:
            os.close(descriptor)

    def _open(self, name: str) -> int:
        try:
            descriptor = os.open(self._folder / name, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise Missing(f"{self._folder / name} does not exist") from None
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        return descriptor

    async def entries(self, folder: str) -> AsyncIterator[StoredFile]:
        """See Place.entries. Unfinished files of a killed process are not among them."""
        for entry in await self._threads.run(self._entries, folder):
            yield entry

    def _entries(self, folder: str) -> list[StoredFile]:
        return [
            StoredFile(str(path.relative_to(self._folder)), path.stat().st_size)
            for path in sorted((self._folder / folder).rglob("*"))
            if path.is_file() and not path.name.startswith(".")
        ]

    async def delete(self, names: Sequence[str]) -> None:
        """See Place.delete."""
        await self._threads.run(self._delete, names)

    def _delete(self, names: Sequence[str]) -> None:
        for name in names:
            (self._folder / name).unlink(missing_ok=True)
        for parent in {(self._folder / name).parent for name in names}:
            with suppress(OSError):  # it is not empty
                parent.rmdir()

    async def close(self) -> None:
        """See Place.close."""
        self._threads.close()


class BucketPlace:
    """See Place."""

    def __init__(self, url: str, bucket: "Bucket") -> None:
        self.title = url
        self._bucket = bucket

    async def write(self, name: str, pieces: AsyncIterator[bytes]) -> None:
        """See Place.write."""
        batches = batched(pieces, SMALL_SIZE)
        first = await anext(batches, b"")
        second = await anext(batches, None)
        if second is None:
            await self._bucket.put(name, first)
            return
        async with self._bucket.writing(name) as writer:
            await writer.write(first)
            await writer.write(second)
            async for batch in batches:
                await writer.write(batch)

    async def read(self, name: str) -> AsyncIterator[bytes]:
        """See Place.read."""
        from hythe.registry.storage.bucket import ObjectMissing

        found = await self._bucket.head(name)
        if found is None:
            raise Missing(f"{self.title}/{name} does not exist")
        try:
            async for piece in self._bucket.read(name, 0, found.size):
                yield piece
        except ObjectMissing as error:
            raise Missing(f"{self.title}/{name} cannot be read: {error}") from error

    async def entries(self, folder: str) -> AsyncIterator[StoredFile]:
        """See Place.entries."""
        async for batch in self._bucket.list(f"{folder}/"):
            for found in batch:
                yield StoredFile(found.key, found.size)

    async def delete(self, names: Sequence[str]) -> None:
        """See Place.delete."""
        for error in (await self._bucket.delete_many(list(names))).values():
            raise error

    async def close(self) -> None:
        """See Place.close. Idle connections close on their own."""


def open_place(text: str) -> Place:
    """Return the place that ``text`` names: a folder, or ``s3://BUCKET/PREFIX``, ``gs://`` or ``az://``."""
    if not text.startswith(SCHEMES):
        return FolderPlace(Path(text).expanduser().absolute())
    from hythe.registry.storage.bucket import Bucket

    return BucketPlace(text.rstrip("/"), Bucket(text))


async def read_whole(pieces: AsyncIterator[bytes]) -> bytes:
    """Return all bytes of a small file."""
    return b"".join([piece async for piece in pieces])


async def one_piece(content: bytes) -> AsyncIterator[bytes]:
    """Yield a small file."""
    yield content


async def batched(pieces: AsyncIterator[bytes], size: int) -> AsyncIterator[bytes]:
    """Yield the bytes in pieces of exactly ``size``, but for the last one."""
    buffer = bytearray()
    async for piece in pieces:
        buffer += piece
        while len(buffer) >= size:
            yield bytes(buffer[:size])
            del buffer[:size]
    if buffer:
        yield bytes(buffer)


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _publish(descriptor: int, own: Path, path: Path) -> None:
    os.fsync(descriptor)
    own.rename(path)
    sync_folder(path.parent)

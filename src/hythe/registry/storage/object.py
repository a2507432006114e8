"""Stores blobs in an object store: S3 and compatible ones, Google Cloud, Azure.

    blobs/sha256/ab/ab34…           a blob: its data object and its size (JSON)
    data/TOKEN                      bytes; written once
    uploads/UPLOAD/OFFSET-TOKEN     marks data/TOKEN as temporary; contains the digest that it is about to become
    quarantine/sha256-ab34…         the entry of a damaged blob
    installation                    the marker: to which installation the blobs belong

A blob's digest is unknown while its bytes arrive, and object stores cannot rename. So the bytes stay where they were
written, and the blob is an entry that refers to them. The marker is written before the bytes and deleted after the
entry was written; after any failure in between, ``sweep`` finds all temporary objects by listing only the markers.

Each PATCH of a session becomes one data object, streamed in parts. Docker and other clients send a layer in one PATCH;
for several ones ``commit`` writes a single object by reading them again, since a presigned URL refers to one object.
Nothing is written to the local disk. Parts of a multipart upload of a killed server cannot be listed here: give the
bucket a lifecycle rule that aborts incomplete uploads after some days.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime

import msgspec

from hythe.oci.digest import Digest, Hasher, new_hasher
from hythe.registry.storage.bucket import Bucket, ObjectMissing, Writer, gathered
from hythe.registry.storage.hash_cache import HashCache
from hythe.registry.storage.port import (
    BlobMissing,
    DigestMismatch,
    LiveUploads,
    Redirect,
    StorageError,
    StoredBlob,
    UploadLost,
    UploadSession,
)

BATCH_SIZE = 1024 * 1024
"""Bytes to gather before hashing and sending them."""

MARKER = "installation"
"""The key of the marker."""


class UploadPart(msgspec.Struct, frozen=True, array_like=True):
    """A data object of an upload: the offset of its bytes in the upload, and its token."""

    upload_id: str
    offset: int
    token: str

    @property
    def data(self) -> str:
        """The key of the bytes."""
        return _data(self.token)

    @property
    def marker(self) -> str:
        """The key that marks the bytes as temporary."""
        return f"uploads/{self.upload_id}/{self.offset:015d}-{self.token}"

    @classmethod
    def of_marker(cls, key: str) -> "UploadPart":
        """Return the part that a marker's key refers to."""
        _, upload_id, name = key.rsplit("/", 2)
        offset, _, token = name.partition("-")
        return cls(upload_id, int(offset), token)


class StoredPart(msgspec.Struct, frozen=True, array_like=True):
    """A stored part of an upload, as kept in ``UploadSession.state``."""

    token: str
    size: int


class IndexEntry(msgspec.Struct, frozen=True):
    """The content of ``blobs/..``."""

    token: str
    size: int


class ObjectBlobStore:
    """See BlobStore. Any number of servers may use one bucket."""

    def __init__(self, bucket: Bucket, *, redirect: bool = True) -> None:
        """``redirect``: clients fetch blobs directly from the bucket, with presigned URLs."""
        self._bucket = bucket
        self._redirect = redirect
        self._hashes = HashCache()

    async def start(self, upload_id: str) -> UploadSession:
        """See BlobStore.start."""
        return UploadSession(upload_id)

    async def append(self, upload: UploadSession, body: AsyncIterator[bytes]) -> UploadSession:
        """See BlobStore.append. If ``body`` raises, the bytes received before stay."""
        hasher = self._hashes.take(upload)
        part = UploadPart(upload.id, upload.offset, secrets.token_hex(16))
        size, cut = await self._receive(part, body, hasher)
        extended = _with_part(upload, StoredPart(part.token, size)) if size else upload
        if hasher is not None:
            self._hashes.keep(extended, hasher)
        if cut is not None:
            raise cut
        return extended

    async def _receive(
        self, part: UploadPart, body: AsyncIterator[bytes], hasher: Hasher | None, digest: Digest | None = None
    ) -> tuple[int, Exception | None]:
        """Write ``body``, or the bytes before it raised; return the size and the raised error.

        Without bytes no object is created. Raises StorageUnavailable, after which there is no object either.
        """
        batches = _batches(body)
        try:
            first = await anext(batches, None)
        except Exception as error:
            return 0, error
        if first is None:
            return 0, None
        await self._bucket.put(part.marker, b"" if digest is None else str(digest).encode())
        async with self._bucket.writing(part.data) as writer:
            return await _copy(first, batches, writer, hasher)

    async def _receive_whole(
        self, part: UploadPart, body: AsyncIterator[bytes], hasher: Hasher, digest: Digest | None = None
    ) -> int:
        """Write ``body`` to its end, which may come immediately."""
        size, cut = await self._receive(part, body, hasher, digest)
        if cut is not None:
            await self._discard(part)
            raise cut
        if size == 0:
            await self._bucket.put(part.marker, b"")
            await self._bucket.put(part.data, b"")
        return size

    async def recover(self, upload: UploadSession) -> UploadSession:
        """See BlobStore.recover."""
        for piece in _pieces(upload):
            found = await self._bucket.head(_data(piece.token))
            if found is None or found.size != piece.size:
                raise UploadLost(f"the bytes of upload {upload.id} are lost: start again")
        parts = [part async for part in self._parts(upload.id)]
        while (longest := await self._longest_part(parts, upload.offset)) is not None:
            upload = _with_part(upload, longest)
        return upload

    async def _parts(self, upload_id: str) -> AsyncIterator[UploadPart]:
        async for listed in self._bucket.list(f"uploads/{upload_id}/"):
            for found in listed:
                yield UploadPart.of_marker(found.key)

    async def _longest_part(self, parts: list[UploadPart], offset: int) -> StoredPart | None:
        """Return the longest piece at ``offset``: PATCH requests may fail before the response, or be repeated."""
        objects = [(part, await self._bucket.head(part.data)) for part in parts if part.offset == offset]
        pieces = [StoredPart(part.token, found.size) for part, found in objects if found is not None and found.size]
        return max(pieces, key=lambda piece: piece.size, default=None)

    async def commit(self, upload: UploadSession, digest: Digest) -> int:
        """See BlobStore.commit. Bytes that another server received are read again."""
        hasher = self._hashes.take(upload)
        pieces = _pieces(upload)
        try:
            if len(pieces) == 1:
                part = UploadPart(upload.id, 0, pieces[0].token)
                hasher = await self._hashed(pieces[0], hasher, digest.algorithm)
            else:
                part = UploadPart(upload.id, 0, secrets.token_hex(16))
                hasher = new_hasher(digest.algorithm)
                await self._receive_whole(part, self._joined(pieces), hasher)
        except ObjectMissing:
            raise UploadLost(f"the bytes of upload {upload.id} are lost: start again") from None
        if hasher.hexdigest() != digest.hex:
            await self.cancel(upload)
            raise _digest_mismatch(digest)
        await self._publish(part, upload.offset, digest)
        if len(pieces) > 1:
            await self.cancel(upload)
        return upload.offset

    async def _hashed(self, piece: StoredPart, hasher: Hasher | None, algorithm: str) -> Hasher:
        if hasher is not None and hasher.name == algorithm:
            return hasher
        again = new_hasher(algorithm)
        async for batch in self._joined([piece]):
            await asyncio.to_thread(again.update, batch)
        return again

    async def _joined(self, pieces: list[StoredPart]) -> AsyncIterator[bytes]:
        for piece in pieces:
            async for batch in self._bucket.read(_data(piece.token), 0, piece.size):
                yield batch

    async def put(self, digest: Digest, body: AsyncIterator[bytes]) -> int:
        """See BlobStore.put."""
        part = UploadPart(f"put-{secrets.token_hex(8)}", 0, secrets.token_hex(16))
        hasher = new_hasher(digest.algorithm)
        size = await self._receive_whole(part, body, hasher, digest)
        if hasher.hexdigest() != digest.hex:
            await self._discard(part)
            raise _digest_mismatch(digest)
        await self._publish(part, size, digest)
        return size

    async def _publish(self, part: UploadPart, size: int, digest: Digest) -> None:
        """Write the blob's entry; if two servers do so at once for one digest, one of them wins."""
        await self._bucket.put(part.marker, str(digest).encode())
        entry = msgspec.json.encode(IndexEntry(part.token, size))
        if not await self._bucket.create(_blob(digest), entry):
            kept = await self._entry(digest)
            if kept is not None and kept.token != part.token and await self._is_whole(kept):
                await self._discard(part)
                return
            await self._bucket.put(_blob(digest), entry)
        if not await self._is_whole(IndexEntry(part.token, size)):
            await self._bucket.delete(_blob(digest))
            raise UploadLost(f"the bytes of upload {part.upload_id} were deleted while it ended: start again")
        await self._bucket.delete(part.marker)

    async def _is_whole(self, entry: IndexEntry) -> bool:
        found = await self._bucket.head(_data(entry.token))
        return found is not None and found.size == entry.size

    async def cancel(self, upload: UploadSession) -> None:
        """See BlobStore.cancel."""
        async for part in self._parts(upload.id):
            await self._discard(part)

    async def _discard(self, part: UploadPart) -> None:
        """Delete temporary bytes; for bytes that became a blob delete only the marker."""
        marker = await self._bucket.get(part.marker)
        if marker is None:
            return
        if marker.content:
            entry = await self._entry(Digest.parse(marker.content.decode()))
            if entry is not None and entry.token == part.token:
                await self._bucket.delete(part.marker)
                return
        await self._bucket.delete(part.data)
        await self._bucket.delete(part.marker)

    async def _entry(self, digest: Digest) -> IndexEntry | None:
        found = await self._bucket.get(_blob(digest))
        return None if found is None else msgspec.json.decode(found.content, type=IndexEntry)

    async def _require_entry(self, digest: Digest) -> IndexEntry:
        entry = await self._entry(digest)
        if entry is None:
            raise BlobMissing(f"{digest} does not exist")
        return entry

    async def stat(self, digest: Digest) -> StoredBlob | None:
        """See BlobStore.stat."""
        found = await self._bucket.get(_blob(digest))
        if found is None:
            return None
        return StoredBlob(digest, msgspec.json.decode(found.content, type=IndexEntry).size, found.modified)

    async def read(self, digest: Digest, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """See BlobStore.read."""
        entry = await self._require_entry(digest)
        if stop is not None and stop > entry.size:
            raise BlobMissing(f"{digest} ends at byte {entry.size}, not {stop}: run verify")
        try:
            async for piece in self._bucket.read(_data(entry.token), start, entry.size if stop is None else stop):
                yield piece
        except ObjectMissing as error:
            raise BlobMissing(f"the bytes of {digest} are lost: {error}; run verify") from error

    async def locate(self, digest: Digest, size: int) -> Redirect | None:
        """See BlobStore.locate."""
        entry = await self._require_entry(digest)
        if entry.size != size:
            raise BlobMissing(f"{digest} has {entry.size} bytes instead of {size}: run verify")
        return Redirect(await self._bucket.sign(_data(entry.token))) if self._redirect else None

    async def delete(self, digests: Sequence[Digest]) -> Mapping[Digest, StorageError]:
        """See BlobStore.delete. Entries are deleted last, so that an interrupted delete can be repeated."""
        entries = dict(zip(digests, await gathered(self._entry, digests), strict=True))
        stored = {digest: _data(entry.token) for digest, entry in entries.items() if entry is not None}
        failed = await self._bucket.delete_many(list(stored.values()))
        failures: dict[Digest, StorageError] = {digest: failed[key] for digest, key in stored.items() if key in failed}
        without_data = {digest: _blob(digest) for digest in stored if digest not in failures}
        failed = await self._bucket.delete_many(list(without_data.values()))
        return failures | {digest: failed[key] for digest, key in without_data.items() if key in failed}

    async def quarantine(self, digest: Digest) -> None:
        """See BlobStore.quarantine. The bytes stay under ``data/``; the quarantined entry refers to them."""
        found = await self._bucket.get(_blob(digest))
        if found is not None:
            await self._bucket.put(f"quarantine/{digest.algorithm}-{digest.hex}", found.content)
            await self._bucket.delete(_blob(digest))

    async def walk(self) -> AsyncIterator[StoredBlob]:
        """See BlobStore.walk."""
        async for listed in self._bucket.list("blobs/"):
            for blob in await asyncio.gather(*(self.stat(_digest(found.key)) for found in listed)):
                if blob is not None:
                    yield blob

    async def marker(self) -> str | None:
        """See BlobStore.marker."""
        found = await self._bucket.get(MARKER)
        return None if found is None else found.content.decode("utf-8", "replace").strip()

    async def set_marker(self, marker: str, *, replace: bool) -> None:
        """See BlobStore.set_marker."""
        content = f"{marker}\n".encode()
        if replace:
            await self._bucket.put(MARKER, content)
        else:
            await self._bucket.create(MARKER, content)

    async def is_empty(self) -> bool:
        """See BlobStore.is_empty."""
        async for listed in self._bucket.list("blobs/"):
            if listed:
                return False
        return True

    async def sweep(self, live_uploads: LiveUploads, before: datetime) -> int:
        """See BlobStore.sweep."""
        removed = 0
        async for listed in self._bucket.list("uploads/"):
            old = [UploadPart.of_marker(found.key) for found in listed if found.modified < before]
            live = await live_uploads(sorted({part.upload_id for part in old}))
            dead = [part for part in old if part.upload_id not in live]
            removed += sum(await gathered(lambda part: self._discard_old(part, before), dead))
        return removed

    async def _discard_old(self, part: UploadPart, before: datetime) -> bool:
        if await self._is_recent(part, before):
            return False
        await self._discard(part)
        return True

    async def _is_recent(self, part: UploadPart, before: datetime) -> bool:
        """Return whether the bytes are new although the marker is old: a slow upload that may be about to end."""
        found = await self._bucket.head(part.data)
        return found is not None and found.modified >= before

    async def close(self) -> None:
        """See BlobStore.close. Idle connections close on their own."""


async def _copy(
    first: bytes, rest: AsyncIterator[bytes], writer: Writer, hasher: Hasher | None
) -> tuple[int, Exception | None]:
    """Write and hash the bytes; return their number and the error of ``rest``. Raises the errors of ``writer``."""
    batch: bytes | None = first
    size = 0
    while batch is not None:
        hashing = None if hasher is None else asyncio.to_thread(hasher.update, batch)
        await asyncio.gather(writer.write(batch), *([hashing] if hashing else []))
        size += len(batch)
        try:
            batch = await anext(rest, None)
        except Exception as error:
            return size, error
    return size, None


async def _batches(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the bytes in larger pieces, including the last ones before ``body`` raises."""
    gathered: list[bytes] = []
    size = 0
    try:
        async for piece in body:
            gathered.append(piece)
            size += len(piece)
            if size >= BATCH_SIZE:
                yield b"".join(gathered)
                gathered, size = [], 0
    except Exception:
        if size:
            yield b"".join(gathered)
        raise
    if size:
        yield b"".join(gathered)


def _pieces(upload: UploadSession) -> list[StoredPart]:
    return msgspec.json.decode(upload.state, type=list[StoredPart]) if upload.state else []


def _with_part(upload: UploadSession, piece: StoredPart) -> UploadSession:
    state = msgspec.json.encode([*_pieces(upload), piece]).decode()
    return UploadSession(upload.id, upload.offset + piece.size, state)


def _data(token: str) -> str:
    return f"data/{token}"


def _blob(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex[:2]}/{digest.hex}"


def _digest(key: str) -> Digest:
    algorithm, _, encoded = key.split("/")[-3:]
    return Digest(algorithm, encoded)


def _digest_mismatch(digest: Digest) -> DigestMismatch:
    return DigestMismatch(f"the content does not match {digest}, and the upload was discarded: send it again")

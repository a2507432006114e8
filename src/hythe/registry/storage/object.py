"""Stores blobs in an object store: S3 and compatible ones, Google Cloud, Azure.

    blobs/sha256/ab/ab34…           a blob: its data object and its size (JSON)
    data/TOKEN                      bytes; written once
    uploads/UPLOAD/OFFSET-TOKEN     marks data/TOKEN as temporary; contains the digest that it is about to become
    quarantine/sha256-ab34…         the entry of a damaged blob
    installation                    the marker: to which installation the blobs belong

A blob's digest is unknown while its bytes arrive, and object stores cannot rename. So the bytes stay where they were
written, and the blob is an entry that refers to them. The marker is written before the bytes and deleted after the
entry was written; after any failure in between, ``sweep`` finds all temporary objects by listing only the markers.
Bytes that fit into memory are written at the same time as their marker and entry, so that a request waits for the store
once; a server that is killed in that moment can leave up to 1 MiB that nothing refers to.

Each PATCH of a session becomes one data object, streamed in parts. Docker and other clients send a layer in one PATCH;
for several ones ``commit`` writes a single object by reading them again, since a presigned URL refers to one object.
Nothing is written to the local disk. Parts of a multipart upload of a killed server cannot be listed here: give the
bucket a lifecycle rule that aborts incomplete uploads after some days.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime

import msgspec

from hythe.oci.digest import Digest, Hasher, new_hasher
from hythe.registry.storage.bucket import Bucket, ObjectMissing, gathered, together
from hythe.registry.storage.entry_cache import EntryCache
from hythe.registry.storage.hash_cache import HashCache
from hythe.registry.storage.object_body import Body, copy_body, open_body
from hythe.registry.storage.object_layout import (
    MARKER,
    IndexEntry,
    StoredPart,
    UploadPart,
    blob_key,
    data_key,
    digest_of_key,
    pieces_of,
    with_part,
)
from hythe.registry.storage.port import (
    BlobMissing,
    DigestMismatch,
    LiveUploads,
    Redirect,
    StorageError,
    StorageUnavailable,
    StoredBlob,
    UploadLost,
    UploadSession,
)

CLOSE_TIMEOUT = 5.0
"""Seconds to wait for the deletion of markers when the store is closed; ``sweep`` deletes the others."""


class ObjectBlobStore:
    """See BlobStore. Any number of servers may use one bucket."""

    def __init__(self, bucket: Bucket, *, redirect: bool = True, entry_lifetime: float = 0.0) -> None:
        """``redirect``: clients fetch blobs directly from the bucket, with presigned URLs.

        ``entry_lifetime``: seconds for which an entry may be reused after another server has deleted the blob.
        """
        self._bucket = bucket
        self._redirect = redirect
        self._hashes = HashCache()
        self._entries = EntryCache(entry_lifetime)
        self._deletions: set[asyncio.Task[None]] = set()

    async def start(self, upload_id: str) -> UploadSession:
        """See BlobStore.start."""
        return UploadSession(upload_id)

    async def append(self, upload: UploadSession, body: AsyncIterator[bytes]) -> UploadSession:
        """See BlobStore.append. If ``body`` raises, the bytes received before stay."""
        hasher = self._hashes.take(upload)
        part = UploadPart(upload.id, upload.offset, secrets.token_hex(16))
        size, cut = await self._receive(part, await open_body(body), hasher)
        extended = with_part(upload, StoredPart(part.token, size)) if size else upload
        if hasher is not None:
            self._hashes.keep(extended, hasher)
        if cut is not None:
            raise cut
        return extended

    async def _receive(
        self, part: UploadPart, body: Body, hasher: Hasher | None, digest: Digest | None = None
    ) -> tuple[int, Exception | None]:
        """Write ``body``, or the bytes before it raised; return the size and the raised error.

        Without bytes no object is created. Raises StorageUnavailable, after which there is no object either.
        """
        if body.rest is None:
            if body.first:
                await self._write(part, body.first, hasher)
            return len(body.first), body.cut
        await self._bucket.put(part.marker, _marked(digest))
        async with self._bucket.writing(part.data) as writer:
            return await copy_body(body.first, body.rest, writer, hasher)

    async def _write(self, part: UploadPart, content: bytes, hasher: Hasher | None) -> None:
        """Write a small part and its marker at the same time, which saves a wait."""
        hashing = [] if hasher is None else [asyncio.to_thread(hasher.update, content)]
        try:
            await together(self._bucket.put(part.marker, b""), self._bucket.put(part.data, content), *hashing)
        except StorageUnavailable:
            with suppress(StorageUnavailable):
                await self._bucket.delete(part.data)
            raise

    async def _receive_whole(self, part: UploadPart, body: Body, hasher: Hasher, digest: Digest | None = None) -> int:
        """Write ``body`` to its end, which may come immediately."""
        size, cut = await self._receive(part, body, hasher, digest)
        if cut is not None:
            await self._discard(part)
            raise cut
        if size == 0:
            await together(self._bucket.put(part.marker, b""), self._bucket.put(part.data, b""))
        return size

    def holds(self, upload: UploadSession, digest: Digest) -> bool:
        """See BlobStore.holds."""
        hasher = self._hashes.peek(upload)
        return hasher is not None and hasher.name == digest.algorithm and hasher.hexdigest() == digest.hex

    async def recover(self, upload: UploadSession) -> UploadSession:
        """See BlobStore.recover."""
        pieces = pieces_of(upload)
        parts, found = await asyncio.gather(
            self._listed_parts(upload.id), gathered(self._bucket.head, [data_key(piece.token) for piece in pieces])
        )
        for piece, data in zip(pieces, found, strict=True):
            if data is None or data.size != piece.size:
                raise UploadLost(f"the bytes of upload {upload.id} are lost: start again")
        while (longest := await self._longest_part(parts, upload.offset)) is not None:
            upload = with_part(upload, longest)
        return upload

    async def _listed_parts(self, upload_id: str) -> list[UploadPart]:
        return [part async for part in self._parts(upload_id)]

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
        pieces = pieces_of(upload)
        try:
            if len(pieces) == 1:
                part = UploadPart(upload.id, 0, pieces[0].token)
                hasher = await self._hashed(pieces[0], hasher, digest.algorithm)
            else:
                part = UploadPart(upload.id, 0, secrets.token_hex(16))
                hasher = new_hasher(digest.algorithm)
                await self._receive_whole(part, await open_body(self._joined(pieces)), hasher)
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
            async for batch in self._bucket.read(data_key(piece.token), 0, piece.size):
                yield batch

    async def put(self, digest: Digest, body: AsyncIterator[bytes]) -> int:
        """See BlobStore.put."""
        part = UploadPart(f"put-{secrets.token_hex(8)}", 0, secrets.token_hex(16))
        hasher = new_hasher(digest.algorithm)
        opened = await open_body(body)
        if opened.rest is None:
            return await self._put_small(part, opened, hasher, digest)
        size = await self._receive_whole(part, opened, hasher, digest)
        if hasher.hexdigest() != digest.hex:
            await self._discard(part)
            raise _digest_mismatch(digest)
        await self._publish(part, size, digest)
        return size

    async def _put_small(self, part: UploadPart, body: Body, hasher: Hasher, digest: Digest) -> int:
        """Store a blob whose bytes are in memory with one wait for the store."""
        if body.cut is not None:
            raise body.cut
        await asyncio.to_thread(hasher.update, body.first)
        if hasher.hexdigest() != digest.hex:
            raise _digest_mismatch(digest)
        entry = IndexEntry(part.token, len(body.first))
        try:
            await self._enter(part, entry, digest, self._bucket.put(part.data, body.first))
        except StorageUnavailable:
            with suppress(StorageUnavailable):
                await self._discard(part)
            raise
        return entry.size

    async def _publish(self, part: UploadPart, size: int, digest: Digest) -> None:
        """Turn a part's bytes into a blob."""
        entry = IndexEntry(part.token, size)
        await self._enter(part, entry, digest, self._require_whole(part, entry))

    async def _enter(self, part: UploadPart, entry: IndexEntry, digest: Digest, data: Awaitable[None]) -> None:
        """Write the blob's entry and await ``data`` at the same time; if either fails, there is no entry.

        If two servers do so at once for one digest, one of them wins.
        """
        content = msgspec.json.encode(entry)
        try:
            _, created, _ = await together(
                self._bucket.put(part.marker, _marked(digest)), self._bucket.create(blob_key(digest), content), data
            )
        except (StorageUnavailable, UploadLost):
            with suppress(StorageUnavailable):
                if await self._entry(digest) == entry:
                    await self._bucket.delete(blob_key(digest))
            raise
        if not created:
            kept = await self._entry(digest)
            if kept is not None and kept.token != part.token and await self._is_whole(kept):
                await self._discard(part)
                return
            await self._bucket.put(blob_key(digest), content)
            await self._require_whole(part, entry)
        self._entries.pop(digest)
        self._delete_later(part.marker)

    async def _require_whole(self, part: UploadPart, entry: IndexEntry) -> None:
        if not await self._is_whole(entry):
            raise UploadLost(f"the bytes of upload {part.upload_id} were deleted while it ended: start again")

    def _delete_later(self, key: str) -> None:
        """Delete an object without making a request wait; what fails is left to ``sweep``."""

        async def delete() -> None:
            with suppress(StorageUnavailable):
                await self._bucket.delete(key)

        deletion = asyncio.create_task(delete())
        self._deletions.add(deletion)
        deletion.add_done_callback(self._deletions.discard)

    async def _is_whole(self, entry: IndexEntry) -> bool:
        found = await self._bucket.head(data_key(entry.token))
        return found is not None and found.size == entry.size

    async def cancel(self, upload: UploadSession) -> None:
        """See BlobStore.cancel. Parts that a crash made the database forget are left to ``sweep``."""
        if upload.offset:
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
        found = await self._bucket.get(blob_key(digest))
        return None if found is None else msgspec.json.decode(found.content, type=IndexEntry)

    async def _require_entry(self, digest: Digest) -> IndexEntry:
        entry = await self._entry(digest)
        if entry is None:
            raise BlobMissing(f"{digest} does not exist")
        return entry

    async def stat(self, digest: Digest) -> StoredBlob | None:
        """See BlobStore.stat."""
        found = await self._bucket.get(blob_key(digest))
        if found is None:
            return None
        return StoredBlob(digest, msgspec.json.decode(found.content, type=IndexEntry).size, found.modified)

    async def read(self, digest: Digest, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """See BlobStore.read."""
        entry = await self._require_entry(digest)
        if stop is not None and stop > entry.size:
            raise BlobMissing(f"{digest} ends at byte {entry.size}, not {stop}: run verify")
        try:
            async for piece in self._bucket.read(data_key(entry.token), start, entry.size if stop is None else stop):
                yield piece
        except ObjectMissing as error:
            raise BlobMissing(f"the bytes of {digest} are lost: {error}; run verify") from error

    async def locate(self, digest: Digest, size: int) -> Redirect | None:
        """See BlobStore.locate."""
        entry = self._entries.get(digest)
        if entry is None:
            entry = await self._require_entry(digest)
            self._entries.keep(digest, entry)
        if entry.size != size:
            raise BlobMissing(f"{digest} has {entry.size} bytes instead of {size}: run verify")
        return Redirect(await self._bucket.sign(data_key(entry.token))) if self._redirect else None

    async def delete(self, digests: Sequence[Digest]) -> Mapping[Digest, StorageError]:
        """See BlobStore.delete. Entries are deleted last, so that an interrupted delete can be repeated."""
        for digest in digests:
            self._entries.pop(digest)
        entries = dict(zip(digests, await gathered(self._entry, digests), strict=True))
        stored = {digest: data_key(entry.token) for digest, entry in entries.items() if entry is not None}
        failed = await self._bucket.delete_many(list(stored.values()))
        failures: dict[Digest, StorageError] = {digest: failed[key] for digest, key in stored.items() if key in failed}
        without_data = {digest: blob_key(digest) for digest in stored if digest not in failures}
        failed = await self._bucket.delete_many(list(without_data.values()))
        return failures | {digest: failed[key] for digest, key in without_data.items() if key in failed}

    async def quarantine(self, digest: Digest) -> None:
        """See BlobStore.quarantine. The bytes stay under ``data/``; the quarantined entry refers to them."""
        self._entries.pop(digest)
        found = await self._bucket.get(blob_key(digest))
        if found is not None:
            await self._bucket.put(f"quarantine/{digest.algorithm}-{digest.hex}", found.content)
            await self._bucket.delete(blob_key(digest))

    async def walk(self) -> AsyncIterator[StoredBlob]:
        """See BlobStore.walk."""
        async for listed in self._bucket.list("blobs/"):
            for blob in await asyncio.gather(*(self.stat(digest_of_key(found.key)) for found in listed)):
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
        if self._deletions:
            await asyncio.wait(self._deletions, timeout=CLOSE_TIMEOUT)


def _marked(digest: Digest | None) -> bytes:
    """Return the content of a marker: the digest that the bytes are about to become."""
    return b"" if digest is None else str(digest).encode()


def _digest_mismatch(digest: Digest) -> DigestMismatch:
    return DigestMismatch(f"the content does not match {digest}, and the upload was discarded: send it again")

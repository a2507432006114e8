"""Upload sessions: receive the bytes of a blob in any number of requests, then commit them as a blob.

    start ──> append* ──> finish        the session's row records the current offset
      └──────────────────> finish       a whole blob in one request goes to the store's ``put``

Before the bytes become a blob, the session claims the digest; afterwards one transaction links the blob and ends the
session. Garbage collection never deletes a linked or claimed blob, and no session claims a blob that is being deleted.

Only that last transaction is durable. When the database crashes, it may forget the latest changes of sessions: the row
is then behind the stored bytes, from which every request recovers the offset, or the claim or the session is missing,
and the client starts again.
"""

import asyncio
import re
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from http import HTTPStatus

import msgspec

from hythe.database import Database
from hythe.oci.digest import Digest
from hythe.oci.errors import ErrorCode, WireError
from hythe.registry.access import Access, Action, Actor, Limits
from hythe.registry.clock import Clock
from hythe.registry.garbage_collection import DOOM_LIFETIME
from hythe.registry.policy import Policy
from hythe.registry.quota import Quota, QuotaExceeded
from hythe.registry.repositories import Repositories
from hythe.registry.sql import blobs as blob_store
from hythe.registry.sql import garbage_collection as garbage_store
from hythe.registry.sql import uploads as store
from hythe.registry.storage.port import BlobStore, DigestMismatch, StorageError, UploadBusy, UploadLost, UploadSession

DOOM_TIMEOUT = 70.0
"""Seconds to wait for the deletion of the same blob before storing it again; longer than DOOM_LIFETIME."""

DOOM_POLL_INTERVAL = 0.02

_ID = re.compile("[0-9a-f]{32}")


class BodyCut(Exception):
    """The client disconnected, or sent fewer bytes than it announced."""


class Chunk(msgspec.Struct, frozen=True):
    """The body of one request.

    ``start`` is its offset in the blob, and ``length`` its number of bytes, if the client sent them.
    """

    body: AsyncIterator[bytes]
    start: int | None = None
    length: int | None = None


class _CountedBody:
    """The body of a request; ``size`` is the number of bytes that were read."""

    def __init__(self, body: AsyncIterator[bytes]) -> None:
        self._body = body
        self.size = 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        piece = await anext(self._body)
        self.size += len(piece)
        return piece


class _Push(msgspec.Struct, frozen=True):
    """Who pushes where, within which limits."""

    actor: Actor
    repository: str
    limits: Limits


class Uploads:
    """The upload sessions of a registry."""

    def __init__(
        self,
        database: Database,
        storage: BlobStore,
        access: Access,
        repositories: Repositories,
        quota: Quota,
        policy: Policy,
        clock: Clock,
    ) -> None:
        self._database = database
        self._storage = storage
        self._access = access
        self._repositories = repositories
        self._quota = quota
        self._policy = policy
        self._clock = clock

    async def start(self, actor: Actor, repository: str) -> UploadSession:
        """Open a session (specification, "Pushing blobs", "POST then PUT"). Raises QuotaExceeded."""
        return await self._start(await self._push(actor, repository))

    async def put(
        self, actor: Actor, repository: str, digest: Digest, body: AsyncIterator[bytes], length: int | None = None
    ) -> int:
        """Store a whole blob, of ``length`` bytes if that is known, in one request; return its size.

        See the specification, "Single POST". Raises WireError DIGEST_INVALID, QuotaExceeded and BodyCut; nothing is
        stored then.
        """
        push = await self._push(actor, repository)
        upload = await self._start(push, digest)
        try:
            return await self._finish_whole(push, upload, digest, Chunk(body, length=length))
        except DigestMismatch as error:
            await self._discard(upload)
            raise wrong_digest(digest) from error
        except (WireError, StorageError, BodyCut):
            await self._discard(upload)
            raise

    async def get(self, actor: Actor, repository: str, upload_id: str) -> UploadSession:
        """Return the session. Raises BLOB_UPLOAD_UNKNOWN."""
        return await self._recover(await self._find(await self._push(actor, repository), upload_id))

    async def append(self, actor: Actor, repository: str, upload_id: str, chunk: Chunk) -> UploadSession:
        """Append a chunk and return the session (specification, "Pushing a blob in chunks").

        Raises WireError 416 if the chunk is out of order; the session stays usable. Raises BodyCut if the client
        disconnected; the received bytes are kept. Raises QuotaExceeded, which ends the session.
        """
        push = await self._push(actor, repository)
        upload = await self._recover(await self._find(push, upload_id))
        _check_order(upload, chunk)
        return await self._append(push, upload, chunk)

    async def finish(self, actor: Actor, repository: str, upload_id: str, digest: Digest, last: Chunk) -> int:
        """Commit the session, with an optional last chunk, as a blob of the repository; return its size.

        Raises WireError DIGEST_INVALID, which ends the session, and the errors of ``append``.
        """
        push = await self._push(actor, repository)
        upload = await self._find(push, upload_id)
        if upload.offset == 0 and not last.start:
            body = _CountedBody(last.body)
            try:
                return await self._finish_whole(push, upload, digest, Chunk(body, last.start, last.length))
            except DigestMismatch as error:
                upload = await self._recover_forgotten(upload, digest, body.size, error)
        elif last.length != 0 or not self._storage.holds(upload, digest):
            upload = await self._recover(upload)
            _check_order(upload, last)
            upload = await self._append(push, upload, last)
        return await self._commit(push, upload, digest)

    async def _recover_forgotten(
        self, upload: UploadSession, digest: Digest, received: int, error: DigestMismatch
    ) -> UploadSession:
        """Return the session if the store has bytes that the database has forgotten, and the client sent no others.

        Looking for them only after a mismatch spares whole blobs, the usual case, a request to an object store.
        Raises WireError: 416 if the client sent more bytes, which belong behind those; otherwise the session ends, with
        BLOB_UPLOAD_UNKNOWN if all its bytes may be lost, or with DIGEST_INVALID.
        """
        recovered = await self._recover(upload)
        if recovered.offset and received:
            raise _out_of_order(recovered, 0) from error
        if recovered.offset:
            return recovered
        await self._discard(upload)
        if not received:
            raise unknown_upload(upload.id) from error
        raise wrong_digest(digest) from error

    async def _commit(self, push: "_Push", upload: UploadSession, digest: Digest) -> int:
        """Turn the session into a blob of the repository."""
        reserved = await self._claim(push, upload, digest, upload.offset)
        try:
            size = await self._storage.commit(upload, digest)
        except DigestMismatch as error:
            await self._discard(upload)
            raise wrong_digest(digest) from error
        except UploadLost as error:
            await self._discard(upload)
            raise unknown_upload(upload.id) from error
        await self._link(push, upload, digest, size, reserved=reserved)
        return size

    async def cancel(self, actor: Actor, repository: str, upload_id: str) -> None:
        """Delete a session and its bytes. Raises BLOB_UPLOAD_UNKNOWN."""
        await self._discard(await self._find(await self._push(actor, repository), upload_id))

    async def _push(self, actor: Actor, repository: str) -> "_Push":
        return _Push(actor, repository, await self._access.require(actor, repository, Action.PUSH))

    async def _start(self, push: "_Push", digest: Digest | None = None) -> UploadSession:
        upload = await self._storage.start(uuid.uuid4().hex)

        async def add() -> None:
            if await self._started_at_once(push, upload, digest):
                return
            async with self._database.writing(durable=False) as session:
                await self._quota.admit_session(session, push.limits, str(digest or ""))
                await store.add(session, upload, push.repository, push.actor.name, self._clock())

        await self._quota.making_room(push.limits, add)
        return upload

    async def _started_at_once(self, push: "_Push", upload: UploadSession, digest: Digest | None) -> bool:
        """Record a session in one statement, which SQLite does not need; return False if the limits forbid it."""
        if self._database.dialect == "sqlite":
            return False
        recorded = (upload, push.repository, push.actor.name, self._clock())
        async with self._database.writing_once() as session:
            if push.limits:
                return await store.add_within(session, *recorded, push.limits, str(digest or ""))
            await store.add(session, *recorded)
            return True

    async def _claimed_at_once(self, push: "_Push", upload: UploadSession, digest: Digest, size: int) -> bool | None:
        """Claim in one statement, which SQLite does not need; return None if that is not as simple."""
        if self._database.dialect == "sqlite":
            return None
        async with self._database.writing_once() as session:
            return await store.claim_within(session, upload.id, str(digest), size, self._clock(), push.limits)

    async def _finish_whole(self, push: "_Push", upload: UploadSession, digest: Digest, chunk: Chunk) -> int:
        """Store a whole blob and end the session. Raises DigestMismatch, after which the session still exists."""
        reserved = await self._claim(push, upload, digest, chunk.length or 0)
        body = (
            chunk.body if chunk.length is not None else self._quota.reserving(push.limits, upload, chunk.body, None, 0)
        )
        try:
            size = await self._storage.put(digest, body)
        except QuotaExceeded:
            await self._discard(upload)
            raise
        except UploadLost as error:
            await self._discard(upload)
            raise unknown_upload(upload.id) from error
        except (BodyCut, WireError, StorageError):
            await self._save(upload)
            raise
        await self._link(push, upload, digest, size, reserved=reserved)
        await self._storage.cancel(upload)
        return size

    async def _append(self, push: "_Push", upload: UploadSession, chunk: Chunk) -> UploadSession:
        body = self._quota.reserving(push.limits, upload, chunk.body, chunk.length)
        try:
            upload = await self._storage.append(upload, body)
        except QuotaExceeded:
            await self._discard(upload)
            raise
        except (BodyCut, WireError):
            with suppress(StorageError):
                await self._save(await self._storage.recover(upload))
            raise
        except UploadLost as error:
            await self._discard(upload)
            raise unknown_upload(upload.id) from error
        except UploadBusy as error:
            raise busy_upload(upload.id) from error
        await self._save(upload)
        return upload

    async def _find(self, push: "_Push", upload_id: str) -> UploadSession:
        if not _ID.fullmatch(upload_id):
            raise unknown_upload(upload_id[:100])
        async with self._database.reading() as session:
            upload = await store.find(session, upload_id, push.repository)
        if upload is None:
            raise unknown_upload(upload_id)
        return upload

    async def _recover(self, upload: UploadSession) -> UploadSession:
        """Return the session with its actual offset: after a crash the row may be behind the stored bytes."""
        try:
            recovered = await self._storage.recover(upload)
        except UploadBusy as error:
            raise busy_upload(upload.id) from error
        except UploadLost as error:
            await self._discard(upload)
            raise unknown_upload(upload.id) from error
        if recovered != upload:
            async with self._database.writing_once() as session:
                await store.set_offset(session, recovered, self._clock())
        return recovered

    async def _claim(self, push: "_Push", upload: UploadSession, digest: Digest, size: int) -> bool:
        """Protect this digest from garbage collection until the session ends, and reserve ``size`` bytes for it.

        Returns False if it needs no reservation because the namespace has the blob. Raises QuotaExceeded, which ends
        the session.
        """
        try:
            return await self._quota.making_room(push.limits, lambda: self._try_claim(push, upload, digest, size))
        except QuotaExceeded:
            await self._discard(upload)
            raise

    async def _try_claim(self, push: "_Push", upload: UploadSession, digest: Digest, size: int) -> bool:
        claimed = await self._claimed_at_once(push, upload, digest, size)
        if claimed is not None:
            return claimed
        deadline = asyncio.get_running_loop().time() + DOOM_TIMEOUT
        reserved = True
        while True:
            async with self._database.writing(durable=False) as session:
                now = self._clock()
                locked = await blob_store.lock(session, str(digest))
                if not locked:
                    locked = await garbage_store.undoom(session, [str(digest)], now - DOOM_LIFETIME, now) == 1
                if locked:
                    reserved = await self._quota.admit_bytes(session, push.limits, size, str(digest), upload.id)
                    if not await store.claim(session, upload.id, str(digest), size if reserved else 0, now):
                        raise unknown_upload(upload.id)
            if locked:
                return reserved
            if asyncio.get_running_loop().time() > deadline:
                message = "this blob is being deleted: push it again in a minute"
                raise WireError(ErrorCode.UNAVAILABLE, message, headers={"Retry-After": "60"})
            await asyncio.sleep(DOOM_POLL_INTERVAL)

    async def _link(self, push: "_Push", upload: UploadSession, digest: Digest, size: int, *, reserved: bool) -> None:
        """End the session with a blob of the repository, or without one if that is refused (a plan's limit)."""
        try:
            await self._link_claimed(push, upload, digest, size, reserved=reserved)
        except WireError:
            async with self._database.writing(durable=False) as session:
                # Its bytes are stored already: leave them to garbage collection.
                await blob_store.lock(session, str(digest))
                await garbage_store.mark_unrecorded(session, str(digest), self._clock())
                await store.remove(session, upload.id)
            await self._storage.cancel(upload)
            raise

    async def _link_claimed(
        self, push: "_Push", upload: UploadSession, digest: Digest, size: int, *, reserved: bool
    ) -> None:
        """Link the blob; if the claim was undone, only if garbage collection has not deleted the blob."""
        try:
            await self._try_link(push, upload, digest, size, reserved=reserved)
        except _ClaimLost:
            reserved = await self._claim(push, upload, digest, size)
            if await self._storage.stat(digest) is None:
                raise
            await self._try_link(push, upload, digest, size, reserved=reserved)

    async def _try_link(
        self, push: "_Push", upload: UploadSession, digest: Digest, size: int, *, reserved: bool
    ) -> None:
        now = self._clock()
        async with self._database.writing() as session:
            target = await self._repositories.get_or_create(session, push.repository, push.actor, exclusive=False)
            for listener in self._repositories.listeners:
                await listener.blob_pushed(session, target, digest, push.actor)
            blob = (str(digest), size, now)
            if reserved:
                await blob_store.add_linked(session, target.id, *blob, now + self._policy.grace)
            else:
                await blob_store.add(session, *blob)
                await self._quota.admit_bytes(session, push.limits, size, str(digest), upload.id)
                await blob_store.link(session, target.id, str(digest), now, now + self._policy.grace)
            if not await store.end(session, upload.id, str(digest)):
                raise _ClaimLost(upload.id)

    async def _save(self, upload: UploadSession) -> None:
        async with self._database.writing_once() as session:
            await store.save(session, upload, self._clock())

    async def _discard(self, upload: UploadSession) -> None:
        async with self._database.writing_once() as session:
            await store.remove(session, upload.id)
        await self._storage.cancel(upload)


def _check_order(upload: UploadSession, chunk: Chunk) -> None:
    if chunk.start is not None and chunk.start != upload.offset:
        raise _out_of_order(upload, chunk.start)


def _out_of_order(upload: UploadSession, start: int) -> WireError:
    return WireError(
        ErrorCode.BLOB_UPLOAD_INVALID,
        f"the chunk starts at byte {start}, but the upload continues at byte {upload.offset}",
        detail={"offset": upload.offset},
        status=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
        headers={"Range": upload_range(upload)},
    )


def upload_range(upload: UploadSession) -> str:
    """Return the Range header of a session: the first and the last stored byte."""
    return f"0-{max(upload.offset - 1, 0)}"


def unknown_upload(upload_id: str) -> WireError:
    """Return the error for a missing session, or one whose bytes are lost."""
    return WireError(
        ErrorCode.BLOB_UPLOAD_UNKNOWN, "this upload does not exist: start a new one", detail={"id": upload_id}
    )


class _ClaimLost(WireError):
    """The session ended, or a crash of the database or another request undid its claim."""

    def __init__(self, upload_id: str) -> None:
        error = unknown_upload(upload_id)
        super().__init__(error.code, error.message, detail=error.detail)


def busy_upload(upload_id: str) -> WireError:
    """Return the error for a session that another request is writing to."""
    return WireError(
        ErrorCode.BLOB_UPLOAD_INVALID,
        "another request is writing to this upload: request its status and continue from there",
        detail={"id": upload_id},
        status=HTTPStatus.CONFLICT,
        headers={"Retry-After": "1"},
    )


def wrong_digest(digest: Digest) -> WireError:
    """Return the error for content with another digest."""
    return WireError(
        ErrorCode.DIGEST_INVALID, "the content does not match the digest: upload it again", detail=str(digest)
    )

"""Quotas: refuses what would exceed the limits of a namespace, also if several clients push at the same time.

    stored bytes + bytes of its upload sessions <= limit

Stored bytes are those of the distinct blobs in the namespace, and of the manifests in each repository. A session counts
with the bytes that it has or may still receive in the current request; those are reserved before they are read. So the
session's blob fits when it is linked, which takes no further check. A blob that the namespace has costs nothing.

An abandoned session would count until it expires. If something does not fit, sessions without a request for
``IDLE_TIME`` make room for it. So does what deleted repositories contained: it counts until it is deleted, too.
"""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from hythe.database import Database, Session
from hythe.oci.errors import ErrorCode, WireError
from hythe.registry.access import Limits
from hythe.registry.clock import Clock
from hythe.registry.deletions import Deletions
from hythe.registry.sql import uploads as upload_store
from hythe.registry.sql import usage as store
from hythe.registry.storage.port import BlobStore, UploadLost, UploadSession
from hythe.settings import format_bytes

UNRESERVED_SIZE = 1024 * 1024
"""Bytes that a session may receive without a reservation, so that a small layer needs no transaction for it."""

MAX_STEP = 64 * 1024 * 1024
"""Maximum number of bytes to reserve ahead for a request that does not announce its length."""

TOUCH_INTERVAL = timedelta(minutes=1)
"""How often a slow request records that its session is in use."""

IDLE_TIME = timedelta(minutes=5)
"""A session without a request for this long makes room for others; far more than TOUCH_INTERVAL."""

T = TypeVar("T")


class QuotaExceeded(WireError):
    """A namespace has reached a limit. ``uploading``: open upload sessions are a part of the reason."""

    def __init__(
        self, code: ErrorCode, message: str, *, uploading: bool, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(code, message, headers=headers)
        self.uploading = uploading


class Quota:
    """Checks the limits of namespaces. Without limits, no method uses the database."""

    def __init__(self, database: Database, storage: BlobStore, deletions: Deletions, clock: Clock) -> None:
        self._database = database
        self._storage = storage
        self._deletions = deletions
        self._clock = clock

    async def admit_session(self, session: Session, limits: Limits, digest: str = "") -> None:
        """Check that one more upload session (of the blob ``digest``, if known) may be opened. Raises QuotaExceeded."""
        if not limits:
            return
        usage = await store.lock(session, limits.namespace, digest)
        if limits.uploads is not None and usage.uploads >= limits.uploads:
            raise _too_many_uploads(limits)
        if limits.storage is not None and usage.stored + usage.uploading >= limits.storage and usage.blob_size is None:
            raise _too_large(limits, usage)

    async def admit_bytes(
        self, session: Session, limits: Limits, size: int, digest: str = "", upload_id: str = ""
    ) -> bool:
        """Check that ``size`` bytes fit: a blob (``digest``), perhaps of an upload session, or a manifest.

        Other transactions cannot take the space before this one ends. Returns False if the namespace has the blob, so
        that it needs no space as long as that stays so. Raises QuotaExceeded.
        """
        if limits.storage is None:
            return True
        usage = await store.lock(session, limits.namespace, digest, upload_id)
        if usage.blob_size == size:
            return False
        if usage.stored + usage.uploading + size > limits.storage:
            raise _too_large(limits, usage, f", {format_bytes(size)} more do not fit")
        return True

    async def reserving(
        self,
        limits: Limits,
        upload: UploadSession,
        body: AsyncIterator[bytes],
        length: int | None,
        unreserved: int = UNRESERVED_SIZE,
    ) -> AsyncIterator[bytes]:
        """Pass on a request's body of ``length`` bytes (None: unknown), reserving space for it before it is read.

        The first ``unreserved`` bytes of a session need no reservation. Raises QuotaExceeded, and UploadLost if the
        session was deleted.
        """
        if not limits:
            async for piece in body:
                yield piece
            return
        reserved = max(upload.offset, unreserved) if limits.storage is not None else sys.maxsize
        end, touched = upload.offset, self._clock()
        if length is not None and end + length > reserved:
            reserved = await self._reserve(limits, upload.id, end + length, 0)
        async for piece in body:
            end += len(piece)
            if end > reserved:
                reserved, touched = await self._reserve(limits, upload.id, end, MAX_STEP), self._clock()
            elif self._clock() - touched > TOUCH_INTERVAL:
                touched = self._clock()
                async with self._database.writing_once() as session:
                    await upload_store.touch(session, upload.id, touched)
            yield piece

    async def making_room(self, limits: Limits, work: Callable[[], Awaitable[T]]) -> T:
        """Await ``work``; if it exceeds a limit, delete idle upload sessions and what deleted repositories contained,
        and try again.
        """
        try:
            return await work()
        except QuotaExceeded as error:
            freed = await self._deletions.free(limits.namespace)
            idle = error.uploading and await self._delete_idle_sessions(limits.namespace)
            if not freed and not idle:
                raise
        return await work()

    async def _reserve(self, limits: Limits, upload_id: str, end: int, ahead: int) -> int:
        """Reserve ``end`` bytes for the session, and up to ``ahead`` more; return the number of reserved bytes."""

        async def reserve() -> int:
            async with self._database.writing(durable=False) as session:
                usage = await store.lock(session, limits.namespace, upload_id=upload_id)
                room = (limits.storage or 0) - usage.stored - usage.uploading - end
                if room < 0:
                    raise _too_large(limits, usage, ", this upload does not fit")
                # The sessions share half of the rest, so that none is refused for bytes that another may not need.
                reserved = end + min(ahead, room // (2 * max(usage.uploads, 1)))
                if not await upload_store.reserve(session, upload_id, reserved, self._clock()):
                    raise UploadLost(f"upload {upload_id} was cancelled: start again")
            return reserved

        return await self.making_room(limits, reserve)

    async def _delete_idle_sessions(self, namespace: str) -> bool:
        """Delete the namespace's sessions without a request for IDLE_TIME; return whether there were any."""
        before = self._clock() - IDLE_TIME
        async with self._database.writing(durable=False) as session:
            idle = await store.idle_sessions(session, namespace, before)
            for upload in idle:
                await upload_store.remove(session, upload.id)
        for upload in idle:
            await self._storage.cancel(upload)
        return bool(idle)


def _too_large(limits: Limits, usage: store.Usage, wanted: str = "") -> QuotaExceeded:
    stored = f"{limits.namespace} stores {format_bytes(usage.stored)} of {format_bytes(limits.storage or 0)}"
    uploading = f" and uploads {format_bytes(usage.uploading)}" if usage.uploading else ""
    message = f"{stored}{uploading}{wanted}: delete images or ask an administrator for more"
    return QuotaExceeded(ErrorCode.DENIED, message, uploading=bool(usage.uploading))


def _too_many_uploads(limits: Limits) -> QuotaExceeded:
    message = (
        f"{limits.namespace} has {limits.uploads} unfinished uploads, the maximum: push again when some have ended"
    )
    return QuotaExceeded(ErrorCode.TOOMANYREQUESTS, message, uploading=True, headers={"Retry-After": "10"})

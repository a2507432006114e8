"""Blobs: clients read them through a repository that contains them; the storage shares them between repositories."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import msgspec

from hythe.database import Database, Session
from hythe.database.read_cache import Kept, ReadCache
from hythe.oci.digest import Digest
from hythe.oci.errors import ErrorCode, WireError
from hythe.registry.access import Access, Action, Actor, Limits
from hythe.registry.clock import Clock
from hythe.registry.events import RepositoryRef
from hythe.registry.policy import Policy
from hythe.registry.protection import require_in_no_manifest
from hythe.registry.quota import Quota
from hythe.registry.repositories import Repositories
from hythe.registry.sql import blobs as store
from hythe.registry.sql import repositories as repository_store
from hythe.registry.storage.port import BlobMissing, BlobStore, LocalFile, Redirect
from hythe.registry.verification import Verification

CACHE_SIZE = 4 * 1024 * 1024
"""Bytes of the cache that maps repositories and digests to blobs."""

CACHE_ENTRY_OVERHEAD = 1000
"""Approximate bytes of one cache entry."""

MAX_MOUNT_SOURCES = 200
"""Maximum number of repositories to search for a mount without ``from``."""

MAX_VERIFY_FIRST_SIZE = 1024 * 1024
"""Blobs up to this many bytes are verified before they are sent; larger ones while they are sent."""

log = logging.getLogger(__name__)


class Blob(msgspec.Struct, frozen=True):
    """A blob that the actor may read; ``size`` in bytes. If not ``stored``, only a mirror's upstream has it."""

    digest: Digest
    size: int
    stored: bool = True


class Blobs:
    """Reads, mounts and deletes blobs."""

    def __init__(
        self,
        database: Database,
        storage: BlobStore,
        access: Access,
        repositories: Repositories,
        verification: Verification,
        quota: Quota,
        policy: Policy,
        clock: Clock,
    ) -> None:
        self._database = database
        self._storage = storage
        self._access = access
        self._repositories = repositories
        self._verification = verification
        self._quota = quota
        self._policy = policy
        self._clock = clock
        self._cache: ReadCache[tuple[str, Digest], store.FoundBlob | None] = ReadCache(
            database, CACHE_SIZE, _kept, "blobs"
        )

    async def get(self, actor: Actor, repository: str, digest: Digest) -> Blob:
        """Return the blob (specification, "Checking if content exists in the registry"). Raises BLOB_UNKNOWN.

        The client may be about to push a manifest that refers to the blob, so a blob due for deletion is kept longer.
        """
        await self._access.require(actor, repository, Action.PULL)
        load = partial(store.find, repository=repository, digest=str(digest))
        found = await self._cache.get((repository, digest), load)
        if found is None:
            raise unknown_blob(digest)
        if found.quarantined:
            raise damaged_blob(digest)
        if found.free_after is not None:
            await self._renew(repository, found, digest)
        return Blob(digest, found.size)

    async def locate(self, blob: Blob) -> LocalFile | Redirect | None:
        """Return a faster way to send the blob than ``read``. Raises BLOB_UNKNOWN if its content is damaged.

        If the result has a ``check``, await it before sending the end of the blob.
        """
        try:
            found = await self._storage.locate(blob.digest, blob.size)
        except BlobMissing as error:
            log.error("%s: run 'hythe admin verify', or 'hythe registry verify' for a private registry", error)
            raise damaged_blob(blob.digest) from error
        if not isinstance(found, LocalFile) or found.check is None:
            return found
        check = partial(self._check_or_quarantine, blob.digest, found.check)
        if blob.size > MAX_VERIFY_FIRST_SIZE:
            return LocalFile(found.path, found.size, check)
        if not await check():
            raise damaged_blob(blob.digest)
        return LocalFile(found.path, found.size)

    async def _check_or_quarantine(self, digest: Digest, check: Callable[[], Awaitable[bool]]) -> bool:
        """Await ``check``; quarantine a blob that is damaged, as ``hythe admin verify`` does."""
        intact = await check()
        if not intact:
            log.error("%s is damaged on disk and quarantined until it is pushed again or restored", digest)
            await self._verification.quarantine(str(digest))
        return intact

    def read(self, blob: Blob, start: int, stop: int) -> AsyncIterator[bytes]:
        """Yield the bytes from ``start`` up to, not including, ``stop``."""
        return self._storage.read(blob.digest, start, stop)

    async def mount(self, actor: Actor, repository: str, digest: Digest, source: str | None) -> bool:
        """Mount a blob of another repository (specification, "Mounting a blob from another repository").

        Return False if no repository that the actor may read contains it; ``source`` None searches all of them.
        Raises QuotaExceeded.
        """
        limits = await self._access.require(actor, repository, Action.PUSH)
        readable = await self._find_readable_sources(actor, digest, source)
        for name in readable:
            mount = partial(self._mount_from, actor, repository, limits, digest, name)
            if await self._quota.making_room(limits, mount):
                return True
        return False

    async def delete(self, actor: Actor, repository: str, digest: Digest) -> None:
        """Delete the blob from the repository immediately (specification, "Deleting Blobs").

        Raises BLOB_UNKNOWN, and DENIED if a manifest refers to it.
        """
        await self._access.require(actor, repository, Action.DELETE)
        async with self._database.writing() as session:
            found = await repository_store.lock(session, repository, exclusive=True)
            # Lock the blob before the usage of the namespace, which unlinking changes, as pushes do.
            await store.mark(session, str(digest), self._clock() + self._policy.grace)
            if found is None or not await store.unlink(session, found.id, str(digest)):
                raise unknown_blob(digest)
            if self._policy.protect_images:
                await require_in_no_manifest(session, found.id, str(digest))
            for listener in self._repositories.listeners:
                await listener.content_deleted(session, found, digest, actor)

    async def _renew(self, repository: str, found: store.FoundBlob, digest: Digest) -> None:
        """Extend the blob's grace period. Raises BLOB_UNKNOWN if garbage collection has just deleted it."""
        now = self._clock()
        if found.free_after is None or found.free_after > now + self._policy.grace / 2:
            return
        async with self._database.writing(durable=False) as session:
            until = now + self._policy.grace
            await store.renew_link(session, found.repository_id, found.digest, until)
            if await store.find(session, repository, str(digest)) is None:
                raise unknown_blob(digest)

    async def _find_readable_sources(self, actor: Actor, digest: Digest, source: str | None) -> list[str]:
        if source is not None:
            candidates: tuple[str, ...] = (source,)
        else:
            async with self._database.reading() as session:
                candidates = await repository_store.names_containing(session, str(digest), MAX_MOUNT_SOURCES)
        visible = await self._access.visible(actor, candidates)
        return [name for name in candidates if name in visible]

    async def _mount_from(self, actor: Actor, repository: str, limits: Limits, digest: Digest, source: str) -> bool:
        try:
            async with self._database.writing() as session:
                target = await self._repositories.get_or_create(session, repository, actor, exclusive=False)
                await self._link_from(session, target, limits, digest, source)
                for listener in self._repositories.listeners:
                    await listener.blob_pushed(session, target, digest, actor)
        except _MountSourceMissing:
            return False
        return True

    async def _link_from(
        self, session: Session, target: RepositoryRef, limits: Limits, digest: Digest, source: str
    ) -> None:
        now = self._clock()
        locked = await store.lock(session, str(digest))
        found = await store.find(session, source, str(digest))
        if not locked or found is None or found.quarantined:
            raise _MountSourceMissing
        await self._quota.admit_bytes(session, limits, found.size, str(digest))
        await store.link(session, target.id, str(digest), now, now + self._policy.grace)


def _kept(_key: object, found: store.FoundBlob | None) -> Kept | None:
    """Return how to cache a blob: not if it is due for deletion, which each request for it puts off."""
    if found is None or found.quarantined or found.free_after is not None:
        return None
    return Kept((found.repository_id,), CACHE_ENTRY_OVERHEAD)


class _MountSourceMissing(Exception):
    """Rolls back the transaction of a mount, so that it leaves no empty repository."""


def unknown_blob(digest: Digest) -> WireError:
    """Return the error for a blob that the repository does not contain."""
    return WireError(ErrorCode.BLOB_UNKNOWN, detail={"digest": str(digest)})


def damaged_blob(digest: Digest) -> WireError:
    """Return the error for a blob whose content is damaged."""
    message = "the content of this blob is damaged: push it again, or ask the operator to restore it from a backup"
    return WireError(ErrorCode.BLOB_UNKNOWN, message, detail={"digest": str(digest)})

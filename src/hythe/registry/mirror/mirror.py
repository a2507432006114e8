"""The pull-through mirror: repositories whose content comes from another registry.

    GET manifest ─> refresh: ask the upstream whether the tag moved, fetch what is new   ─> served from the store
    GET blob     ─> download, unless it is stored: forwarded while it arrives             ─> stored when complete

Equal requests share one download. A blob of another mirrored repository is not downloaded again. While the upstream is
unavailable or slow, stored content is served. Content that no one requested within ``mirror_age``, and the least
recently used content beyond ``mirror_size``, is deleted.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path

import aiohttp
import msgspec

from hythe.database import Database
from hythe.egress.http_session import open_egress_session
from hythe.egress.policy import ANY_PORT, EgressPolicy
from hythe.oci.digest import Digest
from hythe.oci.errors import ErrorCode, WireError
from hythe.registry.access import Access, Action, Actor
from hythe.registry.anonymous import AnonymousAccess
from hythe.registry.blobs import MAX_MOUNT_SOURCES, Blob, Blobs, unknown_blob
from hythe.registry.clock import Clock, now
from hythe.registry.manifests import Manifests, parse_manifest, unknown_manifest
from hythe.registry.mirror.downloads import MirrorDownload, MirrorDownloads
from hythe.registry.mirror.upstream import (
    TIMEOUT,
    FetchedManifest,
    UpstreamError,
    UpstreamMissing,
    UpstreamRegistry,
    UpstreamUnavailable,
)
from hythe.registry.mirror.upstreams import Upstream, Upstreams
from hythe.registry.policy import Policy
from hythe.registry.quota import Quota
from hythe.registry.repositories import Repositories
from hythe.registry.sql import blobs as blob_store
from hythe.registry.sql import garbage_collection as garbage_store
from hythe.registry.sql import manifests as manifest_store
from hythe.registry.sql import mirror as store
from hythe.registry.sql import repositories as repository_store
from hythe.registry.sql import tags as tag_store
from hythe.registry.sql.manifests import References, StoredManifest
from hythe.registry.storage.port import BlobStore
from hythe.registry.tags import Tags
from hythe.registry.uploads import Uploads
from hythe.registry.verification import Verification

REFRESH_INTERVAL = timedelta(seconds=30)
"""How long the upstream is not asked again for the digest of a tag, even if it failed to respond."""

REFRESH_TIMEOUT = 5
"""Timeout in seconds for the digest of a tag whose previous digest is stored."""

GRACE = timedelta(minutes=10)
"""Maximum time before deleted content is freed: it can be fetched again, and ``mirror_size`` must be kept."""

USE_PRECISION = timedelta(hours=1)
"""Precision of the time at which content was last used."""

DELETE_BATCH_SIZE = 100

MAX_CACHED_REFRESHES = 10_000
"""Number of references whose last refresh is cached."""

log = logging.getLogger(__name__)

Key = tuple[str, str | Digest]


class Mirror:
    """The mirrored repositories. Names are canonical."""

    def __init__(
        self,
        upstreams: Upstreams,
        data: Path,
        database: Database,
        storage: BlobStore,
        access: Access,
        policy: Policy,
        egress: EgressPolicy,
        clock: Clock = now,
    ) -> None:
        """``data`` is a folder for running downloads; redirects and token servers of upstreams obey ``egress``."""
        self.upstreams = upstreams
        self._database = database
        self._access = access
        # Mirrored images are stored without access checks and listeners: their repositories have no owner.
        open_access = AnonymousAccess()
        policy = msgspec.structs.replace(policy, grace=min(policy.grace, GRACE))
        self._repositories = Repositories(database, open_access, (), policy, clock)
        self._tags = Tags(database, open_access, (), self._repositories, policy, clock)
        quota = Quota(database, storage, clock)
        self._manifests = Manifests(database, open_access, (), self._repositories, self._tags, quota, policy, clock)
        verification = Verification(database, storage, policy, clock)
        self._blobs = Blobs(database, storage, open_access, self._repositories, verification, quota, policy, clock)
        self._uploads = Uploads(database, storage, open_access, self._repositories, quota, policy, clock)
        self._policy = policy
        # The operator named the upstreams' hosts; where those lead is up to the upstreams.
        self._egress = egress.trusting((host, ANY_PORT) for host in upstreams.hosts)
        self._clock = clock
        self._downloads = MirrorDownloads(data)
        self._session: aiohttp.ClientSession | None = None
        self._registries: dict[str, UpstreamRegistry] = {}
        self._refreshes: dict[Key, asyncio.Task[None]] = {}
        self._refreshed_at: dict[Key, datetime] = {}
        self._used_at: dict[Key, datetime] = {}

    async def close(self) -> None:
        """Cancel running downloads and close connections."""
        refreshes = list(self._refreshes.values())
        for task in refreshes:
            task.cancel()
        await asyncio.gather(*refreshes, return_exceptions=True)
        await self._downloads.close()
        if self._session is not None:
            await self._session.close()

    def local_name(self, name: str, repository: str) -> str:
        """Return the local name of ``repository`` in the registry ``name``. Raises WireError NAME_UNKNOWN."""
        local = self.upstreams.local_name(name, repository)
        if local is None:
            raise WireError(ErrorCode.NAME_UNKNOWN, f"{name} is not mirrored here: see the setting mirrors")
        return local

    async def refresh(self, actor: Actor, repository: str, reference: str | Digest) -> None:
        """Fetch the upstream's current manifest, if the upstream has it and responds.

        Raises WireError: MANIFEST_UNKNOWN if the upstream does not have it, UNAVAILABLE if the upstream does not
        respond and no copy is stored.
        """
        upstream = self.upstreams.of(repository)
        if upstream is None:
            return
        await self._access.require(actor, repository, Action.PULL)
        key = (repository, reference)
        task = self._refreshes.get(key)
        if task is None:
            task = self._refreshes[key] = asyncio.create_task(self._refresh(upstream, repository, reference))
            task.add_done_callback(lambda _: self._refreshes.pop(key, None))
        await asyncio.shield(task)

    async def download(self, actor: Actor, repository: str, digest: Digest) -> "MirrorDownload | None":
        """Return the download of a blob that is not stored yet; None if it is stored, or the repository is no mirror.

        Raises WireError: BLOB_UNKNOWN if the upstream does not have it, UNAVAILABLE if the upstream does not respond.
        """
        found = await self._find_missing(actor, repository, digest)
        if found is None:
            return None

        async def store_blob(pieces: AsyncIterator[bytes]) -> None:
            await self._uploads.put(_actor(repository), repository, digest, pieces)
            await self._mark_referenced(repository, digest)

        try:
            return await self._downloads.start(
                digest, self._registry(found), _upstream_name(found, repository), store_blob
            )
        except UpstreamError as error:
            raise _blob_error(error, digest) from error

    async def upstream_blob(self, actor: Actor, repository: str, digest: Digest) -> Blob | None:
        """Return the upstream's size of a blob that is not stored yet; None as in ``download``. Raises WireError."""
        found = await self._find_missing(actor, repository, digest)
        if found is None:
            return None
        try:
            size = await self._registry(found).blob_size(_upstream_name(found, repository), digest)
        except UpstreamError as error:
            raise _blob_error(error, digest) from error
        return Blob(digest, size, stored=False)

    async def run(self) -> None:
        """Delete old and excess content repeatedly until cancelled."""
        while True:
            try:
                await self.expire()
            except Exception:
                log.exception("failed to clean up mirrored content; will be retried")
            await asyncio.sleep(self._policy.garbage_interval.total_seconds())

    async def expire(self) -> int:
        """Delete old and excess mirrored manifests; return their number. Garbage collection frees their blobs."""
        deleted = 0
        if self._policy.mirror_age:
            while count := await self._delete_unused(self._clock() - self._policy.mirror_age, DELETE_BATCH_SIZE):
                deleted += count
        while self._policy.mirror_size and await self._stored_size() > self._policy.mirror_size:
            count = await self._delete_unused(self._clock() + USE_PRECISION, 1)
            if not count:
                break
            deleted += count
        return deleted

    async def _refresh(self, upstream: Upstream, repository: str, reference: str | Digest) -> None:
        async with self._database.reading() as session:
            stored = await manifest_store.find(session, repository, reference)
        if stored is not None and self._is_fresh(repository, reference):
            await self._record_use(stored)
            return
        try:
            await self._fetch(upstream, repository, reference, stored)
        except UpstreamUnavailable as error:
            if stored is None:
                log.warning("failed to fetch %s: %s", repository, error)
                raise _unavailable(error) from error
            log.warning("serving the stored copy of %s because the upstream does not respond: %s", repository, error)
            _record_time(self._refreshed_at, (repository, reference), self._clock())
        except UpstreamError as error:
            raise unknown_manifest(reference) from error

    def _is_fresh(self, repository: str, reference: str | Digest) -> bool:
        if isinstance(reference, Digest):
            return True
        refreshed = self._refreshed_at.get((repository, reference))
        return refreshed is not None and self._clock() - refreshed < REFRESH_INTERVAL

    async def _fetch(
        self, upstream: Upstream, repository: str, reference: str | Digest, stored: StoredManifest | None
    ) -> None:
        registry, upstream_name = self._registry(upstream), _upstream_name(upstream, repository)
        # HEAD first for a stored tag: it transfers nothing, and Docker Hub does not count it as a pull.
        if (
            stored is not None
            and isinstance(reference, str)
            and await _with_timeout(registry.manifest_digest(upstream_name, reference)) == stored.digest
        ):
            await self._record_use(stored)
        else:
            await self._store(repository, reference, await registry.manifest(upstream_name, reference))
        _record_time(self._refreshed_at, (repository, reference), self._clock())

    async def _store(self, repository: str, reference: str | Digest, fetched: FetchedManifest) -> None:
        manifest = parse_manifest(fetched.content, fetched.media_type, self._policy.manifest_size)
        digest = reference if isinstance(reference, Digest) else manifest.digest()
        if not digest.matches(fetched.content):
            raise UpstreamMissing("its manifest does not match its digest")
        tags = (reference,) if isinstance(reference, str) else ()
        references = References(
            frozenset(descriptor.digest for descriptor in manifest.blobs),
            frozenset(descriptor.digest for descriptor in manifest.manifests),
        )
        actor = _actor(repository)
        async with self._database.writing() as session:
            found = await self._repositories.get_or_create(session, repository, actor, exclusive=True)
            await self._manifests.add(session, found, digest, manifest, references, actor)
            await self._tags.move(session, found, tags, digest, actor)
            await store.add(session, found.id, str(digest), self._clock())

    async def _find_missing(self, actor: Actor, repository: str, digest: Digest) -> Upstream | None:
        """Return the upstream of a repository that does not contain the blob; None if there is nothing to fetch."""
        upstream = self.upstreams.of(repository)
        if upstream is None:
            return None
        await self._access.require(actor, repository, Action.PULL)
        async with self._database.reading() as session:
            stored = await blob_store.find(session, repository, str(digest))
        if (stored is None or stored.quarantined) and not await self._mount(repository, digest):
            return upstream
        return None

    async def _mount(self, repository: str, digest: Digest) -> bool:
        """Link a blob of another mirrored repository, unless nothing is known about it yet."""
        async with self._database.reading() as session:
            if await repository_store.find(session, repository) is None:
                return False
            names = await repository_store.names_containing(session, str(digest), MAX_MOUNT_SOURCES)
        # Only from mirrored repositories: the client could have requested the content there.
        source = next((name for name in names if name != repository and self.upstreams.of(name)), None)
        if source is None or not await self._blobs.mount(_actor(repository), repository, digest, source):
            return False
        await self._mark_referenced(repository, digest)
        return True

    async def _mark_referenced(self, repository: str, digest: Digest) -> None:
        """Count a blob as mirrored content as soon as a manifest refers to it, before garbage collection does."""
        async with self._database.writing(durable=False) as session:
            found = await repository_store.lock(session, repository, exclusive=True)
            if found is not None:
                needed = await garbage_store.needed_links(session, found.id, [str(digest)])
                await blob_store.mark_links(session, found.id, needed, None)

    async def _record_use(self, stored: StoredManifest) -> None:
        now, key = self._clock(), (stored.repository.name, stored.digest)
        if now - self._used_at.get(key, datetime.min.replace(tzinfo=UTC)) < USE_PRECISION:
            return
        _record_time(self._used_at, key, now)
        async with self._database.writing(durable=False) as session:
            await store.record_use(session, stored.repository.id, str(stored.digest), now, now - USE_PRECISION)

    async def _stored_size(self) -> int:
        async with self._database.reading() as session:
            return await store.size(session)

    async def _delete_unused(self, before: datetime, limit: int) -> int:
        async with self._database.reading() as session:
            rows = await store.unused(session, before, limit)
        for row in rows:
            await self._delete(row.name, Digest.parse(row.digest))
        return len(rows)

    async def _delete(self, repository: str, digest: Digest) -> None:
        async with self._database.writing() as session:
            found = await repository_store.lock(session, repository, exclusive=True)
            if found is None:
                return
            tags = await tag_store.pointing_at(session, found.id, str(digest))
            await self._manifests.remove(session, found, digest, tags, _actor(repository))

    def _registry(self, upstream: Upstream) -> UpstreamRegistry:
        if self._session is None:
            self._session = open_egress_session(self._egress, timeout=TIMEOUT, auto_decompress=False)
        if upstream.name not in self._registries:
            self._registries[upstream.name] = UpstreamRegistry(self._session, upstream, self._policy.manifest_size)
        return self._registries[upstream.name]


async def _with_timeout(answer: Awaitable[Digest | None]) -> Digest | None:
    """Return the upstream's response. Raises UpstreamUnavailable after a timeout, and the upstream's errors."""
    try:
        async with asyncio.timeout(REFRESH_TIMEOUT):
            return await answer
    except TimeoutError as error:
        raise UpstreamUnavailable(f"no response within {REFRESH_TIMEOUT} seconds") from error


def _record_time(times: dict[Key, datetime], key: Key, at: datetime) -> None:
    if len(times) >= MAX_CACHED_REFRESHES:
        times.clear()
    times[key] = at


def _upstream_name(upstream: Upstream, repository: str) -> str:
    """Return the upstream's name of the repository."""
    return repository.removeprefix(upstream.prefix)


def _actor(repository: str) -> Actor:
    """Return the actor that moves a mirrored repository's tags."""
    return Actor(f"mirror:{repository.partition('/')[0]}")


def _unavailable(error: UpstreamError) -> WireError:
    return WireError(
        ErrorCode.UNAVAILABLE,
        f"this is a mirror, and its upstream is unavailable: {error}",
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        headers={"Retry-After": "10"},
    )


def _blob_error(error: UpstreamError, digest: Digest) -> WireError:
    return _unavailable(error) if isinstance(error, UpstreamUnavailable) else unknown_blob(digest)

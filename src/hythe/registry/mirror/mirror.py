"""The pull-through mirror: repositories whose content comes from another registry.

    GET manifest  ─> refresh: ask the upstream whether the tag moved, fetch what is new   ─> served from the store
    HEAD manifest ─> headers: ask the upstream by HEAD, which Docker Hub does not count as a pull
    GET blob      ─> download, unless it is stored: forwarded while it arrives             ─> stored when complete
    GET tags      ─> the upstream's list (``tag_lists``)

Equal requests share one. A blob of another mirrored repository is not downloaded again. While the upstream does not
respond as it should, or asks to wait (``pauses``), stored content is served; a tag that it says it does not have is
deleted. ``expiry`` deletes what is old and too much.
"""

import asyncio
import logging
from bisect import bisect_right
from collections.abc import AsyncIterator, Awaitable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

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
from hythe.registry.deletions import Deletions
from hythe.registry.events import TagMove
from hythe.registry.manifests import Manifests, parse_manifest, unknown_manifest
from hythe.registry.mirror.downloads import MirrorDownload, MirrorDownloads
from hythe.registry.mirror.errors import (
    UpstreamError,
    UpstreamInvalid,
    UpstreamMissing,
    UpstreamUnavailable,
    quote,
    quote_text,
    wire_error,
)
from hythe.registry.mirror.expiry import USE_PRECISION, MirrorExpiry, mirror_actor
from hythe.registry.mirror.header_cache import REFRESH_INTERVAL, HeaderCache, Key, keep_bounded
from hythe.registry.mirror.pauses import Pauses
from hythe.registry.mirror.tag_lists import TagLists
from hythe.registry.mirror.upstream import TIMEOUT, FetchedManifest, ManifestHeaders, UpstreamRegistry
from hythe.registry.mirror.upstreams import Upstream, Upstreams
from hythe.registry.policy import Policy
from hythe.registry.quota import Quota
from hythe.registry.repositories import Repositories, unknown_name
from hythe.registry.sql import blobs as blob_store
from hythe.registry.sql import garbage_collection as garbage_store
from hythe.registry.sql import manifests as manifest_store
from hythe.registry.sql import mirror as store
from hythe.registry.sql import repositories as repository_store
from hythe.registry.sql import tags as tag_store
from hythe.registry.sql.manifests import References, StoredManifest
from hythe.registry.storage.port import BlobStore
from hythe.registry.tags import MAX_PAGE_SIZE, NamePage, Tags
from hythe.registry.uploads import Uploads
from hythe.registry.verification import Verification

REFRESH_TIMEOUT = 5
"""Timeout in seconds for the digest of a tag whose previous digest is stored."""

GRACE = timedelta(minutes=10)
"""Maximum time before deleted content is freed: it can be fetched again, and ``mirror_size`` must be kept."""

log = logging.getLogger(__name__)

T = TypeVar("T")


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
        policy = _with_short_grace(policy)
        deletions = Deletions(database, (), policy, clock)
        self._repositories = Repositories(database, open_access, (), deletions, clock)
        self._tags = Tags(database, open_access, (), self._repositories, policy, clock)
        quota = Quota(database, storage, deletions, clock)
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
        self._pauses = Pauses(clock)
        self._tag_lists = TagLists(clock)
        self.expiry = MirrorExpiry(database, self._manifests, policy, clock)
        self._tasks: dict[tuple[str, Key], asyncio.Task[Any]] = {}
        self._refreshed_at: dict[Key, datetime] = {}
        self._headers = HeaderCache(clock)
        self._used_at: dict[Key, datetime] = {}

    def apply(self, policy: Policy, upstreams: Upstreams) -> None:
        """Take over changed limits and times, and credentials of the same upstreams; running downloads keep theirs."""
        self._policy.update(_with_short_grace(policy))
        self.upstreams = upstreams
        self._registries.clear()

    async def close(self) -> None:
        """Cancel running downloads and close connections."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
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

        Raises the WireError of ``wire_error`` if the upstream does not have it, or fails and no copy is stored.
        """
        upstream = self.upstreams.of(repository)
        if upstream is not None:
            await self._access.require(actor, repository, Action.PULL)
            await self._shared("GET", (repository, reference), self._refresh(upstream, repository, reference))

    async def headers(self, actor: Actor, repository: str, reference: str | Digest) -> ManifestHeaders | None:
        """Return the upstream's description of a manifest that is not stored; None if the stored one is current.

        Returns None if the repository is no mirror. Raises WireError as ``refresh`` does.
        """
        upstream = self.upstreams.of(repository)
        if upstream is None:
            return None
        await self._access.require(actor, repository, Action.PULL)
        return await self._shared("HEAD", (repository, reference), self._find_headers(upstream, repository, reference))

    async def tags(self, actor: Actor, repository: str, after: str, limit: int | None) -> NamePage | None:
        """Return a page of the upstream's tags, as ``Tags.names`` does; None if the stored ones are to be listed.

        Those are listed if the upstream fails, or if the repository is no mirror. Raises WireError as ``refresh`` does.
        """
        upstream = self.upstreams.of(repository)
        if upstream is None:
            return None
        await self._access.require(actor, repository, Action.PULL)
        names = self._tag_lists.cached(repository)
        if names is None:
            names = await self._shared("TAGS", (repository, ""), self._fetch_tags(upstream, repository))
        if names is None:
            return None
        wanted = min(limit, MAX_PAGE_SIZE) if limit is not None else MAX_PAGE_SIZE
        first = bisect_right(names, after)
        return NamePage(names[first : first + wanted], 0 < wanted < len(names) - first)

    async def _shared(self, kind: str, key: Key, work: Coroutine[Any, Any, T]) -> T:
        """Return the result of ``work``, or of the same work for another request."""
        task: asyncio.Task[T] | None = self._tasks.get((kind, key))
        if task is None:
            task = self._tasks[kind, key] = asyncio.create_task(work)
            task.add_done_callback(lambda _: self._tasks.pop((kind, key), None))
        else:
            work.close()
        return await asyncio.shield(task)

    async def download(self, actor: Actor, repository: str, digest: Digest) -> "MirrorDownload | None":
        """Return the download of a blob that is not stored yet; None if it is stored, or the repository is no mirror.

        Raises the WireError of ``wire_error`` if the upstream does not have it or fails.
        """
        found = await self._find_missing(actor, repository, digest)
        if found is None:
            return None

        async def store_blob(pieces: AsyncIterator[bytes]) -> None:
            await self._uploads.put(mirror_actor(repository), repository, digest, pieces)
            await self._mark_referenced(repository, digest)

        try:
            return await self._downloads.start(
                digest, self._registry(found), _upstream_name(found, repository), store_blob
            )
        except UpstreamError as error:
            raise wire_error(error, unknown_blob(digest)) from error

    async def upstream_blob(self, actor: Actor, repository: str, digest: Digest) -> Blob | None:
        """Return the upstream's size of a blob that is not stored yet; None as in ``download``. Raises WireError."""
        found = await self._find_missing(actor, repository, digest)
        if found is None:
            return None
        try:
            size = await self._registry(found).blob_size(_upstream_name(found, repository), digest)
        except UpstreamError as error:
            raise wire_error(error, unknown_blob(digest)) from error
        return Blob(digest, size, stored=False)

    async def _refresh(self, upstream: Upstream, repository: str, reference: str | Digest) -> None:
        stored = await self._find(repository, reference)
        if stored is not None and self._is_fresh(repository, reference):
            await self._record_use(stored)
            return
        try:
            await self._fetch(upstream, repository, reference, stored)
        except UpstreamError as error:
            await self._fall_back(error, repository, reference, stored)

    async def _find_headers(
        self, upstream: Upstream, repository: str, reference: str | Digest
    ) -> ManifestHeaders | None:
        stored = await self._find(repository, reference)
        if stored is not None and self._is_fresh(repository, reference):
            await self._record_use(stored)
            return None
        headers = self._headers.recent(repository, reference)
        if headers is not None:
            return headers
        try:
            headers = await self._upstream_headers(upstream, repository, reference, stored)
            if headers is None:
                await self._fetch(upstream, repository, reference, None)
        except UpstreamError as error:
            await self._fall_back(error, repository, reference, stored)
            return None
        if headers is None or await self._keep_stored(repository, reference, stored, headers.digest):
            return None
        self._headers.keep(repository, reference, headers)
        return headers

    async def _fetch(
        self, upstream: Upstream, repository: str, reference: str | Digest, stored: StoredManifest | None
    ) -> None:
        # HEAD first for a stored tag: it transfers nothing, and Docker Hub does not count it as a pull.
        if stored is not None:
            headers = await self._upstream_headers(upstream, repository, reference, stored)
            if headers is not None and await self._keep_stored(repository, reference, stored, headers.digest):
                return
        fetched = await self._registry(upstream).manifest(_upstream_name(upstream, repository), reference)
        await self._store(upstream, repository, reference, fetched)
        keep_bounded(self._refreshed_at, (repository, reference), self._clock())

    async def _upstream_headers(
        self, upstream: Upstream, repository: str, reference: str | Digest, stored: StoredManifest | None
    ) -> ManifestHeaders | None:
        request = self._registry(upstream).manifest_headers(_upstream_name(upstream, repository), reference)
        return await (request if stored is None else _with_timeout(upstream, request))

    async def _keep_stored(
        self, repository: str, reference: str | Digest, stored: StoredManifest | None, digest: Digest
    ) -> bool:
        """Return whether the manifest with the upstream's digest is stored; set the tag to it."""
        actor = mirror_actor(repository)
        current = stored if stored is not None and stored.digest == digest else await self._find(repository, digest)
        if current is None:
            return False
        if current is not stored and isinstance(reference, str):
            async with self._database.writing() as session:
                found = await self._repositories.get_or_create(session, repository, actor, exclusive=True)
                await manifest_store.mark(session, found.id, (str(digest),), None)
                await self._tags.move(session, found, (reference,), digest, actor)
        keep_bounded(self._refreshed_at, (repository, reference), self._clock())
        await self._record_use(current)
        return True

    async def _fall_back(
        self, error: UpstreamError, repository: str, reference: str | Digest, stored: StoredManifest | None
    ) -> None:
        """Serve the stored manifest, unless the upstream says that the tag does not exist. Raises WireError."""
        if isinstance(error, UpstreamMissing) and error.certain and stored is not None:
            await self._delete_tag(repository, str(reference))
            stored = None
        if stored is None:
            if not isinstance(error, UpstreamMissing):
                log.warning("failed to fetch %s: %s", repository, error)
            raise wire_error(error, unknown_manifest(reference)) from error
        log.warning("serving the stored copy of %s because of its upstream: %s", repository, error)
        keep_bounded(self._refreshed_at, (repository, reference), self._clock())

    async def _delete_tag(self, repository: str, tag: str) -> None:
        """Delete a tag that the upstream no longer has; its manifest can be pulled by digest until it expires."""
        actor = mirror_actor(repository)
        self._tag_lists.forget(repository)
        async with self._database.writing() as session:
            found = await repository_store.lock(session, repository, exclusive=True)
            digest = await tag_store.target(session, found.id, tag) if found else None
            if found is not None and digest is not None:
                await tag_store.remove(session, found.id, tag)
                move = TagMove(tag, None, Digest.parse(digest), self._clock())
                await self._tags.record(session, found, (move,), actor)

    async def _fetch_tags(self, upstream: Upstream, repository: str) -> tuple[str, ...] | None:
        """Return the upstream's tags; None if it fails and tags are stored."""
        try:
            upstream_name = _upstream_name(upstream, repository)
            return await self._tag_lists.fetch(repository, self._registry(upstream), upstream_name)
        except UpstreamError as error:
            async with self._database.reading() as session:
                found = await repository_store.find(session, repository)
            if found is None or (isinstance(error, UpstreamMissing) and error.certain):
                raise wire_error(error, unknown_name(repository)) from error
            log.warning("listing the stored tags of %s because of its upstream: %s", repository, error)
            return None

    async def _find(self, repository: str, reference: str | Digest) -> StoredManifest | None:
        async with self._database.reading() as session:
            return await manifest_store.find(session, repository, reference)

    def _is_fresh(self, repository: str, reference: str | Digest) -> bool:
        if isinstance(reference, Digest):
            return True
        refreshed = self._refreshed_at.get((repository, reference))
        return refreshed is not None and self._clock() - refreshed < REFRESH_INTERVAL

    async def _store(
        self, upstream: Upstream, repository: str, reference: str | Digest, fetched: FetchedManifest
    ) -> None:
        try:
            manifest = parse_manifest(fetched.content, fetched.media_type, self._policy.manifest_size)
        except WireError as error:
            reason = quote(fetched.content) if not fetched.content.startswith(b"{") else quote_text(error.message)
            raise UpstreamInvalid(f"{upstream.address} sent no manifest{reason}") from error
        digest = reference if isinstance(reference, Digest) else fetched.digest or manifest.digest()
        if not digest.matches(fetched.content):
            raise UpstreamInvalid(f"{upstream.address} sent a manifest that does not match its digest {digest}")
        tags = self._headers.take_tags(repository, reference, digest)
        references = References(
            frozenset(descriptor.digest for descriptor in manifest.blobs),
            frozenset(descriptor.digest for descriptor in manifest.manifests),
        )
        actor = mirror_actor(repository)
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
        if source is None or not await self._blobs.mount(mirror_actor(repository), repository, digest, source):
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
        keep_bounded(self._used_at, key, now)
        async with self._database.writing(durable=False) as session:
            await store.record_use(session, stored.repository.id, str(stored.digest), now, now - USE_PRECISION)

    def _registry(self, upstream: Upstream) -> UpstreamRegistry:
        if self._session is None:
            self._session = open_egress_session(self._egress, timeout=TIMEOUT, auto_decompress=False)
        if upstream.name not in self._registries:
            self._registries[upstream.name] = UpstreamRegistry(
                self._session, upstream, self._policy.manifest_size, self._pauses
            )
        return self._registries[upstream.name]


def _with_short_grace(policy: Policy) -> Policy:
    return msgspec.structs.replace(policy, grace=min(policy.grace, GRACE))


async def _with_timeout(upstream: Upstream, response: Awaitable[T]) -> T:
    """Return the upstream's response. Raises UpstreamUnavailable after a timeout, and the upstream's errors."""
    try:
        async with asyncio.timeout(REFRESH_TIMEOUT):
            return await response
    except TimeoutError as error:
        raise UpstreamUnavailable(f"{upstream.address} does not respond within {REFRESH_TIMEOUT} seconds") from error


def _upstream_name(upstream: Upstream, repository: str) -> str:
    """Return the upstream's name of the repository."""
    return repository.removeprefix(upstream.prefix)

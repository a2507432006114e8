"""The pull-through mirror: a repository behind which another registry stands.

    GET manifest ─> refresh: ask the upstream whether the tag moved, fetch what is new   ─> served from the store
    GET blob     ─> blob: here already?  else a download that is sent on while it comes  ─> kept when it is whole

Equal requests wait for the one that is under way. A blob that another mirrored repository has is not fetched again.
While the upstream is away, or silent, what is here is served. What nobody asked for in ``mirror_age``, and the longest
unused of what is more than ``mirror_size``, is dropped.
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
from hythe.oci.digest import Digest
from hythe.oci.errors import ErrorCode, WireError
from hythe.registry.access import Access, Action, Actor
from hythe.registry.anonymous import AnonymousAccess
from hythe.registry.blobs import SOURCES, Blob, Blobs, unknown_blob
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

FRESH = timedelta(seconds=30)
"""How long the upstream is not asked again where a tag points, also when it did not say."""

PATIENCE = 5
"""Seconds that an upstream has to say where a tag points, when what it pointed at before is here."""

GRACE = timedelta(minutes=10)
"""How long the bytes of what was dropped are kept at most: they can be fetched again, and ``mirror_size`` waits."""

USE_NOTED = timedelta(hours=1)
"""How exactly it is known when something was last asked for."""

DROPPED_AT_ONCE = 100

REMEMBERED = 10_000
"""For how many references it is remembered when they were asked for."""

log = logging.getLogger(__name__)

Key = tuple[str, str | Digest]


class Mirror:
    """Everything about repositories behind which an upstream stands. Names are canonical."""

    def __init__(
        self,
        upstreams: Upstreams,
        data: Path,
        database: Database,
        storage: BlobStore,
        access: Access,
        policy: Policy,
        clock: Clock = now,
    ) -> None:
        """``data`` is a folder for what is under way."""
        self.upstreams = upstreams
        self._database = database
        self._access = access
        # Mirrored images are stored without access checks and listeners: their repositories belong to no account.
        open_to_us = AnonymousAccess()
        policy = msgspec.structs.replace(policy, grace=min(policy.grace, GRACE))
        self._repositories = Repositories(database, open_to_us, (), policy, clock)
        self._tags = Tags(database, open_to_us, (), self._repositories, policy, clock)
        self._manifests = Manifests(database, open_to_us, (), self._repositories, self._tags, policy, clock)
        verification = Verification(database, storage, policy, clock)
        self._blobs = Blobs(database, storage, open_to_us, self._repositories, verification, policy, clock)
        self._uploads = Uploads(database, storage, open_to_us, self._repositories, policy, clock)
        self._policy = policy
        self._clock = clock
        self._downloads = MirrorDownloads(data)
        self._session: aiohttp.ClientSession | None = None
        self._registries: dict[str, UpstreamRegistry] = {}
        self._asking: dict[Key, asyncio.Task[None]] = {}
        self._asked_at: dict[Key, datetime] = {}
        self._used_at: dict[Key, datetime] = {}

    async def close(self) -> None:
        """Give up what is under way, and let go of the connections."""
        asking = list(self._asking.values())
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        await self._downloads.close()
        if self._session is not None:
            await self._session.close()

    def local_name(self, name: str, repository: str) -> str:
        """Return what ``repository`` of the registry ``name`` is called here; raises WireError NAME_UNKNOWN."""
        local = self.upstreams.local_name(name, repository)
        if local is None:
            raise WireError(ErrorCode.NAME_UNKNOWN, f"{name} is not mirrored here: see the setting mirrors")
        return local

    async def refresh(self, actor: Actor, repository: str, reference: str | Digest) -> None:
        """See to it that the manifest is here as the upstream has it, if it has it and can be asked.

        Raises WireError: MANIFEST_UNKNOWN when the upstream has none, UNAVAILABLE when it is away and nothing is here.
        """
        upstream = self.upstreams.of(repository)
        if upstream is None:
            return
        await self._access.require(actor, repository, Action.PULL)
        key = (repository, reference)
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(self._refresh(upstream, repository, reference))
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        await asyncio.shield(task)

    async def blob(self, actor: Actor, repository: str, digest: Digest) -> "MirrorDownload | None":
        """Return the download of a blob that is not here yet; None when it is here, or no upstream stands behind.

        Raises WireError: BLOB_UNKNOWN when the upstream has none, UNAVAILABLE when it is away.
        """
        found = await self._missing(actor, repository, digest)
        if found is None:
            return None

        async def keep(pieces: AsyncIterator[bytes]) -> None:
            await self._uploads.put(_actor(repository), repository, digest, pieces)
            await self._count(repository, digest)

        try:
            return await self._downloads.start(digest, self._registry(found), _theirs(found, repository), keep)
        except UpstreamError as error:
            raise _blob_error(error, digest) from error

    async def blob_at_upstream(self, actor: Actor, repository: str, digest: Digest) -> Blob | None:
        """Return what the upstream says of a blob that is not here yet; None as in ``blob``. Raises WireError."""
        found = await self._missing(actor, repository, digest)
        if found is None:
            return None
        try:
            return Blob(digest, await self._registry(found).blob_size(_theirs(found, repository), digest))
        except UpstreamError as error:
            raise _blob_error(error, digest) from error

    async def run(self) -> None:
        """Drop what is too old or too much, again and again, until cancelled."""
        while True:
            try:
                await self.expire()
            except Exception:
                log.exception("what the mirrors hold could not be looked through: it goes on in the next round")
            await asyncio.sleep(self._policy.garbage_interval.total_seconds())

    async def expire(self) -> int:
        """Drop mirrored manifests that are too old, or too many; returns how many. Their blobs are freed as garbage."""
        dropped = 0
        if self._policy.mirror_age:
            while some := await self._drop_unused(self._clock() - self._policy.mirror_age, DROPPED_AT_ONCE):
                dropped += some
        while self._policy.mirror_size and await self._held() > self._policy.mirror_size:
            some = await self._drop_unused(self._clock() + USE_NOTED, 1)
            if not some:
                break
            dropped += some
        return dropped

    async def _refresh(self, upstream: Upstream, repository: str, reference: str | Digest) -> None:
        async with self._database.reading() as session:
            here = await manifest_store.find(session, repository, reference)
        if here is not None and self._is_fresh(repository, reference):
            await self._note_use(here)
            return
        try:
            await self._fetch(upstream, repository, reference, here)
        except UpstreamUnavailable as error:
            if here is None:
                log.warning("%s could not be fetched: %s", repository, error)
                raise _unavailable(error) from error
            log.warning("serving %s as it was, for the upstream is away: %s", repository, error)
            _remember(self._asked_at, (repository, reference), self._clock())
        except UpstreamError as error:
            raise unknown_manifest(reference) from error

    def _is_fresh(self, repository: str, reference: str | Digest) -> bool:
        if isinstance(reference, Digest):
            return True
        asked = self._asked_at.get((repository, reference))
        return asked is not None and self._clock() - asked < FRESH

    async def _fetch(
        self, upstream: Upstream, repository: str, reference: str | Digest, here: StoredManifest | None
    ) -> None:
        registry, theirs = self._registry(upstream), _theirs(upstream, repository)
        # A HEAD first, for a tag that is here: it transfers nothing, and Docker Hub does not count it.
        if (
            here is not None
            and isinstance(reference, str)
            and await _soon(registry.manifest_digest(theirs, reference)) == here.digest
        ):
            await self._note_use(here)
        else:
            await self._keep(repository, reference, await registry.manifest(theirs, reference))
        _remember(self._asked_at, (repository, reference), self._clock())

    async def _keep(self, repository: str, reference: str | Digest, fetched: FetchedManifest) -> None:
        manifest = parse_manifest(fetched.content, fetched.media_type, self._policy.manifest_size)
        digest = reference if isinstance(reference, Digest) else manifest.digest()
        if not digest.matches(fetched.content):
            raise UpstreamMissing("its manifest has another digest")
        tags = (reference,) if isinstance(reference, str) else ()
        references = References(
            frozenset(descriptor.digest for descriptor in manifest.blobs),
            frozenset(descriptor.digest for descriptor in manifest.manifests),
        )
        actor = _actor(repository)
        async with self._database.writing() as session:
            found = await self._repositories.obtain(session, repository, actor, alone=True)
            await self._manifests.add(session, found, digest, manifest, references, actor)
            await self._tags.move(session, found, tags, digest, actor)
            await store.add(session, found.id, str(digest), self._clock())

    async def _missing(self, actor: Actor, repository: str, digest: Digest) -> Upstream | None:
        """Return the upstream of a repository that has not got the blob; None when there is nothing to fetch."""
        upstream = self.upstreams.of(repository)
        if upstream is None:
            return None
        await self._access.require(actor, repository, Action.PULL)
        async with self._database.reading() as session:
            here = await blob_store.find(session, repository, str(digest))
        if (here is None or here.quarantined) and not await self._mounted(repository, digest):
            return upstream
        return None

    async def _mounted(self, repository: str, digest: Digest) -> bool:
        """Let a repository have what another mirrored one has; not one of which nothing is known yet."""
        async with self._database.reading() as session:
            if await repository_store.find(session, repository) is None:
                return False
            names = await repository_store.names_holding(session, str(digest), SOURCES)
        # Only from mirrored ones: what they have, whoever asks here might have asked for there.
        source = next((name for name in names if name != repository and self.upstreams.of(name)), None)
        if source is None or not await self._blobs.mount(_actor(repository), repository, digest, source):
            return False
        await self._count(repository, digest)
        return True

    async def _count(self, repository: str, digest: Digest) -> None:
        """Count a blob to what the mirror holds, now and not when garbage is next looked at, if a manifest needs it."""
        async with self._database.writing(durable=False) as session:
            found = await repository_store.lock(session, repository, alone=True)
            if found is not None:
                needed = await garbage_store.needed_links(session, found.id, [str(digest)])
                await blob_store.mark_links(session, found.id, needed, None)

    async def _note_use(self, here: StoredManifest) -> None:
        now, key = self._clock(), (here.repository.name, here.digest)
        if now - self._used_at.get(key, datetime.min.replace(tzinfo=UTC)) < USE_NOTED:
            return
        _remember(self._used_at, key, now)
        async with self._database.writing(durable=False) as session:
            await store.note_use(session, here.repository.id, str(here.digest), now, now - USE_NOTED)

    async def _held(self) -> int:
        async with self._database.reading() as session:
            return await store.size(session)

    async def _drop_unused(self, before: datetime, limit: int) -> int:
        async with self._database.reading() as session:
            rows = await store.unused(session, before, limit)
        for row in rows:
            await self._drop(row.name, Digest.parse(row.digest))
        return len(rows)

    async def _drop(self, repository: str, digest: Digest) -> None:
        async with self._database.writing() as session:
            found = await repository_store.lock(session, repository, alone=True)
            if found is None:
                return
            tags = await tag_store.pointing_at(session, found.id, str(digest))
            await self._manifests.remove(session, found, digest, tags, _actor(repository))

    def _registry(self, upstream: Upstream) -> UpstreamRegistry:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=TIMEOUT, auto_decompress=False)
        if upstream.name not in self._registries:
            self._registries[upstream.name] = UpstreamRegistry(self._session, upstream, self._policy.manifest_size)
        return self._registries[upstream.name]


async def _soon(answer: Awaitable[Digest | None]) -> Digest | None:
    """Return the upstream's answer; raises UpstreamUnavailable when it takes its time, besides what it raises."""
    try:
        async with asyncio.timeout(PATIENCE):
            return await answer
    except TimeoutError as error:
        raise UpstreamUnavailable(f"it said nothing for {PATIENCE} seconds") from error


def _remember(times: dict[Key, datetime], key: Key, at: datetime) -> None:
    if len(times) >= REMEMBERED:
        times.clear()
    times[key] = at


def _theirs(upstream: Upstream, repository: str) -> str:
    """Return what the upstream calls the repository."""
    return repository.removeprefix(upstream.prefix)


def _actor(repository: str) -> Actor:
    """Return who moves a mirrored repository's tags."""
    return Actor(f"mirror:{repository.partition('/')[0]}")


def _unavailable(error: UpstreamError) -> WireError:
    return WireError(
        ErrorCode.UNAVAILABLE,
        f"this is a mirror, and its upstream cannot be asked now: {error}",
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        headers={"Retry-After": "10"},
    )


def _blob_error(error: UpstreamError, digest: Digest) -> WireError:
    return _unavailable(error) if isinstance(error, UpstreamUnavailable) else unknown_blob(digest)

"""Manifests: stored byte for byte once everything they refer to exists, and deleted with their tags."""

from collections.abc import Iterable, Sequence
from functools import partial
from http import HTTPStatus

import msgspec

from hythe.database import Database, Session
from hythe.database.pacing import paced
from hythe.database.read_cache import Kept, ReadCache
from hythe.oci.digest import Digest
from hythe.oci.errors import ErrorCode, InvalidManifest, WireError
from hythe.oci.manifest import INDEX_MEDIA_TYPES, MAX_INDEX_DEPTH, Descriptor, Manifest, ManifestKind
from hythe.registry.access import Access, Action, Actor, Limits
from hythe.registry.clock import Clock
from hythe.registry.events import RegistryListener, RepositoryRef, TagMove
from hythe.registry.garbage_collection import mark_unreferenced
from hythe.registry.policy import Policy
from hythe.registry.protection import require_in_no_index
from hythe.registry.quota import Quota, QuotaExceeded
from hythe.registry.repositories import Repositories
from hythe.registry.sql import blobs as blob_store
from hythe.registry.sql import manifests as store
from hythe.registry.sql import repositories as repository_store
from hythe.registry.sql import tags as tag_store
from hythe.registry.sql.manifests import References, StoredManifest
from hythe.registry.tags import Tags

CACHE_SIZE = 16 * 1024 * 1024
"""Bytes of manifests cached for the next pull."""

CACHE_ENTRY_OVERHEAD = 1500
"""Approximate overhead of a cached manifest, in bytes."""

TAGS_AT_ONCE = 100
"""Tags to delete in one transaction."""

MAX_NAMED_DIGESTS = 5
"""Maximum number of missing digests in an error message; its detail has all of them."""


class PushedManifest(msgspec.Struct, frozen=True):
    """The result of pushing a manifest."""

    digest: Digest
    subject: str | None
    tags: tuple[str, ...]


class Manifests:
    """The manifests of a registry's repositories."""

    def __init__(
        self,
        database: Database,
        access: Access,
        listeners: Sequence[RegistryListener],
        repositories: Repositories,
        tags: Tags,
        quota: Quota,
        policy: Policy,
        clock: Clock,
    ) -> None:
        self._database = database
        self._access = access
        self._listeners = listeners
        self._repositories = repositories
        self._tags = tags
        self._quota = quota
        self._policy = policy
        self._clock = clock
        self._cache: ReadCache[tuple[str, str | Digest], StoredManifest | None] = ReadCache(
            database, CACHE_SIZE, _kept, "manifests"
        )

    async def get(self, actor: Actor, repository: str, reference: str | Digest) -> StoredManifest:
        """Return the manifest of a tag or digest (specification, "Pulling manifests"). Raises MANIFEST_UNKNOWN."""
        await self._access.require(actor, repository, Action.PULL)
        load = partial(store.find, repository=repository, reference=reference)
        found = await self._cache.get((repository, reference), load)
        if found is None:
            raise unknown_manifest(reference)
        if found.free_after is not None:
            await self._renew(found)
        return found

    async def put(
        self, actor: Actor, repository: str, digest: Digest, tags: tuple[str, ...], content: bytes, media_type: str
    ) -> PushedManifest:
        """Store a manifest and set tags to it (specification, "Pushing Manifests").

        Raises WireError MANIFEST_INVALID, DIGEST_INVALID, MANIFEST_BLOB_UNKNOWN (naming what is missing, unless the
        policy allows sparse images), DENIED for an immutable tag, and QuotaExceeded.
        """
        limits = await self._access.require(actor, repository, Action.PUSH)
        manifest = parse_manifest(content, media_type, self._policy.manifest_size)
        if not digest.matches(content):
            raise WireError(ErrorCode.DIGEST_INVALID, f"the manifest does not match {digest}: push it unchanged")

        async def store_and_tag() -> None:
            async with self._database.writing() as session:
                found = await self._repositories.get_or_create(session, repository, actor, exclusive=True)
                references = await self._references(session, found, digest, manifest)
                await self._admit(session, found, limits, digest, len(content))
                await self.add(session, found, digest, manifest, references, actor)
                await self._tags.move(session, found, tags, digest, actor)

        await self._quota.making_room(limits, store_and_tag)
        return PushedManifest(digest, manifest.subject.digest if manifest.subject else None, tags)

    async def _admit(
        self, session: Session, repository: RepositoryRef, limits: Limits, digest: Digest, size: int
    ) -> None:
        """Check that the namespace may store a manifest of ``size`` bytes, or has it. Raises QuotaExceeded."""
        try:
            await self._quota.admit_bytes(session, limits, size)
        except QuotaExceeded:
            if not await store.exists(session, repository.id, str(digest)):
                raise

    async def delete(self, actor: Actor, repository: str, digest: Digest) -> None:
        """Delete a manifest and its tags (specification, "Deleting Manifests").

        If it has very many tags, these are deleted in steps, and the manifest with the last of them. Content that only
        it refers to is freed after the grace period. Raises MANIFEST_UNKNOWN, and DENIED if an index
        lists it or one of its tags is immutable.
        """
        await self._access.require(actor, repository, Action.DELETE)
        database = paced(self._database)
        first = True
        while True:
            async with database.writing() as session:
                found = await repository_store.lock(session, repository, exclusive=True)
                if found is None or not await store.exists(session, found.id, str(digest)):
                    raise unknown_manifest(digest)
                tags = await tag_store.some_pointing_at(session, found.id, str(digest), TAGS_AT_ONCE)
                await self._tags.require_mutable(session, found, tags)
                if self._policy.protect_images:
                    await require_in_no_index(session, found.id, str(digest))
                if len(tags) < TAGS_AT_ONCE:
                    await self.remove(session, found, digest, tags, actor)
                    return
                if not first:
                    await self._tags.remove(session, found, tags, digest, actor)
            if first:
                await self._tags.require_all_mutable(found, digest)
            first = False

    async def remove(
        self, session: Session, repository: RepositoryRef, digest: Digest, tags: tuple[str, ...], actor: Actor
    ) -> None:
        """Delete a manifest and its tags in the caller's transaction. Lock the repository first."""
        now = self._clock()
        await mark_unreferenced(session, repository.id, str(digest), now + self._policy.grace)
        await store.remove(session, repository.id, str(digest))
        await self._tags.record(session, repository, tuple(TagMove(tag, None, digest, now) for tag in tags), actor)
        for listener in self._listeners:
            await listener.content_deleted(session, repository, digest, actor)

    async def _references(
        self, session: Session, repository: RepositoryRef, digest: Digest, manifest: Manifest
    ) -> References:
        """Return the references of the manifest. Raises MANIFEST_BLOB_UNKNOWN if they must exist and do not."""
        blobs = {descriptor.digest for descriptor in manifest.blobs}
        listed = {descriptor.digest for descriptor in manifest.manifests if not descriptor.is_nondistributable}
        depths = await store.depths(session, repository.id, listed)
        children = frozenset(depths)
        # An index may also list blobs, as BuildKit's exported build cache does.
        usable = await blob_store.usable(session, repository.id, blobs | (listed - children))
        absent = listed - children - usable
        missing = (blobs - usable) | absent
        if missing and not self._policy.sparse_images:
            raise missing_content(sorted(missing))
        # An absent one may be pushed later, as a manifest or as a blob.
        depths |= {each.digest: _announced_depth(each) for each in manifest.manifests if each.digest in absent}
        depth = _depth(manifest, depths.values())
        if depth and not await store.exists(session, repository.id, str(digest)):
            await _require_room_above(session, repository.id, digest, depth)
        return References(usable | missing, children | absent, depth)

    async def add(
        self,
        session: Session,
        repository: RepositoryRef,
        digest: Digest,
        manifest: Manifest,
        references: References,
        actor: Actor,
    ) -> None:
        """Store a manifest in the caller's transaction. Lock the repository first."""
        await store.add(session, repository.id, str(digest), manifest, references, self._clock(), actor.name)
        await blob_store.mark_links(session, repository.id, references.blobs, None)
        await store.mark(session, repository.id, references.children, None)
        size = len(manifest.content)
        for listener in self._listeners:
            await listener.manifest_pushed(session, repository, digest, manifest.media_type, size, actor)

    async def _renew(self, found: StoredManifest) -> None:
        """Extend the manifest's grace period. Raises MANIFEST_UNKNOWN if garbage collection has just deleted it."""
        now = self._clock()
        if found.free_after is None or found.free_after > now + self._policy.grace / 2:
            return
        async with self._database.writing(durable=False) as session:
            await store.renew(session, found.repository.id, str(found.digest), now + self._policy.grace)
            if not await store.exists(session, found.repository.id, str(found.digest)):
                raise unknown_manifest(found.digest)


def _kept(_key: object, found: StoredManifest | None) -> Kept | None:
    """Return how to cache a manifest: not if it is due for deletion, which each pull puts off."""
    if found is None or found.free_after is not None:
        return None
    return Kept((found.repository.id,), len(found.content) + CACHE_ENTRY_OVERHEAD)


def _depth(manifest: Manifest, depths: Iterable[int]) -> int:
    """Return the levels of indexes. Raises WireError MANIFEST_INVALID if they are too many for clients."""
    depth = 1 + max(depths, default=0) if manifest.kind is ManifestKind.INDEX else 0
    if depth > MAX_INDEX_DEPTH:
        raise WireError(
            ErrorCode.MANIFEST_INVALID,
            f"the index nests indexes deeper than {MAX_INDEX_DEPTH} levels: list the images in fewer levels",
        )
    return depth


def _announced_depth(child: Descriptor) -> int:
    """Return the levels of indexes that a child may have which is not pushed yet."""
    return 1 if child.media_type in INDEX_MEDIA_TYPES else 0


async def _require_room_above(session: Session, repository_id: int, digest: Digest, depth: int) -> None:
    """Check that no index that was pushed before this one counts fewer levels below itself.

    Raises WireError MANIFEST_INVALID: its own levels, and those above it, would be more than are recorded.
    """
    shallow = await store.shallow_index_of(session, repository_id, str(digest), depth)
    if shallow is not None:
        message = f"the index {shallow} was pushed before its indexes: delete it, and push it after this one"
        raise WireError(ErrorCode.MANIFEST_INVALID, message)


def parse_manifest(content: bytes, media_type: str, limit: int) -> Manifest:
    """Return the parsed manifest. Raises WireError MANIFEST_INVALID, with status 413 if it is larger than ``limit``."""
    if len(content) > limit:
        raise oversized_manifest(limit)
    try:
        manifest = Manifest.parse(content, media_type)
    except InvalidManifest as error:
        raise WireError(ErrorCode.MANIFEST_INVALID, str(error)) from error
    if "\0" in manifest.effective_artifact_type:
        raise WireError(ErrorCode.MANIFEST_INVALID, "artifactType must be a media type, but contains a NUL character")
    return manifest


def oversized_manifest(limit: int) -> WireError:
    """Return the error for a manifest of more than ``limit`` bytes."""
    message = f"the manifest is larger than {limit} bytes: ask the operator to raise the setting manifest_size"
    return WireError(ErrorCode.MANIFEST_INVALID, message, status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)


def unknown_manifest(reference: str | Digest) -> WireError:
    """Return the error for a manifest that the repository does not contain."""
    return WireError(ErrorCode.MANIFEST_UNKNOWN, detail={"reference": str(reference)})


def missing_content(digests: list[str]) -> WireError:
    """Return the error for a manifest whose blobs or children are missing."""
    named = ", ".join(digests[:MAX_NAMED_DIGESTS]) + (
        f" and {len(digests) - MAX_NAMED_DIGESTS} more" if len(digests) > MAX_NAMED_DIGESTS else ""
    )
    return WireError(
        ErrorCode.MANIFEST_BLOB_UNKNOWN,
        f"the manifest refers to content that this repository does not contain: push {named} first",
        detail=[{"digest": digest} for digest in digests],
    )

"""What a pull reads: content that is stored here or, for a mirrored repository, at its upstream.

The routes ask only this service. Without mirrors, its methods pass on the coroutines of the services of content.
"""

from collections.abc import Awaitable
from typing import TYPE_CHECKING

from hythe.oci.digest import Digest
from hythe.registry.access import Access, Actor
from hythe.registry.blobs import Blob, Blobs
from hythe.registry.manifests import Manifests
from hythe.registry.sql.manifests import StoredManifest
from hythe.registry.tags import NamePage, Tags

if TYPE_CHECKING:
    from hythe.registry.mirror.downloads import MirrorDownload
    from hythe.registry.mirror.mirror import Mirror
    from hythe.registry.mirror.upstream import ManifestHeaders


class Contents:
    """Reads manifests and blobs from the registry or from an upstream."""

    def __init__(self, access: Access, manifests: Manifests, blobs: Blobs, tags: Tags, mirror: "Mirror | None") -> None:
        self._access = access
        self._manifests = manifests
        self._blobs = blobs
        self._tags = tags
        self._mirror = mirror
        self.has_mirrors = mirror is not None

    def canonical(self, name: str, upstream: str = "") -> str:
        """Return the canonical name of a repository here or, if ``upstream`` is set, of its mirror.

        Raises WireError NAME_UNKNOWN if the registry does not mirror ``upstream``.
        """
        if upstream and self._mirror is not None:
            return self._mirror.local_name(upstream, name)
        return self._access.canonical(name)

    def manifest(self, actor: Actor, repository: str, reference: str | Digest) -> Awaitable[StoredManifest]:
        """Return the manifest of a tag or digest (specification, "Pulling manifests").

        Raises WireError: MANIFEST_UNKNOWN, or if no copy is stored and the upstream fails, UNAVAILABLE or
        TOOMANYREQUESTS.
        """
        if self._mirror is None:
            return self._manifests.get(actor, repository, reference)
        return self._mirrored_manifest(self._mirror, actor, repository, reference)

    def manifest_headers(
        self, actor: Actor, repository: str, reference: str | Digest
    ) -> "Awaitable[StoredManifest | ManifestHeaders]":
        """Return the stored manifest, or what the upstream says of one that is not stored, without fetching it.

        Raises the errors of ``manifest``.
        """
        if self._mirror is None:
            return self._manifests.get(actor, repository, reference)
        return self._mirrored_manifest_headers(self._mirror, actor, repository, reference)

    def tags(self, actor: Actor, repository: str, after: str, limit: int | None) -> Awaitable[NamePage]:
        """Return the tags after ``after``, sorted by their bytes (specification, "Listing Tags").

        Raises WireError: NAME_UNKNOWN, or if nothing is stored and the upstream fails, UNAVAILABLE or TOOMANYREQUESTS.
        """
        if self._mirror is None:
            return self._tags.names(actor, repository, after, limit)
        return self._mirrored_tags(self._mirror, actor, repository, after, limit)

    def blob(self, actor: Actor, repository: str, digest: Digest) -> "Awaitable[Blob | MirrorDownload]":
        """Return the stored blob, or its download from the upstream.

        Raises WireError: BLOB_UNKNOWN, or if the upstream fails, UNAVAILABLE or TOOMANYREQUESTS.
        """
        if self._mirror is None:
            return self._blobs.get(actor, repository, digest)
        return self._mirrored_blob(self._mirror, actor, repository, digest)

    def blob_info(self, actor: Actor, repository: str, digest: Digest) -> Awaitable[Blob]:
        """Return the blob without downloading it. Raises the errors of ``blob``."""
        if self._mirror is None:
            return self._blobs.get(actor, repository, digest)
        return self._mirrored_blob_info(self._mirror, actor, repository, digest)

    async def _mirrored_manifest(
        self, mirror: "Mirror", actor: Actor, repository: str, reference: str | Digest
    ) -> StoredManifest:
        await mirror.refresh(actor, repository, reference)
        return await self._manifests.get(actor, repository, reference)

    async def _mirrored_manifest_headers(
        self, mirror: "Mirror", actor: Actor, repository: str, reference: str | Digest
    ) -> "StoredManifest | ManifestHeaders":
        remote = await mirror.headers(actor, repository, reference)
        return remote if remote is not None else await self._manifests.get(actor, repository, reference)

    async def _mirrored_tags(
        self, mirror: "Mirror", actor: Actor, repository: str, after: str, limit: int | None
    ) -> NamePage:
        remote = await mirror.tags(actor, repository, after, limit)
        return remote if remote is not None else await self._tags.names(actor, repository, after, limit)

    async def _mirrored_blob(
        self, mirror: "Mirror", actor: Actor, repository: str, digest: Digest
    ) -> "Blob | MirrorDownload":
        download = await mirror.download(actor, repository, digest)
        return download if download is not None else await self._blobs.get(actor, repository, digest)

    async def _mirrored_blob_info(self, mirror: "Mirror", actor: Actor, repository: str, digest: Digest) -> Blob:
        remote = await mirror.upstream_blob(actor, repository, digest)
        return remote if remote is not None else await self._blobs.get(actor, repository, digest)

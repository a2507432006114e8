"""Tags as the pages and the JSON API show them, with sizes, platforms and times."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Row

from hythe.database import Database
from hythe.hub.access import HubAccess
from hythe.hub.actor import HubActor
from hythe.hub.errors import NotFound
from hythe.hub.namespaces import canonical_name
from hythe.hub.page import Page, Paging
from hythe.hub.platforms import Platforms
from hythe.hub.sql import tags as store
from hythe.hub.tag import Tag, TagImage
from hythe.oci.digest import Digest
from hythe.oci.manifest import Descriptor, Manifest, ManifestKind
from hythe.registry.access import Action
from hythe.registry.tags import TagHistoryEntry
from hythe.registry.tags import Tags as RegistryTags

MAX_IMAGES = 50
"""Maximum number of images of one index that are shown."""

_ATTESTATION = "vnd.docker.reference.type"
"""Marks manifests in an index that describe an image (BuildKit's attestations)."""


class TagService:
    """Shows tags; the registry changes them. Repository names may be short or long, as in RepositoryService."""

    def __init__(self, database: Database, access: HubAccess, platforms: Platforms, registry: RegistryTags) -> None:
        self._registry = registry
        self._database = database
        self._access = access
        self._platforms = platforms

    async def list(self, actor: HubActor, repository: str, paging: Paging, part: str = "") -> Page[Tag]:
        """Return the tags whose names contain ``part``, most recently moved first. Raises NotFound."""
        name = canonical_name(repository)
        repository_id = await self._readable(actor, name)
        async with self._database.reading() as session:
            rows, total = await store.listed(session, repository_id, paging, part)
        return Page(await self._tags(actor, name, repository_id, rows), total, paging)

    async def get(self, actor: HubActor, repository: str, tag: str) -> Tag:
        """Return one tag. Raises NotFound."""
        name = canonical_name(repository)
        repository_id = await self._readable(actor, name)
        async with self._database.reading() as session:
            row = await store.one(session, repository_id, tag)
        if row is None:
            raise NotFound(f"tag {tag!r} does not exist")
        return (await self._tags(actor, name, repository_id, [row]))[0]

    async def delete(self, actor: HubActor, repository: str, tag: str) -> None:
        """Delete a tag but not its image. Raises NotFound, SignInNeeded, Refused, WireError."""
        name = await self._allowed(actor, repository, Action.DELETE)
        await self._registry.delete(actor, name, tag)

    async def history(
        self, actor: HubActor, repository: str, tag: str, before: int | None = None
    ) -> tuple[TagHistoryEntry, ...]:
        """Return a tag's moves before the move with id ``before``, newest first. Raises NotFound."""
        return await self._registry.history(actor, await self._allowed(actor, repository, Action.PULL), tag, before)

    async def restore(self, actor: HubActor, repository: str, tag: str, digest: Digest) -> None:
        """Point a tag to a digest of its history. Raises NotFound, SignInNeeded, Refused, WireError."""
        name = await self._allowed(actor, repository, Action.PUSH)
        await self._registry.restore(actor, name, tag, digest)

    async def immutable(self, actor: HubActor, repository: str) -> tuple[str, ...]:
        """Return the patterns of immutable tags, which can be set only once. Raises NotFound."""
        return await self._registry.immutable_patterns(actor, await self._allowed(actor, repository, Action.PULL))

    async def set_immutable(self, actor: HubActor, repository: str, patterns: tuple[str, ...]) -> None:
        """Replace the patterns of immutable tags. Raises NotFound, SignInNeeded, Refused."""
        name = await self._allowed(actor, repository, Action.DELETE)
        await self._registry.set_immutable_patterns(actor, name, patterns)

    async def _allowed(self, actor: HubActor, repository: str, action: Action) -> str:
        name = canonical_name(repository)
        await self._access.require_repository(actor, name, action)
        return name

    async def _readable(self, actor: HubActor, name: str) -> int:
        context = await self._access.require_repository(actor, name, Action.PULL)
        if context.repository_id is None:
            raise NotFound(f"repository {name!r} does not exist")
        return context.repository_id

    async def _tags(self, actor: HubActor, name: str, repository_id: int, rows: Iterable[Row[Any]]) -> tuple[Tag, ...]:
        parsed = [(row, Manifest.parse(bytes(row.content), row.media_type)) for row in rows]
        children = await self._children(repository_id, [manifest for _, manifest in parsed])
        tags = []
        for row, manifest in parsed:
            images = await self._images(actor, name, row.digest, manifest, children)
            size = images[0].size if images else 0
            moved = (row.moved_at, row.moved_by)
            tags.append(Tag(row.name, row.digest, row.media_type, size, *moved, images))
        return tuple(tags)

    async def _children(self, repository_id: int, manifests: Iterable[Manifest]) -> dict[str, Manifest]:
        digests = {child.digest for manifest in manifests for child in shown_images(manifest)}
        if not digests:
            return {}
        async with self._database.reading() as session:
            found = await store.contents(session, repository_id, digests)
        return {digest: Manifest.parse(content, media_type) for digest, (media_type, content) in found.items()}

    async def _images(
        self, actor: HubActor, name: str, digest: str, manifest: Manifest, children: dict[str, Manifest]
    ) -> tuple[TagImage, ...]:
        if manifest.kind is ManifestKind.INDEX:
            return tuple(_child(each, children.get(each.digest)) for each in shown_images(manifest))
        platform = await self._platforms.of(actor, name, manifest)
        return (TagImage(digest, platform, _size(manifest)),)


def shown_images(manifest: Manifest) -> tuple[Descriptor, ...]:
    """Return the images of an index, without attestations."""
    images = [child for child in manifest.manifests if _ATTESTATION not in child.annotations]
    return tuple(images[:MAX_IMAGES])


def _child(descriptor: Descriptor, manifest: Manifest | None) -> TagImage:
    platform = str(descriptor.platform) if descriptor.platform else ""
    return TagImage(descriptor.digest, platform, _size(manifest) if manifest else descriptor.size)


def _size(manifest: Manifest) -> int:
    config = manifest.config.size if manifest.config else 0
    return config + sum(layer.size for layer in manifest.layers)

"""Tags as the pages and the JSON API show them, with sizes, platforms and times."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Row

from hythe.database import Database
from hythe.hub.access.actions import HubAction
from hythe.hub.access.decision import HubAccess
from hythe.hub.accounts.namespaces import canonical_name, namespace_of
from hythe.hub.actor import HubActor
from hythe.hub.errors import NotFound
from hythe.hub.page import Page, Paging
from hythe.hub.repositories.image_summary import ManifestSummary, bounded, summarize
from hythe.hub.repositories.platforms import Platforms
from hythe.hub.repositories.tag import Tag, TagImage
from hythe.hub.sql import tags as store
from hythe.oci.digest import Digest
from hythe.oci.errors import InvalidManifest
from hythe.oci.manifest import ManifestKind
from hythe.offload import OffloadPool
from hythe.registry.tags import TagHistoryEntry
from hythe.registry.tags import Tags as RegistryTags

_CACHE_SIZE = 50_000
"""Sizes of images in indexes that are kept; content of a digest never changes."""

FILTER_SECONDS = 1.0
"""Time limit of one statement that compares the names of many tags with a text; it takes a few milliseconds."""


class TagService:
    """Shows tags; the registry changes them. Repository names may be short or long, as in RepositoryService."""

    def __init__(
        self,
        database: Database,
        access: HubAccess,
        platforms: Platforms,
        registry: RegistryTags,
        offload: OffloadPool,
    ) -> None:
        self._registry = registry
        self._database = database
        self._access = access
        self._platforms = platforms
        self._offload = offload
        self._sizes: dict[str, int] = {}

    async def list(self, actor: HubActor, repository: str, paging: Paging, part: str = "") -> Page[Tag]:
        """Return the tags whose names contain ``part``, most recently moved first. Raises NotFound."""
        name = canonical_name(repository)
        repository_id = await self._readable(actor, name)
        if part:
            async with self._database.reading_long(FILTER_SECONDS) as session:
                page = await store.matching(session, repository_id, paging, part)
        else:
            async with self._database.reading() as session:
                page = await store.listed(session, repository_id, paging)
        items = await self._tags(actor, name, repository_id, page.items)
        return Page(items, page.total, paging, page.next, page.previous, page.total_exact)

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
        name = await self._allowed(actor, repository, HubAction.DELETE_TAG)
        await self._registry.delete(actor, name, tag)

    async def history(
        self, actor: HubActor, repository: str, tag: str, before: int | None = None
    ) -> tuple[TagHistoryEntry, ...]:
        """Return a tag's moves before the move with id ``before``, newest first. Raises NotFound."""
        name = await self._allowed(actor, repository, HubAction.VIEW_REPOSITORY)
        return await self._registry.history(actor, name, tag, before)

    async def restore(self, actor: HubActor, repository: str, tag: str, digest: Digest) -> None:
        """Point a tag to a digest of its history. Raises NotFound, SignInNeeded, Refused, WireError."""
        name = await self._allowed(actor, repository, HubAction.MOVE_TAG)
        await self._registry.restore(actor, name, tag, digest)

    async def immutable(self, actor: HubActor, repository: str) -> tuple[str, ...]:
        """Return the patterns of immutable tags, which can be set only once. Raises NotFound."""
        name = await self._allowed(actor, repository, HubAction.VIEW_REPOSITORY)
        return await self._registry.immutable_patterns(actor, name)

    async def set_immutable(self, actor: HubActor, repository: str, patterns: tuple[str, ...]) -> None:
        """Replace the patterns of immutable tags. Raises NotFound, SignInNeeded, Refused."""
        name = await self._allowed(actor, repository, HubAction.PROTECT_TAGS)
        await self._registry.set_immutable_patterns(actor, name, patterns)

    async def _allowed(self, actor: HubActor, repository: str, action: HubAction) -> str:
        name = canonical_name(repository)
        await self._access.require_repository(actor, name, action)
        return name

    async def _readable(self, actor: HubActor, name: str) -> int:
        context = await self._access.require_repository(actor, name, HubAction.VIEW_REPOSITORY)
        if context.repository_id is None:
            raise NotFound(f"repository {name!r} does not exist")
        return context.repository_id

    async def _tags(self, actor: HubActor, name: str, repository_id: int, rows: Iterable[Row[Any]]) -> tuple[Tag, ...]:
        owner = namespace_of(name)
        summaries = [(row, await self._summary(owner, row.content, row.media_type)) for row in rows]
        shown = [summary for _, summary in summaries if summary]
        sizes = await self._child_sizes(owner, repository_id, shown)
        single = (summary.config for summary in shown if summary.kind is not ManifestKind.INDEX)
        platforms = await self._platforms.of(actor, name, filter(None, single))
        tags = []
        for row, summary in summaries:
            images = _images(row.digest, summary, sizes, platforms) if summary else ()
            size = images[0].size if images else 0
            moved = (row.moved_at, row.moved_by)
            tags.append(Tag(row.name, row.digest, row.media_type, size, *moved, images))
        return tuple(tags)

    async def _summary(self, owner: str, content: bytes | None, media_type: str) -> ManifestSummary | None:
        """Return what pages show of a manifest; None if it is too large to show."""
        if content is None:
            return None
        try:
            return await bounded(self._offload, owner, len(content), summarize, bytes(content), media_type)
        except InvalidManifest:
            return None

    async def _child_sizes(
        self, owner: str, repository_id: int, summaries: Iterable[ManifestSummary]
    ) -> dict[str, int]:
        """Return the sizes of those images in indexes that exist here, by digest."""
        digests = {image.digest for summary in summaries for image in summary.images}
        sizes = {digest: self._sizes[digest] for digest in digests & self._sizes.keys()}
        if missing := digests - sizes.keys():
            async with self._database.reading() as session:
                found = await store.contents(session, repository_id, missing)
            for digest, stored in found.items():
                if summary := await self._summary(owner, *stored):
                    sizes[digest] = summary.size
                    self._remember(digest, summary.size)
        return sizes

    def _remember(self, digest: str, size: int) -> None:
        if len(self._sizes) >= _CACHE_SIZE:
            del self._sizes[next(iter(self._sizes))]
        self._sizes[digest] = size


def _images(
    digest: str, summary: ManifestSummary, sizes: dict[str, int], platforms: dict[str, str]
) -> tuple[TagImage, ...]:
    if summary.kind is ManifestKind.INDEX:
        return tuple(
            TagImage(image.digest, image.platform, sizes.get(image.digest, image.size)) for image in summary.images
        )
    platform = platforms.get(summary.config.digest, "") if summary.config else ""
    return (TagImage(digest, platform, summary.size),)

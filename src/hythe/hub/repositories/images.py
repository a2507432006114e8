"""Images as the pages show them: platforms, sizes and history."""

import asyncio

from hythe.hub.access.actions import HubAction
from hythe.hub.access.decision import HubAccess
from hythe.hub.accounts.namespaces import canonical_name, namespace_of
from hythe.hub.actor import HubActor
from hythe.hub.errors import NotFound
from hythe.hub.repositories.image import ImageDetails, PlatformImage
from hythe.hub.repositories.image_config import read_config
from hythe.hub.repositories.image_summary import ListedImage, ManifestSummary, bounded, describe, summarize
from hythe.oci.digest import Digest
from hythe.oci.errors import InvalidManifest, WireError
from hythe.oci.manifest import ManifestKind
from hythe.offload import OffloadPool
from hythe.registry.blobs import Blobs
from hythe.registry.manifests import Manifests
from hythe.registry.sql.manifests import StoredManifest

MAX_ROWS = 300
"""Steps, labels, variables and so on of all platforms together, of each kind; a page shows no more."""

MIN_ROWS = 6
"""Of each kind for one platform, however many platforms there are."""


class ImageService:
    """Shows images. Repository names may be short or long, as in RepositoryService."""

    def __init__(self, access: HubAccess, manifests: Manifests, blobs: Blobs, offload: OffloadPool) -> None:
        self._access = access
        self._manifests = manifests
        self._blobs = blobs
        self._offload = offload

    async def get(self, actor: HubActor, repository: str, reference: str | Digest) -> ImageDetails:
        """Return the image of a tag or digest. Raises NotFound."""
        name = canonical_name(repository)
        await self._access.require_repository(actor, name, HubAction.VIEW_REPOSITORY)
        stored, summary = await self._summary(actor, name, reference)
        if summary.kind is ManifestKind.INDEX:
            rows = max(MIN_ROWS, MAX_ROWS // max(1, len(summary.images)))
            children = (self._child(actor, name, each, rows) for each in summary.images)
            platforms = tuple(filter(None, await asyncio.gather(*children)))
        else:
            platforms = (await self._platform(actor, name, stored, summary, "", MAX_ROWS),)
        return ImageDetails(
            str(stored.digest), summary.media_type, summary.artifact_type, summary.annotations, platforms
        )

    async def _summary(
        self, actor: HubActor, name: str, reference: str | Digest
    ) -> tuple[StoredManifest, ManifestSummary]:
        try:
            found = await self._manifests.get(actor, name, reference)
            document, size = (found.content, found.media_type), len(found.content)
            return found, await bounded(self._offload, namespace_of(name), size, summarize, *document)
        except WireError as error:
            raise NotFound(f"{reference} does not exist in {name}") from error
        except InvalidManifest as error:
            raise NotFound(f"{reference} of {name} cannot be shown: {error}") from error

    async def _child(self, actor: HubActor, name: str, listed: ListedImage, rows: int) -> PlatformImage | None:
        """Return one image of an index; None if it does not exist here (an index may be copied with some of its
        platforms).
        """
        try:
            stored, summary = await self._summary(actor, name, Digest.parse(listed.digest))
            return await self._platform(actor, name, stored, summary, listed.platform, rows)
        except NotFound:
            return None

    async def _platform(
        self, actor: HubActor, name: str, stored: StoredManifest, summary: ManifestSummary, platform: str, rows: int
    ) -> PlatformImage:
        config = await read_config(self._blobs, actor, name, summary.config)
        size = len(stored.content) + len(config or b"")
        document = (stored.content, stored.media_type, config, platform, rows)
        try:
            return await bounded(self._offload, namespace_of(name), size, describe, *document)
        except InvalidManifest as error:
            raise NotFound(f"{stored.digest} of {name} cannot be shown: {error}") from error

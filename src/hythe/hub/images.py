"""Images as the pages show them: platforms, sizes and history."""

import asyncio
from datetime import datetime

from hythe.hub.access import HubAccess
from hythe.hub.actor import HubActor
from hythe.hub.errors import NotFound
from hythe.hub.image import HistoryStep, ImageDetails, PlatformImage
from hythe.hub.image_config import read_config
from hythe.hub.namespaces import canonical_name
from hythe.hub.tags import shown_images
from hythe.oci.config import History, ImageConfig
from hythe.oci.digest import Digest
from hythe.oci.errors import WireError
from hythe.oci.manifest import Descriptor, Manifest, ManifestKind, Platform
from hythe.registry.access import Action
from hythe.registry.blobs import Blobs
from hythe.registry.manifests import Manifests


class ImageService:
    """Shows images. Repository names may be short or long, as in RepositoryService."""

    def __init__(self, access: HubAccess, manifests: Manifests, blobs: Blobs) -> None:
        self._access = access
        self._manifests = manifests
        self._blobs = blobs

    async def get(self, actor: HubActor, repository: str, reference: str | Digest) -> ImageDetails:
        """Return the image of a tag or digest. Raises NotFound."""
        name = canonical_name(repository)
        await self._access.require_repository(actor, name, Action.PULL)
        digest, manifest = await self._manifest(actor, name, reference)
        if manifest.kind is ManifestKind.INDEX:
            children = (self._child(actor, name, each) for each in shown_images(manifest))
            platforms = tuple(filter(None, await asyncio.gather(*children)))
        else:
            platforms = (await self._platform(actor, name, digest, manifest),)
        return ImageDetails(digest, manifest.media_type, manifest.artifact_type, manifest.annotations, platforms)

    async def _manifest(self, actor: HubActor, name: str, reference: str | Digest) -> tuple[str, Manifest]:
        try:
            found = await self._manifests.get(actor, name, reference)
        except WireError as error:
            raise NotFound(f"{reference} does not exist in {name}") from error
        return str(found.digest), Manifest.parse(found.content, found.media_type)

    async def _child(self, actor: HubActor, name: str, listed: Descriptor) -> PlatformImage | None:
        """Return one image of an index; None if it does not exist here (an index may be copied with some of its
        platforms).
        """
        try:
            digest, manifest = await self._manifest(actor, name, listed.parsed_digest)
        except NotFound:
            return None
        return await self._platform(actor, name, digest, manifest, listed.platform)

    async def _platform(
        self, actor: HubActor, name: str, digest: str, manifest: Manifest, platform: Platform | None = None
    ) -> PlatformImage:
        config = await read_config(self._blobs, actor, name, manifest.config)
        own = Platform(config.architecture, config.os, variant=config.variant) if config else Platform()
        size = sum(each.size for each in (*filter(None, (manifest.config,)), *manifest.layers))
        steps = _steps(config, manifest.layers)
        made_at = _creation_time(config.created) if config else None
        return PlatformImage(digest, str(platform or own), size, steps, made_at, config.config if config else None)


def _creation_time(text: str) -> datetime | None:
    """Return the creation time in a configuration; None if it is missing, invalid or has no time zone."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo and moment.year > 1 else None


def _steps(config: ImageConfig | None, layers: tuple[Descriptor, ...]) -> tuple[HistoryStep, ...]:
    """Return the history with its layers; the layers alone if the history does not match them."""
    history = config.history if config else ()
    if sum(not entry.empty_layer for entry in history) != len(layers):
        return tuple(HistoryStep("", layer.digest, layer.size) for layer in layers)
    left = iter(layers)
    return tuple(_step(entry, None if entry.empty_layer else next(left)) for entry in history)


def _step(entry: History, layer: Descriptor | None) -> HistoryStep:
    text = entry.created_by or entry.comment
    return HistoryStep(text, layer.digest, layer.size) if layer else HistoryStep(text, "", None)

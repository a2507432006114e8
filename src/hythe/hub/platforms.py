"""Reads the platform of an image from its configuration and caches it; content of a digest never changes."""

from hythe.hub.image_config import read_config
from hythe.oci.manifest import Manifest, Platform
from hythe.registry.access import Actor
from hythe.registry.blobs import Blobs

_CACHE_SIZE = 10_000


class Platforms:
    """Determines the platform of single images (an index names the platforms itself)."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._known: dict[str, str] = {}

    async def of(self, actor: Actor, repository: str, manifest: Manifest) -> str:
        """Return ``os/architecture[/variant]``; empty if this is not an image or the configuration is invalid."""
        if manifest.config is None:
            return ""
        digest = manifest.config.digest
        if digest not in self._known:
            config = await read_config(self._blobs, actor, repository, manifest.config)
            if config is None:
                return ""
            self._remember(digest, str(Platform(config.architecture, config.os, variant=config.variant)))
        return self._known[digest]

    def _remember(self, digest: str, platform: str) -> None:
        if len(self._known) >= _CACHE_SIZE:
            del self._known[next(iter(self._known))]
        self._known[digest] = platform

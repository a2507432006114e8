"""Reads the platform of an image from its configuration and caches it; content of a digest never changes."""

from hythe.hub.accounts.namespaces import namespace_of
from hythe.hub.repositories.image_config import read_config
from hythe.hub.repositories.image_summary import bounded, platform_of
from hythe.oci.errors import InvalidManifest
from hythe.oci.manifest import Descriptor
from hythe.offload import OffloadPool
from hythe.registry.access import Actor
from hythe.registry.blobs import Blobs

_CACHE_SIZE = 10_000


class Platforms:
    """Determines the platform of single images (an index names the platforms itself)."""

    def __init__(self, blobs: Blobs, offload: OffloadPool) -> None:
        self._blobs = blobs
        self._offload = offload
        self._known: dict[str, str] = {}

    async def of(self, actor: Actor, repository: str, config: Descriptor | None) -> str:
        """Return ``os/architecture[/variant]``; empty if this is not an image or the configuration is invalid."""
        if config is None:
            return ""
        if config.digest not in self._known:
            content = await read_config(self._blobs, actor, repository, config)
            if content is None:
                return ""
            try:
                platform = await bounded(self._offload, namespace_of(repository), len(content), platform_of, content)
            except InvalidManifest:
                platform = ""
            self._remember(config.digest, platform)
        return self._known[config.digest]

    def _remember(self, digest: str, platform: str) -> None:
        if len(self._known) >= _CACHE_SIZE:
            del self._known[next(iter(self._known))]
        self._known[digest] = platform

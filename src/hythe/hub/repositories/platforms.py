"""Reads platforms of images from their configurations and caches them; content of a digest never changes."""

import asyncio
from collections.abc import Iterable

from hythe.hub.accounts.namespaces import namespace_of
from hythe.hub.repositories.image_config import read_config
from hythe.hub.repositories.image_summary import bounded, platform_of
from hythe.oci.errors import InvalidManifest
from hythe.oci.manifest import Descriptor
from hythe.offload import OffloadPool
from hythe.registry.access import Actor
from hythe.registry.blobs import Blobs

_CACHE_SIZE = 10_000

_CONCURRENCY = 8
"""Configurations of a page that are read at the same time; each may take 1 MiB of memory."""


class Platforms:
    """Determines the platforms of single images (an index names the platforms itself)."""

    def __init__(self, blobs: Blobs, offload: OffloadPool) -> None:
        self._blobs = blobs
        self._offload = offload
        self._known: dict[str, str] = {}

    async def of(self, actor: Actor, repository: str, configs: Iterable[Descriptor]) -> dict[str, str]:
        """Return platforms, ``os/architecture[/variant]``, by digest of the configuration.

        One that is missing, or is not a valid configuration of an image, has the platform "".
        """
        distinct = {config.digest: config for config in configs}
        found = {digest: self._known[digest] for digest in distinct.keys() & self._known.keys()}
        semaphore = asyncio.Semaphore(_CONCURRENCY)

        async def read(config: Descriptor) -> None:
            async with semaphore:
                found[config.digest] = await self._read(actor, repository, config)

        # One after the other, each would wait for the database and for the disk or object store.
        await asyncio.gather(*(read(config) for digest, config in distinct.items() if digest not in found))
        return found

    async def _read(self, actor: Actor, repository: str, config: Descriptor) -> str:
        content = await read_config(self._blobs, actor, repository, config)
        if content is None:
            return ""
        try:
            platform = await bounded(self._offload, namespace_of(repository), len(content), platform_of, content)
        except InvalidManifest:
            platform = ""
        self._remember(config.digest, platform)
        return platform

    def _remember(self, digest: str, platform: str) -> None:
        if len(self._known) >= _CACHE_SIZE:
            del self._known[next(iter(self._known))]
        self._known[digest] = platform

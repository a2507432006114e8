"""Read an image's configuration for the sake of showing it."""

from hythe.oci.config import ImageConfig
from hythe.oci.errors import OCIError
from hythe.oci.manifest import DOCKER_CONFIG, OCI_CONFIG, Descriptor
from hythe.registry.access import Actor
from hythe.registry.blobs import Blobs
from hythe.registry.storage.port import StorageError

LARGEST = 1024 * 1024
"""Bytes; a larger configuration is not read for the sake of a page."""


async def read_config(blobs: Blobs, actor: Actor, repository: str, descriptor: Descriptor | None) -> ImageConfig | None:
    """Return the configuration; None for what is no image, is too large, or cannot be read."""
    if descriptor is None or descriptor.media_type not in (OCI_CONFIG, DOCKER_CONFIG) or descriptor.size > LARGEST:
        return None
    try:
        blob = await blobs.get(actor, repository, descriptor.parsed_digest)
        if blob.size > LARGEST:  # whatever the descriptor says
            return None
        return ImageConfig.parse(b"".join([chunk async for chunk in blobs.read(blob, 0, blob.size)]))
    except (OCIError, StorageError):
        return None

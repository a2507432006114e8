"""Reads an image's configuration to display it."""

from hythe.oci.errors import OCIError
from hythe.oci.manifest import DOCKER_CONFIG, OCI_CONFIG, Descriptor
from hythe.registry.access import Actor
from hythe.registry.blobs import Blobs
from hythe.registry.storage.port import StorageError

MAX_CONFIG_SIZE = 1024 * 1024
"""Bytes; larger configurations are not displayed."""


async def read_config(blobs: Blobs, actor: Actor, repository: str, descriptor: Descriptor | None) -> bytes | None:
    """Return the configuration; None if this is not an image, or the configuration is too large or missing."""
    if (
        descriptor is None
        or descriptor.media_type not in (OCI_CONFIG, DOCKER_CONFIG)
        or descriptor.size > MAX_CONFIG_SIZE
    ):
        return None
    try:
        blob = await blobs.get(actor, repository, descriptor.parsed_digest)
        if blob.size > MAX_CONFIG_SIZE:  # even if the descriptor claims a smaller size
            return None
        return b"".join([chunk async for chunk in blobs.read(blob, 0, blob.size)])
    except (OCIError, StorageError):
        return None

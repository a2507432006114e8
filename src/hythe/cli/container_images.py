"""Find the image for a new container in the local store, or pull it."""

import sys

from hythe.client.configuration import load_configuration
from hythe.client.errors import RemoteNotFound
from hythe.client.platforms import host_platform, is_compatible, parse_platform
from hythe.client.store import LocalStore, StoredImage
from hythe.control_characters import escape_line
from hythe.oci.manifest import Platform


def open_store() -> LocalStore:
    """Return the local store with the user's default registry for short names."""
    return LocalStore(default_host=load_configuration().default_registry)


def find_image(images: LocalStore, name: str, platform: str, pull: str, *, quiet: bool = False) -> StoredImage:
    """Return the image called ``name``. ``pull`` is missing, always or never. Raises ClientError."""
    wanted = parse_platform(platform) if platform else None
    if pull != "always":
        try:
            return _resolve(images, name, wanted)
        except RemoteNotFound:
            if pull == "never" or (wanted is None and _is_stored(images, name)):
                raise
            if not quiet:
                print(escape_line(f"Unable to find image '{name}' locally"), file=sys.stderr)
    _pull(name, wanted or host_platform(), quiet=quiet)
    return _resolve(images, name, wanted)


def _resolve(images: LocalStore, name: str, wanted: Platform | None) -> StoredImage:
    """Return the image called ``name`` if it is for ``wanted``. The store checks the platform only of an index.

    Without ``wanted``, the image of an index is the one that a pull would choose.
    """
    image = images.resolve(name, wanted or host_platform())
    config = images.read_config(image)
    actual = Platform(architecture=config.architecture, os=config.os, variant=config.variant)
    if wanted is not None and not is_compatible(wanted, actual):
        raise RemoteNotFound(
            f"the local image {name} is for {actual}, not for {wanted}", "leave out --platform, or use another image"
        )
    return image


def _is_stored(images: LocalStore, name: str) -> bool:
    """Whether the store has an index of this name, though no image for this machine: none is pulled in its place."""
    try:
        images.find_entry(name)
    except RemoteNotFound:
        return False
    return True


def _pull(name: str, platform: Platform, *, quiet: bool) -> None:
    from hythe.cli.progress import PULL_LABELS, make_display
    from hythe.client.client import Client
    from hythe.client.endpoints import RegistryEndpoint, StoreEndpoint
    from hythe.client.transfer import TransferOptions, transfer

    client = Client()
    try:
        reference = client.reference(name).with_default_tag()
        source = RegistryEndpoint(client.repository(reference), reference.target)
        destination = StoreEndpoint(client.store, reference, policy=client.policy)
        with client.store.writing(), make_display(PULL_LABELS, quiet=quiet) as display:
            transfer(
                source, destination, TransferOptions((platform,)), display, client.configuration.parallel_transfers
            )
    finally:
        client.close()

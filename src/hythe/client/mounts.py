"""Finding other repositories of a registry that layers can be mounted from instead of uploaded."""

from contextlib import suppress

from hythe.client.errors import ClientError
from hythe.client.image_tree import walk_tree
from hythe.client.store import LocalStore
from hythe.oci.errors import OCIError
from hythe.oci.manifest import Descriptor, Manifest
from hythe.oci.reference import Reference

MAX_MOUNT_SOURCES = 4
"""Maximum number of repositories to mount from; each adds a scope to the token request."""


def mount_sources(store: LocalStore, image: Descriptor, target: Reference) -> dict[str, str]:
    """Return, by blob digest, another repository on ``target``'s host that should have the blob."""
    wanted = _blobs(store, image)
    sources: dict[str, str] = {}
    for entry in store.entries():
        names = [
            Reference.parse(text).repository for text in entry.repository_digests if text.startswith(f"{target.host}/")
        ]
        others = [name for name in names if name != target.repository]
        if not others or len({*sources.values(), others[0]}) > MAX_MOUNT_SOURCES:
            continue
        for digest in wanted & _blobs(store, entry.descriptor):
            sources.setdefault(digest, others[0])
    return sources


def _blobs(store: LocalStore, descriptor: Descriptor) -> set[str]:
    """Return the digests of an image's blobs; what is not in the store or not valid adds none."""

    def read(child: Descriptor) -> Manifest | None:
        with suppress(ClientError, OCIError):
            return store.read_manifest(child)
        return None

    root = read(descriptor)
    try:
        return {blob.digest for manifest in walk_tree(root, read) for blob in manifest.blobs} if root else set()
    except OCIError:  # nested too deep
        return set()

"""Walking the manifests of an image: an index lists manifests, which can be indexes again.

Anyone can write an index, so a walk visits each digest once, and is limited in depth and in the bytes that it keeps.
"""

from collections.abc import Callable, Iterator

from hythe.oci.errors import InvalidManifest
from hythe.oci.manifest import MAX_INDEX_DEPTH, Descriptor, Manifest, ManifestKind

MAX_TREE_BYTES = 64 << 20
"""Bytes of all manifests of one image, which are kept in memory during a transfer; a manifest has a few kilobytes."""

ReadChild = Callable[[Descriptor], Manifest | None]
"""Returns a manifest that an index lists, None to leave it out."""


def walk_tree(root: Manifest, read_child: ReadChild) -> Iterator[Manifest]:
    """Yield the manifests of an image, each once, children before their index and the root last.

    Raises InvalidManifest if indexes are nested deeper than ``MAX_INDEX_DEPTH`` or the manifests exceed
    ``MAX_TREE_BYTES``, and what ``read_child`` raises.
    """
    yield from _Walk(read_child).visit(root, 0)


def choose_in_tree(
    root: Manifest, choose: Callable[[Manifest], Descriptor], read_child: Callable[[Descriptor], Manifest]
) -> Manifest:
    """Return the manifest that ``choose`` finds in the root, or in the index that it found there, and so on.

    Raises InvalidManifest if indexes are nested deeper than ``MAX_INDEX_DEPTH``.
    """
    manifest = root
    for _ in range(MAX_INDEX_DEPTH + 1):
        if manifest.kind is not ManifestKind.INDEX:
            return manifest
        manifest = read_child(choose(manifest))
    raise _too_deep()


class _Walk:
    def __init__(self, read_child: ReadChild) -> None:
        self._read_child = read_child
        self._seen: set[str] = set()
        self._bytes = 0

    def visit(self, manifest: Manifest, depth: int) -> Iterator[Manifest]:
        self._bytes += len(manifest.content)
        if self._bytes > MAX_TREE_BYTES:
            raise InvalidManifest(f"the manifests of the image have more than {MAX_TREE_BYTES >> 20} MiB")
        if manifest.manifests and depth == MAX_INDEX_DEPTH:
            raise _too_deep()
        for descriptor in manifest.manifests:
            if descriptor.digest in self._seen:
                continue
            self._seen.add(descriptor.digest)
            child = self._read_child(descriptor)
            if child is not None:
                yield from self.visit(child, depth + 1)
        yield manifest


def _too_deep() -> InvalidManifest:
    return InvalidManifest(f"the image nests indexes deeper than {MAX_INDEX_DEPTH} levels")

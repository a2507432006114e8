"""One engine for pull, push, copy, save and load: an image from one place to another.

Manifests first, then all blobs in parallel, then the manifests are stored, children before their index, the name last:
whatever breaks off, the destination never names an image that is not whole.
"""

from collections.abc import Callable, Sequence

import msgspec

from hythe.client.endpoints import Destination, Source
from hythe.client.errors import NotFound, RegistryError
from hythe.client.parallel import run_parallel
from hythe.client.platforms import choose
from hythe.client.progress import Reporter
from hythe.oci.digest import Digest
from hythe.oci.manifest import Descriptor, Index, Kind, Manifest, Platform

DEFAULT_PARALLEL = 4


class TransferOptions(msgspec.Struct, frozen=True):
    """Which images of an index: all, or those for ``platforms``; of one platform the image alone, without an index."""

    platforms: tuple[Platform, ...] = ()

    @property
    def is_all(self) -> bool:
        """Whether nothing is left out."""
        return not self.platforms


ALL = TransferOptions()


class Transferred(msgspec.Struct, frozen=True):
    """What a transfer did: what was named, by which digest the source knows it, and whether it was there before."""

    manifest: Manifest
    origin: Digest
    was_there: bool


def transfer(
    source: Source,
    destination: Destination,
    wish: TransferOptions = ALL,
    reporter: Reporter | None = None,
    parallel: int = DEFAULT_PARALLEL,
    found: Callable[[Manifest], None] | None = None,
) -> Transferred:
    """Copy an image; ``found`` is told the source's manifest before anything moves.

    Raises what the places raise; after an error or Ctrl-C the same call continues where it stopped.
    """
    origin = source.root()
    if found is not None:
        found(origin)
    root, images = _select(source, origin, wish)
    missing = [image for image in images if not destination.has(image)]
    try:
        _bring(source, destination, missing, root, reporter or Reporter(), parallel)
        destination.name(root, origin.digest())
    except RegistryError as error:
        if error.code != "MANIFEST_BLOB_UNKNOWN" or len(missing) == len(images):
            raise
        # The registry has the manifest but lost a blob of it: bring everything.
        _bring(source, destination, images, root, reporter or Reporter(), parallel)
        destination.name(root, origin.digest())
    return Transferred(root, origin.digest(), not missing)


def _bring(
    source: Source,
    destination: Destination,
    images: Sequence[Manifest],
    root: Manifest,
    reporter: Reporter,
    parallel: int,
) -> None:
    """Bring the blobs of ``images``, then their manifests; the root's is stored by naming it."""
    contents = list({blob.digest: blob for image in images for blob in (*image.layers, *image.blobs)}.values())
    contents = [content for content in contents if not content.is_foreign]
    reporter.begin(contents)

    def stop() -> None:
        destination.stop()  # first: what is under way then knows why its connection breaks
        source.stop()

    def work(content: Descriptor) -> Callable[[], None]:
        return lambda: destination.take(content, source, reporter)

    run_parallel([work(content) for content in contents], parallel, stop)
    for image in images:
        if image.content != root.content:
            destination.put(image)


def _select(source: Source, origin: Manifest, wish: TransferOptions) -> tuple[Manifest, list[Manifest]]:
    """Return what will be named, and all manifests below it, children first; raises NotFound."""
    if origin.kind is not Kind.INDEX:
        return origin, [origin]
    if wish.is_all:
        return origin, [*_below(source, origin), origin]
    found = (choose(origin.manifests, platform) for platform in wish.platforms)
    chosen = list({descriptor.digest: descriptor for descriptor in found}.values())
    if len(chosen) == 1:
        image = source.child(chosen[0])
        return image, [image]
    index = Index(2, origin.media_type, tuple(chosen), annotations=origin.annotations).encode()
    root = Manifest.parse(index, origin.media_type)
    return root, [*_below(source, root), root]


def _below(source: Source, index: Manifest) -> list[Manifest]:
    found: list[Manifest] = []
    for descriptor in index.manifests:
        try:
            child = source.child(descriptor)
        except NotFound as error:
            platform = f" ({descriptor.platform})" if descriptor.platform else ""
            hint = "the source holds only some of the platforms: choose with --platform"
            raise NotFound(f"{descriptor.digest}{platform} of the index is missing", hint) from error
        found += [*_below(source, child), child] if child.kind is Kind.INDEX else [child]
    return found

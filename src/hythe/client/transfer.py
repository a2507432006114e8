"""One engine for pull, push, copy, save and load: an image from one place to another.

Manifests first, then all blobs in parallel, then the manifests are stored, children before their index, the name last:
whatever breaks off, the destination never names an image that is not whole.
"""

from collections.abc import Callable, Sequence

import msgspec

from hythe.client.endpoints import TransferDestination, TransferSource
from hythe.client.errors import RegistryError, RemoteNotFound
from hythe.client.parallel import run_parallel
from hythe.client.platforms import choose_image
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


class TransferResult(msgspec.Struct, frozen=True):
    """What a transfer did: what was named, by which digest the source knows it, and whether it was there before."""

    manifest: Manifest
    origin: Digest
    already_existed: bool


def transfer(
    source: TransferSource,
    destination: TransferDestination,
    options: TransferOptions = ALL,
    reporter: Reporter | None = None,
    parallel: int = DEFAULT_PARALLEL,
    found: Callable[[Manifest], None] | None = None,
) -> TransferResult:
    """Copy an image; ``found`` is told the source's manifest before anything moves.

    Raises what the places raise; after an error or Ctrl-C the same call continues where it stopped.
    """
    origin = source.root()
    if found is not None:
        found(origin)
    root, images = _select(source, origin, options)
    missing = [image for image in images if not destination.has(image)]
    try:
        _copy(source, destination, missing, root, reporter or Reporter(), parallel)
        destination.tag(root, origin.digest())
    except RegistryError as error:
        if error.code != "MANIFEST_BLOB_UNKNOWN" or len(missing) == len(images):
            raise
        # The registry has the manifest but lost a blob of it: bring everything.
        _copy(source, destination, images, root, reporter or Reporter(), parallel)
        destination.tag(root, origin.digest())
    return TransferResult(root, origin.digest(), not missing)


def _copy(
    source: TransferSource,
    destination: TransferDestination,
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
        return lambda: destination.copy_blob(content, source, reporter)

    run_parallel([work(content) for content in contents], parallel, stop)
    for image in images:
        if image.content != root.content:
            destination.put(image)


def _select(source: TransferSource, origin: Manifest, options: TransferOptions) -> tuple[Manifest, list[Manifest]]:
    """Return what will be named, and all manifests below it, children first; raises RemoteNotFound."""
    if origin.kind is not Kind.INDEX:
        return origin, [origin]
    if options.is_all:
        return origin, [*_descendants(source, origin), origin]
    found = (choose_image(origin.manifests, platform) for platform in options.platforms)
    chosen = list({descriptor.digest: descriptor for descriptor in found}.values())
    if len(chosen) == 1:
        image = source.child(chosen[0])
        return image, [image]
    index = Index(2, origin.media_type, tuple(chosen), annotations=origin.annotations).encode()
    root = Manifest.parse(index, origin.media_type)
    return root, [*_descendants(source, root), root]


def _descendants(source: TransferSource, index: Manifest) -> list[Manifest]:
    found: list[Manifest] = []
    for descriptor in index.manifests:
        try:
            child = source.child(descriptor)
        except RemoteNotFound as error:
            platform = f" ({descriptor.platform})" if descriptor.platform else ""
            hint = "the source holds only some of the platforms: choose with --platform"
            raise RemoteNotFound(f"{descriptor.digest}{platform} of the index is missing", hint) from error
        found += [*_descendants(source, child), child] if child.kind is Kind.INDEX else [child]
    return found

"""``transfer`` copies an image from a source to a destination: the engine of pull, push and copy.

It reads the manifests, copies all blobs in parallel, then writes the manifests, children before their index and the
tag last, so that a tag never refers to an incomplete image.
"""

from collections.abc import Callable, Sequence

import msgspec

from hythe.client.endpoints import TransferDestination, TransferSource
from hythe.client.errors import RegistryError, RemoteNotFound
from hythe.client.image_tree import choose_in_tree, walk_tree
from hythe.client.parallel import run_parallel
from hythe.client.platforms import choose_image
from hythe.client.progress import Reporter
from hythe.oci.digest import Digest
from hythe.oci.manifest import Descriptor, Index, Manifest, ManifestKind, Platform

DEFAULT_PARALLEL = 4


class TransferOptions(msgspec.Struct, frozen=True):
    """Which images of an index to copy: all, or those for ``platforms``; a single one is copied without its index."""

    platforms: tuple[Platform, ...] = ()

    @property
    def is_all(self) -> bool:
        """Whether all platforms are copied."""
        return not self.platforms


ALL = TransferOptions()


class TransferResult(msgspec.Struct, frozen=True):
    """The manifest that was tagged, its digest at the source, and whether the destination already had it."""

    manifest: Manifest
    origin: Digest
    already_existed: bool


def transfer(
    source: TransferSource,
    destination: TransferDestination,
    options: TransferOptions = ALL,
    reporter: Reporter | None = None,
    parallel: int = DEFAULT_PARALLEL,
    on_manifest: Callable[[Manifest], None] | None = None,
) -> TransferResult:
    """Copy an image; ``on_manifest`` is called with the source's manifest before any blob is copied.

    Raises the endpoints' errors. After an error or Ctrl-C, the same call resumes the transfer.
    """
    origin = source.root()
    if on_manifest is not None:
        on_manifest(origin)
    root, images = _select(source, origin, options)
    missing = [image for image in images if not destination.has(image)]
    try:
        _copy(source, destination, missing, root, reporter or Reporter(), parallel)
        destination.tag(root, origin.digest())
    except RegistryError as error:
        if error.code != "MANIFEST_BLOB_UNKNOWN" or len(missing) == len(images):
            raise
        # The registry has a manifest but lost one of its blobs: copy everything.
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
    """Copy the blobs of ``images``, then their manifests, except for the root's, which is stored by its tag."""
    contents = list({blob.digest: blob for image in images for blob in (*image.layers, *image.blobs)}.values())
    contents = [content for content in contents if not content.is_nondistributable]
    reporter.begin(contents)

    def stop() -> None:
        destination.stop()  # first, so that running copies know why their connections break
        source.stop()

    def task(content: Descriptor) -> Callable[[], None]:
        return lambda: destination.copy_blob(content, source, reporter)

    run_parallel([task(content) for content in contents], parallel, stop)
    for image in images:
        if image.content != root.content:
            destination.put(image)


def _select(source: TransferSource, origin: Manifest, options: TransferOptions) -> tuple[Manifest, list[Manifest]]:
    """Return the root manifest and all manifests to copy, children first; raises RemoteNotFound."""
    if origin.kind is not ManifestKind.INDEX:
        return origin, [origin]
    if options.is_all:
        return origin, list(walk_tree(origin, _child_reader(source)))
    found = (choose_image(origin.manifests, platform) for platform in options.platforms)
    chosen = list({descriptor.digest: descriptor for descriptor in found}.values())
    if len(chosen) == 1:
        wanted = options.platforms[0]
        image = choose_in_tree(origin, lambda index: choose_image(index.manifests, wanted), _child_reader(source))
        return image, [image]
    index = Index(2, origin.media_type, tuple(chosen), annotations=origin.annotations).encode()
    root = Manifest.parse(index, origin.media_type)
    return root, list(walk_tree(root, _child_reader(source)))


def _child_reader(source: TransferSource) -> Callable[[Descriptor], Manifest]:
    def read(descriptor: Descriptor) -> Manifest:
        try:
            return source.child(descriptor)
        except RemoteNotFound as error:
            platform = f" ({descriptor.platform})" if descriptor.platform else ""
            hint = "the source has only some platforms of the index: select one of these with --platform"
            raise RemoteNotFound(f"{descriptor.digest}{platform} of the index does not exist", hint) from error

    return read

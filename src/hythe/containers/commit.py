"""A container's changes as a new image in the local store, as ``docker commit`` makes it."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import BinaryIO, cast

import msgspec

from hythe.client.layer_compression import GzipLayerWriter
from hythe.client.store import LocalStore
from hythe.containers.changes import pack_changes
from hythe.containers.container import Container, ContainerState
from hythe.containers.log import timestamp
from hythe.containers.root import Root
from hythe.containers.runtime import find_runtime
from hythe.containers.store import ContainerStore
from hythe.oci.config import ContainerConfig, History, ImageConfig, RootFS
from hythe.oci.digest import Digest
from hythe.oci.instruction import apply_instructions
from hythe.oci.manifest import (
    DOCKER_CONFIG,
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
    Descriptor,
    ImageManifest,
    Manifest,
)
from hythe.oci.reference import Reference


class CommitOptions(msgspec.Struct, frozen=True):
    """What ``commit`` is told: who made the image, why, and the instructions that change its configuration."""

    author: str = ""
    message: str = ""
    changes: tuple[str, ...] = ()
    pause: bool = True


class NewLayer(msgspec.Struct, frozen=True):
    """A layer in the store: its blob, and the digest of what it holds uncompressed."""

    descriptor: Descriptor
    diff_id: str


class MediaTypes(msgspec.Struct, frozen=True):
    """The names of one family: an image keeps to that of the image it was made of."""

    manifest: str
    config: str
    layer: str


OCI = MediaTypes(OCI_MANIFEST, OCI_CONFIG, OCI_LAYER_GZIP)
DOCKER = MediaTypes(DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER_GZIP)


def commit(
    store: ContainerStore, images: LocalStore, container: Container, order: CommitOptions, name: Reference | None = None
) -> Digest:
    """Make an image of what the container changed, call it ``name`` if there is one, and return its ID.

    Raises InvalidInstruction for a change that docker would not take, before anything is written.
    """
    config = apply_instructions(container.config, order.changes)
    with images.writing():
        base = images.read_manifest(_base_descriptor(images, container))
        types = DOCKER if base.media_type == DOCKER_MANIFEST else OCI
        with paused(store, container) if order.pause else nullcontext():
            layer = pack_layer(store, images, container, types.layer)
        base_config = ImageConfig.parse(images.read_document(Digest.parse(container.image_id)))
        image = new_image_config(base_config, config, layer, order, " ".join(container.command))
        return put_image(images, base, image, layer, types, name)


def _base_descriptor(images: LocalStore, container: Container) -> Descriptor:
    """Return where the manifest of the container's image is: its name may have pointed at an index."""
    digest = Digest.parse(container.image_digest)
    named = Descriptor("", str(digest), len(images.read_document(digest)))
    manifest = images.read_manifest(named)
    for child in manifest.manifests:
        if images.has(child):
            config = images.read_manifest(child).config
            if config is not None and config.digest == container.image_id:
                return child
    return msgspec.structs.replace(named, media_type=manifest.media_type)


@contextmanager
def paused(store: ContainerStore, container: Container) -> Iterator[None]:
    """Halt the container, if it runs, for the block."""
    if store.status(container).state is not ContainerState.RUNNING:
        yield
        return
    runtime = find_runtime(container.host.runtime, store.folder / "runtime")
    halted = runtime.pause(container.id)
    try:
        yield
    finally:
        if halted:
            runtime.resume(container.id)


def pack_layer(store: ContainerStore, images: LocalStore, container: Container, media_type: str) -> NewLayer | None:
    """Bring the container's changes to the store as a gzipped layer; None when there are none."""
    with GzipLayerWriter(images) as sink, Root(store.path(container) / "upper") as upper:
        if not pack_changes(upper, cast(BinaryIO, sink)):
            return None
        descriptor, diff_id = sink.finish(media_type)
        return NewLayer(descriptor, str(diff_id))


def new_image_config(
    base: ImageConfig, config: ContainerConfig, layer: NewLayer | None, order: CommitOptions, created_by: str
) -> ImageConfig:
    """Return the configuration of the new image: one step of history more, and one layer unless nothing changed."""
    now = timestamp()
    step = History(
        created=now, created_by=created_by, author=order.author, comment=order.message, empty_layer=layer is None
    )
    diff_ids = (*base.rootfs.diff_ids, layer.diff_id) if layer else base.rootfs.diff_ids
    return msgspec.structs.replace(
        base,
        created=now,
        author=order.author,
        config=config,
        rootfs=RootFS(diff_ids=diff_ids),
        history=(*base.history, step),
    )


def put_image(
    images: LocalStore,
    base: Manifest,
    config: ImageConfig,
    layer: NewLayer | None,
    types: MediaTypes,
    name: Reference | None,
) -> Digest:
    """Store configuration and manifest of the new image, name it, and return its ID."""
    content = config.encode()
    image_id = images.add_document(content)
    manifest = ImageManifest(
        schema_version=2,
        media_type=types.manifest,
        config=Descriptor(types.config, str(image_id), len(content)),
        layers=(*base.layers, layer.descriptor) if layer else base.layers,
    ).encode()
    digest = images.add_document(manifest)
    images.put(Descriptor(types.manifest, str(digest), len(manifest)), name)
    return image_id

"""Creating an image from a container's changes, like ``docker commit``."""

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
    """Author, message, Dockerfile instructions that change the configuration, and whether to pause the container."""

    author: str = ""
    message: str = ""
    changes: tuple[str, ...] = ()
    pause: bool = True


class NewLayer(msgspec.Struct, frozen=True):
    """A layer in the store: its blob, and the digest of its uncompressed content."""

    descriptor: Descriptor
    diff_id: str


class MediaTypes(msgspec.Struct, frozen=True):
    """The media types of one format: a new image uses those of its base image."""

    manifest: str
    config: str
    layer: str


OCI = MediaTypes(OCI_MANIFEST, OCI_CONFIG, OCI_LAYER_GZIP)
DOCKER = MediaTypes(DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER_GZIP)


def commit(
    store: ContainerStore,
    images: LocalStore,
    container: Container,
    options: CommitOptions,
    name: Reference | None = None,
) -> Digest:
    """Create an image from the container's changes, with an optional name, and return its ID.

    Raises InvalidInstruction for an instruction that docker would reject, before anything is written.
    """
    config = apply_instructions(container.config, options.changes)
    with images.writing():
        base = images.read_manifest(_base_descriptor(images, container))
        types = DOCKER if base.media_type == DOCKER_MANIFEST else OCI
        with paused(store, container) if options.pause else nullcontext():
            layer = pack_layer(store, images, container, types.layer)
        base_config = ImageConfig.parse(images.read_document(Digest.parse(container.image_id)))
        image = new_image_config(base_config, config, layer, options, " ".join(container.command))
        return put_image(images, base, image, layer, types, name)


def _base_descriptor(images: LocalStore, container: Container) -> Descriptor:
    """Return the descriptor of the manifest of the container's image, also if its name refers to an index."""
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
    """Pause the container, if it is running, during the block."""
    if store.status(container).state is not ContainerState.RUNNING:
        yield
        return
    runtime = find_runtime(container.host.runtime, store.folder / "runtime")
    was_paused = runtime.pause(container.id)
    try:
        yield
    finally:
        if was_paused:
            runtime.resume(container.id)


def pack_layer(store: ContainerStore, images: LocalStore, container: Container, media_type: str) -> NewLayer | None:
    """Store the container's changes as a gzip layer; returns None if there are none."""
    with GzipLayerWriter(images) as writer, Root(store.path(container) / "upper") as upper:
        if not pack_changes(upper, cast(BinaryIO, writer)):
            return None
        descriptor, diff_id = writer.finish(media_type)
        return NewLayer(descriptor, str(diff_id))


def new_image_config(
    base: ImageConfig, config: ContainerConfig, layer: NewLayer | None, options: CommitOptions, created_by: str
) -> ImageConfig:
    """Return the configuration of the new image: another history step, and a layer unless nothing changed."""
    now = timestamp()
    step = History(
        created=now, created_by=created_by, author=options.author, comment=options.message, empty_layer=layer is None
    )
    diff_ids = (*base.rootfs.diff_ids, layer.diff_id) if layer else base.rootfs.diff_ids
    return msgspec.structs.replace(
        base,
        created=now,
        author=options.author,
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
    """Store the configuration and manifest of the new image, name it, and return its ID."""
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

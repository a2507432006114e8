"""Making containers of images: the image's configuration with the user's options over it, its layers unpacked."""

import posixpath
from contextlib import suppress

import msgspec

from hythe.client.errors import ClientError
from hythe.client.store import LocalStore, StoredImage
from hythe.containers.container import Container, HostConfig
from hythe.containers.errors import ContainerError, NameTaken
from hythe.containers.layers import LayerCache
from hythe.containers.log import timestamp
from hythe.containers.names import new_id, new_name, parse_container_name
from hythe.containers.runtime import clear_away
from hythe.containers.store import ContainerStore
from hythe.containers.volumes import declared_volumes
from hythe.oci.config import ContainerConfig, ImageConfig, merge_environment
from hythe.oci.digest import Digest
from hythe.oci.errors import OCIError
from hythe.oci.instruction import apply_instructions

_ATTEMPTS = 20


class Request(msgspec.Struct, frozen=True):
    """What the user asks for beside the image.

    ``entrypoint`` replaces the image's, which takes its command away too; an empty one leaves none. ``words`` replace
    the image's command.
    """

    image: str
    words: tuple[str, ...] = ()
    name: str = ""
    entrypoint: tuple[str, ...] | None = None
    env: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    user: str = ""
    working_dir: str = ""
    stop_signal: str = ""
    ports: tuple[str, ...] = ()
    host: HostConfig = HostConfig()


def create(store: ContainerStore, images: LocalStore, image: StoredImage, request: Request) -> Container:
    """Make a container of ``image``; it does not run yet. Raises ContainerError, InvalidLayer, NotFound."""
    container_id = new_id()
    images.pin(container_id, image.digest)
    try:
        config = images.read_config(image)
        if config.os not in ("", "linux"):
            raise ContainerError(f"the image is for {config.os}", "only linux images run here")
        cache = LayerCache(store.folder / "layers")
        with cache.using():
            _unpack(cache, images, image, config)
            return _added(store, _described(container_id, image, config, request), chosen_name=request.name)
    except BaseException:
        images.unpin(container_id)
        raise


def remove(store: ContainerStore, images: LocalStore, container: Container) -> None:
    """Remove a container that does not run, and give its image free; raises StillRunning."""
    store.remove(container)
    clear_away(container.id, container.host.runtime, store.folder / "runtime")
    images.unpin(container.id)


def prune_layers(store: ContainerStore, images: LocalStore) -> None:
    """Remove unpacked layers that neither a container nor an image of the store needs."""
    LayerCache(store.folder / "layers").prune(lambda: map(Digest.parse, _needed_layers(store, images)))


def _needed_layers(store: ContainerStore, images: LocalStore) -> set[str]:
    needed = {diff_id for container in store.all() for diff_id in container.layers}
    for image in images.images():
        with suppress(ClientError, OCIError):  # no image to be run, or one that is not whole
            needed.update(images.read_config(image).rootfs.diff_ids)
    return needed


def _unpack(cache: LayerCache, images: LocalStore, image: StoredImage, config: ImageConfig) -> None:
    blobs = [layer.parsed_digest for layer in image.manifest.layers]
    diff_ids = [Digest.parse(text) for text in config.rootfs.diff_ids]
    if len(blobs) != len(diff_ids):
        raise ContainerError(
            f"the image has {len(blobs)} layers, its configuration names {len(diff_ids)}", "it is no image to be run"
        )
    cache.ensure(images, zip(blobs, diff_ids, strict=True))


def _described(container_id: str, image: StoredImage, config: ImageConfig, request: Request) -> Container:
    merged = merge(config.config or ContainerConfig(), request)
    mounts = (*request.host.mounts, *declared_volumes(tuple(merged.volumes or ()), request.host.mounts))
    return Container(
        id=container_id,
        name=parse_container_name(request.name) if request.name else "",
        created=timestamp(),
        image=request.image,
        image_digest=str(image.digest),
        image_id=str(image.id),
        layers=config.rootfs.diff_ids,
        config=merged,
        host=msgspec.structs.replace(request.host, mounts=mounts),
    )


def merge(base: ContainerConfig, request: Request) -> ContainerConfig:
    """Return an image's configuration with a request's options over it, as docker merges them."""
    entrypoint, cmd = base.entrypoint, request.words or base.cmd
    if request.entrypoint is not None:
        entrypoint, cmd = request.entrypoint or None, request.words or None
    working_dir = request.working_dir or base.working_dir
    return msgspec.structs.replace(
        apply_instructions(base, (f"EXPOSE {port}" for port in request.ports)),
        entrypoint=entrypoint,
        cmd=cmd,
        env=merge_environment(base.env, request.env) or None,
        labels={**(base.labels or {}), **request.labels} or None,
        user=request.user or base.user,
        working_dir=posixpath.join("/", working_dir) if working_dir else "",
        stop_signal=request.stop_signal or base.stop_signal,
    )


def _added(store: ContainerStore, container: Container, chosen_name: str) -> Container:
    """Add the container under its chosen name, or under a new one that is free."""
    if chosen_name:
        store.add(container)
        return container
    for attempt in range(_ATTEMPTS):
        name = new_name() if attempt < _ATTEMPTS - 1 else container.id[:12]
        named = msgspec.structs.replace(container, name=name)
        try:
            store.add(named)
        except NameTaken:
            continue
        return named
    raise ContainerError("no free name was found", "choose one by --name")

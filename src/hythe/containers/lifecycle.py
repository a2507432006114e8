"""Making containers of images: the image's configuration with the user's options over it, its layers unpacked."""

import posixpath
import signal
import time
from contextlib import suppress

import msgspec

from hythe.client.errors import ClientError
from hythe.client.store import LocalStore, StoredImage
from hythe.containers.container import Container, ContainerState, HostConfig
from hythe.containers.errors import ContainerError, InvalidOption, NameTaken
from hythe.containers.layers import LayerCache
from hythe.containers.log import timestamp
from hythe.containers.names import new_id, new_name, parse_container_name
from hythe.containers.process import is_alive, send_signal
from hythe.containers.runtime import remove_leftovers
from hythe.containers.store import ContainerStore
from hythe.containers.volumes import declared_volumes
from hythe.oci.config import ContainerConfig, ImageConfig, merge_environment
from hythe.oci.digest import Digest
from hythe.oci.errors import OCIError
from hythe.oci.instruction import apply_instructions

_NAME_ATTEMPTS = 20
_POLL_INTERVAL = 0.02  # seconds
_KILL_TIMEOUT = 10.0  # seconds


class CreateOptions(msgspec.Struct, frozen=True):
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


def create(store: ContainerStore, images: LocalStore, image: StoredImage, request: CreateOptions) -> Container:
    """Make a container of ``image``; it does not run yet. Raises ContainerError, InvalidLayer, RemoteNotFound."""
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
    remove_leftovers(container.id, container.host.runtime, store.folder / "runtime")
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


def _described(container_id: str, image: StoredImage, config: ImageConfig, request: CreateOptions) -> Container:
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


def merge(base: ContainerConfig, request: CreateOptions) -> ContainerConfig:
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
    for attempt in range(_NAME_ATTEMPTS):
        name = new_name() if attempt < _NAME_ATTEMPTS - 1 else container.id[:12]
        named = msgspec.structs.replace(container, name=name)
        try:
            store.add(named)
        except NameTaken:
            continue
        return named
    raise ContainerError("no free name was found", "choose one by --name")


# Stopping


def parse_signal(text: str) -> int:
    """Return the signal with a name, ``SIG`` in front or not, or a number; raises InvalidOption.

    Images of systemd stop by ``SIGRTMIN+3``.
    """
    name, plus, offset = text.upper().removeprefix("SIG").partition("+")
    number = int(name) if name.isdecimal() else signal.Signals.__members__.get(f"SIG{name}", 0)
    if plus:
        number = signal.SIGRTMIN + int(offset) if name == "RTMIN" and offset.isdecimal() else 0
    if not 0 < number <= signal.SIGRTMAX:
        raise InvalidOption(f"unknown signal {text!r}", "'kill -l' lists them")
    return int(number)


def stop(store: ContainerStore, container: Container, timeout: float = 10.0, name: str = "") -> None:
    """Send the container its stop signal (or the one called ``name``), and SIGKILL after ``timeout`` seconds.

    Returns when it has ended and its supervisor has written that down. Raises ContainerError when it cannot be ended.
    """
    number = parse_signal(name) if name else _own_signal(container)
    if _ended_after(store, container, number, timeout):
        return
    if not _ended_after(store, container, signal.SIGKILL, _KILL_TIMEOUT):
        raise ContainerError(f"container {container.name} does not end", "its process hangs in the kernel")


def _own_signal(container: Container) -> int:
    """Return what the image wants to be stopped by; SIGTERM for an unknown signal, as docker does."""
    try:
        return parse_signal(container.config.stop_signal or "SIGTERM")
    except InvalidOption:
        return signal.SIGTERM


def kill(store: ContainerStore, container: Container) -> None:
    """End the container at once, and take away what a crash of its supervisor may have left."""
    stop(store, container, 0, "SIGKILL")
    remove_leftovers(container.id, container.host.runtime, store.folder / "runtime")


def _ended_after(store: ContainerStore, container: Container, number: int, timeout: float) -> bool:
    status = store.status(container)
    if status.state is not ContainerState.RUNNING:
        return True
    send_signal(status.process, status.started_ticks, number)
    deadline = time.monotonic() + timeout
    while is_alive(status.process, status.started_ticks) or store.is_supervised(container):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_INTERVAL)
    return True

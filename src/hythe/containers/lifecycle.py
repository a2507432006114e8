"""Creating, stopping and removing containers."""

import posixpath
import signal
import time
from contextlib import suppress

import msgspec

from hythe.client.errors import ClientError
from hythe.client.store import LocalStore, StoredImage
from hythe.containers.container import Container, ContainerState, HostConfig, PublishedPort
from hythe.containers.errors import ContainerError, InvalidOption, NameTaken
from hythe.containers.layers import LayerCache
from hythe.containers.log import timestamp
from hythe.containers.names import new_id, new_name, parse_container_name
from hythe.containers.ports import exposed_ports
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
    """The options of ``create`` and ``run``, which override the image's configuration.

    ``entrypoint`` replaces the image's entrypoint and clears its command; an empty one means no entrypoint. ``command``
    replaces the image's command.
    """

    image: str
    command: tuple[str, ...] = ()
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
    """Create a container from ``image`` without starting it. Raises ContainerError, InvalidLayer, RemoteNotFound."""
    container_id = new_id()
    images.pin(container_id, image.digest)
    try:
        config = images.read_config(image)
        if config.os not in ("", "linux"):
            raise ContainerError(f"unsupported image: its operating system is {config.os}", "use an image for linux")
        cache = LayerCache(store.folder / "layers")
        with cache.using():
            _unpack(cache, images, image, config)
            return _add_with_name(store, _new_container(container_id, image, config, request), chosen_name=request.name)
    except BaseException:
        images.unpin(container_id)
        raise


def remove(store: ContainerStore, images: LocalStore, container: Container) -> None:
    """Remove a stopped container and unpin its image; raises StillRunning."""
    store.remove(container)
    remove_leftovers(container.id, container.host.runtime, store.folder / "runtime")
    images.unpin(container.id)


def prune_layers(store: ContainerStore, images: LocalStore) -> None:
    """Remove unpacked layers that no container and no image in the store uses."""
    LayerCache(store.folder / "layers").prune(lambda: map(Digest.parse, _needed_layers(store, images)))


def _needed_layers(store: ContainerStore, images: LocalStore) -> set[str]:
    needed = {diff_id for container in store.all() for diff_id in container.layers}
    for image in images.images():
        with suppress(ClientError, OCIError):  # not a runnable image, or incomplete
            needed.update(images.read_config(image).rootfs.diff_ids)
    return needed


def _unpack(cache: LayerCache, images: LocalStore, image: StoredImage, config: ImageConfig) -> None:
    blobs = [layer.parsed_digest for layer in image.manifest.layers]
    diff_ids = [Digest.parse(text) for text in config.rootfs.diff_ids]
    if len(blobs) != len(diff_ids):
        raise ContainerError(
            f"invalid image: {len(blobs)} layers, but {len(diff_ids)} diff IDs in its configuration",
            "pull or build it again",
        )
    cache.ensure(images, zip(blobs, diff_ids, strict=True))


def _new_container(container_id: str, image: StoredImage, config: ImageConfig, request: CreateOptions) -> Container:
    merged = merge(config.config or ContainerConfig(), request)
    exposed = exposed_ports(merged.exposed_ports or ()) if request.host.publish_all else ()
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
        host=msgspec.structs.replace(request.host, mounts=mounts, ports=_without_twins(request.host.ports, exposed)),
    )


def _without_twins(chosen: tuple[PublishedPort, ...], exposed: tuple[PublishedPort, ...]) -> tuple[PublishedPort, ...]:
    """Return all published ports; an exposed one that was also chosen has the chosen host port."""
    taken = {(port.container_port, port.protocol) for port in chosen}
    return (*chosen, *(port for port in exposed if (port.container_port, port.protocol) not in taken))


def merge(base: ContainerConfig, request: CreateOptions) -> ContainerConfig:
    """Return an image's configuration with the options applied, like docker does."""
    entrypoint, cmd = base.entrypoint, request.command or base.cmd
    if request.entrypoint is not None:
        entrypoint, cmd = request.entrypoint or None, request.command or None
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


def _add_with_name(store: ContainerStore, container: Container, chosen_name: str) -> Container:
    """Add the container with its chosen name, or with a random unused one."""
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
    raise ContainerError("no unused name found", "choose one with --name")


# Stopping


def parse_signal(text: str) -> int:
    """Parse a signal name, with or without ``SIG``, or a number; raises InvalidOption.

    Systemd images use ``SIGRTMIN+3``.
    """
    name, plus, offset = text.upper().removeprefix("SIG").partition("+")
    number = int(name) if name.isdecimal() else signal.Signals.__members__.get(f"SIG{name}", 0)
    if plus:
        number = signal.SIGRTMIN + int(offset) if name == "RTMIN" and offset.isdecimal() else 0
    if not 0 < number <= signal.SIGRTMAX:
        raise InvalidOption(f"unknown signal {text!r}", "'kill -l' lists signals")
    return int(number)


def stop(store: ContainerStore, container: Container, timeout: float = 10.0, name: str = "") -> None:
    """Send the container its stop signal, or the one with ``name``, and SIGKILL after ``timeout`` seconds.

    Returns when it has exited and its supervisor has recorded that. Raises ContainerError if it does not exit.
    """
    number = parse_signal(name) if name else _own_signal(container)
    if _ended_after(store, container, number, timeout):
        return
    if not _ended_after(store, container, signal.SIGKILL, _KILL_TIMEOUT):
        raise ContainerError(
            f"container {container.name} does not exit after SIGKILL", "its process is blocked in the kernel"
        )


def _own_signal(container: Container) -> int:
    """Return the image's stop signal; SIGTERM if it is unknown, like docker does."""
    try:
        return parse_signal(container.config.stop_signal or "SIGTERM")
    except InvalidOption:
        return signal.SIGTERM


def kill(store: ContainerStore, container: Container) -> None:
    """Kill the container, and remove what a crashed supervisor left."""
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

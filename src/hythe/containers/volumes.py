"""Mounts in containers: of ``-v``, ``--mount`` and ``--tmpfs``, and the volumes that an image declares.

An empty volume is filled with the image's content at its target when the container starts, like docker does.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from hythe.containers.changes import pack_folder
from hythe.containers.container import Container, Mount
from hythe.containers.errors import InvalidOption
from hythe.containers.names import parse_container_name
from hythe.containers.root import Root, image_umask
from hythe.containers.store import ContainerStore
from hythe.containers.unpack import unpack_layer

NOCOPY = "nocopy"
_MODES = {
    "ro": ("ro",),
    "rw": (),
    "z": (),
    "Z": (),
    "rprivate": ("rprivate",),
    "private": ("private",),
    "rslave": ("rslave",),
    "slave": ("slave",),
    "rshared": ("rshared",),
    "shared": ("shared",),
    NOCOPY: (),
}


def parse_volume(text: str) -> Mount:
    """Parse ``-v [SOURCE:]TARGET[:OPTIONS]``; raises InvalidOption."""
    parts = text.split(":")
    if len(parts) > 3 or not all(parts):
        raise InvalidOption(f"invalid volume {text!r}", "write [SOURCE:]TARGET[:ro]")
    source, target = ("", parts[0]) if len(parts) == 1 else (parts[0], parts[1])
    if not target.startswith("/") or os.path.normpath(target) == "/":
        raise InvalidOption(f"invalid mount target {target!r}", "write an absolute path other than /")
    target = os.path.normpath(target)
    modes = parts[2].split(",") if len(parts) == 3 else []
    options, empty = _parse_modes(modes), NOCOPY in modes
    if source.startswith(("/", ".", "~")):
        if empty:
            raise InvalidOption(f"nocopy is not supported for the host folder in {text!r}", "remove nocopy")
        return Mount(target, source=str(Path(source).expanduser().absolute()), options=options)
    return Mount(target, volume=_volume_name(source) if source else _ANONYMOUS, options=options, empty=empty)


_ANONYMOUS = "."
"""The name of volumes that belong to one container and are removed with it."""


def parse_tmpfs(text: str) -> Mount:
    """Parse ``--tmpfs TARGET[:OPTIONS]``; raises InvalidOption."""
    target, _, options = text.partition(":")
    if not target.startswith("/"):
        raise InvalidOption(f"invalid mount target {target!r}", "write an absolute path")
    return Mount(os.path.normpath(target), options=tuple(filter(None, options.split(","))))


def parse_mount(text: str) -> Mount:
    """Parse ``--mount type=..,source=..,target=..``; raises InvalidOption."""
    pairs = [word.partition("=") for word in text.split(",")]
    options_by_key = {
        _MOUNT_KEY_ALIASES.get(key.lower(), key.lower()): value if equals else "true" for key, equals, value in pairs
    }
    kind, source, target = (
        options_by_key.pop("type", "volume"),
        options_by_key.pop("source", ""),
        options_by_key.pop("target", ""),
    )
    empty = kind == "volume" and _is_true(options_by_key.pop("volume-nocopy", "false"))
    options = _mount_options(options_by_key, kind, text)
    if not target.startswith("/") or os.path.normpath(target) == "/":
        raise InvalidOption(f"missing target in --mount {text}", "write target=/path")
    target = os.path.normpath(target)
    if kind == "tmpfs" and not source:
        return Mount(target, options=options)
    if kind == "bind" and source:
        path = Path(source).expanduser().absolute()
        if not path.exists():
            raise InvalidOption(f"{path} does not exist", "create it first, or use -v, which creates missing folders")
        return Mount(target, source=str(path), options=options)
    if kind == "volume":
        return Mount(target, volume=_volume_name(source) if source else _ANONYMOUS, options=options, empty=empty)
    raise InvalidOption(f"invalid --mount {text}", "write type=bind,source=..,target=.., type=volume or type=tmpfs")


_MOUNT_KEY_ALIASES = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly"}


def _mount_options(options_by_key: dict[str, str], kind: str, text: str) -> tuple[str, ...]:
    """Return the kernel's mount options for the other keys of a ``--mount``."""
    options: list[str] = []
    for key, value in options_by_key.items():
        match kind, key:
            case _, "readonly":
                options += ["ro"] if _is_true(value) else []
            case "tmpfs", "tmpfs-size":
                options.append(f"size={value}")
            case "tmpfs", "tmpfs-mode":
                options.append(f"mode={value}")
            case "bind", "bind-propagation" if value in _MODES:
                options += _MODES[value]
            case "bind", "consistency":
                pass
            case _:
                raise InvalidOption(f"unknown option {key!r} in --mount {text}", "'hythe help run' shows examples")
    return tuple(options)


def _is_true(value: str) -> bool:
    return value.lower() in ("true", "1")


def _volume_name(text: str) -> str:
    """Return ``text`` if it is a valid volume name; raises InvalidOption."""
    try:
        return parse_container_name(text)
    except InvalidOption as error:
        raise InvalidOption(f"invalid volume name {text!r}", "write ./ before a folder of the host") from error


def _parse_modes(modes: list[str]) -> tuple[str, ...]:
    options: list[str] = []
    for mode in modes:
        if mode not in _MODES:
            raise InvalidOption(f"unknown volume option {mode!r}", f"use {', '.join(_MODES)}")
        options += _MODES[mode]
    return tuple(options)


def declared_volumes(paths: tuple[str, ...], chosen: tuple[Mount, ...]) -> tuple[Mount, ...]:
    """Return mounts for the volumes that an image declares, except at targets of the user's own mounts."""
    used = {mount.target for mount in chosen}
    targets = dict.fromkeys(os.path.normpath("/" + path.strip("/")) for path in paths)
    return tuple(Mount(target, volume=_ANONYMOUS) for target in targets if target not in used | {"/"})


def volumes_of(store: ContainerStore, text: str) -> list[Mount]:
    """Return the mounts for ``--volumes-from CONTAINER[:ro|rw]``: another container's volumes and folders.

    They are not filled from the image, as in docker. Raises NoSuchContainer, InvalidOption.
    """
    name, colon, mode = text.partition(":")
    if colon and mode not in ("ro", "rw"):
        raise InvalidOption(f"unknown mode {mode!r} in --volumes-from {text}", "use ro or rw")
    other = store.find(name)
    extra = ("ro",) if mode == "ro" else ()
    mounts = (_shared(store, other, number) for number in range(len(other.host.mounts)))
    return [_inherited(mount, extra) for mount in mounts if mount]


def _inherited(mount: Mount, extra: tuple[str, ...]) -> Mount:
    options = tuple(dict.fromkeys((*mount.options, *extra)))
    return msgspec.structs.replace(mount, options=options, empty=bool(mount.volume))


def _shared(store: ContainerStore, container: Container, number: int) -> Mount | None:
    """Return a container's mount for use in another container; None for a tmpfs, which cannot be shared."""
    mount = container.host.mounts[number]
    if mount.volume == _ANONYMOUS:
        return Mount(mount.target, source=str(_own_volume(store, container, number)), options=mount.options)
    return mount if mount.volume or mount.source else None


def _own_volume(store: ContainerStore, container: Container, number: int) -> Path:
    return store.path(container) / "volumes" / str(number)


def prepare_mounts(store: ContainerStore, container: Container, root: Root) -> tuple[Mount, ...]:
    """Create the folders of the container's mounts; returns the mounts with their sources on the host."""
    return tuple(_prepare_mount(store, container, root, number) for number in range(len(container.host.mounts)))


def _prepare_mount(store: ContainerStore, container: Container, root: Root, number: int) -> Mount:
    mount = container.host.mounts[number]
    if mount.volume:
        own = _own_volume(store, container, number)
        folder = own if mount.volume == _ANONYMOUS else store.folder / "volumes" / mount.volume
        folder.parent.mkdir(exist_ok=True, mode=0o700)  # other users of the host must not read a container's data
        with image_umask():
            folder.mkdir(exist_ok=True)
        if not mount.empty:
            _fill(folder, root, mount.target)
        return Mount(mount.target, source=str(folder), options=mount.options)
    if mount.source and not Path(mount.source).exists():
        Path(mount.source).mkdir(parents=True)  # like docker does
    return mount


def _fill(folder: Path, root: Root, target: str) -> None:
    """Copy the image's content at ``target`` into the volume, if it is empty."""
    if any(folder.iterdir()) or not root.exists(target):
        return
    ends = os.pipe()
    with ThreadPoolExecutor(1) as thread:
        packing = thread.submit(_pack, root, target, ends[1])
        with os.fdopen(ends[0], "rb") as archive:
            unpack_layer(archive, folder)
        packing.result()


def _pack(root: Root, target: str, descriptor: int) -> None:
    with os.fdopen(descriptor, "wb") as archive:
        pack_folder(root, target, archive)

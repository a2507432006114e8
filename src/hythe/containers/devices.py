"""Devices of the machine in containers: those that ``--device`` names, and all of them for ``--privileged``."""

import os
import posixpath
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from hythe.containers.container import Device
from hythe.containers.errors import CannotStart, InvalidOption

_OWN_FOLDERS = {"pts", "shm", "mqueue", "fd"}
"""What a container has of its own in ``/dev``."""
_OWN_DEVICES = {"/dev/console", "/dev/ptmx", "/dev/tty"}
ALLOW_ALL = {"allow": True, "access": "rwm"}
DENY_ALL = {"allow": False, "access": "rwm"}


def parse_device(text: str) -> Device:
    """Return the device that ``--device SOURCE[:TARGET][:rwm]`` asks for; raises InvalidOption."""
    source, *rest = text.split(":")
    access = rest.pop() if rest and not rest[-1].startswith("/") else "rwm"
    target = rest.pop() if rest else source
    if rest or not source.startswith("/") or not target.startswith("/") or not access or set(access) - set("rwm"):
        raise InvalidOption(f"{text!r} is not a device", "write SOURCE[:TARGET][:rwm], such as /dev/fuse")
    return Device(source, target, access)


def device_specs(devices: Iterable[Device]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return, for each device, what makes it in the container and what lets it be used; raises CannotStart.

    A folder stands for all devices in it.
    """
    return [_described(path, device) for device in devices for path in _expanded(device)]


def all_devices() -> list[dict[str, Any]]:
    """Return what makes every device of the machine in a container."""
    devices = (Device(path, path) for path in _walk("/dev") if path not in _OWN_DEVICES)
    return [node for node, _ in device_specs(devices)]


def _expanded(device: Device) -> Iterator[str]:
    if not Path(device.source).is_dir():
        yield device.source
        return
    yield from _walk(device.source)


def _walk(folder: str) -> Iterator[str]:
    """Yield the devices in a folder and below; links are left out, they would lead to the same ones."""
    for above, folders, names in os.walk(folder):
        folders[:] = sorted(set(folders) - _OWN_FOLDERS) if above == "/dev" else sorted(folders)
        for name in sorted(names):
            path = posixpath.join(above, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
                yield path


def _described(path: str, device: Device) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        status = Path(path).stat()
    except OSError as error:
        raise CannotStart(f"no device {path}: {error.strerror}", "check --device") from error
    if not (stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)):
        raise CannotStart(f"{path} is not a device", "-v mounts files and folders")
    kind = "c" if stat.S_ISCHR(status.st_mode) else "b"
    number = {"type": kind, "major": os.major(status.st_rdev), "minor": os.minor(status.st_rdev)}
    target = device.target + path.removeprefix(device.source)
    node = {
        "path": target,
        "fileMode": stat.S_IMODE(status.st_mode),
        "uid": status.st_uid,
        "gid": status.st_gid,
        **number,
    }
    return node, {"allow": True, "access": device.access, **number}

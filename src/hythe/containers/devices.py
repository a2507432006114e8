"""Host devices in containers: those of ``--device``, and all of them for ``--privileged``."""

import os
import posixpath
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from hythe.containers.container import Device
from hythe.containers.errors import CannotStart, InvalidOption

_OWN_FOLDERS = {"pts", "shm", "mqueue", "fd"}
"""Folders in ``/dev`` that every container has its own of."""
_OWN_DEVICES = {"/dev/console", "/dev/ptmx", "/dev/tty"}
ALLOW_ALL = {"allow": True, "access": "rwm"}
DENY_ALL = {"allow": False, "access": "rwm"}


def parse_device(text: str) -> Device:
    """Parse ``--device SOURCE[:TARGET][:rwm]``; raises InvalidOption."""
    source, *rest = text.split(":")
    access = rest.pop() if rest and not rest[-1].startswith("/") else "rwm"
    target = rest.pop() if rest else source
    if rest or not source.startswith("/") or not target.startswith("/") or not access or set(access) - set("rwm"):
        raise InvalidOption(f"invalid device {text!r}", "write SOURCE[:TARGET][:rwm], such as /dev/fuse")
    return Device(source, target, access)


def device_specs(devices: Iterable[Device]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return the device node and the cgroup rule of each device; raises CannotStart.

    A folder means all devices in it.
    """
    return [_device_spec(path, device) for device in devices for path in _device_paths(device)]


def all_devices() -> list[dict[str, Any]]:
    """Return the device nodes of all host devices."""
    devices = (Device(path, path) for path in _walk("/dev") if path not in _OWN_DEVICES)
    return [node for node, _ in device_specs(devices)]


def _device_paths(device: Device) -> Iterator[str]:
    if not Path(device.source).is_dir():
        yield device.source
        return
    yield from _walk(device.source)


def _walk(folder: str) -> Iterator[str]:
    """Yield the devices below a folder; skips links, which lead to the same devices."""
    for above, folders, names in os.walk(folder):
        folders[:] = sorted(set(folders) - _OWN_FOLDERS) if above == "/dev" else sorted(folders)
        for name in sorted(names):
            path = posixpath.join(above, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
                yield path


def _device_spec(path: str, device: Device) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        status = Path(path).stat()
    except OSError as error:
        raise CannotStart(f"device {path}: {error.strerror}", "check --device") from error
    if not (stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)):
        raise CannotStart(f"{path} is not a device", "use -v to mount files and folders")
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

"""The OCI runtime bundle of a container: ``config.json`` of the runtime specification.

The isolation is docker's default: capabilities, masked and read-only paths, devices, system call filter. A container
has a network of its own (see ``network``), the host's, or none.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from hythe.containers import seccomp
from hythe.containers.capabilities import capabilities
from hythe.containers.container import Container, HostConfig, Mount, ProcessLimit
from hythe.containers.devices import ALLOW_ALL, DENY_ALL, all_devices, device_specs
from hythe.containers.errors import CannotStart
from hythe.containers.namespace import in_user_namespace
from hythe.containers.network import BRIDGE
from hythe.containers.network_files import MOUNTED_FILES, hostname, write_network_files
from hythe.containers.root import image_umask
from hythe.containers.users import ContainerUser

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MASKED = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_CPU_PERIOD = 100_000  # microseconds
_NO_LIMIT = 2**64 - 1
_INITS = ("docker-init", "tini-static", "catatonit")
"""Init programs for ``--init``, which reap orphans and forward signals; static, so that they run in any image."""
_INIT_TARGET = "/dev/init"  # in a tmpfs, so that it is not one of the container's changes


def write_bundle(folder: Path, container: Container, user: ContainerUser, mounts: tuple[Mount, ...]) -> None:
    """Write ``config.json`` and the mounted files to the container's folder; raises CannotStart."""
    write_network_files(folder / "files", container)
    (folder / "config.json").write_bytes(msgspec.json.encode(runtime_config(folder, container, user, mounts)))


def make_mountpoints(folder: Path) -> None:
    """Create the mount points of every container in a folder, so that mounts are not among its changes.

    The folder becomes the lowest layer: an image's own files at these paths are not affected.
    """
    with image_umask():
        for name in ("dev/pts", "dev/shm", "proc", "sys", "etc"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for name in MOUNTED_FILES:
            (folder / "etc" / name).touch()
        if not (folder / "etc/mtab").is_symlink():
            (folder / "etc/mtab").symlink_to("/proc/mounts")


def runtime_config(
    folder: Path, container: Container, user: ContainerUser, mounts: tuple[Mount, ...]
) -> dict[str, Any]:
    """Return the content of ``config.json``."""
    host = container.host
    granted = capabilities(("ALL",), ()) if host.privileged else _capabilities(host)
    filtered = seccomp.is_available() and not (host.privileged or host.unconfined)
    rules = [rule for _, rule in device_specs(host.devices)]
    return {
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs", "readonly": host.read_only},
        "hostname": hostname(container),
        "process": _process(container, user, granted),
        "mounts": [
            *_system_mounts(host),
            *_file_mounts(folder, host),
            *(_mount(m) for m in mounts),
            *_device_mounts(host),
        ],
        "linux": {
            "namespaces": [{"type": kind} for kind in _namespaces(container)],
            "maskedPaths": () if host.privileged else _MASKED,
            "readonlyPaths": () if host.privileged else _READ_ONLY,
            "devices": _device_nodes(host),
            "resources": _resources(host, rules),
            "sysctl": {**_network_settings(host), **host.kernel_settings},
            **({} if in_user_namespace() else {"cgroupsPath": f"/hythe/{container.id}"}),
            **({"seccomp": seccomp.default_profile(granted)} if filtered else {}),
        },
    }


def _capabilities(host: HostConfig) -> tuple[str, ...]:
    """Return the granted capabilities: without NET_RAW, unless it was asked for, if there is a network to send to.

    On the host's network, it reads other programs' traffic on loopback. Through slirp4netns, packets that are written
    by hand reach the host's loopback, although connections do not.
    """
    asked = {"ALL", "CAP_NET_RAW"} & set(host.cap_add)
    return capabilities(host.cap_add, (*host.cap_drop, *(() if asked or host.network == "none" else ("CAP_NET_RAW",))))


def _network_settings(host: HostConfig) -> dict[str, str]:
    """Return docker's kernel settings for a network of its own: low ports and ``ping`` need no capability."""
    if host.network != BRIDGE:
        return {}
    groups = "0 0" if in_user_namespace() else "0 2147483647"
    return {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": groups}


def _device_nodes(host: HostConfig) -> list[dict[str, Any]]:
    if host.privileged:
        return all_devices()
    return [] if in_user_namespace() else [node for node, _ in device_specs(host.devices)]


def _device_mounts(host: HostConfig) -> list[dict[str, Any]]:
    """Return bind mounts for devices if device nodes cannot be created: without root."""
    if not in_user_namespace():
        return []
    return [_bound(device.source, device.target, ("rprivate",)) for device in host.devices]


def _process(container: Container, user: ContainerUser, granted: tuple[str, ...]) -> dict[str, Any]:
    if not container.command:
        raise CannotStart("no command specified", "the image has no default command: write one after the image's name")
    host = container.host
    return {
        "terminal": host.terminal,
        "user": {"uid": user.uid, "gid": user.gid, "additionalGids": user.groups},
        "args": (*((_INIT_TARGET, "--") if host.init else ()), *container.command),
        "env": [f"{name}={value}" for name, value in environment(container, user).items()],
        "cwd": container.config.working_dir or "/",
        "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), granted),
        "noNewPrivileges": host.no_new_privileges,
        "rlimits": [_process_limit(limit) for limit in host.process_limits],
    }


def _process_limit(limit: ProcessLimit) -> dict[str, Any]:
    soft, hard = (number if number >= 0 else _NO_LIMIT for number in (limit.soft, limit.hard))
    return {"type": f"RLIMIT_{limit.name.upper()}", "soft": soft, "hard": hard}


def environment(container: Container, user: ContainerUser) -> Mapping[str, str]:
    """Return the container's environment: docker's defaults, overridden by image and options."""
    own = {"PATH": DEFAULT_PATH, "HOSTNAME": hostname(container), "HOME": user.home}
    if container.host.terminal:
        own["TERM"] = "xterm"
    chosen = (variable.partition("=") for variable in container.config.env or ())
    return own | {name: value for name, _, value in chosen}


def _namespaces(container: Container) -> list[str]:
    kinds = ["mount", "pid", "ipc", "uts"]
    if container.host.network != "host":
        kinds.append("network")
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        kinds.append("cgroup")
    return kinds


def _system_mounts(host: HostConfig) -> list[dict[str, Any]]:
    guarded = ("nosuid", "noexec", "nodev")
    system = guarded if host.privileged else (*guarded, "ro")
    memory = ("mode=1777", f"size={host.shared_memory}")
    mounts = [
        _typed("proc", "/proc", guarded),
        _typed("tmpfs", "/dev", ("nosuid", "strictatime", "mode=755", "size=65536k")),
        _typed("devpts", "/dev/pts", ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5")),
        _typed("mqueue", "/dev/mqueue", guarded),
        _typed("tmpfs", "/dev/shm", (*guarded, *memory), source="shm"),  # noqa: S108
        *([_bound(_init_program(), _INIT_TARGET, ("ro", "rprivate"))] if host.init else ()),
    ]
    if not in_user_namespace():
        return [*mounts, _typed("sysfs", "/sys", system), _typed("cgroup", "/sys/fs/cgroup", system)]
    if host.network != "host":
        return [*mounts, _typed("sysfs", "/sys", system)]
    # Mounting a new sysfs requires owning the network namespace; without root, the host's is not owned.
    return [*mounts, {"destination": "/sys", "source": "/sys", "type": "none", "options": ("rbind", *guarded, "ro")}]


def _init_program() -> str:
    found = next(filter(None, map(shutil.which, _INITS)), None)
    if found is None:
        raise CannotStart(f"--init needs one of {', '.join(_INITS)}", "install tini or catatonit")
    return str(Path(found).resolve())


def _typed(kind: str, target: str, options: tuple[str, ...], source: str = "") -> dict[str, Any]:
    return {"destination": target, "type": kind, "source": source or kind, "options": options}


def _file_mounts(folder: Path, host: HostConfig) -> list[dict[str, Any]]:
    chosen = {mount.target for mount in host.mounts}
    paths = {f"/etc/{name}": folder / "files" / name for name in MOUNTED_FILES}
    return [_bound(str(path), target, ("rprivate",)) for target, path in paths.items() if target not in chosen]


def _mount(mount: Mount) -> dict[str, Any]:
    if not mount.source:
        return _typed("tmpfs", mount.target, ("nosuid", "nodev", "noexec", *mount.options))
    return _bound(mount.source, mount.target, mount.options)


def _bound(source: str, target: str, options: tuple[str, ...]) -> dict[str, Any]:
    return {"destination": target, "type": "bind", "source": source, "options": ("rbind", *options)}


def _resources(host: HostConfig, devices: list[dict[str, Any]]) -> dict[str, Any]:
    limits = host.limits
    resources: dict[str, Any] = {"devices": [ALLOW_ALL] if host.privileged else [DENY_ALL, *devices]}
    memory = {"limit": limits.memory, "swap": limits.swap}
    cpu = {
        "quota": int(limits.cpus * _CPU_PERIOD),
        "period": _CPU_PERIOD if limits.cpus else 0,
        "shares": limits.shares,
        "cpus": limits.processors,
    }
    resources["memory"] = {name: value for name, value in memory.items() if value}
    resources["cpu"] = {name: value for name, value in cpu.items() if value}
    if limits.processes:
        resources["pids"] = {"limit": limits.processes}
    return resources

"""The runtime's bundle: what a container is, in the words of the OCI runtime specification (``config.json``).

Isolation is docker's default: its capabilities, masked and read-only paths, devices, system call filter. No network of
its own is wired up: a container has the host's, or none.
"""

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from hythe.containers import seccomp
from hythe.containers.container import Container, Limits, Mount
from hythe.containers.errors import CannotStart, InvalidOption
from hythe.containers.namespace import in_user_namespace
from hythe.containers.root import usual_umask
from hythe.containers.users import User

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_CAPABILITIES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
)
OTHER_CAPABILITIES = (
    "CAP_AUDIT_CONTROL",
    "CAP_AUDIT_READ",
    "CAP_BLOCK_SUSPEND",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
    "CAP_DAC_READ_SEARCH",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_LEASE",
    "CAP_LINUX_IMMUTABLE",
    "CAP_MAC_ADMIN",
    "CAP_MAC_OVERRIDE",
    "CAP_NET_ADMIN",
    "CAP_NET_BROADCAST",
    "CAP_PERFMON",
    "CAP_SYSLOG",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_MODULE",
    "CAP_SYS_NICE",
    "CAP_SYS_PACCT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_WAKE_ALARM",
)
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
MOUNTED_FILES = ("hosts", "hostname", "resolv.conf")
"""Files of ``/etc`` that every container gets from outside."""


def write_bundle(folder: Path, container: Container, user: User, mounts: tuple[Mount, ...]) -> None:
    """Write ``config.json`` and the files that are mounted into the container's folder; raises CannotStart."""
    _write_network_files(folder / "files", container)
    (folder / "config.json").write_bytes(msgspec.json.encode(specification(folder, container, user, mounts)))


def make_mountpoints(folder: Path) -> None:
    """Fill a folder with what every container has mounted over, so that the mounts leave no trace in its changes.

    It becomes the lowest layer: what the image itself has in these places stays as it is.
    """
    with usual_umask():
        for name in ("dev/pts", "dev/shm", "proc", "sys", "etc"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for name in MOUNTED_FILES:
            (folder / "etc" / name).touch()
        if not (folder / "etc/mtab").is_symlink():
            (folder / "etc/mtab").symlink_to("/proc/mounts")


def parse_capability(text: str) -> str:
    """Return a capability's full name, or ``ALL``; raises InvalidOption."""
    name = text.upper()
    if name == "ALL":
        return name
    name = name if name.startswith("CAP_") else f"CAP_{name}"
    if name not in (*DEFAULT_CAPABILITIES, *OTHER_CAPABILITIES):
        raise InvalidOption(f"unknown capability {text!r}", "'man 7 capabilities' lists them")
    return name


def capabilities(add: tuple[str, ...], drop: tuple[str, ...]) -> tuple[str, ...]:
    """Return docker's default capabilities with some added and dropped; ``ALL`` stands for all, a single one wins."""
    everything = (*DEFAULT_CAPABILITIES, *OTHER_CAPABILITIES)
    base = everything if "ALL" in add else () if "ALL" in drop else DEFAULT_CAPABILITIES
    return tuple(name for name in everything if name not in drop and (name in base or name in add))


def specification(folder: Path, container: Container, user: User, mounts: tuple[Mount, ...]) -> dict[str, Any]:
    """Return ``config.json`` as a value."""
    held = capabilities(container.host.cap_add, container.host.cap_drop)
    return {
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs", "readonly": container.host.read_only},
        "hostname": hostname(container),
        "process": _process(container, user, held),
        "mounts": [*_system_mounts(container), *_file_mounts(folder, container), *(_mount(m) for m in mounts)],
        "linux": {
            "namespaces": [{"type": kind} for kind in _namespaces(container)],
            "maskedPaths": _MASKED,
            "readonlyPaths": _READ_ONLY,
            "resources": _resources(container.host.limits),
            **({} if in_user_namespace() else {"cgroupsPath": f"/hythe/{container.id}"}),
            **({"seccomp": seccomp.default_profile(held)} if seccomp.is_available() else {}),
        },
    }


def hostname(container: Container) -> str:
    """Return what the container calls itself: what was asked for, the host's name on its network, else its ID."""
    if container.host.hostname:
        return container.host.hostname
    return socket.gethostname() if container.host.network == "host" else container.id[:12]


def _process(container: Container, user: User, held: tuple[str, ...]) -> dict[str, Any]:
    if not container.command:
        raise CannotStart("no command specified", "the image names none: write one after the image's name")
    return {
        "terminal": container.host.terminal,
        "user": {"uid": user.uid, "gid": user.gid, "additionalGids": user.groups},
        "args": container.command,
        "env": [f"{name}={value}" for name, value in environment(container, user).items()],
        "cwd": container.config.working_dir or "/",
        "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), held),
        "noNewPrivileges": False,
    }


def environment(container: Container, user: User) -> Mapping[str, str]:
    """Return the variables of the container's process: docker's own, then those of image and options."""
    own = {"PATH": DEFAULT_PATH, "HOSTNAME": hostname(container), "HOME": user.home}
    if container.host.terminal:
        own["TERM"] = "xterm"
    chosen = (variable.partition("=") for variable in container.config.env or ())
    return own | {name: value for name, _, value in chosen}


def _namespaces(container: Container) -> list[str]:
    kinds = ["mount", "pid", "ipc", "uts"]
    if container.host.network == "none":
        kinds.append("network")
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        kinds.append("cgroup")
    return kinds


def _system_mounts(container: Container) -> list[dict[str, Any]]:
    guarded = ("nosuid", "noexec", "nodev")
    mounts = [
        _typed("proc", "/proc", guarded),
        _typed("tmpfs", "/dev", ("nosuid", "strictatime", "mode=755", "size=65536k")),
        _typed("devpts", "/dev/pts", ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5")),
        _typed("mqueue", "/dev/mqueue", guarded),
        _typed("tmpfs", "/dev/shm", (*guarded, "mode=1777", "size=65536k"), source="shm"),  # noqa: S108
    ]
    if not in_user_namespace():
        return [
            *mounts,
            _typed("sysfs", "/sys", (*guarded, "ro")),
            _typed("cgroup", "/sys/fs/cgroup", (*guarded, "ro")),
        ]
    if container.host.network == "none":
        return [*mounts, _typed("sysfs", "/sys", (*guarded, "ro"))]
    # A new sysfs belongs to a network namespace, and without root the host's is not ours.
    return [*mounts, {"destination": "/sys", "source": "/sys", "type": "none", "options": ("rbind", *guarded, "ro")}]


def _typed(kind: str, target: str, options: tuple[str, ...], source: str = "") -> dict[str, Any]:
    return {"destination": target, "type": kind, "source": source or kind, "options": options}


def _file_mounts(folder: Path, container: Container) -> list[dict[str, Any]]:
    chosen = {mount.target for mount in container.host.mounts}
    paths = {f"/etc/{name}": folder / "files" / name for name in MOUNTED_FILES}
    return [_bound(str(path), target, ("rprivate",)) for target, path in paths.items() if target not in chosen]


def _mount(mount: Mount) -> dict[str, Any]:
    if not mount.source:
        return _typed("tmpfs", mount.target, ("nosuid", "nodev", "noexec", *mount.options))
    return _bound(mount.source, mount.target, mount.options)


def _bound(source: str, target: str, options: tuple[str, ...]) -> dict[str, Any]:
    return {"destination": target, "type": "bind", "source": source, "options": ("rbind", *options)}


def _resources(limits: Limits) -> dict[str, Any]:
    resources: dict[str, Any] = {"devices": [{"allow": False, "access": "rwm"}]}
    if limits.memory:
        resources["memory"] = {"limit": limits.memory}
    if limits.cpus:
        resources["cpu"] = {"quota": int(limits.cpus * _CPU_PERIOD), "period": _CPU_PERIOD}
    if limits.processes:
        resources["pids"] = {"limit": limits.processes}
    return resources


def _write_network_files(folder: Path, container: Container) -> None:
    name = hostname(container)
    (folder / "hostname").write_text(f"{name}\n")
    on_host = container.host.network == "host"
    own_hosts = f"127.0.0.1\tlocalhost {name}\n::1\tlocalhost ip6-localhost ip6-loopback\n"
    (folder / "hosts").write_text(_host_file("hosts") if on_host else own_hosts)
    (folder / "resolv.conf").write_text(_host_file("resolv.conf"))
    for file in MOUNTED_FILES:
        (folder / file).chmod(0o644)


def _host_file(name: str) -> str:
    try:
        return Path("/etc", name).read_text(errors="replace")
    except OSError:
        return ""

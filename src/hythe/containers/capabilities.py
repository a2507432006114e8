"""A container's capabilities (``capabilities(7)``): docker's defaults, changed by ``--cap-add`` and ``--cap-drop``."""

from functools import cache
from pathlib import Path

from hythe.containers.errors import InvalidOption

_IN_KERNEL_ORDER = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)
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


def parse_capability(text: str) -> str:
    """Return a capability's full name, or ``ALL``; raises InvalidOption."""
    name = text.upper()
    if name == "ALL":
        return name
    name = name if name.startswith("CAP_") else f"CAP_{name}"
    if name not in _IN_KERNEL_ORDER:
        raise InvalidOption(f"unknown capability {text!r}", "'man 7 capabilities' lists capabilities")
    return name


def capabilities(add: tuple[str, ...], drop: tuple[str, ...]) -> tuple[str, ...]:
    """Return docker's default capabilities with some added and dropped; a single one overrides ``ALL``.

    ``ALL`` means all that this process can grant.
    """
    base = own_capabilities() if "ALL" in add else () if "ALL" in drop else DEFAULT_CAPABILITIES
    return tuple(name for name in _IN_KERNEL_ORDER if name not in drop and (name in base or name in add))


@cache
def own_capabilities() -> tuple[str, ...]:
    """Return the capabilities that this process can grant: fewer on old kernels and inside containers."""
    lines = Path("/proc/self/status").read_text().splitlines()
    mask = next((int(line.split()[1], 16) for line in lines if line.startswith("CapBnd:")), 0)
    return tuple(name for number, name in enumerate(_IN_KERNEL_ORDER) if mask >> number & 1)

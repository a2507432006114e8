"""The default seccomp profile, converted to the runtime's format.

``seccomp.json`` is in Docker's format, where rules can depend on architecture and capabilities.
"""

from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from hythe.client.platforms import host_platform

_SECCOMP_NAMES = {
    "amd64": "SCMP_ARCH_X86_64",
    "arm64": "SCMP_ARCH_AARCH64",
    "s390x": "SCMP_ARCH_S390X",
    "ppc64le": "SCMP_ARCH_PPC64LE",
    "riscv64": "SCMP_ARCH_RISCV64",
}


class _Condition(msgspec.Struct, frozen=True):
    caps: tuple[str, ...] = ()
    arches: tuple[str, ...] = ()


class _Rule(msgspec.Struct, frozen=True, rename="camel"):
    names: tuple[str, ...]
    action: str
    args: tuple[dict[str, Any], ...] = ()
    errno_ret: int | None = None
    includes: _Condition = _Condition()
    excludes: _Condition = _Condition()


class _Architecture(msgspec.Struct, frozen=True, rename="camel"):
    architecture: str
    sub_architectures: tuple[str, ...] = ()


class _Profile(msgspec.Struct, frozen=True, rename="camel"):
    default_action: str
    default_errno_ret: int
    arch_map: tuple[_Architecture, ...]
    syscalls: tuple[_Rule, ...]


def default_profile(capabilities: tuple[str, ...]) -> dict[str, Any]:
    """Return ``linux.seccomp`` of the runtime specification for a container with ``capabilities``."""
    content = resources.files("hythe.containers").joinpath("seccomp.json").read_bytes()
    profile = msgspec.json.decode(content, type=_Profile)
    machine = host_platform().architecture
    return {
        "defaultAction": profile.default_action,
        "defaultErrnoRet": profile.default_errno_ret,
        "architectures": _architectures(profile, machine),
        "syscalls": [_runtime_rule(rule) for rule in profile.syscalls if _applies(rule, capabilities, machine)],
    }


def is_available() -> bool:
    """Whether this kernel supports seccomp filters."""
    return Path("/proc/sys/kernel/seccomp/actions_avail").exists()


def _architectures(profile: _Profile, machine: str) -> list[str]:
    name = _SECCOMP_NAMES.get(machine, "")
    known = next((row.sub_architectures for row in profile.arch_map if row.architecture == name), ())
    return [name, *known] if name else []


def _applies(rule: _Rule, capabilities: tuple[str, ...], machine: str) -> bool:
    includes, excludes = rule.includes, rule.excludes
    if includes.arches and machine not in includes.arches:
        return False
    if not all(capability in capabilities for capability in includes.caps):
        return False
    return machine not in excludes.arches and not any(capability in capabilities for capability in excludes.caps)


def _runtime_rule(rule: _Rule) -> dict[str, Any]:
    row: dict[str, Any] = {"names": rule.names, "action": rule.action}
    if rule.args:
        row["args"] = rule.args
    if rule.errno_ret is not None:
        row["errnoRet"] = rule.errno_ret
    return row

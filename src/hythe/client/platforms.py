"""Choosing the image of an index for a platform (image specification, "Image Index")."""

import os
from collections.abc import Sequence

from hythe.client.errors import ClientError, RemoteNotFound
from hythe.oci.manifest import Descriptor, Platform

_ARCHITECTURES = {
    "x86_64": ("amd64", ""),
    "aarch64": ("arm64", "v8"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "i686": ("386", ""),
    "ppc64le": ("ppc64le", ""),
    "s390x": ("s390x", ""),
    "riscv64": ("riscv64", ""),
    "loongarch64": ("loong64", ""),
}


def host_platform() -> Platform:
    """Return the platform of this machine, with Go's names."""
    machine = os.uname().machine
    architecture, variant = _ARCHITECTURES.get(machine, (machine, ""))
    return Platform(architecture=architecture, os="linux", variant=variant)


def parse_platform(text: str) -> Platform:
    """Parse ``os/architecture[/variant]``, or an ``architecture`` for linux."""
    parts = text.split("/")
    if len(parts) > 3 or not all(parts):
        raise ClientError(f"invalid platform {text!r}", "write os/architecture[/variant], such as linux/arm64")
    if len(parts) == 1:
        return Platform(architecture=parts[0], os="linux")
    return Platform(architecture=parts[1], os=parts[0], variant=parts[2] if len(parts) == 3 else "")


def is_compatible(wanted: Platform, offered: Platform) -> bool:
    """Whether an image for ``offered`` runs on ``wanted``."""
    if (wanted.os, wanted.architecture) != (offered.os, offered.architecture):
        return False
    return _variant(offered) in _runnable_variants(wanted)


def _variant(platform: Platform) -> str:
    return "v8" if platform.architecture == "arm64" and not platform.variant else platform.variant


def _runnable_variants(wanted: Platform) -> tuple[str, ...]:
    """Return the variants that run on ``wanted``, best first: arm machines also run older variants."""
    variant = _variant(wanted)
    if wanted.architecture != "arm":
        return (variant, "") if variant else ("",)
    newest = int(variant.removeprefix("v") or 7) if variant.removeprefix("v").isdigit() or not variant else 7
    return (*(f"v{number}" for number in range(newest, 4, -1)), "")


def choose_image(offered: Sequence[Descriptor], wanted: Platform) -> Descriptor:
    """Return the best image of an index for ``wanted``; raises RemoteNotFound with the available platforms."""
    suitable = [d for d in offered if d.platform and is_compatible(wanted, d.platform)]
    if not suitable:
        available = ", ".join(sorted({str(d.platform) for d in offered if d.platform and d.platform.os != "unknown"}))
        raise RemoteNotFound(
            f"no image for {wanted}",
            f"available platforms: {available}" if available else "the index lists no platforms",
        )
    order = _runnable_variants(wanted)
    return min(suitable, key=lambda d: order.index(_variant(d.platform or Platform())))

"""Choosing the image of an index for a platform (image specification, "Image Index")."""

import os
from collections.abc import Sequence

from hythe.client.errors import ClientError, RemoteNotFound
from hythe.oci.manifest import Descriptor, Manifest, ManifestKind, Platform

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


def is_attestation(descriptor: Descriptor) -> bool:
    """Whether an entry of an index describes another one (BuildKit's provenance and SBOM) and is no image itself."""
    platform = descriptor.platform
    return (platform is not None and platform.os == platform.architecture == "unknown") or (
        descriptor.annotations.get("vnd.docker.reference.type") == "attestation-manifest"
    )


def choose_image(offered: Sequence[Descriptor], wanted: Platform) -> Descriptor:
    """Return the best image of an index for ``wanted``; raises RemoteNotFound with the available platforms."""
    suitable = [d for d in offered if d.platform and is_compatible(wanted, d.platform) and not is_attestation(d)]
    if not suitable:
        available = ", ".join(sorted({str(d.platform) for d in offered if d.platform and not is_attestation(d)}))
        raise RemoteNotFound(
            f"no image for {wanted}",
            f"available platforms: {available}; select one with --platform"
            if available
            else "the index lists no platforms",
        )
    order = _runnable_variants(wanted)
    return min(suitable, key=lambda d: order.index(_variant(d.platform or Platform())))


def choose_representative(offered: Sequence[Descriptor]) -> Descriptor:
    """Return the image of an index that lists show: this machine's, else the first image, else the first entry.

    Raises RemoteNotFound for an empty list.
    """
    try:
        return choose_image(offered, host_platform())
    except RemoteNotFound:
        if not offered:
            raise
        return next((d for d in offered if not is_attestation(d)), offered[0])


def require_host_image(root: Manifest) -> None:
    """Raise RemoteNotFound, as a pull would, for an index without an image for this machine."""
    if root.kind is ManifestKind.INDEX:
        choose_image(root.manifests, host_platform())

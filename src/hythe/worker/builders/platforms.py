"""Platforms in Dockerfiles: the arguments that builders predefine, and which platforms are not the host's."""

from hythe.client.platforms import host_platform, parse_platform
from hythe.oci.manifest import Platform


def automatic_arguments(platform: str) -> dict[str, str]:
    """Return the arguments of a Dockerfile's global scope when building for ``platform`` ("": the host's)."""
    return _arguments("BUILD", _host()) | _arguments("TARGET", parse_platform(platform) if platform else _host())


def is_other_platform(platform: str) -> bool:
    """Return whether ``os/architecture[/variant]`` differs from the host's platform."""
    return bool(platform) and str(parse_platform(platform)) not in (str(host_platform()), str(_host()))


def _host() -> Platform:
    """Return the host's platform as builders spell it: arm64 has no variant."""
    host = host_platform()
    return Platform(host.architecture, host.os) if host.architecture == "arm64" else host


def _arguments(prefix: str, platform: Platform) -> dict[str, str]:
    return {
        f"{prefix}PLATFORM": str(platform),
        f"{prefix}OS": platform.os,
        f"{prefix}ARCH": platform.architecture,
        f"{prefix}VARIANT": platform.variant,
    }

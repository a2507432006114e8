"""Platforms in Dockerfiles: the arguments that every builder knows without being told, and what is not for the host."""

from hythe.client.platforms import host_platform, parse_platform
from hythe.oci.manifest import Platform


def automatic_arguments(platform: str) -> dict[str, str]:
    """Return what may be asked for in the global scope of a Dockerfile when ``platform`` is built ("": the host's)."""
    return _named("BUILD", _host()) | _named("TARGET", parse_platform(platform) if platform else _host())


def is_foreign(platform: str) -> bool:
    """Whether ``os/architecture[/variant]`` is another platform than the host's."""
    return bool(platform) and str(parse_platform(platform)) not in (str(host_platform()), str(_host()))


def _host() -> Platform:
    """The host as builders spell it: arm64 has no variant there."""
    host = host_platform()
    return Platform(host.architecture, host.os) if host.architecture == "arm64" else host


def _named(prefix: str, platform: Platform) -> dict[str, str]:
    return {
        f"{prefix}PLATFORM": str(platform),
        f"{prefix}OS": platform.os,
        f"{prefix}ARCH": platform.architecture,
        f"{prefix}VARIANT": platform.variant,
    }

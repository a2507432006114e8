"""The port that every builder implements."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import msgspec

from hythe.client.layout import ImageLayout
from hythe.oci.manifest import Descriptor
from hythe.worker.builders.platforms import automatic_arguments
from hythe.worker.dockerfiles.checks import check


class BuildInput(msgspec.Struct, frozen=True, kw_only=True):
    """One image to build for one platform. Paths are relative to the source; ``time`` is a Unix time."""

    context: str
    dockerfile: str
    dockerfile_text: str
    platform: str
    arguments: dict[str, str]
    target: str
    labels: dict[str, str]
    secrets: tuple[str, ...]
    """Names; their values are below ``/work/secrets``."""
    cache: bool
    time: int
    commits: dict[str, str] = {}
    """The commits of the git repositories that were fetched for ``ADD``, by ``GitSource.key``."""
    image: str
    """The image's name for hooks, REPOSITORY:TAG with the registry's host."""


class BuiltImage(msgspec.Struct, frozen=True):
    """An image in an OCI layout on the worker's disk."""

    layout: Path
    descriptor: Descriptor


def check_dockerfile(build_input: BuildInput, *, flags: bool = True) -> list[str]:
    """Return warnings about the Dockerfile. Raises InvalidDockerfile; see ``checks.check``."""
    automatic = automatic_arguments(build_input.platform)
    return check(build_input.dockerfile_text, build_input.arguments, automatic, build_input.target, flags=flags)


class Builder(Protocol):
    """Builds images of one source, one after the other."""

    name: str
    """The builder and its version, for the provenance."""
    own_cache: str
    """For the provenance: a cache of its own that earlier builds of anything may have written; empty: none."""

    def check(self, build_input: BuildInput) -> None:
        """Find what is wrong in the Dockerfile, or not supported, before the build. Raises InvalidDockerfile."""

    def fetch_bases(self, build_input: BuildInput) -> dict[str, str]:
        """Fetch the base images; return the digest of each, by its name in the Dockerfile. Raises BuildFailed."""

    def fetch_images(self, names: Sequence[str]) -> None:
        """Fetch the other images that tests need, for the host's platform. Raises BuildFailed."""

    def build(self, build_input: BuildInput) -> BuiltImage:
        """Build and return the image. Raises BuildFailed, LimitReached, BuildStopped."""

    def export(self, build_input: BuildInput) -> BuiltImage:
        """Return the image named ``build_input.image``, which a hook built. Raises BuildFailed."""


@runtime_checkable
class LayerSharing(Protocol):
    """A builder that can use the steps of earlier builds. ``name`` stands for one Dockerfile and one platform."""

    def load_layers(self, name: str, digest: str, fetch: Callable[[ImageLayout], None]) -> int:
        """Make the steps of an earlier build's index available; return their number. Raises BuildFailed.

        ``fetch`` fetches the index with this digest into a layout, unless the worker has its steps.
        """

    def has_new_layers(self, name: str, build_input: BuildInput) -> bool:
        """Return whether the build had steps that were not loaded."""

    def export_layers(self, build_input: BuildInput, image: BuiltImage) -> BuiltImage:
        """Return the index of the build's steps; ``image`` is the result of ``build``. Raises BuildFailed."""

"""The port that every builder implements."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import msgspec

from hythe.oci.manifest import Descriptor


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
    image: str
    """The image's name for hooks, REPOSITORY:TAG with the registry's host."""


class BuiltImage(msgspec.Struct, frozen=True):
    """An image in an OCI layout on the worker's disk."""

    layout: Path
    descriptor: Descriptor


class Builder(Protocol):
    """Builds images of one source, one after the other."""

    name: str
    """The builder and its version, for the provenance."""

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
    """A builder that shares layers with other workers. ``name`` stands for one Dockerfile and one platform."""

    def has_layers(self, name: str) -> bool:
        """Return whether this disk already has the layers, from a build or from ``load_layers``."""

    def load_layers(self, name: str, index: BuiltImage) -> int:
        """Load the result of another worker's ``export_layers``; return its number of steps. Raises BuildFailed."""

    def has_new_layers(self, name: str, build_input: BuildInput) -> bool:
        """Return whether the build had steps that were not loaded or exported before."""

    def export_layers(self, build_input: BuildInput, image: BuiltImage) -> BuiltImage:
        """Return the index of the build's steps; ``image`` is the result of ``build``. Raises BuildFailed."""

    def mark_layers_shared(self, name: str, build_input: BuildInput) -> None:
        """Record that the build's layers were shared."""

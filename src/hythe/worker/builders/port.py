"""The port: what the worker asks of a builder, whichever it is."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import msgspec

from hythe.oci.manifest import Descriptor


class BuildInput(msgspec.Struct, frozen=True, kw_only=True):
    """One image to build, for one platform. Paths are relative to the source; ``time`` in seconds since 1970."""

    context: str
    dockerfile: str
    dockerfile_text: str
    platform: str
    arguments: dict[str, str]
    target: str
    labels: dict[str, str]
    secrets: tuple[str, ...]
    """Names; their values lie below ``/work/secrets``."""
    cache: bool
    time: int
    image: str
    """The name under which hooks know the image, REPOSITORY:TAG with the registry's host."""


class BuiltImage(msgspec.Struct, frozen=True):
    """An image in an OCI layout on the worker's disk."""

    layout: Path
    descriptor: Descriptor


class Builder(Protocol):
    """Builds images of one source, one after the other."""

    name: str
    """The builder and its version, for the provenance."""

    def fetch_bases(self, order: BuildInput) -> dict[str, str]:
        """Bring the base images; return the digest of each, as written in the Dockerfile. Raises BuildFailed."""

    def fetch_images(self, names: Sequence[str]) -> None:
        """Bring what tests run beside the image that was built, for the host's platform. Raises BuildFailed."""

    def build(self, order: BuildInput) -> BuiltImage:
        """Build and return the image. Raises BuildFailed, LimitReached, BuildStopped."""

    def export(self, order: BuildInput) -> BuiltImage:
        """Return the image that is called ``order.image`` here: a hook built it. Raises BuildFailed."""


@runtime_checkable
class LayerSharing(Protocol):
    """A builder that hands its layers to builds on other workers; ``name`` says which: one Dockerfile, one platform."""

    def knows_layers(self, name: str) -> bool:
        """Whether this disk had them before: by a build, or by ``take_layers``."""

    def take_layers(self, name: str, index: BuiltImage) -> int:
        """Take what another worker's ``give_layers`` returned; returns how many steps it has. Raises BuildFailed."""

    def has_new_layers(self, name: str, order: BuildInput) -> bool:
        """Whether the build had other steps than those that were taken or given last."""

    def give_layers(self, order: BuildInput, image: BuiltImage) -> BuiltImage:
        """Return the index of the build's steps; ``image`` is what ``build`` returned. Raises BuildFailed."""

    def layers_given(self, name: str, order: BuildInput) -> None:
        """Note that others have the build's layers now."""

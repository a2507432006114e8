"""Selects a worker's builder: buildah in the sandbox, unless the operator chose another."""

from hythe.worker.builders import buildkit, docker
from hythe.worker.builders.base_images import BaseImages
from hythe.worker.builders.buildah import BuildahBuilder
from hythe.worker.builders.image_store import ImageStore
from hythe.worker.builders.port import Builder
from hythe.worker.isolation.sandbox import NetworkAccess, Sandbox
from hythe.worker.isolation.selection import ExternalBuilder
from hythe.worker.progress import ProgressReporter
from hythe.worker.protocol import BuildLimits


def make_builder(
    external: ExternalBuilder | None,
    sandbox: Sandbox,
    store: ImageStore,
    progress: ProgressReporter,
    bases: BaseImages,
    limits: BuildLimits,
    access: NetworkAccess,
) -> Builder:
    """Return the builder of one attempt. Raises BuildFailed if it is not available."""
    if external is None:
        return BuildahBuilder(sandbox, store, progress, bases, access)
    if external.kind == "docker":
        return docker.DockerBuilder(external, sandbox, progress, bases, limits)
    return buildkit.BuildKitBuilder(external, sandbox, progress, bases, limits)


def version_of(external: ExternalBuilder) -> str:
    """Return the builder's version. Raises BuildFailed if it does not respond."""
    return docker.version(external) if external.kind == "docker" else buildkit.version(external)

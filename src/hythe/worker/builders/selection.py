"""Which builder a worker has: buildah in the sandbox, or what its operator chose instead."""

from hythe.worker.builders import buildkit, docker
from hythe.worker.builders.base_images import BaseImages
from hythe.worker.builders.buildah import BuildahBuilder
from hythe.worker.builders.port import Builder
from hythe.worker.isolation.sandbox import NetworkAccess, Sandbox
from hythe.worker.isolation.selection import ExternalBuilder
from hythe.worker.progress import ProgressReporter
from hythe.worker.protocol import BuildLimits


def make_builder(
    outside: ExternalBuilder | None,
    sandbox: Sandbox,
    record: ProgressReporter,
    bases: BaseImages,
    limits: BuildLimits,
    reach: NetworkAccess,
) -> Builder:
    """Return the builder of one attempt. Raises BuildFailed when it is not there."""
    if outside is None:
        return BuildahBuilder(sandbox, record, bases, reach)
    if outside.kind == "docker":
        return docker.DockerBuilder(outside, sandbox, record, bases, limits)
    return buildkit.BuildKitBuilder(outside, sandbox, record, bases, limits)


def version_of(outside: ExternalBuilder) -> str:
    """Return which builder answers there. Raises BuildFailed when none does."""
    return docker.version(outside) if outside.kind == "docker" else buildkit.version(outside)

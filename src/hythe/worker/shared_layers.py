"""Layers for builds on other workers, kept in the repository itself, so that only its readers get them.

They only make builds faster: an error with them adds a line to the log, and the build continues.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from hythe.client.endpoints import LayoutEndpoint, RegistryEndpoint
from hythe.client.errors import ClientError
from hythe.client.layout import ImageLayout
from hythe.client.platforms import host_platform
from hythe.client.protocol import RemoteRepository
from hythe.client.transfer import transfer
from hythe.oci.errors import OCIError
from hythe.worker.builders.port import Builder, BuildInput, BuiltImage, LayerSharing
from hythe.worker.errors import BuildFailed, IsolationUnavailable, LimitReached
from hythe.worker.layer_tags import layer_tag
from hythe.worker.progress import ProgressReporter
from hythe.worker.protocol import Job
from hythe.worker.source_tree import PathEscapes, make_empty, remove

FETCH_FOLDER = "shared"
SHARE = 8
"""Layers larger than 1/SHARE of a build's disk are not shared: they would fill the next build's disk."""
_ERRORS = (
    BuildFailed,
    ClientError,
    PathEscapes,
    IsolationUnavailable,
    LimitReached,
    OCIError,
    OSError,
    ValueError,
    msgspec.MsgspecError,
)


class SharedLayers:
    """Uses layers of earlier builds, and shares layers with later ones."""

    def __init__(
        self, job: Job, repository: Callable[[], RemoteRepository], progress: ProgressReporter, work: Path
    ) -> None:
        self._job = job
        self._repository = repository
        self._progress = progress
        self._work = work
        self._built: list[tuple[BuildInput, BuiltImage]] = []
        # Builds of forks neither use our layers nor share any that other builds would use.
        self._wanted = job.trusted and job.spec.cache

    def load(self, builder: Builder, build_input: BuildInput) -> None:
        """Before a build: if this disk has no layers for it, load those of another worker, if any."""
        if not self._wanted or not isinstance(builder, LayerSharing) or builder.has_layers(_name(build_input)):
            return
        with self._ignoring_errors("layers of other workers are not used"):
            self._load(builder, _name(build_input))
        remove(self._work / FETCH_FOLDER)

    def _load(self, builder: LayerSharing, name: str) -> None:
        repository = self._repository()
        if not repository.has_manifest(name):
            return
        with self._progress.step("layers of other workers"):
            layout = ImageLayout(make_empty(self._work, FETCH_FOLDER))
            index = transfer(RegistryEndpoint(repository, name), LayoutEndpoint(layout)).manifest
            steps = builder.load_layers(name, BuiltImage(layout.folder, index.descriptor()))
            self._progress.line(f"{steps} steps of earlier builds")

    def add(self, build_input: BuildInput, image: BuiltImage) -> None:
        """Record the built image for ``share``."""
        self._built.append((build_input, image))

    def share(self, builder: Builder) -> None:
        """After the push: store new layers in the repository, replacing earlier ones."""
        if not self._wanted or not isinstance(builder, LayerSharing):
            return
        for build_input, image in self._built:
            with self._ignoring_errors("layers are not shared with other workers"):
                self._share(builder, build_input, image)

    def _share(self, builder: LayerSharing, build_input: BuildInput, image: BuiltImage) -> None:
        name = _name(build_input)
        if not builder.has_new_layers(name, build_input):
            return
        with self._progress.step("layers for other workers"):
            index = builder.export_layers(build_input, image)
            self._require_small(index)
            source = LayoutEndpoint(ImageLayout(index.layout), index.descriptor)
            transfer(source, RegistryEndpoint(self._repository(), name))
            builder.mark_layers_shared(name, build_input)

    def _require_small(self, index: BuiltImage) -> None:
        layout = ImageLayout(index.layout)
        steps = [layout.read_manifest(each) for each in layout.read_manifest(index.descriptor).manifests]
        size = sum({blob.digest: blob.size for step in steps for blob in step.blobs}.values())
        max_size = self._job.limits.disk // SHARE
        if size > max_size:
            raise BuildFailed(f"they are larger than {max_size >> 20} MiB")

    @contextmanager
    def _ignoring_errors(self, message: str) -> Iterator[None]:
        try:
            yield
        except _ERRORS as error:
            self._progress.line(f"{message}: {' '.join(str(error).split())[:300]}")


def _name(build_input: BuildInput) -> str:
    platform = build_input.platform or str(host_platform())
    return layer_tag(build_input.context, build_input.dockerfile, build_input.target, build_input.arguments, platform)

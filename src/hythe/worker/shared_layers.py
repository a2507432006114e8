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
from hythe.worker.source_tree import PathEscapes, cleared, remove

FETCHED = "shared"
SHARE = 8
"""Layers larger than this fraction of a build's disk are not shared: they would fill the next build's disk."""
_TROUBLE = (
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
        self, job: Job, repository: Callable[[], RemoteRepository], record: ProgressReporter, work: Path
    ) -> None:
        self._job = job
        self._repository = repository
        self._record = record
        self._work = work
        self._built: list[tuple[BuildInput, BuiltImage]] = []
        # Builds of forks neither see our layers nor make any that other builds would use.
        self._wanted = job.trusted and job.spec.cache

    def bring(self, builder: Builder, order: BuildInput) -> None:
        """Before a build: if this disk has no layers of such a build, load those of another worker, if any."""
        if not self._wanted or not isinstance(builder, LayerSharing) or builder.knows_layers(_name(order)):
            return
        with self._forgiving("layers of other workers are not used"):
            self._bring(builder, _name(order))
        remove(self._work / FETCHED)

    def _bring(self, builder: LayerSharing, name: str) -> None:
        repository = self._repository()
        if not repository.has_manifest(name):
            return
        with self._record.step("layers of other workers"):
            layout = ImageLayout(cleared(self._work, FETCHED))
            index = transfer(RegistryEndpoint(repository, name), LayoutEndpoint(layout)).manifest
            steps = builder.take_layers(name, BuiltImage(layout.folder, index.descriptor()))
            self._record.line(f"{steps} steps of earlier builds")

    def built(self, order: BuildInput, image: BuiltImage) -> None:
        """Record the built image for ``keep``."""
        self._built.append((order, image))

    def keep(self, builder: Builder) -> None:
        """After the push: store new layers in the repository, replacing earlier ones."""
        if not self._wanted or not isinstance(builder, LayerSharing):
            return
        for order, image in self._built:
            with self._forgiving("layers are not shared with other workers"):
                self._keep(builder, order, image)

    def _keep(self, builder: LayerSharing, order: BuildInput, image: BuiltImage) -> None:
        name = _name(order)
        if not builder.has_new_layers(name, order):
            return
        with self._record.step("layers for other workers"):
            index = builder.give_layers(order, image)
            self._require_small(index)
            place = LayoutEndpoint(ImageLayout(index.layout), index.descriptor)
            transfer(place, RegistryEndpoint(self._repository(), name))
            builder.layers_given(name, order)

    def _require_small(self, index: BuiltImage) -> None:
        layout = ImageLayout(index.layout)
        steps = [layout.read_manifest(each) for each in layout.read_manifest(index.descriptor).manifests]
        size = sum({blob.digest: blob.size for step in steps for blob in step.blobs}.values())
        most = self._job.limits.disk // SHARE
        if size > most:
            raise BuildFailed(f"they are larger than {most >> 20} MiB")

    @contextmanager
    def _forgiving(self, what: str) -> Iterator[None]:
        try:
            yield
        except _TROUBLE as error:
            self._record.line(f"{what}: {' '.join(str(error).split())[:300]}")


def _name(order: BuildInput) -> str:
    platform = order.platform or str(host_platform())
    return layer_tag(order.context, order.dockerfile, order.target, order.arguments, platform)

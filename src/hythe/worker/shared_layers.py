"""Layers for later builds of the same branch, kept in the repository itself, so that only its readers get them.

A build uses the layers that the hub recorded for its rule and branch (``BuildCache``), by digest: moving a tag changes
nothing. They only make builds faster: an error with them adds a line to the log, and the build continues.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
from hythe.worker.source_tree import PathEscapes

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

    def __init__(self, job: Job, repository: Callable[[], RemoteRepository], progress: ProgressReporter) -> None:
        self._job = job
        self._repository = repository
        self._progress = progress
        self._exported: dict[str, BuiltImage] = {}
        self._shared: dict[str, str] = {}
        self.used: dict[str, str] = {}
        """The indexes of layers that this build could use, by name."""

    @property
    def recorded(self) -> dict[str, str]:
        """The indexes for the next build, by name, for the hub to record."""
        return {**self._job.cache.layers, **self._shared}

    def load(self, builder: Builder, build_input: BuildInput) -> None:
        """Before a build: make the recorded layers available, if there are any."""
        name = self._name(build_input)
        digest = self._job.cache.layers.get(name)
        if digest is None or not isinstance(builder, LayerSharing):
            return
        with self._ignoring_errors("layers of earlier builds are not used"):
            steps = builder.load_layers(name, digest, lambda layout: self._fetch(digest, layout))
            self.used[name] = digest
            self._progress.line(f"{steps} steps of earlier builds")

    def _fetch(self, digest: str, layout: ImageLayout) -> None:
        with self._progress.step("fetch layers of earlier builds"):
            transfer(RegistryEndpoint(self._repository(), digest), LayoutEndpoint(layout))

    def export(self, builder: Builder, build_input: BuildInput, image: BuiltImage) -> None:
        """After a build, before anything else runs: export its layers if there are new ones.

        From then on, their digests are known to the worker, so nothing can change them unnoticed.
        """
        # Without a key there is no later build that may use them.
        name = self._name(build_input)
        if not self._job.cache.key or not isinstance(builder, LayerSharing):
            return
        with self._ignoring_errors("layers are not shared with later builds"):
            if builder.has_new_layers(name, build_input):
                index = builder.export_layers(build_input, image)
                self._require_small(index)
                self._exported[name] = index

    def share(self) -> None:
        """After the push: store the exported layers in the repository, replacing earlier ones."""
        for name, index in self._exported.items():
            with self._ignoring_errors("layers are not shared with later builds"):
                with self._progress.step("layers for later builds"):
                    source = LayoutEndpoint(ImageLayout(index.layout), index.descriptor)
                    transfer(source, RegistryEndpoint(self._repository(), name))
                self._shared[name] = index.descriptor.digest

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

    def _name(self, build_input: BuildInput) -> str:
        platform = build_input.platform or str(host_platform())
        return layer_tag(
            self._job.ref.name,
            build_input.context,
            build_input.dockerfile,
            build_input.target,
            build_input.arguments,
            platform,
        )

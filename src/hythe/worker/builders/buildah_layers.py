"""buildah's layer cache as one index of the images of a build's steps, for later builds on any worker.

buildah reuses a step if an image in Docker's format has the same history on the same layers. So the index contains
those images as they are in buildah's storage, except that they refer to compressed layers. Most of these are blobs of
the built image, which the registry already has. buildah loads them through ``dir:``, because it cannot read images in
Docker's format from OCI layouts.
"""

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from hythe.client.layout import ImageLayout
from hythe.client.store import NAME_KEY
from hythe.oci.digest import Digest
from hythe.oci.manifest import (
    DOCKER_CONFIG,
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    OCI_INDEX,
    Descriptor,
    ImageManifest,
    Index,
    Manifest,
    ManifestKind,
)
from hythe.worker.builders.image_store import ImageStore
from hythe.worker.builders.port import BuiltImage
from hythe.worker.errors import BuildFailed
from hythe.worker.isolation.sandbox import ProcessResult
from hythe.worker.source_tree import make_empty, read_inside, remove, require_plain_files

LAYERS_TYPE = "application/vnd.hythe.buildah.layers.v1"
FOLDER = "layers"
MAX_INSPECT_SIZE = 8 << 20
_STEP = re.compile(r"--> (?:Using cache )?([0-9a-f]{11,64})")
_SHORT = 11
"""Hex digits of an ID in buildah's log."""


class _Stored(msgspec.Struct, rename="pascal"):
    """An image of buildah's storage, as `buildah inspect` prints it."""

    manifest: str = ""
    config: str = ""


class _RootFS(msgspec.Struct):
    diff_ids: list[str] | None = None


class _Config(msgspec.Struct):
    rootfs: _RootFS = msgspec.field(default_factory=_RootFS)


class _Step(msgspec.Struct, frozen=True):
    """An image of one step: its configuration, and its layers by the digests of their contents."""

    id: str
    config: bytes
    contents: tuple[str, ...]


class BuildahLayers:
    """The steps of a build. ``run`` runs a shell script in the sandbox, which may call ``buildah``."""

    def __init__(
        self, work: Path, store: ImageStore, run: Callable[[str], ProcessResult], export: Callable[[Path], None]
    ) -> None:
        self._work = work
        self._store = store
        self._run = run
        self._chown = export
        self._step_ids: dict[str, list[str]] = {}
        self._loaded: dict[str, set[str]] = {}

    def recording_steps(self, platform: str, report: Callable[[str], None]) -> Callable[[str], None]:
        """Return a function that reads a build's log and records its steps."""
        # A build step can print such lines, too, but then they name images of its own repository or none.
        step_ids = self._step_ids[platform] = []

        def on_line(line: str) -> None:
            if found := _STEP.fullmatch(line):
                step_ids.append(found[1][:_SHORT])
            report(line)

        return on_line

    def has_new(self, name: str, platform: str) -> bool:
        """See LayerSharing."""
        step_ids = set(self._step_ids.get(platform, ()))
        return bool(step_ids) and step_ids != self._loaded.get(name)

    def export(self, platform: str, image: BuiltImage) -> BuiltImage:
        """See LayerSharing."""
        layout = ImageLayout(image.layout)
        steps = self._steps(sorted(set(self._step_ids[platform])))
        layers = self._compressed_layers(layout, image, steps)
        entries = tuple(_add_image(layout, step, [layers[content] for content in step.contents]) for step in steps)
        content = Index(2, OCI_INDEX, entries, artifact_type=LAYERS_TYPE).encode()
        layout.add_document(content)
        return BuiltImage(image.layout, Manifest.parse(content, OCI_INDEX).descriptor())

    def _steps(self, ids: Iterable[str]) -> list[_Step]:
        self._chown(make_empty(self._work, FOLDER))
        ids = " ".join(ids)
        script = f"for id in {ids}; do buildah inspect --type image $id > /work/{FOLDER}/$id.json || :; done"
        self._require(self._run(script))
        found = [read_inside(self._work, f"{FOLDER}/{id}.json", MAX_INSPECT_SIZE) for id in ids.split()]
        remove(self._work / FOLDER)
        return [step for content in found if content and (step := _step(msgspec.json.decode(content, type=_Stored)))]

    def _compressed_layers(self, layout: ImageLayout, image: BuiltImage, steps: list[_Step]) -> dict[str, Descriptor]:
        """Return the layers of all steps by content; write those that the image does not have."""
        require_plain_files(self._work / "out")
        layers = _layers_of(layout, image.descriptor)
        missing: list[_Step] = []
        covered = set(layers)
        for step in sorted(steps, key=lambda step: len(step.contents), reverse=True):
            if not covered.issuperset(step.contents):
                missing.append(step)
                covered.update(step.contents)
        if missing:
            destination = f"oci:/work/{layout.folder.relative_to(self._work)}"
            pushes = [f"buildah push --quiet --format oci {step.id} {destination}:{step.id}" for step in missing]
            self._require(self._run(" && ".join(pushes)))
            require_plain_files(self._work / "out")
            names = {step.id for step in missing}
            for entry in layout.read_index().manifests:
                if entry.annotations.get(NAME_KEY) in names:
                    layers |= _layers_of(layout, entry)
        return layers

    def load(self, name: str, digest: str, fetch: Callable[[ImageLayout], None]) -> int:
        """See LayerSharing."""

        def load(layout: ImageLayout, folder: Path) -> list[str]:
            fetch(layout)
            index = layout.read_manifest(Descriptor(OCI_INDEX, digest, 0))
            if index.artifact_type != LAYERS_TYPE:
                raise BuildFailed(f"{digest} is no index of layers")
            steps = [layout.read_manifest(entry) for entry in index.manifests]
            for number, step in enumerate(steps):
                _write_plain(layout, step, folder / str(number))
            return [_id_of(step) for step in steps]

        ids = self._store.steps(name, digest, load)
        self._loaded[name] = {id[:_SHORT] for id in ids}
        return len(ids)

    @staticmethod
    def _require(completed: ProcessResult) -> None:
        if completed.code:
            raise BuildFailed(" ".join(completed.last_lines)[-300:] or f"buildah exited with {completed.code}")


def _step(stored: _Stored) -> _Step | None:
    """Return the image of a step; None if it has another format, which no build would reuse."""
    manifest = Manifest.parse(stored.manifest.encode())
    config = stored.config.encode()
    if manifest.media_type != DOCKER_MANIFEST or Digest.of(config).hex != _id_of(manifest):
        return None
    contents = msgspec.json.decode(config, type=_Config).rootfs.diff_ids or ()
    return _Step(_id_of(manifest), config, tuple(contents))


def _id_of(manifest: Manifest) -> str:
    """Return the ID of an image: the digest of its configuration."""
    return manifest.config.parsed_digest.hex if manifest.config else ""


def _layers_of(layout: ImageLayout, image: Descriptor) -> dict[str, Descriptor]:
    """Return the layers of an image by the digests of their contents."""
    manifest = layout.read_manifest(image)
    if manifest.kind is not ManifestKind.IMAGE or manifest.config is None:
        return {}
    config = msgspec.json.decode(layout.read_document(manifest.config.parsed_digest), type=_Config)
    return dict(zip(config.rootfs.diff_ids or (), manifest.layers, strict=True))


def _add_image(layout: ImageLayout, step: _Step, layers: Iterable[Descriptor]) -> Descriptor:
    """Write a step's image into the layout."""
    config = Descriptor(DOCKER_CONFIG, str(layout.add_document(step.config)), len(step.config))
    compressed = tuple(Descriptor(DOCKER_LAYER_GZIP, layer.digest, layer.size) for layer in layers)
    content = ImageManifest(2, DOCKER_MANIFEST, config, compressed).encode()
    layout.add_document(content)
    return Manifest.parse(content, DOCKER_MANIFEST).descriptor()


def _write_plain(layout: ImageLayout, manifest: Manifest, folder: Path) -> None:
    """Write an image into a folder in the format of ``dir:``; its blobs are links into the layout."""
    folder.mkdir()
    (folder / "manifest.json").write_bytes(manifest.content)
    for digest in {Digest.parse(blob.digest) for blob in manifest.blobs}:
        os.link(layout.blob_path(digest), folder / digest.hex)

"""The default builder: buildah in the sandbox. It never sees a credential of any registry.

The worker fetches base images outside the sandbox and passes them in as an OCI layout; the result is an OCI layout,
too.
So base images may come from anywhere even if the build's steps have no network.
"""

import os
import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from hythe.client.layout import ImageLayout
from hythe.client.platforms import host_platform, is_compatible, parse_platform
from hythe.oci.config import ImageConfig
from hythe.oci.manifest import Platform
from hythe.oci.reference import Reference
from hythe.worker.builders.base_images import BaseImages
from hythe.worker.builders.buildah_layers import BuildahLayers
from hythe.worker.builders.labels import configured
from hythe.worker.builders.platforms import automatic_arguments, is_foreign
from hythe.worker.builders.port import BuildInput, BuiltImage
from hythe.worker.dockerfile import BaseImage, base_images, renamed
from hythe.worker.errors import BuildFailed
from hythe.worker.heredocs import CONTEXT, without_heredocs
from hythe.worker.isolation.sandbox import NetworkAccess, ProcessResult, Sandbox
from hythe.worker.progress import ProgressReporter
from hythe.worker.source_tree import PathEscapes, cleared, inside, read_inside, remove, require_plain, write_inside

STORAGE = ("--root", "/work/storage", "--runroot", "/work/run", "--storage-driver", "overlay")
HEREDOCS = "heredocs"
IGNORED = ".dockerignore"
DOCKERFILE = "home/Dockerfile"
DOCKER_ONLY = ("Healthcheck", "OnBuild", "Shell")
"""Fields of Docker's image configuration that the OCI specification does not define."""
_SETTINGS = {"_CONTAINERS_USERNS_CONFIGURED": "done", "BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "overlay"}
_REGISTRIES = 'unqualified-search-registries = ["docker.io"]\nshort-name-mode = "permissive"\n'
BASES_KNOWN = "bases.json"
LARGEST_INSPECTED = 8 << 20
MAX_REASON_LENGTH = 500


class _DockerConfig(msgspec.Struct):
    config: dict[str, Any] = {}


class _Inspected(msgspec.Struct):
    docker: _DockerConfig = msgspec.field(name="Docker", default_factory=_DockerConfig)


class BuildahBuilder:
    """Builds in one sandbox, whose disk keeps the layers."""

    def __init__(self, sandbox: Sandbox, record: ProgressReporter, bases: BaseImages, reach: NetworkAccess) -> None:
        self._sandbox = sandbox
        self._record = record
        self._bases = bases
        self._reach = reach
        self.name = self._version()
        self._layers = BuildahLayers(sandbox.work, self._quietly, sandbox.give)
        self._write("home/registries.conf", _REGISTRIES)

    @staticmethod
    def _version() -> str:
        try:
            done = subprocess.run(["buildah", "--version"], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise BuildFailed("buildah is not installed on the worker. hint: apt-get install buildah") from error
        return " ".join(done.stdout.split()[:3])

    def fetch_bases(self, order: BuildInput) -> dict[str, str]:
        """See Builder."""
        bases = base_images(order.dockerfile_text, order.arguments, automatic_arguments(order.platform))
        return {base.name: self._fetch(base.name, base.platform or order.platform) for base in bases}

    def fetch_images(self, names: Sequence[str]) -> None:
        """See Builder."""
        for name in names:
            self._fetch(name, "")

    def _fetch(self, name: str, platform: str) -> str:
        reference = self._bases.reference(name)
        digest = self._bases.digest(reference, platform)
        if digest is None:
            raise BuildFailed(f"the base image {name} does not exist or may not be read: {self._bases.problem}")
        self._bring(reference, digest, platform)
        return digest

    def _bring(self, reference: Reference, digest: str, platform: str) -> None:
        """Load a base image into buildah's storage, unless an earlier build did so."""
        known = self._known_bases()
        name = local_name(reference, platform)
        if known.get(name) == digest and not self._buildah("inspect", "--type", "image", name, said=False).code:
            return
        layout = ImageLayout(cleared(self._sandbox.work, "bases"))
        tag = self._bases.fetch(reference, digest, platform, layout)
        _require_platform(layout, reference, platform)
        # Only under its local name, so that buildah finds the Dockerfile's base image without asking a registry.
        pulled = self._buildah("pull", "--quiet", f"oci:/work/bases:{tag}", said=False)
        remove(layout.folder)
        if pulled.code:
            raise BuildFailed(f"failed to load the base image {reference}: {' '.join(pulled.last_lines)[:500]}")
        if self._buildah("tag", pulled.last_lines[-1], name).code:
            raise BuildFailed(f"failed to tag the base image {reference}: see the log")
        self._write(BASES_KNOWN, msgspec.json.encode({**known, name: digest}).decode())

    def _known_bases(self) -> dict[str, str]:
        path = self._sandbox.work / BASES_KNOWN
        if not path.is_file() or path.is_symlink():
            return {}
        try:
            return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
        except msgspec.MsgspecError:
            return {}

    def build(self, order: BuildInput) -> BuiltImage:
        """See Builder."""
        context = f"src/{order.context}".rstrip("/")
        automatic = automatic_arguments(order.platform)
        text, files = without_heredocs(order.dockerfile_text, {**automatic, **order.arguments})
        self._write(DOCKERFILE, renamed(text, order.arguments, automatic, self._local_names(order)))
        remove(self._sandbox.work / HEREDOCS)
        for path, content in files.items():
            self._write(f"{HEREDOCS}/{path}", content)
        more = ["--build-context", f"{CONTEXT}=/work/{HEREDOCS}"] if files else []
        more += self._ignoring(order, context)
        build = ["buildah", *STORAGE, *self._flags(order), *more, "--file", f"/work/{DOCKERFILE}", f"/work/{context}"]
        hear = self._layers.hearing(order.platform, self._record.line)
        done = self._run(["sh", "-c", f"{shlex.join(build)} && {self._export_command(order)}"], hear)
        if done.code:
            raise BuildFailed(reason_of(done))
        return self._exported(order)

    def knows_layers(self, name: str) -> bool:
        """See LayerSharing."""
        return self._layers.knows(name)

    def take_layers(self, name: str, index: BuiltImage) -> int:
        """See LayerSharing."""
        return self._layers.take(name, index)

    def has_new_layers(self, name: str, order: BuildInput) -> bool:
        """See LayerSharing."""
        return self._layers.has_new(name, order.platform)

    def give_layers(self, order: BuildInput, image: BuiltImage) -> BuiltImage:
        """See LayerSharing."""
        return self._layers.give(order.platform, image)

    def layers_given(self, name: str, order: BuildInput) -> None:
        """See LayerSharing."""
        self._layers.given(name, order.platform)

    def _local_names(self, order: BuildInput) -> dict[BaseImage, str]:
        """Return the base images whose local names differ from those in the Dockerfile."""
        found = base_images(order.dockerfile_text, order.arguments, automatic_arguments(order.platform))
        references = {base: self._bases.reference(base.name) for base in found}
        names = {base: local_name(reference, base.platform or order.platform) for base, reference in references.items()}
        return {base: name for base, name in names.items() if name != str(references[base])}

    def _ignoring(self, order: BuildInput, context: str) -> list[str]:
        """Return the flag for a ``.dockerignore`` of this Dockerfile, which takes precedence over the context's."""
        path = f"{context}/{order.dockerfile}{IGNORED}"
        try:
            own = inside(self._sandbox.work, path).is_file()
        except PathEscapes:
            return []
        return ["--ignorefile", f"/work/{path}"] if own else []

    def _flags(self, order: BuildInput) -> list[str]:
        # Every build ends with --timestamp: times of files and history are the commit's, so equal sources give equal
        # digests. Use Docker's format, because buildah leaves DOCKER_ONLY out of the OCI format.
        flags = ["build", "--isolation", "chroot", "--pull=never", "--format", "docker", "--network", "host"]
        flags += ["--timestamp", str(order.time), "--identity-label=false", "--tag", order.image]
        flags += ["--layers=true", *([] if order.cache else ["--no-cache"])]
        flags += ["--platform", order.platform] if order.platform else []
        flags += ["--target", order.target] if order.target else []
        flags += _pairs("--build-arg", order.arguments)
        for name in order.secrets:
            flags += ["--secret", f"id={name},src=/work/secrets/{name}"]
        return flags

    def export(self, order: BuildInput) -> BuiltImage:
        """See Builder."""
        done = self._run(["sh", "-c", self._export_command(order)])
        if done.code:
            raise BuildFailed(f"the build produced no image named {order.image}: see the log")
        return self._exported(order)

    def _export_command(self, order: BuildInput) -> str:
        push = [
            "buildah",
            *STORAGE,
            "push",
            "--quiet",
            "--format",
            "oci",
            order.image,
            f"oci:/work/{_folder(order)}:image",
        ]
        folder = f"/work/{_folder(order)}"
        inspect = shlex.join(["buildah", *STORAGE, "inspect", "--type", "image", order.image])
        return f"mkdir -p /work/out && rm -rf {folder} && {shlex.join(push)} && {inspect} > {folder}.json"

    def _exported(self, order: BuildInput) -> BuiltImage:
        require_plain(self._sandbox.work / "out")
        layout = ImageLayout(self._sandbox.work / _folder(order))
        found = layout.read_index().manifests
        if len(found) != 1:
            raise BuildFailed("the build produced more than one image")
        return BuiltImage(layout.folder, configured(layout, found[0], order, self._docker_only(order)))

    def _docker_only(self, order: BuildInput) -> dict[str, Any]:
        """Return what buildah stores about the image but leaves out of its OCI configuration."""
        said = read_inside(self._sandbox.work, f"{_folder(order)}.json", LARGEST_INSPECTED)
        settings = msgspec.json.decode(said, type=_Inspected).docker.config
        return {name: settings[name] for name in DOCKER_ONLY if settings.get(name)}

    def _buildah(self, *words: str, said: bool = True) -> ProcessResult:
        return self._run(["buildah", *STORAGE, *words], self._record.line if said else _ignore)

    def _quietly(self, script: str) -> ProcessResult:
        """Run a shell script in which ``buildah`` uses our storage."""
        start = f'buildah() {{ command buildah {shlex.join(STORAGE)} "$@"; }}\n'
        return self._run(["sh", "-c", start + script], _ignore)

    def _run(self, command: Sequence[str], hear: Callable[[str], None] | None = None) -> ProcessResult:
        return self._sandbox.run(command, hear or self._record.line, reach=self._reach, environment=_SETTINGS)

    def _write(self, path: str, content: str) -> None:
        """Write a file that root inside may read and modify, with the same time in every build."""
        os.utime(write_inside(self._sandbox.work, path, content, self._sandbox.give), (0, 0))


def local_name(reference: Reference, platform: str) -> str:
    """Return the name of a base image in buildah's storage, where names have no digest and refer to one platform."""
    if not is_foreign(platform) and reference.digest is None:
        return str(reference)
    path = f"{platform or 'pinned'}/{reference.host}/{reference.repository}".replace(":", "-").lower()
    return f"localhost/{path}:{reference.target.replace(':', '-')}"


def _require_platform(layout: ImageLayout, reference: Reference, platform: str) -> None:
    """Check that the image in ``layout`` is for this platform; buildah would report an unknown image."""
    found = layout.read_manifest(layout.read_index().manifests[0])
    if found.config is None:
        return
    config = ImageConfig.parse(layout.read_document(found.config.parsed_digest))
    offered = Platform(config.architecture, config.os, variant=config.variant)
    if config.architecture and not is_compatible(parse_platform(platform) if platform else host_platform(), offered):
        raise BuildFailed(f"the base image {reference} is only for {offered}, not for {platform or host_platform()}")


def _folder(order: BuildInput) -> str:
    return f"out/{order.platform.replace('/', '-') or 'image'}"


def reason_of(done: ProcessResult) -> str:
    """Return a builder's reason for a failure, which may have several lines."""
    for number in reversed(range(len(done.last_lines))):
        low = done.last_lines[number].strip().lower()
        if low.startswith(("error:", "error ", "err")) or "error building" in low:
            said = " ".join(line.strip() for line in done.last_lines[number:])
            return f"the build of the Dockerfile failed: {said if len(said) <= MAX_REASON_LENGTH else _shortened(said)}"
    return f"the build of the Dockerfile exited with {done.code}: see the log"


def _shortened(said: str) -> str:
    """Return the start, which names the step, and the end, which says what failed."""
    return f"{said[: MAX_REASON_LENGTH // 2]} ... {said[-MAX_REASON_LENGTH // 2 :]}"


def _ignore(_line: str) -> None:
    """Lines for the worker, not for users."""


def _pairs(flag: str, values: Mapping[str, str]) -> list[str]:
    return [word for name, value in sorted(values.items()) for word in (flag, f"{name}={value}")]

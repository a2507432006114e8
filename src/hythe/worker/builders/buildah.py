"""The default builder: buildah in the sandbox. It never sees credentials of any registry.

The worker fetches base images outside the sandbox into the image store; the result is an OCI layout. So base images can
come from anywhere even if the build's steps have no network.
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
from hythe.worker.builders.image_store import CONTAINERS, STORAGE, ImageStore
from hythe.worker.builders.labels import apply_labels
from hythe.worker.builders.platforms import automatic_arguments, is_other_platform
from hythe.worker.builders.port import BuildInput, BuiltImage
from hythe.worker.dockerfiles.parsing import BaseImage, base_images, rename_base_images
from hythe.worker.errors import BuildFailed
from hythe.worker.dockerfiles.heredocs import CONTEXT, without_heredocs
from hythe.worker.isolation.sandbox import NetworkAccess, ProcessResult, Sandbox
from hythe.worker.progress import ProgressReporter
from hythe.worker.source_tree import (
    PathEscapes,
    read_inside,
    remove,
    require_plain_files,
    resolve_inside,
    write_inside,
)

HEREDOCS = "heredocs"
IGNORE_FILE = ".dockerignore"
DOCKERFILE = "home/Dockerfile"
DOCKER_ONLY = ("Healthcheck", "OnBuild", "Shell")
"""Fields of Docker's image configuration that the OCI specification does not define."""
_SETTINGS = {**CONTAINERS, "BUILDAH_ISOLATION": "chroot"}
_REGISTRIES = 'unqualified-search-registries = ["docker.io"]\nshort-name-mode = "permissive"\n'
MAX_INSPECT_SIZE = 8 << 20
MAX_REASON_LENGTH = 500


class _DockerConfig(msgspec.Struct):
    config: dict[str, Any] = {}


class _Inspected(msgspec.Struct):
    docker: _DockerConfig = msgspec.field(name="Docker", default_factory=_DockerConfig)


class BuildahBuilder:
    """Builds in one sandbox, on top of the images of ``store``."""

    def __init__(
        self,
        sandbox: Sandbox,
        store: ImageStore,
        progress: ProgressReporter,
        bases: BaseImages,
        access: NetworkAccess,
    ) -> None:
        self._sandbox = sandbox
        self._store = store
        self._progress = progress
        self._bases = bases
        self._access = access
        self._ids: dict[tuple[str, str], str] = {}
        """The IDs of the base images, by name in the Dockerfile and platform."""
        self.name = self._version()
        self.own_cache = ""
        self._layers = BuildahLayers(sandbox.work, store, self._run_silently, sandbox.chown)
        self._write("home/registries.conf", _REGISTRIES)

    @staticmethod
    def _version() -> str:
        try:
            completed = subprocess.run(["buildah", "--version"], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise BuildFailed("buildah is not installed on the worker. hint: apt-get install buildah") from error
        return " ".join(completed.stdout.split()[:3])

    def fetch_bases(self, build_input: BuildInput) -> dict[str, str]:
        """See Builder."""
        bases = base_images(
            build_input.dockerfile_text, build_input.arguments, automatic_arguments(build_input.platform)
        )
        return {base.name: self._fetch(base.name, base.platform or build_input.platform) for base in bases}

    def fetch_images(self, names: Sequence[str]) -> None:
        """See Builder."""
        for name in names:
            self._fetch(name, "")
            local = local_name(self._bases.reference(name), "")
            if self._run(["buildah", *STORAGE, "tag", self._ids[name, ""], local]).code:
                raise BuildFailed(f"failed to tag the image {name}: see the log")

    def _fetch(self, name: str, platform: str) -> str:
        reference = self._bases.reference(name)
        digest = self._bases.digest(reference, platform)
        if digest is None:
            raise BuildFailed(f"the base image {name} does not exist or may not be read: {self._bases.problem}")

        def fetch(layout: ImageLayout) -> None:
            self._bases.fetch(reference, digest, platform, layout)
            _require_platform(layout, reference, platform)

        self._ids[name, platform] = self._store.base(local_name(reference, platform), digest, fetch)
        return digest

    def build(self, build_input: BuildInput) -> BuiltImage:
        """See Builder."""
        context = f"src/{build_input.context}".rstrip("/")
        automatic = automatic_arguments(build_input.platform)
        text, files = without_heredocs(build_input.dockerfile_text, {**automatic, **build_input.arguments})
        ids = self._base_ids(build_input)
        self._write(DOCKERFILE, rename_base_images(text, build_input.arguments, automatic, ids))
        remove(self._sandbox.work / HEREDOCS)
        for path, content in files.items():
            self._write(f"{HEREDOCS}/{path}", content)
        more = ["--build-context", f"{CONTEXT}=/work/{HEREDOCS}"] if files else []
        more += self._ignoring(build_input, context)
        build = [
            "buildah",
            *STORAGE,
            *self._flags(build_input),
            *more,
            "--file",
            f"/work/{DOCKERFILE}",
            f"/work/{context}",
        ]
        on_line = self._layers.recording_steps(build_input.platform, self._progress.line)
        completed = self._run(["sh", "-c", f"{shlex.join(build)} && {self._export_command(build_input)}"], on_line)
        if completed.code:
            raise BuildFailed(failure_reason(completed))
        return self._exported(build_input)

    def load_layers(self, name: str, digest: str, fetch: Callable[[ImageLayout], None]) -> int:
        """See LayerSharing."""
        return self._layers.load(name, digest, fetch)

    def has_new_layers(self, name: str, build_input: BuildInput) -> bool:
        """See LayerSharing."""
        return self._layers.has_new(name, build_input.platform)

    def export_layers(self, build_input: BuildInput, image: BuiltImage) -> BuiltImage:
        """See LayerSharing."""
        return self._layers.export(build_input.platform, image)

    def _base_ids(self, build_input: BuildInput) -> dict[BaseImage, str]:
        """Return the IDs of the base images: no name that a step could have changed decides what is used."""
        found = base_images(
            build_input.dockerfile_text, build_input.arguments, automatic_arguments(build_input.platform)
        )
        return {base: self._ids[base.name, base.platform or build_input.platform] for base in found}

    def _ignoring(self, build_input: BuildInput, context: str) -> list[str]:
        """Return the flag for a ``.dockerignore`` of this Dockerfile, which takes precedence over the context's."""
        path = f"{context}/{build_input.dockerfile}{IGNORE_FILE}"
        try:
            own = resolve_inside(self._sandbox.work, path).is_file()
        except PathEscapes:
            return []
        return ["--ignorefile", f"/work/{path}"] if own else []

    def _flags(self, build_input: BuildInput) -> list[str]:
        # Every build ends with --timestamp: files and history get the time of the commit, so equal sources give equal
        # digests. Use Docker's format, because buildah leaves DOCKER_ONLY out of the OCI format.
        flags = ["build", "--isolation", "chroot", "--pull=never", "--format", "docker", "--network", "host"]
        flags += ["--timestamp", str(build_input.time), "--identity-label=false", "--tag", build_input.image]
        flags += ["--layers=true", *([] if build_input.cache else ["--no-cache"])]
        flags += ["--platform", build_input.platform] if build_input.platform else []
        flags += ["--target", build_input.target] if build_input.target else []
        flags += _pairs("--build-arg", build_input.arguments)
        for name in build_input.secrets:
            flags += ["--secret", f"id={name},src=/work/secrets/{name}"]
        return flags

    def export(self, build_input: BuildInput) -> BuiltImage:
        """See Builder."""
        completed = self._run(["sh", "-c", self._export_command(build_input)])
        if completed.code:
            raise BuildFailed(f"the build produced no image named {build_input.image}: see the log")
        return self._exported(build_input)

    def _export_command(self, build_input: BuildInput) -> str:
        push = [
            "buildah",
            *STORAGE,
            "push",
            "--quiet",
            "--format",
            "oci",
            build_input.image,
            f"oci:/work/{_folder(build_input)}:image",
        ]
        folder = f"/work/{_folder(build_input)}"
        inspect = shlex.join(["buildah", *STORAGE, "inspect", "--type", "image", build_input.image])
        return f"mkdir -p /work/out && rm -rf {folder} && {shlex.join(push)} && {inspect} > {folder}.json"

    def _exported(self, build_input: BuildInput) -> BuiltImage:
        require_plain_files(self._sandbox.work / "out")
        layout = ImageLayout(self._sandbox.work / _folder(build_input))
        found = layout.read_index().manifests
        if len(found) != 1:
            raise BuildFailed("the build produced more than one image")
        return BuiltImage(layout.folder, apply_labels(layout, found[0], build_input, self._docker_only(build_input)))

    def _docker_only(self, build_input: BuildInput) -> dict[str, Any]:
        """Return what buildah stores about the image but leaves out of its OCI configuration."""
        content = read_inside(self._sandbox.work, f"{_folder(build_input)}.json", MAX_INSPECT_SIZE)
        settings = msgspec.json.decode(content, type=_Inspected).docker.config
        return {name: settings[name] for name in DOCKER_ONLY if settings.get(name)}

    def _run_silently(self, script: str) -> ProcessResult:
        """Run a shell script in which ``buildah`` uses our storage."""
        start = f'buildah() {{ command buildah {shlex.join(STORAGE)} "$@"; }}\n'
        return self._run(["sh", "-c", start + script], _discard)

    def _run(self, command: Sequence[str], on_line: Callable[[str], None] | None = None) -> ProcessResult:
        return self._sandbox.run(command, on_line or self._progress.line, access=self._access, environment=_SETTINGS)

    def _write(self, path: str, content: str) -> None:
        """Write a file that root inside may read and modify, with the same time in every build."""
        os.utime(write_inside(self._sandbox.work, path, content, self._sandbox.chown), (0, 0))


def local_name(reference: Reference, platform: str) -> str:
    """Return the name of a base image in the image store, where names have no digest and refer to one platform."""
    if not is_other_platform(platform) and reference.digest is None:
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


def _folder(build_input: BuildInput) -> str:
    return f"out/{build_input.platform.replace('/', '-') or 'image'}"


def failure_reason(completed: ProcessResult) -> str:
    """Return a builder's reason for a failure, which may have several lines."""
    for number in reversed(range(len(completed.last_lines))):
        low = completed.last_lines[number].strip().lower()
        if low.startswith(("error:", "error ", "err")) or "error building" in low:
            message = " ".join(line.strip() for line in completed.last_lines[number:])
            return f"the build of the Dockerfile failed: {_shortened(message)}"
    return f"the build of the Dockerfile exited with {completed.code}: see the log"


def _shortened(message: str) -> str:
    """Return a long message's start, which names the step, and its end, which says what failed."""
    if len(message) <= MAX_REASON_LENGTH:
        return message
    return f"{message[: MAX_REASON_LENGTH // 2]} ... {message[-MAX_REASON_LENGTH // 2 :]}"


def _discard(_line: str) -> None:
    """Lines for the worker, not for users."""


def _pairs(flag: str, values: Mapping[str, str]) -> list[str]:
    return [word for name, value in sorted(values.items()) for word in (flag, f"{name}={value}")]

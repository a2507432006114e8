"""The default builder: buildah in the sandbox. It never sees credentials of any registry.

The worker fetches base images outside the sandbox into the image store; the result is an OCI layout. So base images can
come from anywhere even if the build's steps have no network.
"""

import os
import re
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
from hythe.worker.builders.base_images import BaseImages, naming_line
from hythe.worker.builders.buildah_layers import BuildahLayers
from hythe.worker.builders.buildah_output import BuildahOutput
from hythe.worker.builders.buildah_phases import Phase, phases
from hythe.worker.builders.image_store import CONTAINERS, STORAGE, ImageStore
from hythe.worker.builders.labels import apply_labels
from hythe.worker.builders.platforms import automatic_arguments, is_other_platform
from hythe.worker.builders.port import BuildInput, BuiltImage, check_dockerfile
from hythe.worker.builders.prepared_sources import FILES, PreparedSources
from hythe.worker.dockerfiles.features import require_buildah_features
from hythe.worker.dockerfiles.ignore_file import PathPatterns, ignore_lines
from hythe.worker.dockerfiles.parsing import BaseImage, base_images, parse, rename_base_images
from hythe.worker.dockerfiles.rewriting import CONTEXT, rewrite
from hythe.worker.errors import BuildFailed
from hythe.worker.isolation.sandbox import NO_NETWORK, NetworkAccess, ProcessResult, Sandbox
from hythe.worker.progress import ProgressReporter
from hythe.worker.protocol import Network
from hythe.worker.source_tree import PathEscapes, read_inside, require_plain_files, write_inside

IGNORE_FILE = ".dockerignore"
IGNORED = "home/ignored"
DOCKERFILE = "home/Dockerfile"
DOCKER_ONLY = ("Healthcheck", "OnBuild", "Shell")
"""Fields of Docker's image configuration that the OCI specification does not define."""
_SETTINGS = {**CONTAINERS, "BUILDAH_ISOLATION": "chroot"}
_REGISTRIES = 'unqualified-search-registries = ["docker.io"]\nshort-name-mode = "permissive"\n'
MAX_INSPECT_SIZE = 8 << 20
MAX_IGNORE_FILE_SIZE = 1 << 20


class _DockerConfig(msgspec.Struct):
    config: dict[str, Any] = {}


class _Inspected(msgspec.Struct):
    docker: _DockerConfig = msgspec.field(name="Docker", default_factory=_DockerConfig)


def _discard(_line: str) -> None:
    """Lines for the worker, not for users."""


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
        self._layers = BuildahLayers(sandbox.work, store, self._run_script, sandbox.chown)
        self._write("home/registries.conf", _REGISTRIES)

    @staticmethod
    def _version() -> str:
        try:
            completed = subprocess.run(["buildah", "--version"], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise BuildFailed("buildah is not installed on the worker. hint: apt-get install buildah") from error
        return " ".join(completed.stdout.split()[:3])

    def _version_number(self) -> tuple[int, int]:
        """Return the first two numbers of buildah's version."""
        numbers = [int(number) for number in re.findall(r"\d+", self.name)]
        return (numbers[0], numbers[1]) if len(numbers) > 1 else (0, 0)

    def fetch_bases(self, build_input: BuildInput) -> dict[str, str]:
        """See Builder."""
        bases = base_images(
            build_input.dockerfile_text, build_input.arguments, automatic_arguments(build_input.platform)
        )
        found = {}
        for base in bases:
            with naming_line(build_input, base):
                found[base.name] = self._fetch(base.name, base.platform or build_input.platform)
        return found

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

    def check(self, build_input: BuildInput) -> None:
        """See Builder."""
        for warning in check_dockerfile(build_input):
            self._progress.line(warning)
        require_buildah_features(build_input.dockerfile_text, self._version_number())

    def build(self, build_input: BuildInput) -> BuiltImage:
        """See Builder."""
        context = f"src/{build_input.context}".rstrip("/")
        automatic = automatic_arguments(build_input.platform)
        ignored = self._ignored(build_input)
        patterns = PathPatterns(ignored)
        sources = PreparedSources(self._sandbox, build_input.context, patterns, build_input.commits, self._run_script)
        arguments = {**automatic, **build_input.arguments}
        is_online = self._access.network is not Network.OFF
        rewritten = rewrite(build_input.dockerfile_text, arguments, sources.prepare, is_online=is_online)
        for path, content in rewritten.files.items():
            self._write(f"{FILES}/{path}", content)
        text = rename_base_images(rewritten.text, build_input.arguments, automatic, self._base_ids(build_input))
        pairs = [(each, rewritten.written[each.first]) for each in parse(text)]
        written = tuple(dict.fromkeys(rewritten.written.values()))
        output = BuildahOutput(written, pairs, rewritten.offline, f"/work/{context}", self._progress)
        on_line = self._layers.recording_steps(build_input.platform, output.line)
        found = phases(text, rewritten.offline, build_input.target)
        with output.naming_limits():
            for phase in found:
                output.start_phase(phase)
                self._run_phase(build_input, phase, [*self._ignoring(ignored), f"/work/{context}"], output, on_line)
        return self._exported(build_input)

    def _run_phase(
        self,
        build_input: BuildInput,
        phase: Phase,
        more: Sequence[str],
        output: BuildahOutput,
        on_line: Callable[[str], None],
    ) -> None:
        self._write(DOCKERFILE, phase.text)
        build = ["buildah", *STORAGE, *self._flags(build_input, phase), "--file", f"/work/{DOCKERFILE}", *more]
        script = shlex.join(build)
        if phase.is_final:
            script += f" && {self._export_command(build_input)}"
        access = self._access if phase.is_online else NO_NETWORK
        completed = self._sandbox.run(["sh", "-c", script], on_line, access=access, environment=_SETTINGS)
        if completed.code:
            raise BuildFailed(output.reason(completed.code, completed.last_lines))
        output.flush()
        if output.leaked is not None:
            raise BuildFailed(
                f"{output.leaked.place}: buildah ran the step again, which must have no network: try again"
            )

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

    def _ignored(self, build_input: BuildInput) -> list[str]:
        """Return the patterns of the ``.dockerignore`` of this Dockerfile, or else of the context's."""
        context = f"src/{build_input.context}".rstrip("/")
        for path in (f"{context}/{build_input.dockerfile}{IGNORE_FILE}", f"{context}/{IGNORE_FILE}"):
            try:
                return ignore_lines(read_inside(self._sandbox.work, path, MAX_IGNORE_FILE_SIZE))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except PathEscapes as error:
                raise BuildFailed(f"{path.removeprefix('src/')} cannot be read: {error}") from error
        return []

    def _ignoring(self, patterns: Sequence[str]) -> list[str]:
        """Return the flags for these patterns, which buildah gets in the form of docker."""
        if not patterns:
            return []
        self._write(IGNORED, "".join(f"{pattern}\n" for pattern in patterns))
        return ["--ignorefile", f"/work/{IGNORED}"]

    def _flags(self, build_input: BuildInput, phase: Phase) -> list[str]:
        # Every build ends with --timestamp: files and history get the time of the commit, so equal sources give equal
        # digests. Use Docker's format, because buildah leaves DOCKER_ONLY out of the OCI format.
        flags = ["build", "--isolation", "chroot", "--pull=never", "--format", "docker", "--network", "host"]
        flags += ["--timestamp", str(build_input.time), "--identity-label=false", "--layers=true"]
        flags += ["--build-context", f"{CONTEXT}=/work/{FILES}"]
        if phase.is_final:
            flags += ["--tag", build_input.image]
            flags += ["--target", build_input.target] if build_input.target else []
        flags += ["--platform", build_input.platform] if build_input.platform else []
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

    def _run_script(self, script: str, on_line: Callable[[str], None] = _discard) -> ProcessResult:
        """Run a shell script in which ``buildah`` uses our storage."""
        start = f'buildah() {{ command buildah {shlex.join(STORAGE)} "$@"; }}\n'
        return self._run(["sh", "-c", start + script], on_line)

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


def _pairs(flag: str, values: Mapping[str, str]) -> list[str]:
    return [word for name, value in sorted(values.items()) for word in (flag, f"{name}={value}")]
